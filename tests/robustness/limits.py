"""Limits scaled down, for rows that are about time, and for those about much of something: the law does not change."""

from __future__ import annotations

import perspective_broker as pb

__all__ = ["SMALL"]

#: What the server ``small`` of the subject lives under, and its client when a case asks for it.
SMALL = pb.Limits(
    handshake_seconds=0.3,
    message_seconds=0.3,
    calls_in_flight=16,
    window_bytes=64 * 1024,
    references_received=100,
)
