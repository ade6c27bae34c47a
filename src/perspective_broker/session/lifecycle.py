"""The life of one connection, as a table: which phase follows which."""

from __future__ import annotations

from enum import Enum
from typing import Final

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
    DRAINING = "draining"  #: what runs may end; nothing new is started
    CLOSING = (
        "closing"  #: one side has said its last, or will: calls without an answer that came before it run
    )
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
    """The phase of one connection; refuses steps that the table does not have.

    Attributes:
        phase: where it stands.
        cause: why it ended; None while it has not.
        ended: whether the phase is CLOSED, as what every message asks.
    """

    __slots__ = ("cause", "ended", "phase")

    def __init__(self) -> None:
        self.phase = Phase.NEGOTIATING
        self.cause: CloseCause | None = None
        self.ended = False

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
