"""SIZE_LIMIT: a program that sets another reads and sends as much, on connections and by itself."""

from __future__ import annotations

import sys
from typing import Any

import pytest
from twisted.cred.portal import Portal

from perspective_broker import Limits
from perspective_broker.compat import banana, pb
from tests.compat.pumping import Pump

USUAL = Limits().string_bytes


class Desk(pb.Root):
    def remote_echo(self, value: Any) -> Any:
        return value


@pytest.fixture
def size_limit(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Set another SIZE_LIMIT."""
    return lambda size: monkeypatch.setattr(banana, "SIZE_LIMIT", size)


@pytest.mark.parametrize("value", [b"x" * (USUAL + 1), "x" * (USUAL + 1), [0] * (USUAL + 1)])
def test_more_crosses_as_an_argument_and_as_an_answer(value: Any, size_limit: Any) -> None:
    pump = Pump(pb.PBServerFactory(Desk()))
    assert pump.failure(pump.client.remoteForName("root").callRemote("echo", value))
    size_limit(10 * USUAL)  # for connections that are there, too
    assert pump.call("echo", value) == value


def test_whole_messages_grow_with_it(size_limit: Any) -> None:
    size_limit(100 * USUAL)
    pump = Pump(pb.PBServerFactory(Desk()))
    value = b"x" * (Limits().message_bytes + 1)
    assert pump.call("echo", value) == value


def test_less_crosses_when_it_is_smaller(size_limit: Any) -> None:
    pump = Pump(pb.PBServerFactory(Desk()))
    size_limit(1000)
    root = pump.client.remoteForName("root")
    assert pump.call("echo", b"x" * 1000) == b"x" * 1000
    assert pump.failure(root.callRemote("echo", b"x" * 1001))
    assert pump.failure(root.callRemote("echo", [0] * 1001))
    size_limit(2000)
    answer = root.callRemote("echo", b"x" * 1500)
    size_limit(1000)
    assert pump.failure(answer).check(pb.PBConnectionLost)  # its reader judges it


def test_a_peer_that_has_not_logged_in_gains_nothing(size_limit: Any) -> None:
    size_limit(sys.maxsize)
    realm: Any = object()
    pump = Pump(pb.PBServerFactory(Portal(realm)))
    assert pump.server.session.limits == Limits().before_login()


def test_limits_that_a_program_gives_a_broker_stay(size_limit: Any) -> None:
    limits = Limits(string_bytes=1000)
    broker = pb.Broker(limits=limits)
    size_limit(10 * USUAL)
    assert broker.limits is limits


def test_the_functions_and_the_protocol_obey_it(size_limit: Any) -> None:
    data = b"x" * (USUAL + 1)
    with pytest.raises(banana.BananaError):
        banana.encode(data)
    size_limit(2 * USUAL)
    assert banana.decode(banana.encode(data)) == data
    size_limit(USUAL)
    with pytest.raises(banana.BananaError):
        banana.decode(b"\x01\x00\x28\x82" + data)
