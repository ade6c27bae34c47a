"""Registry: the meaning of type tags, their classes, and refusals."""

from __future__ import annotations

from types import ModuleType

import pytest

import perspective_broker as pb
from perspective_broker.errors import NoSuchMethod, qualified_name


class One(pb.RemoteCopy): ...


class Two(One): ...


def test_a_child_answers_first_and_its_parent_for_the_rest() -> None:
    parent = pb.registry.Registry()
    child = pb.registry.Registry(parent)
    parent.set_unjellyable_for_class("tag", One)
    assert child.find_class("tag") is One
    child.set_unjellyable_for_class("tag", Two)
    assert (child.find_class("tag"), parent.find_class("tag")) == (Two, One)
    assert child.find_class("nothing") is None
    assert child.find_error(qualified_name(NoSuchMethod)) is NoSuchMethod


def test_the_later_of_class_and_factory_counts() -> None:
    parent = pb.registry.Registry()
    parent.set_unjellyable_for_class("tag", One)
    child = pb.registry.Registry(parent)
    child.set_unjellyable_factory_for_class("tag", list)
    assert (child.find_class("tag"), child.find_factory("tag")) == (None, list)
    child.set_unjellyable_for_class("tag", Two)
    assert (child.find_class("tag"), child.find_factory("tag")) == (Two, None)


def test_a_tree_is_what_its_module_defines_not_what_it_imports() -> None:
    module = ModuleType("shapes")
    own = type("Own", (One,), {"__module__": "shapes"})
    module.__dict__.update(Own=own, One=One, imported=Two)
    registry = pb.registry.Registry()
    registry.set_unjellyable_for_class_tree(module, pb.RemoteCopy)
    assert registry.find_class("shapes.Own") is own
    assert registry.find_class("shapes.One") is None
    assert registry.find_class("shapes.imported") is None


def test_what_cannot_take_a_state_is_refused() -> None:
    registry = pb.registry.Registry()
    with pytest.raises(TypeError):
        registry.set_unjellyable_for_class("tag", int)
    with pytest.raises(TypeError):
        registry.set_unjellyable_factory_for_class("tag", 5)  # type: ignore[arg-type]
    with pytest.raises(TypeError):
        registry.set_error_class(int)  # type: ignore[arg-type]


def test_a_tag_has_one_class() -> None:
    registry = pb.registry.Registry()
    pb.copier_for("test.Tag", registry=registry)(One)
    pb.copier_for("test.Tag", registry=registry)(One)

    class Other(pb.RemoteCopy): ...

    with pytest.raises(ValueError, match=rf"'test\.Tag' arrives as {qualified_name(One)} already"):
        pb.copier_for("test.Tag", registry=registry)(Other)
    again = type("One", (pb.RemoteCopy,), {"__module__": One.__module__, "__qualname__": One.__qualname__})
    pb.copier_for("test.Tag", registry=registry)(again)  # a cell of a notebook, run once more
    assert registry.find_class("test.Tag") is again
    pb.copier_for("test.Tag", registry=pb.registry.Registry(registry))(Other)  # for one connection


def test_the_decorator_without_parentheses_is_refused() -> None:
    with pytest.raises(TypeError, match=r"write @copier_for\(\) above One"):
        pb.copier_for(One)

    @pb.copier_for
    class Oops(Exception): ...

    with pytest.raises(TypeError, match="without parentheses"):
        raise Oops("was once a class")


def test_the_decorator_tells_errors_from_copies() -> None:
    registry = pb.registry.Registry()

    @pb.copier_for("test.Oops", registry=registry)
    class Oops(Exception): ...

    pb.copier_for(registry=registry)(One)
    assert registry.find_error("test.Oops") is Oops
    assert registry.find_class(qualified_name(One)) is One
