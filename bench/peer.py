"""The interface between the bench and a row: the operations of a calling process.

A module of ``bench.peers`` offers ``serve(announce)``, which runs a server until the process is ended and
announces its address once, and ``Caller``, a subclass of the one below. A caller is made, opened, measured
and closed once per cell, so that no cell inherits another's connection.
"""

from __future__ import annotations

import asyncio
import gc
import time
from collections.abc import Awaitable, Callable, Coroutine, Iterable
from typing import Any, ClassVar, Protocol, TypeVar

T = TypeVar("T")

Announce = Callable[[str], None]
clock = time.perf_counter


class NotOffered(Exception):
    """The peer has nothing like this column. The text is the reason; it is printed below the table."""


class Signal(Protocol):
    """Something that happens once."""

    def fire(self) -> None: ...

    def wait(self) -> Awaitable[object]: ...


class LoopSignal:
    """A signal for callers that live on an asyncio loop."""

    def __init__(self) -> None:
        self._future: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def fire(self) -> None:
        if not self._future.done():
            self._future.set_result(None)

    def wait(self) -> Awaitable[object]:
        return self._future


class Caller:
    """The calling side of one row. The defaults below suit asyncio; operations that a peer lacks are not offered.

    Operations return awaitables and need not be coroutines: a row whose client hands out a future gives that
    future, so that nothing of the bench stands between the peer and the clock.
    """

    notes: ClassVar[dict[str, str]] = {}
    """Column name -> the method, if it is not the obvious one."""

    point: ClassVar[type] = object
    """The class as which points arrive."""

    def __init__(self, address: str) -> None:
        self.address = address

    # -- the peer's own operations ---------------------------------------------------------------------------

    async def open(self) -> None:
        raise NotImplementedError

    async def close(self) -> None:
        raise NotImplementedError

    def echo(self, value: Any) -> Awaitable[Any]:
        """Send a plain value, get it back."""
        raise NotImplementedError

    def echo_bytes(self, data: bytes) -> Awaitable[bytes]:
        """The same for a large byte string; apart because some peers have another door for it."""
        return self.echo(data)

    def make_points(self, states: list[tuple[str, int, float]]) -> list[Any]:
        raise NotOffered("no objects by value")

    def echo_points(self, points: list[Any]) -> Awaitable[list[Any]]:
        raise NotOffered("no objects by value")

    def swap(self) -> Awaitable[object]:
        """Hand over a reference to a fresh object, get one to a fresh object of the server's."""
        raise NotOffered("no references")

    def live(self) -> Awaitable[int]:
        """How many objects made for ``swap`` the server still holds."""
        raise NotOffered("no references")

    def live_here(self) -> int:
        """How many objects made for ``swap`` this process still holds."""
        raise NotOffered("no references")

    async def subscribe(self, count: int, seen: Callable[[], None]) -> Iterable[dict[str, Any]]:
        """Open ``count`` connections that each watch the same object.

        ``seen`` is called after each update that one of them applied. The answer holds the watchers' states,
        live: as they are whenever one looks.
        """
        raise NotOffered("no updates from the server")

    def publish(self, first: int, count: int) -> Awaitable[object]:
        """Have the server set ``n`` of the watched object to first, first + 1, ... (count of them)."""
        raise NotOffered("no updates from the server")

    async def stream(self, total: int, seconds: float) -> int:
        """Receive ``total`` bytes in chunks, or fewer if the time is over; return the number."""
        raise NotOffered("no streams")

    # -- how a column is driven; a peer with a better documented way overrides these -------------------------

    def echoes(self, value: Any, seconds: float, width: int) -> Awaitable[tuple[int, float]]:
        """Keep ``width`` echoes in flight. Returns how many were answered, in how many seconds."""
        return self.window(lambda: self.echo(value), seconds, width)

    def swaps(self, seconds: float, width: int) -> Awaitable[tuple[int, float]]:
        """Keep ``width`` swaps in flight."""
        return self.window(self.swap, seconds, width)

    async def window(
        self, call: Callable[[], Awaitable[object]], seconds: float, width: int
    ) -> tuple[int, float]:
        """Keep ``width`` calls in flight by as many workers, each waiting for its own call."""
        count = 0
        start = clock()
        stop = start + seconds

        async def worker() -> None:
            nonlocal count
            while clock() < stop:
                await call()
                count += 1

        await self.gather([worker() for _ in range(width)])
        return count, clock() - start

    # -- the event loop this caller lives on -----------------------------------------------------------------

    @classmethod
    def run(cls, main: Callable[[], Coroutine[Any, Any, None]]) -> None:
        run_on_best_loop(main())

    @staticmethod
    async def gather(work: list[Coroutine[Any, Any, None]]) -> None:
        await asyncio.gather(*work)

    @staticmethod
    def signal() -> Signal:
        return LoopSignal()

    @staticmethod
    async def sleep(seconds: float) -> None:
        await asyncio.sleep(seconds)

    @staticmethod
    def in_thread(function: Callable[[], T]) -> Awaitable[T]:
        return asyncio.to_thread(function)


def run_on_best_loop(main: Coroutine[Any, Any, None]) -> None:
    """Run on uvloop where there is one, on asyncio's own loop otherwise."""
    try:
        import uvloop
    except ImportError:
        asyncio.run(main)
    else:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(main)


def run_on_plain_loop(main: Coroutine[Any, Any, None]) -> None:
    """Run on asyncio's own loop: some peers do not work on another."""
    asyncio.run(main)


def count_live(kind: type) -> int:
    """How many instances of a class exist in this process. Asking the collector costs nothing while a
    measurement runs, which a counter in ``__init__`` and ``__del__`` or a weak set would."""
    gc.collect()
    return sum(1 for thing in gc.get_objects() if type(thing) is kind)
