"""Foolscap, PB's successor by its own author: always over TLS, which is the only way it speaks."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Coroutine, Iterable
from importlib import import_module
from typing import Any, ClassVar

from bench import peer
from bench.peers._twisted import TwistedCaller, loop
from bench.values import MEBIBYTE, POINT_TAG

# Foolscap is not typed, and has no explicit exports.
fs: Any = import_module("foolscap.api")


class Point(fs.Copyable, fs.RemoteCopy):  # type: ignore[misc, unused-ignore]
    """The copyable, at both ends."""

    typeToCopy = copytype = POINT_TAG

    def setCopyableState(self, state: dict[str, Any]) -> None:
        self.__dict__ = state


class Token(fs.Referenceable):  # type: ignore[misc, unused-ignore]
    """An object that is passed and dropped."""


class Observer(fs.Referenceable):  # type: ignore[misc, unused-ignore]
    """Stands in for a replica: Foolscap has no cacheables."""

    def __init__(self, seen: Callable[[], None]) -> None:
        self.state: dict[str, Any] = {}
        self.seen = seen

    def remote_set(self, key: str, value: int) -> None:
        self.state[key] = value
        self.seen()


class Root(fs.Referenceable):  # type: ignore[misc, unused-ignore]
    """The served object."""

    def __init__(self) -> None:
        self.observers: list[Any] = []

    def remote_echo(self, value: Any) -> Any:
        return value

    def remote_swap(self, token: Any) -> Token:
        return Token()

    def remote_live(self) -> int:
        return peer.count_live(Token)

    def remote_watch(self, observer: Any) -> None:
        self.observers.append(observer)
        observer.notifyOnDisconnect(self.observers.remove, observer)

    def remote_publish(self, first: int, count: int) -> None:
        for n in range(first, first + count):
            for observer in self.observers:
                observer.callRemoteOnly("set", "n", n)

    def remote_read(self) -> bytes:
        return MEBIBYTE


def serve(announce: peer.Announce) -> None:
    """Run the server until the process is ended."""
    tub = fs.Tub()
    tub.startService()
    listener = tub.listenOn("tcp:0:interface=127.0.0.1")
    tub.setLocation(f"tcp:127.0.0.1:{listener.getPortnum()}")
    announce(tub.registerReference(Root()))
    loop.run()


class Caller(peer.Caller):
    """Foolscap's client. The code for the reactor is that of the Twisted rows."""

    notes: ClassVar[dict[str, str]] = {
        "one": "all of it through TLS, the only transport there is",
        "observers": "100 references on one connection called without answers: no cacheables, and a second "
        "connection would need a second certificate",
        "stream": "calls that return 1 MiB each, one after the other: faster here than several at once",
    }
    point = Point

    async def open(self) -> None:
        self.tub = fs.Tub()
        self.tub.startService()
        self.root = await self.tub.getReference(self.address)

    async def close(self) -> None:
        await self.tub.stopService()

    def echo(self, value: Any) -> Awaitable[Any]:
        answer: Awaitable[Any] = self.root.callRemote("echo", value)
        return answer

    def make_points(self, states: list[tuple[str, int, float]]) -> list[Any]:
        points = []
        for state in states:
            point = Point()
            point.name, point.x, point.y = state
            points.append(point)
        return points

    def echo_points(self, points: list[Any]) -> Awaitable[list[Any]]:
        return self.echo(points)

    def swap(self) -> Awaitable[object]:
        answer: Awaitable[object] = self.root.callRemote("swap", Token())
        return answer

    def live(self) -> Awaitable[int]:
        answer: Awaitable[int] = self.root.callRemote("live")
        return answer

    def live_here(self) -> int:
        return peer.count_live(Token)

    async def subscribe(self, count: int, seen: Callable[[], None]) -> Iterable[dict[str, Any]]:
        self.observers = [Observer(seen) for _ in range(count)]
        for observer in self.observers:
            await self.root.callRemote("watch", observer)
        return [observer.state for observer in self.observers]

    def publish(self, first: int, count: int) -> Awaitable[object]:
        answer: Awaitable[object] = self.root.callRemote("publish", first, count)
        return answer

    async def stream(self, total: int, seconds: float) -> int:
        received = 0
        stop = peer.clock() + seconds
        while received < total and peer.clock() < stop:
            received += len(await self.root.callRemote("read"))
        return received

    @classmethod
    def run(cls, main: Callable[[], Coroutine[Any, Any, None]]) -> None:
        TwistedCaller.run(main)

    gather = staticmethod(TwistedCaller.gather)
    signal = staticmethod(TwistedCaller.signal)
    sleep = staticmethod(TwistedCaller.sleep)
    in_thread = staticmethod(TwistedCaller.in_thread)
