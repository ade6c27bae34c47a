"""The part of the library that awaits: the broker on an asyncio event loop."""

from .backoff import Backoff
from .broadcast import Broadcast
from .calls import Promise
from .client import connect
from .connection import Connection
from .deadlines import deadline, remaining
from .describing import Description, MethodDescription, describe
from .files import collect_stream, save_stream, stream_bytes, stream_file
from .live import Change, Live
from .pages import PageReader, get_pages, send_pages
from .reconnect import ReconnectingReference
from .references import RemoteCacheObserver, RemoteMethod, RemoteReference
from .retrying import retry
from .runner import run
from .server import Server, ServerStatistics, serve
from .streams import StreamReader, read_stream
from .topic import Topic
from .typed import pipeline, reference, tell
from .untyped import Remote, RemoteAnswer

__all__ = [
    "Backoff",
    "Broadcast",
    "Change",
    "Connection",
    "Description",
    "Live",
    "MethodDescription",
    "PageReader",
    "Promise",
    "ReconnectingReference",
    "Remote",
    "RemoteAnswer",
    "RemoteCacheObserver",
    "RemoteMethod",
    "RemoteReference",
    "Server",
    "ServerStatistics",
    "StreamReader",
    "Topic",
    "collect_stream",
    "connect",
    "deadline",
    "describe",
    "get_pages",
    "pipeline",
    "read_stream",
    "reference",
    "remaining",
    "retry",
    "run",
    "save_stream",
    "send_pages",
    "serve",
    "stream_bytes",
    "stream_file",
    "tell",
]
