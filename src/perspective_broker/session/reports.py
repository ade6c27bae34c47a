"""Log lines about peers: one for each event, but a limited number of those that a peer can cause."""

from __future__ import annotations

import logging
from traceback import format_tb
from typing import Final

from ..errors import qualified_name
from ..flavors.guard import text_of

__all__ = ["Allowance", "Reports", "SharedAllowance"]

log: logging.Logger = logging.getLogger("perspective_broker")

#: Lines about one peer in an instant: enough to see what it does.
BURST: Final = 16

#: And in the long run, a second: what a person still reads, and no disk is filled by.
RATE: Final = 1.0

#: The same for all connections of one server, because a peer may connect again and again: 100 MB a day at most.
BURST_OF_ALL: Final = 64
RATE_OF_ALL: Final = 8.0


#: Of an exception that cannot be logged as it is: characters of its text, exceptions behind it, frames of each.
MOST_TEXT: Final = 512
MOST_BEHIND: Final = 4
MOST_FRAMES: Final = 16


class Allowance:
    """Lines that may be logged: so many at once, and so many a second.

    Args:
        now: a clock, in seconds.
        burst: lines at once.
        rate: lines a second.
        whom: the peer or peers, as a text for the log.
    """

    __slots__ = ("_burst", "_left", "_rate", "_whom", "left_out", "then")

    def __init__(self, now: float, burst: float, rate: float, whom: str) -> None:
        self._burst = self._left = burst
        self._rate = rate
        self._whom = whom
        self.left_out: int = 0
        self.then: float = now

    def take(self, now: float) -> bool:
        """Return whether one more line may be logged; one that may not is counted."""
        if now > self.then:
            self._left = min(self._burst, self._left + (now - self.then) * self._rate)
            self.then = now
        if self._left < 1:
            self.left_out += 1
            return False
        self._left -= 1
        return True

    def sum_up(self) -> None:
        """Log how many lines were left out, if there were any. (Also called when no more will come.)"""
        if self.left_out:
            left_out, self.left_out = self.left_out, 0
            log.info("%d lines about %s were left out", left_out, self._whom)


class SharedAllowance:
    """The log lines that all connections of one server may cause; our own errors are limited separately.

    Args:
        now: a clock, in seconds.
    """

    __slots__ = ("_errors", "_others")

    def __init__(self, now: float) -> None:
        self._errors = Allowance(now, BURST_OF_ALL, RATE_OF_ALL, "several peers")
        self._others = Allowance(now, BURST_OF_ALL, RATE_OF_ALL, "several peers")

    def take(self, now: float, level: int) -> bool:
        """Return whether one more line of this level may be logged; one that may not is counted."""
        allowance = self._errors if level >= logging.ERROR else self._others
        if not allowance.take(now):
            return False
        allowance.sum_up()
        return True

    def sum_up(self) -> None:
        """Log how many lines were left out, if there were any. (Called at the end of the server.)"""
        self._errors.sum_up()
        self._others.sum_up()


class Reports:
    """The lines about one connection, :data:`BURST` of them at once and :data:`RATE` a second.

    Lines that are left out are counted, and the next line that is logged reports their number. Time is that of the
    peer's last bytes: without bytes it causes nothing.

    Args:
        of_all: what it shares with the other connections of a server.
    """

    __slots__ = ("_allowance", "_of_all", "peer", "user")

    def __init__(self, of_all: SharedAllowance | None = None) -> None:
        self.peer: str = "somebody"  #: what the lines call the other side
        self.user: str | None = None  #: who has logged in there
        self._allowance: Allowance | None = None  # made with the first line
        self._of_all = of_all

    def say(
        self,
        now: float,
        level: int,
        text: str,
        *args: object,
        error: BaseException | None = None,
        method: str = "",
        code: str = "",
    ) -> None:
        """Log a line, if it is not too many.

        Args:
            now: the driver's clock.
            level: of :mod:`logging`.
            text: with its ``args``, as for a logger.
            error: whose traceback is shown.
            method: of the peer's call that it is about.
            code: a word for what has happened.
        """
        if not log.isEnabledFor(level):
            return
        if self._allowance is None:
            self._allowance = Allowance(now, BURST, RATE, "one peer")
        if not self._allowance.take(now):
            return
        if self._of_all is not None and not self._of_all.take(now, level):
            return
        self.sum_up()
        # A program that keeps the record must not keep the objects in the frames of an exception: replicas, references.
        plain = [text_of(arg) if isinstance(arg, BaseException) else arg for arg in args]
        extra = {"pb_peer": self.peer, "pb_user": self.user, "pb_method": method[:64], "pb_code": code}
        if error is None or _is_tame(error):
            log.log(level, "%s: " + text, self.peer, *plain, exc_info=error, extra=extra)
        else:
            log.log(level, "%s: " + text + "\n%s", self.peer, *plain, _tamed(error), extra=extra)

    def sum_up(self) -> None:
        """Log how many lines were left out, if there were any. (Called at the end of the connection.)"""
        allowance = self._allowance
        if (
            allowance is not None
            and allowance.left_out
            and (self._of_all is None or self._of_all.take(allowance.then, logging.INFO))
        ):
            allowance.sum_up()


def _chain(error: BaseException) -> list[BaseException]:
    """Return an exception and those behind it, the first that was raised last."""
    found: dict[int, BaseException] = {}
    behind: BaseException | None = error
    while behind is not None and id(behind) not in found and len(found) < MOST_BEHIND:
        found[id(behind)] = behind
        behind = behind.__cause__ or behind.__context__
    return list(found.values())


def _is_tame(error: BaseException) -> bool:
    """Whether the texts of an exception, and of those behind it, can be logged as they are; a peer may be in them."""
    return all(len(text) <= MOST_TEXT and text.isprintable() for text in map(text_of, _chain(error)))


def _tamed(error: BaseException) -> str:
    """Return a traceback as a bounded text, without line ends or control characters of a peer."""
    lines: list[str] = []
    for raised in reversed(_chain(error)):
        lines.append("Then:" if lines else "Traceback (most recent call last):")
        lines += [frame.rstrip("\n") for frame in format_tb(raised.__traceback__, limit=-MOST_FRAMES)]
        lines.append(f"{qualified_name(type(raised))}: {text_of(raised)[:MOST_TEXT]!a}")
    return "\n".join(lines)
