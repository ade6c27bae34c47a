"""Methods: the order in which they start, and that no method holds up another for ever."""

from __future__ import annotations

import asyncio

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

import perspective_broker as pb
from perspective_broker.dialects.offer import DIALECTS
from perspective_broker.testing import memory_pair
from tests.aio.desk import Desk, turns, until
from tests.loops import every_loop

CALLS = st.lists(
    st.tuples(
        st.sampled_from(("plain", "async", "async_slow", "awaitable", "wrapped")),  # what the method is
        st.booleans(),  # whether it is called on the other object
        st.booleans(),  # whether an answer is asked for
    ),
    max_size=30,
)


@every_loop
@settings(max_examples=50)
@pytest.mark.parametrize("dialect", DIALECTS)
@given(calls=CALLS)
@example(calls=[("async", False, True), ("async", False, True), ("plain", False, True)])
@example(calls=[("wrapped", False, True), ("wrapped", False, True), ("async", False, True)])
async def test_calls_start_in_the_order_in_which_they_were_made(
    dialect: str, calls: list[tuple[str, bool, bool]]
) -> None:
    desk = Desk()
    async with memory_pair(desk, dialects=[dialect]) as pair:
        other = await pair.root.call("new")
        promises = []
        for number, (kind, on_other, wants_answer) in enumerate(calls):
            reference = other if on_other else pair.root
            if wants_answer:
                promises.append(reference.call(kind, number))
            else:
                reference.tell(kind, number)
        await asyncio.gather(*promises, pair.root.call("plain", "last"))
        assert desk.log == [*range(len(calls)), "last"]


async def test_calls_on_a_promise_keep_their_order(dialect: str) -> None:
    desk = Desk()
    async with memory_pair(desk, dialects=[dialect]) as pair:
        other = pair.root.call("new")
        calls = [
            other.call(kind, n) for n, kind in enumerate(["async", "async", "plain", "wrapped", "plain"])
        ]
        await asyncio.gather(*calls)
        assert desk.log == [0, 1, 2, 3, 4]


async def test_a_thousand_plain_calls_that_waited_for_one_slot_run_in_order(dialect: str) -> None:
    desk = Desk()
    limits = pb.Limits(calls_in_flight=2)
    async with memory_pair(desk, limits=limits, client_limits=pb.Limits(), dialects=[dialect]) as pair:
        waits = [pair.root.call("wait") for _ in range(2)]
        await until(lambda: desk.waiting == 2)
        marks = [pair.root.call("plain", n) for n in range(1000)]
        await turns()
        assert desk.log == []
        desk.gate.set()
        await asyncio.gather(*waits, *marks)
        assert desk.log == list(range(1000))


async def test_a_long_queue_of_plain_calls_does_not_exhaust_the_stack(dialect: str) -> None:
    desk = Desk()
    async with memory_pair(desk, client_limits=pb.Limits(calls_in_flight=4096), dialects=[dialect]) as pair:
        waits = [pair.root.call("wait") for _ in range(1024)]
        await until(lambda: desk.waiting == 1024)
        marks = [pair.root.call("plain", n) for n in range(1000)]
        await until(lambda: pair.accepted.statistics().calls_waiting == 1000)
        desk.gate.set()
        await asyncio.gather(*waits, *marks)
        assert desk.log == list(range(1000))


@every_loop
async def test_a_method_that_is_cancelled_before_it_began_holds_nothing_up(dialect: str) -> None:
    """Code that cancels every task (a program that shuts down, or a peer) may cancel one that has not started."""
    desk = Desk()
    async with memory_pair(desk, dialects=[dialect]) as pair:
        ours = asyncio.all_tasks()
        cancelled, after = pair.root.call("async", "never"), pair.root.call("plain", "after")
        await until(lambda: asyncio.all_tasks() - ours)
        for task in asyncio.all_tasks() - ours:
            task.cancel()
        with pytest.raises((pb.RemoteError, asyncio.CancelledError)):
            await cancelled
        await after
        assert desk.log == ["after"]


@every_loop
async def test_a_call_that_is_cancelled_while_it_waits_behind_others_never_begins() -> None:
    desk = Desk()
    async with memory_pair(desk, dialects=["pb7"]) as pair:
        first, second = pair.root.call("async", 1), pair.root.call("plain", 2)
        third = pair.root.call("async", 3)
        third.cancel()
        await asyncio.gather(first, second)
        await pair.root.call("plain", 4)
        assert desk.log == [1, 2, 4]
        assert pair.accepted.statistics().calls_in == 0
