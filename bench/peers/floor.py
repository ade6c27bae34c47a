"""The floor that writes once per message."""

from __future__ import annotations

from bench import peer
from bench.peers import _floor


def serve(announce: peer.Announce) -> None:
    """Run the server until the process is ended."""
    _floor.serve(announce, corked=False)


class Caller(_floor.FloorCaller):
    """Calls, writing once per message."""

    corked = False
