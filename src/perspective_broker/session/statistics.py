"""The statistics of a connection."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["Statistics"]


@dataclass(frozen=True, slots=True)
class Statistics:
    """The state of one connection at one moment. All attributes are counts, unless noted.

    Attributes:
        phase: ``"negotiating"``, ``"greeting"``, ``"open"``, ``"draining"``, ``"closing"`` or ``"closed"``.
        dialect: the agreed dialect's name, ``""`` before there is one.
        exported: objects of ours that the peer holds.
        imported: references to the peer's objects that live here.
        observed: objects of ours that the peer keeps replicas of.
        replicas: replicas of the peer's objects that live here.
        calls_out: our calls without an answer.
        calls_held: our calls that have not left: they wait because enough are on their way, or for an answer.
        calls_in: the peer's calls whose methods run.
        calls_waiting: the peer's calls that wait for a slot, or for answers of ours.
        bytes_received: bytes from the peer so far.
        bytes_sent: bytes handed to the transport so far.
        bytes_buffered: bytes made and not yet handed to the transport.
        messages_received: operations decoded so far.
        answers_kept: answers of ours that the peer may still refer to.
        ignored: operations of the peer that meant nothing any more (late answers, late releases).
    """

    phase: str
    dialect: str
    exported: int
    imported: int
    observed: int
    replicas: int
    calls_out: int
    calls_held: int
    calls_in: int
    calls_waiting: int
    bytes_received: int
    bytes_sent: int
    bytes_buffered: int
    messages_received: int
    answers_kept: int
    ignored: int
