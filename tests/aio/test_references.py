"""References: identity, the way home, giving back, the end of their connection, wrong threads and loops."""

from __future__ import annotations

import asyncio
import gc
import queue
import threading
from typing import Any

import pytest

import perspective_broker as pb
from perspective_broker.testing import Pair, assert_no_leaks, memory_pair
from tests.aio.desk import Desk, turns, until
from tests.loops import both_loops


async def exported(pair: Pair, number: int) -> None:
    """Wait until the client keeps ``number`` objects for the server."""
    await until(lambda: pair.client.statistics().exported == number)


# -- identity and home


async def test_an_object_sent_twice_is_one_reference(dialect: str) -> None:
    desk = Desk()
    async with memory_pair(desk, dialects=[dialect]) as pair:
        thing = pb.Referenceable()
        await pair.root.call("keep", thing, [thing])
        await pair.root.call("keep", thing)
        one, (two,), three = desk.kept
        assert one is two is three
        assert one == two
        assert hash(one) == hash(three)
        assert pair.client.statistics().exported == 1


async def test_different_objects_are_different_references(dialect: str) -> None:
    desk = Desk()
    async with memory_pair(desk, dialects=[dialect]) as pair:
        await pair.root.call("keep", pb.Referenceable(), pb.Referenceable())
        one, two = desk.kept
        assert one != two
        assert one != "something else"


async def test_a_reference_comes_home_as_the_object_itself(dialect: str) -> None:
    async with memory_pair(Desk(), dialects=[dialect]) as pair:
        thing = pb.Referenceable()
        assert await pair.root.call("echo", thing) is thing
        assert await pair.root.call("echo", [thing, {"again": thing}]) == [thing, {"again": thing}]
        await assert_no_leaks(pair.client, pair.accepted)


async def test_the_root_comes_home_too(dialect: str) -> None:
    desk = Desk()
    async with memory_pair(desk, dialects=[dialect]) as pair:
        await pair.root.call("keep", pair.root)
        assert desk.kept == [desk]


async def test_a_reference_to_a_third_program_cannot_cross() -> None:
    async with memory_pair(Desk()) as one, memory_pair(Desk()) as two:
        with pytest.raises(pb.SerializationError, match="third"):
            await one.root.call("echo", two.root)


# -- giving back


@both_loops
async def test_a_collected_reference_is_given_back(dialect: str) -> None:
    desk = Desk()
    async with memory_pair(desk, dialects=[dialect]) as pair:
        await pair.root.call("keep", pb.Referenceable())
        await exported(pair, 1)
        desk.kept.clear()
        gc.collect()
        await exported(pair, 0)
        await assert_no_leaks(pair.client, pair.accepted)


@both_loops
async def test_a_reference_collected_in_another_thread_is_given_back(dialect: str) -> None:
    desk = Desk()
    async with memory_pair(desk, dialects=[dialect]) as pair:
        await pair.root.call("keep", *[pb.Referenceable() for _ in range(100)])
        await exported(pair, 100)
        thread = threading.Thread(target=desk.kept.clear)
        thread.start()
        thread.join()
        await exported(pair, 0)
        await assert_no_leaks(pair.client, pair.accepted)


@both_loops
async def test_references_collected_in_another_thread_while_calls_run(dialect: str) -> None:
    """Cycles of references, which nothing but the collector frees; it runs in a thread all the while."""
    desk, stop = Desk(), threading.Event()

    def collect() -> None:
        while not stop.is_set():
            gc.collect()

    async with memory_pair(desk, dialects=[dialect]) as pair:
        thing = pb.Referenceable()
        thread = threading.Thread(target=collect)
        thread.start()
        try:
            for number in range(100):
                await pair.root.call("keep", thing, pb.Referenceable())
                for kept in desk.kept:
                    cycle: list[Any] = [kept]
                    cycle.append(cycle)
                    del cycle, kept
                desk.kept.clear()
                assert await pair.root.call("echo", number) == number
        finally:
            stop.set()
            thread.join()
        gc.collect()
        await exported(pair, 0)
        await assert_no_leaks(pair.client, pair.accepted)


