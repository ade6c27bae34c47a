"""Scanning thousands of values at a time has the same result as one by one, at every limit."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from ormsgpack import Ext, packb, unpackb

from perspective_broker import Limits
from perspective_broker.dialects.pb7 import codes
from perspective_broker.dialects.pb7.scanning import has_no_extension, scan
from perspective_broker.errors import ProtocolError

LEAVES = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(2**63), 2**64 - 1),
    st.floats(),
    st.text(max_size=40),
    st.binary(max_size=40),
    st.builds(Ext, st.sampled_from([codes.REMOTE, codes.UUID, codes.DECIMAL, 99]), st.binary(max_size=20)),
)
VALUES = st.recursive(
    LEAVES,
    lambda inner: st.lists(inner, max_size=20) | st.dictionaries(st.text(max_size=5), inner, max_size=20),
    max_leaves=60,
)


def count(value: Any) -> int:
    """Return the nodes of a value, as ``Limits.nodes`` counts them."""
    if isinstance(value, list):
        return 4 + sum(map(count, value))
    if isinstance(value, dict):
        return 4 + sum(count(key) + count(item) for key, item in value.items())
    return 1 if len(packb(value)) == 1 else 2


def refusal(frame: bytes, nodes: int) -> str:
    """Return the error code with which a frame is refused, or an empty text."""
    try:
        assert scan(frame, Limits(nodes=nodes))
    except ProtocolError as error:
        return error.code
    return ""


@given(VALUES)
def test_values_are_counted_exactly(value: Any) -> None:
    frame, nodes = packb(value), count(value)
    assert refusal(frame, nodes) == ""
    if nodes > 1:
        assert refusal(frame, nodes - 1) == "limit-nodes"


@given(VALUES, st.binary(min_size=1, max_size=3))
def test_nothing_may_stand_behind(value: Any, behind: bytes) -> None:
    assert refusal(packb(value) + behind, 10_000) == "bad-message"


@given(VALUES)
def test_what_is_cut_off_is_refused(value: Any) -> None:
    frame = packb(value)
    for size in {0, len(frame) // 2, len(frame) - 1}:
        assert refusal(frame[:size], 10_000) == "bad-message"


@pytest.mark.parametrize(
    "longer",
    [
        b"\xcc\x7f",
        b"\xcd\x00\xff",
        b"\xce\x00\x00\xff\xff",
        b"\xcf" + bytes(4) + b"\xff" * 4,
        b"\xd0\xe0",
        b"\xd0\x7f",
        b"\xd1\xff\x80",
        b"\xd1\x00\x00",
        b"\xd2\xff\xff\x80\x00",
        b"\xd3" + b"\xff" * 4 + b"\x80\x00\x00\x00",
        b"\xca\x00\x00\x00\x00",
        b"\xd9\x01a",
        b"\xdc\x00\x00",
    ],
)
def test_a_longer_spelling_is_found_among_thousands_of_others(longer: bytes) -> None:
    items = 40_001
    frame = b"\xdd" + items.to_bytes(4, "big") + b"\xa1a" * 20_000 + longer + b"\xcc\xff" * 20_000
    assert refusal(frame, 1_000_000) == "bad-message"


def test_blocks_do_not_matter() -> None:
    """A value that crosses the end of a scanned block is counted once."""
    for shift in range(1, 32):
        value = ["x" * shift, *(["y" * 31] * 5000), *([1.5] * 9000)]
        frame = packb(value)
        nodes = 4 + 2 * len(value)
        assert refusal(frame, nodes) == ""
        assert refusal(frame, nodes - 1) == "limit-nodes"


@pytest.mark.parametrize("unit", [b"\x91", b"\x92\x00", b"\x81\xa1a"])
def test_work_is_by_the_block_whatever_the_nesting(unit: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    """The test counts calls: nearly no value is scanned by itself."""
    from perspective_broker.dialects.pb7 import scanning

    looked_at = 0
    one = scanning.token

    def counted(*arguments: Any) -> tuple[int, int]:
        nonlocal looked_at
        looked_at += 1
        return one(*arguments)

    monkeypatch.setattr(scanning, "token", counted)
    assert refusal(unit * 200_000 + b"\xc0", 10_000_000) == ""
    assert looked_at <= len(unit) * 200_000 // (64 * 1024) + 1


@given(VALUES)
def test_what_cannot_be_read_without_extensions_never_seems_to_have_none(value: Any) -> None:
    frame = packb(value)
    try:
        unpackb(frame)
    except ValueError:
        assert not has_no_extension(frame)


def test_plain_values_seem_to_have_no_extension() -> None:
    assert has_no_extension(packb([1, "text", {"a": None}, 1.5, [b"x"]]))
