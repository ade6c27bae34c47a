"""An orderly end, as far as the transport is concerned.

When the broker has sent its last message, the bytes that are sent end ("half-closed"), and reading goes on until the
peer's end: a close with unread input makes the system reset the connection, and what was sent last is lost with it.
"""

from __future__ import annotations

import asyncio

from ..limits import Limits
from ..ports import Feature
from ..session import Broker
from .write_buffer import WriteBuffer

__all__ = ["Closing"]


class Closing:
    """The end of one connection, from its announcement on. It takes ``Limits.close_seconds`` without progress at most.

    Progress means that our bytes leave or, for ``Limits.slow_consumer_seconds`` after the last of them, that the peer
    sends something or that its calls begin.

    Args:
        loop: the event loop of the connection.
        broker: has begun to close.
        buffer: what it still sends.
        limits: how long that may take.
    """

    def __init__(
        self, loop: asyncio.AbstractEventLoop, broker: Broker, buffer: WriteBuffer, limits: Limits
    ) -> None:
        self._loop = loop
        self._broker = broker
        self._buffer = buffer
        self._limits = limits
        self._sent_last = False  # whether the broker sends nothing more
        self._has_ended_bytes = False
        self._progress: tuple[int, ...] | None = None
        self._last_written: float | None = None
        self._timer: asyncio.TimerHandle | None = None
        buffer.when_empty = self._on_empty
        self._look()

    def end_bytes(self) -> None:
        """The broker has sent its last message: write it, and end the bytes."""
        self._sent_last = True
        if self._buffer.transport is None:
            self._broker.give_up()
        else:
            self._buffer.flush()

    def stop(self) -> None:
        """Stop the timer: the connection has ended."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _on_empty(self, transport: asyncio.Transport) -> None:
        """Everything was handed to the transport: after the last message the bytes end."""
        if not self._sent_last or self._has_ended_bytes:
            return
        self._has_ended_bytes = True
        if transport.can_write_eof():
            try:
                transport.write_eof()
            except OSError:  # the peer has just reset the connection
                transport.abort()
        elif not self._broker.dialect.writer.has(Feature.FAREWELL):  # closing is the only way to tell
            self._broker.give_up()

    def _look(self) -> None:
        broker, transport, now = self._broker, self._buffer.transport, self._loop.time()
        unsent = 0 if transport is None else transport.get_write_buffer_size() + broker.outbox.size
        if unsent or not (self._sent_last or broker.lifecycle.heard_last is not None):
            self._last_written = now
        progress: tuple[int, ...] = (unsent,)
        if self._last_written is None or now < self._last_written + self._limits.slow_consumer_seconds:
            progress = (unsent, *broker.progress)
        if progress == self._progress:
            self._timer = None
            broker.give_up()
            if self._buffer.transport is not None:
                self._buffer.transport.abort()
            return
        self._progress = progress
        self._timer = self._loop.call_later(self._limits.close_seconds, self._look)
