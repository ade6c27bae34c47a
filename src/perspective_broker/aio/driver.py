"""The driver: carries the bytes of one connection between its transport and its broker, in turns, with one timer.

It reads only as much as the broker takes, lets the broker act on a slice of it per turn of the loop (so that
one busy peer does not starve another), writes once per turn, and keeps one timer::

    transport ── data_received ──▶ broker.receive_data         broker.data_to_send ── WriteBuffer ──▶ transport
                                        │                               ▲
                                        └──▶ turn: broker.process ──────┘

The meaning of the bytes for the application is in :mod:`.host`.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from typing import Final, cast

from ..ports import Data
from ..queues import NOTHING, own
from ..session import SLOW_CONSUMER, Broker, CloseCause
from ..transports import TLSChannel, watch_for_silence
from .hangup import HangUpWatch
from .leftovers import Leftovers
from .methods import MethodWatcher
from .settings import Settings
from .turns import SLICE_SECONDS, Turns
from .write_buffer import WriteBuffer

__all__ = ["Driver", "as_protocol"]

#: Bytes that come at once, from which on a turn may take long; and seconds from which on it did.
_MUCH: Final = 64 * 1024
_LONG_TURN: Final = 0.001

#: Bytes of a call like most, or of a few. A connection that has sent more waits for those that have not.
_LITTLE: Final = 1024

#: Operations per turn of the loop (ROBUSTNESS, fault 6), and those between two looks at the clock: small ones take some
#: 10 µs each, and those that the methods of the application take come on top.
MESSAGES_PER_TURN: Final = 64
_MESSAGES_PER_LOOK: Final = 4


class Driver(MethodWatcher):
    """The bytes of one connection. The transport calls it as its protocol.

    (It has the methods of :class:`asyncio.Protocol`, but does not derive from it: a compiled class has no base outside
    of the compiled modules.)

    Args:
        loop: the event loop of the connection.
        settings: of ``serve`` or ``connect``.
        broker: the protocol machine.
        buffer: what it sends.
        turns: the budget that the connections of the loop share.
        begin: called when there is a transport; starts the broker, or closes it.

    Attributes:
        channel: what is known of the TLS of the transport; None without TLS.
        error: what broke the transport.
        leftovers: what still runs; from the end of the connection on.
        unauthenticated: whether the peer has yet to log in or, without logins, to greet. It then has its turn after
            others, and gets nothing but a farewell at the end.
        pauses: asked in each turn whether reading pauses for the sake of the application; None never pauses.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        settings: Settings,
        broker: Broker,
        buffer: WriteBuffer,
        turns: Turns,
        begin: Callable[[asyncio.Transport], None],
    ) -> None:
        self.loop = loop
        self.settings = settings
        self.broker = broker
        self.buffer = buffer
        self.leftovers: Leftovers | None = None
        self.channel: TLSChannel | None = None
        self.error: Exception | None = None
        self.unauthenticated = False
        self.pauses: Callable[[], bool] | None = None
        self._turns = turns
        self._begin: Callable[[asyncio.Transport], None] | None = begin
        self._transport: asyncio.Transport | None = None
        self._home_thread = threading.get_ident()
        self._turn_scheduled = False
        self._is_deferred = False  # because the connections of the loop have used up its turn
        self._in_turn = False
        self._writes_at_once = False
        self._took = 0.0  # seconds of the last turn
        self._more = False  # whether messages were left for the next turn
        self._reading = True
        self._timer: asyncio.TimerHandle | None = None
        self._timer_at = 0.0
        self._full: dict[WriteBuffer, asyncio.Task[None]] = (
            NOTHING  # of other connections, which have to drain
        )
        self._hang_up_watch: HangUpWatch | None = None  # made when reading first pauses

    # -- asyncio.Protocol

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # uvloop's transports are asyncio's by behaviour, not by class.
        transport = self._transport = cast(asyncio.Transport, transport)
        self.channel = TLSChannel.of(transport)
        self.buffer.connect(transport)
        limits = self.settings.limits
        watch_for_silence(
            transport.get_extra_info("socket"),
            limits.ping_seconds,
            limits.pong_seconds,
            max(limits.ping_seconds + limits.pong_seconds, limits.slow_consumer_seconds)
            + limits.close_seconds,
        )
        begin, self._begin = self._begin, None
        assert begin is not None
        begin(transport)
        if not self.broker.lifecycle.ended:
            self.set_timer()
            self._turn()

    def data_received(self, data: Data) -> None:
        self.broker.receive_data(data, self.loop.time())
        if self._more:
            return
        self._turn()
        if self._is_deferred or (len(data) >= _MUCH and self._took > _LONG_TURN):
            self._give_way()

    def eof_received(self) -> bool:
        self.broker.receive_eof()
        # Earlier messages may still be acted on, and answers sent; TLS has no half-closed connections.
        return not self.broker.lifecycle.ended and self.channel is None

    def connection_lost(self, exc: Exception | None) -> None:
        self._transport = None
        self.buffer.disconnect()
        if self._hang_up_watch is not None:
            self._hang_up_watch.stop()
        self.error = exc
        if exc is None:
            self.broker.receive_eof()
            self.broker.peer_hung_up()
        else:
            self.broker.connection_lost(str(exc) or type(exc).__name__)
        self.buffer.wake_waiters()
        if self.leftovers is not None:
            self.leftovers.look()

    def pause_writing(self) -> None:
        self.buffer.pause()
        if not self.broker.lifecycle.ended:
            self.set_timer()

    def resume_writing(self) -> None:
        self.buffer.resume()
        if not self.broker.lifecycle.ended:
            self.wake()

    # -- the ends of a connection

    def give_up(self) -> None:
        """End a connection whose making was interrupted.

        The loop may have closed the transport, and uvloop does not tell the protocol so.
        """
        transport = self._transport
        self.connection_lost(None)
        if transport is not None:
            transport.abort()

    def end(self, cause: CloseCause) -> None:
        """Carry away what the broker sent last; it has ended."""
        self._cancel_timer()
        for waiting in self._full.values():
            waiting.cancel()
        self.buffer.wake_waiters()
        transport = self._transport
        if transport is not None:
            # The farewell leaves even when the buffer is full.
            if last := b"".join(self.broker.data_to_send()):
                transport.write(last)
            if cause.code == SLOW_CONSUMER:  # it reads no farewell, either, and what waits for it is memory
                transport.abort()
            else:
                transport.close()

    def _hung_up(self, is_gone: bool) -> None:
        """The peer has ended its bytes, or is gone, while nothing was read: it reads no more answers."""
        if not is_gone:
            self.broker.peer_hung_up()
        elif self._transport is not None:
            self._transport.abort()

    # -- one turn

    def wake(self) -> None:
        """Have a turn soon. Called in the thread of the loop."""
        if not self._turn_scheduled and not self._in_turn:
            self._turn_scheduled = True
            self.loop.call_soon(self._turn)

    def write_soon(self) -> None:
        """Have a turn soon, unless what was sent is written at once."""
        if not self._writes_at_once:
            self.wake()

    def hold_turn(self) -> bool:
        """What is sent until :meth:`write_now` needs no turn; return False when there will be one in any case."""
        if self._turn_scheduled or self._in_turn:
            return False
        self._writes_at_once = True
        return True

    def write_now(self) -> None:
        """Write what was sent since :meth:`hold_turn`."""
        self._writes_at_once = False
        self.buffer.flush()
        if self.broker.outbox.size and not self.broker.lifecycle.ended:
            self.wake()

    def wake_from_anywhere(self) -> None:
        """Have a turn soon. Called in any thread, also by a finaliser."""
        try:
            if threading.get_ident() == self._home_thread:
                self.wake()
            else:
                self.loop.call_soon_threadsafe(self.wake)
        except RuntimeError:  # the loop is closed, and the connection with it
            pass

    def method_ended(self) -> None:
        if self.buffer.has_waiters:
            self.wake()  # they may wait for the end of a call that has no answer
        if self.leftovers is not None:
            self.leftovers.look()

    def pause_for(self, buffer: WriteBuffer) -> None:
        if buffer not in self._full:
            self._full = own(self._full)
            self._full[buffer] = self.loop.create_task(self._wait_for(buffer))
            self.broker.is_paused = True

    async def _wait_for(self, buffer: WriteBuffer) -> None:
        try:
            await buffer.wait_drained()
        finally:
            del self._full[buffer]
            self.wake()

    def _turn(self) -> None:
        """Act, now or when the other connections of the loop leave time for it."""
        if self.broker.lifecycle.ended:
            return
        turns = self._turns
        if turns.over:
            if not self._is_deferred:
                self._is_deferred = True
                turns.defer(self._deferred_turn, self._is_busy)
            return
        began = turns.clock()
        try:
            self._act(began)
        finally:
            self._took = turns.clock() - began
            turns.spend(self._took)

    @property
    def _is_busy(self) -> bool:
        """Whether other connections come first: the peer is unauthenticated, costs much, or has sent much."""
        return (
            self.unauthenticated
            or self._more
            or self._took > _LONG_TURN
            or self.broker.unread_bytes > _LITTLE
        )

    def _deferred_turn(self) -> None:
        self._is_deferred = False
        self._turn()

    def _act(self, began: float) -> None:
        """Let the broker act on what has come, then write what it has to send."""
        broker = self.broker
        self._turn_scheduled = False
        broker.is_paused = (self.pauses is not None and self.pauses()) or bool(self._full)
        received = broker.messages_received
        self._in_turn = True
        try:
            self._process(began)
        finally:
            self._in_turn = False
        if broker.lifecycle.ended:
            return
        self.buffer.idle = broker.messages_received - received < 2
        if self._more:
            self._turn_scheduled = True
            self.loop.call_soon(self._turn)
        reading = not self._more and broker.wants_data
        if reading is not self._reading and self._transport is not None:
            self._set_reading(reading, self._transport)
        if broker.mid_message:
            self.set_timer()
        self.buffer.flush()

    def _process(self, began: float) -> None:
        """Let the broker act on what has come, until the slice that began at ``began`` is used up."""
        broker, clock, now = self.broker, self._turns.clock, self.loop.time()
        until = broker.messages_received + MESSAGES_PER_TURN
        while True:
            self._more = broker.process(_MESSAGES_PER_LOOK, now)
            if not self._more or broker.messages_received >= until or clock() - began > SLICE_SECONDS:
                return

    def _set_reading(self, reading: bool, transport: asyncio.Transport) -> None:
        self._reading = reading
        watch = self._hang_up_watch
        if reading:
            if watch is not None:
                watch.stop()
            transport.resume_reading()
            return
        transport.pause_reading()
        if watch is None:
            watch = self._hang_up_watch = HangUpWatch(self.loop, transport, self._hung_up)
        watch.start()

    def _give_way(self) -> None:
        """Let other connections have their turn before more is read of this one.

        As long as its buffer is filled uvloop reads one connection up to 32 times before it looks at the next. A flood
        that costs 77 ms for each MiB kept all others waiting for more than a second (``python -m bench.bystander``).
        """
        if self._reading and self._transport is not None and not self.broker.lifecycle.ended:
            self._more = True
            self._reading = False
            self._transport.pause_reading()
            self.wake()

    # -- the timer

    def set_timer(self) -> None:
        """Arrange to be called at the broker's next deadline; an early call only looks again."""
        deadline = self.broker.next_deadline()
        if self._timer is not None and (deadline is None or self._timer_at > deadline):
            self._cancel_timer()
        if deadline is not None and self._timer is None:
            self._timer = self.loop.call_at(deadline, self._on_timer)
            self._timer_at = deadline  # which uvloop's handle does not know of a time that has passed

    def _on_timer(self) -> None:
        self._timer = None
        self.broker.handle_deadline(self.loop.time())
        if not self.broker.lifecycle.ended:
            self.set_timer()
            self._turn()

    def _cancel_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None


def as_protocol(driver: Driver) -> asyncio.Protocol:
    """Return ``driver`` as the type that event loops ask for."""
    return cast(asyncio.Protocol, driver)
