"""A peer that hangs up while nothing of it is read: noticed, without an event of the loop's."""

from __future__ import annotations

import asyncio

import pytest

import perspective_broker as pb
from perspective_broker.testing import ScriptedPeer
from tests.aio.desk import until
from tests.loops import both_loops


class Sleeper(pb.Root):
    async def remote_sleep(self) -> None:
        await asyncio.get_running_loop().create_future()


@both_loops
@pytest.mark.parametrize("how", ["abort", "close"])
@pytest.mark.parametrize("scheme", ["tcp", "unix"])
async def test_a_peer_that_is_gone_is_not_waited_for(how: str, scheme: str, tmp_path: object) -> None:
    url = "tcp://127.0.0.1:0" if scheme == "tcp" else f"unix://{tmp_path}/sock"
    limits = pb.Limits(calls_in_flight=1)
    async with pb.serve(Sleeper(), url, limits=limits) as server:  # noqa: SIM117
        async with ScriptedPeer.connect(server.urls[0], dialect="pb") as peer:
            for _ in range(300):
                peer.call("root", "sleep")
            await until(lambda: server.connections[0].statistics().calls_waiting > 2)
            await asyncio.sleep(0)
            if how == "abort":
                peer.abort()
            else:
                await peer.aclose()
            # Nothing of it is read, and its method never ends.
            async with asyncio.timeout(60):
                while server.connections:
                    await asyncio.sleep(0.01)


@both_loops
async def test_who_is_there_is_left_alone() -> None:
    """A peer whose calls wait is read again when there is room, however often it was looked for."""
    ends: list[asyncio.Future[None]] = []

    class Gate(pb.Root):
        async def remote_wait(self) -> int:
            ends.append(asyncio.get_running_loop().create_future())
            await ends[-1]
            return len(ends)

    async with pb.serve(Gate(), "tcp://127.0.0.1:0", limits=pb.Limits(calls_in_flight=1)) as server:  # noqa: SIM117
        async with pb.connect(server.urls[0]) as root:
            answers = [root.call("wait") for _ in range(20)]
            await asyncio.sleep(0.25)  # two looks
            for number in range(20):
                await until(lambda number=number: len(ends) > number)
                ends[number].set_result(None)
            assert await asyncio.gather(*answers) == list(range(1, 21))
