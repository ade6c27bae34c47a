"""Deadlines: how long a caller waits, known also to the methods that work for it.

The time left is a *context variable* here, so that it needs no argument on the way through a program; on the wire it is
an argument of the call. The core judges the calls of a peer; this module is where a program asks.
"""

from __future__ import annotations

import asyncio
from contextvars import ContextVar
from types import TracebackType
from typing import Protocol

from ..session import IncomingCall

__all__ = ["Deadline", "Limit", "checked_seconds", "current", "deadline", "remaining", "under"]


class Clock(Protocol):
    """The time of an event loop."""

    def time(self) -> float: ...


class Limit:
    """Until when something has to be done. Over when that has ended: what goes on after it is not limited.

    Args:
        loop: whose time it is, or a clock that goes like its.
        when: by that time.
        outer: the limit around it.
        call: the call of a peer that it is for; None for a block of the program's own.

    Attributes:
        left_behind: whether the block has been left.
    """

    __slots__ = ("_call", "_loop", "left_behind", "outer", "when")

    def __init__(
        self,
        loop: Clock,
        when: float,
        outer: Limit | None = None,
        call: IncomingCall | None = None,
    ) -> None:
        self._loop = loop
        self._call = call
        self.when: float = when
        self.outer: Limit | None = outer
        self.left_behind: bool = False

    @property
    def over(self) -> bool:
        """Whether it limits nothing any more."""
        return self.left_behind or (self._call is not None and self._call.has_ended)

    def left(self) -> float:
        """Return the seconds that are left; less than nothing when it has passed."""
        return self.when - self._loop.time()


#: The limit of the code that runs here; it may be over, see :func:`current`.
under: ContextVar[Limit | None] = ContextVar("perspective_broker.deadline", default=None)


def current() -> Limit | None:
    """Return what limits the calls that are made here, or None."""
    limit = under.get()
    while limit is not None and limit.over:
        limit = limit.outer
    return limit


def remaining() -> float | None:
    """Return the seconds that are left here, never less than 0; None without a deadline.

    In a method that a peer called it is what the peer's deadline leaves, in a block of :func:`deadline` what that
    leaves; in both, the less.
    """
    limit = current()
    return None if limit is None else max(0.0, limit.left())


def deadline(seconds: float | None) -> Deadline:
    """Give what is done in an ``async with`` block so many seconds, here and in the methods that it calls.

    ::

        async with pb.deadline(2):
            room = await house.call("room", "kitchen")
            await room.call("paint", "green")

    Here it is what :func:`asyncio.timeout` is: the task is cancelled when the time has passed, and the block raises
    :class:`TimeoutError`. But calls made in it, also by the functions and tasks that it starts, take what is left with
    them: a pb7 peer stops their methods by then on its own, and what those call in turn is under the same deadline. A
    classic peer does not learn of it. A one-way call (``tell``) has no deadline.

    A block within a block never ends later than the one around it.

    Args:
        seconds: from now on. None for no deadline but the one that there is.

    Raises:
        TypeError: ``seconds`` is not a number.
    """
    return Deadline(checked_seconds(seconds))


def checked_seconds(seconds: float | None) -> float | None:
    """Return what a deadline was asked for.

    Raises:
        TypeError: ``seconds`` is not a number.
    """
    if seconds is not None and not isinstance(seconds, (int, float)):
        raise TypeError(f"a deadline is a number of seconds, not {seconds!r:.100}")
    return seconds


class Deadline:
    """The asynchronous context manager that :func:`deadline` returns. Entered once."""

    __slots__ = ("_before", "_limit", "_seconds", "_timeout")

    def __init__(self, seconds: float | None) -> None:
        self._seconds = seconds
        self._timeout: asyncio.Timeout | None = None
        self._limit: Limit | None = None
        self._before: Limit | None = None

    def when(self) -> float | None:
        """Return when it ends, by the event loop's clock; None when it does not, or was not entered yet."""
        return None if self._timeout is None else self._timeout.when()

    def expired(self) -> bool:
        """Return whether its time has passed and the block was cancelled."""
        return self._timeout is not None and self._timeout.expired()

    async def __aenter__(self) -> Deadline:
        if self._timeout is not None:
            raise RuntimeError("a deadline is entered once")
        loop = asyncio.get_running_loop()
        outer = current()
        when = None if self._seconds is None else loop.time() + self._seconds
        if outer is not None:
            when = outer.when if when is None else min(when, outer.when)
        self._timeout = asyncio.timeout_at(when)
        await self._timeout.__aenter__()
        self._before = under.get()
        if when is not None:
            self._limit = Limit(loop, when, outer)
            under.set(self._limit)
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._limit is not None:
            self._limit.left_behind = True
            under.set(self._before)
        assert self._timeout is not None
        await self._timeout.__aexit__(kind, error, traceback)
