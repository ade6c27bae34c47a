"""Values of more types, which an older peer of this dialect does not know: an array of a kind and its parts."""

from __future__ import annotations

import math
import re
from collections import deque
from collections.abc import Callable, Sequence
from fractions import Fraction
from ipaddress import (
    IPv4Address,
    IPv4Interface,
    IPv4Network,
    IPv6Address,
    IPv6Interface,
    IPv6Network,
)
from pathlib import PosixPath, PurePosixPath, PureWindowsPath, WindowsPath
from typing import Any, Final

from ...errors import DecodeError
from ...ports import Undecoded, Value

__all__ = ["COST", "DEQUE", "NAMES", "made_of", "parts_of"]

# Kinds, as in the table of docs/wire/pb7.md.
_FRACTION, _RANGE, DEQUE = range(3)
_ADDRESSES: Final[tuple[type, ...]] = (
    *(IPv4Address, IPv6Address, IPv4Network, IPv6Network, IPv4Interface, IPv6Interface),
)
_FIRST_ADDRESS: Final = 3
_POSIX_PATH: Final = _FIRST_ADDRESS + len(_ADDRESSES)
_WINDOWS_PATH: Final = _POSIX_PATH + 1

#: The kinds' names in a policy.
NAMES: Final = ("fraction", "range", "deque", *["address"] * len(_ADDRESSES), "path", "path")

#: Extensions as which a kind counts, because that much memory is taken: a deque has 64 places from the beginning.
COST: Final[dict[int, int]] = {DEQUE: 4}

#: Bits of the start, stop and step of a range.
MAX_RANGE_BITS: Final = 64
#: Characters of a path: the longest of any system, that of Windows.
MAX_PATH: Final = 32_767
#: Characters of an address: the longest, with a prefix, and the name of a network interface behind a %.
MAX_ADDRESS: Final = 120
#: The characters of addresses in their usual spelling. Each other spelling of a prefix would be kept by the standard
#: library.
_ADDRESS: Final = re.compile(r"[0-9a-f.:]+(?:%[!-$&-.0-~]{1,64})?(?:/(?:0|[1-9][0-9]{0,2}))?")


def parts_of(value: Value) -> list[Value] | None:
    """Return the kind and the parts of a value; None when it is of no such type.

    Raises:
        ValueError: it is beyond a bound; the text says of what.
    """
    write = _WRITERS.get(type(value))
    return None if write is None else write(value)


def _range(value: range) -> list[Value]:
    parts = [value.start, value.stop, value.step]
    if any(part.bit_length() >= MAX_RANGE_BITS for part in parts):
        raise ValueError(f"a range's start, stop and step may have {MAX_RANGE_BITS - 1} bits")
    return [_RANGE, *parts]


def _path(kind: int) -> Callable[[Any], list[Value]]:
    def write(value: Any) -> list[Value]:
        text = str(value)
        if len(text) > MAX_PATH:
            raise ValueError(f"a path may have {MAX_PATH} characters")
        if not text.isascii() and any("\ud800" <= character <= "\udfff" for character in text):
            raise ValueError("a path with a lone surrogate has no UTF-8 form; send os.fsencode(...)")
        return [kind, text]

    return write


def _address(kind: int) -> Callable[[Any], list[Value]]:
    def write(value: Any) -> list[Value]:
        text = str(value)
        if _ADDRESS.fullmatch(text) is None or len(text) > MAX_ADDRESS:
            raise ValueError("an address whose scope is not a short ASCII name")
        return [kind, text]

    return write


_WRITERS: Final[dict[type, Callable[[Any], list[Value]]]] = {
    Fraction: lambda value: [_FRACTION, value.numerator, value.denominator],
    range: _range,
    deque: lambda value: [DEQUE, -1 if value.maxlen is None else value.maxlen, *value],
    **{cls: _address(_FIRST_ADDRESS + number) for number, cls in enumerate(_ADDRESSES)},
    PurePosixPath: _path(_POSIX_PATH),
    PosixPath: _path(_POSIX_PATH),
    PureWindowsPath: _path(_WINDOWS_PATH),
    WindowsPath: _path(_WINDOWS_PATH),
}


def made_of(kind: int, parts: Sequence[Undecoded]) -> Value:
    """Return the value of a kind. Raises DecodeError, or any exception of the type's own for what is malformed."""
    if kind == _FRACTION:
        numerator, denominator = _integers(parts, 2)
        if denominator <= 0 or math.gcd(numerator, denominator) != 1:
            raise DecodeError("a fraction that is not in its lowest terms")
        return Fraction(numerator, denominator)
    if kind == _RANGE:
        start, stop, step = _integers(parts, 3)
        if max(map(int.bit_length, (start, stop, step))) >= MAX_RANGE_BITS:
            raise DecodeError("a range beyond the limit")
        return range(start, stop, step)
    if kind == DEQUE:
        most, *items = parts
        if type(most) is not int or (most < len(items) and most != -1) or most.bit_length() >= MAX_RANGE_BITS:
            raise DecodeError("a deque with more items than it may have")
        return deque(items, None if most == -1 else most)
    (text,) = parts
    if type(text) is not str:
        raise DecodeError("a path or an address is text")
    if kind >= _POSIX_PATH:
        return _path_of(PurePosixPath if kind == _POSIX_PATH else PureWindowsPath, text)
    return _address_of(_ADDRESSES[kind - _FIRST_ADDRESS], text)


def _integers(parts: Sequence[Undecoded], count: int) -> list[int]:
    if len(parts) != count or not all(type(part) is int for part in parts):
        raise DecodeError("a fraction or a range has integers")
    return list(parts)


def _path_of(cls: Any, text: str) -> Value:
    if len(text) > MAX_PATH:
        raise DecodeError("a path beyond the limit")
    path = cls(text)
    if str(path) != text:
        raise DecodeError("a path that is not in its usual spelling")
    return path


def _address_of(cls: Any, text: str) -> Value:
    if len(text) > MAX_ADDRESS or _ADDRESS.fullmatch(text) is None:
        raise DecodeError("not an address")
    address = cls(text)
    if str(address) != text:
        raise DecodeError("an address that is not in its usual spelling")
    return address
