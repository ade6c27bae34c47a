"""Calls as an observer sees them: what ``serve(call_observer=...)`` is told, and what statistics say of methods."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

__all__ = ["CallInfo", "CallObserver", "MethodStatistics", "RunningCall"]


@dataclass(frozen=True, slots=True)
class CallInfo:
    """One call of the peer, whose method runs here.

    Attributes:
        interface: the name of the class whose method it is; ``""`` when it has none.
        method: the method's name, as the caller wrote it.
        peer: where the caller is, as text.
        user: who has logged in there; None without a login.
        request: the caller's number of the call, its own on this connection; 0 for a one-way call of pb7.
        size: encoded bytes.
        began: when its method began, by :func:`time.monotonic`.
    """

    interface: str
    method: str
    peer: str
    user: str | None
    request: int
    size: int
    began: float


class CallObserver:
    """Base of observers: override what you want to hear of, with plain methods that return at once.

    An exception of an observer is logged, once for each observer, and has no other effect.
    """

    def call_began(self, call: CallInfo) -> None:
        """The method of a call begins."""

    def call_ended(self, call: CallInfo, error: BaseException | None) -> None:
        """It has ended: it returned (None), or raised, or was cancelled with its connection."""

    def connection_opened(self, connection: Any) -> None:
        """A peer has come; ``connection`` is a :class:`~perspective_broker.Connection`."""

    def connection_closed(self, connection: Any) -> None:
        """Its connection has ended; ``connection.close_cause`` says why."""

    def logged_in(self, connection: Any, user: str, method: str) -> None:
        """A peer has logged in, by a method such as ``"SCRAM"``."""


@dataclass(frozen=True, slots=True)
class RunningCall:
    """A call of the peer whose method runs.

    Attributes:
        method: its name.
        seconds: for how long it runs; None where no statistics are kept.
        deadline: seconds until its caller gives it up; None without a deadline.
    """

    method: str
    seconds: float | None
    deadline: float | None


@dataclass(frozen=True, slots=True)
class MethodStatistics:
    """How often a method was called, and how long it took; times are in seconds.

    Attributes:
        method: its class and name, such as ``"Room.say"``.
        count: calls that have ended, those with an error included.
        errors: those that ended with an exception.
        total: the time that they took together.
        worst: the time that the longest took.
        buckets: of the calls that have ended, how many took at most as long as each of :data:`BOUNDS`, and no shorter
            bound; the last number counts all longer ones.
    """

    method: str
    count: int
    errors: int
    total: float
    worst: float
    buckets: tuple[int, ...]

    @property
    def mean(self) -> float:
        """The time that one took on average; 0 before the first has ended."""
        return self.total / self.count if self.count else 0.0


#: The bounds of the buckets of :class:`MethodStatistics`, in seconds.
BOUNDS: tuple[float, ...] = (0.0001, 0.0003, 0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0)
