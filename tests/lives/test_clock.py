"""Time jumps only when nothing is ready, and does not when nothing is coming."""

from __future__ import annotations

import asyncio

import pytest

from tests.lives import clock
from tests.lives.clock import Stuck, VirtualLoop


def test_time_jumps_to_the_next_timer() -> None:
    async def wait() -> list[float]:
        loop = asyncio.get_running_loop()
        times = [loop.time()]
        for seconds in (0, 3600, 0.001):
            await asyncio.sleep(seconds)
            times.append(round(loop.time(), 6))
        return times

    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        assert runner.run(wait()) == [0, 0, 3600, 3600.001]


def test_a_program_that_waits_for_nothing_is_found() -> None:
    async def wait() -> None:
        await asyncio.get_running_loop().create_future()

    with asyncio.Runner(loop_factory=VirtualLoop) as runner, pytest.raises(Stuck):
        runner.run(wait())


def test_a_program_that_never_waits_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(clock, "MOST_TURNS", 1000)

    async def spin() -> None:
        while True:
            await asyncio.sleep(0)

    with asyncio.Runner(loop_factory=VirtualLoop) as runner, pytest.raises(Stuck):
        runner.run(spin())
