"""This library: the server and the caller, for its own rows and for those in which it meets Twisted.

Only names of the public face are used, each where it is needed: a feature that is missing costs its column,
not the row.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from typing import Any, ClassVar
from urllib.parse import urlsplit

import perspective_broker as pb
from bench import peer
from bench.values import BOARD_TAG, CHUNK, CHUNK_SIZE, POINT_TAG

_SEEN: list[Callable[[], None]] = []
"""The object that a replica calls. The library makes replicas, so it cannot be passed to one."""


@pb.copier_for(POINT_TAG)
class Point(pb.Copyable, pb.RemoteCopy):
    """The copyable, at both ends."""

    name: str
    x: int
    y: float

    def get_type_to_copy(self) -> str:
        return POINT_TAG


class Token(pb.Referenceable):
    """An object that is passed and dropped."""


def _make_board() -> Any:
    """The object that 100 observers watch."""
    cacheable: Any = _feature("Cacheable")

    class Board(cacheable):  # type: ignore[misc, unused-ignore]
        def __init__(self) -> None:
            self.n = 0
            self.observers: list[Any] = []

        def get_type_to_copy(self) -> str:
            return BOARD_TAG

        def get_state_to_cache_and_observe_for(self, perspective: Any, observer: Any) -> dict[str, Any]:
            self.observers.append(observer)
            return {"n": self.n}

        def stopped_observing(self, perspective: Any, observer: Any) -> None:
            self.observers.remove(observer)

        def set(self, n: int) -> None:
            self.n = n
            for observer in self.observers:
                observer.tell("set", "n", n)

    return Board()


def _register_replica() -> None:
    remote_cache: Any = _feature("RemoteCache")

    @pb.copier_for(BOARD_TAG)
    class Replica(remote_cache):  # type: ignore[misc, unused-ignore]
        n: int

        def set_copyable_state(self, state: Any) -> None:
            self.n = state["n"]

        def observe_set(self, key: str, value: int) -> None:
            setattr(self, key, value)
            _SEEN[0]()


def _feature(name: str) -> Any:
    found = getattr(pb, name, None)
    if found is None:
        raise peer.NotOffered(f"not available: perspective_broker has no {name} yet")
    return found


class Root(pb.Root):
    """The served object."""

    board: Any = None

    def remote_echo(self, value: Any) -> Any:
        return value

    def remote_swap(self, token: Any) -> Token:
        return Token()

    def remote_live(self) -> int:
        return peer.count_live(Token)

    def remote_watch(self) -> Any:
        if self.board is None:
            self.board = _make_board()
        return self.board

    def remote_publish(self, first: int, count: int) -> None:
        for n in range(first, first + count):
            self.board.set(n)

    async def remote_chunks(self, total: int) -> AsyncIterator[bytes]:
        """A stream of pb7."""
        for _ in range(0, total, CHUNK_SIZE):
            yield CHUNK

    async def remote_page(self, collector: Any, total: int) -> None:
        """The pages of the classic dialect; waiting for ``tell`` is its back-pressure."""
        for _ in range(0, total, CHUNK_SIZE):
            await collector.tell("gotPage", CHUNK)
        await collector.tell("endedPaging")


#: Seconds that the rows that poll stay awake: more than a round trip, less than anybody notices.
BUSY_POLL = 100e-6


def serve(announce: peer.Announce, dialect: str, busy_poll: float | None = None) -> None:
    """Run the server until the process is ended."""

    async def main() -> None:
        async with pb.serve(Root(), "tcp://127.0.0.1:0", dialects=(dialect,), busy_poll=busy_poll) as server:
            announce(str(urlsplit(server.urls[0]).port))
            await server.serve_forever()

    peer.run_on_best_loop(main())


class _Collector(pb.Referenceable):
    """Where pages go; named as twisted.spread.util names it."""

    def __init__(self) -> None:
        self.received = 0
        self.done = asyncio.Event()

    def remote_gotPage(self, page: bytes) -> None:
        if not self.received:
            assert page == CHUNK
        self.received += len(page)

    def remote_endedPaging(self) -> None:
        self.done.set()


class OurCaller(peer.Caller):
    """Calls a server on 127.0.0.1, of any library, in the dialect of a subclass."""

    point = Point
    dialect: ClassVar[str]
    busy_poll: ClassVar[float | None] = None

    async def open(self) -> None:
        self.roots: list[Any] = []
        self.root = await self._connect()

    async def _connect(self) -> Any:
        root = await pb.connect(
            f"tcp://127.0.0.1:{self.address}", dialects=(self.dialect,), busy_poll=self.busy_poll
        )
        self.roots.append(root)
        return root

    async def close(self) -> None:
        for root in self.roots:
            await root.connection.close()

    def echo(self, value: Any) -> Awaitable[Any]:
        answer: Awaitable[Any] = self.root.call("echo", value)
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
        answer: Awaitable[object] = self.root.call("swap", Token())
        return answer

    def live(self) -> Awaitable[int]:
        answer: Awaitable[int] = self.root.call("live")
        return answer

    def live_here(self) -> int:
        return peer.count_live(Token)

    async def subscribe(self, count: int, seen: Callable[[], None]) -> Iterable[dict[str, Any]]:
        _feature("Cacheable")
        if not _SEEN:
            _register_replica()
        _SEEN[:] = [seen]
        roots = [await self._connect() for _ in range(count)]
        self.replicas = [await root.call("watch") for root in roots]
        return [vars(replica) for replica in self.replicas]

    def publish(self, first: int, count: int) -> Awaitable[object]:
        answer: Awaitable[object] = self.root.call("publish", first, count)
        return answer


class ClassicCaller(OurCaller):
    """The classic dialect: streams are pages, and a byte string ends where Twisted's does."""

    notes: ClassVar[dict[str, str]] = {
        "bytes": "as two strings of 512 KiB, joined again: a string of PB ends at 640 KiB",
        "stream": "pages, as in twisted.spread.util",
    }
    dialect = "pb"

    async def echo_bytes(self, data: bytes) -> bytes:
        half = len(data) // 2
        return b"".join(await self.echo([data[:half], data[half:]]))

    async def stream(self, total: int, seconds: float) -> int:
        collector = _Collector()
        # Not awaited: a server of ours answers only when all pages are sent.
        paging = asyncio.ensure_future(self._page(collector, total))
        try:
            await asyncio.wait_for(collector.done.wait(), seconds)
        except TimeoutError:
            pass
        finally:
            paging.cancel()
        return collector.received

    async def _page(self, collector: _Collector, total: int) -> None:
        await self.root.call("page", collector, total)


class Pb7Caller(OurCaller):
    """pb7: streams are async generators."""

    dialect = "pb7"

    async def stream(self, total: int, seconds: float) -> int:
        received = 0
        stop = peer.clock() + seconds
        chunks = await self.root.call("chunks", total)
        async for chunk in chunks:
            if not received:
                assert chunk == CHUNK
            received += len(chunk)
            if peer.clock() > stop:
                break
        return received
