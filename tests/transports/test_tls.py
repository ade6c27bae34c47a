"""TLS below the broker: files and their flaws, renewal, handshakes and their ends, channel binding."""

from __future__ import annotations

import asyncio
import hashlib
import os
import resource
import ssl
import sys
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
import trustme
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ed25519

import perspective_broker as pb
from perspective_broker import transports
from perspective_broker.testing import ScriptedPeer
from perspective_broker.transports import TLSChannel, certificate_error_text
from perspective_broker.transports.tls import _ServerContext
from tests.authority import Authority
from tests.loops import both_loops

PEM_HEADER = ssl.PEM_HEADER.encode()


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path / "authority")


# -- files


def test_a_certificate_and_its_key_may_be_two_files(authority: Authority, tmp_path: Path) -> None:
    both = authority.issue("localhost").read_text()
    key, _, certificates = both.partition("-----BEGIN CERTIFICATE-----")
    (tmp_path / "key.pem").write_text(key)
    (tmp_path / "cert.pem").write_text("-----BEGIN CERTIFICATE-----" + certificates)
    tls = pb.ServerTLS(tmp_path / "cert.pem", tmp_path / "key.pem")
    assert tls.context.minimum_version is ssl.TLSVersion.TLSv1_2


def test_a_missing_file_is_named(authority: Authority, tmp_path: Path) -> None:
    missing = tmp_path / "nowhere.pem"
    for make in (
        lambda: pb.ServerTLS(missing),
        lambda: pb.ServerTLS(authority.issue("localhost"), missing),
        lambda: pb.ServerTLS(authority.issue("localhost"), client_ca=missing),
        lambda: pb.ClientTLS(missing),
        lambda: pb.ClientTLS(certificate=missing),
    ):
        with pytest.raises(FileNotFoundError, match=r"nowhere\.pem"):
            make()


def test_what_is_wrong_with_a_file_is_said(authority: Authority, tmp_path: Path) -> None:
    one, other = authority.issue("one"), authority.issue("other")
    junk = tmp_path / "junk.pem"
    junk.write_bytes(b"\xff junk")
    with pytest.raises(pb.TLSError, match=r"other\.pem: the key belongs to another certificate"):
        pb.ServerTLS(one, other)
    for make in (
        lambda: pb.ServerTLS(junk),
        lambda: pb.ServerTLS(authority.file),
        lambda: pb.ServerTLS(one, client_ca=junk),
        lambda: pb.ClientTLS(junk),
        lambda: pb.ClientTLS(certificate=junk),
    ):
        with pytest.raises(pb.TLSError) as caught:
            make()
        assert caught.value.code == "bad-certificate"
        assert ".pem: no certificate" in caught.value.reason


def test_an_encrypted_key_without_its_password_is_refused_and_nobody_is_asked(
    authority: Authority, tmp_path: Path
) -> None:
    path = authority.issue("localhost")
    key = serialization.load_pem_private_key(path.read_bytes(), None)
    (tmp_path / "key.pem").write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.BestAvailableEncryption(b"open sesame"),
        )
    )
    pb.ServerTLS(path, tmp_path / "key.pem", password="open sesame")
    for password in (None, "sesame"):
        with pytest.raises(pb.TLSError, match="password"):
            pb.ServerTLS(path, tmp_path / "key.pem", password=password)


