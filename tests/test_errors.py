"""Errors: copies, pickles, re-raised and relayed errors have the same text."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest

import perspective_broker as pb
from perspective_broker.errors import remote_error
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


class Odd(ValueError):
    """Of the application, and not registered."""


class Raising(pb.Root):
    def remote_fail(self, name: str) -> None:
        raise RAISED[name]


RAISED: dict[str, Exception] = {
    "ValueError": ValueError("bad"),
    "TypeError": TypeError("bad"),
    "LookupError": LookupError("bad"),
    "KeyError": KeyError("bad"),
    "IndexError": IndexError("bad"),
    "ArithmeticError": ArithmeticError("bad"),
    "ZeroDivisionError": ZeroDivisionError("bad"),
    "NotImplementedError": NotImplementedError("bad"),
    "RuntimeError": RuntimeError("bad"),
    # derived from these
    "Odd": Odd("bad"),
    "UnicodeDecodeError": UnicodeDecodeError("ascii", b"x", 0, 1, "bad"),
    "OverflowError": OverflowError("bad"),
    # and all others
    "OSError": OSError("bad"),
    "FileNotFoundError": FileNotFoundError("bad"),
    "TimeoutError": TimeoutError("bad"),
    "ConnectionResetError": ConnectionResetError("bad"),
    "AttributeError": AttributeError("bad"),
    "StopAsyncIteration": StopAsyncIteration("bad"),
}
ALSO = (ValueError, TypeError, LookupError, KeyError, IndexError, ArithmeticError, ZeroDivisionError)
ALSO_TOO = (NotImplementedError, RuntimeError)


@pytest.mark.parametrize("dialect", ["pb7", "pb", "none"])
@pytest.mark.parametrize("name", RAISED)
async def test_a_builtin_exception_is_caught_as_itself(dialect: str, name: str) -> None:
    raised = RAISED[name]
    async with memory_pair(Raising(), dialects=[dialect]) as pair:
        with pytest.raises(pb.RemoteError) as caught:
            await pair.root.call("fail", name)
    error = caught.value
    for kind in (*ALSO, *ALSO_TOO):
        assert isinstance(error, kind) == isinstance(raised, kind)
    assert not isinstance(error, OSError)  # a TimeoutError is one
    assert error.ran is True
    assert error.check(type(raised))
    assert str(error) == (f"{error.type}: {raised}" if str(raised) else error.type)
    assert repr(error).startswith("RemoteError(")


async def test_a_builtin_exception_that_is_handed_on_is_caught_as_itself() -> None:
    class Between(pb.Root):
        async def remote_fail(self, name: str) -> None:
            await behind.root.call("fail", name)

    async with memory_pair(Raising()) as behind, memory_pair(Between()) as pair:
        with pytest.raises(KeyError) as caught:
            await pair.root.call("fail", "KeyError")
    assert isinstance(caught.value, pb.RemoteError)
    assert caught.value.type == "builtins.KeyError"


async def test_an_error_of_the_library_is_no_builtin_exception() -> None:
    async with memory_pair(Raising()) as pair:
        for arguments in ((), (1, 2)):
            with pytest.raises(pb.BadArguments) as caught:
                await pair.root.call("fail", *arguments)
            assert not isinstance(caught.value, (TypeError, pb.RemoteError))


@pytest.mark.parametrize("name", ["exceptions.KeyError", "KeyError", "builtins.KeyError"])
def test_names_of_old_peers_are_known(name: str) -> None:
    assert isinstance(remote_error(name, "x"), KeyError)


@pytest.mark.parametrize("name", ["builtins.KeyError", "builtins.OSError", "shop.Error"])
def test_a_remote_error_is_copied_and_pickled_as_itself(name: str) -> None:
    error = remote_error(name, "bad", "somewhere", (name, "builtins.Exception"))
    error.add_note("noted")
    for again in (copy.copy(error), pickle.loads(pickle.dumps(error))):
        assert type(again) is type(error)
        assert vars(again) == vars(error)
        assert str(again) == str(error)
