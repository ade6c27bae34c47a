"""tls:// as programs use it: what a connection knows, what is refused and how it is said, certificates renewed."""

from __future__ import annotations

import asyncio
import logging
import socket
import ssl
import threading
import warnings
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

import pytest

import perspective_broker as pb
from perspective_broker import transports
from perspective_broker.testing import ScriptedPeer
from tests.aio.desk import Desk
from tests.authority import Authority
from tests.cred.logins import Chat
from tests.loops import both_loops

pytestmark = both_loops

ANYWHERE = "tls://127.0.0.1:0"


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path / "authority")


@pytest.fixture
def stranger(tmp_path: Path) -> Authority:
    """An authority that nobody believes."""
    return Authority(tmp_path / "stranger")


def plain(url: str) -> str:
    return url.replace("tls:", "tcp:")


async def refused(url: str, tls: pb.ClientTLS | ssl.SSLContext | None) -> str:
    """Connect in vain; return the code of the error."""
    with pytest.raises(pb.TLSError) as caught:
        await pb.connect(url, tls=tls)
    return caught.value.code


# -- attributes of a connection


async def test_calls_cross_and_both_sides_know_their_channel(authority: Authority) -> None:
    desk = Desk()
    async with pb.serve(desk, ANYWHERE, tls=authority.server("127.0.0.1", "desk.example")) as server:
        assert server.urls[0].startswith("tls://127.0.0.1:")
        async with pb.connect(server.urls[0], tls=authority.trusted()) as root:
            assert await root.call("echo", "hello") == "hello"
            large = bytes(600_000)
            assert await asyncio.gather(*(root.call("echo", large) for _ in range(8))) == [large] * 8
            (accepted,) = server.connections
            assert root.connection.tls_version == accepted.tls_version == "TLSv1.3"
            certificate = root.connection.peer_certificate
            assert certificate is not None
            assert certificate.dns_names == ("desk.example",)
            assert certificate.addresses == ("127.0.0.1",)
            assert len(certificate.fingerprint) == 64
            assert accepted.peer_certificate is None
            binding = root.connection.channel_binding("tls-server-end-point")
            assert binding is not None
            assert binding == accepted.channel_binding("tls-server-end-point")
        assert root.connection.peer_certificate == certificate  # it stays true


async def test_without_tls_there_is_nothing_to_know() -> None:
    async with pb.serve(Desk(), "tcp://127.0.0.1:0") as server, pb.connect(server.urls[0]) as root:
        for connection in (root.connection, server.connections[0]):
            assert connection.tls_version == ""
            assert connection.peer_certificate is None
            assert connection.channel_binding() is None


async def test_what_was_not_verified_is_no_peer_certificate(authority: Authority) -> None:
    careless = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    careless.check_hostname = False
    careless.verify_mode = ssl.CERT_NONE
    async with (
        pb.serve(Desk(), ANYWHERE, tls=authority.server()) as server,
        pb.connect(server.urls[0], tls=careless) as root,
    ):
        assert root.connection.peer_certificate is None
        # ... but a login can still be bound to the shown certificate
        assert root.connection.channel_binding() == server.connections[0].channel_binding()


async def test_of_a_bare_context_a_server_cannot_tell_which_certificate_it_shows(
    authority: Authority,
) -> None:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(authority.issue("127.0.0.1"))
    async with (
        pb.serve(Desk(), ANYWHERE, tls=context) as server,
        pb.connect(server.urls[0], tls=authority.trusted()) as root,
    ):
        assert await root.call("echo", 1) == 1
        assert server.connections[0].channel_binding() is None


# -- refusals


async def test_an_expired_certificate_is_refused(authority: Authority) -> None:
    tls = authority.server("127.0.0.1", expired=True)
    async with pb.serve(Desk(), ANYWHERE, tls=tls) as server:
        assert await refused(server.urls[0], authority.trusted()) == "certificate-expired"
        assert server.connections == []


async def test_a_certificate_for_another_name_is_refused(authority: Authority) -> None:
    for host, certified in [("localhost", "other.example"), ("127.0.0.1", "127.0.0.2")]:
        tls = authority.server(certified)
        async with pb.serve(Desk(), f"tls://{host}:0", tls=tls) as server:
            assert await refused(server.urls[0], authority.trusted()) == "wrong-name"


async def test_a_certificate_of_an_unknown_authority_is_refused(
    authority: Authority, stranger: Authority
) -> None:
    async with pb.serve(Desk(), ANYWHERE, tls=stranger.server()) as server:
        assert await refused(server.urls[0], authority.trusted()) == "unknown-authority"
        assert (
            await refused(server.urls[0], None) == "unknown-authority"
        )  # the system does not know it either


