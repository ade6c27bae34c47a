"""The room that awaits: the broker on an asyncio event loop."""

from .calls import Promise
from .client import connect
from .connection import Connection
from .live import Change, Live
from .references import RemoteCacheObserver, RemoteMethod, RemoteReference
from .runner import run
from .server import Server, serve

__all__ = [
    "Change",
    "Connection",
    "Live",
    "Promise",
    "RemoteCacheObserver",
    "RemoteMethod",
    "RemoteReference",
    "Server",
    "connect",
    "run",
    "serve",
]
