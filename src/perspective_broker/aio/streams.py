"""Streams: an asynchronous generator here is an ``async for`` at the peer.

A stream is nothing but an object that is called: the reader calls ``open`` with a sink of its own, the source
tells the sink its items, and the answer of ``open`` is the end of the stream, or the exception that ended it. So a
stream crosses on every dialect, under the perspective of the answer that carried it.

Flow control is by credit, in bytes: the source sends while it has some, the reader gives it back as items are
taken. Small items that come in one turn of the loop travel in one message.
"""

from __future__ import annotations

import asyncio
import weakref
from collections import deque
from collections.abc import AsyncIterator, Hashable
from typing import TYPE_CHECKING, Any, Final

from ..errors import BadArguments, ConnectionLost, DeadReferenceError, Error, LimitExceeded
from ..flavors import Exportable, Reference, Target

if TYPE_CHECKING:
    from .calls import Promise
    from .references import RemoteReference

__all__ = ["StreamReader", "StreamSource"]

#: Bytes of items that may be on their way or unread: what also bounds the calls of a connection (Limits.window_bytes).
WINDOW: Final = 1024 * 1024

#: What an item without a length is taken for, and what every item costs besides its length.
ITEM_COST: Final = 64

#: A message is sent at this size, or when the turn of the loop ends.
MESSAGE_BYTES: Final = 64 * 1024


def item_cost(item: Any) -> int:
    """Return what an item takes of the credit; the same on both ends."""
    return ITEM_COST + (len(item) if isinstance(item, (bytes, str)) else 0)


class StreamSource(Exportable):
    """The sending end: makes an asynchronous iterator callable. Read by one reader, once.

    Args:
        items: what is sent; an asynchronous generator is closed when the reader leaves.
    """

    def __init__(self, items: AsyncIterator[Any]) -> None:
        self._items = items
        self._reading: asyncio.Task[Any] | None = None
        self._left = False  # whether the reader has gone
        self._credit = 0
        self._more_credit: asyncio.Future[None] | None = None
        self._sink: RemoteReference | None = None
        self._batch: list[Any] = []
        self._batch_bytes = 0
        self._sent = 0

    def export_key(self, perspective: Any) -> Hashable:
        return id(self)

    def export_target(self, perspective: Any) -> Target:
        return Target(self, self, "stream_", (), perspective)

    def forgotten(self) -> None:
        """The reader dropped its reference, or its connection has ended."""
        self._leave()

    async def stream_open(self, sink: RemoteReference, credit: int) -> int:
        """Send the items to ``sink``, and return how many there were (called by the reader)."""
        if self._reading is not None:
            raise Error("a stream is read once")
        if type(credit) is not int or not 0 < credit <= 64 * WINDOW or not hasattr(sink, "tell"):
            raise BadArguments("a stream is opened with a sink and a credit in bytes")
        self._sink, self._credit = sink, credit
        self._reading = asyncio.current_task()
        try:
            if not self._left:
                await self._send_all()
        except asyncio.CancelledError:
            if not self._left:
                raise
        finally:
            self._sink = None
            close = getattr(self._items, "aclose", None)
            if close is not None:
                await close()
        return self._sent

    async def _send_all(self) -> None:
        loop = asyncio.get_running_loop()
        try:
            async for item in self._items:
                if not self._batch:
                    loop.call_soon(self._flush)
                self._batch.append(item)
                cost = item_cost(item)
                self._batch_bytes += cost
                self._credit -= cost
                if self._batch_bytes >= MESSAGE_BYTES:
                    self._flush()
                    await asyncio.sleep(0)  # the generator may never wait, others must have their turn
                    await self._room()
                while self._credit <= 0:
                    self._more_credit = loop.create_future()
                    await self._more_credit
        finally:
            self._flush()

    async def _room(self) -> None:
        """Wait until the connection can take more."""
        if self._sink is not None:
            await self._sink.connection.room

    def _flush(self) -> None:
        """Send what is collected."""
        if not self._batch or self._sink is None:
            return
        batch, self._batch = self._batch, []
        self._batch_bytes = 0
        try:
            # Without asking for room in the write buffer: a stream is bounded by its credit.
            self._sink._session.tell(self._sink._luid, "items", (batch,), {}, self._sink._perspective)
            self._sent += len(batch)
        except DeadReferenceError:
            self._leave()

    def stream_credit(self, more: int) -> None:
        """The reader has taken items (called by it)."""
        if type(more) is not int or more < 0:
            raise BadArguments("credit is a number of bytes")
        self._credit += more
        if self._credit > 0 and self._more_credit is not None and not self._more_credit.done():
            self._more_credit.set_result(None)

    def stream_close(self) -> None:
        """The reader leaves early (called by it)."""
        self._leave()

    def _leave(self) -> None:
        if not self._left:
            self._left = True
            if self._reading is not None:
                self._reading.cancel()


