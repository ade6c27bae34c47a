"""The room that awaits: the broker on an asyncio event loop."""

from .calls import Promise
from .client import connect
from .connection import Connection
from .references import RemoteCacheObserver, RemoteMethod, RemoteReference
from .runner import run
from .server import Server, serve

__all__ = [
    "Connection",
    "Promise",
    "RemoteCacheObserver",
    "RemoteMethod",
    "RemoteReference",
    "Server",
    "connect",
    "run",
    "serve",
]
