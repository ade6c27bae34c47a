"""Dates, times and decimals: values made from numbers or one text. For their size, they are slow to make."""

from __future__ import annotations

import datetime
import re
from collections.abc import Callable
from decimal import Decimal
from typing import Final

from ...errors import DecodeError
from ...ports import Undecoded, Value
from .jelly import MAX_EXPONENT

__all__ = ["SCALARS"]

# Digits only, because int() accepts underscores and signs as well.
_DATETIME: Final = re.compile(rb"(\d{1,4}) (\d{1,2}) (\d{1,2}) (\d{1,2}) (\d{1,2}) (\d{1,2}) (\d{1,6})")
_DATE: Final = re.compile(rb"(\d{1,4}) (\d{1,2}) (\d{1,2})")
_TIME: Final = re.compile(rb"(\d{1,2}) (\d{1,2}) (\d{1,2}) (\d{1,6})")
_TIMEDELTA: Final = re.compile(rb"(-?\d{1,9}) (\d{1,5}) (\d{1,6})")


def _decimal(jelly: list[Undecoded]) -> Decimal:
    _, number, exponent = jelly
    if type(number) is not int or type(exponent) is not int or abs(exponent) > MAX_EXPONENT:
        raise DecodeError("a decimal is an integer and an exponent within decimal128's range")
    digits = tuple(map(int, str(abs(number))))
    return Decimal((int(number < 0), digits, exponent))


def _datetime(jelly: list[Undecoded]) -> datetime.datetime:
    year, month, day, hour, minute, second, microsecond = _numbers(jelly, _DATETIME)
    return datetime.datetime(year, month, day, hour, minute, second, microsecond)


def _date(jelly: list[Undecoded]) -> datetime.date:
    year, month, day = _numbers(jelly, _DATE)
    return datetime.date(year, month, day)


def _time(jelly: list[Undecoded]) -> datetime.time:
    hour, minute, second, microsecond = _numbers(jelly, _TIME)
    return datetime.time(hour, minute, second, microsecond)


def _timedelta(jelly: list[Undecoded]) -> datetime.timedelta:
    days, seconds, microseconds = _numbers(jelly, _TIMEDELTA)
    return datetime.timedelta(days, seconds, microseconds)


def _numbers(jelly: list[Undecoded], form: re.Pattern[bytes]) -> tuple[int, ...]:
    """Return the numbers in the one text of ``jelly``."""
    _, text = jelly
    match = form.fullmatch(text) if type(text) is bytes else None
    if match is None:
        raise DecodeError(f"not a {jelly[0].decode()}")
    return tuple(map(int, match.groups()))


#: Name of a type -> function that makes a value from the list.
SCALARS: Final[dict[bytes, Callable[[list[Undecoded]], Value]]] = {
    b"decimal": _decimal,
    b"datetime": _datetime,
    b"date": _date,
    b"time": _time,
    b"timedelta": _timedelta,
}
