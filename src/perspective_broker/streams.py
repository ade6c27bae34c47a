"""Files, large bytes and pages, sent in pieces.

Any asynchronous generator crosses as a stream, and needs nothing from here. :func:`stream_file` and
:func:`stream_bytes` make a stream of bytes; :func:`save_stream` and :func:`collect_stream` read one. To and from the
pagers of Twisted programs there are :func:`get_pages` and :func:`send_pages`.
"""

from .aio import (
    PageReader,
    StreamReader,
    collect_stream,
    get_pages,
    save_stream,
    send_pages,
    stream_bytes,
    stream_file,
)

__all__ = [
    "PageReader",
    "StreamReader",
    "collect_stream",
    "get_pages",
    "save_stream",
    "send_pages",
    "stream_bytes",
    "stream_file",
]
