"""The room that awaits: the broker on an asyncio event loop."""

from .calls import Promise
from .client import connect
from .connection import Connection
from .deadlines import deadline, remaining
from .files import collect_stream, save_stream, stream_bytes, stream_file
from .live import Change, Live
from .pages import PageReader, get_pages, send_pages
from .references import RemoteCacheObserver, RemoteMethod, RemoteReference
from .runner import run
from .server import Server, serve
from .streams import StreamReader

__all__ = [
    "Change",
    "Connection",
    "Live",
    "PageReader",
    "Promise",
    "RemoteCacheObserver",
    "RemoteMethod",
    "RemoteReference",
    "Server",
    "StreamReader",
    "collect_stream",
    "connect",
    "deadline",
    "get_pages",
    "remaining",
    "run",
    "save_stream",
    "send_pages",
    "serve",
    "stream_bytes",
    "stream_file",
]
