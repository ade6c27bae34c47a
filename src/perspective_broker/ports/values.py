"""The values that cross the seams: ids, messages, promised answers, and aliases for what the application owns."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from enum import Enum
from typing import Any, Final, NamedTuple, Protocol, TypeAlias

__all__ = [
    "LARGE_MESSAGE",
    "SENT_BEFORE",
    "Answerable",
    "CallTarget",
    "Data",
    "Deadline",
    "InParts",
    "Message",
    "Method",
    "ObjectId",
    "Perspective",
    "PromisedAnswer",
    "Rank",
    "Undecoded",
    "Value",
]

#: A value of the application: an argument, an answer, an object that is exported.
Value: TypeAlias = Any

#: The identity under which values are encoded and decoded, as the application represents it; None outside of any.
Perspective: TypeAlias = Any

#: Values as a dialect keeps them until it is known under which perspective they are decoded. Only that dialect reads
#: them.
Undecoded: TypeAlias = Any

#: An object id on the wire: a number from the owner's table, or the name of an object that is always there.
ObjectId: TypeAlias = int | str

#: Data from an event loop: bytes, in any of the types that hold them.
Data: TypeAlias = bytes | bytearray | memoryview

#: A method ready to be called with the decoded arguments.
Method: TypeAlias = Callable[..., Value | Awaitable[Value]]


class PromisedAnswer(NamedTuple):
    """In the place of an object or a value: the answer of the call with that id."""

    request: int


#: The target of a call: an object or, where the dialect can pipeline, the answer of an earlier call.
CallTarget: TypeAlias = ObjectId | PromisedAnswer

#: In the place of a cacheable's state: the peer has the replica already.
SENT_BEFORE: Final = object()


#: Bytes of a message from which on it travels in pieces, where the dialect has them. Above the messages of a stream
#: (256 KiB and what one chunk adds), which wait for each other anyway; 512 KiB leave a connection of 100 Mbit/s in
#: 40 ms.
LARGE_MESSAGE: Final = 512 * 1024


class InParts:
    """A large outgoing message in parts that are not joined: the application's bytes and arrays are parts of their own.

    A joined copy of 1 MiB costs a third of a millisecond, most of it for memory that the system has to clear first.

    Args:
        parts: what is sent, in order. The first holds everything before the values.
    """

    __slots__ = ("_size", "parts")

    def __init__(self, parts: Sequence[bytes | memoryview]) -> None:
        self.parts: Sequence[bytes | memoryview] = parts
        self._size = sum(map(len, parts))

    def __len__(self) -> int:
        """Bytes of the message."""
        return self._size

    def headed(self, head: bytes) -> InParts:
        """Return the same message with another first part."""
        return InParts([head, *self.parts[1:]])

    def cut(self, start: int, end: int) -> list[memoryview]:
        """Return the bytes from ``start`` to before ``end``, without copying them."""
        found = []
        at = 0
        for part in self.parts:
            if max(at, start) < min(at + len(part), end):
                found.append(memoryview(part)[max(0, start - at) : end - at])
            at += len(part)
        return found


#: Results of a dialect's encoders. Only a message that travels in pieces is ever in parts.
Message: TypeAlias = bytes | InParts


class Rank(Enum):
    """Which messages may be sent before another one that is still on its way out."""

    CALL = "call"  #: calls, one-way calls and updates: one behind the other
    ANSWER = "answer"  #: answers and errors
    GIVES_BACK = "gives back"  #: releases and their like; and the farewell
    AT_ONCE = "at once"  #: pings, cancellations, notices


class Deadline(Protocol):
    """The moment at which a caller gives up its call."""

    def left(self) -> float:
        """Return the seconds until then; negative when it has passed."""


class Answerable(Protocol):
    """Receives the outcome of one call of ours. Exactly one of its methods is called, once."""

    @property
    def deadline(self) -> Deadline | None:
        """When the caller gives up the call, or None; asked when the message is encoded."""

    def succeed(self, value: Value) -> None:
        """The call has ended with ``value``."""

    def fail(self, error: Exception) -> None:
        """The call has ended with ``error``."""

    def abandon(self) -> None:
        """The call was given up, together with one that it depends on."""
