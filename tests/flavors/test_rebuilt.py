"""Classes that a decorator rebuilds, and generic ones: the program's class is the registered one."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Generic, TypeVar

import pytest

import perspective_broker as pb
from perspective_broker.testing import memory_pair

T = TypeVar("T")
registry = pb.registry.Registry()


@dataclass(slots=True)
@pb.copier_for("tests.rebuilt.Point", registry=registry)
@pb.copier_for("tests.rebuilt.Place", registry=registry)
class Point(pb.Copyable, pb.RemoteCopy):
    x: int = 0

    def get_type_to_copy(self) -> str:
        return "tests.rebuilt.Point"


@dataclass(slots=True)
@pb.copier_for("tests.rebuilt.Missing", registry=registry)
class Missing(pb.Error):
    what: str


class Special(Point):
    """An ordinary subclass replaces no other class."""


@pb.copier_for("tests.rebuilt.Box", registry=registry)
@dataclass
class Box(pb.Copyable, pb.RemoteCopy, Generic[T]):
    content: T

    def get_type_to_copy(self) -> str:
        return "tests.rebuilt.Box"


class Root(pb.Root):
    def remote_echo(self, value: Any) -> Any:
        return value


def test_the_class_that_the_program_has_is_registered() -> None:
    for tag in ("Point", "Place"):
        assert registry.find_class(f"tests.rebuilt.{tag}") is Point
    assert registry.find_error("tests.rebuilt.Missing") is Missing

    def local() -> type:
        @dataclass(slots=True)
        @pb.copier_for(registry=registry)
        class Local(pb.RemoteCopy):
            x: int

        return Local

    for _ in range(2):  # a program may make it anew
        made = local()
        assert registry.find_class(f"{__name__}.{made.__qualname__}") is made


def test_a_later_registration_stays() -> None:
    own = pb.registry.Registry()

    @pb.copier_for("tests.rebuilt.Taken", registry=own)
    class Taken(pb.RemoteCopy):
        x: int

    own.set_unjellyable_factory_for_class("tests.rebuilt.Taken", dict)
    again = dataclass(slots=True)(Taken)
    assert again is not Taken
    assert own.find_class("tests.rebuilt.Taken") is None


@pytest.mark.parametrize("dialect", ["pb7", "pb"])
async def test_they_cross(dialect: str) -> None:
    async with memory_pair(Root(), registry=registry, dialects=[dialect]) as pair:
        assert await pair.root.call("echo", Point(3)) == Point(3)
        boxed = Box[int](4)
        assert "__orig_class__" in vars(boxed)
        assert await pair.root.call("echo", boxed) == boxed


def test_a_generic_alias_is_no_class() -> None:
    own = pb.registry.Registry()
    for register in (
        lambda: own.set_unjellyable_for_class("tests.rebuilt.Box", Box[int]),
        lambda: own.set_unjellyable_for_class(Box[int], Box),
        lambda: own.set_unjellyable_factory_for_class(Box[int], dict),
        lambda: own.set_error_class(list[int]),  # type: ignore[arg-type]
        lambda: pb.copier_for(Box[int], registry=own)(Box),
        lambda: pb.copier_for(list[int], registry=own)(Box),
    ):
        with pytest.raises(TypeError):
            register()
