"""A connection of the maximum age takes no new calls, lets running calls end, and is closed."""

from __future__ import annotations

import asyncio

import pytest

import perspective_broker as pb
from perspective_broker.testing import memory_pair
from tests.aio.desk import Desk, turns, until
from tests.cred.logins import skip, skipping

LIMITS = pb.Limits(connection_seconds=86_400)


@skipping
async def test_an_idle_connection_ends_at_its_age() -> None:
    async with memory_pair(Desk(), limits=LIMITS, client_limits=pb.Limits(), dialects=["pb"]) as pair:
        await skip(86_399)
        assert await pair.root.call("echo", "young") == "young"
        await skip(1)
        await pair.accepted.wait_closed()
        assert pair.accepted.close_cause == pb.annotations.CloseCause(
            "aged", "the connection is as old as it may be", True
        )
        await pair.client.wait_closed()
        assert pair.server.connections == []


@skipping
async def test_what_runs_is_answered_and_nothing_new_begins() -> None:
    desk = Desk()
    async with memory_pair(desk, limits=LIMITS, client_limits=pb.Limits()) as pair:
        await skip(86_300)
        call = pair.root.call("wait", "answer")
        await until(lambda: desk.waiting)
        await skip(100)
        assert pair.client.draining
        with pytest.raises(pb.Unavailable):
            await pair.root.call("echo", "new")
        desk.gate.set()
        assert await call == "answer"
        await pair.client.wait_closed()
        cause = pair.client.close_cause
        assert cause is not None
        assert cause.code == "aged"


@skipping
async def test_what_does_not_end_is_cut_a_tenth_of_the_age_later() -> None:
    desk = Desk()
    limits = pb.Limits(connection_seconds=100)
    async with memory_pair(desk, limits=limits, client_limits=pb.Limits(), dialects=["pb"]) as pair:
        call = pair.root.call("wait")
        await until(lambda: desk.waiting)
        await skip(100)
        await skip(9)
        assert not call.done()
        await skip(1)
        with pytest.raises(pb.ConnectionLost):
            await call
        assert desk.cancelled == 1


@skipping
async def test_a_server_that_is_closed_meanwhile_leaves_no_task() -> None:
    desk = Desk()
    async with memory_pair(desk, limits=LIMITS, client_limits=pb.Limits()) as pair:
        call = pair.root.call("wait")
        await until(lambda: desk.waiting)
        await skip(86_400)
        await turns()
        assert len(asyncio.all_tasks()) > 1
        await pair.server.close()
        with pytest.raises(pb.ConnectionLost):
            await call
        assert [task for task in asyncio.all_tasks() if task is not asyncio.current_task()] == []
        assert desk.cancelled == 1
