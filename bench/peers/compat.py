"""Twisted's programs at both ends, on our face: the same as twisted_pb, with our modules in place of Twisted's."""

from __future__ import annotations

from perspective_broker.compat.standing_in import stand_in

stand_in()  # before the programs import the original

from bench.peers._twisted import TwistedCaller, serve  # noqa: E402

__all__ = ["Caller", "serve"]


class Caller(TwistedCaller):
    """Its client; nothing to add."""
