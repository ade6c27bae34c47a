"""Copyables: the attributes that a peer may set in an object that is built from its state."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar

import pytest

import perspective_broker as pb
from perspective_broker.errors import DecodeError


class Declared(pb.RemoteCopy):
    name: str
    _secret: int


class Open(pb.RemoteCopy):
    limit = 5

    def method(self) -> None: ...

    @property
    def computed(self) -> int:
        return 1

    @computed.setter
    def computed(self, value: int) -> None:
        raise AssertionError("a peer ran code of the class")

    @cached_property
    def is_admin(self) -> bool:
        return False


class Slotted(pb.RemoteCopy):
    __slots__ = ("x",)


def test_only_declared_fields_are_set_and_others_are_ignored() -> None:
    copy = Declared()
    copy.set_copyable_state({"name": "n", b"_secret": 1, "unknown": 2, "set_copyable_state": 3})
    assert vars(copy) == {"name": "n", "_secret": 1}


def test_without_declarations_every_public_name_is_set() -> None:
    copy, slotted = Open(), Slotted()
    copy.set_copyable_state({"x": 1, b"limit": 6})
    slotted.set_copyable_state({"x": 1})
    assert vars(copy) == {"x": 1, "limit": 6}
    assert slotted.x == 1  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    "name",
    ["method", "computed", "is_admin", "_private", "__class__", "__dict__", "set_copyable_state"],
)
def test_what_hides_something_of_the_class_is_refused(name: str) -> None:
    with pytest.raises(DecodeError):
        Open().set_copyable_state({name: 1})


@pytest.mark.parametrize("state", [None, 5, [], {1: 2}, {"a b": 1}, {"": 1}, {b"\xff": 1}, {"x" * 257: 1}])
def test_what_is_no_dictionary_of_names_is_refused(state: Any) -> None:
    for cls in (Open, Declared):
        with pytest.raises(DecodeError):
            cls().set_copyable_state(state)


@dataclass(slots=True)
class Point(pb.Copyable):
    x: int
    y: int = 0


class Labelled(Point):
    __slots__ = ("label", "unset")


class Loose(Labelled):
    """Has a dictionary besides, as every class without slots."""


@dataclass(slots=True)
class Mixin:
    z: int = 3


class Mixed(Mixin, pb.Copyable): ...


def test_slots_of_another_base_cross_as_well() -> None:
    assert Mixed(4).get_state_to_copy() == {"z": 4}


class Carried(pb.Error, pb.Copyable): ...


def test_of_what_python_keeps_of_an_exception_only_args_cross() -> None:
    carried = Carried("cargo", 7)
    carried.weight = 3  # type: ignore[attr-defined]
    carried.add_note("for the one who reads the traceback")
    assert carried.get_state_to_copy() == {"weight": 3, "args": ("cargo", 7)}


def test_what_is_kept_in_slots_crosses_as_well() -> None:
    assert Point(1, 2).get_state_to_copy() == {"x": 1, "y": 2}
    labelled = Labelled(1)
    labelled.label = "here"  # type: ignore[attr-defined]
    assert labelled.get_state_to_copy() == {"x": 1, "y": 0, "label": "here"}
    loose = Loose(3)
    loose.other = 4  # type: ignore[attr-defined]
    assert loose.get_state_to_copy() == {"x": 3, "y": 0, "other": 4}


class Taxed(pb.RemoteCopy):
    rate: ClassVar[float] = 0.2
    net: int


def test_what_belongs_to_the_class_is_no_field() -> None:
    taxed = Taxed()
    taxed.set_copyable_state({"net": 100, "rate": 0.0})
    assert (taxed.net, taxed.rate) == (100, 0.2)
