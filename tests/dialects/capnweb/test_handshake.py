"""The request in front: what is let in, and what is told to the rest."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

import perspective_broker as pb
from perspective_broker import Limits
from tests.authority import Authority
from tests.dialects.capnweb.peer import peer_of


class Api(pb.Root):
    def remote_echo(self, value: Any) -> Any:
        return value


async def status(origins: Any = (), hosts: Any = (), path: str = "", **headers: str) -> int:
    async with pb.serve(Api(), "ws://127.0.0.1:0", origins=origins, hosts=hosts) as server:
        port = urlsplit(server.urls[0]).port
        filled = {name: value.format(port=port) for name, value in headers.items()}
        async with peer_of(server.urls[0] + path, **filled) as peer:
            return peer.status


@pytest.mark.parametrize(
    ("expected", "arguments"),
    [
        (101, {}),
        (101, {"Origin": "http://127.0.0.1:{port}"}),
        (403, {"Origin": "http://127.0.0.1:1"}),
        (403, {"Origin": "https://evil.example"}),
        (403, {"Origin": "null"}),
        (403, {"Origin": "http://[bad"}),
        (101, {"Origin": "https://good.example", "origins": ["https://good.example"]}),
        (403, {"Origin": "https://good.example.evil", "origins": ["https://good.example"]}),
        (101, {"Origin": "https://evil.example", "origins": "*"}),
        (101, {"Host": "localhost:{port}", "Origin": "http://localhost:{port}"}),
        (403, {"Host": "evil.example:{port}", "Origin": "http://evil.example:{port}"}),
        (403, {"Host": "evil.example:{port}"}),
        (101, {"Host": "inside.example:{port}", "hosts": ["inside.example"]}),
        (404, {"path": "/elsewhere"}),
    ],
)
async def test_who_may_connect(expected: int, arguments: dict[str, Any]) -> None:
    assert await status(**arguments) == expected


async def talk(data: bytes, limits: Limits | None = None) -> bytes:
    """Return what a server answers to bytes, until it hangs up."""
    async with pb.serve(Api(), "ws://127.0.0.1:0", limits=limits) as server:
        reader, writer = await asyncio.open_connection("127.0.0.1", urlsplit(server.urls[0]).port)
        writer.write(data)
        try:
            return await asyncio.wait_for(reader.read(), 20)
        except ConnectionError:
            return b""
        finally:
            writer.close()


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n", b"HTTP/1.1 426 "),
        (b"POST / HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n", b"HTTP/1.1 405 "),
        (b"nonsense\r\n\r\n", b"HTTP/1.1 400 "),
        (b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nHost: x\r\n\r\n", b"HTTP/1.1 403 "),
        (b"GET / HTTP/1.1\r\nno colon\r\n\r\n", b"HTTP/1.1 400 "),
        (b"GET / HTTP/1.1\r\nX: " + b"x" * 9000 + b"\r\n\r\n", b"HTTP/1.1 400 "),
        (b"GET / HTTP/1.1\r\n" + b"X: y\r\n" * 200 + b"\r\n", b"HTTP/1.1 400 "),
        (b"x" * 100_000, b""),
        (b"\x16\x03\x01\x00\x05hello\r\n\r\n", b"HTTP/1.1 400 "),
    ],
)
async def test_bad_requests_are_told_in_http(data: bytes, expected: bytes) -> None:
    told = await talk(data)
    assert told.startswith(expected)
    assert b"nonsense" not in told


async def test_a_silent_client_is_given_up() -> None:
    assert await talk(b"GET / HTTP/1.1\r\n", Limits(handshake_seconds=0.2)) == b""


async def test_a_client_that_meets_another_server() -> None:
    async def serve_http(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi")
        writer.close()

    server = await asyncio.start_server(serve_http, "127.0.0.1", 0)
    async with server:
        port = server.sockets[0].getsockname()[1]
        with pytest.raises(pb.ProtocolError, match="status 200"):
            await pb.connect(f"ws://127.0.0.1:{port}")


async def test_keepalive_and_an_orderly_end() -> None:
    limits = Limits(ping_seconds=0.05, pong_seconds=5)
    async with pb.serve(Api(), "ws://127.0.0.1:0/a/b", limits=limits) as server:
        async with pb.connect(server.urls[0], limits=limits) as root:
            assert await root.call("echo", 1) == 1
            (connection,) = server.connections
            before = connection.statistics().bytes_received
            while connection.statistics().bytes_received < before + 12:  # pongs
                await asyncio.sleep(0.01)
        await connection.wait_closed()
        assert connection.close_cause is not None
        assert connection.close_cause.code == "closed"


@pytest.mark.parametrize("url", ["ws://127.0.0.1:1/a?b", "ws://user@127.0.0.1:1", "wss://h:1/a#b"])
def test_urls_that_are_refused(url: str) -> None:
    with pytest.raises(ValueError, match="urls are"):
        pb.connect(url)


def test_origins_are_checked_early() -> None:
    with pytest.raises(ValueError, match="origins"):
        pb.serve(Api(), "ws://127.0.0.1:0", origins=["example.org"])
    with pytest.raises(TypeError, match="origins"):
        pb.serve(Api(), "ws://127.0.0.1:0", origins="https://example.org")


class Avatar(pb.Referenceable):
    def remote_whoami(self) -> str:
        return "alice"


class Realm:
    async def request_avatar(self, avatar_id: Any, mind: Any) -> Any:
        return Avatar(), lambda: None


async def test_a_login_over_web_sockets() -> None:
    users = pb.MemoryAuthorizer()
    await users.create("alice", "white rabbit")
    async with pb.serve(pb.Portal(Realm(), users), "ws://127.0.0.1:0") as server:
        url = server.urls[0]
        async with pb.connect(url, username="alice", password="white rabbit") as avatar:
            assert await avatar.call("whoami") == "alice"
        with pytest.raises(pb.LoginFailed):
            await pb.connect(url, username="alice", password="red queen")


async def test_over_tls(tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    tls = pb.ServerTLS(authority.issue("localhost"))
    async with (
        pb.serve(Api(), "wss://localhost:0", tls=tls) as server,
        pb.connect(server.urls[0], tls=pb.ClientTLS(authority.file)) as root,
    ):
        assert server.urls[0].startswith("wss://")
        assert await root.call("echo", ["x"]) == ["x"]
