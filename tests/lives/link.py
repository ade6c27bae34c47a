"""A link that splits, lumps, delays, blocks and can be cut: a relay between two ``memory:`` urls.

Both ends are connected by the library's own transports, so the drivers see what they see anywhere: data in pieces of
any size, ``pause_writing`` when the relay is full, the end of the bytes, a broken connection.
"""

from __future__ import annotations

import asyncio
from random import Random
from types import TracebackType
from typing import Final, cast

from perspective_broker import transports

__all__ = ["Link"]

#: Sizes of one delivery. None reaches the size from which the driver measures how long a turn takes in real time.
_SIZES: Final = (1, 7, 60, 700, 8_000, 30_000)

#: Seconds between two deliveries; 0 is the next turn of the loop.
_DELAYS: Final = (0.0, 0.0, 0.0, 0.0, 0.001, 0.01)

#: Bytes under way in one direction, beyond which the relay stops reading.
_CAPACITIES: Final = (100, 3_000, 100_000)


class Link:
    """Accepts one connection at ``url`` and carries its bytes to and from ``onward``, within the block.

    Args:
        onward: where the server listens.
        url: where the client is to connect.
        random: decides about sizes, delays and capacities.
    """

    def __init__(self, onward: str, url: str, random: Random) -> None:
        self.url = url
        self._onward = transports.parse_url(onward)
        there, back = _Direction(random), _Direction(random)
        self._near, self._far = _Side(there, back), _Side(back, there)
        self._listener: transports.Listener | None = None
        self._connecting: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Link:
        self._listener = await transports.listen(transports.parse_url(self.url), self._accept)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        assert self._listener is not None
        self._listener.close()
        await self._listener.wait_closed()
        if self._connecting is not None:
            await self._connecting
        self.cut()

    def _accept(self) -> asyncio.Protocol:
        assert self._connecting is None, "a link carries one connection"
        self._connecting = asyncio.get_running_loop().create_task(
            transports.connect(self._onward, lambda: self._far)
        )
        return self._near

    def cut(self) -> None:
        """Break the connection; what is under way is lost."""
        for side in (self._near, self._far):
            side.abort()


class _Side(asyncio.Protocol):
    """One of the relay's two connections.

    Args:
        outward: where what comes from this side goes.
        inward: what is to be written to this side.
    """

    def __init__(self, outward: _Direction, inward: _Direction) -> None:
        self._outward = outward
        self._inward = inward
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self._transport.set_write_buffer_limits(high=1, low=0)
        self._outward.source = self._inward.sink = self._transport
        self._inward.advance()

    def data_received(self, data: bytes) -> None:
        self._outward.carry(data)

    def eof_received(self) -> bool:
        self._outward.end()
        return True  # where the transport can be closed by halves, the other direction goes on

    def connection_lost(self, exc: Exception | None) -> None:
        self._transport = self._outward.source = self._inward.sink = None
        self._outward.end()
        self._inward.drop()

    def pause_writing(self) -> None:
        self._inward.blocked = True

    def resume_writing(self) -> None:
        self._inward.blocked = False
        self._inward.advance()

    def abort(self) -> None:
        self._outward.drop()
        if self._transport is not None:
            self._transport.abort()


class _Direction:
    """Bytes that are under way in one direction."""

    def __init__(self, random: Random) -> None:
        self._random = random
        self._capacity = random.choice(_CAPACITIES)
        self._bytes = bytearray()
        self._ended = False
        self._scheduled = False
        self.source: asyncio.Transport | None = None
        self.sink: asyncio.Transport | None = None
        self.blocked = False

    def carry(self, data: bytes) -> None:
        self._bytes += data
        if self.source is not None and len(self._bytes) > self._capacity:
            self.source.pause_reading()
        self.advance()

    def end(self) -> None:
        """Nothing more comes; hang up at the sink behind what is under way."""
        self._ended = True
        self.advance()

    def drop(self) -> None:
        """Lose what is under way."""
        self._bytes.clear()
        if self.source is not None:
            self.source.resume_reading()

    def advance(self) -> None:
        """Arrange the next delivery."""
        if self._scheduled or self.blocked or self.sink is None or not (self._bytes or self._ended):
            return
        self._scheduled = True
        loop, delay = asyncio.get_running_loop(), self._random.choice(_DELAYS)
        if delay:
            loop.call_later(delay, self._deliver)
        else:
            loop.call_soon(self._deliver)

    def _deliver(self) -> None:
        self._scheduled = False
        if self.sink is None or self.blocked:
            return
        size = self._random.choice(_SIZES)
        piece = bytes(self._bytes[:size])
        del self._bytes[:size]
        if self.source is not None and len(self._bytes) <= self._capacity // 2:
            self.source.resume_reading()
        if piece:
            self.sink.write(piece)
        elif self._ended:
            sink, self.sink = self.sink, None
            if sink.can_write_eof():
                sink.write_eof()
            else:
                sink.close()
        self.advance()