async def test_a_self_signed_certificate_is_refused(authority: Authority) -> None:
    async with pb.serve(Desk(), ANYWHERE, tls=authority.self_signed("127.0.0.1")) as server:
        assert await refused(server.urls[0], authority.trusted()) == "unknown-authority"


def only_tls_1_1(context: ssl.SSLContext) -> ssl.SSLContext:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        context.minimum_version = context.maximum_version = ssl.TLSVersion.TLSv1_1
        context.set_ciphers("ALL:@SECLEVEL=0")
    return context


@contextmanager
def foreign_server(context: ssl.SSLContext) -> Iterator[str]:
    """A server that is not ours: OpenSSL's own, which says by an alert what it does not like. One connection."""

    def serve() -> None:
        try:
            accepted, _ = listening.accept()
            with accepted, context.wrap_socket(accepted, server_side=True) as secured:
                secured.recv(1)
        except OSError:
            pass  # that is what it is for

    with socket.create_server(("127.0.0.1", 0)) as listening:
        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield f"tls://127.0.0.1:{listening.getsockname()[1]}"
        finally:
            thread.join()


async def test_a_server_of_tls_1_1_is_refused(authority: Authority) -> None:
    context = only_tls_1_1(ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER))
    context.load_cert_chain(authority.issue("127.0.0.1"))
    with foreign_server(context) as url:
        assert await refused(url, authority.trusted()) == "tls-version"


async def test_a_client_of_tls_1_1_is_refused(authority: Authority, caplog: pytest.LogCaptureFixture) -> None:
    context = only_tls_1_1(ssl.create_default_context(cafile=str(authority.file)))
    with caplog.at_level(logging.DEBUG, "perspective_broker"):
        async with pb.serve(Desk(), ANYWHERE, tls=authority.server()) as server:
            assert await refused(server.urls[0], context) == "lost"
            assert server.connections == []
    assert "tls-version: the peer offers no version of TLS that is allowed here" in caplog.text


async def test_tls_to_a_plain_port_fails_at_once(authority: Authority) -> None:
    async with pb.serve(Desk(), "tcp://127.0.0.1:0") as server:
        url = server.urls[0].replace("tcp:", "tls:")
        assert await refused(url, authority.trusted()) == "not-tls"


async def test_a_plain_client_of_a_tls_port_is_told_within_the_handshake_time(authority: Authority) -> None:
    # Both would wait for the other to begin, so patience is all there is to measure; the client's ends first here.
    async with pb.serve(Desk(), ANYWHERE, tls=authority.server()) as server:
        with pytest.raises(pb.ProtocolError, match="tls://"):
            await pb.connect(plain(server.urls[0]), limits=pb.Limits(handshake_seconds=0.05))
    # And here the server's.
    limits = pb.Limits(handshake_seconds=0.05)
    async with pb.serve(Desk(), ANYWHERE, tls=authority.server(), limits=limits) as server:
        with pytest.raises(pb.ProtocolError, match="hung up"):
            await pb.connect(plain(server.urls[0]))


async def test_a_stranger_who_speaks_something_else_is_hung_up_on(authority: Authority) -> None:
    async with pb.serve(Desk(), ANYWHERE, tls=authority.server()) as server:
        async with ScriptedPeer.connect(plain(server.urls[0])) as peer:
            peer.send_bytes(b"GET / HTTP/1.1\r\nHost: here\r\n\r\n")
            await peer.read_to_end()
        assert server.connections == []


async def test_closing_the_server_does_not_wait_for_a_handshake(authority: Authority) -> None:
    async with (
        pb.serve(Desk(), ANYWHERE, tls=authority.server()) as server,
        ScriptedPeer.connect(plain(server.urls[0])) as silent,
    ):
        silent.send_bytes(b"\x16\x03\x01")
        await server.close()
        await silent.read_to_end()


# -- certificates renewed


async def test_renewed_certificates_are_for_new_connections_and_end_no_old_one(authority: Authority) -> None:
    tls = authority.server("127.0.0.1")
    async with (
        pb.serve(Desk(), ANYWHERE, tls=tls) as server,
        pb.connect(server.urls[0], tls=authority.trusted()) as old,
    ):
        authority.issue("127.0.0.1")
        tls.reload()
        async with pb.connect(server.urls[0], tls=authority.trusted()) as new:
            assert await old.call("echo", "still here") == "still here"
            assert await new.call("echo", "here too") == "here too"
            assert old.connection.peer_certificate != new.connection.peer_certificate
            bindings = [end.connection.channel_binding() for end in (old, new)]
            assert bindings == [accepted.channel_binding() for accepted in server.connections]
            assert len(set(bindings)) == 2


