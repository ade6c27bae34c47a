"""The path of a value that cannot cross."""

from __future__ import annotations

import collections
import enum
import fractions
import io
import ipaddress
import pathlib
from typing import Any, NamedTuple

import numpy
import pytest
from twisted.spread.flavors import Copyable as TwistedCopyable

import perspective_broker as pb
from perspective_broker import SerializationError
from perspective_broker.dialects.paths import no_form, with_path
from perspective_broker.errors import qualified_name


class Bad:
    """An object compared by identity; hashable, so that it can be at any position."""


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
    """A referenceable stays here with all that it holds, a reference has nothing to search, a class is not a value."""
    held = pb.Referenceable()
    held.bad = BAD  # type: ignore[attr-defined]
    assert place(args=(held, Bad, object(), {"deep": [[BAD]]})) == 'args[3]["deep"][0][0]'
    assert place(args=(held,)) == ""


def test_copyables_without_a_dictionary_are_passed_over() -> None:
    class Slotted(pb.Copyable):
        __slots__ = ("held",)

    assert place(args=(Slotted(), [BAD])) == "args[1][0]"


def test_of_a_long_path_the_ends_are_shown() -> None:
    value: Any = BAD
    for _ in range(200):
        value = [value]
    path = place(args=({"begin": value},))
    assert len(path) < 200
    assert path.startswith('args[0]["begin"][0]')
    assert "..." in path


class Colour(enum.IntEnum):
    RED = 1


class Pair(NamedTuple):
    one: int
    two: int


async def coroutine() -> None:
    raise AssertionError("it is never awaited")


def test_a_refusal_says_what_would_cross_instead() -> None:
    waits = coroutine()
    for value, text in (
        (object(), "object has no form here: derive it from a flavor (pb.Copyable, pb.Referenceable)"),
        (BAD, f"{__name__}.Bad has no form here: derive it from a flavor"),
        (
            Colour.RED,
            f"{__name__}.Colour has no form here: register it with @pb.value, or call through an interface that says "
            "Colour",
        ),
        (Pair(1, 2), "register it with @pb.value, or call through an interface that says Pair"),
        (len, "send pb.callback(...), or call through an interface that says Callable"),
        (io.BytesIO(), "send what its read() returns, or a stream"),
        ({}.keys(), "send list(...), or an async generator"),
        (io, "modules do not cross"),
        (
            collections.OrderedDict(),
            "collections.OrderedDict has no form here: a subclass of dict does not cross",
        ),
        ((n for n in range(3)), "generator has no form here: make it asynchronous"),
        (waits, "coroutine has no form here: await it"),
        (Bad, "type has no form here: classes do not cross"),
        (
            TwistedCopyable(),
            "twisted.spread.flavors.Copyable has no form here: its flavor is twisted.spread's",
        ),
    ):
        assert text in no_form(value)
    waits.close()


def test_a_refusal_names_the_dialect_that_lacks_a_value() -> None:
    for value, name, instead in (
        (bytearray(), "bytearray", "bytes(...)"),
        (range(3), "range", "list(...)"),
        (fractions.Fraction(1, 3), "fractions.Fraction", "its numerator and denominator"),
        (collections.deque(), "collections.deque", "list(...)"),
        (ipaddress.ip_network("::/0"), "ipaddress.IPv6Network", "str(...)"),
        (ipaddress.ip_interface("::/0"), "ipaddress.IPv6Interface", "str(...)"),
        (pathlib.PureWindowsPath(), qualified_name(pathlib.PureWindowsPath), "str(...)"),
        (numpy.arange(3), "numpy.ndarray", "what its item(), tolist() or tobytes() returns"),
        (pb.Array("|u1", (1,), b"x"), "perspective_broker.flavors.array.Array", "its data as bytes"),
    ):
        text = no_form(value, "the classic dialect 'pb'")
        assert text.startswith(
            f"{name} has no form in the classic dialect 'pb', only in pb7: send {instead}"
        ), text


def test_a_culprit_is_not_looked_for_for_ever() -> None:
    assert place(args=([0] * 100_000 + [BAD],)) == ""
    assert place(args=([[0] * 50] * 10 + [{n: [] for n in range(9000)}, BAD],)) == "args[0][11]"
