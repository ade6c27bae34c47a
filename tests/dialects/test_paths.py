"""Where a value sits that cannot cross."""

from __future__ import annotations

from typing import Any

import pytest

import perspective_broker as pb
from perspective_broker import SerializationError
from perspective_broker.dialects.paths import with_path


class Bad:
    """Compared by identity alone; hashable, so that it may sit anywhere."""


class Holder(pb.Copyable):
    def __init__(self, held: object) -> None:
        self.held = held


BAD = Bad()
RING: list[Any] = [1]
RING += [RING, (RING,), BAD]


def place(**parts: Any) -> str:
    return with_path(SerializationError("no", culprit=BAD), **parts).path


@pytest.mark.parametrize(
    ("parts", "path"),
    [
        ({"answer": BAD}, "answer"),
        ({"args": (0, [BAD])}, "args[1][0]"),
        ({"args": (), "kwargs": {"jobs": [0, BAD]}}, 'kwargs["jobs"][1]'),
        ({"args": ({1: {2.5: {b"k": BAD}}},)}, "args[0][1][2.5][b'k']"),
        ({"args": ({BAD: 1},)}, "args[0] key Bad"),
        ({"args": ({(1, BAD): 1},)}, "args[0] key tuple[1]"),
        ({"args": ({BAD},)}, "args[0]{...}"),
        ({"args": (frozenset([(BAD,)]),)}, "args[0]{...}[0]"),
        ({"args": (Holder([BAD]),)}, "args[0].held[0]"),
        ({"args": (RING,)}, "args[0][3]"),
        ({"args": ([[[BAD]]], BAD)}, "args[1]"),
        ({"args": ({'a "quoted"\nkey': BAD},)}, 'args[0]["a \\"quoted\\"\\nkey"]'),
        ({"args": ({"k" * 100: BAD},)}, 'args[0]["' + "k" * 37 + '..."]'),
    ],
)
def test_place(parts: dict[str, Any], path: str) -> None:
    assert place(**parts) == path


def test_the_error_says_it_and_keeps_its_text() -> None:
    error = with_path(SerializationError("no form", culprit=BAD), args=(BAD,))
    assert str(error) == "args[0]: no form"
    assert (error.message, error.culprit) == ("no form", BAD)


def test_without_a_place_the_error_stays_as_it_is() -> None:
    for error in (
        SerializationError("no culprit"),
        SerializationError("elsewhere", culprit=BAD),
        SerializationError("known", "args[7]", culprit=BAD),
    ):
        assert with_path(error, args=([1, "x"],)) is error


def test_an_equal_value_is_not_the_culprit() -> None:
    culprit = [2**500]
    error = with_path(SerializationError("no", culprit=culprit), args=([2**500], culprit))
    assert error.path == "args[1]"


def test_only_what_crosses_is_searched() -> None:
    """A referenceable stays here with all that it holds, a reference has nothing to search, a class is no value."""
    held = pb.Referenceable()
    held.bad = BAD  # type: ignore[attr-defined]
    assert place(args=(held, Bad, object(), {"deep": [[BAD]]})) == 'args[3]["deep"][0][0]'
    assert place(args=(held,)) == ""


def test_copyables_without_a_dictionary_are_passed_over() -> None:
    class Slotted(pb.Copyable):
        __slots__ = ("held",)

    assert place(args=(Slotted(), [BAD])) == "args[1][0]"
