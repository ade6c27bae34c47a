"""connect: its forms, and every way in which it does not come to a connection."""

from __future__ import annotations

import asyncio
import contextlib
import gc
from pathlib import Path

import pytest

import perspective_broker as pb
from perspective_broker.dialects.offer import DIALECTS
from perspective_broker.testing import ScriptedPeer
from tests.aio.desk import Desk, turns, until
from tests.loops import both_loops

#: The first bytes of a TLS client.
TLS_HELLO = bytes.fromhex("160301007a010000760303") + bytes(range(64))


@both_loops
@pytest.mark.parametrize("url", ["memory:forms", "tcp://127.0.0.1:0", "tcp://localhost:0", "unix"])
async def test_awaited_or_entered_it_gives_the_root(url: str, tmp_path: Path) -> None:
    where = f"unix://{tmp_path}/socket" if url == "unix" else url
    async with pb.serve(Desk(), where) as server:
        root = await pb.connect(server.urls[0])
        assert await root.call("echo", "awaited") == "awaited"
        await root.connection.close()
        async with pb.connect(server.urls[0]) as root:
            assert await root.call("echo", "entered") == "entered"
            assert root.connection.dialect == DIALECTS[0]
            assert root.connection.close_cause is None
        cause = root.connection.close_cause
        assert cause is not None
        assert (cause.code, cause.clean) == ("closed", True)
        assert "closed" in repr(root.connection)


@pytest.mark.parametrize("dialect", DIALECTS)
async def test_the_dialect_may_be_chosen(dialect: str) -> None:
    async with (
        pb.serve(Desk(), "memory:dialect"),
        pb.connect("memory:dialect", dialects=[dialect]) as root,
    ):
        assert root.connection.dialect == dialect
        assert await root.call("echo", {"a": (1, 2.5, None)}) == {"a": (1, 2.5, None)}


@pytest.mark.parametrize(
    "url",
    [
        "http://example.org",
        "tcp://host:x",
        "tcp://host/path",
        "tcp://a..b:1",
        "tls://" + "x" * 64,
        "memory:",
        "unix://relative",
        "",
    ],
)
def test_a_bad_url_is_refused_at_once(url: str) -> None:
    with pytest.raises(ValueError, match="urls are"):
        pb.connect(url)


@pytest.mark.parametrize("dialects", [["pb", "nonsense"], []])
def test_a_bad_dialect_is_refused_at_once(dialects: list[str]) -> None:
    with pytest.raises(ValueError, match="dialects are"):
        pb.connect("memory:x", dialects=dialects)
    with pytest.raises(TypeError):
        pb.connect("memory:x", dialects="pb")


def test_what_is_no_text_or_names_no_host_is_refused_at_once() -> None:
    with pytest.raises(TypeError, match="url: must be a str"):
        pb.connect([b"tcp://localhost"])  # type: ignore[list-item]
    with pytest.raises(ValueError, match="names no host"):
        pb.connect("tls://:8787")
    with pytest.raises(ValueError, match="names no host"):
        pb.connect("tcp://:8787")


async def test_who_forgot_to_await_is_told() -> None:
    connecting = pb.connect("memory:nobody")
    with pytest.raises(
        AttributeError, match=r"there is no 'call' before there is a connection: await pb\.connect"
    ):
        connecting.call("echo")  # type: ignore[attr-defined]


@both_loops
async def test_where_nobody_listens_is_said(tmp_path: Path) -> None:
    async with pb.serve(Desk(), "tcp://127.0.0.1:0") as server:
        (url,) = server.urls
    with pytest.raises(ConnectionRefusedError, match=url):
        await pb.connect(url)
    with pytest.raises(FileNotFoundError, match="unix:///"):
        await pb.connect(f"unix://{tmp_path}/nothing")


async def test_what_is_never_awaited_does_nothing_and_warns_of_nothing() -> None:
    pb.connect("memory:nobody")
    gc.collect()


@both_loops
@pytest.mark.parametrize("url", ["memory:nobody", "tcp://127.0.0.1:1", "unix:///nowhere/at/all"])
async def test_nobody_there(url: str) -> None:
    with pytest.raises(OSError, match=r"listens|refused|[Cc]onnect|No such file") as raised:
        await pb.connect(url)
    assert not isinstance(raised.value, TimeoutError)


