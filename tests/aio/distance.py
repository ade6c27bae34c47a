"""A relay that carries bytes over a distance: each of them arrives some seconds after it was sent."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import cast

from perspective_broker import transports

__all__ = ["Side", "far_away"]


class Side(asyncio.Protocol):
    """One end of the relay."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._transport: asyncio.Transport | None = None
        self._early: list[bytes] = []  # what has arrived before this side was connected
        self.other: Side = self

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        for data in self._early:
            self._transport.write(data)

    def data_received(self, data: bytes) -> None:
        asyncio.get_running_loop().call_later(self._seconds, self.other.deliver, data)

    def connection_lost(self, exc: Exception | None) -> None:
        self._transport = None
        asyncio.get_running_loop().call_later(self._seconds, self.other.close)

    def deliver(self, data: bytes) -> None:
        if self._transport is None:
            self._early.append(data)
        else:
            self._transport.write(data)

    def close(self) -> None:
        if self._transport is not None:
            self._transport.close()

    def pause(self) -> None:
        """Read nothing from this side until :meth:`resume`."""
        assert self._transport is not None
        self._transport.pause_reading()

    def resume(self) -> None:
        assert self._transport is not None
        self._transport.resume_reading()


@asynccontextmanager
async def far_away(onward: str, url: str, seconds: float) -> AsyncIterator[Side]:
    """Accept one connection at ``url``, whose other end is the server at ``onward``; yield the side of the server.

    Args:
        onward: a ``memory:`` url.
        url: another one.
        seconds: from one end to the other.
    """
    near, far = Side(seconds), Side(seconds)
    near.other, far.other = far, near
    connecting: list[asyncio.Task[None]] = []

    def accept() -> asyncio.Protocol:
        connect = transports.connect(transports.parse_url(onward), lambda: far)
        connecting.append(asyncio.get_running_loop().create_task(connect))
        return near

    listener = await transports.listen(transports.parse_url(url), accept)
    try:
        yield far
    finally:
        listener.close()
        await listener.wait_closed()
        await asyncio.gather(*connecting)
        near.close()
        far.close()
