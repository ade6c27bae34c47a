"""Pages: how streams cross between programs that know no streams, as in ``twisted.spread.util``.

A method is called with a collector; it calls the collector's ``gotPage`` for every page and ``endedPaging`` behind
the last. :func:`get_pages` is the collector's side, and reads like any stream. :func:`send_pages` is the pager's.

Pagers of ours wait for the answers of their pages, and a collector of ours answers when its reader keeps up: so much
flow control the old protocol allows. A Twisted pager asks for no answers. It is slowed by not being read: the
connection pauses, unless a task waits for anything else that may come through it.
"""

from __future__ import annotations

import asyncio
import weakref
from collections import deque
from collections.abc import AsyncIterable, Hashable
from typing import Final

from ..errors import CallError, ConnectionLost, Error, LimitExceeded, RemoteError
from ..flavors import Exportable, Target
from ..ports import Perspective, Value
from .caller import Caller
from .calls import Promise
from .files import Progress, stream_bytes
from .held import usable
from .item_cost import item_cost
from .references import RemoteReference
from .streams import WINDOW, ItemReader

__all__ = ["PageReader", "get_pages", "send_pages"]

#: Pages of a byte string. Twisted's pagers send 8 or 16 KiB; a string may have 640.
PAGE_BYTES: Final = 64 * 1024

#: The most that a pager may have sent without an answer, in bytes and in pages: so many take a slot at the collector
#: while they wait.
UNANSWERED_BYTES: Final = WINDOW // 2
UNANSWERED_PAGES: Final = 64

#: Unread bytes of a reader at which its collector stops answering, before the connection pauses, and before it leaves.
ANSWERING: Final = WINDOW // 2
PAUSING: Final = 2 * WINDOW
PATIENCE: Final = 64 * WINDOW


def get_pages(reference: RemoteReference, method: str, /, *args: Value, **kwargs: Value) -> PageReader:
    """Call a method that sends pages to a collector, and read them: ``async for page in pb.streams.get_pages(...)``.

    Nothing is called before the first page is asked for. Leaving early ends a pager of ours; a pager of Twisted
    goes on, and what it sends is dropped.

    Args:
        reference: the object whose method is called,
        method: its name; it gets a collector before
        args: the other arguments, and
        kwargs: keywords.

    Raises, when read:
        RemoteError: the method raised.
        CallError: the call was refused.
        ConnectionLost: the connection ended before the pages did, or the pager was given up by its owner.
        LimitExceeded: 64 MiB are unread, and reading could not pause.
    """
    return PageReader(reference, method, args, kwargs)


async def send_pages(
    collector: RemoteReference,
    pages: AsyncIterable[Value] | bytes,
    *,
    page_bytes: int = PAGE_BYTES,
    progress: Progress | None = None,
) -> int:
    """Send pages to a peer's collector, not faster than it takes them; await it in the method that was given one.

    Args:
        collector: whose ``gotPage`` and ``endedPaging`` are called.
        pages: an asynchronous generator (such as :func:`~perspective_broker.streams.stream_file`), left whatever
            happens; or bytes, which are cut into pages.
        page_bytes: size of these, in bytes.
        progress: called for bytes, with how many were sent and how many there are.

    Returns:
        The number of pages.

    Raises:
        Error: the collector wants no more pages.
        ConnectionLost: the connection ended.
    """
    if isinstance(pages, bytes):
        pages = stream_bytes(pages, chunk_bytes=page_bytes, progress=progress)
    items = aiter(pages)
    unanswered: deque[tuple[Promise[Value], int]] = deque()
    unanswered_bytes = number = 0
    try:
        async for page in items:
            number += 1
            unanswered.append((collector.call("gotPage", page), item_cost(page)))
            unanswered_bytes += unanswered[-1][1]
            while unanswered_bytes > UNANSWERED_BYTES or len(unanswered) > UNANSWERED_PAGES:
                await unanswered[0][0]
                unanswered_bytes -= unanswered.popleft()[1]
        while unanswered:
            await unanswered[0][0]
            unanswered.popleft()
        await collector.call("endedPaging")
    except (RemoteError, CallError, Error) as error:
        raise Error(f"the collector takes no more pages: {error}") from error
    finally:
        for promise, _ in unanswered:
            promise.cancel()
        close = getattr(items, "aclose", None)
        if close is not None:
            await close()
    return number


