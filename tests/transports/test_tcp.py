"""TCP: the addresses that are bound."""

from __future__ import annotations

import logging
import socket

import pytest

from perspective_broker import transports
from tests.loops import both_loops
from tests.transports.recorder import Recorder

pytestmark = both_loops


async def test_the_urls_have_the_ports_that_were_bound() -> None:
    listener = await transports.listen(transports.parse_url("tcp://127.0.0.1:0"), Recorder)
    (url,) = listener.urls
    assert transports.parse_url(url).host == "127.0.0.1"
    assert transports.parse_url(url).port > 0
    listener.close()
    await listener.wait_closed()


async def test_a_name_stays_a_name() -> None:
    listener = await transports.listen(transports.parse_url("tcp://localhost:0"), Recorder)
    assert {transports.parse_url(url).host for url in listener.urls} == {"localhost"}
    listener.close()
    await listener.wait_closed()


async def test_everywhere_shows_its_addresses() -> None:
    listener = await transports.listen(transports.parse_url("tcp://:0"), Recorder)
    hosts = {transports.parse_url(url).host for url in listener.urls}
    assert hosts <= {"0.0.0.0", "::"}
    listener.close()
    await listener.wait_closed()


async def test_an_address_that_cannot_be_bound_or_connected_to_is_named() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        address = transports.Address("tcp", "127.0.0.1", taken.getsockname()[1])
        with pytest.raises(ConnectionRefusedError, match=str(address)):
            await transports.connect(address, Recorder)
        taken.listen()
        with pytest.raises(OSError, match=str(address)):
            await transports.listen(address, Recorder)


async def test_the_system_watches_for_a_peer_that_is_gone() -> None:
    accepted: list[Recorder] = []

    def accept() -> Recorder:
        accepted.append(Recorder())
        return accepted[-1]

    listener = await transports.listen(transports.parse_url("tcp://127.0.0.1:0"), accept)
    client = Recorder()
    await transports.connect(transports.parse_url(listener.urls[0]), lambda: client)

    sock = client.transport.get_extra_info("socket")
    transports.watch_for_silence(sock, 20, 18, 45.5)
    tcp = socket.IPPROTO_TCP
    assert sock.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)
    assert sock.getsockopt(tcp, socket.TCP_KEEPIDLE) == 20
    assert sock.getsockopt(tcp, socket.TCP_KEEPINTVL) == 5
    assert sock.getsockopt(tcp, socket.TCP_KEEPCNT) == 4
    assert sock.getsockopt(tcp, socket.TCP_USER_TIMEOUT) == 45_500
    client.transport.close()
    await client.lost.wait()
    await accepted[0].lost.wait()
    listener.close()
    await listener.wait_closed()


async def test_what_cannot_be_watched_is_left_alone(caplog: pytest.LogCaptureFixture) -> None:
    transports.watch_for_silence(None, 20, 20, 45)  # memory
    one, two = socket.socketpair()
    with one, two:
        transports.watch_for_silence(one, 20, 20, 45)
        assert not one.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)
    with socket.socket() as sock:
        transports.watch_for_silence(sock, 1e9, 20, 45)  # more seconds than the system can count
        assert sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT) == 45_000
    assert not [record for record in caplog.records if record.levelno > logging.DEBUG]
