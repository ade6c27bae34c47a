"""The law of order as programs see it: calls made before the program learns an answer, and the ends of local calls."""

from __future__ import annotations

import asyncio
import gc
import weakref
from typing import Any

import pytest

import perspective_broker as pb
from perspective_broker.testing import memory_pair

from .desk import Desk, turns, until


class Slow(Desk):
    async def remote_slow_me(self) -> Slow:
        await self.remote_wait()
        return self


async def test_home_calls_are_made_before_the_program_learns_the_answer(dialect: str) -> None:
    async with memory_pair(Desk(), dialects=[dialect]) as pair:
        mine = Desk()
        home = pair.root.call("echo", mine)
        called = home.call("plain", 1)
        home.tell("plain", 2)
        assert await home is mine
        mine.remote_plain(3)
        assert mine.log == [1, 2, 3]
        await called


async def test_calls_that_waited_alone_leave_before_the_program_learns_the_answer(dialect: str) -> None:
    desk = Slow()
    async with memory_pair(desk, dialects=[dialect]) as pair:
        slow = pair.root.call("slow_me")
        await until(lambda: desk.waiting)
        made = [slow.call("plain", 1), slow.call("plain", 2)]
        desk.gate.set()
        reference = await slow
        await reference.call("plain", 3)
        assert desk.log == [1, 2, 3]
        await asyncio.gather(*made)


async def test_an_asynchronous_home_call_holds_up_what_depends_on_it_alone(dialect: str) -> None:
    async with memory_pair(Desk(), dialects=[dialect]) as pair:
        mine = Desk()
        home = pair.root.call("echo", mine)
        waits = home.call("wait", mine)
        below, after = waits.call("plain", "below"), home.call("plain", "after")
        await after
        await turns()
        assert mine.log == ["after"]
        mine.gate.set()
        await below
        assert mine.log == ["after", "below"]
        assert await waits is mine


async def test_a_home_call_that_is_cancelled_is_stopped_with_what_depends_on_it(dialect: str) -> None:
    async with memory_pair(Desk(), dialects=[dialect]) as pair:
        mine = Desk()
        waits = pair.root.call("echo", mine).call("wait", mine)
        below = waits.call("plain", "below")
        await until(lambda: mine.waiting)
        waits.cancel()
        await until(lambda: mine.cancelled)
        assert below.cancelled()
        assert mine.log == []


class Lonely(pb.Referenceable):
    """Held only by its running method."""

    def __init__(self, log: list[Any]) -> None:
        self.log = log

    async def remote_work(self) -> None:
        self.gate = asyncio.get_running_loop().create_future()
        self.log.append(weakref.ref(self))
        await self.gate
        self.log.append("done")


async def test_a_home_call_without_an_answer_is_not_collected_while_it_runs(dialect: str) -> None:
    log: list[Any] = []
    async with memory_pair(Desk(), dialects=[dialect]) as pair:
        pair.root.call("echo", Lonely(log)).tell("work")
        await until(lambda: log)
        await turns()
        gc.collect()
        lonely = log[0]()
        assert lonely is not None
        lonely.gate.set_result(None)
        del lonely
        await until(lambda: log[1:] == ["done"])


async def test_a_home_call_gets_answers_for_promises(dialect: str) -> None:
    desk = Desk()
    async with memory_pair(desk, dialects=[dialect]) as pair:
        mine = Desk()
        home, slow = pair.root.call("echo", mine), pair.root.call("wait", 7)
        outcome = home.call("plain", slow)
        await home
        assert mine.log == []
        desk.gate.set()
        await outcome
        assert mine.log == [7]


async def error_of(promise: Any) -> BaseException:
    error = (await asyncio.gather(promise, return_exceptions=True))[0]
    assert isinstance(error, BaseException)
    return error


async def test_an_error_of_a_call_for_another_says_that_it_has_not_run(dialect: str) -> None:
    desk = Desk()
    async with memory_pair(desk, dialects=[dialect]) as pair:
        broken = pair.root.call("raise")
        chained, mentions = broken.call("plain", 1), pair.root.call("plain", 2, broken)
        home = pair.root.call("echo", desk)
        here = pair.root.call("echo", mine := Desk()).call("plain", broken)
        assert (await error_of(broken)).ran is True  # type: ignore[attr-defined]
        for promise in (chained, mentions, here, broken.call("plain", 3), pair.root.call("plain", broken)):
            error = await error_of(promise)
            assert isinstance(error, pb.RemoteError)
            assert error.ran is False
        await home
        assert desk.log == mine.log == []


@pytest.mark.parametrize("when", ["pipelined", "left", "known"])
async def test_a_call_of_what_is_no_object_says_that_it_has_not_run(when: str, dialect: str) -> None:
    desk = Desk()
    async with memory_pair(desk, dialects=[dialect]) as pair:
        promise = pair.root.call("wait", 7)
        if when != "pipelined":
            await until(lambda: desk.waiting)
        if when == "known":
            desk.gate.set()
            await promise
        called = promise.call("plain", 1)
        desk.gate.set()
        error = await error_of(called)
        assert isinstance(error, TypeError)
        assert error.ran is False  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("name", "args", "ran"), [("raise", (), True), ("raise", ("pb.Error",), True), ("nothing", (), False)]
)
async def test_an_error_of_a_home_call_says_whether_the_method_has_run(
    name: str, args: Any, ran: bool, dialect: str
) -> None:
    async with memory_pair(Desk(), dialects=[dialect]) as pair:
        error = await error_of(pair.root.call("echo", Desk()).call(name, *args))
        assert error.ran is ran  # type: ignore[attr-defined]
