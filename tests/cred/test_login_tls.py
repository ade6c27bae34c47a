"""Logins over TLS: bound to the channel, so a man in the middle cannot use one, even with a trusted certificate."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

import perspective_broker as pb
from perspective_broker.cred.scram import BOUND, UNBOUND
from tests.authority import Authority
from tests.cred.logins import Chat, application
from tests.loops import both_loops

pytestmark = both_loops


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path / "authority")


class Noting(pb.Application):
    """Notes how its clients log in."""

    def __init__(self, authorizer: pb.Authorizer) -> None:
        super().__init__("noting", authorizer)
        self.add_service(Chat())
        self.asked: list[tuple[bytes, bytes]] = []

    def root_object(self, connection: Any) -> Any:
        auth = super().root_object(connection)
        authenticate = auth.remote_authenticate

        def note(mechanism: Any, client_first: Any) -> Any:
            self.asked.append((mechanism, client_first.partition(b",")[0]))
            return authenticate(mechanism, client_first)

        auth.remote_authenticate = note  # type: ignore[method-assign]
        return auth


async def noting() -> Noting:
    return Noting((await application()).authorizer)


def log_in(url: str, tls: Any) -> Any:
    return pb.connect(url, username="alice", password="secret", service="chat", tls=tls)


async def test_it_is_bound(authority: Authority) -> None:
    app = await noting()
    async with (
        pb.serve(app, "tls://127.0.0.1:0", tls=authority.server()) as server,
        log_in(server.urls[0], authority.trusted()) as me,
    ):
        assert await me.call("name") == "alice"
        assert me.connection.is_secure
        assert me.connection.is_verified
        (accepted,) = server.connections
        assert accepted.is_secure
        assert not accepted.is_verified  # the server knows its client by the login, not by TLS
    assert app.asked == [(BOUND.encode(), b"p=tls-server-end-point")]


@contextlib.asynccontextmanager
async def in_between(
    url: str, shows: ssl.SSLContext | None, believes: ssl.SSLContext | None
) -> AsyncIterator[str]:
    """A man in the middle: accepts connections, and relays all bytes to a server of ours."""
    port = int(url.rpartition(":")[2])
    tasks: set[asyncio.Task[Any]] = set()

    async def copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            while data := await reader.read(65536):
                writer.write(data)
        writer.close()

    async def relay(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        tasks.add(task)
        there, onwards = await asyncio.open_connection("127.0.0.1", port, ssl=believes)
        await asyncio.gather(copy(reader, onwards), copy(there, writer))
        with contextlib.suppress(OSError):
            await asyncio.gather(writer.wait_closed(), onwards.wait_closed())

    listener = await asyncio.start_server(relay, "127.0.0.1", 0, ssl=shows)
    try:
        scheme = "tls" if shows is not None else "tcp"
        yield f"{scheme}://127.0.0.1:{listener.sockets[0].getsockname()[1]}"
    finally:
        listener.close()
        await asyncio.gather(*tasks)


def anyone() -> ssl.SSLContext:
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


async def test_who_is_in_between_gets_nothing(authority: Authority) -> None:
    # The relay has a certificate that the client trusts, and its own TLS connection with the server.
    app = await noting()
    async with pb.serve(app, "tls://127.0.0.1:0", tls=authority.server()) as server:
        his = authority.server("127.0.0.1", "mallory.example").context
        async with in_between(server.urls[0], his, anyone()) as url:
            with pytest.raises(pb.LoginFailed, match="the login was refused"):
                await log_in(url, authority.trusted())
    assert app.asked == [(BOUND.encode(), b"p=tls-server-end-point")]


async def test_tls_that_ends_before_the_server(authority: Authority) -> None:
    # The operator's own proxy: the server cannot bind, and the client announces that it could.
    app = await noting()
    async with (
        pb.serve(app, "tcp://127.0.0.1:0") as server,
        in_between(server.urls[0], authority.server().context, None) as url,
        log_in(url, authority.trusted()) as me,
    ):
        assert await me.call("name") == "alice"
    assert app.asked == [(BOUND.encode(), b"p=tls-server-end-point"), (UNBOUND.encode(), b"y")]


async def test_a_server_that_does_not_know_its_certificate(authority: Authority) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(authority.issue("localhost", "127.0.0.1"))
    app = await noting()
    async with (
        pb.serve(app, "tls://127.0.0.1:0", tls=context) as server,
        log_in(server.urls[0], authority.trusted()),
    ):
        pass
    assert app.asked[-1] == (UNBOUND.encode(), b"y")


@pytest.mark.parametrize("verified", [True, False])
async def test_verified_is_what_was_verified(authority: Authority, verified: bool) -> None:
    async with (
        pb.serve(pb.Root(), "tls://127.0.0.1:0", tls=authority.server()) as server,
        pb.connect(server.urls[0], tls=authority.trusted() if verified else anyone()) as root,
    ):
        assert root.connection.is_secure
        assert root.connection.is_verified is verified


async def test_without_verification_it_is_bound_all_the_same(authority: Authority) -> None:
    app = await noting()
    async with pb.serve(app, "tls://127.0.0.1:0", tls=authority.server()) as server:
        await (await log_in(server.urls[0], anyone())).connection.close()
        async with in_between(server.urls[0], authority.server("mallory.example").context, anyone()) as url:
            with pytest.raises(pb.LoginFailed):
                await log_in(url, anyone())
    assert {flag for _, flag in app.asked} == {b"p=tls-server-end-point"}
