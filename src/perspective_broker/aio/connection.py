"""Connection: what a program may know of, and do to, the connection itself."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from ..session import CloseCause, Statistics

if TYPE_CHECKING:
    from .driver import Driver

__all__ = ["Connection"]


class Connection:
    """One connection to a peer; reached as ``reference.connection`` or in ``server.connections``.

    Attributes:
        peer: where the peer is, as text.
    """

    __slots__ = ("_driver", "peer")

    def __init__(self, driver: Driver, peer: str) -> None:
        self._driver = driver
        self.peer = peer

    @property
    def dialect(self) -> str:
        """The agreed dialect's name, ``""`` before there is one."""
        return self._driver.broker.dialect_name

    @property
    def close_cause(self) -> CloseCause | None:
        """Why the connection ended; None while it lives."""
        return self._driver.broker.lifecycle.cause

    def statistics(self) -> Statistics:
        """Return the connection's state now: tables, calls, bytes."""
        return self._driver.statistics()

    async def close(self) -> None:
        """Send what was queued, end the connection, and wait until it is gone. May be called twice.

        Calls without an answer fail with :class:`~perspective_broker.ConnectionLost`.
        """
        self._driver.broker.close()
        await self.wait_closed()

    async def wait_closed(self) -> None:
        """Wait until the connection is gone, whoever ends it, and the methods it ran have ended."""
        await asyncio.shield(self._driver.gone)

    def __repr__(self) -> str:
        return f"<Connection to {self.peer} {self._driver.broker.lifecycle.phase.value}>"
