"""Connection: its peer, its end, and its callbacks."""

from __future__ import annotations

import asyncio
import logging
import os
import socket
import sys
from pathlib import Path
from typing import Any

import pytest
from ormsgpack import packb

import perspective_broker as pb
from bench.hostile import Modern
from perspective_broker.aio.connection import _is_local
from perspective_broker.dialects.pb7 import codes
from perspective_broker.dialects.pb7.frames import frame_header
from perspective_broker.testing import ScriptedPeer, memory_pair
from tests.aio.desk import Desk, turns, until
from tests.loops import both_loops


@pytest.mark.parametrize("scheme", ["memory", "unix", "tcp4", "tcp6"])
async def test_what_does_not_leave_the_machine_is_local(scheme: str, tmp_path: Path) -> None:
    url = {
        "memory": "memory:local",
        "unix": f"unix://{tmp_path}/pb",
        "tcp4": "tcp://127.0.0.1:0",
        "tcp6": "tcp://[::1]:0",
    }[scheme]
    async with memory_pair(pb.Root(), url=url) as pair:
        for connection in (pair.client, pair.accepted):
            assert connection.is_local
            assert not connection.is_secure
            assert not connection.is_verified


@both_loops
async def test_a_peer_on_a_unix_socket_is_called_by_the_socket_and_its_process(tmp_path: Path) -> None:
    url = f"unix://{tmp_path}/pb"
    async with memory_pair(pb.Root(), url=url) as pair:
        process = f" (process {os.getpid()})" if sys.platform == "linux" else ""
        assert (pair.client.peer, pair.accepted.peer) == (url, url + process)


@both_loops
async def test_an_unprintable_name_of_a_unix_socket_is_escaped(tmp_path: Path) -> None:
    async with pb.serve(pb.Root(), f"unix://{tmp_path}/pb") as server:
        with socket.socket(socket.AF_UNIX) as client:
            client.bind(f"{tmp_path}/forged\nline")
            client.connect(f"{tmp_path}/pb")
            await until(lambda: bool(server.connections))
            assert "forged\\nline" in server.connections[0].peer


@both_loops
async def test_an_address_of_ipv6_is_told_from_its_port() -> None:
    async with memory_pair(pb.Root(), url="tcp://[::1]:0") as pair:
        assert pair.accepted.peer.startswith("[::1]:")
        assert pair.client.peer.startswith("[::1]:")


@pytest.mark.parametrize(
    ("peer", "local"),
    [
        (("127.0.0.1", 1), True),
        (("127.8.9.10", 1), True),
        (("::1", 1, 0, 0), True),
        (("::ffff:127.0.0.1", 1, 0, 0), True),
        (("::ffff:192.0.2.1", 1, 0, 0), False),
        (("192.0.2.1", 1), False),
        (("0.0.0.0", 1), False),
        (("fe80::1%eth0", 1, 0, 2), False),
        (("127.example.org", 1), False),
        (("localhost", 1), False),
        ((), False),
        ("", False),
        ("nats:subject", False),
        (None, False),
    ],
)
def test_where_an_address_is(peer: object, local: bool) -> None:
    assert _is_local(peer, None) is local


async def test_who_asked_is_told_of_the_end_once_and_in_order() -> None:
    told: list[str] = []
    async with memory_pair(pb.Root()) as pair:

        async def later(connection: pb.Connection) -> None:
            told.append("async begins")
            await asyncio.sleep(0)
            told.append("async ends")

        def unwanted(connection: pb.Connection) -> None:
            told.append("unwanted")

        def same(connection: Any) -> None:
            told.append("connection" if connection is pair.client else "reference")

        pair.client.on_disconnect(same)
        pair.client.on_disconnect(later)
        pair.root.on_disconnect(same)
        pair.client.on_disconnect(unwanted)
        pair.client.dont_notify_on_disconnect(unwanted)
        with pytest.raises(ValueError, match="not registered"):
            pair.client.dont_notify_on_disconnect(unwanted)
        await pair.client.close()
        assert told == ["connection", "reference", "async begins", "async ends"]
        with pytest.raises(pb.DeadReferenceError):
            pair.client.on_disconnect(same)
    assert len(told) == 4


async def test_a_callback_that_raises_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    told: list[pb.Connection] = []
    async with memory_pair(pb.Root()) as pair:

        def fails(connection: pb.Connection) -> None:
            raise ValueError("at once")

        async def fails_later(connection: pb.Connection) -> None:
            raise ValueError("later")

        for callback in (fails, fails_later, told.append):
            pair.client.on_disconnect(callback)
        await pair.client.close()
    assert told == [pair.client]
    assert [str(record.exc_info[1]) for record in caplog.records if record.exc_info] == ["at once", "later"]


