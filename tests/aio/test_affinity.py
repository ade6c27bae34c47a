"""Objects of one event loop raise UsageError at once when they are used in another thread, another loop, or a fork."""

from __future__ import annotations

import asyncio
import contextlib
import inspect
import os
import threading
import warnings
from collections.abc import Callable
from typing import Any

import pytest

import perspective_broker as pb
from perspective_broker.testing import Pair, memory_pair
from tests.aio.desk import Desk, turns
from tests.loops import LOOPS, both_loops

pytestmark = both_loops


class Board(pb.Cacheable):
    observer: Any = None

    def get_type_to_copy(self) -> str:
        return "places.Board"

    def get_state_to_cache_and_observe_for(self, perspective: Any, observer: Any) -> Any:
        self.observer = observer
        return {}


class Live(pb.Live):
    n: int


REGISTRY = pb.registry.Registry()


@pb.copier_for("places.Board", registry=REGISTRY)
class Replica(pb.RemoteCache):
    told = 0

    def observe_told(self) -> None:
        self.told += 1


REGISTRY.set_unjellyable_for_class(Live, Live)


class Streams(Desk):
    async def remote_numbers(self) -> Any:
        for number in range(5):
            yield number


class Stage:
    """One of everything, alive."""

    pair: Pair
    promise: pb.Promise
    stream: Any
    board: Board
    live: Live

    async def prepare(self, pair: Pair) -> None:
        self.pair = pair
        self.board, self.live = Board(), Live(n=0)
        self.promise = pair.root.call("wait")
        await pair.root.call("keep", self.board, self.live)
        self.stream = pair.root.call("numbers").__aiter__()
        assert await anext(self.stream) == 0


#: Every way in; a coroutine function is awaited.
USES: dict[str, Callable[[Stage], Any]] = {
    "reference.call": lambda stage: stage.pair.root.call("plain", "never"),
    "reference.tell": lambda stage: stage.pair.root.tell("plain", "never"),
    "reference.release": lambda stage: stage.pair.root.release(),
    "reference.on_disconnect": lambda stage: stage.pair.root.on_disconnect(print),
    "promise.call": lambda stage: stage.promise.call("plain", "never"),
    "promise.tell": lambda stage: stage.promise.tell("plain", "never"),
    "promise.cancel": lambda stage: stage.promise.cancel(),
    "observer.call": lambda stage: stage.board.observer.call("told"),
    "observer.tell": lambda stage: stage.board.observer.tell("told"),
    "live": lambda stage: setattr(stage.live, "n", 1),
    "connection.end": lambda stage: stage.pair.client.end(),
    "connection.on_disconnect": lambda stage: stage.pair.client.on_disconnect(print),
}
AWAITED: dict[str, Callable[[Stage], Any]] = {
    "await promise": lambda stage: _awaited(stage.promise),
    "await room": lambda stage: _awaited(stage.pair.client.room),
    "connection.close": lambda stage: stage.pair.client.close(),
    "connection.wait_closed": lambda stage: stage.pair.client.wait_closed(),
    "connection.ping": lambda stage: stage.pair.client.ping(),
    "stream": lambda stage: anext(stage.stream),
    "stream.aclose": lambda stage: stage.stream.aclose(),
    "stream of a promise": lambda stage: anext(stage.promise.__aiter__()),
    "server.close": lambda stage: stage.pair.server.close(),
    "server.serve_forever": lambda stage: stage.pair.server.serve_forever(),
}


async def _awaited(awaitable: Any) -> Any:
    return await awaitable


def outcome(use: Callable[[], Any]) -> str:
    """Return the errors of each use, by name."""
    try:
        use()
    except BaseException as error:
        return type(error).__name__
    return "nothing"


def in_a_thread(use: Callable[[], Any]) -> str:
    found: list[str] = []
    thread = threading.Thread(target=lambda: found.append(outcome(use)))
    thread.start()
    thread.join()
    return found[0]


def in_another_loop(use: Callable[[], Any]) -> str:
    async def main() -> None:
        async with asyncio.timeout(60):
            result = use()
            if inspect.isawaitable(result):
                await result

    return in_a_thread(lambda: asyncio.run(main()))


