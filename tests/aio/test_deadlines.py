"""Deadlines as a program sees them: blocks, remaining time, methods that inherit it. Times are short, or never come."""

from __future__ import annotations

import asyncio
import logging
from typing import Any

import pytest

import perspective_broker as pb
from perspective_broker.testing import assert_no_leaks, memory_pair
from tests.aio.desk import Desk, turns, until
from tests.loops import VirtualLoop, both_loops

#: Time passes here when nothing else is left to do, so no deadline comes before a method has begun. (Where a test names
#: its loops it is real time, and SHORT is long enough for a call to begin on a busy machine.)
LOOP = "virtual"

#: Seconds that never pass in a test, and that do.
LONG, SHORT = 1000.0, 0.5


class Hall(Desk):
    """Returns the time that is left, and calls a friend."""

    def __init__(self) -> None:
        super().__init__()
        self.friend: Any = None
        self.left: list[float | None] = []

    def remote_left(self) -> float | None:
        return pb.remaining()

    async def remote_left_async(self) -> float | None:
        await asyncio.sleep(0)
        return pb.remaining()

    def remote_befriend(self, friend: Any) -> None:
        self.friend = friend

    async def remote_ask(self, method: str) -> Any:
        self.left.append(pb.remaining())
        return await self.friend.call(method)

    async def remote_clean_up(self) -> None:
        try:
            await self.remote_wait()
        finally:
            await asyncio.sleep(0)
            self.log.append("clean")

    def remote_linger(self) -> None:
        """Start a task that outlives the call."""
        self.task = asyncio.ensure_future(self._linger())

    async def _linger(self) -> None:
        self.left.append(pb.remaining())
        await self.gate.wait()
        self.left.append(pb.remaining())


@both_loops
async def test_a_block_that_takes_too_long_raises_and_the_method_is_stopped(dialect: str) -> None:
    hall = Hall()
    async with memory_pair(hall, dialects=[dialect]) as pair:
        with pytest.raises(TimeoutError):
            async with pb.deadline(SHORT) as block:
                await pair.root.call("clean_up")
        assert block.expired()
        if dialect == "pb7":
            await until(lambda: hall.log == ["clean"])
            assert hall.cancelled == 1
        hall.gate.set()
        assert await pair.root.call("echo", "next") == "next"
        await assert_no_leaks(pair.client, pair.accepted)


async def test_a_method_is_stopped_by_its_peer_alone_when_nobody_cancels_it(
    caplog: pytest.LogCaptureFixture,
) -> None:
    hall = Hall()
    async with memory_pair(hall, dialects=["pb7"]) as pair:
        async with pb.deadline(SHORT):
            promise = pair.root.call("clean_up")  # awaited outside of the block: here nothing ends it
        with pytest.raises(pb.DeadlineExceeded):
            await promise
        assert hall.log == ["clean"]
    assert [record for record in caplog.records if record.levelno > logging.DEBUG] == []


async def test_what_is_left_is_told_in_time_not_as_a_time(dialect: str) -> None:
    async with memory_pair(Hall(), dialects=[dialect]) as pair:
        assert await pair.root.call("left") is None
        async with pb.deadline(LONG):
            for method in ("left", "left_async"):
                left = await pair.root.call(method)
                if dialect == "pb7":
                    assert LONG - 60 < left <= LONG + 0.001
                else:
                    assert left is None
        assert await pair.root.call("left") is None
        assert pb.remaining() is None


async def test_a_method_hands_on_what_is_left() -> None:
    ours, theirs = Hall(), Hall()
    async with memory_pair(theirs, dialects=["pb7"]) as pair:
        await pair.root.call("befriend", ours)
        async with pb.deadline(LONG):
            left = await pair.root.call("ask", "left")
        assert theirs.left[0] is not None
        assert LONG - 60 < left <= theirs.left[0] + 0.001
        assert await pair.root.call("ask", "left") is None


async def test_a_deadline_stops_a_chain_of_calls_from_end_to_end() -> None:
    ours, theirs = Hall(), Hall()
    async with memory_pair(theirs, dialects=["pb7"]) as pair:
        await pair.root.call("befriend", ours)
        with pytest.raises(TimeoutError):
            async with pb.deadline(SHORT):
                await pair.root.call("ask", "wait")
        await until(lambda: ours.cancelled == 1)
        theirs.friend = None
        await assert_no_leaks(pair.client, pair.accepted)


async def test_who_is_called_last_may_hear_first_that_the_time_has_passed() -> None:
    class Late(pb.Root):
        async def remote_ask(self) -> None:
            raise pb.DeadlineExceeded("as a call of its own ended")

    async with memory_pair(Late()) as pair:
        async with pb.deadline(LONG):
            with pytest.raises(pb.DeadlineExceeded):
                await pair.root.call("ask")
        with pytest.raises(pb.RemoteError, match="DeadlineExceeded"):  # this one had no limit
            await pair.root.call("ask")


async def test_calls_that_nobody_limited_are_free_of_the_deadline_of_others() -> None:
    """A method starts in any turn that frees a slot; a deadline in that context does not apply to it."""
    hall = Hall()
    async with memory_pair(hall, limits=pb.Limits(calls_in_flight=1), dialects=["pb7"]) as pair:
        async with pb.deadline(LONG):
            limited = pair.root.call("wait")
        free = [pair.root.call("left"), pair.root.call("left_async"), pair.root.call("left")]
        await until(lambda: hall.waiting == 1)
        hall.gate.set()
        await limited
        assert await asyncio.gather(*free) == [None, None, None]


