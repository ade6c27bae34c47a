"""The strategies make the described values, and the comparison distinguishes the values that it should."""

from __future__ import annotations

import math
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import perspective_broker as pb
from perspective_broker.testing import BrokerPair
from perspective_broker.testing.strategies import chunks, classic_values, same_value


class Echo(pb.Root):
    def remote_echo(self, value: Any) -> Any:
        return value


PAIRS = {dialect: BrokerPair(Echo(), dialects=[dialect]) for dialect in ("pb", "none")}


@pytest.mark.parametrize("dialect", PAIRS)
@given(value=classic_values())
def test_every_value_crosses_and_comes_back_the_same(dialect: str, value: Any) -> None:
    assert same_value(PAIRS[dialect].call("echo", value), value)


@given(st.data(), st.binary(max_size=50))
def test_chunks_put_together_are_the_whole(data: st.DataObject, whole: bytes) -> None:
    assert b"".join(data.draw(chunks(whole))) == whole


@given(classic_values())
def test_a_value_is_the_same_as_itself(value: Any) -> None:
    assert same_value(value, value)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (1, 1.0),
        (1, True),
        (0.0, -0.0),
        ("a", b"a"),
        ([1], (1,)),
        ([1], [1, 2]),
        ({1}, frozenset({1})),
        ({1: 2}, {1: 2.0}),
        ({1: 2}, {1.0: 2}),
        ({1, "a"}, {True, "a"}),
        (Decimal("1.0"), Decimal("1.00")),
        ({(1, frozenset({2, 3}))}, {(1, frozenset({2, 4}))}),
    ],
)
def test_what_differs_in_type_or_value_is_not_the_same(one: Any, other: Any) -> None:
    assert not same_value(one, other)


def test_what_looks_different_may_be_the_same() -> None:
    assert same_value(math.nan, math.nan)
    assert same_value({1: {2, 3}, "a": [None]}, {"a": [None], 1: {3, 2}})