class StreamReader:
    """The receiving end: ``async for item in reference``. Leaving the loop early ends the generator at the peer.

    Args:
        source: the reference to the stream, or the promise of it.
    """

    def __init__(self, source: RemoteReference | Promise) -> None:
        self._source = source
        self._reference: RemoteReference | None = None
        self._items: deque[Any] = deque()
        self._unread = 0  # cost of the items that wait
        self._owed = 0  # credit that was taken and not given back
        self._received = 0
        self._total: int | None = None  # known at the end
        self._error: BaseException | None = None
        self._waiter: asyncio.Future[None] | None = None

    def __aiter__(self) -> StreamReader:
        return self

    async def __anext__(self) -> Any:
        if self._reference is None:
            await self._open()
        while not self._items:
            if self._error is not None:
                raise self._error
            if self._total is not None and self._received >= self._total:
                raise StopAsyncIteration
            self._waiter = asyncio.get_running_loop().create_future()
            await self._waiter
        item = self._items.popleft()
        cost = item_cost(item)
        self._unread -= cost
        self._owed += cost
        if self._owed >= WINDOW // 2 and self._total is None and self._error is None:
            owed, self._owed = self._owed, 0
            self._tell("credit", owed)
        return item

    async def _resolve(self) -> RemoteReference:
        """Wait until the promise of the stream is kept, if it is one."""
        source = await self._source if isinstance(self._source, asyncio.Future) else self._source
        if not isinstance(source, Reference):
            raise TypeError(
                f"a {type(source).__name__} is no stream; an asynchronous generator arrives as one"
            )
        self._reference = source  # type: ignore[assignment] # this driver's references are RemoteReferences
        return self._reference  # type: ignore[return-value]

    async def _open(self) -> None:
        reference = self._source if hasattr(self._source, "connection") else await self._source
        if not hasattr(reference, "connection"):
            raise TypeError(
                f"a {type(reference).__name__} is no stream; an asynchronous generator arrives as one"
            )
        self._reference = reference
        me = weakref.ref(self)
        ended = reference.call("open", _Sink(me), WINDOW)

        def on_end(ended: asyncio.Future[Any]) -> None:
            reader = me()
            if reader is not None:
                reader._end(ended)
            elif not ended.cancelled():
                ended.exception()  # nobody is left to see it

        ended.add_done_callback(on_end)

    def _end(self, ended: asyncio.Future[Any]) -> None:
        if ended.cancelled():
            self._error = asyncio.CancelledError()
        elif (error := ended.exception()) is not None:
            self._error = error
        elif type(ended.result()) is int:
            self._total = ended.result()
        else:
            self._error = ConnectionLost("bad-stream", "the peer did not say how many items there were")
        self._wake()

    def put(self, items: list[Any]) -> None:
        """Items have come (called by the sink)."""
        if self._error is not None:
            return
        self._items.extend(items)
        self._received += len(items)
        self._unread += sum(map(item_cost, items))
        if self._unread > 2 * WINDOW and len(items) < len(self._items):
            self._items.clear()
            self._error = LimitExceeded("the peer sends more than the stream's window")
            self._tell("close")
        self._wake()

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    def _tell(self, name: str, *args: Any) -> None:
        reference = self._reference
        assert reference is not None
        try:
            reference._session.tell(reference._luid, name, args, {}, reference._perspective)
        except DeadReferenceError:
            pass  # the end of the connection ends the stream as well

    async def aclose(self) -> None:
        """Leave the stream; the generator at the peer is closed."""
        if self._reference is None:
            await self._resolve()
        if self._total is None and self._error is None:
            self._error = StopAsyncIteration()
            self._tell("close")
        self._items.clear()


class _Sink(Exportable):
    """What the source tells its items. Holds the reader weakly: dropping the reader drops the stream."""

    def __init__(self, reader: weakref.ref[StreamReader]) -> None:
        self._reader = reader

    def export_key(self, perspective: Any) -> Hashable:
        return id(self)

    def export_target(self, perspective: Any) -> Target:
        return Target(self, self, "sink_")

    def sink_items(self, items: Any) -> None:
        """Items have come (called by the source)."""
        if type(items) is not list:
            raise BadArguments("items come as a list")
        reader = self._reader()
        if reader is not None:
            reader.put(items)
