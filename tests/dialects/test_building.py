"""The cost of keys: counted in hashed parts, because a tuple that many keys share is hashed for each of them."""

from __future__ import annotations

import itertools
from typing import Any

import pytest
from ormsgpack import Ext, packb

from perspective_broker.dialects.building import FREE_KEY_PARTS, MAX_KEY_PARTS, KeyBudget, KeyCheck
from perspective_broker.dialects.pb7 import codes
from perspective_broker.errors import DecodeError
from tests.dialects.classic.coding import from_lists
from tests.dialects.pb7.coding import End, answer_body, framed, read


def test_parts_are_counted_as_often_as_they_are_mentioned() -> None:
    budget = KeyBudget()
    shared = tuple(range(100))
    assert budget.parts_of(shared) == 100
    assert budget.parts_of((shared, shared, 1)) == 203
    assert budget.parts_of(frozenset([(shared,), 1])) == 103
    with pytest.raises(DecodeError, match="parts"):
        budget.parts_of((shared,) * 11)


def test_a_container_is_counted_anew_when_another_has_its_place() -> None:
    budget = KeyBudget()
    for size in range(40, 400):
        assert budget.parts_of(tuple(range(size))) == size


def test_what_is_read_is_earned() -> None:
    budget = KeyBudget(500)
    budget.spend(FREE_KEY_PARTS)
    budget.earn(500)
    budget.spend(1000)
    with pytest.raises(DecodeError, match="share"):
        budget.spend(1)


def test_a_budget_is_for_all_dictionaries_of_a_message() -> None:
    budget = KeyBudget(0)
    key = tuple(range(1024))
    for _ in range(FREE_KEY_PARTS // 1024):
        KeyCheck(budget)(key)
    with pytest.raises(DecodeError, match="share"):
        KeyCheck(budget)(key)


def test_keys_of_one_hash_are_counted_for_their_comparisons_too() -> None:
    """-1 and -2 have the same hash: comparing a key with 63 others costs more than its own parts."""
    check = KeyCheck(KeyBudget(0))
    keys = [(*range(200), *ends) for ends in itertools.product((-1, -2), repeat=6)]
    with pytest.raises(DecodeError, match="share"):
        list(map(check, keys))


def pb7_graph(kind: int, keys: int, parts: int) -> bytes:
    """Return a set (3), or a list of that many frozensets (4), whose keys all refer to one tuple."""

    def node(number: int) -> Ext:
        return Ext(codes.NODE, number.to_bytes(3, "big").lstrip(b"\0") or b"\0")

    shared: list[Any] = [2, *range(parts)]
    if kind == 3:
        rows = [[3, *(node(n + 2) for n in range(keys))], shared, *([2, node(1), n] for n in range(keys))]
    else:
        rows = [[0, *(node(n + 2) for n in range(keys))], shared, *([4, node(1)] for _ in range(keys))]
    return packb([Ext(codes.GRAPH, packb([node(0), *rows]))])


def classic_lists(kind: bytes, keys: int, parts: int) -> list[Any]:
    shared = [b"reference", 1, [b"tuple", *range(parts)]]
    mentions: list[Any] = [shared, *([b"dereference", 1] for _ in range(keys - 1))]
    if kind == b"list":
        return [b"list", *([b"set", mention] for mention in mentions)]
    made = [[b"tuple", mention, n] for n, mention in enumerate(mentions)]
    return [kind, *([key, 1] if kind == b"dictionary" else key for key in made)]


@pytest.mark.parametrize("kind", [3, 4])
def test_keys_on_pb7_that_share_a_tuple(kind: int) -> None:
    read(pb7_graph(kind, 2000, 10))
    with pytest.raises(DecodeError, match="share"):
        read(pb7_graph(kind, 2000, 1000))


@pytest.mark.parametrize("kind", [b"set", b"frozenset", b"dictionary", b"list"])
def test_keys_on_classic_dialects_that_share_a_tuple(kind: bytes) -> None:
    assert len(from_lists(classic_lists(kind, 2000, 10))) == 2000
    with pytest.raises(DecodeError, match="share"):
        from_lists(classic_lists(kind, 2000, 1000))


def test_keys_that_share_nothing_are_let_in_however_many_they_are() -> None:
    many = [[b"tuple", n, *range(MAX_KEY_PARTS - 1)] for n in range(200)]
    assert len(from_lists([b"set", *many])) == 200
    grid = list(itertools.product(range(-3, 3), repeat=6))
    assert len(from_lists([b"set", *([b"tuple", *point] for point in grid)])) == 6**6
    points = [Ext(codes.TUPLE, packb(list(point))) for point in grid]
    assert len(read(packb([Ext(codes.SET, packb(points))]))[0]) == 6**6


@pytest.mark.parametrize("kind", ["set", "frozenset", "graph", "dictionary", "within"])
def test_what_is_refused_after_it_was_read_leaves_every_reference_counted(kind: str) -> None:
    """References before, in and after it are counted once, and searched for only if the error was in the middle."""
    reference = [Ext(codes.REMOTE, bytes([number])) for number in (1, 2, 3, 4)]
    twice = [Ext(codes.TUPLE, packb([1])), Ext(codes.TUPLE, packb([1]))]
    flawed = {
        "set": Ext(codes.SET, packb([reference[1], *twice])),
        "frozenset": Ext(codes.FROZENSET, packb([reference[1], *twice])),
        "dictionary": Ext(codes.DICTIONARY, packb([1, reference[1], 1, 2])),
        "graph": Ext(codes.GRAPH, packb([Ext(codes.NODE, b"\0"), [3, reference[1], 1, 1]])),
        "within": Ext(codes.TUPLE, packb([reference[1], Ext(codes.SET, packb(twice)), reference[3]])),
    }[kind]
    end = End()
    end.feed(framed(answer_body(packb([reference[0], flawed, reference[2]]))))
    _, _, arrived = end.got.pop()
    assert isinstance(arrived, DecodeError)
    counted = [*end.imports.imported, *end.imports.passed_over]
    assert sorted(counted) == ([1, 2, 3, 4] if kind == "within" else [1, 2, 3])
    assert bool(end.imports.passed_over) is (kind == "within")
