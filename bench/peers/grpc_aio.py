"""grpc.aio with generic handlers and msgspec as its codec: no protoc, no message classes."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from typing import Any, ClassVar, Final

import grpc  # type: ignore[import-untyped, import-not-found, unused-ignore]
import grpc.aio  # type: ignore[import-untyped, import-not-found, unused-ignore]
import msgspec

from bench import peer
from bench.values import CHUNK, CHUNK_SIZE

_OPTIONS: Final = [
    ("grpc.max_send_message_length", -1),
    ("grpc.max_receive_message_length", -1),
    # Otherwise all channels of a process share one connection, and 100 observers would not be 100.
    ("grpc.use_local_subchannel_pool", 1),
]


class Point(msgspec.Struct, array_like=True):
    """The equivalent of a copyable: a struct known to both sides."""

    name: str
    x: int
    y: float


_encode: Final = msgspec.msgpack.Encoder().encode
_decode: Final = msgspec.msgpack.Decoder().decode
_decode_points: Final = msgspec.msgpack.Decoder(list[Point]).decode


class _Service:
    def __init__(self) -> None:
        self.watchers: set[asyncio.Queue[Any]] = set()

    async def echo(self, request: Any, context: Any) -> Any:
        return request

    async def watch(self, request: Any, context: Any) -> AsyncIterator[Any]:
        queue: asyncio.Queue[Any] = asyncio.Queue()
        self.watchers.add(queue)
        try:
            yield ("n", 0)
            while True:
                yield await queue.get()
        finally:
            self.watchers.discard(queue)

    async def publish(self, request: Any, context: Any) -> Any:
        first, count = request
        for n in range(first, first + count):
            for queue in self.watchers:
                queue.put_nowait(("n", n))
        return None

    async def stream(self, total: Any, context: Any) -> AsyncIterator[bytes]:
        for _ in range(0, total, CHUNK_SIZE):
            yield CHUNK


def serve(announce: peer.Announce) -> None:
    """Run the server until the process is ended."""

    async def main() -> None:
        service = _Service()
        codec = {"request_deserializer": _decode, "response_serializer": _encode}
        handlers = {
            "echo": grpc.unary_unary_rpc_method_handler(service.echo, **codec),
            "points": grpc.unary_unary_rpc_method_handler(service.echo, _decode_points, _encode),
            "watch": grpc.unary_stream_rpc_method_handler(service.watch, **codec),
            "publish": grpc.unary_unary_rpc_method_handler(service.publish, **codec),
            # Chunks need no codec: a handler without one takes and gives bytes.
            "stream": grpc.unary_stream_rpc_method_handler(service.stream, request_deserializer=_decode),
        }
        server = grpc.aio.server(options=_OPTIONS)
        server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("bench", handlers),))
        announce(str(server.add_insecure_port("127.0.0.1:0")))
        await server.start()
        await server.wait_for_termination()

    peer.run_on_best_loop(main())


class Caller(peer.Caller):
    """grpc.aio's client."""

    notes: ClassVar[dict[str, str]] = {
        "copyables": "msgspec structs known to both sides instead of objects",
        "observers": "100 server streams, a connection each",
        "stream": "a server stream of bytes, no codec",
    }
    point = Point

    async def open(self) -> None:
        self.channels: list[Any] = []
        self.tasks: list[asyncio.Task[None]] = []
        channel = self._channel()
        codec = {"request_serializer": _encode, "response_deserializer": _decode}
        self.echo = channel.unary_unary("/bench/echo", **codec)  # type: ignore[method-assign]
        self.publish_ = channel.unary_unary("/bench/publish", **codec)
        self.points = channel.unary_unary("/bench/points", _encode, _decode_points)
        self.chunks = channel.unary_stream("/bench/stream", request_serializer=_encode)
        await channel.channel_ready()

    def _channel(self) -> Any:
        channel = grpc.aio.insecure_channel(f"127.0.0.1:{self.address}", options=_OPTIONS)
        self.channels.append(channel)
        return channel

    async def close(self) -> None:
        for task in self.tasks:
            task.cancel()
        await asyncio.gather(*self.tasks, return_exceptions=True)
        for channel in self.channels:
            await channel.close()

    def make_points(self, states: list[tuple[str, int, float]]) -> list[Any]:
        return [Point(*state) for state in states]

    def echo_points(self, points: list[Any]) -> Awaitable[list[Any]]:
        answer: Awaitable[list[Any]] = self.points(points)
        return answer

    async def subscribe(self, count: int, seen: Callable[[], None]) -> Iterable[dict[str, Any]]:
        states = []
        for _ in range(count):
            watch = self._channel().unary_stream(
                "/bench/watch", request_serializer=_encode, response_deserializer=_decode
            )
            state: dict[str, Any] = {}
            states.append(state)
            started: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self.tasks.append(asyncio.create_task(self._follow(watch(None), state, started, seen)))
            await started
        return states

    async def _follow(
        self, updates: Any, state: dict[str, Any], started: asyncio.Future[None], seen: Callable[[], None]
    ) -> None:
        async for key, value in updates:
            state[key] = value
            if started.done():
                seen()
            else:
                # The first is the state as it was found.
                started.set_result(None)

    def publish(self, first: int, count: int) -> Awaitable[object]:
        answer: Awaitable[object] = self.publish_((first, count))
        return answer

    async def stream(self, total: int, seconds: float) -> int:
        received = 0
        stop = peer.clock() + seconds
        call = self.chunks(total)
        async for chunk in call:
            if not received:
                assert chunk == CHUNK
            received += len(chunk)
            if peer.clock() > stop:
                call.cancel()
                break
        return received
