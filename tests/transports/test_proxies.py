"""Trusted proxies: their header before a connection, the addresses that may send it, and the resulting source."""

from __future__ import annotations

import contextlib
import logging
from pathlib import Path

import pytest

import perspective_broker as pb
from perspective_broker.testing import ScriptedPeer
from perspective_broker.transports.proxies import (
    UNKNOWN_PEER,
    HeaderError,
    TrustedProxies,
    header_size,
    peer_in,
)
from tests.aio.desk import Desk, until
from tests.authority import Authority
from tests.loops import both_loops
from tests.proxying import SIGNATURE, header, proxy

LOCAL = SIGNATURE + b"\x20\0\0\0"


@pytest.mark.parametrize(
    ("said", "peer"),
    [
        (header("192.0.2.7"), ("192.0.2.7", 4711)),
        (header("2001:db8::7", 1), ("2001:db8::7", 1)),
        (header("192.0.2.7", more=b"\x20" + bytes(500)), ("192.0.2.7", 4711)),
        (LOCAL, UNKNOWN_PEER),
        (SIGNATURE + b"\x21\x31\0\xd8" + bytes(216), UNKNOWN_PEER),
        (SIGNATURE + b"\x21\0\0\x03abc", UNKNOWN_PEER),
    ],
)
def test_what_a_header_says(said: bytes, peer: tuple[str, int]) -> None:
    assert len(said) == 16 + header_size(said[:16])
    assert peer_in(said) == peer
    for cut in range(len(said)):
        with pytest.raises(HeaderError):
            peer_in(said[:cut])


@pytest.mark.parametrize(
    "fixed",
    [
        b"PROXY TCP4 192.0",
        b"GET / HTTP/1.1\r\n",
        SIGNATURE + b"\x11\x11\0\x0c",
        SIGNATURE + b"\x22\x11\0\x0c",
        SIGNATURE + b"\x21\x11\xff\xff",
        SIGNATURE,
        b"",
    ],
)
def test_what_is_no_header(fixed: bytes) -> None:
    with pytest.raises(HeaderError):
        header_size(fixed)


def test_addresses_that_do_not_fit_are_no_header() -> None:
    with pytest.raises(HeaderError):
        peer_in(SIGNATURE + b"\x21\x11\0\x04" + bytes(4))


def test_who_is_trusted() -> None:
    proxies = TrustedProxies(["10.0.0.7", "10.1.0.0/16", "fe80::/10"])
    for peer in (("10.0.0.7", 1), ("10.1.2.3", 1), ("::ffff:10.0.0.7", 1, 0, 0), ("fe80::1%eth0", 1, 0, 2)):
        assert peer in proxies
    for other in (("10.0.0.8", 1), ("::1", 1, 0, 0), "/run/socket", "", None):
        assert other not in proxies
    assert ("10.0.0.7", 1) not in TrustedProxies([])
    for wrong in (["somewhere"], ["10.1.0.1/16"], "10.0.0.7"):
        with pytest.raises(ValueError, match=r"10|somewhere"):
            TrustedProxies(wrong)
    with pytest.raises(ValueError, match="somewhere"):
        pb.serve(Desk(), "memory:x", trusted_proxies=["somewhere"])


@both_loops
@pytest.mark.parametrize("scheme", ["tcp", "tls"])
async def test_a_connection_comes_from_where_a_trusted_proxy_says(scheme: str, tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    tls = authority.server() if scheme == "tls" else None
    async with (
        pb.serve(Desk(), f"{scheme}://127.0.0.1:0", tls=tls, trusted_proxies=["127.0.0.1"]) as server,
        proxy(server.urls[0], header("2001:db8::7", more=b"\x04" + bytes(300))) as port,
        pb.connect(
            f"{scheme}://localhost:{port}", tls=pb.ClientTLS(authority.file) if scheme == "tls" else None
        ) as root,
    ):
        assert await root.call("echo", "through") == "through"
        (connection,) = server.connections
        assert (connection.peer, connection.source) == ("[2001:db8::7]:4711", "2001:db8::/64")
        assert not connection.is_local


async def test_strangers_behind_a_proxy_are_counted_by_their_own_addresses() -> None:
    limits = pb.Limits(strangers_per_address=1)
    async with (
        pb.serve(Desk(), "tcp://127.0.0.1:0", limits=limits, trusted_proxies=["127.0.0.0/8"]) as server,
        contextlib.AsyncExitStack() as peers,
    ):
        for said in (header("192.0.2.7"), header("192.0.2.8"), LOCAL, LOCAL, header("192.0.2.7")):
            before = server.statistics()
            peer = await peers.enter_async_context(ScriptedPeer.connect(server.urls[0]))
            peer.send_bytes(said)
            await until(lambda before=before: server.statistics() != before)
        assert server.statistics().refused == 1
        assert [connection.source for connection in server.connections] == [
            "192.0.2.7",
            "192.0.2.8",
            None,
            None,
        ]


@pytest.mark.parametrize("said", [b"\x03\x82pb7" + bytes(20), header("192.0.2.7")[:20], b""])
async def test_a_trusted_proxy_that_says_nothing_of_its_client_is_hung_up(
    said: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    async with pb.serve(Desk(), "tcp://127.0.0.1:0", trusted_proxies=["127.0.0.1"]) as server:
        for _ in range(2):
            async with ScriptedPeer.connect(server.urls[0]) as peer:
                peer.send_bytes(said)
                peer.transport.write_eof()
                await peer.read_to_end()
        assert server.statistics().accepted == 0
    warned = [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING]
    assert len(warned) == 1
    assert warned[0].startswith("the proxy at 127.0.0.1 has sent no valid header: ")


async def test_others_are_not_asked_for_a_header() -> None:
    async with (
        pb.serve(Desk(), "tcp://127.0.0.1:0", trusted_proxies=["192.0.2.1"]) as server,
        pb.connect(server.urls[0]) as root,
    ):
        assert await root.call("echo", 1) == 1
        assert server.connections[0].source == "127.0.0.1"
    async with pb.serve(Desk(), "tcp://127.0.0.1:0") as server, ScriptedPeer.connect(server.urls[0]) as peer:
        peer.send_bytes(header("192.0.2.7"))
        await peer.read_to_end()  # it is not a greeting
