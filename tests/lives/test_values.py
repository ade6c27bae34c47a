"""A value that is not what was described is found, whichever part of it is wrong."""

from __future__ import annotations

from typing import Any

import pytest

import perspective_broker as pb
from perspective_broker.testing import memory_pair
from tests.lives.history import Answer, Call
from tests.lives.values import Objects, Odd, Oddity, Packed, Parcel, Thing, parts, things

MINE = Thing("A", 1)
MADE = Call(1, "A", "B", "give", MINE, answer=Answer([1]))
UNMADE = Call(2, "A", "B", "give", MINE)


class Giver(pb.Root):
    def __init__(self) -> None:
        self.things = [pb.Referenceable(), pb.Referenceable()]

    def remote_give(self, place: int) -> Any:
        return self.things[place]


@pytest.mark.parametrize(
    ("description", "value"),
    [
        (1, 1),
        ([1, (b"", "é")], [1, (b"", "é")]),
        ({"a": MADE}, {"a": [1]}),
        (Packed([None]), Parcel([None])),
        (Odd("A"), Oddity("A")),
    ],
)
def test_the_same_value(description: Any, value: Any) -> None:
    assert Objects("A").mismatch(description, value) == ""


@pytest.mark.parametrize(
    ("description", "value"),
    [
        (1, True),
        (1, 1.0),
        ([1], (1,)),
        ([1], [1, "changed later"]),
        ({"a": 1}, {"b": 1}),
        ({"a": 1}, {"a": 2}),
        (MADE, [1, 2]),
        (UNMADE, None),
        (Packed([1]), Parcel([2])),
        (Packed([1]), [1]),
        (Odd("A"), Oddity("B")),
        (MINE, pb.Referenceable()),
        (Thing("B", 1), pb.Referenceable()),
    ],
)
def test_another_value(description: Any, value: Any) -> None:
    assert Objects("A").mismatch(description, value) != ""


def test_an_object_at_home_is_itself() -> None:
    objects, mine = Objects("A"), pb.Referenceable()
    objects.add(MINE, mine)
    assert objects.mismatch([MINE], [mine]) == ""
    assert objects.mismatch([MINE], [pb.Referenceable()]) != ""


async def test_a_reference_is_one_for_each_object() -> None:
    objects = Objects("A")
    first, second = Thing("B", 1), Thing("B", 2)
    async with memory_pair(Giver()) as pair:
        one, other = await pair.root.call("give", 0), await pair.root.call("give", 1)
        assert objects.mismatch([first, first, second], [one, one, other]) == ""
        assert objects.mismatch(first, other) != ""
        assert objects.mismatch(Thing("B", 3), other) != ""
        objects.released(second, other)
        assert objects.mismatch(Thing("B", 3), other) == ""


def test_all_that_is_in_a_description() -> None:
    description = [{"a": Packed([MINE])}, (MADE, 1)]
    assert list(things(description)) == [MINE]
    assert MADE in list(parts(description))
