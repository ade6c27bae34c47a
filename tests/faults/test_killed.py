"""Row 1: a peer that is killed in the middle of calls. Real processes, a hundred of them."""

from __future__ import annotations

import asyncio
import os
import signal
import tempfile
from typing import Any

import pytest

import perspective_broker as pb
from perspective_broker.testing import assert_no_leaks
from tests.faults.processes import eventually, running
from tests.faults.served import Seat, make_application

#: On each kind of socket, and killed clients.
SERVERS, CLIENTS = 30, 40


class Ours(pb.Referenceable):
    """An object that the killed server holds."""


async def killed_in_mid_call(url: str, pid: int) -> None:
    """Kill the server at ``url`` while calls to it are under way; see that each ends, once, and nothing is held."""
    async with pb.connect(url) as root:
        connection = root.connection
        told: list[Any] = []
        await root.call("keep", Ours(), Ours())
        theirs: Any = await root.call("give")
        calls = [root.call("wait"), theirs.call("wait"), root.call("wait", Ours())]
        ended: list[int] = []
        for number, call in enumerate(calls):
            call.add_done_callback(lambda _, number=number: ended.append(number))

        def lost(connection: pb.Connection, calls: list[pb.Promise] = calls) -> None:
            told.append([call.done() for call in calls])
            statistics = connection.statistics()
            told.append((statistics.exported, statistics.imported, statistics.calls_out))

        connection.on_disconnect(lost)
        os.kill(pid, signal.SIGKILL)
        outcomes = await asyncio.gather(*calls, return_exceptions=True)
        assert [getattr(outcome, "code", outcome) for outcome in outcomes] == ["lost"] * 3
        # In the turn that saw the end they had failed, and the tables were empty, before any callback ran.
        assert told == [[True] * 3, (0, 0, 0)]
        with pytest.raises(pb.DeadReferenceError):
            theirs.call("wait")
        del theirs, outcomes
        calls.clear()
        await connection.wait_closed()
        assert sorted(ended) == [0, 1, 2]
        assert len(told) == 2
    await assert_no_leaks(connection)


@pytest.mark.parametrize("scheme", ["unix", "tcp"])
async def test_servers_killed_in_mid_call(scheme: str) -> None:
    with tempfile.TemporaryDirectory(prefix="pb-") as directory:
        url = f"unix://{directory}" if scheme == "unix" else "tcp://127.0.0.1:0"
        async with running("servers", url, "--number", str(SERVERS)) as servers:
            for _ in range(SERVERS // 10):
                ten = [await servers.hear() for _ in range(10)]
                await asyncio.gather(*(killed_in_mid_call(one["urls"][0], one["pid"]) for one in ten))


async def test_clients_killed_in_mid_call() -> None:
    app, service = await make_application()
    Seat.gone.clear()
    async with pb.serve(app, "tcp://127.0.0.1:0") as server:
        async with running("attenders", server.urls[0], "--number", str(CLIENTS)) as clients:
            pids = [(await clients.hear())["pid"] for _ in range(CLIENTS)]
            # Everyone is in a call that does not end.
            await eventually(lambda: sum(c.statistics().calls_in for c in server.connections) == CLIENTS)
            accepted = server.connections
            assert service.attached_count == CLIENTS
            for pid in pids:
                os.kill(pid, signal.SIGKILL)
            await eventually(lambda: not server.connections)
            for connection in accepted:
                await connection.wait_closed()
            assert service.attached_count == 0
            assert Seat.gone == ["alice"] * CLIENTS
        await assert_no_leaks(*accepted)
