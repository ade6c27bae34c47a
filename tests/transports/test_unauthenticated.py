"""Unauthenticated peers are counted by address, and the number from one address is limited."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from perspective_broker import transports
from perspective_broker.testing import ScriptedPeer
from perspective_broker.transports import UnauthenticatedPeers, address_of
from tests.authority import Authority
from tests.loops import both_loops
from tests.transports.recorder import Recorder


@pytest.mark.parametrize(
    ("peer", "address"),
    [
        (("192.0.2.7", 1), "192.0.2.7"),
        (("::ffff:192.0.2.7", 1, 0, 0), "192.0.2.7"),
        (("2001:db8:1:2:3:4:5:6", 1, 0, 0), "2001:db8:1:2::/64"),
        (("2001:db8:1:2::1", 1, 0, 0), "2001:db8:1:2::/64"),
        (("fe80::1%eth0", 1, 0, 2), "fe80::/64"),
        (("somewhere", 1), None),
        ((), None),
        ("/run/socket", None),
        ("memory:x", None),
        (None, None),
    ],
)
def test_where_a_peer_comes_from(peer: object, address: str | None) -> None:
    assert address_of(peer) == address


def test_one_address_may_have_so_many(caplog: pytest.LogCaptureFixture) -> None:
    strangers = UnauthenticatedPeers(4)
    assert [strangers.arrive("a") for _ in range(7)] == [True] * 4 + [False] * 3
    assert strangers.arrive("b")
    assert (len(strangers), strangers.refused) == (5, 3)
    strangers.leave("a")
    assert strangers.arrive("a")
    assert not strangers.arrive("a")
    assert len(caplog.records) == 1  # a flood is one line, ...
    for _ in range(4):
        strangers.leave("a")
    strangers.leave("b")
    assert len(strangers) == 0
    assert [strangers.arrive("a") for _ in range(5)] == [True] * 4 + [False]
    assert len(caplog.records) == 2  # ... and the next flood another


@both_loops
async def test_handshakes_of_tls_are_counted_while_they_last(tmp_path: Path) -> None:
    strangers = UnauthenticatedPeers(2)
    listener = await transports.listen(
        transports.parse_url("tls://127.0.0.1:0"), Recorder, Authority(tmp_path).server(), 10, strangers
    )
    url = listener.urls[0].replace("tls:", "tcp:")
    async with ScriptedPeer.connect(url) as one, ScriptedPeer.connect(url) as two:
        while len(strangers) < 2:
            await asyncio.sleep(0)
        async with ScriptedPeer.connect(url) as three:
            assert await three.read_to_end() == b""
        assert strangers.refused == 1
        assert [one.ended, two.ended] == [False, False]
    while len(strangers):
        await asyncio.sleep(0)
    listener.close()
    await listener.wait_closed()
