"""How late the event loop is: what a method that does not await costs everybody else."""

from __future__ import annotations

import asyncio
import logging
from typing import Final

__all__ = ["LoopWatch", "starved"]

log: logging.Logger = logging.getLogger("perspective_broker")

#: Seconds between two looks. A stall of this length is always seen; the looks cost some ten microseconds each.
_EVERY: Final = 0.25

#: Seconds of lateness that are worth a line in the log (ROBUSTNESS, fault 11) ...
_WORTH_A_LINE: Final = 0.1

#: ... once in this many.
_QUIET: Final = 60.0


class LoopWatch:
    """Looks at the clock of the running event loop, and notes by how much each look comes late.

    Attributes:
        latest: seconds by which the last look was late.
        worst: seconds by which the worst one was.
    """

    def __init__(self) -> None:
        self.latest: float = 0.0
        self.worst: float = 0.0
        self._starved = starved()
        self._loop = asyncio.get_running_loop()
        self._silent_until = self._loop.time()
        self._timer = self._loop.call_later(_EVERY, self._look)

    def _look(self) -> None:
        now = self._loop.time()
        self.latest = max(0.0, now - self._timer.when())
        self.worst = max(self.worst, self.latest)
        before, self._starved = self._starved, starved()
        stalled = self.latest - (self._starved - before)
        if stalled > _WORTH_A_LINE and now >= self._silent_until:
            self._silent_until = now + _QUIET
            log.warning(
                "the event loop stood still for %.2f s: some code here computes or blocks without awaiting",
                stalled,
            )
        self._timer = self._loop.call_later(_EVERY, self._look)

    def stop(self) -> None:
        """Look no more. May be called twice."""
        self._timer.cancel()


def starved() -> float:
    """Return for how many seconds this thread could have run and had no processor; 0 where the system does not tell.

    On a busy machine a loop is late without a fault of the code in it.
    """
    try:
        with open("/proc/thread-self/schedstat", "rb") as file:
            return int(file.read().split()[1]) / 1e9
    except (OSError, IndexError, ValueError):
        return 0.0
