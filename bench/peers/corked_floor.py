"""The floor that writes once per turn of the loop."""

from __future__ import annotations

from bench import peer
from bench.peers import _floor


def serve(announce: peer.Announce) -> None:
    """Run the server until the process is ended."""
    _floor.serve(announce, corked=True)


class Caller(_floor.FloorCaller):
    """Calls, writing once per turn of the loop."""

    corked = True
