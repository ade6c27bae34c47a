"""Memory: what one peer makes this program hold, and what all peers of a server make it hold together.

Bytes on the wire are a poor measure: a megabyte of empty lists is 64 megabytes of objects. A connection is charged for
the arguments of the peer's calls, as objects, from their arrival to their end, and for the bytes of answers that are
kept or that the peer does not read. Short calls are not charged, because their number is bounded, and because most
calls are short.

When a bound is reached the peer's next large call is refused, and what it does not read is not kept for it. Nothing
that runs is ended, and small calls go on.
"""

from __future__ import annotations

from typing import Final

from ..errors import Unavailable
from ..limits import Limits

__all__ = ["UNCHARGED", "Memory", "SharedMemory", "at_most"]

#: Bytes of a call up to which it is not charged.
UNCHARGED: Final = 1024

#: Bytes of a call up to which it is charged by its size alone, because looking at it would take longer than it does.
_NOT_LOOKED_AT: Final = 16 * 1024

#: Bytes of memory that a byte of such a call is taken to need: more than nearly any value, and half of an empty list.
_EACH_BYTE: Final = 32


def at_most(size: int) -> int:
    """Return the memory that a call of so many bytes is charged; 0 when it has to be looked at."""
    return size * _EACH_BYTE if size <= _NOT_LOOKED_AT else 0


class SharedMemory:
    """Bytes held by all connections of one server.

    Args:
        most: bytes that they may hold.

    Attributes:
        held: bytes that they hold.
    """

    __slots__ = ("_most", "held")

    def __init__(self, most: int) -> None:
        self._most = most
        self.held: int = 0

    @property
    def is_full(self) -> bool:
        """Whether no connection may hold more."""
        return self.held >= self._most


class Memory:
    """Bytes held by one connection.

    Args:
        limits: ``memory_bytes`` bounds it.
        shared: what it holds together with others; None when that is not bounded.

    Attributes:
        held: bytes that it holds.
        high: bytes of answers from which on they count as unread.
        unread: the part of them that is answers which the peer does not read.
    """

    __slots__ = ("_has_ended", "_most", "_shared", "held", "high", "unread")

    def __init__(self, limits: Limits, shared: SharedMemory | None) -> None:
        self.use_limits(limits)
        self._shared = shared
        self._has_ended = False
        self.held: int = 0
        self.unread: int = 0

    def use_limits(self, limits: Limits) -> None:
        """Go by other limits from now on. (They are looked up here once, not by every answer.)"""
        self._most = limits.memory_bytes
        self.high: int = limits.write_buffer_high

    @property
    def is_full(self) -> bool:
        """Whether this connection may hold nothing more."""
        return self.held >= self._most

    @property
    def is_full_of_answers(self) -> bool:
        """Whether no further answer may be kept until some are read: not when calls take the most of it."""
        return self.is_full and 2 * self.unread >= self._most

    def refusal(self) -> Unavailable | None:
        """Return why one more large call cannot be taken; None when there is room."""
        if self.is_full:
            return Unavailable(
                f"memory_bytes: this connection holds {self.held} bytes, of at most {self._most} (Limits.memory_bytes)",
                code="slots",
            )
        if self._shared is not None and self._shared.is_full:
            return Unavailable(
                "server_memory_bytes: all connections together hold as much as they may (Limits.server_memory_bytes)",
                code="busy",
            )
        return None

    def charge(self, size: int) -> None:
        """Count something that is held from now on, or, when negative, no more."""
        if self._has_ended:
            return
        self.held += size
        if self._shared is not None:
            self._shared.held += size

    def leaves_unread(self, size: int) -> None:
        """So many bytes of answers wait for the peer to read."""
        self.charge(size - self.unread)
        self.unread = size

    def clear(self) -> None:
        """The connection has ended: it holds nothing, whatever ends later."""
        self.charge(-self.held)
        self.unread = 0
        self._has_ended = True
