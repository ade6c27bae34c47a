"""Arrays of numpy, without importing it: a program that does not use numpy does not pay for it."""

from __future__ import annotations

import sys
from typing import Any, Final, NamedTuple

from ..errors import DecodeError
from ..flavors import Array, check_array
from ..ports import Undecoded, Value

__all__ = ["RawArray", "array_bytes", "array_of", "is_array", "raw_array", "scalar_of"]

#: Kinds of items that cross, with the sizes in bytes that all machines have.
_SIZES: Final[dict[str, tuple[int, ...]]] = {"f": (2, 4, 8), "c": (8, 16)}
_KINDS: Final = "biufcmMSU"

#: Types that a scalar's ``item()`` may return.
_NUMBERS: Final = (bool, int, float, complex, str, bytes)


def scalar_of(value: Value) -> Value:
    """Return a scalar of numpy as a value of Python; the value itself if it is none, or has no such value."""
    numpy: Any = sys.modules.get("numpy")
    if numpy is None or not isinstance(value, numpy.generic) or value.dtype.kind in "mMV":
        return value
    plain = value.item()
    return plain if type(plain) in _NUMBERS else value


class RawArray(NamedTuple):
    """An array that is sent: the type of its items as numpy writes it, its shape, and its bytes."""

    dtype: str
    shape: tuple[int, ...]
    data: bytes | memoryview


def is_array(value: Value) -> bool:
    """Return whether a value is an array."""
    if type(value) is Array:
        return True
    numpy: Any = sys.modules.get("numpy")
    return numpy is not None and isinstance(value, numpy.ndarray)


def array_bytes(value: Value) -> int:
    """Return the bytes that an array takes; 0 for other values."""
    if type(value) is Array:
        return len(value.data)
    numpy: Any = sys.modules.get("numpy")
    return value.nbytes if numpy is not None and type(value) is numpy.ndarray else 0


def raw_array(value: Value) -> RawArray | None:
    """Return an array as it is sent, with its bytes or a copy of them; None when it is no array.

    The message may leave later, and the program may change the array before. So only what cannot change is not copied.

    Raises:
        ValueError: it cannot be sent; the text says what can.
    """
    if type(value) is Array:
        data = value.data
        return RawArray(value.dtype, value.shape, data if type(data.obj) is bytes else bytes(data))
    numpy: Any = sys.modules.get("numpy")
    if numpy is None or not isinstance(value, numpy.ndarray):
        return None
    if type(value) is not numpy.ndarray:
        raise ValueError(
            f"a {type(value).__name__} is a special array; send numpy.asarray(...), which crosses"
        )
    dtype = value.dtype
    if dtype.kind == "O":
        raise ValueError("an array of objects does not cross; send what its tolist() returns")
    if dtype.kind not in _KINDS:
        raise ValueError("an array of records does not cross; send its columns")
    if dtype.itemsize not in _SIZES.get(dtype.kind, (dtype.itemsize,)):
        raise ValueError("an array whose items have another size on other machines; send its astype(float)")
    raw = RawArray(dtype.str, value.shape, _unchanging_bytes(value))
    problem = check_array(*raw[:2], len(raw.data))
    if problem:
        raise ValueError(problem)
    return raw


def _unchanging_bytes(array: Any) -> bytes | memoryview:
    """Return the bytes of an array of numpy in C order: its own memory if nothing can write there, or a copy."""
    owner: Any = array
    while type(owner) is type(array) and not owner.flags.writeable and owner.base is not None:
        owner = owner.base
    memory: Any = owner.obj if isinstance(owner, memoryview) else owner
    if type(memory) is bytes or (type(memory) is type(array) and not memory.flags.writeable):
        try:
            return memoryview(array).cast("B")
        except (TypeError, ValueError):  # not contiguous, empty, or of items that a memoryview does not know
            pass
    copy: bytes = array.tobytes()
    return copy


def array_of(dtype: object, shape: tuple[Undecoded, ...], data: memoryview) -> Value:
    """Return an array that arrived: one of numpy over the same memory, or where numpy is not in use an ``Array``.

    Raises:
        DecodeError: its type, shape and bytes do not fit each other.
    """
    problem = check_array(dtype, shape, len(data))
    if problem:
        raise DecodeError(problem)
    if dtype == "|b1" and bytes(data).translate(None, b"\0\1"):
        raise DecodeError("a boolean of an array is 0 or 1")
    assert isinstance(dtype, str)
    numpy: Any = sys.modules.get("numpy")
    if numpy is None:
        return Array(dtype, shape, data)
    if not len(data):
        empty = numpy.empty(shape, dtype)
        empty.flags.writeable = False
        return empty
    return numpy.frombuffer(data, dtype).reshape(shape)
