"""An event loop with a virtual clock: it never waits, and the same program always runs in the same order."""

from __future__ import annotations

import asyncio
import selectors
from typing import Final

from perspective_broker.aio.turns import turns_of

__all__ = ["MOST_TURNS", "Stuck", "VirtualLoop"]

#: Turns of a loop: a hundred times what a life takes.
MOST_TURNS: Final = 50_000


class Stuck(RuntimeError):
    """Nothing will ever happen in this loop again, or something will without end."""


class VirtualLoop(asyncio.SelectorEventLoop):
    """When no callback is ready, the time jumps to the next timer.

    Files and sockets are polled but never waited for, so a program must not depend on them.
    """

    def __init__(self) -> None:
        self._virtual = _JumpingSelector()
        super().__init__(self._virtual)
        turns_of(self).clock = self.time  # or the order would depend on how long slices take here

    def time(self) -> float:
        return self._virtual.now


class _JumpingSelector(selectors.SelectSelector):
    """Moves the clock by the time for which it is asked to wait."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 0.0
        self._turns = 0

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        ready = super().select(0)
        self._turns += 1
        if self._turns > MOST_TURNS:
            self._turns = 0  # the loop has its tasks cancelled, which takes turns as well
            raise Stuck(f"{MOST_TURNS} turns of the loop")
        if not ready:
            if timeout is None:
                raise Stuck("no callback is ready and no timer is set")
            self.now += max(0.0, timeout)
        return ready