async def test_a_certificate_that_has_expired_can_be_renewed(authority: Authority) -> None:
    tls = authority.server("127.0.0.1", expired=True)
    async with pb.serve(Desk(), ANYWHERE, tls=tls) as server:
        assert await refused(server.urls[0], authority.trusted()) == "certificate-expired"
        authority.issue("127.0.0.1")
        tls.reload()
        async with pb.connect(server.urls[0], tls=authority.trusted()) as root:
            assert await root.call("echo", 1) == 1


# -- clients with certificates


def server_that_asks(authority: Authority, *, required: bool = True) -> pb.ServerTLS:
    certificate = authority.issue("127.0.0.1")
    return pb.ServerTLS(certificate, client_ca=authority.file, client_required=required)


async def test_a_client_is_known_by_its_certificate(authority: Authority) -> None:
    alice = authority.issue("alice@example.org", common_name="alice")
    async with (
        pb.serve(Desk(), ANYWHERE, tls=server_that_asks(authority)) as server,
        pb.connect(server.urls[0], tls=pb.ClientTLS(authority.file, certificate=alice)) as root,
    ):
        assert await root.call("echo", 1) == 1
        certificate = server.connections[0].peer_certificate
        assert certificate is not None
        assert certificate.common_name == "alice"
        assert certificate.emails == ("alice@example.org",)
        assert certificate.dns_names == certificate.uris == certificate.addresses == ()


async def test_a_client_without_a_certificate_is_refused_where_one_is_asked_for(authority: Authority) -> None:
    async with pb.serve(Desk(), ANYWHERE, tls=server_that_asks(authority)) as server:
        assert await refused(server.urls[0], authority.trusted()) == "certificate-refused"
        assert server.connections == []
    with foreign_server(server_that_asks(authority).context) as url:
        assert await refused(url, authority.trusted()) == "certificate-required"


async def test_a_client_with_a_certificate_of_a_stranger_is_refused(
    authority: Authority, stranger: Authority
) -> None:
    for required in (True, False):
        tls = server_that_asks(authority, required=required)
        async with pb.serve(Desk(), ANYWHERE, tls=tls) as server:
            impostor = pb.ClientTLS(authority.file, certificate=stranger.issue("alice@example.org"))
            assert await refused(server.urls[0], impostor) == "certificate-refused"
            assert server.connections == []
        with foreign_server(tls.context) as url:
            assert await refused(url, impostor) == "certificate-refused"


async def test_a_certificate_can_be_left_to_the_client(authority: Authority) -> None:
    tls = server_that_asks(authority, required=False)
    async with (
        pb.serve(Desk(), ANYWHERE, tls=tls) as server,
        pb.connect(server.urls[0], tls=authority.trusted()) as root,
    ):
        assert await root.call("echo", 1) == 1
        assert server.connections[0].peer_certificate is None


# -- misuse


async def test_tls_and_urls_that_do_not_fit_are_found_at_once(authority: Authority) -> None:
    with pytest.raises(ValueError, match="go together"):
        pb.serve(Desk(), ANYWHERE)
    with pytest.raises(ValueError, match="go together"):
        pb.serve(Desk(), "tcp://127.0.0.1:0", tls=authority.server())
    with pytest.raises(ValueError, match="nothing encrypts"):
        pb.connect("tcp://127.0.0.1:1", tls=authority.trusted())


async def test_what_is_for_the_other_side_is_refused(authority: Authority) -> None:
    for wrong in (authority.trusted(), ssl.create_default_context(), "cert.pem"):
        with pytest.raises(TypeError, match="ServerTLS"):
            await pb.serve(Desk(), ANYWHERE, tls=wrong)  # type: ignore[arg-type]
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    for wrong_here in (authority.server(), context, True):
        with pytest.raises(TypeError, match="ClientTLS"):
            await pb.connect("tls://127.0.0.1:1", tls=wrong_here)  # type: ignore[arg-type]


# -- logins


def mail_of(certificate: pb.annotations.PeerCertificate) -> str | None:
    """Whom a certificate stands for: who has the mail address at our place."""
    names = [mail.removesuffix("@example.org") for mail in certificate.emails]
    return names[0] if names and names[0] + "@example.org" == certificate.emails[0] else None


