"""Descriptions: names and parameters as a peer's call would find them; no types, no values, nothing private, no more
than 64 KiB."""

from __future__ import annotations

import functools
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

import msgspec
import pytest

import perspective_broker as pb
from perspective_broker.flavors import export_target
from perspective_broker.flavors.describing import MOST_BYTES, Described, described


def of(obj: Any, perspective: Any = None) -> Described:
    return described(export_target(obj, perspective), lambda target, description: description)


def spelled(description: Described) -> list[str]:
    return [text for method in description["methods"] for text in method["signatures"]]


class Base(pb.Referenceable):
    """A base."""

    def remote_first(self, secret: int = 4711) -> str:
        """Come first."""
        return ""

    def remote_hidden(self) -> None:
        """Is taken back below."""


class Desk(Base):
    """A desk.

    With drawers.
    """

    remote_hidden = None  # type: ignore[assignment]
    remote_constant = 5
    remote_made = dict

    def remote_echo(self, one: int, /, two: str = "s3cret", *rest: Any, loud: bool, **more: Any) -> None:
        """Return it.

        All of it.
        """

    def remote_cached(self, key: str, _cache: Any = (), *_rest: Any) -> None: ...

    async def remote_later(self) -> None: ...

    async def remote_ticks(self, count: int) -> AsyncIterator[int]:
        yield count

    @staticmethod
    def remote_alone(x: int) -> None: ...

    remote_partial = functools.partialmethod(remote_cached, "key")

    @property
    def remote_computed(self) -> Any:
        raise AssertionError("nobody has called it")

    def remote__private(self) -> None: ...

    def remote_(self) -> None: ...

    def local(self) -> None: ...


def test_a_class_without_an_interface() -> None:
    description = of(Desk())
    assert description["name"] == "Desk"
    assert description["doc"] == "A desk.\n\nWith drawers."
    assert description["interfaces"] == []
    assert spelled(description) == [
        "first(secret=...)",
        "made(...)",
        "echo(one, /, two=..., *rest, loud, **more)",
        "cached(key)",
        "later()",
        "ticks(count)",
        "alone(x)",
        "partial()",
    ]
    methods = {method["name"]: method for method in description["methods"]}
    assert methods["echo"]["doc"] == "Return it.\n\nAll of it."
    assert methods["made"]["doc"] == ""
    assert [name for name, method in methods.items() if method["stream"]] == ["ticks"]
    assert methods["echo"]["parameters"] == {
        "type": "object",
        "properties": {"one": {}, "two": {}, "loud": {}},
        "required": ["one", "loud"],
        "additionalProperties": True,
    }
    assert methods["first"]["parameters"]["required"] == []
    assert methods["first"]["parameters"]["additionalProperties"] is False
    assert "s3cret" not in str(description)
    assert "4711" not in str(description)
    assert "int" not in spelled(description)[2]


def test_it_is_made_once_for_a_class() -> None:
    assert of(Desk()) is of(Desk())


def test_a_view_and_a_perspective_without_what_is_added_here() -> None:
    class Room(pb.Viewable):
        def view_say(self, who: Any, text: str) -> None: ...

        def view_all(*everything: Any) -> None: ...

    class User(pb.Perspective):
        def perspective_join(self, room: str) -> None: ...

    assert spelled(of(Room(), object())) == ["say(text)", "all(*everything)"]
    assert spelled(of(pb.ViewPoint(object(), Room()))) == ["say(text)", "all(*everything)"]
    assert spelled(of(User("alice"))) == ["join(room)"]


def test_functions_and_objects_that_are_exposed() -> None:
    def tell(text: str, loud: bool = False) -> None:
        """Tell."""

    class Calculator:
        """Of another library."""

        def add(self, one: int, two: int) -> int:
            return one + two

        def reset(self) -> None: ...

    calculator = Calculator()
    description = of(pb.callback(tell))
    assert (description["name"], description["doc"]) == ("tell", "Tell.")
    assert spelled(description) == ["call(text, loud=...)"]
    assert of(pb.callback(functools.partial(tell, "x")))["name"] == "partial"
    assert spelled(of(pb.callback(calculator.add))) == ["call(one, two)"]
    wrapped = pb.wrap(calculator, "add")
    assert (of(wrapped)["name"], of(wrapped)["doc"]) == ("Calculator", "Of another library.")
    assert spelled(of(wrapped)) == ["add(one, two)"]
    assert of(wrapped) is of(pb.wrap(calculator, "add"))
    assert spelled(of(pb.wrap(calculator, "reset"))) == ["reset()"]
    assert spelled(of(pb.wrap([1], "index", "pop"))) == [
        "index(value, start=..., stop=..., /)",
        "pop(index=..., /)",
    ]

    class Door:
        def knock_loudly(self, times: int) -> None: ...

        def remote_open(self) -> None: ...

    assert spelled(of(pb.AsReferenceable(Door(), "knock"))) == ["loudly(times)"]


def test_documentation_is_what_the_application_has_written() -> None:
    class Bare(pb.Root): ...

    @dataclass
    class Job(pb.Referenceable):
        steps: int = 1

    class Derived(Desk): ...

    assert of(Bare()) == {"name": "Bare", "doc": "", "interfaces": [], "methods": []}
    assert of(Job())["doc"] == ""
    assert of(Derived())["doc"].startswith("A desk.")


def test_a_method_that_has_no_signature() -> None:
    class Strange:
        @property
        def __signature__(self) -> Any:
            raise ValueError("of the application")

        def __call__(self) -> None: ...

    class Holder(pb.Referenceable):
        remote_strange = Strange()

    description = of(Holder())
    assert spelled(description) == ["strange(...)"]
    assert description["methods"][0]["parameters"] == {"type": "object"}


@pytest.mark.parametrize(
    ("count", "doc", "kept", "with_doc"),
    [
        (10, "First line.\n\nThe rest.", 10, "First line.\n\nThe rest."),
        (100, "First line.\n" + "x" * 1000, 100, "First line."),
        (300, "x" * 190, 300, ""),
        (2000, "x", None, ""),
    ],
)
def test_a_long_one_is_shortened(count: int, doc: str, kept: int | None, with_doc: str) -> None:
    def method(self: Any, one: int, two: int = 2) -> None: ...

    method.__doc__ = doc
    attributes = {f"remote_method_{number}": method for number in range(count)}
    cls = type("Long", (pb.Referenceable,), {"__doc__": "Long.", **attributes})
    description = of(cls())
    size = len(msgspec.msgpack.encode(description))
    assert size <= MOST_BYTES
    assert description["methods"][0]["doc"] == with_doc
    if kept is not None:
        assert len(description["methods"]) == kept
    else:
        assert size > MOST_BYTES - 200
        assert description["doc"].startswith(f"Of 2000 methods the first {len(description['methods'])}, ")


def test_a_signature_without_end() -> None:
    namespace: dict[str, Any] = {}
    exec(f"def method(self, {', '.join(f'a{number}' for number in range(20_000))}): ...", namespace)
    cls = type("Wide", (pb.Referenceable,), {"remote_wide": namespace["method"], "remote_x": lambda self: 1})
    assert spelled(of(cls())) == ["wide(...)", "x()"]
