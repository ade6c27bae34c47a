"""The driver: joins one sans-I/O broker to one transport of an asyncio event loop.

It reads only as much as the broker takes, lets the broker act on a slice of it per turn of the loop (so that
one busy peer does not starve another), writes once per turn, and keeps one timer.
"""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, Final, TypeVar, cast
from weakref import WeakSet, WeakValueDictionary

from ..dialects.offer import negotiate
from ..errors import DeadReferenceError, LimitExceeded, SerializationError
from ..flavors import Exportable
from ..flavors.guard import call_back, report
from ..hooks import finish
from ..ports import Data, Method, ObjectId
from ..session import (
    SLOW_CONSUMER,
    Broker,
    CloseCause,
    Host,
    IncomingCall,
    OutgoingCall,
    Phase,
    SharedAllowance,
    SharedMemory,
    Statistics,
    not_run,
)
from ..transports import TLSChannel, watch_for_silence
from .busypoll import BusyPoll
from .calls import Promise, call_here
from .closing import Closing
from .connection import Connection
from .endings import Ending, Endings
from .hangup import HangUpWatch
from .methods import Methods
from .pages import PageReader, pages_are_unread
from .places import check_place
from .reconnect import ReconnectingReference
from .references import RemoteCacheObserver, RemoteReference, Room
from .settings import Settings
from .streams import ItemReader, StreamSource
from .turns import SLICE_SECONDS, turns_of
from .writing import Writer

if TYPE_CHECKING:
    from .server import Server

__all__ = ["Driver", "as_protocol"]

log = logging.getLogger("perspective_broker")

_Subject = TypeVar("_Subject")

_AT_THE_END: Final = "a callback for the end of a connection raised"

#: Bytes that come at once, from which on a turn may take long; and seconds from which on it did.
_MUCH: Final = 64 * 1024
_LONG_TURN: Final = 0.001

#: Bytes of a call like most, or of a few. A connection that has sent more waits for those that have not.
_LITTLE: Final = 1024

#: Operations per turn of the loop (ROBUSTNESS, fault 6), and those between two looks at the clock: small ones take some
#: 10 µs each, and those that the methods of the application take come on top.
MESSAGES_PER_TURN: Final = 64
_MESSAGES_PER_LOOK: Final = 4


