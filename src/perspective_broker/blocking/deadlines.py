"""Deadlines for threads: the same as those of the asyncio face, in a plain ``with`` block."""

from __future__ import annotations

import time
from types import TracebackType
from typing import Final

from ..aio.deadlines import Limit, checked_seconds, current, under

__all__ = ["Deadline", "deadline", "seconds_left"]


class _Monotonic:
    """The clock of all event loops. One that sleeps (uvloop's) does not know its own time."""

    def time(self) -> float:
        return time.monotonic()


_clock: Final = _Monotonic()


def deadline(seconds: float | None) -> Deadline:
    """Give the calls in a ``with`` block so many seconds, all together.

    ::

        with blocking.deadline(2):
            room = house.room("kitchen")
            room.paint("green")

    A call that has no answer by then is given up and raises :class:`~perspective_broker.DeadlineExceeded`, which is a
    :class:`TimeoutError`; so does one that is made later in the block. A pb7 peer learns how much time is left, stops
    the methods by then on its own, and what those call is under the same deadline. It takes the place of the
    ``timeout`` of :func:`connect`; a block within a block never ends later than the one around it. Computing in between
    is not interrupted.

    Args:
        seconds: from now on. None for no deadline but the one that there is.

    Raises:
        TypeError: ``seconds`` is not a number.
    """
    return Deadline(checked_seconds(seconds))


class Deadline:
    """The context manager that :func:`deadline` returns. Entered once."""

    def __init__(self, seconds: float | None) -> None:
        self._seconds = seconds
        self._entered = False
        self._limit: Limit | None = None
        self._before: Limit | None = None

    def __enter__(self) -> Deadline:
        if self._entered:
            raise RuntimeError("a deadline is entered once")
        self._entered = True
        self._before = under.get()
        if self._seconds is not None:
            when, outer = _clock.time() + self._seconds, current()
            self._limit = Limit(_clock, when if outer is None else min(when, outer.when), outer)
            under.set(self._limit)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._limit is not None:
            self._limit.left_behind = True
            under.set(self._before)


def seconds_left() -> float | None:
    """Return what a deadline leaves here, less than nothing when it has passed; None without one."""
    limit = None if under.get() is None else current()
    return None if limit is None else limit.when - _clock.time()
