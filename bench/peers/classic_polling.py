"""This library at both ends, classic dialect, with ``busy_poll``."""

from __future__ import annotations

from bench import peer
from bench.peers import _ours


def serve(announce: peer.Announce) -> None:
    """Run the server until the process is ended."""
    _ours.serve(announce, "pb", _ours.BUSY_POLL)


class Caller(_ours.ClassicCaller):
    """Our client, which stays awake."""

    busy_poll = _ours.BUSY_POLL
