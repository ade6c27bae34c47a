"""Streams: an asynchronous generator here is an ``async for`` at the peer.

A stream is an object that is called: the reader calls ``open`` with a sink of its own, the source
sends the sink its items, and the answer of ``open`` is the end of the stream, or the exception that ended it. So a
stream crosses on every dialect, under the perspective of the answer that carried it.

Flow control is by credit, in bytes: the source sends while it has some, the reader gives it back as items are
taken. Small items that come in one turn of the loop travel in one message.
"""

from __future__ import annotations

import asyncio
import contextlib
import weakref
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import AsyncIterator, Hashable, Sequence
from typing import Final

from ..errors import (
    BadAnswer,
    BadArguments,
    CallError,
    ConnectionLost,
    DeadReferenceError,
    Error,
    LimitExceeded,
    UsageError,
)
from ..flavors import Exportable, Target
from ..flavors.handle import Handle
from ..interfaces import Form
from ..ports import Perspective, Value
from .affinity import check_loop
from .caller import Caller, not_made
from .held import HeldReference, caller_of, usable
from .item_cost import item_cost
from .pending import Pending, begin_at_once

__all__ = ["WINDOW", "ItemReader", "StreamReader", "StreamSource", "loop_of", "next_items", "read_stream"]

#: Bytes of items that may be on their way or unread: what also bounds the calls of a connection (Limits.window_bytes).
WINDOW: Final = 1024 * 1024

#: The most that a source sends unread, whatever credit it gets. (One reader may read many streams: a few MiB each.)
MOST_CREDIT: Final = 4 * WINDOW

#: Bytes that a reader keeps of a source that ignores its window, before it leaves.
PATIENCE: Final = 4 * WINDOW

#: A message is sent at this size, or with so many items, or when the turn of the loop ends. Chunks of 64 KiB cost 55 %
#: of the processor time in messages of 256 KiB that they cost in messages of their own; beyond, little is gained.
MESSAGE_BYTES: Final = 256 * 1024
MESSAGE_ITEMS: Final = 1024

#: Items that a thread gets at once.
_MOST_AT_ONCE: Final = 64


