"""Values, jellies and bytes for the property tests of the dialects."""

from __future__ import annotations

import itertools
from decimal import Decimal
from typing import Any

from hypothesis import strategies as st

__all__ = ["banana_values", "chops", "jellies", "values"]

_texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
_integers = st.one_of(st.integers(-200, 200), st.integers(-(2**447), 2**447))
_decimals = st.builds(
    lambda number, exponent: Decimal(number).scaleb(exponent) if number else Decimal(0),
    st.integers(-(10**25), 10**25),
    st.integers(-30, 30),
)
_keys = st.one_of(_texts, st.integers(-(2**63), 2**63), st.binary(max_size=8), st.none(), st.booleans())
_hashable = st.recursive(
    _keys, lambda inner: st.one_of(st.tuples(inner, inner), st.frozensets(inner, max_size=3)), max_leaves=5
)
_leaves = st.one_of(
    st.none(),
    st.booleans(),
    _integers,
    st.floats(allow_nan=False),
    st.binary(max_size=300),
    _texts,
    _decimals,
    st.datetimes().map(lambda when: when.replace(fold=0)),
    st.dates(),
    st.times().map(lambda when: when.replace(fold=0)),
    st.timedeltas(),
)


def values() -> st.SearchStrategy[Any]:
    """Return values of the classic dialect that can be compared with ``==``."""
    return st.recursive(
        st.one_of(_leaves, _hashable, st.sets(_hashable, max_size=4)),
        lambda inner: st.one_of(
            st.lists(inner, max_size=5),
            st.lists(inner, max_size=5).map(tuple),
            st.dictionaries(_hashable, inner, max_size=5),
            inner.map(lambda shared: [shared, (shared, {"again": shared})]),
        ),
        max_leaves=20,
    )


def banana_values() -> st.SearchStrategy[Any]:
    """Return values of banana alone."""
    return st.recursive(
        st.one_of(st.binary(max_size=300), _integers, st.floats(allow_nan=False)),
        lambda inner: st.lists(inner, max_size=6),
        max_leaves=20,
    )


_WORDS = [
    b"None", b"boolean", b"unicode", b"decimal", b"datetime", b"date", b"time", b"timedelta", b"list", b"dictionary",
    b"set", b"frozenset", b"tuple", b"reference", b"dereference", b"remote", b"local", b"cached", b"lcache",
    b"unpersistable", b"persistent", b"twisted.spread.pb.CopyableFailure", b"tests.Note", b"tests.Made", b"true",
]  # fmt: skip


def jellies() -> st.SearchStrategy[Any]:
    """Return lists that look like jelly and mostly are not: valid words and numbers in the wrong places."""
    words = st.sampled_from(_WORDS)
    return st.recursive(
        st.one_of(words, st.integers(-1, 3), _integers, st.floats(), st.binary(max_size=5)),
        lambda inner: st.one_of(
            st.builds(lambda word, rest: [word, *rest], words, st.lists(inner, max_size=4)),
            st.builds(lambda number, rest: [b"reference", number, rest], st.integers(0, 3), inner),
            st.builds(lambda number: [b"dereference", number], st.integers(0, 3)),
            st.builds(
                lambda pairs: [b"dictionary", *map(list, pairs)],
                st.lists(st.tuples(inner, inner), max_size=3),
            ),
            st.lists(inner, max_size=3),
        ),
        max_leaves=25,
    )


@st.composite
def chops(draw: st.DrawFn, data: bytes) -> list[bytes]:
    """Return ``data`` in pieces."""
    cuts = sorted(draw(st.lists(st.integers(0, len(data)), max_size=8)))
    edges = [0, *cuts, len(data)]
    return [data[start:end] for start, end in itertools.pairwise(edges)]