@pytest.mark.parametrize(("dialect", "code"), [("pb7", "banned"), ("pb", "lost")])
async def test_it_ends_with_a_code(dialect: str, code: str) -> None:
    async with memory_pair(pb.Root(), dialects=[dialect]) as pair:
        pair.accepted.end("banned", "go away")
        pair.accepted.end("twice", "the first one counts")
        await pair.client.wait_closed()
        await pair.accepted.wait_closed()
        cause = pair.accepted.close_cause
        assert cause is not None
        assert (cause.code, cause.reason) == ("banned", "go away")
        theirs = pair.client.close_cause
        assert theirs is not None
        assert theirs.code == code


async def test_the_server_waits_for_asynchronous_callbacks() -> None:
    told = []

    async def later(connection: pb.Connection) -> None:
        for _ in range(10):
            await asyncio.sleep(0)
        told.append(connection)

    async with memory_pair(pb.Root()) as pair:
        pair.accepted.on_disconnect(later)
        await pair.client.close()
        await pair.server.close()
        assert told == [pair.accepted]


@pytest.mark.parametrize("later", [False, True])
async def test_what_is_served_is_told_of_beginning_and_end(later: bool) -> None:
    log: list[str] = []

    class Told(pb.Root):
        def begin_serving(self) -> Any:
            return self.note("begin")

        def end_serving(self) -> Any:
            return self.note("end")

        def note(self, what: str) -> Any:
            async def note() -> None:
                log.append(what)

            return note() if later else log.append(what)

    async with memory_pair(Told()) as pair:
        assert log == ["begin"]
        pair.accepted.on_disconnect(lambda connection: log.append("gone"))
    assert log == ["begin", "gone", "end"]
    await pair.server.close()
    assert log == ["begin", "gone", "end"]


@pytest.mark.parametrize("dialect", ["pb7", "pb", "none"])
async def test_a_ping_is_answered_in_every_dialect_without_a_method(
    dialect: str, caplog: pytest.LogCaptureFixture
) -> None:
    class Secretive(pb.Root):
        def remote_ping(self) -> None:
            raise AssertionError("no method is needed")

    async with memory_pair(Secretive(), dialects=[dialect]) as pair:
        for connection in (pair.client, pair.accepted):
            before = connection.statistics()
            assert await connection.ping() > 0
            after = connection.statistics()
            assert after.bytes_sent > before.bytes_sent
            assert after.bytes_received > before.bytes_received
            assert after.calls_out == 0
    assert not [record for record in caplog.records if record.levelno > logging.INFO]


async def test_a_peer_that_wants_a_login_answers_pings_before_it() -> None:
    async with memory_pair(pb.Application("quiet")) as pair:
        assert await pair.client.ping() > 0


async def test_a_ping_without_an_answer_fails_as_calls_do() -> None:
    async with memory_pair(pb.Root()) as pair:
        ping = asyncio.ensure_future(pair.client.ping())
        await asyncio.sleep(0)
        pair.client.end()
        with pytest.raises(pb.ConnectionLost):
            await ping
        with pytest.raises(pb.DeadReferenceError):
            await pair.client.ping()


async def test_a_peer_that_says_again_and_again_that_it_drains_is_heard_once(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO, "perspective_broker")
    again = frame_header(2) + packb([codes.DRAINING])
    async with (
        pb.serve(Desk(), "memory:drains") as server,
        ScriptedPeer.connect("memory:drains") as peer,
    ):
        peer.send_bytes(Modern.hello + again * 100)
        await until(lambda: server.connections[0].draining)
        await turns()
    assert caplog.text.count("takes no new calls") == 1


@pytest.mark.parametrize("given", [(5,), (None,), ("closed", b"bytes")])
async def test_an_end_that_is_not_text_is_refused_and_ends_nothing(given: Any, dialect: str) -> None:
    async with memory_pair(Desk(), dialects=[dialect]) as pair:
        with pytest.raises(TypeError, match="are text"):
            pair.client.end(*given)
        with pytest.raises(TypeError, match="are text"):
            await pair.client.close(*given)
        assert await pair.root.call("echo", 1) == 1


@pytest.mark.parametrize("limits", [None, 5])
async def test_limits_that_are_none_are_refused_and_end_nothing(limits: Any, dialect: str) -> None:
    async with memory_pair(Desk(), dialects=[dialect]) as pair:
        with pytest.raises(TypeError, match=r"takes a pb\.Limits"):
            pair.client.use_limits(limits)
        assert await pair.root.call("echo", 1) == 1


@pytest.mark.parametrize("name", ["limits", "policy", "registry"])
def test_settings_of_another_type_are_refused_at_once(name: str) -> None:
    wrong: dict[str, Any] = {name: 5}
    with pytest.raises(TypeError, match=f"{name} takes a pb.{name.title()}, not 5"):
        pb.serve(Desk(), "memory:x", **wrong)
    with pytest.raises(TypeError, match=f"{name} takes a pb.{name.title()}, not 5"):
        pb.connect("memory:x", **wrong)