class StreamSource(Exportable):
    """The sending end: makes an asynchronous iterator callable. Read by one reader, once.

    Args:
        items: what is sent; an asynchronous generator is closed when the reader leaves.
    """

    _pb_carries_on = True

    def __init__(self, items: AsyncIterator[Value]) -> None:
        self._items = items
        self._reading: asyncio.Task[Value] | None = None
        self._left = False  # whether the reader has gone
        self._ending = False  # whether the items are left, which is not disturbed
        self._error: Exception | None = None  # why an item could not be sent
        self._credit = 0
        self._more_credit: asyncio.Future[None] | None = None
        self._sink: HeldReference | None = None
        self._caller: Caller | None = None  # of the sink
        self._batch: list[Value] = []
        self._batch_cost = 0
        self._sent = 0
        self._flushed = False  # since the write buffer was last looked at

    def _pb_export_key(self, perspective: Perspective) -> Hashable:
        return id(self)

    def _pb_export_target(self, perspective: Perspective) -> Target:
        return Target(self, self, "stream_", (), perspective)

    def forgotten(self) -> None:
        """The reader dropped its reference, or its connection has ended."""
        self._leave()

    async def stream_open(self, sink: HeldReference, credit: int) -> int:
        """Send the items to ``sink``, and return how many there were (called by the reader)."""
        if self._reading is not None:
            raise Error("a stream is read once")
        if type(credit) is not int or not 0 < credit <= MOST_CREDIT or not isinstance(sink, HeldReference):
            raise BadArguments("a stream is opened with a sink and a credit in bytes")
        caller = usable(sink)
        self._sink, self._caller, self._credit = sink, caller, credit
        self._reading = asyncio.current_task()
        try:
            if not self._left:
                await self._send_all()
        except Exception:
            if not self._left:
                # An answer overtakes calls that wait, and this one would end the stream before its last items.
                with contextlib.suppress(Exception):
                    await begin_at_once(caller, sink, "items", 0)
            raise
        finally:
            self._sink = self._caller = self._error = None
            self._ending = True
            await self._close()
        return self._sent

    async def _send_all(self) -> None:
        loop = asyncio.get_running_loop()
        try:
            async for item in self._items:
                if not self._batch:
                    loop.call_soon(self._flush)
                self._batch.append(item)
                cost = item_cost(item)
                self._batch_cost += cost
                self._credit -= cost
                if self._batch_cost >= MESSAGE_BYTES or len(self._batch) >= MESSAGE_ITEMS:
                    self._flush()
                    await asyncio.sleep(0)  # the generator may never wait, others must have their turn
                if self._flushed:
                    self._flushed = False
                    await self._drain()
                while self._credit <= 0 and self._error is None:
                    self._more_credit = loop.create_future()
                    await self._more_credit
                if self._error is not None:
                    break
        except asyncio.CancelledError:
            if not self._left and self._error is None:
                raise
        finally:
            self._flush()
        if self._error is not None:
            raise self._error

    async def _drain(self) -> None:
        """Wait until the connection can take more."""
        if self._caller is not None:
            await self._caller.buffer.drain

    def _flush(self) -> None:
        """Send what is collected."""
        batch, cost = self._batch, self._batch_cost
        self._batch, self._batch_cost = [], 0
        if not batch or self._sink is None or self._error is not None:
            return
        try:
            self._tell(cost, batch)
        except DeadReferenceError:
            self._leave()
        except Exception as error:
            self._send_up_to_the_flaw(cost, batch, error)

    def _send_up_to_the_flaw(self, cost: int, batch: list[Value], error: Exception) -> None:
        """Send those of the items that stand before the first that cannot cross, which ends the stream."""
        try:
            for number, item in enumerate(batch):
                # Items that are only too many for one message can cross one by one.
                self._tell(cost if number == 0 else 0, [item])
        except Exception as flaw:
            error = flaw
        else:
            return
        self._error = error
        if self._reading is not None and self._reading is not asyncio.current_task():
            self._reading.cancel()

    def _tell(self, cost: int, items: list[Value]) -> None:
        sink, caller = self._sink, self._caller
        assert sink is not None
        assert caller is not None
        caller.tell_at_once(sink, "items", (cost, *items))
        self._flushed = True
        self._sent += len(items)

    def stream_credit(self, more: int) -> None:
        """The reader has taken items (called by it)."""
        if type(more) is not int or more < 0:
            raise BadArguments("credit is a number of bytes")
        self._credit = min(self._credit + more, MOST_CREDIT)
        if self._credit > 0 and self._more_credit is not None and not self._more_credit.done():
            self._more_credit.set_result(None)

    async def stream_close(self) -> None:
        """The reader leaves early (called by it)."""
        self._leave()
        if self._reading is None:
            await self._close()

    def _leave(self) -> None:
        if not self._left:
            self._left = True
            if self._reading is not None and not self._ending:
                self._reading.cancel()

    async def _close(self) -> None:
        close = getattr(self._items, "aclose", None)
        if close is not None:
            await close()


