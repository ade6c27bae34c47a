"""The dialects by name, each of which can be requested."""

from __future__ import annotations

import pytest

import perspective_broker as pb
from perspective_broker.dialects.offer import DIALECTS, check_names
from perspective_broker.testing import BrokerPair


class Echo(pb.Root):
    def remote_echo(self, value: object) -> object:
        return value


def test_the_classic_ones_are_there_in_their_order() -> None:
    assert [name for name in DIALECTS if name in ("pb", "none")] == ["pb", "none"]


@pytest.mark.parametrize("name", DIALECTS)
def test_each_carries_a_call(name: str) -> None:
    with BrokerPair(Echo(), dialects=[name]) as pair:
        assert pair.client.broker.dialect.name == pair.server.broker.dialect.name == name
        assert pair.call("echo", {"user": "alice"}) == {"user": "alice"}


def test_the_best_is_agreed_on() -> None:
    with BrokerPair(Echo()) as pair:
        assert pair.client.broker.dialect.name == DIALECTS[0]


def test_names_are_kept_in_the_caller_s_order() -> None:
    assert check_names(None) == DIALECTS
    assert check_names(name for name in ("none", "pb")) == ("none", "pb")


@pytest.mark.parametrize("names", [[], ["pb8"], ["pb", "PB"]])
def test_other_names_are_refused(names: list[str]) -> None:
    with pytest.raises(ValueError, match="dialects are "):
        check_names(names)
