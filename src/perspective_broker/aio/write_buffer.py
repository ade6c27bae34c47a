"""The write buffer: what one connection has to send, until its transport has taken it.

The broker makes messages, and :meth:`WriteBuffer.flush` hands them to the transport once per turn of the driver. Here
is how much may wait, and which tasks wait until it is less.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Generator

from ..errors import LimitExceeded
from ..limits import Limits
from ..session import Broker
from .affinity import check_loop
from .busypoll import BusyPoll
from .writing import Writer

__all__ = ["Drain", "WriteBuffer"]


class WriteBuffer:
    """The outgoing half of one connection.

    Args:
        loop: the event loop of the connection.
        broker: makes the messages.
        limits: how much may wait to be sent.
        poll: keeps the event loop awake when something was sent; None lets it sleep.

    Attributes:
        drain: awaited until the buffer is below its low mark.
        idle: whether so little goes on that the next message need not wait for more to go with it. (For one call at a
            time the turn of the loop until the next turn of the driver would be a tenth of its round trip.)
        blocked: whether the transport takes no more.
        transport: what takes the bytes; None before there is one, and when it is gone.
        when_empty: called whenever everything was handed to the transport.
    """

    def __init__(
        self, loop: asyncio.AbstractEventLoop, broker: Broker, limits: Limits, poll: BusyPoll | None
    ) -> None:
        self.drain: Drain = Drain(self)
        self.idle: bool = True
        self.blocked: bool = False
        self.transport: asyncio.Transport | None = None
        self.when_empty: Callable[[asyncio.Transport], None] | None = None
        self._loop = loop
        self._broker = broker
        self._high = limits.write_buffer_high
        self._low = limits.write_buffer_low
        self._poll = poll
        self._writer: Writer | None = None
        self._waiters: list[asyncio.Future[None]] | None = None  # woken whenever something was written

    # -- the transport

    def connect(self, transport: asyncio.Transport) -> None:
        """Write to ``transport`` from now on."""
        self.transport = transport
        self._writer = Writer(transport, self._high, self._low)

    def disconnect(self) -> None:
        """Forget the transport, which is gone."""
        self.transport = self._writer = None

    def pause(self) -> None:
        """Write nothing until :meth:`resume`: the transport is full."""
        self.blocked = True
        if not self._broker.lifecycle.ended:
            self._broker.set_blocked(True, self._loop.time(), self._in_transport())

    def resume(self) -> None:
        """Write again: the transport has drained."""
        self.blocked = False
        if self._writer is not None:
            self._writer.resumed()
        if not self._broker.lifecycle.ended:
            self._broker.set_blocked(False, self._loop.time())

    def flush(self) -> None:
        """Hand the transport what the broker has to send, if it takes more."""
        writer = self._writer
        if writer is None or self.blocked or not writer.takes_more():
            return
        out = self._broker.data_to_send(writer)
        if out:
            if self._poll is not None:
                self._poll.stay()
            writer.write(out)
        if self._waiters:
            self.wake_waiters()
        if self.when_empty is not None and self.transport is not None and not self._broker.outbox.size:
            self.when_empty(self.transport)

    def flush_early(self) -> None:
        """Write now what would wait for the next turn of the driver."""
        self.idle = False  # until that turn
        self.flush()

    # -- capacity

    @property
    def size(self) -> int:
        """Bytes that were sent by the application and not yet taken by the system, without calls held back."""
        broker = self._broker
        unsent = broker.outbox.size
        if unsent > self._high:
            unsent = broker.outbox.weight
        return unsent + broker.questions.told_bytes + self._in_transport()

    @property
    def is_full(self) -> bool:
        """Whether producers should wait."""
        return self.transport is not None and (self.blocked or self.size > self._high)

    def check_capacity(self) -> None:
        """Refuse a one-way call when the buffer is full and no task waits for it to drain.

        A task that waits shows that the program minds; but even then it may not fill more than four buffers.

        Raises:
            LimitExceeded: the buffer is full.
        """
        high = self._high
        broker = self._broker
        if broker.outbox.large:
            high *= 2  # the transport's buffer is full of pieces, which the application did not cause
        if broker.lifecycle.ended:
            return  # which is what the message itself will meet
        if not self.blocked and broker.outbox.size + broker.questions.told_bytes <= high:
            return
        size = self.size
        if size > high and (not self._waiters or size > 4 * high):
            raise LimitExceeded(
                f"{size} bytes are waiting for a slow peer; await what tell() returns before telling more"
            )

    async def wait_drained(self) -> None:
        """Wait until the buffer is below its low mark, or the connection has ended."""
        check_loop(self._loop)
        await self.wait_while(lambda: self.is_full)

    async def wait_while(self, condition: Callable[[], bool]) -> None:
        """Wait until ``condition()`` is false, or the connection has ended. It is asked when something was written."""
        while condition() and not self._broker.lifecycle.ended:
            waiter = self._add_waiter()
            try:
                await waiter
            finally:
                self._forget_waiter(waiter)

    @property
    def has_waiters(self) -> bool:
        """Whether a task waits."""
        return bool(self._waiters)

    def wake_waiters(self) -> None:
        """Have the tasks that wait look at their conditions."""
        waiters, self._waiters = self._waiters, None
        for waiter in waiters or ():
            if not waiter.done():
                waiter.set_result(None)

    def _add_waiter(self) -> asyncio.Future[None]:
        waiter: asyncio.Future[None] = self._loop.create_future()
        if self._waiters is None:
            self._waiters = []
        self._waiters.append(waiter)
        return waiter

    def _forget_waiter(self, waiter: asyncio.Future[None]) -> None:
        if self._waiters is not None and waiter in self._waiters:
            self._waiters.remove(waiter)

    def _in_transport(self) -> int:
        return 0 if self.transport is None else self.transport.get_write_buffer_size()


class Drain:
    """Awaited, it waits until a connection can take more. One per connection, used again and again."""

    __slots__ = ("_buffer",)

    def __init__(self, buffer: WriteBuffer) -> None:
        self._buffer = buffer

    def __await__(self) -> Generator[None, None, None]:
        if self._buffer.is_full:
            yield from self._buffer.wait_drained().__await__()