async def test_what_outlives_a_call_is_free() -> None:
    hall = Hall()
    async with memory_pair(hall, dialects=["pb7"]) as pair:
        async with pb.deadline(LONG):
            await pair.root.call("linger")
        await turns()
        hall.gate.set()
        await hall.task
        assert hall.left == [None, None]


async def test_what_outlives_a_block_is_free_or_under_the_one_around() -> None:
    gate = asyncio.Event()

    async def wait() -> float | None:
        await gate.wait()
        return pb.remaining()

    async with pb.deadline(LONG):
        async with pb.deadline(LONG / 2):
            task = asyncio.ensure_future(wait())
        gate.set()
        left = await task
        assert left is not None
        assert left > LONG / 2
        gate.clear()
        task = asyncio.ensure_future(wait())
        await turns()
    gate.set()
    assert await task is None


async def test_an_inner_block_is_never_later_than_the_outer() -> None:
    async with pb.deadline(LONG) as outer:
        async with pb.deadline(2 * LONG) as inner:
            assert inner.when() == outer.when()
        async with pb.deadline(None) as inner:
            assert inner.when() == outer.when()
        async with pb.deadline(1) as inner:
            assert (inner.when() or 0) < (outer.when() or 0)
            assert (pb.remaining() or 99) <= 1
        assert (pb.remaining() or 0) > 1
    async with pb.deadline(None) as block:
        assert block.when() is None
        assert pb.remaining() is None


@both_loops
async def test_the_outer_block_ends_what_is_in_the_inner() -> None:
    outer, inner = pb.deadline(SHORT), pb.deadline(LONG)
    with pytest.raises(TimeoutError):
        async with outer, inner:
            await asyncio.Event().wait()
    assert outer.expired()
    assert pb.remaining() is None


async def test_a_block_passes_on_what_is_raised_in_it_and_is_entered_once() -> None:
    block = pb.deadline(LONG)
    assert not block.expired()
    with pytest.raises(KeyError):
        async with block:
            raise KeyError
    assert not block.expired()
    with pytest.raises(RuntimeError, match="once"):
        async with block:
            pass
    task = asyncio.ensure_future(_cancelled_inside())
    await turns(2)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def _cancelled_inside() -> None:
    async with pb.deadline(LONG):
        await asyncio.Event().wait()


async def test_a_call_without_time_left_fails_and_nothing_is_sent(dialect: str) -> None:
    async with memory_pair(Hall(), dialects=[dialect]) as pair:
        sent = pair.client.statistics().bytes_sent
        left = []

        async def too_late() -> None:
            async with pb.deadline(0):
                left.append(pb.remaining())
                await pair.root.call("echo", pb.Referenceable())

        with pytest.raises(TimeoutError):
            await too_late()
        assert left == [0]
        await turns()
        assert pair.client.statistics().bytes_sent == sent
        await assert_no_leaks(pair.client, pair.accepted)


async def test_a_plain_method_is_not_interrupted() -> None:
    class Busy(pb.Root):
        def remote_work(self) -> str:
            loop = asyncio.get_running_loop()
            assert isinstance(loop, VirtualLoop)
            loop.now += 3 * SHORT
            return f"done with {pb.remaining():g} s left"

    async with memory_pair(Busy(), dialects=["pb7"]) as pair:
        async with pb.deadline(SHORT):
            promise = pair.root.call("work")
        assert await promise == "done with 0 s left"


async def test_calls_on_a_promise_are_under_the_deadline_of_whoever_makes_them(dialect: str) -> None:
    hall = Hall()
    async with memory_pair(hall, dialects=[dialect]) as pair:
        async with pb.deadline(LONG):
            left = await pair.root.call("me").call("left")
        assert (left is not None) == (dialect == "pb7")
        first = pair.root.call("me")
        await turns()  # it has been sent without being kept: the next call is made when its answer has come
        async with pb.deadline(LONG):
            chained = first.call("left")
        # The block was left before the call could be made, but that is where it was asked for.
        assert (await chained is not None) == (dialect == "pb7")
        assert await pair.root.call("me").call("left") is None


async def test_a_call_held_back_takes_what_is_left_then_with_it() -> None:
    hall = Hall()
    async with memory_pair(hall, dialects=["pb7"]) as pair:
        first = pair.root.call("wait", hall)
        await until(lambda: hall.waiting == 1)
        async with pb.deadline(LONG):
            chained = first.call("left")
            second = pair.root.call("echo", first)
            hall.gate.set()
            # The promise is our own object by now, which is called here; the other call was deferred behind it.
            assert await chained is not None
            await second


async def test_a_stream_opened_in_a_block_ends_with_it() -> None:
    closed = asyncio.Event()

    class Tap(pb.Root):
        async def remote_drip(self) -> Any:
            try:
                yield 1
                await asyncio.Event().wait()
            finally:
                closed.set()

    async with memory_pair(Tap(), dialects=["pb7"]) as pair:
        got = []

        async def drink() -> None:
            async with pb.deadline(SHORT):
                async for item in pair.root.call("drip"):
                    got.append(item)

        with pytest.raises(TimeoutError):
            await drink()
        await closed.wait()
        assert got == [1]
