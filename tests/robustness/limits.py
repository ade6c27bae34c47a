"""Limits scaled down, for rows about time and about quantities; the behaviour is the same."""

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

#: The limits of the subject's servers, by name, and of its client if a case needs them. One server has a short time for
#: the handshake, for cases where it takes too long; honest handshakes need time on a busy machine.
LIMITS: Final = {
    "desk": pb.Limits(),
    "small": _SMALL,
    "hasty": dataclasses.replace(_SMALL, handshake_seconds=0.3),
    "login": pb.Limits(),
}
