"""A server that goes: connections that come in its last moment, and clients that move to another process."""

from __future__ import annotations

import asyncio
import socket
from pathlib import Path

import pytest

import perspective_broker as pb
from perspective_broker.aio.server import accept_from, inherit, move_away, stop_accepting_from
from tests.authority import Authority
from tests.cred.logins import skip, skipping

from .desk import Desk, turns, until

URL = "memory:moves"


@pytest.mark.parametrize("scheme", ["tcp", "tls"])
async def test_a_connection_that_comes_in_the_last_moment_of_a_drain_is_told_so(
    scheme: str, tmp_path: Path
) -> None:
    """It is greeted, and learns that this server goes, and not that it is no perspective broker."""
    served: pb.ServerTLS | None = None
    trusted: pb.ClientTLS | None = None
    if scheme == "tls":
        authority = Authority(tmp_path)
        served, trusted = pb.ServerTLS(authority.issue("localhost")), authority.trusted()
    outcomes: list[BaseException | None] = []
    for moment in range(12):
        server = await pb.serve(Desk(), f"{scheme}://localhost:0", tls=served)

        async def come(url: str) -> None:
            async with pb.connect(url, tls=trusted) as root:
                assert await root.call("echo", "late") == "late"

        late = [asyncio.ensure_future(come(server.urls[0])) for _ in range(4)]
        await turns(moment * 3)
        await server.close(drain=30)
        outcomes += await asyncio.gather(*late, return_exceptions=True)
    for outcome in outcomes:
        if isinstance(outcome, pb.Unavailable):
            assert outcome.code == "draining"
        elif outcome is not None:
            # Refused by the system, before or after it waited in the queue; or ended between two steps.
            assert isinstance(outcome, OSError | pb.ConnectionLost | pb.DeadReferenceError), repr(outcome)
            assert not isinstance(outcome, pb.ProtocolError)


async def test_a_peer_that_never_greets_delays_a_drain_by_two_seconds_at_most() -> None:
    server = await pb.serve(Desk(), "tcp://127.0.0.1:0")
    with socket.create_connection(("127.0.0.1", int(server.urls[0].rpartition(":")[2]))):
        await until(lambda: server.statistics().accepted)
        clock = asyncio.get_running_loop().time
        began = clock()
        await server.close(drain=3600)
        assert clock() - began < 1800


@skipping
async def test_clients_move_one_by_one() -> None:
    server = await pb.serve(Desk(), URL)
    clients = [await pb.connect(URL) for _ in range(10)]
    await skip(1000)
    moving = asyncio.ensure_future(move_away(server, 10))
    await turns()
    gone = []
    for _ in range(10):
        gone.append(sum(client.connection.close_cause is not None for client in clients))
        await skip(0.8)
    assert gone == sorted(gone)
    assert gone[0] <= 1
    assert 4 <= gone[5] <= 7
    await moving
    for client in clients:
        cause = client.connection.close_cause
        assert cause is not None
        assert cause.code == "aged"


@skipping
async def test_who_has_just_come_can_call_for_half_of_the_time() -> None:
    desk = Desk()
    server = await pb.serve(desk, URL)
    new = await pb.connect(URL)
    busy = await pb.connect(URL)
    under_way = busy.call("wait")
    moving = asyncio.ensure_future(move_away(server, 10))
    await turns()
    await skip(4.9)
    assert await new.call("echo", 1) == 1
    await skip(0.2)
    assert new.connection.close_cause is not None
    assert busy.connection.draining
    with pytest.raises(pb.Unavailable, match="shutting down"):
        await busy.call("echo", 1)
    desk.gate.set()
    await under_way
    await moving
    cause = busy.connection.close_cause
    assert cause is not None
    assert cause.code == "aged"


@skipping
async def test_what_runs_at_the_end_of_a_move_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    server = await pb.serve(Desk(), URL)
    root = await pb.connect(URL)
    call = root.call("wait")
    await turns()
    moving = asyncio.ensure_future(move_away(server, 10))
    await turns()
    await skip(10.1)
    await moving
    assert "closing after 10 s of draining with 1 calls still running: 'wait'" in caplog.text
    with pytest.raises(pb.ConnectionLost):
        await call


def _bound(count: int) -> list[socket.socket]:
    first = socket.socket()
    first.bind(("127.0.0.1", 0))
    return [first, *(first.dup() for _ in range(count - 1))]


async def test_inherited_sockets_keep_their_queue_for_who_accepts_next() -> None:
    kept, one, two = _bound(3)
    with kept:
        servers = [pb.serve(Desk(), "tcp://127.0.0.1:0") for _ in range(2)]
        inherit(servers[0], [[one]])
        inherit(servers[1], [[two]])
        first = await servers[0]
        url = first.urls[0]
        assert url == f"tcp://127.0.0.1:{kept.getsockname()[1]}"
        async with pb.connect(url) as root:
            assert await root.call("echo", 1) == 1
        await move_away(first, 5)
        waiting = asyncio.ensure_future(pb.connect(url)._establish())
        await turns(50)
        assert not waiting.done()
        second = await servers[1]
        root = await waiting
        assert await root.call("echo", 2) == 2
        await second.close()


async def test_a_server_accepts_from_another_socket_for_a_while() -> None:
    own, more = socket.socket(), socket.socket()
    own.bind(("127.0.0.1", 0))
    more.bind(("127.0.0.1", 0))
    kept = more.dup()
    with kept:
        server = pb.serve(Desk(), "tcp://127.0.0.1:0")
        inherit(server, [[own]])
        async with server:
            accept_from(server, [[more]])
            url = f"tcp://127.0.0.1:{kept.getsockname()[1]}"
            async with pb.connect(url) as root:
                stop_accepting_from(server, [[more]])
                assert await root.call("echo", 1) == 1
            with pytest.raises(TimeoutError):
                await pb.connect(url, timeout=0.05)
            assert server.statistics().accepted == 1
