"""Methods: the order in which they start, and that no method holds up another for ever."""

from __future__ import annotations

import asyncio
from typing import Any

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


def tasks_begin_late() -> None:
    """Have a task factory, with which methods begin in a later turn on every version of Python."""
    asyncio.get_running_loop().set_task_factory(
        lambda loop, coro, **more: asyncio.Task(coro, loop=loop, **more)
    )


@every_loop
@settings(max_examples=25)
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
    tasks_begin_late()
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
    tasks_begin_late()
    desk = Desk()
    async with memory_pair(desk, dialects=["pb7"]) as pair:
        first, second = pair.root.call("async", 1), pair.root.call("plain", 2)
        third = pair.root.call("async", 3)
        third.cancel()
        await asyncio.gather(first, second)
        await pair.root.call("plain", 4)
        assert desk.log == [1, 2, 4]
        assert pair.accepted.statistics().calls_in == 0


class Host(pb.Root):
    """Has methods that need a task in their first step."""

    def __init__(self) -> None:
        self.log: list[object] = []

    async def remote_timeout(self) -> str:
        async with asyncio.timeout(60), asyncio.TaskGroup() as group:
            group.create_task(asyncio.sleep(0))
        task = asyncio.current_task()
        await asyncio.sleep(0)
        return "same task" if asyncio.current_task() is task else "another task"

    async def remote_cancel_itself(self) -> None:
        task = asyncio.current_task()
        assert task is not None
        task.cancel()
        await asyncio.sleep(0)
        self.log.append("went on")

    async def remote_leave(self, connection: pb.RemoteReference) -> None:
        connection.connection.end()
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            self.log.append("cancelled")
            raise


@every_loop
async def test_the_first_step_of_a_method_is_within_its_task(dialect: str) -> None:
    async with memory_pair(Host(), dialects=[dialect]) as pair:
        assert await pair.root.call("timeout") == "same task"


@every_loop
async def test_a_method_that_cancels_itself_in_its_first_step_is_cancelled(dialect: str) -> None:
    host = Host()
    async with memory_pair(host, dialects=[dialect]) as pair:
        with pytest.raises((pb.RemoteError, asyncio.CancelledError)):
            await pair.root.call("cancel_itself")
        assert host.log == []


@every_loop
async def test_a_method_that_ends_its_connection_in_its_first_step_is_cancelled(dialect: str) -> None:
    host = Host()
    async with memory_pair(host, dialects=[dialect]) as pair:
        with pytest.raises(pb.ConnectionLost):
            await pair.root.call("leave", pb.Root())
        await until(lambda: bool(host.log))
        assert host.log == ["cancelled"]


@every_loop
async def test_methods_begin_late_where_the_program_has_a_task_factory(dialect: str) -> None:
    made: list[asyncio.Task[Any]] = []

    def make(loop: asyncio.AbstractEventLoop, coro: Any, **more: Any) -> asyncio.Task[Any]:
        made.append(asyncio.Task(coro, loop=loop, **more))
        return made[-1]

    desk = Desk()
    async with memory_pair(desk, dialects=[dialect]) as pair:
        asyncio.get_running_loop().set_task_factory(make)
        await asyncio.gather(
            pair.root.call("async", 1), pair.root.call("plain", 2), pair.root.call("async", 3)
        )
        assert desk.log == [1, 2, 3]
        assert len(made) == 2
