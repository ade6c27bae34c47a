"""The floors: a call with nothing but the socket, the codec and one future.

A message is a 4-byte big-endian length and a MessagePack array (id, value). There is no dispatch: each kind
of value has a port of its own, so that no byte of the message and no branch selects them.
"""

from __future__ import annotations

import asyncio
import json
import struct
from collections.abc import Awaitable, Callable, Iterable
from typing import Any, ClassVar, Final, TypeVar, cast

import msgspec
import uvloop

from bench import peer
from bench.values import CHUNK, CHUNK_SIZE

# From here on, joining the length and the body costs more than a second buffer in the same writev.
_LARGE: Final = 64 * 1024
_BUFFER: Final = 256 * 1024
_encode: Final = msgspec.msgpack.Encoder().encode


class Point(msgspec.Struct, array_like=True):
    """The nearest thing to a copyable that a codec without objects has: a struct known to both sides."""

    name: str
    x: int
    y: float


_decode_plain: Final = msgspec.msgpack.Decoder(tuple[int, Any]).decode
_decode_points: Final = msgspec.msgpack.Decoder(tuple[int, list[Point]]).decode
P = TypeVar("P", bound=asyncio.BaseProtocol)
Decode = Callable[[memoryview], tuple[int, Any]]


class _Link(asyncio.Protocol):
    """Frames in and out. The two floors differ in ``send`` only."""

    transport: asyncio.Transport

    def __init__(self, decode: Decode, corked: bool) -> None:
        self.decode = decode
        self.loop = asyncio.get_running_loop()
        # The bytes of an unfinished frame. The buffer stays, because fresh memory for each large message
        # costs more than copying it: measured, a mebibyte is echoed three times as often.
        self.held = memoryview(bytearray(_BUFFER))
        self.end = 0
        self.wanted = 4
        self.corked: list[bytes] = []
        self.send = self.send_corked if corked else self.send_now

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # uvloop's transports are not subclasses of asyncio's.
        self.transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        view = memoryview(data)
        end = len(data)
        if self.end:
            end += self.end
            self.room_for(end)
            self.held[self.end : end] = view
            self.end = end
            if end < self.wanted:
                return
            view = self.held
        start = 0
        wanted = 4
        while end - start >= 4:
            stop = start + 4 + int.from_bytes(view[start : start + 4], "big")
            if stop > end:
                wanted = stop - start
                break
            self.on_message(*self.decode(view[start + 4 : stop]))
            start = stop
        if start < end:
            self.room_for(wanted)
            self.held[: end - start] = view[start:end]
        self.end = end - start
        self.wanted = wanted

    def room_for(self, size: int) -> None:
        if size > len(self.held):
            larger = memoryview(bytearray(size + _BUFFER))
            larger[: self.end] = self.held[: self.end]
            self.held = larger

    def on_message(self, number: int, value: Any) -> None:
        raise NotImplementedError

    def send_now(self, number: int, value: Any) -> None:
        body = _encode((number, value))
        if len(body) < _LARGE:
            self.transport.write(len(body).to_bytes(4, "big") + body)
        else:
            self.transport.write(len(body).to_bytes(4, "big"))
            self.transport.write(body)

    def send_corked(self, number: int, value: Any) -> None:
        body = _encode((number, value))
        if not self.corked:
            self.loop.call_soon(self.uncork)
        self.corked.append(len(body).to_bytes(4, "big"))
        if len(body) < _LARGE:
            self.corked.append(body)
        else:
            self.uncork()
            self.transport.write(body)

    def uncork(self) -> None:
        if self.corked:
            corked, self.corked = self.corked, []
            self.transport.write(b"".join(corked))


class _EchoServer(_Link):
    def on_message(self, number: int, value: Any) -> None:
        self.send(number, value)


class _EchoClient(_Link):
    def __init__(self, decode: Decode, corked: bool) -> None:
        super().__init__(decode, corked)
        self.waiting: dict[int, asyncio.Future[Any]] = {}
        self.last = 0

    def call(self, value: Any) -> asyncio.Future[Any]:
        self.last = number = self.last + 1
        self.waiting[number] = future = self.loop.create_future()
        self.send(number, value)
        return future

    def on_message(self, number: int, value: Any) -> None:
        self.waiting.pop(number).set_result(value)


class _BoardServer(_Link):
    """Updates one value for all its connections, when one of them asks for it with (first, count)."""

    everyone: ClassVar[list[_BoardServer]] = []

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        self.everyone.append(self)
        # The client waits for it: an update must not come between its connecting and our knowing.
        self.send(0, "n")

    def connection_lost(self, exc: Exception | None) -> None:
        self.everyone.remove(self)

    def on_message(self, number: int, value: Any) -> None:
        for n in range(number, number + value):
            for link in self.everyone:
                link.send(n, "n")


