"""Turns: a budget for all connections of a loop, light ones before busy ones."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import AsyncExitStack
from functools import partial

import pytest

import perspective_broker as pb
from perspective_broker.aio.turns import BUDGET_SECONDS, SLICE_SECONDS, Turns, turns_of
from perspective_broker.testing import ScriptedPeer
from tests.aio.desk import turns as loop_turns
from tests.aio.desk import until


class Clock:
    """A clock that stands still until work moves it."""

    now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


def slice_of(turns: Turns, clock: Clock, seconds: float, note: Callable[[], object]) -> Callable[[], None]:
    """Return a connection's slice that takes so long."""

    def run() -> None:
        note()
        clock.now += seconds
        turns.spend(seconds)

    return run


async def test_the_budget_is_new_when_the_loop_has_turned() -> None:
    turns = Turns()
    for _ in range(10):
        assert not turns.over
        turns.spend(BUDGET_SECONDS * 1.01)
        assert turns.over
        await asyncio.sleep(0)


async def test_what_costs_little_uses_up_the_budget_only_together() -> None:
    turns = Turns()
    for _ in range(9):
        turns.spend(BUDGET_SECONDS / 10)
        await asyncio.sleep(0)
        assert not turns.over
    turns.spend(BUDGET_SECONDS / 5)
    assert turns.over


async def test_light_connections_come_before_busy_ones(clock: Clock) -> None:
    turns = Turns(clock)
    order: list[str] = []
    turns.spend(1)
    for name in ("busy 1", "light 1", "busy 2", "light 2"):
        one = slice_of(turns, clock, 0.0001, partial(order.append, name))
        turns.defer(one, is_busy=name.startswith("busy"))
    await asyncio.sleep(0)
    assert order == ["light 1", "light 2", "busy 1", "busy 2"]


async def test_neither_kind_holds_up_the_other_for_ever(clock: Clock) -> None:
    turns = Turns(clock)
    order: list[str] = []
    turns.spend(1)
    for name in ("light", "busy"):
        for _ in range(3):
            one = slice_of(turns, clock, BUDGET_SECONDS * 2, partial(order.append, name))
            turns.defer(one, is_busy=name == "busy")
    for _ in range(3):
        await asyncio.sleep(0)
    assert order == ["light", "busy"] * 3


async def test_a_slice_that_raises_holds_up_no_other(clock: Clock) -> None:
    turns = Turns(clock)
    ran: list[int] = []
    complaints: list[object] = []
    loop = asyncio.get_running_loop()
    loop.set_exception_handler(lambda _, context: complaints.append(context.get("exception")))

    def broken() -> None:
        raise LookupError

    turns.spend(1)
    turns.defer(broken, is_busy=False)
    turns.defer(slice_of(turns, clock, 0, lambda: ran.append(1)), is_busy=False)
    for _ in range(2):
        await asyncio.sleep(0)
    assert ran == [1]
    assert [type(error) for error in complaints] == [LookupError]


async def test_connections_of_a_loop_share_one_budget() -> None:
    assert turns_of(asyncio.get_running_loop()) is turns_of(asyncio.get_running_loop())


# -- with connections


class Work(pb.Root):
    """Its methods move the clock."""

    def __init__(self, clock: Clock) -> None:
        self.clock = clock
        self.done: list[bytes] = []

    def remote_work(self, name: bytes) -> None:
        self.clock.now += 0.001
        self.done.append(name)

    def remote_look(self) -> int:
        """Return how often the others have worked; this costs nothing."""
        return len(self.done)


async def test_many_busy_peers_hold_up_a_bystander_no_longer_than_one(clock: Clock) -> None:
    """A hundred peers each send a hundred calls that take a millisecond."""
    turns_of(asyncio.get_running_loop()).clock = clock
    work, peers = Work(clock), 100
    async with (
        pb.serve(work, "memory:turns") as server,
        pb.connect(server.urls[0]) as bystander,
        AsyncExitStack() as stack,
    ):
        busy = [
            await stack.enter_async_context(ScriptedPeer.connect(server.urls[0], dialect="pb"))
            for _ in range(peers)
        ]
        message = busy[0].encode(["message", 0, "root", "work", 0, ["tuple", b"busy"], ["dictionary"]])
        for peer in busy:
            peer.send_bytes(message * 100)
        await loop_turns(3)
        waited = []
        for _ in range(20):
            before = len(work.done)
            waited.append(await bystander.call("look") - before)
        # Some turns of the loop, in each of which both kinds have the budget, and the slice that exceeds it.
        per_turn = 2 * (BUDGET_SECONDS + SLICE_SECONDS) / 0.001 + 4
        assert max(waited) < 5 * per_turn < peers
        await until(lambda: len(work.done) == peers * 100)


async def test_what_is_deferred_is_acted_on_in_the_next_turn(clock: Clock) -> None:
    loop = asyncio.get_running_loop()
    turns = turns_of(loop)
    turns.clock = clock
    work = Work(clock)
    async with (
        pb.serve(work, "memory:put-off") as server,
        ScriptedPeer.connect(server.urls[0], dialect="pb") as peer,
    ):
        loop.call_soon(turns.spend, 1)  # as if others had used up the turn in which the bytes come
        peer.send_bytes(peer.encode(["message", 0, "root", "work", 0, ["tuple", b"x"], ["dictionary"]]))
        await loop_turns(1)
        assert work.done == []
        await loop_turns(1)
        assert work.done == [b"x"]