class Driver(Host):
    """One connection. The transport calls it as a protocol, the broker as its host.

    (It has the methods of :class:`asyncio.Protocol`, but is none by class: what is compiled has no base outside.)

    Args:
        settings: what ``serve`` or ``connect`` were told.
        peer: what to call the other side until the transport knows better.
        server: who accepted the connection; None on the side that connected.
        root: makes what the peer reaches as ``root``, given the connection.
        poll: keeps the event loop awake when something was said; None lets it sleep.
        allowance: how much is logged about this peer and those that share it.
        shared_memory: what this connection and those that share it hold.
    """

    def __init__(
        self,
        settings: Settings,
        peer: str,
        *,
        server: Server | None = None,
        root: Callable[[Connection], Exportable] | None = None,
        poll: BusyPoll | None = None,
        allowance: SharedAllowance | None = None,
        shared_memory: SharedMemory | None = None,
    ) -> None:
        self.loop = asyncio.get_running_loop()
        self.settings = settings
        self.connection = Connection(self, peer)
        self.broker = Broker(
            self,
            settings.limits,
            self.loop.time(),
            unsafe_tracebacks=settings.unsafe_tracebacks,
            allowance=allowance,
            shared_memory=shared_memory,
            takes_receivers=False,
        )
        self._turns = turns_of(self.loop)
        self._methods = Methods(self.loop, self._turns, self.broker, self._on_method_end)
        self.room = Room(self)
        self._writer: Writer | None = None  # of the transport
        self._write_room: Callable[[], int] | None = None  # its room(), bound once: every turn hands it over
        self._server = server
        self._root = root
        self._poll = poll
        self.awaits_login = False  # whether the peer has to say who it is before it is known
        self.stranger: str | None = None  # whence the peer comes, as long as it is not known (the server's)
        #: Called when the peer takes no new calls any more.
        self.when_draining: Callable[[], object] | None = None
        self.channel: TLSChannel | None = None
        self.error: Exception | None = None  # what broke the transport
        self._transport: asyncio.Transport | None = None
        self._home_thread = threading.get_ident()
        self._turn_scheduled = False
        self._is_put_off = False  # because the connections of the loop have used up its turn
        self._in_turn = False
        self._took = 0.0  # seconds of the last turn
        #: Whether so little goes on that what is said next need not wait for more to go with it. (For one call at a
        #: time the turn of the loop until the next :meth:`_turn` would be a tenth of its round trip.)
        self.lull = True
        self._more = False  # whether messages were left for the next turn
        self._reading = True
        self._blocked = False
        self._waiters: list[asyncio.Future[None]] = []  # woken whenever something was written
        self._timer: asyncio.TimerHandle | None = None
        self._timer_at = 0.0
        self._hang_up_watch: HangUpWatch | None = None  # made when reading first stops
        # Both are made with the first that is put in, for most connections have none and each takes a kilobyte.
        self._page_readers: WeakSet[PageReader] | None = None
        self._sources: WeakValueDictionary[int, StreamSource] | None = None
        self._left_behind = False  # whether what has not ended is not waited for any more
        self._last_words: dict[asyncio.Task[bool], None] = {}  # asynchronous callbacks for the end
        self._is_gone = False  # whether nothing is left of the connection,
        self._gone: asyncio.Future[None] | None = None  # and what tells so, made by the first who waits
        self._endings = Endings()
        self._closing: Closing | None = None  # while the connection ends in order

    # -- asyncio.Protocol

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # uvloop's transports are asyncio's by behaviour, not by class.
        transport = self._transport = cast(asyncio.Transport, transport)
        self.channel = TLSChannel.of(transport)
        limits = self.settings.limits
        self._writer = Writer(transport, limits.write_buffer_high, limits.write_buffer_low)
        self._write_room = self._writer.room
        watch_for_silence(
            transport.get_extra_info("socket"),
            limits.ping_seconds,
            limits.pong_seconds,
            max(limits.ping_seconds + limits.pong_seconds, limits.slow_consumer_seconds)
            + limits.close_seconds,
        )
        self.connection.made(transport)
        self.broker.reports.peer = self.connection.peer
        if self._server is not None:
            self._server.attach(self, transport.get_extra_info("peername"))
            if self._is_closed:
                return
        if self._root is not None:
            try:
                self.broker.tables.exports.name("root", self._root(self.connection))
            except BaseException as error:
                report(error, "no root object could be made for %s", self.connection.peer)
                self.broker.close("no-root", "this side could not make its root object")
                return
        self.broker.start(
            negotiate(
                self.broker.receiver,
                self.broker.exporter,
                self.broker.importer,
                server=self._server is not None,
                limits=self.broker.limits,
                registry=self.settings.registry,
                policy=self.settings.policy,
                dialects=self.settings.dialects,
            )
        )
        self._set_timer()
        self._turn()

    def data_received(self, data: Data) -> None:
        self.broker.receive_data(data, self.loop.time())
        if self._more:
            return
        self._turn()
        if self._is_put_off or (len(data) >= _MUCH and self._took > _LONG_TURN):
            self._give_way()

    def _give_way(self) -> None:
        """Let other connections have their turn before more is read of this one.

        As long as its buffer is filled uvloop reads one connection up to 32 times before it looks at the next. A flood
        that costs 77 ms for each MiB kept all others waiting for more than a second (``python -m bench.bystander``).
        """
        if self._reading and self._transport is not None and not self._is_closed:
            self._more = True
            self._reading = False
            self._transport.pause_reading()
            self.wake()

    def eof_received(self) -> bool:
        self.broker.receive_eof()
        # What came before may still be acted on, and said; TLS has no half-closed connections.
        return not self._is_closed and self.channel is None

    def connection_lost(self, exc: Exception | None) -> None:
        self._transport = self._writer = self._write_room = None
        if self._hang_up_watch is not None:
            self._hang_up_watch.stop()
        self.error = exc
        if exc is None:
            self.broker.receive_eof()
            self.broker.peer_hung_up()
        else:
            self.broker.connection_lost(str(exc) or type(exc).__name__)
        self._wake_waiters()
        self._maybe_gone()

    def _hung_up(self, is_gone: bool) -> None:
        """The peer has ended its bytes, or is gone, while nothing was read: it reads no more answers."""
        if not is_gone:
            self.broker.peer_hung_up()
        elif self._transport is not None:
            self._transport.abort()

    def give_up(self) -> None:
        """Connecting was interrupted. The loop may have closed the transport, and uvloop then tells nobody."""
        transport = self._transport
        self.connection_lost(None)
        if transport is not None:
            transport.abort()

    def pause_writing(self) -> None:
        self._blocked = True
        if not self._is_closed:
            buffered = 0 if self._transport is None else self._transport.get_write_buffer_size()
            self.broker.set_blocked(True, self.loop.time(), buffered)
            self._set_timer()

    def resume_writing(self) -> None:
        self._blocked = False
        if self._writer is not None:
            self._writer.resumed()
        if not self._is_closed:
            self.broker.set_blocked(False, self.loop.time())
            self.wake()

    @property
    def _is_closed(self) -> bool:
        return self.broker.lifecycle.phase is Phase.CLOSED

    # -- one turn

    def _turn(self) -> None:
        """Act, now or when the other connections of the loop leave time for it."""
        if self._is_closed:
            return
        turns = self._turns
        if turns.over:
            if not self._is_put_off:
                self._is_put_off = True
                turns.put_off(self._turn_put_off, self._is_busy)
            return
        began = turns.clock()
        try:
            self._act(began)
        finally:
            self._took = turns.clock() - began
            turns.spend(self._took)

    @property
    def _is_busy(self) -> bool:
        """Whether other connections come first: the peer is unknown, costs much, or has sent much."""
        return (
            self.stranger is not None
            or self._more
            or self._took > _LONG_TURN
            or self.broker.unread_bytes > _LITTLE
        )

    def _turn_put_off(self) -> None:
        self._is_put_off = False
        self._turn()

    def _act(self, began: float) -> None:
        """Let the broker act on what has come, then write what it has to say."""
        broker = self.broker
        self._turn_scheduled = False
        if self._page_readers is not None:
            broker.is_paused = pages_are_unread(self._page_readers, len(broker.questions))
        received = broker.messages_received
        self._in_turn = True
        try:
            self._process(began)
        finally:
            self._in_turn = False
        if self._is_closed:
            return
        self.lull = broker.messages_received - received < 2
        if self._more:
            self._turn_scheduled = True
            self.loop.call_soon(self._turn)
        reading = not self._more and broker.wants_data
        if reading is not self._reading and self._transport is not None:
            self._reading = reading
            watch = self._hang_up_watch
            if watch is None:
                watch = self._hang_up_watch = HangUpWatch(self.loop, self._transport, self._hung_up)
            if reading:
                watch.stop()
                self._transport.resume_reading()
            else:
                self._transport.pause_reading()
                watch.start()
        if broker.mid_message:
            self._set_timer()
        self._flush()

    def _process(self, began: float) -> None:
        """Let the broker act on what has come, as far as the slice goes that began then."""
        broker, clock, now = self.broker, self._turns.clock, self.loop.time()
        until = broker.messages_received + MESSAGES_PER_TURN
        while True:
            self._more = broker.process(_MESSAGES_PER_LOOK, now)
            if not self._more or broker.messages_received >= until or clock() - began > SLICE_SECONDS:
                return

    def _flush(self) -> None:
        writer = self._writer
        if writer is None or self._blocked or not writer.takes_more():
            return
        out = self.broker.data_to_send(self._write_room)
        if out:
            if self._poll is not None:
                self._poll.stay()
            writer.write(out)
        if self._waiters:
            self._wake_waiters()
        if self._closing is not None and self._transport is not None and not self.broker.outbox.size:
            self._closing.written(self._transport)

    def _set_timer(self) -> None:
        """Arrange to be called at the broker's next deadline; an early call only looks again."""
        deadline = self.broker.next_deadline()
        if self._timer is not None and (deadline is None or self._timer_at > deadline):
            self._timer.cancel()
            self._timer = None
        if deadline is not None and self._timer is None:
            self._timer = self.loop.call_at(deadline, self._on_timer)
            self._timer_at = deadline  # which uvloop's handle does not know of a time that has passed

    def _on_timer(self) -> None:
        self._timer = None
        self.broker.handle_deadline(self.loop.time())
        if not self._is_closed:  # then the timer is that of the close
            self._set_timer()
            self._turn()

    def _cancel_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def flush(self) -> None:
        """Write now what was said."""
        self.lull = False  # until the next turn
        self._flush()

    # -- ports.Host

    def wake(self) -> None:
        if not self._turn_scheduled and not self._in_turn:
            self._turn_scheduled = True
            self.loop.call_soon(self._turn)

    def wake_from_anywhere(self) -> None:
        try:
            if threading.get_ident() == self._home_thread:
                self.wake()
            else:
                self.loop.call_soon_threadsafe(self.wake)
        except RuntimeError:  # the loop is closed, and the connection with it
            pass

    def adapt(self, value: Any) -> Any:
        if isinstance(value, Promise):
            return self._adapt_promise(value)
        if isinstance(value, ReconnectingReference):
            return value.current
        if not isinstance(value, (AsyncGenerator, ItemReader)):
            return value
        if self._sources is None:
            self._sources = WeakValueDictionary()
        source = self._sources.get(id(value))  # which keeps the value alive, so its id is its own
        if source is None:
            source = self._sources[id(value)] = StreamSource(value)
        return source

    def _adapt_promise(self, promise: Promise) -> Any:
        """Return what a promise among the arguments crosses as: its answer, or a mention of it."""
        if promise.cancelled():
            raise SerializationError("a promise that was given up cannot cross", culprit=promise)
        if not promise.done():
            return self.broker.outgoing.mention(promise._call)
        error = promise.exception()
        if error is not None:
            raise not_run(error) if isinstance(error, Exception) else error
        return promise.result()

    def call_here(
        self, call: OutgoingCall, target: Any, name: str, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> None:
        call_here(self, call, target, name, args, kwargs)

    def cancel_here(self, call: OutgoingCall) -> None:
        if call.handle is not None:
            call.handle.cancel()

    def make_observer(self, luid: int, perspective: Any) -> RemoteCacheObserver:
        return RemoteCacheObserver(self, self.broker, luid, perspective)

    def make_reference(self, luid: ObjectId, perspective: Any) -> RemoteReference:
        return RemoteReference(self, self.broker, luid, perspective)

    def invoke(
        self, call: IncomingCall, method: Method, args: Sequence[Any], kwargs: Mapping[str, Any]
    ) -> None:
        self._methods.invoke(call, method, args, kwargs)

    def cancel(self, call: IncomingCall) -> None:
        self._methods.cancel(call)

    def _on_method_end(self) -> None:
        if self._waiters:
            self.wake()  # they may wait for the end of a call that has no answer
        self._maybe_gone()

    def on_draining(self) -> None:
        log.info("%s takes no new calls and will end the connection soon", self.connection.peer)
        if self.when_draining is not None:
            self.when_draining()

    def on_deadline(self) -> None:
        self._set_timer()

    def on_open(self) -> None:
        self._set_timer()
        if not self.awaits_login:
            self.welcome()
        self._wake_waiters()

    def welcome(self) -> None:
        """The peer is no stranger any more."""
        if self._server is not None:
            self._server.welcome(self)

    def finish(self, code: str, reason: str) -> None:
        """Begin to end the connection in order; a peer that has not said who it is gets nothing but a farewell."""
        if self.stranger is None:
            self.broker.finish(code, reason, self.loop.time())
        else:
            self.broker.close(code, reason)

    @property
    def transport(self) -> asyncio.Transport | None:
        """What carries the bytes; None when it is gone."""
        return self._transport

    def give_up_closing(self) -> None:
        """Nothing moves any more in a connection that ends in order."""
        self.broker.give_up()
        if self._transport is not None:
            self._transport.abort()

    def on_closing(self) -> None:
        if self._closing is None:
            self._closing = Closing(self)

    def on_last_message(self) -> None:
        assert self._closing is not None
        self._closing.said_last = True
        if self._transport is None:
            self.broker.give_up()
        else:
            self._flush()

    def on_closed(self, cause: CloseCause) -> None:
        log.debug("connection to %s ended: %s: %s", self.connection.peer, cause.code, cause.reason)
        for subject, callback in self._endings.take():
            result: Any = call_back(partial(callback, subject), _AT_THE_END)
            if hasattr(type(result), "__await__"):
                task = self.loop.create_task(finish(result, _AT_THE_END))
                self._last_words[task] = None
                task.add_done_callback(self._on_last_word)
        if self._server is not None:
            self._server.detach(self)
        self._cancel_timer()
        if self._closing is not None:
            self._closing.stop()
        self._wake_waiters()
        transport = self._transport
        if transport is not None:
            # These are the last words: they go out even when the buffer is full.
            if last := b"".join(self.broker.data_to_send()):
                transport.write(last)
            if cause.code == SLOW_CONSUMER:  # it reads no last words, either, and what waits for it is memory
                transport.abort()
            else:
                transport.close()
        self._timer = self.loop.call_later(self.settings.limits.close_seconds, self._leave_behind)

    def _leave_behind(self) -> None:
        """Wait no longer for the end: of a peer that does not read, of methods that go on although cancelled.

        Methods of calls without an answer were left to end by themselves, and are cancelled before.
        """
        self._timer = None
        if self._methods.stop():
            if self._transport is not None:
                self._transport.abort()
            self._timer = self.loop.call_later(self.settings.limits.close_seconds, self._leave_behind)
            return
        if self._methods or self._last_words:
            log.warning(
                "%d methods and %d callbacks of the connection to %s had not ended %g s after it, and are left behind",
                len(self._methods),
                len(self._last_words),
                self.connection.peer,
                self.settings.limits.close_seconds,
            )
        self._left_behind = True
        if self._transport is not None:
            self._transport.abort()
        self._maybe_gone()

    def _on_last_word(self, task: asyncio.Task[bool]) -> None:
        self._last_words.pop(task, None)
        self._maybe_gone()

    def _maybe_gone(self) -> None:
        if self._is_gone or self._transport is not None or not self._is_closed:
            return
        if self._left_behind or not (self._methods or self._last_words):
            self._cancel_timer()
            self._is_gone = True
            if self._gone is not None:
                self._gone.set_result(None)
            if self._server is not None:
                self._server.forget(self)

    # -- for references and streams

    def add_page_reader(self, reader: PageReader) -> None:
        """From now on the connection pauses while ``reader`` has enough to read."""
        if self._page_readers is None:
            self._page_readers = WeakSet()
        self._page_readers.add(reader)

    def discard_page_reader(self, reader: PageReader) -> None:
        """``reader`` reads no more."""
        if self._page_readers is not None:
            self._page_readers.discard(reader)

    def notify_on_disconnect(
        self, subject: _Subject, callback: Callable[[_Subject], object], own: list[Ending] | None = None
    ) -> None:
        """Call ``callback(subject)`` at the end of the connection; what it returns is awaited if it can be.

        Args:
            subject: what the callback is called with.
            callback: may be ``async``.
            own: the subject's list of its callbacks; None keeps the callback as long as the connection lives.
        """
        if self.broker.lifecycle.phase is Phase.CLOSED:
            raise DeadReferenceError("the connection has ended")
        self._endings.add(subject, callback, own)

    def dont_notify_on_disconnect(
        self, subject: _Subject, callback: Callable[[_Subject], object], own: list[Ending] | None = None
    ) -> None:
        self._endings.remove(subject, callback, own)

    # -- room in the write buffer

    @property
    def buffered(self) -> int:
        """Bytes that were sent by the application and not yet taken by the system, without calls held back."""
        transport, broker = self._transport, self.broker
        unsent = broker.outbox.size
        if unsent > self.settings.limits.write_buffer_high:
            unsent = broker.outbox.weight
        return (
            unsent
            + broker.questions.told_bytes
            + (transport.get_write_buffer_size() if transport is not None else 0)
        )

    @property
    def is_full(self) -> bool:
        """Whether producers should wait."""
        return self._transport is not None and (
            self._blocked or self.buffered > self.settings.limits.write_buffer_high
        )

    def check_room(self) -> None:
        """Refuse a message without an answer when the buffer is full and nobody waits for room.

        Those that wait show that they mind; but even they may not fill more than four buffers.

        Raises:
            LimitExceeded: there is no room.
        """
        high = self.settings.limits.write_buffer_high
        broker = self.broker
        if broker.outbox.large:
            high *= 2  # the transport's buffer is full of pieces, which are nobody's fault
        if self._is_closed:
            return  # which is what the message itself will meet
        if not self._blocked and broker.outbox.size + broker.questions.told_bytes <= high:
            return
        buffered = self.buffered
        if buffered > high and (not self._waiters or buffered > 4 * high):
            raise LimitExceeded(
                f"{buffered} bytes are waiting for a slow peer; await what tell() returns before telling more"
            )

    async def wait_for_room(self) -> None:
        """Wait until the write buffer is below its low mark, or the connection has ended."""
        check_place(self.loop)
        await self._wait_while(lambda: self.is_full)

    async def wait_open(self) -> None:
        """Wait until the greeting is over, or the connection has ended."""
        before = (Phase.NEGOTIATING, Phase.GREETING)
        await self._wait_while(lambda: self.broker.lifecycle.phase in before)

    async def wait_gone(self) -> None:
        """Wait until the connection has ended and nothing of it runs any more."""
        if self._is_gone:
            return
        if self._gone is None:
            self._gone = self.loop.create_future()
        await asyncio.shield(self._gone)

    async def wait_idle(self) -> None:
        """Wait until no call is under way and everything said was handed to the transport, or the end."""
        await self._wait_while(lambda: not self.broker.is_idle)

    async def _wait_while(self, condition: Callable[[], bool]) -> None:
        while condition() and not self._is_closed:
            waiter: asyncio.Future[None] = self.loop.create_future()
            self._waiters.append(waiter)
            try:
                await waiter
            finally:
                if waiter in self._waiters:
                    self._waiters.remove(waiter)

    def _wake_waiters(self) -> None:
        waiters, self._waiters = self._waiters, []
        for waiter in waiters:
            if not waiter.done():
                waiter.set_result(None)

    def statistics(self) -> Statistics:
        return self.broker.statistics()


def as_protocol(driver: Driver) -> asyncio.Protocol:
    """Return ``driver`` as what event loops ask for."""
    return cast(asyncio.Protocol, driver)