class _BoardClient(_Link):
    def __init__(self, decode: Decode, corked: bool, seen: Callable[[], None]) -> None:
        super().__init__(decode, corked)
        self.state: dict[str, Any] = {}
        self.seen = seen
        self.started: asyncio.Future[None] = self.loop.create_future()

    def on_message(self, number: int, value: Any) -> None:
        self.state[value] = number
        if number:
            self.seen()
        else:
            self.started.set_result(None)


class _StreamServer(asyncio.Protocol):
    """A bare socket that writes chunks for as long as it may: no frames, no codec."""

    transport: asyncio.Transport

    def __init__(self) -> None:
        self.left = 0
        self.paused = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # uvloop's transports are not subclasses of asyncio's.
        self.transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        # All it is ever sent is the total, as 8 bytes.
        (self.left,) = struct.unpack("!Q", data)
        self.resume_writing()

    def pause_writing(self) -> None:
        self.paused = True

    def resume_writing(self) -> None:
        self.paused = False
        while self.left and not self.paused:
            self.left -= CHUNK_SIZE
            self.transport.write(CHUNK)

    def connection_lost(self, exc: Exception | None) -> None:
        self.left = 0


class _StreamClient(asyncio.Protocol):
    def __init__(self, total: int) -> None:
        self.total = total
        self.received = 0
        self.first = b""
        self.done: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def data_received(self, data: bytes) -> None:
        if not self.received:
            self.first = data
        self.received += len(data)
        if self.received >= self.total and not self.done.done():
            self.done.set_result(None)


def serve(announce: peer.Announce, corked: bool) -> None:
    """Serve each kind of exchange on a port of its own; the address is a JSON object of ports."""

    async def main() -> None:
        loop = asyncio.get_running_loop()
        ports = {}
        kinds: dict[str, Callable[[], asyncio.BaseProtocol]] = {
            "plain": lambda: _EchoServer(_decode_plain, corked),
            "points": lambda: _EchoServer(_decode_points, corked),
            "board": lambda: _BoardServer(_decode_plain, corked),
            "stream": _StreamServer,
        }
        for kind, factory in kinds.items():
            server = await loop.create_server(factory, "127.0.0.1", 0)
            ports[kind] = server.sockets[0].getsockname()[1]
        announce(json.dumps(ports))
        await loop.create_future()

    uvloop.run(main())


class FloorCaller(peer.Caller):
    """The calling side of both floors."""

    notes: ClassVar[dict[str, str]] = {
        "copyables": "msgspec structs known to both sides instead of objects",
        "observers": "one small message pushed to each of 100 connections",
        "stream": "a bare uvloop socket, no frames",
    }
    point = Point
    corked: ClassVar[bool]

    async def open(self) -> None:
        self.loop = asyncio.get_running_loop()
        self.ports: dict[str, int] = json.loads(self.address)
        self.links: list[asyncio.Transport] = []
        self.plain = await self._link("plain", lambda: _EchoClient(_decode_plain, self.corked))
        self.typed = await self._link("points", lambda: _EchoClient(_decode_points, self.corked))
        # An instance attribute: a call of the floor goes through nothing but these two methods.
        self.echo = self.plain.call  # type: ignore[method-assign]

    async def _link(self, kind: str, factory: Callable[[], P]) -> P:
        transport, protocol = await self.loop.create_connection(factory, "127.0.0.1", self.ports[kind])
        self.links.append(transport)
        return protocol

    async def close(self) -> None:
        for transport in self.links:
            transport.abort()

    def make_points(self, states: list[tuple[str, int, float]]) -> list[Any]:
        return [Point(*state) for state in states]

    def echo_points(self, points: list[Any]) -> Awaitable[list[Any]]:
        return self.typed.call(points)

    def swap(self) -> Awaitable[object]:
        raise peer.NotOffered("a floor has no references")

    async def subscribe(self, count: int, seen: Callable[[], None]) -> Iterable[dict[str, Any]]:
        self.boards = [
            await self._link("board", lambda: _BoardClient(_decode_plain, self.corked, seen))
            for _ in range(count)
        ]
        for board in self.boards:
            await board.started
        return [board.state for board in self.boards]

    async def publish(self, first: int, count: int) -> None:
        self.boards[0].send(first, count)

    async def stream(self, total: int, seconds: float) -> int:
        link = await self._link("stream", lambda: _StreamClient(total))
        self.links[-1].write(struct.pack("!Q", total))
        await asyncio.wait([link.done], timeout=seconds)
        assert CHUNK.startswith(link.first[:CHUNK_SIZE])
        return link.received
