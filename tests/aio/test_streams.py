"""Streams: an asynchronous generator here is an ``async for`` there, over every dialect."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import json
import logging
import os
import subprocess
import sys
from collections.abc import AsyncIterable, AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

import perspective_broker as pb
from perspective_broker.aio.item_cost import ITEM_COST, item_cost
from perspective_broker.aio.streams import MOST_CREDIT, PATIENCE, WINDOW
from perspective_broker.testing import Pair, assert_no_leaks, memory_pair
from tests.aio.desk import Desk, turns, until
from tests.loops import both_loops

CHECKOUT = Path(__file__).resolve().parents[2]

CHUNK = bytes(16 * 1024)
#: Chunks that a source may have sent and made without a reader.
IN_WINDOW = WINDOW // item_cost(CHUNK) + 1


class Spring(Desk):
    """Makes streams, and reads them. Records the ends of its generators."""

    def __init__(self) -> None:
        super().__init__()
        self.made = 0  #: items that its generators have made
        self.closed = 0  #: generators whose `finally` has run
        self.streams: list[Any] = []

    async def items(self, *items: Any, error: Exception | None = None) -> AsyncIterator[Any]:
        try:
            for item in items:
                self.made += 1
                yield item
            if error is not None:
                raise error
        finally:
            self.closed += 1

    async def endless(self, item: Any) -> AsyncIterator[Any]:
        try:
            while True:
                self.made += 1
                yield item
        finally:
            await asyncio.sleep(0)  # a generator may clean up in its own time
            self.closed += 1

    def remote_items(self, *items: Any) -> AsyncIterator[Any]:
        return self.items(*items)

    async def remote_items_later(self, *items: Any) -> AsyncIterator[Any]:
        await asyncio.sleep(0)
        return self.items(*items)

    def remote_count(self, number: int) -> AsyncIterator[int]:
        return self.items(*range(number))

    def remote_endless(self, item: Any) -> AsyncIterator[Any]:
        return self.endless(item)

    def remote_failing(self, *items: Any) -> AsyncIterator[Any]:
        return self.items(*items, error=pb.Error("dried up"))

    async def remote_generator(self, number: int) -> AsyncIterator[int]:
        """The method itself is the generator."""
        for n in range(number):
            yield n

    async def remote_sum(self, numbers: Any) -> int:
        return sum([n async for n in numbers])

    async def remote_sum_nested(self, streams: dict[str, list[Any]]) -> int:
        return sum([await self.remote_sum(stream) for stream in streams["streams"]])

    async def remote_first(self, numbers: Any) -> Any:
        async for n in numbers:
            return n

    async def remote_choke(self, numbers: Any) -> None:
        async for _ in numbers:
            raise pb.Error("choked")

    async def remote_taste(self, numbers: Any) -> list[Any]:
        """Answers with the items, and the error that ended them."""
        items: list[Any] = []
        try:
            await read(numbers, items)
        except pb.RemoteError as error:
            items.append(error.value)
        return items

    async def remote_read_and_wait(self, numbers: Any) -> None:
        async for _ in numbers:
            await self.remote_wait()

    def remote_relay(self, stream: Any) -> Any:
        return aiter(stream)


@contextlib.asynccontextmanager
async def spring(dialect: str, **options: Any) -> AsyncIterator[tuple[Spring, Pair]]:
    """A spring behind a connection; when it is left both ends must hold nothing."""
    served = Spring()
    async with memory_pair(served, dialects=[dialect], **options) as pair:
        yield served, pair
        await assert_no_leaks(pair.client, pair.accepted)


async def read(stream: Any, into: list[Any] | None = None) -> list[Any]:
    """Return the items of a stream; ``into`` has them also when the stream ends with an error."""
    into = [] if into is None else into
    async for item in stream:
        into.append(item)
    return into


@pytest.fixture
def unlogged(caplog: pytest.LogCaptureFixture) -> None:
    """Without the log, which keeps tracebacks, and with them the objects in their frames."""
    caplog.set_level(logging.CRITICAL, "perspective_broker")


# -- there and back


@both_loops
@pytest.mark.parametrize("method", ["items", "items_later"])
async def test_a_generator_that_a_method_returns_is_read_with_async_for(method: str, dialect: str) -> None:
    values = ["text", b"bytes", 1, None, [1, {"a": (2, 3)}]]
    async with spring(dialect) as (served, pair):
        assert await read(pair.root.call(method, *values)) == values
        assert await read(await pair.root.call(method, *values)) == values
        assert served.closed == 2


async def test_a_method_may_be_the_generator(dialect: str) -> None:
    async with spring(dialect) as (_, pair):
        assert await read(pair.root.call("generator", 5)) == [0, 1, 2, 3, 4]


async def test_an_empty_stream_ends_at_once(dialect: str) -> None:
    async with spring(dialect) as (served, pair):
        assert await read(pair.root.call("items")) == []
        assert served.closed == 1


async def test_items_keep_their_order_and_small_ones_travel_together(dialect: str) -> None:
    async with spring(dialect) as (_, pair):
        before = pair.client.statistics().messages_received
        assert await read(pair.root.call("count", 3000)) == list(range(3000))
        # 3000 items of ITEM_COST: three messages, and a few words around them.
        assert pair.client.statistics().messages_received - before < 10


@pytest.mark.parametrize("nested", [False, True])
async def test_a_generator_is_an_argument(nested: bool, dialect: str) -> None:
    async with spring(dialect) as (_, pair):
        mine = Spring()
        if nested:
            streams = {"streams": [mine.items(1, 2), mine.items(3, 4)]}
            assert await pair.root.call("sum_nested", streams) == 10
        else:
            assert await pair.root.call("sum", mine.items(1, 2, 3)) == 6
        await until(lambda: mine.closed == 1 + nested)


async def test_a_stream_is_relayed(dialect: str) -> None:
    async with spring(dialect) as (_, pair):
        mine = Spring()
        assert await read(pair.root.call("relay", mine.items(1, 2, 3))) == [1, 2, 3]
        await until(lambda: mine.closed == 1)


async def test_references_cross_in_items(dialect: str) -> None:
    async with spring(dialect) as (_, pair):
        mine = Spring()
        (theirs,) = await read(pair.root.call("items", mine))
        assert theirs is mine
        (reference,) = await read(pair.root.call("items", await pair.root.call("new")))
        assert await reference.call("echo", "hello") == "hello"
        del theirs, reference


class Room(pb.Viewable):
    """A viewable that returns the name of its caller, in streams and in their items."""

    def __init__(self) -> None:
        self.inner: Room | None = None

    def view_who(self, perspective: Any) -> str:
        return str(perspective)

    async def view_rooms(self, perspective: Any, number: int) -> AsyncIterator[Room]:
        for _ in range(number):
            yield Room()

    async def view_lookers(self, perspective: Any, rooms: Any) -> list[str]:
        """References from a stream remember the perspective: values that are sent there cross under it."""
        return [await visitor.call("meet", Room()) async for visitor in rooms]


class Visitor(pb.Referenceable):
    async def remote_meet(self, room: Any) -> Any:
        return await room.call("who")


class Lobby(pb.Root):
    def remote_enter(self, name: str) -> pb.ViewPoint:
        return pb.ViewPoint(name, Room())


async def test_items_cross_under_the_perspective_of_the_method(dialect: str) -> None:
    async with memory_pair(Lobby(), dialects=[dialect]) as pair:
        for name in ("alice", "bob"):
            room = await pair.root.call("enter", name)
            assert [await inner.call("who") async for inner in room.call("rooms", 3)] == [name] * 3
            visitors = Spring().items(Visitor(), Visitor())
            assert await room.call("lookers", visitors) == [name] * 2
        del room, visitors
        await assert_no_leaks(pair.client, pair.accepted)


# -- flow


async def test_a_slow_reader_stops_the_generator(dialect: str) -> None:
    async with spring(dialect) as (served, pair):
        stream = aiter(await pair.root.call("endless", CHUNK))
        assert await anext(stream) == CHUNK
        await turns(300)
        assert 1 < served.made <= IN_WINDOW
        stopped_at = served.made
        for _ in range(IN_WINDOW // 2):
            await anext(stream)
        await until(lambda: served.made > stopped_at)
        await turns(300)
        assert served.made <= stopped_at + IN_WINDOW // 2 + 1
        await stream.aclose()


async def test_what_is_in_an_item_counts(dialect: str) -> None:
    """Chunks within containers fill the window as chunks do."""
    async with spring(dialect) as (served, pair):
        stream = aiter(await pair.root.call("endless", {"chunks": [CHUNK, (CHUNK,)]}))
        await anext(stream)
        await turns(300)
        assert 1 < served.made <= IN_WINDOW // 2 + 1
        await stream.aclose()


def test_the_cost_of_an_item() -> None:
    assert item_cost(7) == item_cost(b"") == ITEM_COST
    assert item_cost(bytes(1000)) == item_cost("x" * 1000) == ITEM_COST + 1000
    assert item_cost([b"12", {"k": "v"}]) == 2 + 1 + 1 + 5 * ITEM_COST
    endless: list[Any] = [bytes(10)]
    endless.append(endless)
    assert item_cost(endless) == 10 + 3 * ITEM_COST


async def test_an_item_larger_than_the_window_crosses(dialect: str) -> None:
    large = [bytes(600_000), bytes(600_000), bytes(600_000)]
    async with spring(dialect) as (served, pair):
        stream = aiter(await pair.root.call("endless", large))
        for _ in range(5):
            assert await anext(stream) == large
        await turns(300)
        assert served.made <= 7
        await stream.aclose()


async def test_many_streams_at_once(dialect: str) -> None:
    async with spring(dialect) as (served, pair):
        streams = [read(pair.root.call("items", *range(n))) for n in range(100)]
        assert await asyncio.gather(*streams) == [list(range(n)) for n in range(100)]
        assert served.closed == 100


async def test_small_calls_keep_flowing_beside_a_stream(dialect: str) -> None:
    """In both directions: a call waits for bytes that were sent before it, at most a window."""
    async with spring(dialect) as (_served, pair):
        stream = aiter(await pair.root.call("endless", CHUNK))
        read_between: list[int] = []
        reading = 0

        async def keep_reading(stream: Any) -> None:
            nonlocal reading
            async for _ in stream:
                reading += 1

        reader = asyncio.ensure_future(keep_reading(stream))
        for n in range(50):
            before = reading
            assert await pair.root.call("echo", n) == n
            read_between.append(reading - before)
        assert reading > 50
        assert max(read_between) <= 3 * IN_WINDOW
        reader.cancel()
        with pytest.raises(asyncio.CancelledError):
            await reader
        await stream.aclose()
        del stream, reader


async def test_a_stalled_stream_holds_up_no_call(dialect: str) -> None:
    async with spring(dialect) as (_served, pair):
        stalled = [aiter(await pair.root.call("endless", CHUNK)) for _ in range(4)]
        for stream in stalled:
            await anext(stream)
        await turns(300)
        assert await pair.root.call("echo", 1) == 1
        assert await read(pair.root.call("count", 100)) == list(range(100))
        for stream in stalled:
            await stream.aclose()
        del stalled, stream


# -- leaving


async def test_break_closes_the_generator(dialect: str) -> None:
    async with spring(dialect) as (served, pair):
        stream = await pair.root.call("endless", CHUNK)
        async for _ in stream:
            break
        await until(lambda: served.closed == 1)  # though the reference is still held
        del stream


async def test_aclose_waits_until_the_generator_is_closed(dialect: str) -> None:
    async with spring(dialect) as (served, pair):
        stream = aiter(await pair.root.call("endless", CHUNK))
        await anext(stream)
        await stream.aclose()
        assert served.closed == 1
        await stream.aclose()
        assert await read(stream) == []


async def test_a_stream_that_was_never_read_can_be_closed(dialect: str) -> None:
    async with spring(dialect) as (served, pair):
        stream = aiter(await pair.root.call("endless", CHUNK))
        await stream.aclose()
        assert await read(stream) == []
        assert (served.made, served.closed) == (0, 0)  # a generator that did not begin has no end


async def test_a_generator_that_has_begun_is_closed_though_nobody_read_it_here(dialect: str) -> None:
    async with spring(dialect) as (served, pair):
        begun = served.items(1, 2, 3)
        assert await anext(begun) == 1
        served.remote_begun = lambda: begun  # type: ignore[attr-defined]
        await aiter(await pair.root.call("begun")).aclose()
        await until(lambda: served.closed == 1)


async def test_the_error_of_a_generator_that_is_closed_arrives(dialect: str) -> None:
    async def clings() -> AsyncIterator[int]:
        try:
            yield 1
        finally:
            raise pb.Error("not yet")

    async with spring(dialect) as (served, pair):
        served.remote_clings = clings  # type: ignore[attr-defined]
        stream = aiter(await pair.root.call("clings"))
        await anext(stream)
        with pytest.raises(pb.RemoteError, match="not yet"):
            await stream.aclose()


async def test_a_dropped_reader_closes_the_generator(dialect: str) -> None:
    async with spring(dialect) as (served, pair):
        stream = aiter(await pair.root.call("endless", CHUNK))
        await anext(stream)
        cycle = [stream]
        cycle.append(cycle)
        del stream, cycle
        gc.collect()
        await until(lambda: served.closed == 1)


async def test_a_reference_to_a_stream_may_be_dropped_unread(dialect: str) -> None:
    async with spring(dialect) as (served, pair):
        await pair.root.call("endless", CHUNK)
        await turns()
        assert served.made == 0


async def test_a_cancelled_reader_closes_the_generator(dialect: str) -> None:
    async with spring(dialect) as (served, pair):

        async def wait_for_ever() -> AsyncIterator[int]:
            try:
                yield 1
                await asyncio.get_running_loop().create_future()
            finally:
                served.closed += 1

        served.remote_waiting = wait_for_ever  # type: ignore[attr-defined]
        stream = await pair.root.call("waiting")
        got: list[int] = []
        task = asyncio.ensure_future(read(stream, got))
        await until(lambda: got == [1])
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        del task
        await until(lambda: served.closed == 1)
        del stream


async def test_the_reader_of_an_argument_may_leave(dialect: str) -> None:
    async with spring(dialect) as (_, pair):
        mine = Spring()
        assert await pair.root.call("first", mine.endless(CHUNK)) == CHUNK
        await until(lambda: mine.closed == 1)


async def test_a_call_that_is_cancelled_closes_the_stream_in_its_arguments() -> None:
    async with spring("pb7") as (served, pair):
        mine = Spring()
        call = pair.root.call("read_and_wait", mine.endless(CHUNK))
        await until(lambda: served.waiting == 1)
        call.cancel()
        await until(lambda: mine.closed == 1)
        del call


# -- errors


async def test_an_error_of_the_generator_arrives_after_its_items(dialect: str) -> None:
    async with spring(dialect) as (served, pair):
        got: list[Any] = []
        with pytest.raises(pb.RemoteError, match="dried up") as raised:
            await read(pair.root.call("failing", *range(2000)), got)
        assert got == list(range(2000))
        assert raised.value.check(pb.Error)
        assert served.closed == 1
        del raised


async def test_an_error_does_not_overtake_items_that_wait_for_room(dialect: str) -> None:
    """Answers pass calls that wait for the window; the end of a stream must not."""
    async with spring(dialect) as (served, pair):
        mine = Spring()
        blocking = [pair.root.call("wait", bytes(600_000)) for _ in range(3)]
        await until(lambda: served.waiting > 0)
        failing = pair.root.call("taste", mine.items(1, 2, 3, error=pb.Error("dried up")))
        await turns()
        served.gate.set()
        await asyncio.gather(*blocking)
        assert await failing == [1, 2, 3, "dried up"]
        del blocking, failing


class Hasty(pb.Referenceable):
    """A stream that announces the number of its items before it sends them."""

    sink: Any = None

    def remote_open(self, sink: Any, credit: int) -> int:
        self.sink = sink
        return 2


async def test_an_answer_that_overtakes_its_items_leaves_no_callback_with_the_connection(
    dialect: str,
) -> None:
    async with spring(dialect) as (served, pair):
        hasty = Hasty()
        served.remote_hasty = lambda: hasty  # type: ignore[attr-defined]
        endings = pair.client._endings
        before = len(endings)
        got: list[Any] = []
        reading = asyncio.ensure_future(read(pair.root.call("hasty"), got))
        await until(lambda: len(endings) > before)
        hasty.sink.tell("items", 1, "a", "b")
        await reading
        assert got == ["a", "b"]
        del hasty.sink, reading
        gc.collect()
        assert len(endings) == before


async def test_an_error_of_the_reading_method_arrives_and_closes_the_generator(dialect: str) -> None:
    async with spring(dialect) as (_, pair):
        mine = Spring()
        with pytest.raises(pb.RemoteError, match="choked"):
            await pair.root.call("choke", mine.endless(CHUNK))
        await until(lambda: mine.closed == 1)


async def test_an_item_that_cannot_cross_ends_the_stream_behind_the_others(
    dialect: str, unlogged: None
) -> None:
    async with spring(dialect) as (served, pair):
        served.remote_bad = lambda: served.items(1, 2, object(), 3)  # type: ignore[attr-defined]
        got: list[Any] = []
        with pytest.raises(pb.RemoteError, match=r"SerializationError: .*object"):
            await read(pair.root.call("bad"), got)
        assert got == [1, 2]
        assert served.closed == 1


async def test_an_item_that_cannot_cross_stops_a_generator_that_waits(dialect: str, unlogged: None) -> None:
    async with spring(dialect) as (served, pair):

        async def waits() -> AsyncIterator[Any]:
            try:
                yield object()
                await asyncio.get_running_loop().create_future()
            finally:
                served.closed += 1

        served.remote_bad = waits  # type: ignore[attr-defined]
        with pytest.raises(pb.RemoteError, match=r"SerializationError: .*object"):
            await read(pair.root.call("bad"))
        assert served.closed == 1


class Unheard(pb.Copyable):
    """No class is registered for it anywhere."""


@dataclass(slots=True)
class Waveform(pb.Copyable):
    samples: bytes


class ReceivedWaveform(pb.RemoteCopy):
    __slots__ = ("samples",)
    samples: bytes


def test_what_slots_hold_costs_credit() -> None:
    """Or a source would fill the memory of a reader that does not read."""
    received = ReceivedWaveform()
    received.samples = CHUNK
    assert item_cost(Waveform(CHUNK)) == item_cost(received) > len(CHUNK)


async def test_what_came_before_an_item_that_cannot_be_read_is_read_before(dialect: str) -> None:
    """Also when it waits for its turn at the reader, behind an asynchronous method that has not begun."""

    class Mind(pb.Referenceable):
        async def remote_poke(self) -> None: ...

    class Source(pb.Root):
        async def remote_items(self, mind: pb.RemoteReference) -> AsyncIterator[Any]:
            yield "first"
            await asyncio.sleep(0)
            mind.tell("poke")
            for number in range(1024):  # a message
                yield number
            yield Unheard()

    got: list[Any] = []
    async with memory_pair(Source(), dialects=[dialect]) as pair:
        with pytest.raises(pb.InsecureJelly):
            await read(pair.root.call("items", Mind()), got)
    assert got == ["first", *range(1024)] or got == ["first", *range(1023)]


@both_loops
@pytest.mark.parametrize("before", [0, 5000])
async def test_an_item_that_cannot_be_read_ends_the_stream(dialect: str, before: int) -> None:
    async with spring(dialect) as (served, pair):
        served.remote_bad = lambda: served.items(*range(before), Unheard(), 3)  # type: ignore[attr-defined]
        got: list[Any] = []
        with pytest.raises(pb.InsecureJelly, match="Unheard"):
            await read(pair.root.call("bad"), got)
        assert got == list(range(len(got)))
        assert before - 1024 <= len(got) <= before  # the other values of its message are lost with it
        await until(lambda: served.closed == 1)


async def test_an_item_that_the_peer_cannot_read_ends_the_upload(dialect: str) -> None:
    class Taker(pb.Root):
        async def remote_take(self, items: AsyncIterable[Any]) -> str:
            try:
                return str([item async for item in items])
            except pb.InsecureJelly:
                return "refused"

        async def remote_take_all(self, items: AsyncIterable[Any]) -> None:
            async for _ in items:
                pass

    async def items() -> AsyncIterator[Any]:
        yield Unheard()
        await asyncio.get_running_loop().create_future()

    async with memory_pair(Taker(), dialects=[dialect]) as pair:
        assert await pair.root.call("take", items()) == "refused"
        with pytest.raises(pb.RemoteError, match="InsecureJelly"):  # for the method has run
            await pair.root.call("take_all", items())


async def test_what_is_no_stream_is_not_read(dialect: str) -> None:
    async with spring(dialect) as (_, pair):
        number = pair.root.call("echo", 3)
        for _ in range(2):
            with pytest.raises(TypeError, match="int is not a stream"):
                await read(number)
        with pytest.raises(pb.NoSuchMethod):
            await read(pair.root)


async def test_the_error_of_the_call_is_the_error_of_its_stream(dialect: str) -> None:
    async with spring(dialect) as (_, pair):
        stream = aiter(pair.root.call("raise", "pb.Error"))
        for _ in range(2):
            with pytest.raises(pb.RemoteError, match="expected"):
                await anext(stream)
        del stream


async def test_a_stream_is_read_once(dialect: str) -> None:
    async with spring(dialect) as (_served, pair):
        stream = await pair.root.call("count", 3)
        assert await read(stream) == [0, 1, 2]
        with pytest.raises(pb.RemoteError, match="read once"):
            await read(stream)
        del stream


async def test_a_generator_sent_twice_is_one_stream(dialect: str) -> None:
    async with spring(dialect) as (served, pair):
        served.streams = [served.items(1, 2)] * 2
        served.remote_twice = lambda: served.streams  # type: ignore[attr-defined]
        one, other = await pair.root.call("twice")
        assert one is other
        assert await read(one) == [1, 2]
        served.streams.clear()
        del one, other


async def test_one_task_reads_at_a_time(dialect: str) -> None:
    async with spring(dialect) as (served, pair):

        async def silent() -> AsyncIterator[int]:
            await served.gate.wait()
            yield 1

        served.remote_silent = silent  # type: ignore[attr-defined]
        stream = aiter(pair.root.call("silent"))
        first = asyncio.ensure_future(anext(stream))
        await turns()
        with pytest.raises(RuntimeError, match="one task"):
            await anext(stream)
        served.gate.set()
        assert await first == 1
        assert await read(stream) == []
        del first, stream


async def test_waiting_for_an_item_may_be_given_up(dialect: str) -> None:
    async with spring(dialect) as (served, pair):

        async def silent() -> AsyncIterator[int]:
            await served.gate.wait()
            yield 1

        served.remote_silent = silent  # type: ignore[attr-defined]
        stream = aiter(await pair.root.call("silent"))
        first = asyncio.ensure_future(anext(stream))
        await turns()
        first.cancel()
        await turns()
        served.gate.set()
        assert await read(stream) == [1]
        del first, stream


# -- the end of the connection


async def test_the_reader_hears_of_the_end_after_the_items(dialect: str) -> None:
    served = Spring()
    async with memory_pair(served, dialects=[dialect]) as pair:
        stream = aiter(await pair.root.call("endless", CHUNK))
        await anext(stream)
        await turns(300)
        await pair.accepted.close()
        got: list[Any] = []
        with pytest.raises(pb.ConnectionLost):
            await read(stream, got)
        assert len(got) == served.made - 1
        assert served.closed == 1
        await stream.aclose()


@pytest.mark.parametrize("end", ["client", "accepted"])
async def test_the_end_of_the_connection_closes_generators_on_either_side(end: str, dialect: str) -> None:
    served, mine = Spring(), Spring()
    async with memory_pair(served, dialects=[dialect]) as pair:
        stream = aiter(await pair.root.call("endless", CHUNK))
        await anext(stream)
        call = pair.root.call("read_and_wait", mine.endless(CHUNK))
        await until(lambda: served.waiting == 1)
        await getattr(pair, end).close()
        with pytest.raises(pb.ConnectionLost):
            await call
        await until(lambda: served.closed == mine.closed == 1)
        await until(lambda: served.waiting == 0)
        with pytest.raises(pb.ConnectionLost):
            await read(stream)
        with pytest.raises(pb.DeadReferenceError):
            await read(pair.root)


async def test_draining_lets_streams_end(dialect: str) -> None:
    """Either way: items are read and credit is given as long as the calls that they belong to."""
    served, mine = Spring(), Spring()
    async with memory_pair(served, dialects=[dialect]) as pair:
        stream = aiter(await pair.root.call("items", *[CHUNK] * 300))
        await anext(stream)
        summing = pair.root.call("sum", mine.items(*range(100_000)))
        await until(lambda: mine.made > 0)
        closing = asyncio.ensure_future(pair.server.close(drain=30))
        await turns()
        assert len(await read(stream)) == 299
        assert await summing == sum(range(100_000))
        del stream, summing
        await closing


# -- peers that do not play along


async def test_a_source_that_ignores_the_window_is_left(dialect: str) -> None:
    async with spring(dialect) as (served, pair):
        stream = aiter(await pair.root.call("endless", CHUNK))
        await anext(stream)
        host: Any = pair.accepted._driver.broker.host
        sources = host._sources
        (source,) = sources.values()
        source.stream_credit(1000 * WINDOW)  # as if the reader had given it
        del source
        await until(lambda: served.closed == 1)
        assert served.made < (PATIENCE + 4 * WINDOW) // len(CHUNK)
        with pytest.raises(pb.LimitExceeded, match="window"):
            await read(stream)
        assert await pair.root.call("echo", "still here") == "still here"


@pytest.mark.parametrize(
    ("method", "args"),
    [
        ("open", ()),
        ("open", (None, 1)),
        ("open", ("sink", 0)),
        ("open", ("sink", -1)),
        ("open", ("sink", True)),
        ("open", ("sink", 65 * WINDOW)),
        ("open", ("sink", "much")),
        ("credit", ("much",)),
        ("credit", (-1,)),
        ("leave", ()),
        ("forgotten", ()),
    ],
)
async def test_nonsense_is_refused(method: str, args: tuple[Any, ...], dialect: str) -> None:
    async with spring(dialect) as (_served, pair):
        stream = await pair.root.call("items", 1, 2)
        args = tuple(Desk() if arg == "sink" else arg for arg in args)
        with pytest.raises((pb.BadArguments, pb.RemoteError, pb.NoSuchMethod)):
            await stream.call(method, *args)
        assert await read(stream) == [1, 2]
        del stream


class Liar(Desk):
    """A stream that sends the given messages."""

    def __init__(self, total: Any, *items: Any) -> None:
        super().__init__()
        self.total = total
        self.items = items

    async def remote_open(self, sink: Any, credit: int) -> Any:
        with pytest.raises(pb.BadArguments):
            await sink.call("items", "free", 1)
        with pytest.raises(pb.BadArguments):
            await sink.call("items", -1, 1)
        sink.tell("items", *self.items)
        return self.total


async def test_a_stream_without_an_end_is_lost(dialect: str) -> None:
    async with memory_pair(Liar("many", 0, 1, 2), dialects=[dialect]) as pair:
        got: list[Any] = []
        with pytest.raises(pb.ConnectionLost, match="how many"):
            await read(pair.root, got)
        assert got == [1, 2]


async def test_items_may_come_behind_the_answer(dialect: str) -> None:
    """It passes messages that wait for the write buffer."""
    async with memory_pair(Liar(3, 0, 1, 2), dialects=[dialect]) as pair:
        stream = aiter(pair.root)
        assert [await anext(stream), await anext(stream)] == [1, 2]
        last = asyncio.ensure_future(anext(stream))
        await turns()
        assert not last.done()
        stream._put([3])
        stream._take((), 0)
        assert await last == 3
        assert await read(stream) == []


# -- memory


def test_a_large_stream_takes_no_memory_at_either_end() -> None:
    """64 MiB between two processes; ``python -m tests.aio.streaming`` does a GiB."""
    done = subprocess.run(
        [sys.executable, "-m", "tests.aio.streaming", "--mib", "64"],
        cwd=CHECKOUT,
        env=os.environ | {"PYTHONPATH": str(CHECKOUT / "src")},
        capture_output=True,
        text=True,
        timeout=50,
        check=True,
    )
    measured = json.loads(done.stdout)
    assert measured["MiB"] == 64
    for end in ("reader", "source"):
        assert measured[end]["peak after"] - measured[end]["peak before"] < 8


async def test_credit_has_a_bound_whatever_a_reader_says(dialect: str) -> None:
    class Sink(pb.Referenceable):
        _pb_carries_on = True

    spring_ = Spring()
    async with memory_pair(spring_, dialects=[dialect]) as pair:
        for credit in (2**40, MOST_CREDIT + 1, 0, True, "1"):
            stream = await pair.root.call("endless", CHUNK)
            with pytest.raises(pb.BadArguments):
                await stream.call("open", Sink(), credit)
        stream = await pair.root.call("endless", CHUNK)
        opened = stream.call("open", Sink(), 1)
        stream.tell("credit", 2**62)
        await turns(500)
        assert spring_.made <= MOST_CREDIT // item_cost(CHUNK) + 6
        await stream.call("close")
        await opened


async def test_an_end_that_does_not_matter_any_more_is_looked_at_all_the_same(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Otherwise the event loop would log an exception that was never retrieved."""

    class Sore(pb.Root):
        async def remote_items(self) -> AsyncIterator[Any]:
            try:
                yield Unheard()
                await asyncio.get_running_loop().create_future()
            finally:
                raise pb.Error("closed in pain")

    async with memory_pair(Sore()) as pair:
        with pytest.raises(pb.InsecureJelly):
            await read(pair.root.call("items"))
        await turns()
    gc.collect()
    assert "never retrieved" not in caplog.text
