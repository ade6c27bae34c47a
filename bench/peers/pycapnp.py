"""pycapnp: Cap'n Proto's RPC, with a schema that is loaded when the processes start."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Coroutine, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Final

import capnp  # type: ignore[import-untyped, import-not-found, unused-ignore]

from bench import peer
from bench.values import MEBIBYTE

_schema: Final[Any] = capnp.load(str(Path(__file__).with_name("pycapnp.capnp")))

# The default of 64 MiB of words is for one message; a long stream of answers counts against it, too.
_LIMITS: Final = {"traversal_limit_in_words": 2**61}


@dataclass(slots=True)
class Point:
    """A point as the caller gets it: an object, as in all other rows."""

    name: str
    x: int
    y: float


class Token(_schema.Token.Server):  # type: ignore[misc, name-defined, unused-ignore]
    """An object that is passed and dropped."""


class Observer(_schema.Observer.Server):  # type: ignore[misc, name-defined, unused-ignore]
    """Stands in for a replica."""

    def __init__(self, seen: Callable[[], None]) -> None:
        self.state: dict[str, Any] = {}
        self.seen = seen

    async def set(self, key: str, value: int, **context: Any) -> None:
        self.state[key] = value
        self.seen()


class Root(_schema.Bench.Server):  # type: ignore[misc, name-defined, unused-ignore]
    """The served object. It passes structs on unread, as Cap'n Proto recommends."""

    observers: ClassVar[list[Any]] = []

    def __init__(self) -> None:
        self.mine: list[Any] = []

    async def echo(self, value: Any, _context: Any, **rest: Any) -> None:
        _context.results.value = value

    async def records(self, value: Any, _context: Any, **rest: Any) -> None:
        _context.results.value = value

    async def bytes(self, value: Any, _context: Any, **rest: Any) -> None:
        _context.results.value = value

    async def points(self, value: Any, _context: Any, **rest: Any) -> None:
        _context.results.value = value

    async def swap(self, token: Any, _context: Any, **rest: Any) -> None:
        _context.results.token = Token()

    async def live(self, _context: Any, **rest: Any) -> None:
        _context.results.count = peer.count_live(Token)

    async def watch(self, observer: Any, **rest: Any) -> None:
        self.mine.append(observer)
        self.observers.append(observer)

    async def publish(self, first: int, count: int, **rest: Any) -> None:
        calls = [
            observer.set(key="n", value=n) for n in range(first, first + count) for observer in self.observers
        ]
        # A call whose promise is dropped is cancelled, so they are awaited; they run concurrently.
        for call in calls:
            await call

    async def read(self, _context: Any, **rest: Any) -> None:
        _context.results.chunk = MEBIBYTE

    def forget(self) -> None:
        """The connection is gone, and its observers with it."""
        for observer in self.mine:
            self.observers.remove(observer)
        self.mine.clear()


def serve(announce: peer.Announce) -> None:
    """Run the server until the process is ended."""

    async def connected(stream: Any) -> None:
        root = Root()
        try:
            await capnp.TwoPartyServer(stream, bootstrap=root, **_LIMITS).on_disconnect()
        finally:
            root.forget()

    async def main() -> None:
        server = await capnp.AsyncIoStream.create_server(connected, "127.0.0.1", 0)
        announce(json.dumps(server.sockets[0].getsockname()[1]))
        await server.serve_forever()

    # On uvloop the server crashes (a segmentation fault) with its second connection.
    peer.run_on_plain_loop(capnp.run(main()))


class Caller(peer.Caller):
    """pycapnp's client. Answers are turned into the Python values that every row returns."""

    notes: ClassVar[dict[str, str]] = {
        "one": "the server hands structs on without looking into them",
        "copyables": "a list of structs, made from and into objects by the caller",
        "observers": "a capability called on each of 100 connections; there are no calls without answers",
        "stream": "calls that return 1 MiB each, one after the other: faster here than several at once",
    }
    point = Point

    async def open(self) -> None:
        self.clients: list[Any] = []
        self.root = await self._connect()

    async def _connect(self) -> Any:
        stream = await capnp.AsyncIoStream.create_connection("127.0.0.1", int(self.address))
        client = capnp.TwoPartyClient(stream, **_LIMITS)
        self.clients.append((client, stream))
        return client.bootstrap().cast_as(_schema.Bench)

    async def close(self) -> None:
        for client, stream in self.clients:
            client.close()
            stream.close()

    async def echo(self, value: Any) -> Any:
        if isinstance(value, list):
            answer = await self.root.records(value=value)
            return [record.to_dict() for record in answer.value]
        return (await self.root.echo(value=value)).value.to_dict()

    async def echo_bytes(self, data: bytes) -> bytes:
        return bytes((await self.root.bytes(value=data)).value)

    def make_points(self, states: list[tuple[str, int, float]]) -> list[Any]:
        return [Point(*state) for state in states]

    async def echo_points(self, points: list[Any]) -> list[Any]:
        request = self.root.points_request()
        value = request.init("value", len(points))
        for index, point in enumerate(points):
            struct = value[index]
            struct.name, struct.x, struct.y = point.name, point.x, point.y
        return [Point(point.name, point.x, point.y) for point in (await request.send()).value]

    async def swap(self) -> object:
        return (await self.root.swap(token=Token())).token

    async def live(self) -> int:
        return int((await self.root.live()).count)

    def live_here(self) -> int:
        return peer.count_live(Token)

    async def subscribe(self, count: int, seen: Callable[[], None]) -> Iterable[dict[str, Any]]:
        self.observers = [Observer(seen) for _ in range(count)]
        for observer in self.observers:
            await (await self._connect()).watch(observer=observer)
        return [observer.state for observer in self.observers]

    def publish(self, first: int, count: int) -> Awaitable[object]:
        answer: Awaitable[object] = self.root.publish(first=first, count=count)
        return answer

    async def stream(self, total: int, seconds: float) -> int:
        received = 0
        stop = peer.clock() + seconds
        while received < total and peer.clock() < stop:
            received += len(bytes((await self.root.read()).chunk))
        return received

    @classmethod
    def run(cls, main: Callable[[], Coroutine[Any, Any, None]]) -> None:
        peer.run_on_plain_loop(capnp.run(main()))
