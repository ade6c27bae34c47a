"""Busy polling: an event loop looks again and again for a moment before it sleeps.

To wake a process that sleeps takes longer than a call: of the 105 µs of one pb7 call at a time between two processes,
60 are two wake-ups (docs/performance.md). It is off unless the program asks for it, because it keeps a core busy as
long as calls go on, and Python's interpreter lock, too.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from time import perf_counter
from typing import Final

__all__ = ["MOST_SECONDS", "BusyPoll"]

#: Seconds beyond which it makes no sense: a thousand times what a wake-up takes, and probably meant in another unit.
MOST_SECONDS: Final = 0.05


#: Lets another process have the core if one wants it: it may be the peer, for which we wait. (On one core calls
#: took 250 µs without that, at 100 µs of polling, and take as long as without polling now.)
_give_way: Final[Callable[[], object]] = getattr(os, "sched_yield", int)


class BusyPoll:
    """Keeps one event loop awake for a moment after a connection of it has sent something.

    Args:
        loop: which one.
        seconds: how long.
        clock: by which; the loop's own may stand still between whole milliseconds.
    """

    __slots__ = ("_clock", "_looking", "_loop", "_seconds", "_until")

    def __init__(
        self, loop: asyncio.AbstractEventLoop, seconds: float, clock: Callable[[], float] = perf_counter
    ) -> None:
        self._loop = loop
        self._seconds = seconds
        self._clock = clock
        self._until = 0.0
        self._looking = False

    def stay(self) -> None:
        """Stay awake: something was sent, and the answer may come soon."""
        self._until = self._clock() + self._seconds
        if not self._looking:
            self._looking = True
            self._loop.call_soon(self._look)

    def _look(self) -> None:
        """Have the loop turn once more: while there is something to do it looks for what has come without waiting."""
        if self._clock() < self._until:
            _give_way()
            self._loop.call_soon(self._look)
        else:
            self._looking = False
