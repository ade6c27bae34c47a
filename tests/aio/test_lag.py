"""The delay of the event loop: measured, kept, and logged once a minute."""

from __future__ import annotations

import asyncio

import pytest

import perspective_broker as pb
from perspective_broker.aio import lag
from perspective_broker.aio.lag import LoopWatch
from tests.cred.logins import SkippingLoop, skip, skipping


async def look(late: float = 0.0) -> None:
    """Let the time of the next look come, and be late for it."""
    await skip(0.25 + late)


#: Which the tests replace.
STARVED = lag.starved


@pytest.fixture(autouse=True)
def starved(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """How long the machine had no processor for us, as far as the watch can see."""
    seconds = [0.0]
    monkeypatch.setattr(lag, "starved", lambda: seconds[0])
    return seconds


@skipping
async def test_a_loop_that_stood_still_is_told_of_once_in_a_while(caplog: pytest.LogCaptureFixture) -> None:
    watch = LoopWatch()
    await look()
    assert watch.worst == pytest.approx(0)
    await look(2.5)
    assert watch.latest == pytest.approx(2.5)
    assert [record.getMessage()[:35] for record in caplog.records] == ["the event loop stood still for 2.50"]
    await look(0.5)
    await look()
    assert watch.latest == pytest.approx(0)
    assert watch.worst == pytest.approx(2.5)
    assert len(caplog.records) == 1
    for _ in range(250):
        await look()
    await look(0.2)
    assert len(caplog.records) == 2
    watch.stop()
    watch.stop()
    await look(9)
    assert len(caplog.records) == 2


@skipping
async def test_a_loop_that_had_no_processor_is_late_and_no_code_is_blamed(
    caplog: pytest.LogCaptureFixture, starved: list[float]
) -> None:
    watch = LoopWatch()
    starved[0] += 2.45
    await look(2.5)
    assert watch.latest == pytest.approx(2.5)
    assert caplog.records == []
    starved[0] += 2
    await look(2.5)
    assert [record.getMessage()[:35] for record in caplog.records] == ["the event loop stood still for 0.50"]
    watch.stop()


def test_what_the_system_tells_only_grows() -> None:
    before = STARVED()
    assert 0 <= before <= STARVED()


@skipping
async def test_a_server_says_how_late_its_loop_was() -> None:
    async with pb.serve(pb.Root(), "memory:late") as server:
        await look(1.0)
        await look()
        loop = asyncio.get_running_loop()
        assert isinstance(loop, SkippingLoop)
        statistics = server.statistics()
        assert statistics.lag == pytest.approx(0)
        assert statistics.worst_lag == pytest.approx(1.0)
    assert server.statistics().worst_lag == statistics.worst_lag