class ItemReader(Handle, ABC):
    """Items that come when they come, for one ``async for``: what streams and pages have in common."""

    def __init__(self) -> None:
        self._begun = False
        self._beginning = False  # whether a task waits for the first items to be asked for
        self._loop: asyncio.AbstractEventLoop | None = None  # where it is read
        self._items: deque[Value] = deque()
        self._batches: deque[list[int]] = deque()  # of these: items left, cost, and credit to give back
        self._unread = 0  # cost of the items that wait
        self._received = 0
        self._ended = False  # whether no more will come
        self._error: BaseException | None = None  # what to raise then
        self._waiter: asyncio.Future[None] | None = None

    def __aiter__(self) -> ItemReader:
        return self

    async def __anext__(self) -> Value:
        self._check_loop()
        if not self._begun:
            await self._begin_once()
        while not self._items:
            if self._ended:
                if self._error is not None:
                    raise self._error
                raise StopAsyncIteration
            if self._waiter is not None:
                raise RuntimeError("a stream is read by one task at a time")
            self._waiter = asyncio.get_running_loop().create_future()
            self._waiting()
            try:
                await self._waiter
            finally:
                self._waiter = None
        return self._pop()

    def _pop(self) -> Value:
        """Take the oldest of the items that wait."""
        item = self._items.popleft()
        batch = self._batches[0]
        batch[0] -= 1
        if not batch[0]:
            del self._batches[0]
            self._unread -= batch[1]
            self._taken(batch[2])
        return item

    async def _begin_once(self) -> None:
        """Ask for the items. A task that is cancelled meanwhile leaves the reader as it was."""
        if self._beginning:
            raise RuntimeError("a stream is read by one task at a time")
        self._beginning = True
        try:
            await self._begin()
            self._begun = True
        except Exception as error:
            self._begun = True
            self._end(error)
            raise
        finally:
            self._beginning = False

    def _check_loop(self) -> None:
        """Raise UsageError if the reader is used in another loop than at first."""
        if self._loop is None:
            self._loop = asyncio.get_running_loop()
        else:
            check_loop(self._loop)

    def _put(self, items: Sequence[Value], credit: int = 0) -> None:
        """Take items that have come; ``credit`` is handed to :meth:`_taken` when the last of them is read."""
        if self._ended:
            return
        if items:
            cost = sum(map(item_cost, items))
            self._items.extend(items)
            self._batches.append([len(items), cost, credit])
            self._unread += cost
            self._received += len(items)
        self._wake()

    def _end(self, error: BaseException | None = None) -> None:
        """No more items will come; those that wait can still be read."""
        if not self._ended:
            self._ended, self._error = True, error
        self._wake()

    def _leave(self, error: BaseException | None = None) -> None:
        """Forget what waits."""
        self._end(error)
        self._error = error
        self._items.clear()
        self._batches.clear()
        self._unread = 0

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    @abstractmethod
    async def _begin(self) -> None:
        """Ask for the items (called before the first is read)."""

    @abstractmethod
    def _waiting(self) -> None:
        """A task has begun to wait for an item."""

    @abstractmethod
    def _taken(self, credit: int) -> None:
        """Items were read to the end of what came together."""

    @abstractmethod
    async def aclose(self) -> None:
        """Leave: no more items are wanted."""


def loop_of(reader: ItemReader) -> asyncio.AbstractEventLoop | None:
    """Return the event loop where a reader is read; None before that is known."""
    return reader._loop


async def next_items(reader: ItemReader) -> list[Value]:
    """Return the next item of a reader and some that have come with it; an empty list at the end of the stream."""
    items: list[Value] = []
    try:
        items.append(await anext(reader))
        while reader._items and len(items) < _MOST_AT_ONCE:
            items.append(await anext(reader))  # which does not wait
    except StopAsyncIteration:
        pass
    return items


