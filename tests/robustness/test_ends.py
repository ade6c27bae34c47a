"""Every call ends exactly once, for any message instead of its answer, and for any kind of call."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any, Final

import pytest
from ormsgpack import Ext, packb

import perspective_broker as pb
from perspective_broker.dialects.classic.banana import encode
from perspective_broker.dialects.classic.vocabulary import NONE
from perspective_broker.dialects.pb7 import codes
from perspective_broker.testing import ScriptedPeer

from .ends import ENDS, End
from .words import Modern, Words, words_of


class Hostile:
    """A server that answers on the test's command.

    Attributes:
        calls: ids of the calls without an answer, by the method's name.
    """

    def __init__(self, peer: ScriptedPeer, words: Words) -> None:
        self.peer = peer
        self.words = words
        self.calls: dict[str, int] = {}

    async def called(self, name: str) -> int:
        """Wait for a call; return its id."""
        while name not in self.calls:
            heard = self.words.hear(self.peer.received)
            if heard is not None and heard.kind == "call":
                self.calls[heard.what] = heard.number
            elif heard is None:
                await self.peer._wait()
        return self.calls.pop(name)

    def answer(self, request: int, value: Any) -> None:
        self.peer.send_bytes(self.words.answer(request, value))

    def not_run(self, request: int, *further: int) -> bytes:
        """Return the word that calls were not run, each because of the one before; none where it is not known."""
        if not isinstance(self.words, Modern):
            return b""
        said = [
            self.words.say(codes.ERROR, request + n, Ext(codes.PROMISE, bytes((request + n - 1,))))
            for n in further
        ]
        return b"".join(said)


class Watched:
    """A call of ours, and how often it has ended."""

    def __init__(self, promise: asyncio.Future[Any]) -> None:
        self.promise = promise
        self.ends = 0
        promise.add_done_callback(self._ended)

    def _ended(self, promise: asyncio.Future[Any]) -> None:
        self.ends += 1


class Board(pb.Cacheable):
    """A cacheable that keeps its observer."""

    observer: Any

    def get_type_to_copy(self) -> str:
        return "ends.Board"

    def get_state_to_cache_and_observe_for(self, perspective: Any, observer: Any) -> Any:
        self.observer = observer
        return {}


@asynccontextmanager
async def hostile_server(dialect: str, limits: pb.Limits) -> AsyncIterator[tuple[Any, Hostile]]:
    """Connect to a hostile server; close the connection at the end."""
    async with ScriptedPeer.listen("memory:ends") as listener:
        connecting = asyncio.ensure_future(
            pb.connect(listener.url, limits=limits, dialects=[dialect]).__aenter__()
        )
        peer = await listener.accept()
        words = words_of(dialect)
        peer.send_bytes(encode([dialect.encode()], NONE))
        await peer.read()
        peer.send_bytes(words.greeting)
        root = await connecting
        yield root, Hostile(peer, words)
        await root.connection.close()


# -- kinds of calls: each makes one, and returns the promises that must end, with the id of the call to be answered


async def call(root: Any, hostile: Hostile) -> tuple[list[Any], int]:
    return [root.call("one")], await hostile.called("one")


async def pipelined(root: Any, hostile: Hostile) -> tuple[list[Any], int]:
    first = root.call("one")
    then = first.call("two")
    return [first, then, then.call("three")], await hostile.called("one")


async def held_for_the_window(root: Any, hostile: Hostile) -> tuple[list[Any], int]:
    first, second = root.call("first"), root.call("second")
    request = await hostile.called("first")
    assert root.connection.statistics().calls_held == 1
    hostile.answer(request, 1)
    assert await first == 1
    return [second], await hostile.called("second")


async def with_a_promise_as_argument(root: Any, hostile: Hostile) -> tuple[list[Any], int]:
    first = root.call("one")
    return [first, root.call("two", first)], await hostile.called("one")


async def update(root: Any, hostile: Hostile) -> tuple[list[Any], int]:
    board = Board()
    introduced = root.call("see", board)
    hostile.answer(await hostile.called("see"), 1)
    assert await introduced == 1
    return [board.observer.call("mark")], await hostile.called("mark")


async def stream(root: Any, hostile: Hostile) -> tuple[list[Any], int]:
    async def read() -> list[Any]:
        return [item async for item in root.call("items")]

    reading = asyncio.ensure_future(read())
    return [reading], await hostile.called("items")


KINDS: Final[dict[str, Callable[[Any, Hostile], Any]]] = {
    "call": call,
    "pipelined": pipelined,
    "held for the window": held_for_the_window,
    "with a promise as argument": with_a_promise_as_argument,
    "update": update,
    "stream": stream,
}


#: Calls that depend on the one which is answered: the ids that they have where the dialect can pipeline, less its id.
DEPENDENTS: Final = {"pipelined": (1, 2), "with a promise as argument": (1,)}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    ("dialect", "end"),
    [pytest.param(dialect, end, id=f"{dialect}-{end.name}") for dialect in ENDS for end in ENDS[dialect]],
)
async def test_each_ends_once_with_a_typed_error(dialect: str, end: End, kind: str) -> None:
    limits = pb.Limits(calls_in_flight=1) if kind == "held for the window" else pb.Limits()
    async with hostile_server(dialect, limits) as (root, hostile):
        promises, request = await KINDS[kind](root, hostile)
        watched = [Watched(promise) for promise in promises]
        said = end.say(hostile.words, request)
        if said is None:
            hostile.peer.send_bytes(hostile.words.answer(request, [1])[:4])
            await hostile.peer.aclose()
        else:
            hostile.peer.send_bytes(said)
        if end.kept and kind in DEPENDENTS:  # the peer decides about these
            hostile.peer.send_bytes(hostile.not_run(request, *DEPENDENTS[kind]))
        for promise in promises:
            with pytest.raises(Exception) as caught:  # noqa: PT011 (the class is looked at below)
                await promise
            assert type(caught.value).__name__ in end.errors, caught.value
        if end.kept:
            for _ in range(2):  # a second answer, and an error, change nothing
                hostile.peer.send_bytes(hostile.words.answer(request, 1) + hostile.words.error(request, 1))
            again = root.call("again")
            hostile.answer(await hostile.called("again"), 5)
            assert await again == 5
        await asyncio.sleep(0)  # callbacks of futures run in the next turn of the loop
        assert [one.ends for one in watched] == [1] * len(watched)
        assert root.connection.statistics().calls_out == 0
        assert (root.connection.close_cause is None) is end.kept


async def test_a_call_that_was_not_run_because_of_an_answer_it_does_not_mention_ends_once() -> None:
    async with hostile_server("pb7", pb.Limits()) as (root, hostile):
        promises, request = await pipelined(root, hostile)
        watched = [Watched(promise) for promise in promises]
        because = Ext(codes.PROMISE, bytes((request,)))
        hostile.peer.send_bytes(hostile.words.say(codes.ERROR, request + 2, because))
        for promise in promises:
            with pytest.raises(pb.ConnectionLost, match="bad-id"):
                await promise
        await asyncio.sleep(0)
        assert [one.ends for one in watched] == [1, 1, 1]


async def test_a_stream_whose_items_are_malformed_ends_once() -> None:
    """The stream itself came well; its items do not."""
    for dialect, source, bad in (
        ("pb", [b"remote", 5], [b"unheard", 1]),
        ("pb7", Ext(codes.REMOTE, b"\x05"), Ext(codes.COPY, packb("unheard") + packb({}))),
    ):
        async with hostile_server(dialect, pb.Limits()) as (root, hostile):

            async def read(root: Any = root) -> list[Any]:
                return [item async for item in root.call("items")]

            reading = asyncio.ensure_future(read())
            watched = Watched(reading)
            hostile.answer(await hostile.called("items"), source)
            while not hostile.calls:
                heard = hostile.words.hear(hostile.peer.received)
                if heard is None:
                    await hostile.peer._wait()
                elif heard.kind == "call":
                    hostile.peer.send_bytes(hostile.words.answer(heard.number, bad))
                    break
            with pytest.raises(pb.BadAnswer):
                await reading
            assert watched.ends == 1
