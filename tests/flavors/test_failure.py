"""Failure: what is told of an exception, and what an exception that was told becomes."""

from __future__ import annotations

import traceback as tracebacks
from typing import Any

import pytest

import perspective_broker as pb
from perspective_broker.errors import tamed
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
    registry = pb.registry.Registry()
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
    registry = pb.registry.Registry()
    if cls is not None:
        registry.set_error_class(cls, "their.Type")
    error = Failure("their.Type", "text", "", ("their.Type",)).as_exception(registry)
    assert isinstance(error, pb.RemoteError)
    assert (error.type, error.value) == ("their.Type", "text")
    assert error.check("their.Type")


EVIL = "\x1b[2J\x1b]0;owned\x07\nCRITICAL root all is lost\r\u202e\ud800" + "x" * 5000


@pytest.mark.parametrize(
    "kind", [f"{__name__}.Sorry", "perspective_broker.errors.NoSuchMethod", "their.Type", EVIL]
)
def test_the_text_of_what_arrives_is_tame_and_the_text_that_came_is_kept(kind: str) -> None:
    """Whoever shows the exception: a log, a traceback, asyncio for one that nobody looked at."""
    registry = pb.registry.Registry()
    registry.set_error_class(Sorry)
    error = Failure(kind, EVIL, "", (kind,)).as_exception(registry)
    group = ExceptionGroup("all", [error])
    for shown in (str(error), repr(error), *tracebacks.format_exception(group)):
        assert shown.replace("\n", "").isprintable()
        assert "\nCRITICAL" not in shown
    assert len(str(error)) <= 1024
    remote = error if isinstance(error, pb.RemoteError) else error.__cause__
    assert isinstance(remote, pb.RemoteError)
    assert remote.value == EVIL
    if remote is error:
        assert Failure.of(error).value.startswith(EVIL[:20])  # handed on as it came


@pytest.mark.parametrize("text", ["", "plain", "two\nlines \\n", "é 漢 \\", "x" * 1024, EVIL, "\0" * 2000])
def test_taming_twice_changes_nothing(text: str) -> None:
    once = tamed(text)
    assert tamed(once) == once
    assert once == text or not (text.isprintable() and len(text) <= 1024)


def test_what_is_unavailable_arrives_as_itself() -> None:
    error = Failure.of(pb.Unavailable("not now", code="draining")).as_exception(pb.registry.Registry())
    assert type(error) is pb.Unavailable
    assert (str(error), error.text, error.code) == ("draining: not now", "not now", "draining")