@asynccontextmanager
async def chat(authority: Authority, certificate_user: Any = mail_of) -> AsyncIterator[pb.Server]:
    """Serve an application that alice may use, and who has disabled himself may not."""
    app = pb.Application("chat", certificate_user=certificate_user)
    app.add_service(Chat())
    for name in ("alice", "bob"):
        await app.authorizer.create(name, "white rabbit")
        await app.authorizer.grant(name, "chat")
    await app.authorizer.disable("bob")
    async with pb.serve(app, ANYWHERE, tls=server_that_asks(authority, required=False)) as server:
        yield server


def shown(authority: Authority, name: str) -> pb.ClientTLS:
    return pb.ClientTLS(authority.file, certificate=authority.issue(name))


class Pipe(asyncio.Protocol):
    """One end of a relay: bytes from here leave there."""

    def __init__(self, there: Pipe | None = None) -> None:
        self.there = there
        self.transport: Any = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport
        if self.there is not None:
            self.there.there = self

    def data_received(self, data: bytes) -> None:
        assert self.there is not None
        self.there.transport.write(data)

    def connection_lost(self, exc: Exception | None) -> None:
        assert self.there is not None
        self.there.transport.close()


class Relay(Pipe):
    """The end towards the victim: connects to the real server."""

    def __init__(self, url: str, tls: pb.ClientTLS) -> None:
        super().__init__()
        self._url, self._tls = url, tls

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        self.connecting = asyncio.ensure_future(
            transports.connect(transports.parse_url(self._url), lambda: Pipe(self), self._tls)
        )


async def log_in(url: str, authority: Authority) -> str:
    async with pb.connect(
        url, username="alice", password="white rabbit", service="chat", tls=authority.trusted()
    ) as me:
        name: str = await me.call("name")
        return name


async def test_a_login_cannot_be_relayed_by_who_has_another_certificate(authority: Authority) -> None:
    async with chat(authority) as server:
        assert await log_in(server.urls[0], authority) == "alice"

        def relay() -> Relay:
            return Relay(server.urls[0], authority.trusted())

        stolen = pb.ServerTLS(
            authority.directory / "127.0.0.1.pem"
        )  # which shows that the relay as such works
        own = authority.server("127.0.0.1")
        for shown_by_relay, outcome in ((stolen, "alice"), (own, "the login was refused")):
            listener = await transports.listen(transports.parse_url(ANYWHERE), relay, shown_by_relay)
            try:
                came_of_it = await log_in(listener.urls[0], authority)
            except pb.LoginFailed as error:
                came_of_it = str(error)
            assert came_of_it == outcome
            listener.close()
            await listener.wait_closed()


@pytest.mark.parametrize("service", ["chat", None])
async def test_a_certificate_stands_for_a_password(authority: Authority, service: str | None) -> None:
    async def mail_of_later(certificate: pb.annotations.PeerCertificate) -> str | None:
        return mail_of(certificate)

    for certificate_user in (mail_of, mail_of_later):
        async with (
            chat(authority, certificate_user) as server,
            pb.connect(
                server.urls[0],
                username="alice",
                service=service,
                tls=shown(authority, "alice@example.org"),
            ) as me,
        ):
            assert await me.call("name") == "alice"


@pytest.mark.parametrize(
    ("owner", "username"),
    [
        ("alice@example.com", "alice"),  # somebody else's alice
        ("carol@example.org", "carol"),  # unknown
        ("bob@example.org", "bob"),  # disabled
        ("alice@example.org", "bob"),  # takes himself for another
        ("alice.example.org", "alice"),  # a certificate without an address
    ],
)
async def test_a_certificate_stands_for_nobody_else(authority: Authority, owner: str, username: str) -> None:
    async with chat(authority) as server:
        with pytest.raises(pb.LoginFailed, match=r"^the login was refused$"):
            await pb.connect(server.urls[0], username=username, service="chat", tls=shown(authority, owner))


async def test_without_a_certificate_there_is_no_login_by_it(authority: Authority) -> None:
    async with chat(authority) as server:
        with pytest.raises(pb.LoginFailed, match="no certificate"):
            await pb.connect(server.urls[0], username="alice", service="chat", tls=authority.trusted())
    async with chat(authority, None) as server:  # where certificates stand for nobody
        with pytest.raises(pb.LoginFailed, match="no certificate"):
            await pb.connect(
                server.urls[0],
                username="alice",
                service="chat",
                tls=shown(authority, "alice@example.org"),
            )


async def test_only_tls_can_do_without_a_password(authority: Authority) -> None:
    with pytest.raises(ValueError, match="needs a password"):
        pb.connect("tcp://127.0.0.1:1", username="alice", service="chat")
    with pytest.raises(ValueError, match="needs a password"):
        pb.connect("tls://127.0.0.1:1", username="alice", password="", service="chat")
