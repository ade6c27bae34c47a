"""A value as text: the same for two values exactly if they are indistinguishable.

Types, the bits of floats, and which containers are one and the same, cycles included.
"""

from __future__ import annotations

import struct
from collections import deque
from decimal import Decimal
from typing import Any, Final

from perspective_broker.dialects.arrays import raw_array
from perspective_broker.flavors import Exportable, Reference, RemoteCopy

__all__ = ["TOO_DEEP", "describe"]

#: The placeholder for a value that is deeper than this description goes.
TOO_DEEP: Final = "(too deep)"


def describe(value: Any) -> str:
    """Return a value as text; :data:`TOO_DEEP` when it is nested too deep to look at."""
    try:
        return _Describer().of(value)
    except RecursionError:
        return TOO_DEEP


class _Describer:
    def __init__(self) -> None:
        self._seen: dict[int, tuple[int, Any]] = {}  # and the object, so that the id stays its own

    def of(self, value: Any) -> str:
        kind = type(value)
        if isinstance(value, Reference):
            return f"Reference({value._luid!r})"
        if isinstance(value, Exportable):
            return f"{kind.__name__}()"
        if kind in (list, dict, set) or isinstance(value, RemoteCopy):
            before = self._seen.get(id(value))
            if before is not None:
                return f"again({before[0]})"
            self._seen[id(value)] = (len(self._seen), value)
        if kind is list or kind is tuple:
            return f"{kind.__name__}({','.join(map(self.of, value))})"
        if kind is dict:
            # In order: that of a dictionary crosses.
            return "dict(" + ",".join(f"{self.of(key)}:{self.of(item)}" for key, item in value.items()) + ")"
        if kind is set or kind is frozenset:
            return f"{kind.__name__}({','.join(sorted(map(_Describer().of, value)))})"
        if kind is deque:
            return f"deque({value.maxlen},{','.join(map(self.of, value))})"
        if (raw := raw_array(value)) is not None:
            return f"array{(raw.dtype, raw.shape, raw.data.hex())!r}"
        if kind is float:
            return f"float({struct.pack('!d', value).hex()})"
        if kind is complex:
            return f"complex({self.of(value.real)},{self.of(value.imag)})"
        if kind is Decimal:
            return f"Decimal{value.as_tuple()!r}"
        if isinstance(value, BaseException):
            return f"{kind.__name__}{value.args!r}"
        if isinstance(value, RemoteCopy):
            return f"{kind.__name__}({self.of({**vars(value)})})"
        return f"{kind.__name__}:{value!r}"
