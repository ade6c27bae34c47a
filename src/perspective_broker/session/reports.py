"""What the log is told of peers: a line for what happens, and no flood of lines for what a peer makes happen."""

from __future__ import annotations

import logging
from typing import Final

__all__ = ["Allowance", "Reports", "SharedAllowance"]

log = logging.getLogger("perspective_broker")

#: Lines about one peer in an instant: enough to see what it does.
BURST: Final = 16

#: And in the long run, a second: what a person still reads, and no disk is filled by.
RATE: Final = 1.0

#: The same of all connections of one server, for a peer may come again and again: 100 MB a day at most.
BURST_OF_ALL: Final = 64
RATE_OF_ALL: Final = 8.0


class Allowance:
    """Lines that may be logged: so many at once, and so many a second.

    Args:
        now: a clock, in seconds.
        burst: lines at once.
        rate: lines a second.
        whom: whom they are about.
    """

    __slots__ = ("_burst", "_left", "_left_out", "_rate", "_then", "_whom")

    def __init__(self, now: float, burst: float, rate: float, whom: str) -> None:
        self._burst = self._left = burst
        self._rate = rate
        self._whom = whom
        self._left_out = 0
        self._then = now

    def take(self, now: float) -> bool:
        """Return whether one more line may be logged; one that may not is counted."""
        if now > self._then:
            self._left = min(self._burst, self._left + (now - self._then) * self._rate)
            self._then = now
        if self._left < 1:
            self._left_out += 1
            return False
        self._left -= 1
        self.sum_up()
        return True

    def sum_up(self) -> None:
        """Log how many lines were left out, if there were any. (Also called when no more will come.)"""
        if self._left_out:
            left_out, self._left_out = self._left_out, 0
            log.info("%d lines about %s were left out", left_out, self._whom)


class SharedAllowance:
    """What the connections of one server may have logged together; apart from the rest what is an error of our own.

    Args:
        now: a clock, in seconds.
    """

    __slots__ = ("_errors", "_others")

    def __init__(self, now: float) -> None:
        self._errors = Allowance(now, BURST_OF_ALL, RATE_OF_ALL, "several peers")
        self._others = Allowance(now, BURST_OF_ALL, RATE_OF_ALL, "several peers")

    def take(self, now: float, level: int) -> bool:
        """Return whether one more line of this level may be logged; one that may not is counted."""
        return (self._errors if level >= logging.ERROR else self._others).take(now)

    def sum_up(self) -> None:
        """Log how many lines were left out, if there were any. (Called at the end of the server.)"""
        self._errors.sum_up()
        self._others.sum_up()


class Reports:
    """The lines about one connection, :data:`BURST` of them at once and :data:`RATE` a second.

    Lines that are left out are counted, and the next one that is not says how many they were. Time is that of the
    peer's last bytes: without bytes it causes nothing.

    Args:
        now: the driver's clock.
        of_all: what it shares with the other connections of a server.
    """

    __slots__ = ("_allowance", "_of_all", "peer")

    def __init__(self, now: float, of_all: SharedAllowance | None = None) -> None:
        self.peer = "somebody"  #: what the lines call the other side
        self._allowance = Allowance(now, BURST, RATE, "one peer")
        self._of_all = of_all

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
        if not log.isEnabledFor(level) or not self._allowance.take(now):
            return
        if self._of_all is None or self._of_all.take(now, level):
            # Whoever keeps the record must not keep what an exception has met on its way: replicas, references.
            plain = [str(arg) if isinstance(arg, BaseException) else arg for arg in args]
            log.log(level, "%s: " + text, self.peer, *plain, exc_info=error)

    def sum_up(self) -> None:
        """Log how many lines were left out, if there were any. (Called at the end of the connection.)"""
        self._allowance.sum_up()