@both_loops
async def test_what_is_dropped_in_threads_while_it_is_sent_again_is_counted_right(dialect: str) -> None:
    """References and replicas lose their last holder in two threads, at any moment of the loop."""
    dropped: queue.SimpleQueue[Any] = queue.SimpleQueue()

    def drop() -> None:
        while dropped.get() is not None:
            pass

    registry = pb.registry.Registry()
    registry.set_unjellyable_for_class("references.Board", pb.RemoteCache)
    desk = Desk()
    async with memory_pair(desk, dialects=[dialect], registry=registry) as pair:
        things, boards = [pb.Referenceable() for _ in range(3)], [_Board() for _ in range(3)]
        threads = [threading.Thread(target=drop) for _ in range(2)]
        for thread in threads:
            thread.start()
        try:
            for number in range(300):
                sent = [things[number % 3], boards[number % 3]]
                pair.root.tell("keep", *sent)
                assert await pair.root.call("echo", *sent) == tuple(sent)
                while desk.kept:
                    dropped.put(desk.kept.pop())
        finally:
            for _ in threads:
                dropped.put(None)
            for thread in threads:
                thread.join()
        await exported(pair, 0)
        await assert_no_leaks(pair.client, pair.accepted)
        assert all(board.asked == board.stopped for board in boards)


class _Board(pb.Cacheable):
    asked = stopped = 0

    def get_type_to_copy(self) -> str:
        return "references.Board"

    def get_state_to_cache_and_observe_for(self, perspective: Any, observer: Any) -> Any:
        self.asked += 1
        return {"number": self.asked}

    def stopped_observing(self, perspective: Any, observer: Any) -> None:
        self.stopped += 1


async def test_a_reference_collected_after_its_connection_or_its_loop_is_no_trouble() -> None:
    desk = Desk()

    async def main() -> pb.RemoteReference:
        async with memory_pair(desk) as pair:
            await pair.root.call("keep", pb.Referenceable())
            return pair.root

    root = await main()
    desk.kept.clear()
    gc.collect()
    other_loop = asyncio.new_event_loop()
    thread = threading.Thread(target=lambda: other_loop.run_until_complete(main()))
    thread.start()
    thread.join()
    other_loop.close()
    desk.kept.clear()
    gc.collect()
    del root


async def test_a_reference_sent_again_while_it_is_being_given_back_stays_good(dialect: str) -> None:
    desk = Desk()
    async with memory_pair(desk, dialects=[dialect]) as pair:
        thing = pb.Referenceable()
        for _ in range(50):
            pair.root.tell("keep", thing)
            pair.root.tell("drop")
        pair.root.tell("keep", thing)
        assert await pair.root.call("echo", thing) is thing
        (kept,) = desk.kept
        with pytest.raises(pb.NoSuchMethod):  # the object is there; it has no methods
            await kept.call("anything")
        del kept
        desk.kept.clear()
        await assert_no_leaks(pair.client, pair.accepted)


async def test_released_means_dead_at_once(dialect: str) -> None:
    desk = Desk()
    async with memory_pair(desk, dialects=[dialect]) as pair:
        thing = pb.Referenceable()
        await pair.root.call("keep", thing)
        (kept,) = desk.kept
        kept.release()
        kept.release()
        await exported(pair, 0)
        uses: list[Any] = [
            lambda: kept.call("x"),
            lambda: kept.tell("x"),
            lambda: kept.connection,
            lambda: kept.on_disconnect(print),
        ]
        for use in uses:
            with pytest.raises(pb.DeadReferenceError):
                use()
        assert "released" in repr(kept)
        kept.dont_notify_on_disconnect(print)
        await pair.root.call("keep", thing)
        assert desk.kept[1] is not kept
        assert await pair.root.call("echo", thing) is thing


# -- methods


async def test_a_remote_method_is_called_like_a_function(dialect: str) -> None:
    async with memory_pair(Desk(), dialects=[dialect]) as pair:
        echo = pair.root.method("echo")
        assert await echo("hello") == "hello"
        assert echo == pair.root.method("echo")
        assert hash(echo) == hash(pair.root.method("echo"))
        assert echo != pair.root.method("other")
        assert echo != "echo"
        assert "echo" in repr(echo)
        assert echo.reference is pair.root


