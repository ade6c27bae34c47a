"""Draw: a fuzzer's bytes decide one small choice after the other.

A target that makes its input in this way gets past greetings and checksums of structure, and a mutation of one byte is
a change of one choice. It is a reader of bytes in plain Python, so that an input can be replayed without a fuzzer.
"""

from __future__ import annotations

from collections.abc import Sequence
from random import Random
from typing import Final, TypeVar

__all__ = ["Draw", "cuts"]

_T = TypeVar("_T")


class Draw:
    """Reads choices from bytes. When these are used up, every choice is the first one, and so the input ends."""

    __slots__ = ("_at", "_data")

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = 0

    @property
    def left(self) -> int:
        """Bytes that have decided nothing yet."""
        return len(self._data) - self._at

    def byte(self) -> int:
        """Return 0 to 255."""
        if self._at >= len(self._data):
            return 0
        self._at += 1
        return self._data[self._at - 1]

    def below(self, bound: int) -> int:
        """Return 0 to ``bound`` - 1; a bound of at most 256."""
        return self.byte() % bound

    def choice(self, options: Sequence[_T]) -> _T:
        """Return one of at most 256 options."""
        return options[self.below(len(options))]

    def flag(self) -> bool:
        return self.byte() & 1 == 1

    def data(self, most: int = 40) -> bytes:
        """Return at most so many bytes (of at most 256)."""
        size = self.below(most + 1)
        data = self._data[self._at : self._at + size]
        self._at += len(data)
        return data

    def integer(self) -> int:
        """Return an integer: mostly a small one, sometimes one at an edge, sometimes any."""
        kind = self.byte()
        if kind < 0xC0:
            return kind % 12
        if kind < 0xE0:
            return _EDGES[kind % len(_EDGES)]
        return int.from_bytes(self.data(70), "big", signed=True)

    def text(self, most: int = 20) -> str:
        return self.data(most).decode("utf-8", "replace")

    def rest(self) -> bytes:
        """Return everything that is left, as it is."""
        data = self._data[self._at :]
        self._at = len(self._data)
        return data


_EDGES = [
    sign * (1 << bits) + near
    for bits in (7, 8, 31, 32, 53, 61, 63, 64, 447, 448)
    for sign in (1, -1)
    for near in (-1, 0, 1)
]


#: Bytes that are worth single bytes; of more only the first and the last half of these are cut so.
_FEW: Final = 4096


def cuts(data: bytes, seed: int) -> list[bytes]:
    """Return ``data`` in pieces; 0 asks for single bytes, any other seed for pieces of all sizes.

    Large data has some hundreds of pieces more, not thousands: its pieces grow with it.
    """
    if not seed:
        middle = data[_FEW // 2 : -_FEW // 2] if len(data) > _FEW else b""
        ends = (data[: _FEW // 2], data[-_FEW // 2 :]) if middle else (data, b"")
        first, last = ([end[at : at + 1] for at in range(len(end))] for end in ends)
        return [*first, *cuts(middle, 1), *last]
    random = Random(seed)
    longest = max(1000, len(data) // 50)
    pieces = []
    at = 0
    while at < len(data):
        size = random.choice((1, 1, 2, 3, 5, 8, 13, 40, 100, longest))
        pieces.append(data[at : at + size])
        at += size
    return pieces
