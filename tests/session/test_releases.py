"""The counts of a message that cannot be decoded are released: an honest sender's tables do not leak."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

import perspective_broker as pb
from perspective_broker.flavors import Cacheable
from perspective_broker.testing import BrokerPair

from .objects import Counter, Desk, Hooked, Thing, Unregistered, make_pair


class Unknown(Cacheable):
    """A cacheable whose class the peer does not know."""

    def get_state_to_cache_and_observe_for(self, perspective: Any, observer: Any) -> Any:
        return [Thing(), {b"remote": 5}]


def mixed() -> list[Any]:
    counter = Counter(a=1)
    shared = [Thing()]
    pairs = {b"remote": 5, b"cached": 6, "t": Thing()}
    return [Thing(), counter, Unregistered(), [Thing(), counter], Counter(b=2), shared, shared, pairs]


VALUES: list[Callable[[], list[Any]]] = [
    mixed,
    lambda: list(reversed(mixed())),
    lambda: [Unknown(), Thing()],
    lambda: [Thing(), Unknown(), Counter()],
    lambda: [{1: [Thing(), Unregistered()], 2: Thing()}],
    lambda: [(Thing(), {Thing()}), pb.Graph([Thing(), (Unregistered(), Thing())]), b"\xc7\x01\x10\x05"],
    lambda: [Hooked(lambda: [Thing(), Unregistered(), Thing()]), "x" * 70_000, 1.5, -(2**40), Thing()],
]


@pytest.mark.parametrize("values", VALUES)
def test_arguments_that_cannot_be_read_leak_nothing(values: Callable[[], list[Any]]) -> None:
    desk = Desk()
    with make_pair(desk) as pair:
        with pytest.raises(pb.InsecureJelly):
            pair.call("keep", *values())
        with pytest.raises(pb.InsecureJelly):
            pair.call("keep", *values(), more=[Thing(), Counter()])
        assert desk.kept == []
        assert pair.call("echo", 1) == 1


@pytest.mark.parametrize("values", VALUES)
def test_an_answer_that_cannot_be_read_leaks_nothing(values: Callable[[], list[Any]]) -> None:
    desk = Desk()
    with make_pair(desk) as pair:
        desk.kept.append(values())
        with pytest.raises(pb.BadAnswer):
            pair.call("give")
        desk.kept.clear()


def test_what_was_held_before_stays_held() -> None:
    desk, thing, counter = Desk(), Thing("held"), Counter(a=1)
    with make_pair(desk) as pair:
        pair.call("keep", thing, counter)
        with pytest.raises(pb.InsecureJelly):
            pair.call("echo", Unregistered(), thing, counter)
        counter.set("a", 2)
        pair.run()
        assert desk.kept[1].numbers == {"a": 2}
        name = desk.kept[0].call("name")
        pair.run()
        assert name.result() == "held"
        desk.kept.clear()


def test_what_is_nested_deeper_than_the_peer_reads_is_given_back_over_pb7() -> None:
    value: list[Any] = [Thing()]
    for _ in range(20):
        value = [value]
    limits, ours = pb.Limits(depth=10), pb.Limits()
    with (
        BrokerPair(Desk(), dialects=["pb7"], limits=limits, client_limits=ours) as pair,
        pytest.raises(pb.DecodeError),
    ):
        pair.call("echo", value)