async def test_no_name_of_a_method_is_taken_by_the_call_itself(dialect: str) -> None:
    class Odd(pb.Root):
        def remote_name(self, **keywords: str) -> dict[str, str]:
            return keywords

    async with memory_pair(Odd(), dialects=[dialect]) as pair:
        keywords = {"name": "n", "args": "a", "kwargs": "k"}
        assert await pair.root.call("name", **keywords) == keywords
        assert await pair.root.method("name")(**keywords) == keywords


# -- the end of the connection


async def test_disconnect_callbacks_run_once_in_order_and_one_that_raises_stops_no_other(
    caplog: pytest.LogCaptureFixture, dialect: str
) -> None:
    seen: list[Any] = []

    def broken(reference: pb.RemoteReference) -> None:
        seen.append("broken")
        raise RuntimeError("a defect of the callback")

    async with memory_pair(Desk(), dialects=[dialect]) as pair:
        other = await pair.root.call("new")
        pair.root.on_disconnect(seen.append)
        other.on_disconnect(broken)
        other.on_disconnect(seen.append)
        other.on_disconnect(print)
        other.dont_notify_on_disconnect(print)
        with pytest.raises(ValueError, match="not registered"):
            other.dont_notify_on_disconnect(print)
        await pair.client.close()
        assert seen == [pair.root, "broken", other]
        await pair.client.close()
        assert len(seen) == 3
        with pytest.raises(pb.DeadReferenceError):
            pair.root.on_disconnect(seen.append)
    assert [record.levelname for record in caplog.records] == ["ERROR"]


async def test_a_disconnect_callback_sees_a_connection_that_has_ended(dialect: str) -> None:
    seen: list[Any] = []

    def callback(reference: pb.RemoteReference) -> None:
        seen.append(reference.connection.close_cause)
        with pytest.raises(pb.DeadReferenceError):
            reference.call("anything")

    async with memory_pair(Desk(), dialects=[dialect]) as pair:
        pair.root.on_disconnect(callback)
        await pair.server.close()
        await pair.client.wait_closed()
        (cause,) = seen
        assert cause.code in ("lost", "closed")  # by whether the dialect has a farewell


async def test_after_the_end_every_use_raises_at_once_and_says_why(dialect: str) -> None:
    async with memory_pair(Desk(), dialects=[dialect]) as pair:
        await pair.client.close()
        for use in (pair.root.call, pair.root.tell):
            with pytest.raises(pb.DeadReferenceError, match="closed"):
                use("anything")
        pair.root.release()
        statistics = pair.client.statistics()
        assert (statistics.phase, statistics.imported, statistics.exported) == ("closed", 0, 0)


# -- where it may be used


async def test_another_thread_and_another_loop_are_told_so(dialect: str) -> None:
    desk = Desk()
    async with memory_pair(desk, dialects=[dialect]) as pair:
        raised: list[BaseException] = []

        def without_a_loop() -> None:
            for use in (pair.root.call, pair.root.tell):
                try:
                    use("plain", "never")
                except pb.UsageError as error:
                    raised.append(error)

        async def with_another_loop() -> None:
            without_a_loop()

        for target in (without_a_loop, lambda: asyncio.run(with_another_loop())):
            thread = threading.Thread(target=target)
            thread.start()
            thread.join()
        assert len(raised) == 4
        assert "run_coroutine_threadsafe" in str(raised[0])
        await turns()
        assert desk.log == []


async def test_from_another_thread_through_the_loop(dialect: str) -> None:
    async with memory_pair(Desk(), dialects=[dialect]) as pair:
        loop = asyncio.get_running_loop()

        async def ask() -> Any:
            return await pair.root.call("echo", "over there")

        def elsewhere() -> Any:
            return asyncio.run_coroutine_threadsafe(ask(), loop).result()

        assert await asyncio.to_thread(elsewhere) == "over there"


# -- limits


async def test_a_peer_cannot_make_us_hold_more_references_than_allowed(dialect: str) -> None:
    desk = Desk()
    async with memory_pair(
        desk, limits=pb.Limits(references_received=10), client_limits=pb.Limits(), dialects=[dialect]
    ) as pair:
        await pair.root.call("keep", *[pb.Referenceable() for _ in range(10)])
        with pytest.raises(pb.ConnectionLost):
            await pair.root.call("keep", pb.Referenceable())
        cause = pair.accepted.close_cause
        assert cause is not None
        assert cause.code == "limit-references"
