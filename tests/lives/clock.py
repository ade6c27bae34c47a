"""An event loop with a virtual clock: nobody waits, and the same program always runs in the same order."""

from __future__ import annotations

import asyncio
import selectors

__all__ = ["Standstill", "VirtualLoop"]


class Standstill(RuntimeError):
    """No callback is ready and no timer is set: nothing will ever happen in this loop again."""


class VirtualLoop(asyncio.SelectorEventLoop):
    """When no callback is ready, the time jumps to the next timer.

    Files and sockets are polled but never waited for, so a program must not depend on them.
    """

    def __init__(self) -> None:
        self._virtual = _JumpingSelector()
        super().__init__(self._virtual)

    def time(self) -> float:
        return self._virtual.now


class _JumpingSelector(selectors.SelectSelector):
    """Moves the clock by the time for which it is asked to wait."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 0.0

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        ready = super().select(0)
        if not ready:
            if timeout is None:
                raise Standstill("no callback is ready and no timer is set")
            self.now += max(0.0, timeout)
        return ready
