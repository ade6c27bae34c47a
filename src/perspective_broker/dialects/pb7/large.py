"""Large bytes objects and arrays: parts of a message that are not copied by the codec."""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator, Sequence
from typing import Final

import ormsgpack
from ormsgpack import Ext, packb

from ...errors import ProtocolError, SerializationError
from ...limits import Limits
from ...ports import Undecoded, Value
from ..arrays import RawArray, array_bytes, raw_array
from . import codes
from .frames import Frame
from .scanning import PLAIN_VALUES, extension, most_extensions, skip

__all__ = [
    "LARGE",
    "LARGE_BYTES",
    "NOT_PLAIN",
    "OPTIONS",
    "array_head",
    "array_within",
    "cut_arrays",
    "has_large",
    "is_spelled",
    "look_at",
    "pack_plain",
    "pieces",
]


#: Exact types only: ormsgpack calls the packer for all other types, subclasses of MessagePack's own included.
OPTIONS: Final = (
    ormsgpack.OPT_PASSTHROUGH_BIG_INT
    | ormsgpack.OPT_PASSTHROUGH_DATACLASS
    | ormsgpack.OPT_PASSTHROUGH_DATETIME
    | ormsgpack.OPT_PASSTHROUGH_ENUM
    | ormsgpack.OPT_PASSTHROUGH_SUBCLASS
    | ormsgpack.OPT_PASSTHROUGH_TUPLE
    | ormsgpack.OPT_PASSTHROUGH_UUID
)

#: Bytes objects of this size or more are not copied by the codec but joined into the message once. Packing 1 MiB takes
#: 520 µs, because the codec's buffer grows step by step; joining it takes 25 µs.
LARGE: Final = 32 * 1024
#: Only lists up to this length are searched for them: arguments, not data.
_MAX_SEARCHED: Final = 64

#: Bytes of one value, as MessagePack writes their number.
_MOST: Final = 0xFFFF_FFFF
#: A first byte and a length of 16 or 32 bits.
_HEAD16: Final = struct.Struct("!BH")
_HEAD32: Final = struct.Struct("!BI")
#: Results of :func:`look_at`.
PLAIN, LARGE_BYTES, NOT_PLAIN = "plain", "large bytes", "not plain"

#: Types that ormsgpack packs by itself, if their items are such types too.
_PLAIN_TYPES: Final = frozenset({type(None), bool, int, float, str, bytes, list, dict})


def look_at(values: Sequence[Value]) -> str:
    """Return how arguments are best packed. Only few arguments are tested, and not the items inside them.

    If an argument is not plain, ormsgpack refuses it after half a microsecond; this test costs a tenth of that.
    """
    if len(values) <= _MAX_SEARCHED:
        for value in values:
            kind = type(value)
            if kind not in _PLAIN_TYPES:
                return NOT_PLAIN
            if kind is bytes and len(value) >= LARGE:
                return LARGE_BYTES
    return PLAIN


def has_large(items: Sequence[Value]) -> bool:
    """Return whether :func:`pieces` is faster than the codec alone."""
    if len(items) <= _MAX_SEARCHED:
        for item in items:
            kind = type(item)
            if kind is bytes:
                if len(item) >= LARGE:
                    return True
            elif kind not in _PLAIN_TYPES and array_bytes(item) >= LARGE:
                return True
    return False


def pieces(
    items: list[Value], pack: Callable[[Value], bytes], most: int = _MOST
) -> Iterator[tuple[bytes | memoryview, bool]]:
    """Yield the parts of a packed list, in order, each with a flag: whether it is large, and not copied.

    Large are bytes objects, and the bytes of arrays.

    Args:
        items: of the list.
        pack: packs any other value.
        most: bytes of an array, beyond which it is not copied but refused.

    Raises:
        SerializationError: one of them is longer than that, or than MessagePack allows; no received one is.
    """
    yield _array_head(len(items)), False
    for item in items:
        kind = type(item)
        if kind is bytes and len(item) >= LARGE:
            yield _bytes_head(item), False
            yield item, True
        elif kind is list and has_large(item):
            yield from pieces(item, pack, most)
        elif kind not in _PLAIN_TYPES and array_bytes(item) >= LARGE:
            raw = array_within(item, most)
            head = array_head(raw)
            yield _extension_head(item, len(head) + len(raw.data)) + head, False
            yield raw.data, True
        else:
            yield pack(item), False


