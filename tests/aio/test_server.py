"""serve: its forms, several urls, a root for each connection, close and drain."""

from __future__ import annotations

import asyncio
import logging
from pathlib import Path
from typing import Any

import pytest

import perspective_broker as pb
from perspective_broker.compat import pb as compat
from perspective_broker.testing import ScriptedPeer, assert_no_leaks, memory_pair
from tests.aio.desk import Desk, turns, until
from tests.authority import Authority
from tests.loops import both_loops

# -- forms


@both_loops
async def test_several_urls_at_once(tmp_path: Path) -> None:
    socket = tmp_path / "socket"
    async with pb.serve(Desk(), "memory:several", "tcp://127.0.0.1:0", f"unix://{socket}") as server:
        assert [url.partition(":")[0] for url in server.urls] == ["memory", "tcp", "unix"]
        assert not server.urls[1].endswith(":0")
        for url in server.urls:
            async with pb.connect(url) as root:
                assert await root.call("echo", url) == url
                assert len(server.connections) == 1
            await until(lambda: not server.connections)
    assert not socket.exists()


async def test_awaited_it_listens_until_it_is_closed() -> None:
    server = await pb.serve(Desk(), "memory:awaited")
    root = await pb.connect("memory:awaited")
    serving = asyncio.ensure_future(server.serve_forever())
    await turns()
    assert not serving.done()
    await server.close()
    await serving
    await root.connection.wait_closed()
    await server.close()
    with pytest.raises(ConnectionRefusedError):
        await pb.connect("memory:awaited")
    with pytest.raises(RuntimeError):
        await server


