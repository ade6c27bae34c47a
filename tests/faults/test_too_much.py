"""Rows 3 to 6: peers that send nothing, read nothing, or send too much. Counted, not timed, wherever possible."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import socket
from typing import Any

import pytest

import perspective_broker as pb
from perspective_broker.testing import ScriptedPeer
from tests.faults.processes import eventually, running
from tests.faults.served import Desk, memory

MIB = 1024 * 1024
SILENT = 400

# -- row 3: silence before the greeting


async def read_to_end(sock: socket.socket) -> bytes:
    loop, came = asyncio.get_running_loop(), b""
    while True:
        try:
            piece = await loop.sock_recv(sock, 4096)
        except ConnectionResetError:
            return came
        if not piece:
            return came
        came += piece


@pytest.mark.parametrize("loop", ["asyncio", "uvloop"])
async def test_clients_that_never_greet_are_gone_when_their_time_is_over(loop: str) -> None:
    number, most = SILENT, SILENT * 3 // 4
    # All come before the first goes: they have connected, as far as the system sees to it, when the server goes on.
    limits = {"handshake_seconds": number / 80, "strangers_per_address": most}
    async with running("serve", "tcp://127.0.0.1:0", "--loop", loop, limits=limits) as server:
        (url,) = (await server.hear())["urls"]
        host, port = url.removeprefix("tcp://").split(":")
        with contextlib.ExitStack() as sockets:
            silent = []
            await server.stop()
            for _ in range(number):
                silent.append(sockets.enter_context(socket.socket()))
                silent[-1].setblocking(False)
                await asyncio.get_running_loop().sock_connect(silent[-1], (host, int(port)))
            server.signal(signal.SIGCONT)
            heard = await asyncio.gather(*map(read_to_end, silent))
        # Beyond so many from one address they are not even greeted; the others are, and are closed in time.
        assert len([greeting for greeting in heard if greeting]) == most
        async with pb.connect(url) as root:
            assert await root.call("echo", 1) == 1
        warnings = [line for line in server.logged().splitlines() if "are unauthenticated" in line]
        assert warnings == [
            f"WARNING {most} connections from 127.0.0.1 are unauthenticated; "
            "further ones are closed (Limits.strangers_per_address)"
        ]


# -- row 4: a reader that does not read


@pytest.mark.parametrize("dialect", ["pb7", "pb"])
@pytest.mark.parametrize("what", ["answers", "tells"])
async def test_a_peer_that_reads_nothing_costs_a_little_memory_and_is_closed(what: str, dialect: str) -> None:
    limits = {"slow_consumer_seconds": 1.0, "close_seconds": 0.5}
    async with running("serve", "tcp://127.0.0.1:0", "--verbose", limits=limits) as server:
        (url,) = (await server.hear())["urls"]
        async with (
            pb.connect(url, dialects=[dialect]) as bystander,
            pb.connect(url, dialects=[dialect]) as slow,
        ):
            for _ in range(5):  # so that the allocator has its memory before
                await bystander.call("big", 600_000)
            before = await bystander.call("rss")
            if what == "answers":
                calls = [slow.call("big", 600_000) for _ in range(300)]
            else:
                calls = [slow.call("produce", pb.Referenceable(), 600_000, 300)]
            await asyncio.sleep(0)  # the calls are written
            transport: Any = slow.connection._driver._transport
            transport.pause_reading()
            await eventually(lambda: "slow-consumer" in server.logged())
            assert await bystander.call("echo", 1) == 1
            after = await bystander.call("rss")
            assert memory(server.pid)["VmHWM"] - before < 8 * MIB
            assert after - before < 5 * MIB
            transport.resume_reading()
            outcomes = await asyncio.gather(*calls, return_exceptions=True)
            assert sum(isinstance(outcome, pb.ConnectionLost) for outcome in outcomes) > len(calls) * 9 // 10
            assert server.logged().count("closing the connection: slow-consumer") == 1


# -- row 5: methods that take their time


async def test_while_all_slots_are_taken_pings_are_answered_and_calls_can_be_given_up() -> None:
    limits = pb.Limits(calls_in_flight=20, ping_seconds=0.05, pong_seconds=60)
    desk = Desk()
    async with (
        pb.serve(desk, "tcp://127.0.0.1:0", limits=limits) as server,
        pb.connect(server.urls[0], limits=limits) as root,
    ):
        calls = [root.call("wait") for _ in range(100)]
        await eventually(lambda: desk.running == 20)
        (accepted,) = server.connections
        assert (
            root.connection.statistics().calls_held == 80
        )  # in their caller's memory: nothing is in the way
        for _ in range(3):
            received = accepted.statistics().bytes_received
            await eventually(lambda: accepted.statistics().bytes_received > received)  # noqa: B023  # a ping, or a pong
        for call in calls[:5]:
            call.cancel()
        await eventually(lambda: root.connection.statistics().calls_held == 75)
        await eventually(lambda: desk.running == 20)
        for call in calls:
            call.cancel()
        await eventually(lambda: desk.running == 0)
        assert desk.most_running == 20
        assert root.connection.close_cause is None


# -- row 6: floods


@pytest.mark.parametrize("dialect", ["pb7", "pb"])
@pytest.mark.parametrize("kind", ["calls", "tells"])
async def test_a_flood_does_not_keep_a_bystander_from_its_answers(kind: str, dialect: str) -> None:
    number = 20_000
    async with running("serve", "tcp://127.0.0.1:0") as server:
        (url,) = (await server.hear())["urls"]
        async with (
            pb.connect(url, dialects=[dialect]) as bystander,
            ScriptedPeer.connect(url, dialect="pb") as flood,
        ):
            for told in range(0, number, number // 10):
                # All bytes of both arrive before the server handles any, so its turns can be counted.
                await server.stop()
                flood.send_bytes(
                    b"".join(
                        flood.encode(
                            ["message", n, "root", "tell", int(kind == "calls"), ["tuple"], ["dictionary"]]
                        )
                        for n in range(told + 1, told + 1 + number // 10)
                    )
                )
                await eventually(lambda: not flood.transport.get_write_buffer_size())
                counted = bystander.call("count")
                await eventually(lambda: bystander.connection.statistics().bytes_buffered == 0)
                server.signal(signal.SIGCONT)
                # One turn of the server's loop acts on 64 messages of one connection, and then on ours.
                assert await counted - told <= 4 * 64
                while await bystander.call("count") < told + number // 10:
                    pass


async def test_calls_that_are_made_and_given_up_take_no_slot_that_is_not_there() -> None:
    """Row 15: started and given up, over and over; a slot is held until the method has ended."""
    limits = pb.Limits(calls_in_flight=16)
    desk, ended = Desk(), 0
    async with (
        pb.serve(desk, "tcp://127.0.0.1:0", limits=limits) as server,
        pb.connect(server.urls[0], limits=limits) as root,
        pb.connect(server.urls[0]) as bystander,
    ):
        for turn in range(2_000):
            call = root.call("wait")
            if turn % 100 == 0:
                await eventually(
                    lambda: desk.running
                )  # this one has begun; others may be over before they begin
            call.cancel()
            if turn % 100 == 0:
                assert await bystander.call("echo", turn) == turn
                ended += 1
        await root.call("echo", 1)
        await eventually(lambda: desk.running == 0)
        assert ended == 20
        assert 0 < desk.most_running <= 16
        statistics = root.connection.statistics()
        assert (statistics.calls_out, statistics.calls_held) == (0, 0)