def array_within(value: Value, most: int) -> RawArray:
    """Return an array as it is sent.

    Raises:
        SerializationError: it has more bytes than ``most``, or cannot be sent at all.
    """
    size = array_bytes(value)
    if size > most:
        raise SerializationError(
            f"an array of {size} bytes; a value may have {most} (Limits.large_string_bytes, of either side)",
            culprit=value,
        )
    try:
        raw = raw_array(value)
    except ValueError as error:
        raise SerializationError(str(error), culprit=value) from None
    assert raw is not None
    return raw


def array_head(raw: RawArray) -> bytes:
    """Return the beginning of an array's payload: the type of its items and its shape."""
    return packb([raw.dtype, list(raw.shape)])


def _array_head(count: int) -> bytes:
    """Return the header of an array of ``count`` items, in its shortest spelling."""
    if count < 0x10:
        return bytes((0x90 + count,))
    return _HEAD16.pack(0xDC, count) if count <= 0xFFFF else _HEAD32.pack(0xDD, count)


def _bytes_head(value: bytes) -> bytes:
    """Return the header of a bytes object of at least :data:`LARGE` bytes, in its shortest spelling."""
    size = len(value)
    if size <= 0xFFFF:
        return _HEAD16.pack(0xC5, size)
    if size > _MOST:
        raise SerializationError(f"a bytes object may have at most {_MOST} bytes", culprit=value)
    return _HEAD32.pack(0xC6, size)


def _extension_head(value: Value, size: int) -> bytes:
    """Return the header of an array whose payload has ``size`` bytes, in its shortest spelling."""
    if size <= 0xFFFF:
        return _HEAD16.pack(0xC8, size) + bytes((codes.ARRAY,))
    if size > _MOST:
        raise SerializationError(f"an array may have at most {_MOST} bytes", culprit=value)
    return _HEAD32.pack(0xC9, size) + bytes((codes.ARRAY,))


#: What an array's payload begins with, after its type.
_ARRAY_BEGINS: Final = bytes((codes.ARRAY, 0x92))


def cut_arrays(frame: Frame, limits: Limits) -> tuple[Frame, list[memoryview]]:
    """Return a frame without the bytes of its large arrays, and these bytes, which are not copied.

    Arrays inside other extensions stay where they are.
    """
    arrays: list[memoryview] = []
    if len(frame) < LARGE or frame.find(_ARRAY_BEGINS) < 0:
        return frame, arrays
    view = memoryview(frame)
    kept: list[bytes | memoryview] = []
    pos = done = 0
    left = most_extensions(limits)
    try:
        while left and (pos := PLAIN_VALUES.match(frame, pos).end()) < len(frame):  # type: ignore[union-attr]
            left -= 1
            code, start, end = extension(frame, pos, limits)
            if code == codes.ARRAY and end - start >= LARGE:
                data_at = skip(frame, start, 1, limits)
                if data_at < end <= len(frame):
                    kept += (view[done:pos], packb(Ext(codes.ARRAY, bytes(view[start:data_at]))))
                    arrays.append(view[data_at:end].toreadonly())
                    done = end
            pos = end
    except (ProtocolError, LookupError):  # it is decoded as it is, and refused then
        return frame, []
    return (b"".join([*kept, view[done:]]) if arrays else frame), arrays


def is_spelled(message: Undecoded, frame: Frame) -> bool:
    """Return whether a frame is the one spelling of the message that was decoded from it."""
    try:
        if len(frame) <= LARGE or type(message) is not list:
            return packb(message, None, OPTIONS) == frame
        pos = 0
        for piece, is_large in pieces(message, pack_plain):
            # A large object need not be compared: it was decoded from this position, if all before it is equal.
            if not is_large and not frame.startswith(bytes(piece), pos):
                return False
            pos += len(piece)
        return pos == len(frame)
    except TypeError:  # a key that is not text, or nested deeper than the codec packs
        return False


def pack_plain(value: Value) -> bytes:
    return packb(value, None, OPTIONS)
