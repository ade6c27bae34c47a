"""Feeds: plain generators and binary files as streams. They may block, so a worker runs them.

::

    worker: next(generator) ──▶ Pump: items, at most so many ──▶ event loop: the stream

The worker goes ahead of the peer by some items, besides what the stream's window allows.
"""

from __future__ import annotations

import asyncio
import io
import threading
from collections import deque
from collections.abc import AsyncGenerator, Generator, Iterator
from contextvars import copy_context
from typing import Any, Final, TypeAlias

from ..ports import Value
from .running import Running

__all__ = ["BinaryFile", "feed", "is_binary_file"]

#: What is read as a stream of bytes.
BinaryFile: TypeAlias = io.RawIOBase | io.BufferedIOBase

#: Items that a generator is ahead of the event loop.
_AHEAD: Final = 64

#: Bytes that are read at once; see CHUNK_BYTES of aio/files.py.
_CHUNK_BYTES: Final = 64 * 1024

#: Seconds that the end of a stream waits for the generator, which may be in the middle of something.
_CLOSE_SECONDS: Final = 1.0


def is_binary_file(value: Value) -> bool:
    """Return whether a value is a file that was opened for reading bytes."""
    return isinstance(value, (io.RawIOBase, io.BufferedIOBase)) and value.readable()


async def feed(
    running: Running, source: Generator[Value, Any, Any] | BinaryFile
) -> AsyncGenerator[Value, None]:
    """Yield what a generator yields, or what is read from a file."""
    items = _read(source) if isinstance(source, (io.RawIOBase, io.BufferedIOBase)) else source
    pump = _Pump(running, items)
    try:
        while batch := await pump.take():
            for item in batch:
                yield item
    finally:
        await pump.stop()


def _read(file: BinaryFile) -> Generator[bytes, None, None]:
    read = getattr(file, "read1", file.read)  # which does not wait for more than there is
    while chunk := read(_CHUNK_BYTES):
        yield chunk
    if chunk is None:
        raise BlockingIOError("a file that does not block cannot be a stream")


class _Pump:
    """Runs a generator in a worker, until there are enough items."""

    def __init__(self, running: Running, items: Iterator[Value]) -> None:
        self._loop = running.loop
        self._source = items
        self._lock = threading.Condition()
        self._items: deque[Value] = deque()
        self._error: BaseException | None = None
        self._stopped = False
        self._taker: asyncio.Future[None] | None = None
        self._ended = self._loop.create_future()
        context = copy_context()
        running.workers.run(lambda: context.run(self._run))

    # -- in the worker

    def _run(self) -> None:
        try:
            while not self._stopped:
                item = next(self._source)
                with self._lock:
                    self._items.append(item)
                    self._wake()
                    while len(self._items) >= _AHEAD and not self._stopped:
                        self._lock.wait()
        except StopIteration:
            pass
        except BaseException as error:
            self._error = error
        finally:
            self._close()

    def _close(self) -> None:
        try:
            if isinstance(self._source, Generator):
                self._source.close()
        except BaseException as error:
            self._error = self._error or error
        try:
            self._loop.call_soon_threadsafe(self._end)
        except RuntimeError:
            pass  # the loop has ended, and the connection with it

    def _wake(self) -> None:
        taker, self._taker = self._taker, None
        if taker is not None:
            try:
                self._loop.call_soon_threadsafe(_resolve, taker)
            except RuntimeError:
                self._stopped = True

    # -- in the event loop

    def _end(self) -> None:
        _resolve(self._ended)
        with self._lock:
            taker, self._taker = self._taker, None
        if taker is not None:
            _resolve(taker)

    async def take(self) -> list[Value]:
        """Return the items that there are, at least one; none at the end."""
        while True:
            with self._lock:
                items = list(self._items)
                self._items.clear()
                self._lock.notify()
                if not items and not self._ended.done():
                    self._taker = self._loop.create_future()
                taker = self._taker
            if items or taker is None or self._ended.done():
                break
            await taker
        if not items and self._error is not None:
            error, self._error = self._error, None
            raise error
        return items

    async def stop(self) -> None:
        """No more items are wanted: close the generator."""
        with self._lock:
            self._stopped = True
            self._lock.notify()
        await asyncio.wait([self._ended], timeout=_CLOSE_SECONDS)


def _resolve(future: asyncio.Future[None]) -> None:
    if not future.done():
        future.set_result(None)
