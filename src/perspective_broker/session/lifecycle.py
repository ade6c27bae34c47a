"""The life of one connection, as a table: which phase follows which."""

from __future__ import annotations

from enum import Enum
from typing import Final

from ..errors import ConnectionLost, DeadReferenceError
from .cause import CloseCause

__all__ = ["Lifecycle", "Phase"]


class Phase(Enum):
    """Where a connection stands.

    ::

        NEGOTIATING ──▶ GREETING ──▶ OPEN ──▶ DRAINING
             │              │          │ └───────┐ │
             │              │          │         ▼ ▼
             │              │          │       CLOSING
             └──────────────┴──────────┴──────────┴──▶ CLOSED
    """

    NEGOTIATING = "negotiating"  #: no dialect is agreed on
    GREETING = "greeting"  #: the dialect's own hello has not come yet; we may send already
    OPEN = "open"  #: calls go both ways
    DRAINING = "draining"  #: calls that run may end; new ones are refused
    CLOSING = "closing"  #: one side has sent its last message, or will: one-way calls that came before it run
    CLOSED = "closed"  #: nothing is sent or delivered any more


_NEXT: Final[dict[Phase, frozenset[Phase]]] = {
    Phase.NEGOTIATING: frozenset({Phase.GREETING, Phase.CLOSED}),
    Phase.GREETING: frozenset({Phase.OPEN, Phase.CLOSED}),
    Phase.OPEN: frozenset({Phase.DRAINING, Phase.CLOSING, Phase.CLOSED}),
    Phase.DRAINING: frozenset({Phase.CLOSING, Phase.CLOSED}),
    Phase.CLOSING: frozenset({Phase.CLOSED}),
    Phase.CLOSED: frozenset(),
}


class Lifecycle:
    """The phase of one connection, and how far its end has come; refuses steps that the table does not have.

    Attributes:
        phase: where it stands.
        cause: why it ended; None while it has not.
        ended: whether the phase is CLOSED, which every message asks.
        closing: why this side closes the connection in order; None while it does not.
        heard_last: what the peer's last message, or the end of its bytes, will be reported as; None before it.
        muted: whether this side sends nothing more: it has sent its last message, or the peer cannot receive any.
    """

    __slots__ = ("cause", "closing", "ended", "heard_last", "muted", "phase")

    def __init__(self) -> None:
        self.phase: Phase = Phase.NEGOTIATING
        self.cause: CloseCause | None = None
        self.ended: bool = False
        self.closing: CloseCause | None = None
        self.heard_last: CloseCause | None = None
        self.muted: bool = False

    def enter(self, phase: Phase) -> None:
        """Go on to ``phase``."""
        if phase not in _NEXT[self.phase]:
            raise AssertionError(f"a connection does not go from {self.phase.value} to {phase.value}")
        self.phase = phase
        self.ended = phase is Phase.CLOSED

    def close(self, cause: CloseCause) -> bool:
        """Enter CLOSED because of ``cause``; False when it was closed before, for another cause."""
        if self.ended:
            return False
        self.cause = cause
        self.enter(Phase.CLOSED)
        return True

    def begin_closing(self, cause: CloseCause) -> None:
        """This side closes the connection in order."""
        self.closing = cause

    def hear_last(self, cause: CloseCause) -> None:
        """The peer has sent its last message."""
        self.heard_last = cause

    def mute(self) -> None:
        """Nothing is sent from now on."""
        self.muted = True

    def check_open(self) -> None:
        """Raise ConnectionLost if the connection has ended."""
        cause = self.cause
        if cause is not None:
            raise ConnectionLost(cause.code, cause.reason)

    def check_usable(self) -> None:
        """Raise DeadReferenceError unless calls can be made."""
        cause = self.cause
        if cause is not None:
            raise DeadReferenceError(f"the connection has ended ({cause.code}: {cause.reason})")
        if self.phase is Phase.NEGOTIATING:
            raise DeadReferenceError("the connection is not established yet")
        if self.phase is Phase.CLOSING:
            raise DeadReferenceError("the connection is being closed")

    def refuses_calls(self, wants_answer: bool) -> bool:
        """Whether a new call of the peer is refused: this side drains, or is closing and could not answer it."""
        return self.phase is Phase.DRAINING or (
            self.phase is Phase.CLOSING and wants_answer and not self.muted
        )
