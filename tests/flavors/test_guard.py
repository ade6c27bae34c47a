"""The guard: an exception in application code becomes an ordinary error, and is logged once."""

from __future__ import annotations

import contextvars
from typing import Any

import pytest

import perspective_broker as pb
from perspective_broker.flavors.guard import call_back, ordinary, report, text_of


@pytest.mark.parametrize("error", [ValueError("x"), pb.Error("x"), pb.CallError("x"), KeyboardInterrupt()])
def test_what_stays_as_it_is(error: BaseException) -> None:
    assert ordinary(error) is error


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (SystemExit(3), "code of the program raised builtins.SystemExit: 3"),
        (GeneratorExit(), "code of the program raised builtins.GeneratorExit"),
        (
            pb.ProtocolError("a-word", "a line"),
            "raised perspective_broker.errors.ProtocolError: a-word: a line",
        ),
    ],
)
def test_what_becomes_an_ordinary_error(error: BaseException, text: str) -> None:
    plain = ordinary(error)
    assert type(plain) is RuntimeError
    assert str(plain).endswith(text)
    assert plain.__cause__ is error


def test_a_callback(caplog: pytest.LogCaptureFixture) -> None:
    variable: contextvars.ContextVar[int] = contextvars.ContextVar("variable", default=0)

    def fails() -> None:
        variable.set(1)
        raise SystemExit(3)

    def interrupted() -> None:
        raise KeyboardInterrupt

    assert call_back(lambda: 7, "a %s raised", "callback") == 7
    assert caplog.text == ""
    assert call_back(fails, "a %s raised", "callback") is None
    assert variable.get() == 0
    assert "a callback raised" in caplog.text
    assert "SystemExit" in caplog.text
    with pytest.raises(KeyboardInterrupt):
        call_back(interrupted, "raised")
    with pytest.raises(KeyboardInterrupt):
        report(KeyboardInterrupt(), "raised")


def test_a_text_that_cannot_be_made() -> None:
    class Mute(Exception):
        def __init__(self, error: BaseException) -> None:
            self.error = error

        def __str__(self) -> Any:
            raise self.error

    assert text_of(ValueError("x")) == "x"
    assert text_of(Mute(SystemExit())) == text_of(Mute(ValueError())) == "(its text could not be made)"
    with pytest.raises(KeyboardInterrupt):
        text_of(Mute(KeyboardInterrupt()))