class PageReader(ItemReader):
    """Pages that a peer's pager sends, for one ``async for``. Made by :func:`get_pages`."""

    def __init__(
        self, reference: RemoteReference, method: str, args: tuple[Value, ...], kwargs: dict[str, Value]
    ) -> None:
        super().__init__()
        self._caller = usable(reference)
        self._loop = self._caller.loop
        self._call: Promise[Value] | None = None
        self._asked: tuple[Value, ...] = (reference, method, args, kwargs)
        #: The page, if any, that is answered when the reader keeps up.
        self._unanswered: list[asyncio.Future[None]] = []
        self._gone = False  # whether the peer has let the collector go

    async def _begin(self) -> None:
        reference, method, args, kwargs = self._asked
        self._asked = ()  # the call has them now
        me: weakref.ref[PageReader] = weakref.ref(self)
        loop = self._caller.loop
        _readers_of(self._caller).add(self)
        collector = _Collector(me)
        # A peer that lets go of the collector may be ahead of pages that wait for their turn here. These hold it: when
        # it is gone, no page can come any more.
        self._collector = weakref.ref(collector, lambda _: _tell_gone(loop, me))
        calling = self._call = reference.call(method, collector, *args, **kwargs)

        def on_answer(call: asyncio.Future[Value]) -> None:
            reader = me()
            if reader is not None:
                reader._on_answer(call)
            elif not call.cancelled():
                call.exception()  # no program is left to see it

        calling.add_done_callback(on_answer)

    def _on_answer(self, call: asyncio.Future[Value]) -> None:
        if call.cancelled():
            self._end(ConnectionLost("given-up", "the pages were given up"))
        elif (error := call.exception()) is not None:
            self._end(error)
        elif self._gone:
            self._on_gone()

    def _got(self, page: Value) -> asyncio.Future[None] | None:
        """A page has come (called by the collector).

        Returns:
            An awaitable; the page is answered after it.

        Raises:
            Error: no more pages are wanted.
        """
        if self._ended:
            raise Error("no more pages are wanted")
        self._put((page,))
        if self._unread > PATIENCE:
            self._leave(LimitExceeded("more pages are unread than there is patience for"))
        elif self._unread > PAUSING:
            self._caller.wake()
        elif self._unread > ANSWERING and not self._unanswered:
            # One is enough: a pager that waits for answers waits for the first one first.
            self._unanswered.append(self._caller.loop.create_future())
            return self._unanswered[0]
        return None

    def _got_last(self) -> None:
        """There are no more pages (called by the collector)."""
        self._end()

    def _lost_collector(self) -> None:
        """The peer has let the collector go, or the connection has ended."""
        self._gone = True
        # A Twisted peer lets go before it answers, and the answer may tell why.
        if self._call is not None and self._call.done():
            self._on_answer(self._call)

    def _on_gone(self) -> None:
        cause = self._caller.close_cause
        if cause is None:
            self._end(ConnectionLost("pager-gone", "the peer dropped the collector before the last page"))
        else:
            self._end(ConnectionLost(cause.code, cause.reason))

    def _end(self, error: BaseException | None = None) -> None:
        super()._end(error)
        if isinstance(readers := self._caller.pauses, _Readers):
            readers.discard(self)
        _answer(self._caller, self._unanswered)

    def _taken(self, credit: int) -> None:
        if (self._unanswered and self._unread <= ANSWERING) or (
            self._caller.is_paused and self._unread <= PAUSING
        ):
            _answer(self._caller, self._unanswered)

    def _waiting(self) -> None:
        if self._caller.is_paused:
            self._caller.wake()

    async def aclose(self) -> None:
        """Leave: the pager is refused its next page. May be called twice."""
        self._begun = True
        self._leave()

    @property
    def _waits(self) -> bool:
        """Whether a task waits for a page."""
        return self._waiter is not None and not self._waiter.done()

    @property
    def _open_calls(self) -> int:
        """Calls of its own that have no answer yet."""
        return int(self._call is not None and not self._call.done())

    def __del__(self) -> None:
        # May run in any thread, in the middle of a send: it only enqueues (DESIGN section 2, rule 7).
        try:
            self._caller.loop.call_soon_threadsafe(_answer, self._caller, self._unanswered)
        except (AttributeError, RuntimeError):
            pass  # it was never made whole, or the loop is closed, and the connection with it


def _tell_gone(loop: asyncio.AbstractEventLoop, reader: weakref.ref[PageReader]) -> None:
    """Tell a reader that its collector is gone; called by a finaliser, in whatever thread."""

    def tell() -> None:
        if (alive := reader()) is not None:
            alive._lost_collector()

    try:
        loop.call_soon_threadsafe(tell)
    except RuntimeError:
        pass  # the loop is closed, and the connection with it


def _answer(caller: Caller, unanswered: list[asyncio.Future[None]]) -> None:
    """Answer the page that waits for its reader, and look whether the connection may go on."""
    if unanswered:
        answer = unanswered.pop()
        if not answer.done():
            answer.set_result(None)
    caller.wake()


class _Readers:
    """The readers of one connection. Called, it returns whether the connection should pause.

    It should when pages are left unread, and no task waits for anything else.
    """

    def __init__(self, caller: Caller) -> None:
        self._caller = caller
        self._readers: weakref.WeakSet[PageReader] = weakref.WeakSet()

    def add(self, reader: PageReader) -> None:
        self._readers.add(reader)

    def discard(self, reader: PageReader) -> None:
        self._readers.discard(reader)

    def __call__(self) -> bool:
        full = [reader for reader in self._readers if reader._unread > PAUSING]
        return (
            bool(full)
            and self._caller.unanswered <= sum(reader._open_calls for reader in full)
            and not any(reader._waits for reader in self._readers)
        )


def _readers_of(caller: Caller) -> _Readers:
    """Return the readers of a connection; they are made with the first, because most connections have none."""
    readers = caller.pauses
    if not isinstance(readers, _Readers):
        readers = caller.pauses = _Readers(caller)
    return readers


class _Collector(Exportable):
    """The collector to which the pager sends. Holds the reader weakly: dropping the reader ends the pages."""

    _pb_carries_on = True

    def __init__(self, reader: weakref.ref[PageReader]) -> None:
        self._reader = reader

    def _pb_export_key(self, perspective: Perspective) -> Hashable:
        return id(self)

    def _pb_export_target(self, perspective: Perspective) -> Target:
        return Target(self, self, "remote_", (), perspective)

    def forgotten(self) -> None:
        reader = self._reader()
        if reader is not None and reader._caller.close_cause is not None:
            reader._lost_collector()  # now, although something may still hold this collector

    def remote_gotPage(self, page: Value) -> asyncio.Future[None] | None:
        """A page (called by the pager)."""
        reader = self._reader()
        if reader is None:
            raise Error("no more pages are wanted")
        return reader._got(page)

    def remote_endedPaging(self) -> None:
        """There are no more (called by the pager)."""
        reader = self._reader()
        if reader is not None:
            reader._got_last()