class StreamReader(ItemReader):
    """The receiving end: ``async for item in reference``. Leaving the loop early ends the generator at the peer.

    It is left by :meth:`aclose`, or by dropping it, which ``break`` does when nothing else holds it.

    Args:
        source: the reference to the stream, or the promise of it.
        form: what the items have to be, where an interface says so.
    """

    def __init__(self, source: HeldReference | Pending[Value], form: Form | None = None) -> None:
        super().__init__()
        self._form = form
        self._window = WINDOW
        self._latest = False  # whether only the latest item is kept
        self._source: HeldReference | Pending[Value] | None = source
        if isinstance(source, asyncio.Future):
            self._loop = source.get_loop()
        elif (caller := caller_of(source)) is not None:  # else it is dead, which the first use will tell
            self._loop = caller.loop
        self._reference: HeldReference | None = None
        self._caller: Caller | None = None  # of the reference
        self._waited = False  # whether the promise of the stream was waited for
        self._opened: Pending[Value] | None = None
        self._watches_connection = False  # whether the end of the connection ends the stream
        self._owed = 0  # credit that was taken and not given back

    async def _begin(self) -> None:
        reference = await self._resolve()
        me: weakref.ref[StreamReader] = weakref.ref(self)
        self._opened = begin_at_once(usable(reference), reference, "open", _Sink(me), self._window)

        def on_end(opened: asyncio.Future[Value]) -> None:
            reader = me()
            if reader is not None:
                reader._on_end(opened)
            elif not opened.cancelled():
                opened.exception()  # no program is left to see it

        self._opened.add_done_callback(on_end)

    async def _resolve(self) -> HeldReference:
        """Wait until the promise of the stream is kept, if it is one. (Giving up the wait does not give that up.)"""
        source = self._source
        if isinstance(source, asyncio.Future):
            self._waited = True
            source = await asyncio.shield(source)
        if not isinstance(source, HeldReference):
            raise TypeError(
                f"a {type(source).__name__} is not a stream; an asynchronous generator arrives as one"
            )
        self._reference, self._caller = source, caller_of(source)
        return source

    def _on_end(self, opened: asyncio.Future[Value]) -> None:
        """The source has sent everything, or why it cannot."""
        if self._ended:
            if not opened.cancelled():
                opened.exception()  # it does not matter any more
            return
        if opened.cancelled():
            self._end(ConnectionLost("given-up", "the stream was given up"))
        elif (error := opened.exception()) is not None:
            self._end(error)
        elif type(opened.result()) is not int:
            self._end(ConnectionLost("bad-stream", "the peer did not say how many items there were"))
        elif self._received >= opened.result():
            self._end()
        elif not self._watches_connection:
            # The answer has overtaken items. The last of them is the end, unless the connection ends before.
            self._watches_connection = True
            self._end_with_the_connection()

    def _end_with_the_connection(self) -> None:
        """End the stream when the connection does: nothing else shows that the last items do not come."""
        reference, me = self._reference, weakref.ref(self)
        assert reference is not None

        def on_end(reference: HeldReference) -> None:
            reader, cause = me(), reference.connection.close_cause
            if reader is not None and not reader._ended:
                assert cause is not None
                reader._end(ConnectionLost(cause.code, cause.reason))

        try:
            # And not the connection's, which forgets no stream before its end.
            reference.on_disconnect(on_end)
        except DeadReferenceError:
            self._end(ConnectionLost())

    def _take(self, items: tuple[Value, ...], cost: int) -> None:
        """Items have come (called by the sink)."""
        bad: BadAnswer | None = None
        if self._form is not None:
            items, bad = _received(self._form, items, self._caller is not None and self._caller.is_classic)
        if self._latest:
            self._put(items)
            while len(self._items) > 1:
                self._pop()
            self._taken(cost)  # or a reader that is slow would get what its slowness held up
        else:
            self._put(items, cost)
        if bad is not None:
            self._refuse(bad)
        elif self._unread > PATIENCE and self._unread - self._batches[-1][1] > PATIENCE:
            # The last ones do not count: a large item crosses whole, however little credit was left for it.
            _tell(self._caller, self._reference, "close")
            self._leave(LimitExceeded("the peer sends more than the stream's window"))
        elif self._opened is not None and self._opened.done():
            self._on_end(self._opened)

    def _refuse(self, error: CallError | BadAnswer) -> None:
        """Items have come that cannot be read: they end the stream, behind those that came before."""
        if not self._ended:
            if isinstance(error, CallError):
                error.of_a_call = True  # the program that reads has run until here
            _tell(self._caller, self._reference, "close")
            self._end(error)

    def _waiting(self) -> None:
        """The source knows: it has its credit back."""

    def _taken(self, credit: int) -> None:
        self._owed += credit
        if self._owed >= self._window // 2 and not self._ended:
            owed, self._owed = self._owed, 0
            _tell(self._caller, self._reference, "credit", owed)

    def _end(self, error: BaseException | None = None) -> None:
        super()._end(error)
        self._source = self._reference = self._caller = None

    async def aclose(self) -> None:
        """Leave the stream, and wait until the generator at the peer is closed. May be called twice.

        Raises:
            RemoteError: what the generator raised when it was closed.
        """
        self._check_loop()
        if self._ended:
            self._leave()
            return
        self._begun = True
        reference = self._reference or await self._resolve()
        caller, opened = self._caller, self._opened
        self._leave()
        _tell(caller, reference, "close")
        if opened is not None:
            del reference
            try:
                await opened
            except (ConnectionLost, DeadReferenceError):
                pass

    def __del__(self) -> None:
        # May run in any thread, in the middle of a send: it only enqueues (DESIGN section 2, rule 7).
        reference, opened, source = self._reference, self._opened, self._source
        try:
            if reference is not None and opened is not None:
                opened.get_loop().call_soon_threadsafe(_tell, self._caller, reference, "close")
            elif self._waited and isinstance(source, asyncio.Future) and not source.done():
                source.get_loop().call_soon_threadsafe(source.cancel)
        except RuntimeError:
            pass  # the loop is closed, and the connection with it


