"""Twisted's client, our server."""

from __future__ import annotations

from bench import peer
from bench.peers import _ours, _twisted


def serve(announce: peer.Announce) -> None:
    """Run the server until the process is ended."""
    _ours.serve(announce, "pb")


class Caller(_twisted.TwistedCaller):
    """Twisted's client; nothing to add."""
