"""A close ends, whatever the running methods do."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

import perspective_broker as pb
from perspective_broker.testing import memory_pair

from .desk import Desk, until


class Stubborn(Desk):
    """Its method goes on when it is cancelled, until it is let go."""

    async def remote_stay(self) -> None:
        self.waiting += 1
        while not self.gate.is_set():
            try:
                await self.gate.wait()
            except asyncio.CancelledError:
                self.cancelled += 1
        self.waiting -= 1


LIMITS = pb.Limits(close_seconds=0.05)


@pytest.mark.parametrize("whose", ["server", "client"])
async def test_a_method_that_swallows_its_cancellation_is_left_behind(
    whose: str, caplog: pytest.LogCaptureFixture
) -> None:
    desk = Stubborn()
    async with memory_pair(desk, limits=LIMITS) as pair:
        call = pair.root.call("stay")
        await until(lambda: desk.waiting)
        if whose == "server":
            await pair.server.close()
        else:
            await pair.client.close()
            await pair.accepted.wait_closed()
        assert desk.cancelled == 1
        assert desk.waiting == 1
        with pytest.raises(pb.ConnectionLost):
            await call
        assert "1 methods and 0 callbacks" in caplog.text
        desk.gate.set()
        await until(lambda: not desk.waiting)


async def test_a_callback_that_never_ends_is_left_behind(caplog: pytest.LogCaptureFixture) -> None:
    gate, ended = asyncio.Event(), asyncio.Event()

    async def stay(connection: Any) -> None:
        await gate.wait()
        ended.set()

    async with memory_pair(Desk(), limits=LIMITS) as pair:
        pair.client.on_disconnect(stay)
        await pair.client.close()
        assert "0 methods and 1 callbacks" in caplog.text
        gate.set()
        await ended.wait()


async def test_a_method_that_ends_in_time_is_waited_for(caplog: pytest.LogCaptureFixture) -> None:
    desk = Desk()
    async with memory_pair(desk) as pair:
        call = pair.root.call("wait")
        await until(lambda: desk.waiting)
        await pair.server.close()
        assert desk.waiting == 0
        with pytest.raises(pb.ConnectionLost):
            await call
    assert "left behind" not in caplog.text
