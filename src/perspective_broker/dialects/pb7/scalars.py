"""Dates, times, decimals and other extensions that do not contain values."""

from __future__ import annotations

import datetime
import struct
import zoneinfo
from collections.abc import Callable
from decimal import Decimal, InvalidOperation
from functools import cache, lru_cache
from typing import Final
from uuid import UUID

from ormsgpack import packb, unpackb

from ...errors import DecodeError
from ...ports import Undecoded, Value
from . import codes
from .packing import MAX_DECIMAL_EXPONENT, MAX_DECIMAL_TEXT

__all__ = ["SCALARS"]

_DOUBLES: Final = struct.Struct("!dd")


def _decimal(payload: bytes) -> Decimal:
    if len(payload) > MAX_DECIMAL_TEXT:
        raise DecodeError("a decimal beyond the limit")
    text = payload.decode("ascii")
    try:
        value = Decimal(text)
    except InvalidOperation:
        raise DecodeError("not a decimal") from None
    # In its usual spelling, a decimal whose exponent is beyond the range has an E. (as_tuple is slow.)
    exponent = value.as_tuple().exponent if b"E" in payload else 0
    if (type(exponent) is int and abs(exponent) > MAX_DECIMAL_EXPONENT) or str(value) != text:
        raise DecodeError("not a decimal within decimal128's range of exponents, in its usual spelling")
    return value


def _date(payload: bytes) -> datetime.date:
    year, month, day = _integers(payload)
    return datetime.date(year, month, day)


def _time(payload: bytes) -> datetime.time:
    (hour, minute, second, microsecond), fold, zone = _in_zone(payload, 4)
    return datetime.time(hour, minute, second, microsecond, zone, fold=fold)


def _datetime(payload: bytes) -> datetime.datetime:
    (year, month, day, hour, minute, second, microsecond), fold, zone = _in_zone(payload, 7)
    return datetime.datetime(year, month, day, hour, minute, second, microsecond, zone, fold=fold)


def _timedelta(payload: bytes) -> datetime.timedelta:
    days, seconds, microseconds = _integers(payload)
    if not (0 <= seconds < 86_400 and 0 <= microseconds < 1_000_000):
        raise DecodeError("a time difference that is not in its usual form")
    return datetime.timedelta(days, seconds, microseconds)


def _fields(payload: bytes) -> list[Undecoded]:
    """Return the array of plain values in a payload."""
    fields = unpackb(payload)
    if type(fields) is not list or packb(fields) != payload:
        raise DecodeError("a payload that should be an array, in its shortest spelling")
    return fields


def _integers(payload: bytes) -> list[int]:
    fields = _fields(payload)
    if not all(type(field) is int for field in fields):
        raise DecodeError("a date's fields are integers")
    return fields


def _in_zone(payload: bytes, count: int) -> tuple[list[int], int, datetime.tzinfo | None]:
    """Return a time's fields, its fold and its zone."""
    fields = _fields(payload)
    zone: datetime.tzinfo | None = None
    if len(fields) > count + 1:
        where = fields[count + 1]
        if type(where) is str and len(fields) == count + 2:
            zone = _zone(where)
        elif type(where) is int and len(fields) <= count + 3:
            offset = datetime.timedelta(microseconds=where)
            name = fields[count + 2 :]
            if not all(type(part) is str for part in name):
                raise DecodeError("a time zone's name is text")
            zone = datetime.timezone(offset, *name)
        else:
            raise DecodeError("a time zone is an offset or a name")
    fold = fields[count] if len(fields) > count else 0
    if not all(type(field) is int for field in fields[: count + 1]):
        raise DecodeError("a time's fields are integers")
    return fields[:count], fold, zone


def _uuid(payload: bytes) -> UUID:
    return UUID(bytes=payload)


def _complex(payload: bytes) -> complex:
    return complex(*_DOUBLES.unpack(payload))


@cache  # bounded by the number of zones; zoneinfo itself keeps eight, and reads the others again
def _zone(key: str) -> zoneinfo.ZoneInfo:
    """Return the time zone called ``key``."""
    # The list of zones is checked first, because zoneinfo opens a file whose name the peer would choose.
    if key not in _zone_names():
        raise DecodeError("a time zone that is not known here")
    return zoneinfo.ZoneInfo(key)


@lru_cache(maxsize=1)
def _zone_names() -> frozenset[str]:
    return frozenset(zoneinfo.available_timezones())


#: Extension type -> reader of its payload.
SCALARS: Final[dict[int, Callable[[bytes], Value]]] = {
    codes.DECIMAL: _decimal,
    codes.DATE: _date,
    codes.TIME: _time,
    codes.DATETIME: _datetime,
    codes.TIMEDELTA: _timedelta,
    codes.UUID: _uuid,
    codes.COMPLEX: _complex,
}