@both_loops
@pytest.mark.parametrize("url", ["memory:silent", "tcp://127.0.0.1:0"])
async def test_a_server_that_says_nothing(url: str) -> None:
    async with ScriptedPeer.listen(url) as listener:
        with pytest.raises(TimeoutError, match=r"within 0\.01 s"):
            await pb.connect(listener.url, timeout=0.01)
        peer = await listener.accept()
        await peer.read_to_end()


@pytest.mark.parametrize("greeting", [b"HTTP/1.1 400 Bad Request\r\n\r\n", TLS_HELLO, b"\x01\x81"])
async def test_a_server_that_speaks_something_else(greeting: bytes) -> None:
    async with ScriptedPeer.listen("memory:else") as listener:
        connecting = asyncio.ensure_future(pb.connect("memory:else"))
        peer = await listener.accept()
        peer.send_bytes(greeting)
        with pytest.raises(pb.ProtocolError, match="bad-handshake") as raised:
            await connecting
        assert raised.value.code == "bad-handshake"


async def test_a_server_with_no_dialect_of_ours() -> None:
    async with ScriptedPeer.listen("memory:strange") as listener:
        connecting = asyncio.ensure_future(pb.connect("memory:strange"))
        peer = await listener.accept()
        peer.send(["pb99", "esperanto"])
        with pytest.raises(pb.ProtocolError) as raised:
            await connecting
        assert raised.value.code == "no-dialect"


async def test_a_server_that_hangs_up_in_the_greeting() -> None:
    async with ScriptedPeer.listen("memory:hangs-up") as listener:
        connecting = asyncio.ensure_future(pb.connect("memory:hangs-up"))
        peer = await listener.accept()
        await peer.aclose()
        with pytest.raises(pb.ProtocolError, match="hung up"):
            await connecting


async def test_a_server_of_another_version() -> None:
    async with ScriptedPeer.listen("memory:version") as listener:
        connecting = asyncio.ensure_future(pb.connect("memory:version"))
        peer = await listener.accept()
        peer.send(["pb", "none"])
        assert await peer.read() == b"pb"
        peer.send_bytes(b"\x02\x80\x13\x87\x07\x81")  # (version 7)
        with pytest.raises(pb.ProtocolError) as raised:
            await connecting
        assert raised.value.code == "bad-version"


async def test_a_cancelled_connect_leaves_nothing() -> None:
    async with ScriptedPeer.listen("memory:cancel") as listener:
        connecting = asyncio.ensure_future(pb.connect("memory:cancel"))
        peer = await listener.accept()
        connecting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await connecting
        await peer.read_to_end()


async def test_calls_may_begin_as_soon_as_it_is_connected_from_either_side() -> None:
    """A server's root may call its client before the client knows that the greeting is over."""
    desk = Desk()
    async with pb.serve(desk, "memory:early"), pb.connect("memory:early") as root:
        root.tell("plain", "first")
        await root.call("plain", "second")
        assert desk.log == ["first", "second"]


async def test_an_exception_in_the_block_closes_and_passes_through() -> None:
    async with pb.serve(Desk(), "memory:block") as server:
        with pytest.raises(KeyError):
            async with pb.connect("memory:block"):
                raise KeyError("the application's own")
        await until(lambda: not server.connections)


@both_loops
@pytest.mark.parametrize("scheme", ["tcp", "unix", "memory"])
async def test_a_connection_can_be_given_up_at_any_moment(scheme: str, tmp_path: Path) -> None:
    """Also when the loop has closed the transport already, as uvloop does when it is interrupted."""
    where = {"tcp": "tcp://127.0.0.1:0", "unix": f"unix://{tmp_path}/s", "memory": "memory:given-up"}[scheme]
    async with pb.serve(Desk(), where) as server:
        for moment in range(15):
            connecting = asyncio.ensure_future(_connected(server.urls[0]))
            await turns(moment)
            connecting.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await (await connecting).connection.close()


async def _connected(url: str) -> pb.RemoteReference:
    return await pb.connect(url)