@pytest.mark.parametrize("logins", [True, False])
@pytest.mark.parametrize(
    ("url", "warned"),
    [
        ("tcp://127.0.0.1:0", 0),
        ("tcp://127.1.2.3:0", 0),
        ("tcp://localhost:0", 0),
        ("unix://{}/socket", 0),
        ("memory:warning", 0),
        ("tls://0.0.0.0:0", 0),
        ("tcp://0.0.0.0:0", 1),
        ("tcp://:0", 1),  # of several addresses
    ],
)
async def test_tcp_beyond_this_machine_without_tls_is_warned_about_once(
    url: str, warned: int, logins: bool, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Also where users log in: no password crosses, but a program in between can take over their connections."""
    tls = Authority(tmp_path).server() if url.startswith("tls:") else None
    root: Any = pb.Application("test") if logins else Desk()
    async with pb.serve(root, url.format(tmp_path), tls=tls) as server:
        warnings = [record for record in caplog.records if record.levelno >= logging.WARNING]
        assert sum("is not encrypted" in record.getMessage() for record in warnings) == warned
        assert len(warnings) == warned
        for reached in server.urls:
            if reached.startswith("tcp://0.0.0.0"):
                async with pb.connect(reached.replace("0.0.0.0", "127.0.0.1")):
                    pass
    assert sum("is not encrypted" in record.getMessage() for record in caplog.records) == warned


def test_what_cannot_be_served_is_refused_at_once() -> None:
    with pytest.raises(ValueError, match="at least one url"):
        pb.serve(Desk())
    with pytest.raises(ValueError, match="urls are"):
        pb.serve(Desk(), "ftp://x")
    with pytest.raises(TypeError, match="dict"):
        pb.serve({}, "memory:x")
    with pytest.raises(TypeError, match=r"an object is served, not its class: serve\(Desk\(\), \.\.\.\)"):
        pb.serve(Desk, "memory:x")
    with pytest.raises(TypeError, match=r"a Service cannot be served; add it to a pb\.Application"):
        pb.serve(pb.Service("chat"), "memory:x")
    with pytest.raises(TypeError, match=r"the class Perspective cannot be served; a pb\.Service makes one"):
        pb.serve(pb.Perspective, "memory:x")
    with pytest.raises(TypeError, match=r"a Viewable cannot be served: .*pb\.ViewPoint"):
        pb.serve(pb.Viewable(), "memory:x")
    with pytest.raises(TypeError, match=r"a Root is one of perspective_broker\.compat's"):
        pb.serve(compat.Root(), "memory:x")
    with pytest.raises(TypeError, match=r"url: must be a str, one of tcp://HOST:PORT, .*; not 8787"):
        pb.serve(Desk(), 8787)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="dialects are"):
        pb.serve(Desk(), "memory:x", dialects=["latin"])


def test_a_server_that_is_never_started_is_warned_of() -> None:
    server = pb.serve(Desk(), "memory:never")
    assert server.urls == []
    with pytest.warns(RuntimeWarning, match="never started: await it, or enter it with async with"):
        del server


async def test_an_object_with_the_names_of_twisted_does_not_cross(dialect: str) -> None:
    """Only connections of compat can call it: a call through another one failed with a misleading text."""
    async with memory_pair(Desk(), dialects=[dialect]) as pair:
        with pytest.raises(pb.SerializationError, match=r"args\[0\]: a Referenceable is one of .*compat"):
            await pair.root.call("keep", compat.Referenceable())
        await assert_no_leaks(pair.client, pair.accepted)


async def test_an_address_that_is_taken_frees_the_others_again() -> None:
    async with pb.serve(Desk(), "memory:taken"):
        with pytest.raises(OSError, match="taken"):
            await pb.serve(Desk(), "memory:free", "memory:taken")
        async with pb.serve(Desk(), "memory:free"):
            pass


async def test_every_connection_may_have_its_own_root() -> None:
    class Lobby(pb.Root):
        def __init__(self) -> None:
            self.roots: list[Desk] = []

        def root_object(self, connection: pb.Connection) -> Desk:
            self.roots.append(Desk())
            return self.roots[-1]

    lobby = Lobby()
    async with (
        pb.serve(lobby, "memory:lobby"),
        pb.connect("memory:lobby") as one,
        pb.connect("memory:lobby") as two,
    ):
        await one.call("plain", 1)
        await two.call("plain", 2)
        assert [desk.log for desk in lobby.roots] == [[1], [2]]


async def test_connections_are_listed_oldest_first() -> None:
    async with pb.serve(Desk(), "memory:list") as server, pb.connect("memory:list") as one:
        (first,) = server.connections
        async with pb.connect("memory:list"):
            assert server.connections[0] is first
            assert len(server.connections) == 2
        await until(lambda: server.connections == [first])
        assert one.connection.peer == "memory:list"


# -- close


@both_loops
@pytest.mark.parametrize("url", ["memory:close", "tcp://127.0.0.1:0"])
async def test_close_cancels_what_runs_and_ends_every_connection(url: str) -> None:
    desk = Desk()
    async with pb.serve(desk, url) as server:
        root = await pb.connect(server.urls[0])
        calls = [root.call("wait") for _ in range(3)]
        await until(lambda: desk.waiting == 3)
        await asyncio.gather(server.close(), server.close())
        assert desk.cancelled == 3
        assert server.connections == []
        for call in calls:
            with pytest.raises(pb.ConnectionLost):
                await call
        await root.connection.wait_closed()


@both_loops
@pytest.mark.parametrize("url", ["memory:drain", "tcp://127.0.0.1:0"])
async def test_draining_lets_calls_end_and_refuses_new_ones(url: str) -> None:
    desk = Desk()
    async with pb.serve(desk, url) as server:
        root = await pb.connect(server.urls[0])
        calls = [root.call("wait", bytes(300_000)) for _ in range(3)]
        await until(lambda: desk.waiting == 3)
        closing = asyncio.ensure_future(server.close(drain=30))
        await turns()
        with pytest.raises(pb.Unavailable, match="shutting down"):
            await root.call("echo", "too late")
        with pytest.raises(OSError, match=r"listens|refused|[Cc]onnect"):
            await pb.connect(server.urls[0])
        desk.gate.set()
        for answer in await asyncio.gather(*calls):
            assert len(answer) == 300_000
        await closing
        await root.connection.wait_closed()
        assert desk.cancelled == 0
        assert root.connection.close_cause is not None
        assert root.connection.close_cause.code == "drained"


async def test_each_connection_is_told_whether_it_was_drained(caplog: pytest.LogCaptureFixture) -> None:
    desk = Desk()
    async with pb.serve(desk, "memory:some") as server:
        busy, idle = await pb.connect("memory:some"), await pb.connect("memory:some")
        hanging = busy.call("wait")
        await until(lambda: desk.waiting)
        await server.close(drain=0.01)
        with pytest.raises(pb.ConnectionLost):
            await hanging
        for root, code in ((busy, "closed"), (idle, "drained")):
            await root.connection.wait_closed()
            assert root.connection.close_cause is not None
            assert root.connection.close_cause.code == code
    assert "with 1 calls still running: 'wait'" in caplog.text


async def test_draining_waits_for_methods_that_answer_nothing() -> None:
    desk = Desk()
    async with pb.serve(desk, "memory:drain") as server, pb.connect("memory:drain") as root:
        root.tell("wait")
        await until(lambda: desk.waiting == 1)
        closing = asyncio.ensure_future(server.close(drain=30))
        await turns()
        assert not closing.done()
        desk.gate.set()
        await closing
        assert desk.cancelled == 0


async def test_draining_ends_when_the_peer_leaves() -> None:
    desk = Desk()
    async with pb.serve(desk, "memory:drain") as server:
        async with pb.connect("memory:drain") as root:
            root.tell("wait")
            await until(lambda: desk.waiting == 1)
            closing = asyncio.ensure_future(server.close(drain=30))
            await turns()
        await closing


async def test_what_is_overdue_when_draining_is_cut(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.WARNING, "perspective_broker")
    desk = Desk()
    async with pb.serve(desk, "memory:drain") as server, pb.connect("memory:drain") as root:
        call = root.call("wait")
        await until(lambda: desk.waiting == 1)
        await server.close(drain=0.01)
        with pytest.raises(pb.ConnectionLost):
            await call
        assert desk.cancelled == 1
    assert "1 calls still running" in caplog.text


async def test_closing_may_be_asked_for_by_a_method_itself() -> None:
    class Last(pb.Root):
        async def remote_shut_down(self) -> None:
            await server.close()

    async with pb.serve(Last(), "memory:last") as server, pb.connect("memory:last") as root:
        with pytest.raises(pb.ConnectionLost):
            await root.call("shut_down")
        await until(lambda: server.urls and not server.connections)


async def test_a_root_that_cannot_be_made_costs_that_connection_only(
    caplog: pytest.LogCaptureFixture,
) -> None:
    class Moody(pb.Root):
        tries = 0

        def root_object(self, connection: pb.Connection) -> Desk:
            self.tries += 1
            if self.tries == 1:
                raise RuntimeError("not now")
            return Desk()

    async with pb.serve(Moody(), "memory:moody"):
        with pytest.raises(pb.ProtocolError):
            await pb.connect("memory:moody")
        async with pb.connect("memory:moody") as root:
            assert await root.call("echo", "now") == "now"
    assert "no root object could be made" in caplog.text


async def test_a_peer_that_says_nonsense_is_closed_and_others_go_on() -> None:
    async with pb.serve(Desk(), "memory:nonsense") as server, pb.connect("memory:nonsense") as root:
        async with ScriptedPeer.connect("memory:nonsense", dialect="pb") as peer:
            peer.send_bytes(b"\x88")
            await peer.read_to_end()
        assert len(server.connections) == 1
        assert await root.call("echo", "fine") == "fine"


async def test_a_peer_that_comes_again_and_again_fills_no_log(caplog: pytest.LogCaptureFixture) -> None:
    """ROBUSTNESS, I4: a line for an event, and no flood of them; lines that are left out are counted."""
    caplog.set_level(logging.INFO, "perspective_broker")
    async with pb.serve(Desk(), "tcp://127.0.0.1:0") as server:
        for _ in range(200):
            async with ScriptedPeer.connect(server.urls[0]) as peer:
                peer.send_bytes(b"GET / HTTP/1.1\r\n\r\n")
                await peer.read_to_end()
    lines = [record.getMessage() for record in caplog.records]
    warnings = [line for line in lines if "closing the connection: bad-handshake" in line]
    assert len(warnings) >= 64
    assert all(line.startswith("127.0.0.1:") for line in warnings)
    left_out = sum(
        int(line.split()[0]) for line in lines if line.endswith("lines about several peers were left out")
    )
    assert len(warnings) + left_out == 200


@pytest.mark.parametrize("answer", [True, False])
async def test_close_waits_for_methods_that_clean_up(answer: bool) -> None:
    cleaned: list[str] = []

    class Careful(pb.Root):
        async def remote_work(self) -> None:
            try:
                await asyncio.Event().wait()
            finally:
                await asyncio.sleep(0)
                cleaned.append("up")

    limits = pb.Limits(close_seconds=0.05)  # for a one-way call to end by itself
    async with (
        pb.serve(Careful(), "memory:careful", limits=limits) as server,
        pb.connect("memory:careful") as root,
    ):
        calling = root.call("work") if answer else root.tell("work")
        await turns()
        await server.close()
        assert cleaned == ["up"]
        if isinstance(calling, asyncio.Future):
            with pytest.raises(pb.ConnectionLost):
                await calling
