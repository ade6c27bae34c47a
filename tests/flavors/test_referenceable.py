"""Referenceable, AsReferenceable and the references to them."""

from __future__ import annotations

import pytest

import perspective_broker as pb
from perspective_broker.errors import NoSuchMethod
from perspective_broker.flavors import Reference, export_key, export_target
from perspective_broker.flavors.dispatch import find_method


class Door(pb.Referenceable):
    def remote_open(self) -> str:
        return "open"

    def knock_loudly(self) -> str:
        return "who is there"


def test_remote_methods_are_reached_and_nothing_else() -> None:
    door = Door()
    target = export_target(door, "whoever")
    assert find_method(target.holder, target.prefix, "open")() == "open"
    for name in ("knock_loudly", "remote_open", "__init__"):
        with pytest.raises(NoSuchMethod):
            find_method(target.holder, target.prefix, name)
    assert (target.obj, target.leading, target.perspective) == (door, (), None)
    assert export_key(door, None) == export_key(door, "whoever")


def test_a_prefix_of_ones_own_opens_what_it_names() -> None:
    door = Door()
    knocking, again = pb.AsReferenceable(door, "knock"), pb.AsReferenceable(door, "knock")
    target = export_target(knocking, None)
    assert find_method(target.holder, target.prefix, "loudly")() == "who is there"
    assert export_key(knocking, None) == export_key(again, None) != export_key(pb.AsReferenceable(door), None)


@pytest.mark.parametrize("prefix", ["", "_", "__", "_private", "a b", "remote-", "1"])
def test_a_prefix_that_opens_more_than_it_names_is_refused(prefix: str) -> None:
    with pytest.raises(ValueError, match="public identifier"):
        pb.AsReferenceable(Door(), prefix)


def test_a_root_is_its_own_for_every_connection() -> None:
    root = pb.Root()
    assert root.root_object(object()) is root


def test_references_are_equal_when_they_mean_the_same_object_of_the_same_connection() -> None:
    here, there = object(), object()
    one, same = Reference(here, 1, None), Reference(here, 1, "who")
    assert one == same
    assert hash(one) == hash(same)
    assert len({one, same, Reference(here, 2, None), Reference(there, 1, None)}) == 3
    assert one != Reference(here, 2, None)
    assert one != Reference(there, 1, None)
    assert one != 1
