"""Rows 2, 8, 10, 11, 12: peers that stand still, and peers that are gone. Times are scaled down a hundredfold."""

from __future__ import annotations

import asyncio
import select
import signal
import socket
import time
from typing import Any

import pytest

import perspective_broker as pb
from tests.cred.logins import SkippingLoop, skip, skipping
from tests.faults.processes import eventually, running
from tests.faults.served import make_application

#: 20 s + 20 s, scaled down.
QUICK = pb.Limits(ping_seconds=0.2, pong_seconds=0.2, close_seconds=0.5)


async def a_ping_was_sent(connection: pb.Connection) -> None:
    sent = connection.statistics().bytes_sent
    await eventually(lambda: connection.statistics().bytes_sent > sent)


async def test_a_peer_that_is_stopped_is_given_up_and_so_is_its_socket() -> None:
    async with running("serve", "tcp://127.0.0.1:0") as server:
        (url,) = (await server.hear())["urls"]
        root = await pb.connect(url, limits=QUICK)
        call = root.call("wait")
        await server.stop()
        # The loop's own timers are the clock: they are late when the machine is busy, but one after the other.
        late: list[bool] = []
        timer = asyncio.get_running_loop().call_later(0.2 + 0.2 + 2, late.append, True)
        with pytest.raises(pb.ConnectionLost) as caught:
            await call
        assert caught.value.code == "ping-timeout"
        await root.connection.wait_closed()
        assert not late
        timer.cancel()


async def test_closing_does_not_wait_for_a_peer_that_is_stopped() -> None:
    async with running("serve", "tcp://127.0.0.1:0") as server:
        (url,) = (await server.hear())["urls"]
        root = await pb.connect(url, limits=pb.Limits(close_seconds=0.2))
        await server.stop()
        call = root.call(
            "echo", bytes(3_000_000)
        )  # more than the system takes for a reader that does not read
        await root.connection.close()
        with pytest.raises(pb.ConnectionLost):
            await call


@skipping
async def test_a_stall_of_our_own_kills_no_healthy_connection(caplog: pytest.LogCaptureFixture) -> None:
    async with running("serve", "tcp://127.0.0.1:0") as server:
        (url,) = (await server.hear())["urls"]
        async with pb.connect(url) as root:
            loop = asyncio.get_running_loop()
            assert isinstance(loop, SkippingLoop)
            transport: Any = root.connection._driver._transport
            for _ in range(3):
                sent = root.connection.statistics().bytes_sent
                await skip(20)
                assert root.connection.statistics().bytes_sent > sent  # a ping
                # The answer is there, but the loop stands still for eight times as long as it may take.
                select.select([transport.get_extra_info("socket")], [], [])
                loop.skipped += 160
                assert await root.call("echo", "alive") == "alive"
    assert "ping-timeout" not in caplog.text


async def test_a_peer_whose_loop_stands_still_for_less_than_its_time_is_kept() -> None:
    async with running("serve", "tcp://127.0.0.1:0") as server:
        (url,) = (await server.hear())["urls"]
        async with pb.connect(url, limits=pb.Limits(ping_seconds=0.05, pong_seconds=60)) as root:
            await server.stop()
            with pytest.raises(TimeoutError):  # a call keeps its own deadline
                async with asyncio.timeout(0.5):  # ten pings long
                    await root.call("echo", 1)
            server.signal(signal.SIGCONT)
            assert await root.call("echo", 2) == 2


async def test_a_wall_clock_that_jumps_is_nobodys_business(monkeypatch: pytest.MonkeyPatch) -> None:
    app, _ = await make_application()
    limits = pb.Limits(ping_seconds=0.05, pong_seconds=60, connection_seconds=3600)
    async with (
        pb.serve(app, "tcp://127.0.0.1:0", limits=limits) as server,
        pb.connect(
            server.urls[0], username="alice", password="secret", service="desk", limits=limits
        ) as seat,
    ):
        wall = time.time
        for days in (1, -1, 365):
            monkeypatch.setattr(time, "time", lambda days=days: wall() + days * 86_400)
            await a_ping_was_sent(seat.connection)
            assert await seat.call("echo", days) == days
            async with pb.connect(server.urls[0], username="bob", password="sesame", service="desk") as other:
                assert await other.call("echo", days) == days
        assert server.statistics().accepted == 4


@pytest.mark.parametrize("dialect", ["pb7", "pb"])
async def test_a_new_login_takes_the_place_of_a_half_open_one(dialect: str) -> None:
    """Row 8: the old client's machine is gone without a word, and the user comes again."""
    app, service = await make_application("replace")
    never = pb.Limits(ping_seconds=1000, close_seconds=1000)  # the new one waits for nothing of the old one
    async with pb.serve(app, "tcp://127.0.0.1:0", dialects=[dialect], limits=never) as server:  # noqa: SIM117
        async with running("attend", server.urls[0]) as old:
            assert (await old.hear())["attached"] == "alice"
            await old.stop()
            async with pb.connect(
                server.urls[0], username="alice", password="secret", service="desk"
            ) as seat:
                assert service.attached_count == 1
                assert await seat.call("echo", "mine") == "mine"
                old.signal(signal.SIGCONT)
                assert (await old.hear())["code"] == {"pb7": "replaced", "pb": "lost"}[dialect]
                assert await old.wait() == 0
                assert service.attached_count == 1
                assert await seat.call("echo", "still mine") == "still mine"


async def test_the_system_is_asked_to_watch_both_ends() -> None:
    async with pb.serve(pb.Root(), "tcp://127.0.0.1:0") as server, pb.connect(server.urls[0]) as root:
        await eventually(lambda: server.connections)
        for connection in (root.connection, server.connections[0]):
            transport: Any = connection._driver._transport
            sock = transport.get_extra_info("socket")
            assert sock.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)
            # Twenty and twenty seconds are no more than a slow reader's thirty, and then comes the close.
            assert sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT) == 45_000
