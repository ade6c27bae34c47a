"""The dialect of the npm package ``capnweb``: JSON messages in WebSocket frames (``docs/wire/capnweb.md``)."""

from .dialect import CapnwebDialect
from .handshake import ClientHandshake, Origins, ServerHandshake

__all__ = ["CapnwebDialect", "ClientHandshake", "Origins", "ServerHandshake"]
