# Twisted PB has no annotations.
# mypy: disable-error-code="no-untyped-call"
"""Twisted PB: the server and the caller, for its own row and for those in which it meets ours."""

from __future__ import annotations

import socket
from collections.abc import Awaitable, Callable, Coroutine, Iterable
from typing import Any, ClassVar

from twisted.internet import defer, reactor, task, threads
from twisted.spread import pb, util

from bench import peer
from bench.values import BOARD_TAG, CHUNK, CHUNK_SIZE, POINT_TAG

# Typed as a module by Twisted; its methods exist when it is installed.
loop: Any = reactor


class Point(pb.Copyable, pb.RemoteCopy):
    """The copyable, at both ends."""

    name: str
    x: int
    y: float

    def getTypeToCopy(self) -> bytes:
        return POINT_TAG.encode()


class Token(pb.Referenceable):
    """An object that is passed and dropped."""


class Board(pb.Cacheable):
    """The object that 100 observers watch."""

    def __init__(self) -> None:
        self.n = 0
        self.observers: list[Any] = []

    def getTypeToCopy(self) -> bytes:
        return BOARD_TAG.encode()

    def getStateToCacheAndObserveFor(self, perspective: Any, observer: Any) -> dict[str, Any]:
        self.observers.append(observer)
        return {"n": self.n}

    def stoppedObserving(self, perspective: Any, observer: Any) -> None:
        self.observers.remove(observer)

    def set(self, n: int) -> None:
        self.n = n
        for observer in self.observers:
            observer.callRemote("set", "n", n, pbanswer=False)


class Replica(pb.RemoteCache):
    """The board as an observer has it. Its state lives in the attribute dictionary, which all borgs share."""

    def observe_set(self, key: str, value: int) -> None:
        self.__dict__[key] = value
        Replica.seen()

    seen: ClassVar[Callable[[], None]] = staticmethod(lambda: None)


pb.setUnjellyableForClass(POINT_TAG, Point)
pb.setUnjellyableForClass(BOARD_TAG, Replica)


class ChunkPager(util.Pager):
    """Pages out the same chunk until the total is reached or the collector is gone."""

    def __init__(self, collector: Any, total: int) -> None:
        self.left = total
        util.Pager.__init__(self, collector)

    def nextPage(self) -> bytes:
        self.left -= CHUNK_SIZE
        if self.left <= 0:
            self.stopPaging()
        return CHUNK


class Root(pb.Root):
    """The served object. Its answers are plain Python values, as a user of Twisted PB would return them."""

    def __init__(self) -> None:
        self.board = Board()

    def remote_echo(self, value: Any) -> Any:
        return value

    def remote_swap(self, token: Any) -> Token:
        return Token()

    def remote_live(self) -> int:
        return peer.count_live(Token)

    def remote_watch(self) -> Board:
        return self.board

    def remote_publish(self, first: int, count: int) -> None:
        for n in range(first, first + count):
            self.board.set(n)

    def remote_page(self, collector: Any, total: int) -> None:
        ChunkPager(collector, total)


class _ServerFactory(pb.PBServerFactory):
    def buildProtocol(self, addr: Any) -> Any:
        broker = super().buildProtocol(addr)
        broker.notifyOnConnect(lambda: _no_delay(broker))
        return broker


def _no_delay(broker: Any) -> None:
    """Have PB at its best: a release would wait for the peer's delayed acknowledgement otherwise."""
    broker.transport.getHandle().setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)


def serve(announce: peer.Announce) -> None:
    """Run the server until the process is ended."""
    port = loop.listenTCP(0, _ServerFactory(Root()), interface="127.0.0.1")
    announce(str(port.getHost().port))
    loop.run()


class _Signal:
    def __init__(self) -> None:
        self._deferred: defer.Deferred[None] = defer.Deferred()

    def fire(self) -> None:
        self._deferred.callback(None)

    def wait(self) -> Awaitable[object]:
        return self._deferred


class _Collector(pb.Referenceable):
    """Where pages go; named as twisted.spread.util names it."""

    def __init__(self) -> None:
        self.received = 0
        self.done: defer.Deferred[None] = defer.Deferred()

    def remote_gotPage(self, page: bytes) -> None:
        if not self.received:
            assert page == CHUNK
        self.received += len(page)

    def failed(self, failure: Any) -> None:
        if not self.done.called:
            self.done.errback(failure)

    def remote_endedPaging(self) -> None:
        if not self.done.called:
            self.done.callback(None)


class TwistedCaller(peer.Caller):
    """Calls a PB server on 127.0.0.1, of any library."""

    notes: ClassVar[dict[str, str]] = {
        "bytes": "as two strings of 512 KiB, joined again: a string of PB ends at 640 KiB",
        "stream": "twisted.spread.util.Pager",
    }
    point = Point

    async def open(self) -> None:
        self.factories: list[Any] = []
        self.root = await self._connect()

    async def _connect(self) -> Any:
        factory = pb.PBClientFactory()
        loop.connectTCP("127.0.0.1", int(self.address), factory)
        self.factories.append(factory)
        root = await factory.getRootObject()
        _no_delay(root.broker)
        return root

    async def close(self) -> None:
        for factory in self.factories:
            factory.disconnect()

    def echo(self, value: Any) -> Awaitable[Any]:
        answer: defer.Deferred[Any] = self.root.callRemote("echo", value)
        return answer

    async def echo_bytes(self, data: bytes) -> bytes:
        half = len(data) // 2
        answer = await self.echo([data[:half], data[half:]])
        return b"".join(answer)

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
        answer: defer.Deferred[object] = self.root.callRemote("swap", Token())
        return answer

    def live(self) -> Awaitable[int]:
        answer: defer.Deferred[int] = self.root.callRemote("live")
        return answer

    def live_here(self) -> int:
        return peer.count_live(Token)

    async def subscribe(self, count: int, seen: Callable[[], None]) -> Iterable[dict[str, Any]]:
        Replica.seen = staticmethod(seen)
        roots = [await self._connect() for _ in range(count)]
        self.replicas = [await root.callRemote("watch") for root in roots]
        return [replica.__dict__ for replica in self.replicas]

    def publish(self, first: int, count: int) -> Awaitable[object]:
        answer: defer.Deferred[object] = self.root.callRemote("publish", first, count)
        return answer

    async def stream(self, total: int, seconds: float) -> int:
        collector = _Collector()
        cut = loop.callLater(seconds, collector.remote_endedPaging)
        # The answer is not waited for: a server may give it at the beginning or at the end.
        self.root.callRemote("page", collector, total).addErrback(collector.failed)
        await collector.done
        if cut.active():
            cut.cancel()
        return collector.received

    @classmethod
    def run(cls, main: Callable[[], Coroutine[Any, Any, None]]) -> None:
        task.react(lambda reactor: defer.Deferred.fromCoroutine(main()))

    @staticmethod
    async def gather(work: list[Coroutine[Any, Any, None]]) -> None:
        await defer.gatherResults([defer.Deferred.fromCoroutine(one) for one in work], consumeErrors=True)

    @staticmethod
    def signal() -> peer.Signal:
        return _Signal()

    @staticmethod
    async def sleep(seconds: float) -> None:
        await task.deferLater(loop, seconds)

    @staticmethod
    def in_thread(function: Callable[[], peer.T]) -> Awaitable[peer.T]:
        return threads.deferToThread(function)
