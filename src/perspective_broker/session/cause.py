"""Why a connection ended. (Not in the lifecycle: that is compiled, and compiled classes lose their docstrings.)"""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["CloseCause"]


@dataclass(frozen=True, slots=True)
class CloseCause:
    """Why a connection ended.

    Attributes:
        code: a short word: ``"closed"`` (by us), ``"lost"`` (by the peer or the network), ``"drained"``, or
            the code of the :class:`~perspective_broker.ProtocolError` that ended it.
        reason: one line for a human.
        clean: whether it ended in order, not by an error.
        undelivered: calls of ours without an answer that had not left when it ended, and never will.
    """

    code: str
    reason: str
    clean: bool
    undelivered: int = 0
