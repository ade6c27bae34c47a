"""Errors: copies, pickles, re-raised and relayed errors have the same text."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest

import perspective_broker as pb
from perspective_broker.testing import memory_pair


class Formatted(pb.Error):
    """Makes its text of two things."""

    def __init__(self, what: str, day: str) -> None:
        super().__init__(f"no {what} before {day}")
        self.what = what


@dataclass(slots=True)
class Slotted(pb.Error):
    what: str


OF_THE_LIBRARY = [
    pb.ProtocolError("a-word", "a line"),
    pb.ConnectionLost(),
    pb.ConnectionLost("closed", "the program closed it"),
    pb.TLSError("wrong-name", "it is another"),
    pb.SerializationError("cannot cross", "args[0]", culprit=iter([])),
    pb.SerializationError("cannot cross"),
    pb.RemoteError("shop.OutOfStock", "no tea", "a traceback", ("shop.OutOfStock", "builtins.Exception")),
    pb.RemoteError("shop.OutOfStock", ""),
    pb.DeadlineExceeded("too late"),
    pb.NoSuchMethod("none of that name"),
]


def pickled(error: Exception) -> Any:
    return pickle.loads(pickle.dumps(error))


def raised_anew(error: Exception) -> Any:
    return type(error)(*error.args)


@pytest.mark.parametrize("error", [*OF_THE_LIBRARY, Formatted("tea", "Friday"), Slotted("tea")])
@pytest.mark.parametrize("again", [copy.copy, copy.deepcopy, pickled, raised_anew])
def test_it_survives(error: Exception, again: Callable[[Exception], Any]) -> None:
    if again is raised_anew and isinstance(error, Formatted):
        return  # as with every class that makes its text of something else
    made = again(error)
    assert type(made) is type(error)
    assert (str(made), made.args) == (str(error), error.args)
    assert {**vars(made), "culprit": None} == {**vars(error), "culprit": None}
    assert getattr(made, "what", None) == getattr(error, "what", None)
    assert getattr(made, "errno", None) is None


def test_what_is_noted_of_a_call_survives() -> None:
    error = pb.NoSuchMethod("none of that name")
    error.of_a_call = True
    assert pickled(error).of_a_call


registry = pb.registry.Registry()


@pb.copier_for(registry=registry)
class Missing(pb.Error, KeyError):
    """Shows its text in quotes, as every KeyError."""


@pb.copier_for(registry=registry)
class OutOfStock(pb.Error):
    def __init__(self, what: str) -> None:
        super().__init__(f"no {what} before Friday")


@pb.copier_for(registry=registry)
class Shown(pb.Error):
    """Makes its text of what does not cross."""

    def __init__(self, what: str) -> None:
        self.what = what

    def __str__(self) -> str:
        return f"no {self.what} before Friday"


class Shop(pb.Root):
    def __init__(self, supplier: pb.RemoteReference | None = None) -> None:
        self.supplier = supplier

    async def remote_fail(self, which: str) -> None:
        if self.supplier is not None:
            await self.supplier.call("fail", which)
        raise {"missing": Missing, "out": OutOfStock, "shown": Shown}[which]("tea")


@pytest.mark.parametrize("dialect", ["pb7", "pb"])
@pytest.mark.parametrize(
    ("which", "kind", "text"),
    [("missing", Missing, "'tea'"), ("out", OutOfStock, "no tea before Friday")],
)
async def test_a_text_is_made_once(which: str, kind: type[Exception], text: str, dialect: str) -> None:
    options: dict[str, Any] = {"registry": registry, "dialects": [dialect]}
    async with (
        memory_pair(Shop(), **options) as supplier,
        memory_pair(Shop(supplier.root), **options) as pair,
    ):
        with pytest.raises(kind) as caught:
            await pair.root.call("fail", which)
        assert str(caught.value) == text


async def test_a_class_that_cannot_have_the_text_is_passed_over() -> None:
    async with memory_pair(Shop(), registry=registry) as pair:
        with pytest.raises(pb.RemoteError, match=r"no tea before Friday$") as caught:
            await pair.root.call("fail", "shown")
        assert caught.value.check(Shown)


async def test_a_relay_that_has_another_name_for_it_hands_on_both() -> None:
    names = pb.registry.Registry()

    @pb.copier_for("tests.test_errors.OutOfStock", registry=names)
    class Gone(pb.Error): ...

    async with (
        memory_pair(Shop(), registry=names) as supplier,
        memory_pair(Shop(supplier.root), registry=pb.registry.Registry()) as pair,
    ):
        with pytest.raises(pb.RemoteError) as caught:
            await pair.root.call("fail", "out")
        assert caught.value.value == "no tea before Friday"
        assert caught.value.check("tests.test_errors.OutOfStock")
        assert caught.value.check(Gone)
