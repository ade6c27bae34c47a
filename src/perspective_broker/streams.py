"""Files, large bytes, live data and pages as streams.

Any asynchronous generator crosses as a stream, and needs nothing from here. :func:`stream_file` and
:func:`stream_bytes` make a stream of bytes; :func:`save_stream` and :func:`collect_stream` read one.
:func:`read_stream` reads any stream with a window of the program's own, or only its latest item, and
:class:`Broadcast` gives the same items to several readers. To and from the pagers of Twisted programs there are
:func:`get_pages` and :func:`send_pages`.
"""

from .aio import (
    Broadcast,
    PageReader,
    StreamReader,
    collect_stream,
    get_pages,
    read_stream,
    save_stream,
    send_pages,
    stream_bytes,
    stream_file,
)

__all__ = [
    "Broadcast",
    "PageReader",
    "StreamReader",
    "collect_stream",
    "get_pages",
    "read_stream",
    "save_stream",
    "send_pages",
    "stream_bytes",
    "stream_file",
]
