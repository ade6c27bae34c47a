"""A server accepts so many unauthenticated peers from one address; authenticated peers do not count."""

from __future__ import annotations

import contextlib

import pytest

import perspective_broker as pb
from perspective_broker.testing import ScriptedPeer
from tests.aio.desk import Desk, until
from tests.cred.logins import application
from tests.loops import both_loops

LIMITS = pb.Limits(strangers_per_address=3)


@both_loops
async def test_further_strangers_are_closed_at_once(caplog: pytest.LogCaptureFixture) -> None:
    async with pb.serve(Desk(), "tcp://127.0.0.1:0", "memory:known", limits=LIMITS) as server:
        url = server.urls[0]
        async with contextlib.AsyncExitStack() as silent:
            for _ in range(3):
                await silent.enter_async_context(ScriptedPeer.connect(url))
            await until(lambda: server.statistics().strangers == 3)
            for _ in range(20):
                async with ScriptedPeer.connect(url) as another:
                    assert await another.read_to_end() == b""
            statistics = server.statistics()
            assert (statistics.accepted, statistics.refused, statistics.connections) == (3, 20, 3)
            assert len([r for r in caplog.records if "are unauthenticated" in r.getMessage()]) == 1
            async with pb.connect("memory:known") as root:  # which comes from no address
                assert await root.call("echo", 1) == 1
        await until(lambda: not server.statistics().strangers)
        async with pb.connect(url) as root:
            assert await root.call("echo", 1) == 1


@both_loops
async def test_who_has_greeted_is_known_where_no_login_is_asked_for() -> None:
    async with pb.serve(Desk(), "tcp://127.0.0.1:0", limits=LIMITS) as server:
        async with contextlib.AsyncExitStack() as stack:
            for _ in range(10):
                root = await stack.enter_async_context(pb.connect(server.urls[0]))
                await root.call("echo", 1)  # its greeting has come by then
            assert server.statistics().strangers == 0
            assert server.statistics().connections == 10
        await until(lambda: not server.connections)


async def test_where_a_login_is_asked_for_it_is_what_counts() -> None:
    app = await application()
    async with pb.serve(app, "tcp://127.0.0.1:0", limits=LIMITS) as server:
        url = server.urls[0]
        async with contextlib.AsyncExitStack() as stack:
            for _ in range(5):
                await stack.enter_async_context(
                    pb.connect(url, username="alice", password="secret", service="chat")
                )
                assert server.statistics().strangers == 0
            for n in range(3):
                await stack.enter_async_context(pb.connect(url))
                assert server.statistics().strangers == n + 1
            with pytest.raises(pb.ProtocolError, match="hung up"):
                await pb.connect(url)
            assert server.statistics().refused == 1
        await until(lambda: not server.connections)
        assert server.statistics().strangers == 0
