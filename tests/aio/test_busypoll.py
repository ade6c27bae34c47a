"""Busy polling: the loop stays awake for a moment after each message, and then sleeps."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

import perspective_broker as pb
from perspective_broker.aio.busypoll import BusyPoll
from perspective_broker.testing import assert_no_leaks
from tests.aio.desk import Desk, turns
from tests.loops import both_loops


class Clock:
    """A clock that the test sets, and that counts its readings."""

    def __init__(self) -> None:
        self.now = 0.0
        self.asked = 0
        self.often = asyncio.Event()  #: when it was asked a hundred times

    def __call__(self) -> float:
        self.asked += 1
        if self.asked == 100:
            self.often.set()
        return self.now


@both_loops
async def test_the_loop_looks_again_and_again_until_the_time_is_over() -> None:
    clock = Clock()
    poll = BusyPoll(asyncio.get_running_loop(), 5.0, clock)
    poll.stay()
    poll.stay()
    await clock.often.wait()  # with nothing else to wake the loop
    clock.now = 4.0
    poll.stay()
    clock.now = 8.0
    before = clock.asked
    await turns(10)
    assert clock.asked >= before + 9
    clock.now = 9.0
    await turns(2)
    before = clock.asked
    await turns(10)
    assert clock.asked == before
    poll.stay()
    await turns(10)
    assert clock.asked >= before + 9


@both_loops
@pytest.mark.parametrize("dialect", ["pb7", "pb"])
async def test_connections_that_poll_do_what_others_do(dialect: str) -> None:
    async with pb.serve(Desk(), "tcp://127.0.0.1:0", dialects=[dialect], busy_poll=1e-4) as server:
        async with (
            pb.connect(server.urls[0], dialects=[dialect], busy_poll=1e-4) as one,
            pb.connect(server.urls[0], dialects=[dialect]) as other,
        ):
            for number in range(20):
                assert await one.call("echo", number) == number
                assert await other.call("echo", number) == number
            accepted = server.connections
            polls: list[Any] = [each._driver._poll for each in (one.connection, other.connection, *accepted)]
        for connection in (one.connection, other.connection, *accepted):
            await assert_no_leaks(connection)
    assert polls[0] is not None
    assert polls[1] is None
    assert polls[2] is polls[3] is not None  # the server has one for all its connections


@pytest.mark.parametrize("seconds", [0, -1e-4, 50.0, float("nan")])
async def test_what_is_no_such_time_is_refused_at_once(seconds: float) -> None:
    for refused in (
        lambda: pb.connect("tcp://127.0.0.1:1", busy_poll=seconds),
        lambda: pb.serve(Desk(), "tcp://127.0.0.1:0", busy_poll=seconds),
    ):
        with pytest.raises(ValueError, match=r"busy_poll is a time in seconds, up to 0\.05, such as 100e-6"):
            refused()