def read_stream(
    stream: HeldReference | Pending[Value] | StreamReader, *, window_bytes: int = WINDOW, latest: bool = False
) -> StreamReader:
    """Read a stream with a window of your own: ``async for frame in read_stream(root.call("frames"), latest=True)``.

    Args:
        stream: what could be read by ``async for`` itself, and has not begun to be.
        window_bytes: how much may be on its way or unread; the generator is suspended until some was read. A large item
            crosses whole, however small the window.
        latest: keep of the items that have come only the latest: the reader gets the newest one each time, and the
            generator does not wait for it.

    Raises:
        ValueError: the window is not 1 to 4194304 bytes.
        TypeError: it is no stream.
        UsageError: the stream is being read.
    """
    if not 1 <= window_bytes <= MOST_CREDIT:
        raise ValueError(f"window_bytes: 1 to {MOST_CREDIT}, not {window_bytes!r}")
    if not isinstance(stream, (HeldReference, Pending, StreamReader)):
        raise TypeError(
            f"read_stream: takes a stream of the peer, or the promise of one, not {type(stream).__name__}"
        )
    reader = stream if isinstance(stream, StreamReader) else StreamReader(stream)
    if reader._begun or reader._beginning:
        raise UsageError("read_stream: the stream is being read already")
    reader._window, reader._latest = window_bytes, latest
    return reader


def _received(
    form: Form, items: tuple[Value, ...], classic: bool
) -> tuple[tuple[Value, ...], BadAnswer | None]:
    """Return items as the interface says, up to the first that does not fit, and the error of that."""
    received: list[Value] = []
    try:
        for item in items:
            received.append(form.receive_item(item, classic))
    except BadAnswer as error:
        return tuple(received), error
    except Exception as error:  # of the program, whose classes the items are made of
        return tuple(received), not_made(error)
    return tuple(received), None


def _tell(caller: Caller | None, stream: HeldReference | None, name: str, *args: Value) -> None:
    """Tell a source something."""
    if caller is None or stream is None:
        return  # the reference was released, and the source with it
    try:
        caller.tell_at_once(stream, name, args)
    except DeadReferenceError:
        pass  # the end of the connection ends the stream as well


class _Sink(Exportable):
    """The object to which the source sends its items. Holds the reader weakly: dropping the reader drops the stream."""

    _pb_carries_on = True

    def __init__(self, reader: weakref.ref[StreamReader]) -> None:
        self._reader = reader

    def _pb_export_key(self, perspective: Perspective) -> Hashable:
        return id(self)

    def _pb_export_target(self, perspective: Perspective) -> Target:
        return Target(self, self, "sink_", (), perspective)

    def _pb_unread(self, error: CallError) -> None:
        reader = self._reader()
        if reader is not None:
            reader._refuse(error)

    def sink_items(self, cost: int, *items: Value) -> None:
        """Items have come, which cost so much credit (called by the source)."""
        if type(cost) is not int or cost < 0:
            raise BadArguments("a cost is a number of bytes")
        reader = self._reader()
        if reader is not None:
            reader._take(items, cost)
