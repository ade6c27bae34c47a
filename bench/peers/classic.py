"""This library at both ends, classic dialect."""

from __future__ import annotations

from bench import peer
from bench.peers import _ours


def serve(announce: peer.Announce) -> None:
    """Run the server until the process is ended."""
    _ours.serve(announce, "pb")


class Caller(_ours.ClassicCaller):
    """Our client; nothing to add."""
