"""Limits scaled down, for rows that are about time, and for those about much of something: the law does not change."""

from __future__ import annotations

import dataclasses
from typing import Final

import perspective_broker as pb

__all__ = ["LIMITS"]

_SMALL = pb.Limits(
    message_seconds=0.3,
    calls_in_flight=16,
    waiting_bytes=64 * 1024,
    window_bytes=64 * 1024,
    references_received=100,
)

#: What the servers of the subject live under, by name, and its client when a case asks for it. Only where the handshake
#: is meant to take too long has it little time: honest ones have all that they need on a busy machine.
LIMITS: Final = {
    "desk": pb.Limits(),
    "small": _SMALL,
    "hasty": dataclasses.replace(_SMALL, handshake_seconds=0.3),
    "login": pb.Limits(),
}
