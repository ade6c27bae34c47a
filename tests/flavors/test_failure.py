"""Failure: what is told of an exception, and what an exception that was told becomes."""

from __future__ import annotations

from typing import Any

import pytest

import perspective_broker as pb
from perspective_broker.flavors import Failure
from perspective_broker.flavors.failure import MAX_NAME, MAX_TEXT


class Sorry(pb.Error):
    pass


class Mute(Exception):
    def __str__(self) -> str:
        raise RuntimeError("no text")


def raised(error: BaseException) -> BaseException:
    try:
        raise error
    except BaseException as caught:
        return caught


def test_it_tells_type_text_and_ancestry() -> None:
    failure = Failure.of(Sorry("too late"))
    assert failure.type == f"{__name__}.Sorry"
    assert failure.value == "too late"
    assert failure.traceback == ""
    assert failure.parents[:2] == (f"{__name__}.Sorry", "perspective_broker.errors.Error")
    assert failure.parents[-1] == "builtins.object"


def test_the_traceback_is_told_where_that_is_asked_for() -> None:
    failure = Failure.of(raised(KeyError("here")), with_traceback=True)
    assert "in raised" in failure.traceback
    assert failure.traceback.endswith("KeyError: 'here'\n")


def test_an_exception_without_a_text_is_told_all_the_same() -> None:
    assert Failure.of(Mute()).value == "(its text could not be made)"


def test_texts_are_cut() -> None:
    assert len(Failure.of(ValueError("x" * 100_000)).value) == MAX_TEXT
    assert len(Failure.of(pb.DecodeError("x" * 100_000)).value) == 1024
    cut = Failure.of(raised(ValueError("x" * 100_000)), with_traceback=True).traceback
    assert len(cut) == MAX_TEXT
    long = type("L" * 1000, (Exception,), {})
    assert len(Failure.of(long()).type) == MAX_NAME


@pytest.mark.parametrize(
    "error",
    [
        raised(ValueError("a \udcff text")),
        pb.RemoteError("bad\ud800.type", "a \udcff text", "a \udcff traceback", ("bad\ud800.type",)),
    ],
)
def test_whatever_is_told_has_a_form_in_utf_8(error: Exception) -> None:
    failure = Failure.of(error, with_traceback=True)
    for text in (failure.type, failure.value, failure.traceback, *failure.parents):
        text.encode()
    assert failure.value == "a \\udcff text"
    assert "\\udcff" in failure.traceback


def test_what_was_remote_keeps_the_names_it_came_with() -> None:
    remote = pb.RemoteError("their.Type", "text", "lines", ("their.Type", "their.Base"))
    assert Failure.of(remote) == Failure("their.Type", "text", "", ("their.Type", "their.Base"))
    assert Failure.of(remote, with_traceback=True).traceback == "lines"


def test_it_becomes_the_registered_class_and_keeps_what_was_told() -> None:
    registry = pb.Registry()
    registry.set_error_class(Sorry)
    error = Failure.of(Sorry("too late")).as_exception(registry)
    assert type(error) is Sorry
    assert str(error) == "too late"
    assert isinstance(error.__cause__, pb.RemoteError)


class Particular(Exception):
    def __init__(self, one: Any, two: Any) -> None:
        super().__init__(one, two)


@pytest.mark.parametrize("cls", [None, Particular])
def test_it_becomes_a_remote_error_where_no_class_fits(cls: type[Exception] | None) -> None:
    registry = pb.Registry()
    if cls is not None:
        registry.set_error_class(cls, "their.Type")
    error = Failure("their.Type", "text", "", ("their.Type",)).as_exception(registry)
    assert isinstance(error, pb.RemoteError)
    assert (error.type, error.value) == ("their.Type", "text")
    assert error.check("their.Type")
