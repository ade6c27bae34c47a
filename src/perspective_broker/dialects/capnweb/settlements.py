"""Settlements: values that become known later, and what waits for them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from ...ports import Perspective, Value

__all__ = ["KEPT_BYTES", "Settlement", "Waiting", "kept_copy"]

#: Bytes as which a kept answer counts at least: its entry in a table, and its id.
KEPT_BYTES: Final = 64

#: Bytes as which one value in a kept answer counts.
_VALUE_BYTES: Final = 64

_ATOMS: Final = frozenset({type(None), bool, int, float})


class Settlement:
    """The answer to a push of the peer, or a promise that it has introduced.

    Attributes:
        is_settled: whether it has a value or an error.
        value: what it is, if it is not an error.
        error: JSON of the error expression, if it is one.
        perspective: under which its value is encoded.
        is_pulled: whether the peer wants to be sent it.
        is_released: whether the peer does not mention it any more.
        is_stream: whether it releases itself.
        is_running: whether its method was called and has not ended.
        weight: bytes as which it counts while it is kept.
        waiting: what waits for it.
    """

    __slots__ = (
        "error",
        "is_pulled",
        "is_released",
        "is_running",
        "is_settled",
        "is_stream",
        "perspective",
        "value",
        "waiting",
        "weight",
    )

    def __init__(self) -> None:
        self.is_settled = False
        self.value: Value = None
        self.error: bytes | None = None
        self.perspective: Perspective = None
        self.is_pulled = False
        self.is_released = False
        self.is_stream = False
        self.is_running = False
        self.weight = 0
        self.waiting: list[Waiting] | None = None


class Waiting:
    """Something that is done when all promises on which it depends are settled.

    Attributes:
        missing: how many are not.
        act: what is done.
        size: bytes as which it counts while it waits.
    """

    __slots__ = ("act", "missing", "size")

    def __init__(self, act: Callable[[], None], size: int) -> None:
        self.act = act
        self.missing = 0
        self.size = size


def kept_copy(value: Value) -> tuple[Value, int]:
    """Return a value as it is now, and the bytes as which it counts: the program may change what it has returned.

    Lists and dictionaries are copied; objects stay themselves.
    """
    kind = type(value)
    if kind in _ATOMS:
        return value, KEPT_BYTES
    if kind is str or kind is bytes:
        return value, KEPT_BYTES + len(value)
    if kind is not list and kind is not tuple and kind is not dict:
        size = len(value) if isinstance(value, (str, bytes, bytearray)) else _VALUE_BYTES
        return value, KEPT_BYTES + size
    total = [0]
    return _copy(value, total, 0), KEPT_BYTES + total[0]


def _copy(value: Value, total: list[int], depth: int) -> Value:
    total[0] += _VALUE_BYTES
    kind = type(value)
    if kind is str or kind is bytes:
        total[0] += len(value)
    if depth > 256:  # it cannot be sent, which is found out when it is
        return value
    if kind is list or kind is tuple:
        return [_copy(item, total, depth + 1) for item in value]
    if kind is dict:
        return {key: _copy(item, total, depth + 1) for key, item in value.items()}
    return value
