"""Bytes as JSON has them: base64, with the name of the JavaScript container that they fill."""

from __future__ import annotations

import base64
import binascii
import sys
from array import array
from typing import Final

from ...errors import DecodeError, SerializationError
from ...ports import Undecoded, Value

__all__ = ["bytes_in", "bytes_tree"]

#: Containers that arrive as plain bytes.
_PLAIN: Final = frozenset({"ArrayBuffer", "DataView", "Uint8Array", "Uint8ClampedArray"})

#: Containers of numbers by the size and kind of their items, as Python's arrays spell them on this machine.
_CODES: Final = {
    "Int8Array": "b",
    "Int16Array": "h",
    "Uint16Array": "H",
    "Int32Array": "i",
    "Uint32Array": "I",
    "BigInt64Array": "q",
    "BigUint64Array": "Q",
    "Float32Array": "f",
    "Float64Array": "d",
}
#: The containers of type codes; ``l`` and ``L`` have the size that the machine gives them.
_CONTAINERS: Final = {
    **{code: name for name, code in _CODES.items()},
    "l": "BigInt64Array" if array("l").itemsize == 8 else "Int32Array",
    "L": "BigUint64Array" if array("L").itemsize == 8 else "Uint32Array",
}


def bytes_tree(value: bytes | bytearray | memoryview | array[Value]) -> list[Value]:
    """Return the expression of bytes, or of numbers in an array.

    Raises:
        SerializationError: the items have a format that JavaScript has no container for.
    """
    view = memoryview(value)
    if view.ndim != 1:
        raise SerializationError("a memoryview of several dimensions cannot cross; send its tobytes()")
    data = view.tobytes()
    if view.format in ("B", "c"):
        return ["bytes", _encoded(data)]
    container = _CONTAINERS.get(view.format.lstrip("@"))
    if container is None:
        raise SerializationError(
            "an array whose items JavaScript has no container for cannot cross; send its tobytes()"
        )
    if sys.byteorder == "big":
        swapped = array(view.format.lstrip("@"), data)
        swapped.byteswap()
        data = swapped.tobytes()
    return ["bytes", _encoded(data), container]


def bytes_in(node: list[Undecoded]) -> Value:
    """Return the bytes, or the array, that an expression describes.

    Raises:
        DecodeError: it is malformed.
    """
    if not 2 <= len(node) <= 3 or type(node[1]) is not str:
        raise DecodeError("bytes are base64 text, and the name of a container")
    text = node[1]
    try:
        data = base64.b64decode(text + "=" * (-len(text) % 4), validate=True)
    except (binascii.Error, ValueError):
        raise DecodeError("bytes are not base64") from None
    container = node[2] if len(node) == 3 else "Uint8Array"
    if type(container) is str and container in _PLAIN:
        return data
    code = _CODES.get(container) if type(container) is str else None
    if code is None:
        raise DecodeError("bytes have a container that is not known")
    numbers = array(code)
    if len(data) % numbers.itemsize:
        raise DecodeError("the length of bytes does not fit their container")
    numbers.frombytes(data)
    if sys.byteorder == "big":
        numbers.byteswap()
    return numbers


def _encoded(data: bytes) -> str:
    return base64.b64encode(data).decode().rstrip("=")
