"""This library at both ends, pb7, with ``busy_poll``."""

from __future__ import annotations

from bench import peer
from bench.peers import _ours


def serve(announce: peer.Announce) -> None:
    """Run the server until the process is ended."""
    _ours.serve(announce, "pb7", _ours.BUSY_POLL)


class Caller(_ours.Pb7Caller):
    """Our client, which stays awake."""

    busy_poll = _ours.BUSY_POLL
