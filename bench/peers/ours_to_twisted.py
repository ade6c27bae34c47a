"""Our client, Twisted's server."""

from __future__ import annotations

from bench.peers._ours import ClassicCaller
from bench.peers._twisted import serve

__all__ = ["Caller", "serve"]


class Caller(ClassicCaller):
    """Our client; nothing to add."""