def in_a_fork(use: Callable[[], Any]) -> str:
    """Use it in a child of this process, which has a copy of everything, its loop as well."""
    reading, writing = os.pipe()
    child = os.fork()
    if not child:
        with contextlib.suppress(BaseException):
            os.write(writing, outcome(use).encode())
        os._exit(0)
    os.close(writing)
    with os.fdopen(reading) as pipe:
        said = pipe.read()
    os.waitpid(child, 0)
    return said


@contextlib.asynccontextmanager
async def staged(dialect: str) -> Any:
    desk = Streams()
    async with memory_pair(desk, dialects=[dialect], registry=REGISTRY) as pair:
        stage = Stage()
        await stage.prepare(pair)
        yield stage
        # Nothing of it has happened.
        await turns()
        assert desk.log == []
        assert not stage.promise.done()
        assert await pair.root.call("echo", "alive") == "alive"
        assert await anext(stage.stream) == 1
        desk.gate.set()
        await stage.promise
        await stage.stream.aclose()
        desk.kept.clear()


async def test_another_thread_is_told_so(dialect: str) -> None:
    async with staged(dialect) as stage:
        for name, use in USES.items():
            assert (name, in_a_thread(lambda use=use: use(stage))) == (name, "UsageError")  # type: ignore[misc]


async def test_another_loop_is_told_so(dialect: str) -> None:
    async with staged(dialect) as stage:
        for name, use in {**USES, **AWAITED}.items():
            if name != "await room":  # there is some: nothing to wait for
                assert (name, in_another_loop(lambda use=use: use(stage))) == (name, "UsageError")  # type: ignore[misc]


@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")  # the child does nothing but ask
async def test_a_forked_child_is_told_so(dialect: str) -> None:
    async with staged(dialect) as stage:
        for name, use in USES.items():
            assert (name, in_a_fork(lambda use=use: use(stage))) == (name, "UsageError")  # type: ignore[misc]
        for name, use in AWAITED.items():
            if name != "await room":
                forked = in_a_fork(lambda use=use: asyncio.new_event_loop().run_until_complete(use(stage)))  # type: ignore[misc]
                assert (name, forked) == (name, "UsageError")


async def test_a_full_connection_has_no_room_for_another_loop(dialect: str) -> None:
    async with memory_pair(
        Desk(), dialects=[dialect], limits=pb.Limits(write_buffer_high=100, write_buffer_low=50)
    ) as pair:
        pair.root.tell("plain", bytes(1000))
        assert in_another_loop(lambda: _awaited(pair.client.room)) == "UsageError"
        await pair.client.room


async def test_a_stream_that_was_begun_here_is_read_here(dialect: str) -> None:
    async with staged(dialect) as stage:
        assert in_another_loop(lambda: anext(stage.stream)) == "UsageError"


@pytest.mark.parametrize("use", ["end", "cancel", "cancel the task"])
def test_between_two_runs_of_its_loop_a_connection_may_be_used(use: str, loop_name: str) -> None:
    """As a runner does when it ends: it gives up the tasks that are left while its loop stands still."""

    async def waiting(promise: pb.Promise) -> None:
        await promise

    async def main() -> Any:
        server = await pb.serve(Desk(), "memory:between")
        root = await pb.connect("memory:between")
        promise = root.call("wait")
        task = asyncio.ensure_future(waiting(promise))
        await turns()
        return server, root, promise, task

    async def close(server: Any, root: Any, task: asyncio.Task[None]) -> None:
        await root.connection.close()
        await asyncio.wait([task])
        assert task.cancelled() or isinstance(task.exception(), pb.ConnectionLost)
        await server.close()

    with asyncio.Runner(loop_factory=LOOPS[loop_name]) as runner:
        server, root, promise, task = runner.run(main())
        if use == "end":
            root.connection.end()
        else:
            assert (promise if use == "cancel" else task).cancel()
        runner.run(close(server, root, task))
        assert promise.cancelled() is (use != "end")


def test_another_library_for_coroutines_is_told_that_this_one_runs_on_asyncio() -> None:
    trio = pytest.importorskip("trio")

    async def main() -> None:
        for use in (pb.connect("memory:nowhere"), pb.serve(pb.Root(), "memory:nowhere")):
            with pytest.raises(pb.UsageError, match="this library runs on asyncio"):
                await use
            with pytest.raises(pb.UsageError, match="this library runs on asyncio"):
                async with use:
                    pass

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # of the server that never started
        trio.run(main)
