"""An orderly end, as far as the transport is concerned.

When the broker has said its last, the bytes that are sent end ("half-closed"), and reading goes on until the peer's
end: a close with unread input makes the system reset the connection, and what was sent last is lost with it.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from ..ports import Feature

if TYPE_CHECKING:
    from .driver import Driver

__all__ = ["Closing"]


class Closing:
    """The end of one connection, from its announcement on. It takes ``Limits.close_seconds`` without progress at most.

    Progress is that our bytes leave or, for ``Limits.slow_consumer_seconds`` behind the last of them, that the peer
    says something or its calls begin.

    Args:
        driver: of the connection.

    Attributes:
        said_last: whether the broker says nothing more.
    """

    def __init__(self, driver: Driver) -> None:
        self._driver = driver
        self.said_last = False
        self._has_ended_bytes = False
        self._progress: Any = None
        self._last_written: float | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._look()

    def written(self, transport: asyncio.Transport) -> None:
        """Everything was handed to the transport: after the last word the bytes end."""
        if not self.said_last or self._has_ended_bytes:
            return
        self._has_ended_bytes = True
        if transport.can_write_eof():
            try:
                transport.write_eof()
            except OSError:  # the peer has just reset the connection
                transport.abort()
        elif not self._driver.broker.dialect.has(Feature.FAREWELL):  # closing is the only way to tell
            self._driver.broker.give_up()

    def _look(self) -> None:
        driver = self._driver
        transport, now = driver.transport, driver.loop.time()
        unsent = 0 if transport is None else transport.get_write_buffer_size() + driver.broker.outbox.size
        if unsent or not (self.said_last or driver.broker.lifecycle.heard_last is not None):
            self._last_written = now
        progress: tuple[int, ...] = (unsent,)
        if (
            self._last_written is None
            or now < self._last_written + driver.settings.limits.slow_consumer_seconds
        ):
            progress = (unsent, *driver.broker.progress)
        if progress == self._progress:
            self._timer = None
            driver.give_up_closing()
            return
        self._progress = progress
        self._timer = driver.loop.call_later(driver.settings.limits.close_seconds, self._look)

    def stop(self) -> None:
        """The connection has ended."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
