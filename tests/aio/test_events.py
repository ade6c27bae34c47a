"""What a server tells of calls, logins and connections, and what its statistics say."""

from __future__ import annotations

import asyncio
import logging
from typing import Any

import pytest

import perspective_broker as pb
from perspective_broker.calls import BOUNDS, CallInfo, CallObserver
from tests.aio.desk import Desk, turns, until


class Recorder(CallObserver):
    """Writes down what it hears."""

    def __init__(self) -> None:
        self.heard: list[tuple[Any, ...]] = []

    def call_began(self, call: CallInfo) -> None:
        self.heard.append(("began", call.interface, call.method, call.user))

    def call_ended(self, call: CallInfo, error: BaseException | None) -> None:
        self.heard.append(("ended", call.method, None if error is None else type(error).__name__))

    def connection_opened(self, connection: Any) -> None:
        self.heard.append(("opened",))

    def connection_closed(self, connection: Any) -> None:
        self.heard.append(("closed", connection.close_cause.code))

    def logged_in(self, connection: Any, user: str, method: str) -> None:
        self.heard.append(("login", user, method))


async def test_an_observer_hears_of_everything_in_its_order(dialect: str) -> None:
    recorder = Recorder()
    async with pb.serve(Desk(), "memory:events", dialects=[dialect], call_observer=recorder) as server:
        async with pb.connect("memory:events") as root:
            await root.call("echo", 1)
            await root.call("async_slow", 1)
            with pytest.raises(pb.BadArguments):
                await root.call("plain")
            with pytest.raises(pb.NoSuchMethod):
                await root.call("nothing")
            waiting = root.call("wait")
            await until(lambda: len(server.connections[0].running()) == 1)
            assert server.connections[0].running()[0].method == "wait"
            assert server.connections[0].running()[0].seconds is not None
        with pytest.raises(pb.ConnectionLost):
            await waiting
        await until(lambda: not server.connections)
        counts = {one.method: one for one in server.methods()}
    heard = [event for event in recorder.heard if event[0] != "closed"]
    assert heard == [
        ("opened",),
        ("began", "Desk", "echo", None),
        ("ended", "echo", None),
        ("began", "Desk", "async_slow", None),
        ("ended", "async_slow", None),
        ("began", "Desk", "plain", None),
        ("ended", "plain", "BadArguments"),
        ("began", "Desk", "wait", None),
        ("ended", "wait", "ConnectionLost" if dialect != "pb7" else heard[-1][2]),
    ]
    assert counts["Desk.echo"].count == 1
    assert counts["Desk.echo"].errors == 0
    assert sum(counts["Desk.echo"].buckets) == 1
    assert len(counts["Desk.echo"].buckets) == len(BOUNDS) + 1
    assert 0 <= counts["Desk.echo"].mean <= counts["Desk.echo"].worst
    assert counts["Desk.wait"].errors == 1
    assert "Desk.nothing" not in counts


async def test_an_observer_that_raises_is_logged_once_and_costs_no_call(
    caplog: pytest.LogCaptureFixture,
) -> None:
    class Broken(CallObserver):
        def call_began(self, call: CallInfo) -> None:
            raise ZeroDivisionError

    async with pb.serve(Desk(), "memory:broken", call_observer=Broken()), pb.connect("memory:broken") as root:
        assert await root.call("echo", 1) == 1
        assert await root.call("echo", 2) == 2
    assert [r.levelno for r in caplog.records if "observer" in r.message] == [logging.ERROR]


async def test_without_statistics_nobody_listens() -> None:
    async with pb.serve(Desk(), "memory:deaf") as server, pb.connect("memory:deaf") as root:
        waiting = asyncio.ensure_future(root.call("wait"))
        await until(lambda: bool(server.connections[0].running()))
        assert server.connections[0].running()[0].seconds is None
        waiting.cancel()
        await turns()
        with pytest.raises(pb.UsageError, match="statistics=True"):
            server.methods()
    with pytest.raises(TypeError, match="CallObserver"):
        pb.serve(Desk(), "memory:deaf", call_observer=object())  # type: ignore[arg-type]


async def test_a_connection_tells_what_the_peer_holds_of_us() -> None:
    async with (
        pb.serve(Desk(), "memory:holds", statistics=True) as server,
        pb.connect("memory:holds") as root,
    ):
        mine = Desk()
        await root.call("echo", mine)
        assert root.connection.exported() == {}  # it came home, and was released
        [there] = server.connections
        assert there.exported() == {}
        assert there.user is None
        assert there.since <= root.connection.since + 1
