"""What the log is told of one peer: a line for what happens, and no flood of lines for what a peer makes happen."""

from __future__ import annotations

import logging
from typing import Final

__all__ = ["Reports"]

log = logging.getLogger("perspective_broker")

#: Lines about one peer in an instant: enough to see what it does.
BURST: Final = 16

#: And in the long run, a second: what a person still reads, and no disk is filled by.
RATE: Final = 1.0


class Reports:
    """The lines about one connection, :data:`BURST` of them at once and :data:`RATE` a second.

    Lines that are left out are counted, and the next one that is not says how many they were. Time is that of the
    peer's last bytes: without bytes it causes nothing.
    """

    __slots__ = ("_left", "_left_out", "_then")

    def __init__(self, now: float) -> None:
        self._left = float(BURST)
        self._left_out = 0
        self._then = now

    def say(
        self, now: float, level: int, text: str, *args: object, error: BaseException | None = None
    ) -> None:
        """Log a line, if it is not too many.

        Args:
            now: the driver's clock.
            level: of :mod:`logging`.
            text: with its ``args``, as for a logger.
            error: whose traceback is shown.
        """
        if not log.isEnabledFor(level):
            return
        self._left = min(BURST, self._left + (now - self._then) * RATE)
        self._then = now
        if self._left < 1:
            self._left_out += 1
            return
        self._left -= 1
        self.sum_up()
        log.log(level, text, *args, exc_info=error)

    def sum_up(self) -> None:
        """Log how many lines were left out, if there were any. (Called at the end of the connection, too.)"""
        if self._left_out:
            left_out, self._left_out = self._left_out, 0
            log.info("%d lines about a peer were left out", left_out)
