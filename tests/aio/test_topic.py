"""pb.Topic: what is told to many, once, in order, and what those hear who cannot follow."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any, Protocol

import pytest

import perspective_broker as pb
from perspective_broker.testing import memory_pair
from tests.aio.desk import until
from tests.aio.distance import Side, far_away
from tests.loops import both_loops


class Reader(pb.Referenceable):
    """Writes down what it hears."""

    def __init__(self) -> None:
        self.heard: list[Any] = []

    def remote_hear(self, *args: Any, **kwargs: Any) -> None:
        self.heard.append((*args, kwargs) if kwargs else args[0])

    def remote_lost(self, topic: str, count: int) -> None:
        self.heard.append(("lost", topic, count))


class News(pb.Root):
    def __init__(self) -> None:
        self.topic = pb.Topic("news")

    def remote_subscribe(self, reader: pb.RemoteReference) -> None:
        self.topic.add(reader)

    def remote_unsubscribe(self, reader: pb.RemoteReference) -> None:
        self.topic.discard(reader)


@asynccontextmanager
async def readers(
    news: News, dialects: list[str]
) -> AsyncIterator[tuple[list[pb.RemoteReference], list[Reader]]]:
    """Connect a reader over TCP for each of the dialects; yield their roots, and the readers."""
    async with AsyncExitStack() as stack:
        server = await stack.enter_async_context(pb.serve(news, "tcp://127.0.0.1:0"))
        roots, told = [], []
        for dialect in dialects:
            roots.append(await stack.enter_async_context(pb.connect(server.urls[0], dialects=[dialect])))
            told.append(Reader())
            await roots[-1].call("subscribe", told[-1])
        yield roots, told


async def settle(roots: list[pb.RemoteReference]) -> None:
    """Wait until what was told has arrived."""
    for root in roots:
        await root.connection.ping()


@both_loops
async def test_every_listener_is_told_in_order() -> None:
    news = News()
    async with readers(news, ["pb7", "pb", "pb7", "none"]) as (roots, told):
        for number in range(100):
            news.topic.tell("hear", number)
        await settle(roots)
        assert [reader.heard for reader in told] == [list(range(100))] * 4


async def test_what_is_told_keeps_its_place_among_calls(dialect: str) -> None:
    news = News()
    async with readers(news, [dialect]) as (roots, [told]):
        (reference,) = news.topic._listeners
        reference.tell("hear", 1)
        news.topic.tell("hear", 2)
        reference.tell("hear", 3)
        news.topic.tell("hear", 4)
        news.topic.tell("hear", 5)
        await settle(roots)
        assert told.heard == [1, 2, 3, 4, 5]


async def test_values_are_those_of_the_moment(dialect: str) -> None:
    news = News()
    async with readers(news, [dialect]) as (roots, [told]):
        value = {"numbers": [1, 2.5, None], "text": "ü", "bytes": b"\x00", "pair": (1, "x")}
        news.topic.tell("hear", value, more=value)
        value["numbers"] = "changed later"
        await settle(roots)
        expected = {"numbers": [1, 2.5, None], "text": "ü", "bytes": b"\x00", "pair": (1, "x")}
        assert told.heard == [(expected, {"more": expected})]


class Copied(pb.Copyable):
    asked = 0

    def get_state_to_copy_for(self, perspective: object) -> dict[str, int]:
        assert perspective is None
        Copied.asked += 1
        return {"asked": Copied.asked}


@pb.copier_for(f"{__name__}.Copied")
class Copy(pb.RemoteCopy):
    asked: int


async def test_a_copied_object_is_asked_once(dialect: str) -> None:
    Copied.asked = 0
    news = News()
    async with readers(news, [dialect] * 3) as (roots, told):
        news.topic.tell("hear", Copied())
        await settle(roots)
        assert [reader.heard[0].asked for reader in told] == [1, 1, 1]


@pytest.mark.parametrize("size", [100, 70_000, 300_000])
async def test_large_values_cross(dialect: str, size: int) -> None:
    news = News()
    async with readers(news, [dialect] * 2) as (_, told):
        news.topic.tell("hear", b"x" * size)
        news.topic.tell("hear", "after")
        await until(lambda: all(len(reader.heard) == 2 for reader in told))
        assert [reader.heard for reader in told] == [[b"x" * size, "after"]] * 2


async def test_a_reference_is_refused_before_anybody_is_told(dialect: str) -> None:
    news = News()
    async with readers(news, [dialect] * 2) as (roots, told):
        (reference, _) = news.topic._listeners
        for value in (pb.Referenceable(), reference, [pb.Referenceable()]):
            with pytest.raises(pb.SerializationError, match=r"args\[0\].* crosses as a reference"):
                news.topic.tell("hear", value)
        news.topic.tell("hear", "fine")
        await settle(roots)
        assert [reader.heard for reader in told] == [["fine"], ["fine"]]
        assert roots[0].connection.statistics().imported <= 1


async def test_what_one_dialect_lacks_is_told_on_the_others() -> None:
    news = News()
    async with readers(news, ["pb", "pb7"]) as (roots, told):
        with pytest.raises(pb.SerializationError):
            news.topic.tell("hear", 2**2000)
        news.topic.tell("hear", "after")
        await settle(roots)
        assert told[0].heard[-1] == told[1].heard[-1] == "after"


async def test_who_leaves_is_told_no_more(dialect: str) -> None:
    news = News()
    async with readers(news, [dialect] * 3) as (roots, told):
        await roots[0].call("unsubscribe", told[0])
        await roots[1].connection.close()
        await until(lambda: len(news.topic) == 1)
        news.topic.tell("hear", 1)
        await settle([roots[0], roots[2]])
        assert [reader.heard for reader in told] == [[], [], [1]]
        (reference,) = news.topic._listeners
        assert reference in news.topic
        reference.release()
        news.topic.tell("hear", 2)
        assert len(news.topic) == 0


async def test_a_listener_is_added_once(dialect: str) -> None:
    news = News()
    async with readers(news, [dialect]) as (roots, [told]):
        await roots[0].call("subscribe", told)
        news.topic.tell("hear", 1)
        await settle(roots)
        assert told.heard == [1]
        assert repr(news.topic) == "<Topic 'news' with 1 listeners>"


async def test_a_topic_of_nobody_takes_everything() -> None:
    pb.Topic().tell("hear", object())


async def test_only_references_listen() -> None:
    with pytest.raises(TypeError, match="a listener is a reference to an object of a peer, not a Reader"):
        pb.Topic().add(Reader())  # type: ignore[arg-type]
    async with memory_pair(News()) as pair:
        root = pair.root
    with pytest.raises(pb.DeadReferenceError):
        pb.Topic().add(root)


async def test_a_listener_without_the_method_stays(dialect: str) -> None:
    news = News()
    async with readers(news, [dialect]) as (roots, [told]):
        news.topic.tell("no_such_method", 1)
        news.topic.tell("hear", 2)
        await settle(roots)
        assert told.heard == [2]


@asynccontextmanager
async def slow_and_quick(
    news: News, dialect: str
) -> AsyncIterator[tuple[Side, pb.RemoteReference, Reader, Reader]]:
    """Connect two readers, one by way of a relay; yield the relay, the root of that one, and both readers."""
    async with (
        pb.serve(news, "memory:news"),
        far_away("memory:news", "memory:far", 0) as relay,
        pb.connect("memory:far", dialects=[dialect]) as far,
        pb.connect("memory:news", dialects=[dialect]) as near,
    ):
        slow, quick = Reader(), Reader()
        await far.call("subscribe", slow)
        await near.call("subscribe", quick)
        yield relay, far, slow, quick


async def test_a_slow_listener_is_passed_over_and_told_what_it_has_lost(dialect: str) -> None:
    news = News()
    async with slow_and_quick(news, dialect) as (relay, far, slow, quick):
        relay.pause()
        sent = 300
        for number in range(sent):
            news.topic.tell("hear", (number, "x" * 10_000))
            await until(lambda: bool(quick.heard) and quick.heard[-1][0] == number)  # noqa: B023
        relay.resume()
        await until(lambda: bool(slow.heard) and slow.heard[-1][0] == "lost")
        news.topic.tell("hear", (sent, "the last"))
        await far.connection.ping()
        await until(lambda: len(quick.heard) == sent + 1)
        assert [number for number, _ in quick.heard] == list(range(sent + 1))
        *numbered, (_, name, count), (last, _) = slow.heard
        assert 0 < count < sent
        assert [number for number, _ in numbered] == list(range(sent - count))
        assert (name, last) == ("news", sent)


async def flood(news: News) -> None:
    """Tell more than a listener that does not read can take."""
    for _ in range(300):
        news.topic.tell("hear", "x" * 10_000)
        await asyncio.sleep(0)


async def test_a_slow_listener_that_leaves_is_forgotten(dialect: str) -> None:
    news = News()
    async with slow_and_quick(news, dialect) as (relay, _, _, quick):
        relay.pause()
        await flood(news)
        relay.close()
        await until(lambda: len(news.topic) == 1)
        news.topic.tell("hear", 1)
        await until(lambda: quick.heard[-1] == 1)


async def test_a_slow_listener_can_be_discarded(dialect: str) -> None:
    news = News()
    async with slow_and_quick(news, dialect) as (relay, far, slow, _):
        relay.pause()
        await flood(news)
        for reference in list(news.topic._listeners):
            news.topic.discard(reference)
        relay.resume()
        await far.connection.ping()
        assert "lost" not in {item[0] for item in slow.heard}


async def test_a_connection_does_not_keep_a_topic(dialect: str) -> None:
    news = News()
    async with readers(news, [dialect]) as (roots, _):
        news.topic = pb.Topic()
        gc.collect()
        await settle(roots)
        assert roots[0].connection.statistics().exported == 0


class Hears(pb.Interface, Protocol):
    async def hear(self, text: str) -> None: ...


class TypedReader(Hears, pb.Referenceable):
    def __init__(self) -> None:
        self.heard: list[str] = []

    async def hear(self, text: str) -> None:
        self.heard.append(text)


class TypedNews(pb.Root):
    def __init__(self) -> None:
        self.topic = pb.Topic("news")

    def remote_subscribe(self, reader: pb.RemoteReference) -> int:
        proxy = Hears.of(reader)
        self.topic.add(proxy)
        self.topic.add(reader)  # the same listener
        assert proxy in self.topic
        assert reader in self.topic
        return len(self.topic)

    def remote_unsubscribe(self, reader: pb.RemoteReference) -> int:
        self.topic.discard(Hears.of(reader))
        return len(self.topic)


async def test_a_listener_may_be_an_object_by_an_interface() -> None:
    news, told = TypedNews(), TypedReader()
    async with pb.serve(news, "memory:typed-news"), pb.connect("memory:typed-news") as root:
        assert await root.call("subscribe", told) == 1
        news.topic.tell("hear", "one")
        assert await root.call("unsubscribe", told) == 0
        news.topic.tell("hear", "two")
        await root.connection.ping()
        assert told.heard == ["one"]
