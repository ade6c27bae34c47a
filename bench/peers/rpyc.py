"""RPyC, in the best mode its documentation knows for each column.

RPyC passes only immutable simple values by copy; a dictionary or a list goes as a reference, and reading it
costs a round trip per item. Its documentation offers pickling for values
(``rpyc.utils.classic.obtain`` and ``deliver``). Here a pickle is the argument and the answer of
one call: the same, with fewer round trips than those helpers need.
"""

from __future__ import annotations

import pickle
import socket
import sys
from collections.abc import Callable, Coroutine, Iterable
from typing import Any, ClassVar, Final

import rpyc  # type: ignore[import-untyped, import-not-found, unused-ignore]
from rpyc.core.channel import Channel  # type: ignore[import-untyped, import-not-found, unused-ignore]
from rpyc.core.stream import SocketStream  # type: ignore[import-untyped, import-not-found, unused-ignore]
from rpyc.utils.factory import connect_stream  # type: ignore[import-untyped, import-not-found, unused-ignore]
from rpyc.utils.server import ThreadedServer  # type: ignore[import-untyped, import-not-found, unused-ignore]

from bench import peer
from bench.values import MEBIBYTE

# Compression over loopback would only cost time.
Channel.COMPRESSION_THRESHOLD = sys.maxsize
_CONFIG: Final = {"sync_request_timeout": None}


class Point:
    """The class by value; pickled."""

    def __init__(self, name: str, x: int, y: float) -> None:
        self.name, self.x, self.y = name, x, y


class Token:
    """An object that is passed and dropped."""


class Observer:
    """Stands in for a replica."""

    def __init__(self, seen: Callable[[], None]) -> None:
        self.state: dict[str, Any] = {}
        self.seen = seen

    def exposed_set(self, key: str, value: int) -> None:
        self.state[key] = value
        self.seen()


class Root(rpyc.Service):  # type: ignore[misc, unused-ignore]
    """The served object, one per connection."""

    observers: ClassVar[dict[Any, Any]] = {}

    def on_connect(self, conn: Any) -> None:
        # RPyC sets this for clients that request it. Without it the end of each large answer waits for the
        # client's delayed acknowledgement.
        conn._channel.stream.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def on_disconnect(self, conn: Any) -> None:
        self.observers.pop(self, None)

    def exposed_echo(self, pickled: bytes) -> bytes:
        return pickle.dumps(pickle.loads(pickled), protocol=5)

    def exposed_echo_bytes(self, data: bytes) -> bytes:
        return data

    def exposed_swap(self, token: Any) -> Token:
        return Token()

    def exposed_live(self) -> int:
        return peer.count_live(Token)

    def exposed_watch(self, observer: Any) -> None:
        self.observers[self] = rpyc.async_(observer.set)

    def exposed_publish(self, first: int, count: int) -> None:
        setters = list(self.observers.values())
        for n in range(first, first + count):
            for setter in setters:
                setter("n", n)

    def exposed_read(self) -> bytes:
        return MEBIBYTE


def serve(announce: peer.Announce) -> None:
    """Run the server until the process is ended."""
    server = ThreadedServer(Root, hostname="127.0.0.1", port=0, protocol_config=_CONFIG)
    announce(str(server.port))
    server.start()


class Caller(peer.Caller):
    """RPyC's client. It blocks; the coroutines here never wait for anything else."""

    notes: ClassVar[dict[str, str]] = {
        "one": "values as pickles; compression off",
        "inflight": "rpyc.async_",
        "copyables": "pickled, as rpyc.utils.classic.obtain would",
        "refs": "one at a time: with more, each that waits for a reference's type serves the next one, and "
        "the stack overflows",
        "observers": "a reference on each of 100 connections called through rpyc.async_",
        "stream": "chunks of 1 MiB, a call each",
    }
    point = Point

    async def open(self) -> None:
        self.connections: list[Any] = []
        self.root = self._connect().root
        self.remote_echo = self.root.echo
        self.remote_echo_bytes = self.root.echo_bytes
        self.remote_swap = self.root.swap

    def _connect(self) -> Any:
        stream = SocketStream.connect("127.0.0.1", int(self.address), nodelay=True)
        connection = connect_stream(stream, config=_CONFIG)
        self.connections.append(connection)
        return connection

    async def close(self) -> None:
        for connection in self.connections:
            connection.close()

    async def echo(self, value: Any) -> Any:
        return pickle.loads(self.remote_echo(pickle.dumps(value, protocol=5)))

    async def echo_bytes(self, data: bytes) -> bytes:
        answer: bytes = self.remote_echo_bytes(data)
        return answer

    async def echoes(self, value: Any, seconds: float, width: int) -> tuple[int, float]:
        echo = rpyc.async_(self.remote_echo)
        return self._pipelined(lambda: echo(pickle.dumps(value, protocol=5)), pickle.loads, seconds, width)

    def _pipelined(
        self, call: Callable[[], Any], read: Callable[[Any], Any], seconds: float, width: int
    ) -> tuple[int, float]:
        """Keep ``width`` asynchronous results outstanding, waiting for the oldest."""
        count = 0
        start = now = peer.clock()
        waiting = [call() for _ in range(width)]
        while now - start < seconds:
            following = []
            for answer in waiting:
                answer.wait()
                read(answer.value)
                following.append(call())
            count += width
            waiting = following
            now = peer.clock()
        for answer in waiting:
            answer.wait()
            read(answer.value)
        return count + width, peer.clock() - start

    def make_points(self, states: list[tuple[str, int, float]]) -> list[Any]:
        return [Point(*state) for state in states]

    async def echo_points(self, points: list[Any]) -> list[Any]:
        answer: list[Any] = await self.echo(points)
        return answer

    async def swap(self) -> object:
        return self.remote_swap(Token())

    async def swaps(self, seconds: float, width: int) -> tuple[int, float]:
        return await self.window(self.swap, seconds, 1)

    async def live(self) -> int:
        return int(self.root.live())

    def live_here(self) -> int:
        return peer.count_live(Token)

    async def subscribe(self, count: int, seen: Callable[[], None]) -> Iterable[dict[str, Any]]:
        self.observers = [Observer(seen) for _ in range(count)]
        self.watching = [self._connect() for _ in range(count)]
        for connection, observer in zip(self.watching, self.observers, strict=True):
            connection.root.watch(observer)
        self.remote_publish = self.root.publish
        return [observer.state for observer in self.observers]

    async def publish(self, first: int, count: int) -> None:
        """This thread, the only one, serves the updates in turn."""
        self.remote_publish(first, count)
        for connection, observer in zip(self.watching, self.observers, strict=True):
            while observer.state.get("n") != first + count - 1:
                connection.serve(1)

    async def stream(self, total: int, seconds: float) -> int:
        received = 0
        stop = peer.clock() + seconds
        read = self.root.read
        while received < total and peer.clock() < stop:
            received += len(read())
        return received

    @classmethod
    def run(cls, main: Callable[[], Coroutine[Any, Any, None]]) -> None:
        peer.run_on_plain_loop(main())
