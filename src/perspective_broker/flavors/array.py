"""Array: numbers in a buffer with a type and a shape, as which numpy's arrays arrive where numpy is not in use."""

from __future__ import annotations

import re
import sys
from math import prod
from typing import Any, Final

__all__ = ["MAX_DIMENSIONS", "Array", "check_array"]

#: Dimensions of an array: what all versions of numpy can have.
MAX_DIMENSIONS: Final = 32
#: Bytes that an array could have if none of its dimensions were 0: what fits a machine's index.
_MOST_BYTES: Final = 1 << 62

#: Types of items as numpy writes them: byte order, kind, and size in bytes (of ``U`` in characters).
_DTYPE: Final = re.compile(
    r"(?:\|b1|\|[iu]1|[<>](?:[iu][248]|f[248]|c8|c16|[mM]8(?:\[(?:[1-9][0-9]{0,8})?"
    r"(?:Y|M|W|D|h|m|s|ms|us|ns|ps|fs|as)\])?|U[1-9][0-9]{0,8})|\|S[1-9][0-9]{0,8})",
    re.ASCII,
)
_SIZE: Final = re.compile("[0-9]+")


class Array:
    """Items of one type in a buffer, in C order.

    ``numpy.asarray(array)`` makes an array of numpy over the same memory.

    Args:
        dtype: the type of the items as numpy writes it, such as ``"<f8"`` (``array.dtype.str``).
        shape: the size of each dimension.
        data: the bytes; any object with a buffer.

    Raises:
        ValueError: these do not fit each other, or an array of this type does not cross.
    """

    __slots__ = ("data", "dtype", "shape")

    def __init__(self, dtype: str, shape: tuple[int, ...], data: Any) -> None:
        view = memoryview(data)
        #: the bytes, read-only
        self.data: Final[memoryview] = (
            (view if view.contiguous else memoryview(bytes(view))).cast("B").toreadonly()
        )
        self.dtype: Final = dtype
        self.shape: Final = tuple(shape)
        problem = check_array(dtype, self.shape, len(self.data))
        if problem:
            raise ValueError(problem)

    @property
    def __array_interface__(self) -> dict[str, Any]:
        """How numpy reads it."""
        return {"version": 3, "typestr": self.dtype, "shape": self.shape, "data": self.data}

    def __buffer__(self, flags: int) -> memoryview:
        """Return the memory with its items and dimensions; used by Python 3.12 and newer."""
        form: Any = _FORMATS.get(self.dtype[1:]) if self.dtype[0] in _NATIVE else None
        if form is None or not all(self.shape):
            raise BufferError(f"items of the type {self.dtype} are for numpy; their bytes are in data")
        return self.data.cast(form, self.shape)

    def __len__(self) -> int:
        if not self.shape:
            raise TypeError("an array without dimensions has no length")
        return self.shape[0]

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Array):
            return NotImplemented
        return (self.dtype, self.shape, self.data) == (other.dtype, other.shape, other.data)

    def __hash__(self) -> int:
        return hash((self.dtype, self.shape, bytes(self.data)))

    def __repr__(self) -> str:
        return f"<Array {self.dtype} {self.shape}>"


#: The orders of bytes that the machine's own has, as numpy writes it.
_NATIVE: Final = "|<" if sys.byteorder == "little" else "|>"

#: Type of an item as numpy writes it -> as the buffer protocol does.
_FORMATS: Final = {
    "b1": "?", "i1": "b", "u1": "B", "i2": "h", "u2": "H", "i4": "i", "u4": "I", "i8": "q", "u8": "Q",
    "f4": "f", "f8": "d",
}  # fmt: skip


def check_array(dtype: object, shape: object, size: int) -> str:
    """Return what is wrong with an array of ``size`` bytes; an empty text when it is right."""
    if type(dtype) is not str or _DTYPE.fullmatch(dtype) is None:
        return "the type of an array's items is one of the kinds b, i, u, f, c, m, M, S and U, as numpy writes it"
    if type(shape) is not tuple or len(shape) > MAX_DIMENSIONS:
        return f"an array has at most {MAX_DIMENSIONS} dimensions"
    if not all(type(length) is int and length >= 0 for length in shape):
        return "the dimensions of an array are not negative"
    item = int(_SIZE.findall(dtype)[0]) * (4 if dtype[1] == "U" else 1)
    if prod(length or 1 for length in shape) * item > _MOST_BYTES:
        return "an array that is too large for its dimensions"
    if prod(shape) * item != size:
        return "an array whose bytes do not fit its dimensions"
    return ""