def test_a_failed_reload_leaves_in_use_what_was(authority: Authority) -> None:
    path = authority.issue("localhost")
    tls = pb.ServerTLS(path)
    before = tls.context
    good = path.read_bytes()
    path.write_bytes(good[: len(good) // 2])
    with pytest.raises(pb.TLSError):
        tls.reload()
    assert tls.context is before
    path.write_bytes(good)
    tls.reload()
    assert tls.context is not before


@pytest.mark.parametrize("how_often", [1, 4, 1000])
def test_a_certificate_that_is_replaced_while_it_is_read(
    how_often: int, authority: Authority, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The certificate that the context shows, and the one that logins are bound to, are of one reading."""
    path = authority.issue("localhost")
    tls = pb.ServerTLS(path)
    before = tls.context
    left = how_often
    original = ssl.SSLContext.load_cert_chain

    def load(self: ssl.SSLContext, *args: Any) -> None:
        nonlocal left
        if left:
            left -= 1
            authority.issue("localhost")
        original(self, *args)

    monkeypatch.setattr(ssl.SSLContext, "load_cert_chain", load)
    if how_often == 1000:
        with pytest.raises(pb.TLSError, match="changed during each of 5 readings"):
            tls.reload()
        assert tls.context is before
        return
    tls.reload()
    assert left == 0
    assert shown(tls) == leaf(path)


@pytest.mark.parametrize("loads", ["load_cert_chain", "load_verify_locations"])
@pytest.mark.parametrize("how", ["one after the other", "missing for a moment", "half written"])
def test_files_that_belong_together_are_of_one_reading(
    loads: str, how: str, authority: Authority, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another program puts new files in their place, a step each time that OpenSSL reads one."""
    files = [tmp_path / name for name in ("cert.pem", "key.pem", "clients.pem")]

    def issue() -> list[bytes]:
        key, begin, certificates = authority.issue("localhost").read_bytes().partition(PEM_HEADER)
        return [begin + certificates, key, authority.file.read_bytes()]

    def put(data: list[bytes]) -> None:
        for file, content in zip(files, data, strict=True):
            file.write_bytes(content)

    put(issue())
    tls = pb.ServerTLS(files[0], files[1], client_ca=files[2])
    new = issue()

    def replace() -> Iterator[None]:
        if how == "missing for a moment":
            for file in files:
                file.unlink()
            yield
            put(new)
        elif how == "half written":
            put([content[:100] for content in new])
            yield
            put(new)
        else:
            for file, content in zip(files, new, strict=True):
                file.write_bytes(content)
                yield

    steps = replace()
    original = getattr(ssl.SSLContext, loads)

    def load(self: ssl.SSLContext, *args: Any, **kwargs: Any) -> None:
        before = next(steps, True)
        try:
            original(self, *args, **kwargs)
        finally:
            if before is None:
                next(steps, None)

    monkeypatch.setattr(ssl.SSLContext, loads, load)
    tls.reload()
    assert next(steps, True)  # all is in place
    assert shown(tls) == leaf(files[0])


def test_a_file_that_vanishes_while_it_is_read_is_named(
    authority: Authority, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = authority.issue("localhost")
    tls = pb.ServerTLS(path)
    before = tls.context
    original = ssl.SSLContext.load_cert_chain

    def load(self: ssl.SSLContext, *args: Any) -> None:
        path.unlink(missing_ok=True)
        original(self, *args)

    monkeypatch.setattr(ssl.SSLContext, "load_cert_chain", load)
    with pytest.raises(FileNotFoundError) as caught:
        tls.reload()
    assert certificate_error_text(caught.value) == f"{path}: No such file or directory"
    assert tls.context is before


def test_trouble_without_a_file_is_told_as_it_is() -> None:
    assert certificate_error_text(OSError(24, "Too many open files")) == "[Errno 24] Too many open files"


def shown(tls: pb.ServerTLS) -> bytes | None:
    """Return the certificate that logins are bound to."""
    assert isinstance(tls.context, _ServerContext)
    return tls.context.leaf


# -- handshakes


class Note(asyncio.Protocol):
    """Records its calls, in order."""

    def __init__(self) -> None:
        self.notes: list[object] = []
        self.news = asyncio.Event()
        self.transport: asyncio.BaseTransport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport
        self.note("made")

    def data_received(self, data: bytes) -> None:
        self.note(data)

    def connection_lost(self, exc: Exception | None) -> None:
        self.note("lost")

    def note(self, what: object) -> None:
        self.notes.append(what)
        self.news.set()

    async def until(self, what: object) -> None:
        while what not in self.notes:
            self.news.clear()
            await self.news.wait()


class Eager(Note):
    """Sends bytes, and in one form hangs up, as soon as it is connected."""

    def __init__(self, hang_up: bool) -> None:
        super().__init__()
        self._hang_up = hang_up

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        transport.write(b"early")  # type: ignore[attr-defined]
        if self._hang_up:
            transport.close()


@both_loops
@pytest.mark.parametrize("hang_up", [False, True])
async def test_what_a_client_says_at_once_comes_after_the_connection_was_made(
    authority: Authority, hang_up: bool
) -> None:
    accepted, eager = Note(), Eager(hang_up)
    listener = await transports.listen(
        transports.parse_url("tls://127.0.0.1:0"), lambda: accepted, authority.server(), 10
    )
    address = transports.parse_url(listener.urls[0])
    await transports.connect(address, lambda: eager, authority.trusted(), 10)
    await accepted.until(b"early")
    assert eager.transport is not None
    eager.transport.close()
    await accepted.until("lost")
    await eager.until("lost")
    assert accepted.notes == ["made", b"early", "lost"]
    listener.close()
    await listener.wait_closed()


@both_loops
async def test_closing_the_listener_ends_handshakes_that_are_under_way(authority: Authority) -> None:
    listener = await transports.listen(
        transports.parse_url("tls://127.0.0.1:0"), Note, authority.server(), 3600
    )
    async with ScriptedPeer.connect(listener.urls[0].replace("tls:", "tcp:")) as silent:
        silent.send_bytes(b"\x16\x03\x01")  # it has begun, and goes no further
        for _ in range(20):
            await asyncio.sleep(0)
        listener.close()
        await listener.wait_closed()
        await silent.read_to_end()


@both_loops
async def test_a_client_that_never_says_hello_is_dropped_in_time(authority: Authority) -> None:
    listener = await transports.listen(
        transports.parse_url("tls://127.0.0.1:0"), Note, authority.server(), 0.05
    )
    async with ScriptedPeer.connect(listener.urls[0].replace("tls:", "tcp:")) as silent:
        assert await silent.read_to_end() == b""
    listener.close()
    await listener.wait_closed()


@both_loops
async def test_a_server_that_never_answers_hello_is_given_up_in_time() -> None:
    async with ScriptedPeer.listen("tcp://127.0.0.1:0") as listener:
        address = transports.parse_url(listener.url.replace("tcp:", "tls:"))
        with pytest.raises(pb.TLSError) as caught:
            await transports.connect(address, Note, None, 0.05)
        assert caught.value.code == "timeout"
        await (await listener.accept()).aclose()


@both_loops
async def test_a_server_that_hangs_up_in_the_handshake_is_a_lost_one() -> None:
    async with ScriptedPeer.listen("tcp://127.0.0.1:0") as listener:
        address = transports.parse_url(listener.url.replace("tcp:", "tls:"))
        connecting = asyncio.ensure_future(transports.connect(address, Note, None, 10))
        peer = await listener.accept()
        await peer.read_bytes(1)
        await peer.aclose()
        with pytest.raises(pb.TLSError) as caught:
            await connecting
        assert caught.value.code == "lost"


@both_loops
async def test_out_of_file_descriptors_the_next_connection_waits_until_there_is_one(
    authority: Authority, caplog: pytest.LogCaptureFixture
) -> None:
    accepted, client = Note(), Note()
    listener = await transports.listen(
        transports.parse_url("tls://127.0.0.1:0"), lambda: accepted, authority.server(), 10
    )
    address = transports.parse_url(listener.urls[0])
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    connecting = asyncio.ensure_future(transports.connect(address, lambda: client, authority.trusted(), 10))
    for _ in range(3):
        await asyncio.sleep(0)  # it has its socket now
    first_free = os.dup(0)
    os.close(first_free)
    resource.setrlimit(resource.RLIMIT_NOFILE, (first_free, hard))
    try:
        while "no connection can be accepted" not in caplog.text:
            await asyncio.sleep(0)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    await connecting
    await accepted.until("made")
    assert len(caplog.records) == 1
    assert client.transport is not None
    client.transport.close()
    await accepted.until("lost")
    await client.until("lost")
    listener.close()
    await listener.wait_closed()


@both_loops
async def test_an_address_that_is_taken_is_refused(authority: Authority) -> None:
    listener = await transports.listen(transports.parse_url("tls://127.0.0.1:0"), Note, authority.server())
    with pytest.raises(OSError, match=r"127\.0\.0\.1.*in use"):
        await transports.listen(transports.parse_url(listener.urls[0]), Note, authority.server())
    listener.close()
    await listener.wait_closed()


@both_loops
async def test_without_a_host_it_is_reachable_by_every_address(authority: Authority) -> None:
    listener = await transports.listen(transports.parse_url("tls://:0"), Note, authority.server())
    for url in listener.urls:
        host = "::1" if "[" in url else "127.0.0.1"
        url = str(transports.Address("tls", host, transports.parse_url(url).port))
        with pytest.raises(pb.TLSError) as caught:
            await transports.connect(transports.parse_url(url), Note)
        assert caught.value.code == "unknown-authority"
    listener.close()
    await listener.wait_closed()


async def test_nobody_listening_is_no_matter_of_tls(authority: Authority) -> None:
    listener = await transports.listen(
        transports.parse_url("tls://127.0.0.1:0"), Note, authority.server(), 10
    )
    (url,) = listener.urls
    listener.close()
    await listener.wait_closed()
    with pytest.raises(ConnectionRefusedError):
        await transports.connect(transports.parse_url(url), Note)


# -- channel binding


def channel_of(certificate: bytes | None) -> TLSChannel:
    return TLSChannel("TLSv1.3", None, certificate)


def leaf(path: Path) -> bytes:
    begin = "-----BEGIN CERTIFICATE-----"
    return ssl.PEM_cert_to_DER_cert(begin + path.read_text().split(begin)[1])


#: How a certificate names "signed by RSA with ...": these bytes, and then one for the hash.
RSA_WITH = bytes.fromhex("2a864886f70d0101")


@pytest.mark.parametrize("key_type", list(trustme.KeyType))
def test_the_end_point_is_the_hash_of_the_certificate(
    authority: Authority, key_type: trustme.KeyType
) -> None:
    der = leaf(authority.issue("localhost", key_type=key_type))
    assert channel_of(der).binding("tls-server-end-point") == hashlib.sha256(der).digest()


@pytest.mark.parametrize(
    ("byte", "used"),
    [(4, "sha256"), (5, "sha256"), (11, "sha256"), (12, "sha384"), (13, "sha512")],
    ids=["MD5", "SHA-1", "SHA-256", "SHA-384", "SHA-512"],
)
def test_the_hash_is_that_of_the_signature_but_never_a_weak_one(tmp_path: Path, byte: int, used: str) -> None:
    signed_by_rsa = trustme.CA(key_type=trustme.KeyType.RSA).issue_cert("localhost")
    signed_by_rsa.cert_chain_pems[0].write_to_path(str(tmp_path / "rsa.pem"))
    der = leaf(tmp_path / "rsa.pem")
    assert der.count(RSA_WITH + bytes([11])) == 2
    der = der.replace(RSA_WITH + bytes([11]), RSA_WITH + bytes([byte]))
    assert channel_of(der).binding("tls-server-end-point") == hashlib.new(used, der).digest()


def test_there_is_no_end_point_without_a_certificate_or_a_hash() -> None:
    key = ed25519.Ed25519PrivateKey.generate()
    nobody = x509.Name([])
    by_ed25519 = (
        x509.CertificateBuilder(nobody, nobody, key.public_key(), 1)
        .not_valid_before(datetime(2020, 1, 1))
        .not_valid_after(datetime(2040, 1, 1))
        .sign(key, None)
        .public_bytes(serialization.Encoding.DER)
    )
    for certificate in (None, b"no certificate", by_ed25519):
        assert channel_of(certificate).binding("tls-server-end-point") is None


def test_there_is_no_other_kind_of_binding(authority: Authority) -> None:
    assert channel_of(leaf(authority.issue("localhost"))).binding("tls-unique") is None


def test_without_its_library_there_is_no_binding(
    authority: Authority, monkeypatch: pytest.MonkeyPatch
) -> None:
    der = leaf(authority.issue("localhost"))
    monkeypatch.setitem(sys.modules, "cryptography", None)  # what an import of something absent finds
    assert channel_of(der).binding("tls-server-end-point") is None
