"""Twisted PB at both ends."""

from __future__ import annotations

from bench.peers._twisted import TwistedCaller, serve

__all__ = ["Caller", "serve"]


class Caller(TwistedCaller):
    """Twisted's client; nothing to add."""
