"""Turns: what the connections of one event loop compute before it looks at its sockets again.

A connection acts on a slice of what it has received; that bounds what one peer costs the others. Many peers that each
send a slice at the same moment would add up all the same, so that the slices of one turn of the loop have a budget in
common. When it is used up the connections that come next are deferred until the loop has turned once::

    sockets and timers ──▶ slices, until the budget is used up ──▶ sockets and timers ──▶ light ones, busy ones ──▶ ...

Connections that cost little come first. So a small call waits for the budget and one slice at most, however many peers
keep the loop busy, and the busy ones share what is left.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from time import perf_counter
from typing import Final
from weakref import WeakKeyDictionary

__all__ = ["BUDGET_SECONDS", "SLICE_SECONDS", "Turns", "turns_of"]

#: Seconds that the slices of one turn of the loop may take together. A turn that does nothing takes some 10 µs, so
#: looking more often would cost little; this is a tenth of what a bystander may have to wait (ROBUSTNESS, I3).
BUDGET_SECONDS: Final = 0.005

#: Seconds of it that one connection may take. Its last message may be large, and then it takes longer.
SLICE_SECONDS: Final = 0.002


class Turns:
    """The budget of one event loop, and the connections that were deferred.

    Args:
        clock: measures what slices take, in seconds.

    Attributes:
        clock: the same.
        over: whether the budget of this turn of the loop is used up.
    """

    __slots__ = ("_busy", "_light", "_scheduled", "_spent", "clock", "over")

    def __init__(self, clock: Callable[[], float] = perf_counter) -> None:
        self.clock: Callable[[], float] = clock
        self.over: bool = False
        self._spent = 0.0
        self._scheduled = False  # whether _next() will be called
        self._light: deque[Callable[[], None]] = deque()
        self._busy: deque[Callable[[], None]] = deque()

    def spend(self, seconds: float) -> None:
        """Count what a slice has taken."""
        self._spent += seconds
        if self._spent > BUDGET_SECONDS and not self.over:
            self.over = True
            self._schedule()

    def defer(self, turn: Callable[[], None], is_busy: bool) -> None:
        """Call ``turn`` when there is time again; only while the budget is used up.

        Args:
            turn: acts on a slice of what a connection has received, and reports to :meth:`spend` what that took.
            is_busy: whether the connection costs much; then others come before it.
        """
        (self._busy if is_busy else self._light).append(turn)

    def _schedule(self) -> None:
        if not self._scheduled:
            self._scheduled = True
            asyncio.get_running_loop().call_soon(self._next)

    def _next(self) -> None:
        """The loop has turned: go on with those that were deferred."""
        self._scheduled = False
        try:
            # Each kind has the budget for itself, or light ones without end could hold up the busy ones for ever.
            for waiting in (self._light, self._busy):
                self.over = False
                self._spent = 0.0
                while waiting and not self.over:
                    waiting.popleft()()
        finally:
            if self._light or self._busy:
                self._schedule()


_turns: Final[WeakKeyDictionary[asyncio.AbstractEventLoop, Turns]] = WeakKeyDictionary()


def turns_of(loop: asyncio.AbstractEventLoop) -> Turns:
    """Return the budget that all connections of an event loop share."""
    turns = _turns.get(loop)
    if turns is None:
        turns = _turns[loop] = Turns()
    return turns
