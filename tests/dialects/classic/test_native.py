"""The native path reads what the Python beside it reads, in the same way, and leaves everything else to it."""

from __future__ import annotations

import gc
import os
import subprocess
import sys
from typing import Any

import hypothesis.strategies as st
import pytest
from hypothesis import given

import perspective_broker as pb
from perspective_broker import ProtocolError
from perspective_broker.dialects.classic.banana import NEED_MORE, Decoder, encode
from perspective_broker.dialects.classic.unjelly import allows_plain
from perspective_broker.dialects.classic.vocabulary import BY_NUMBER
from perspective_broker.dialects.classic.work import UNLIMITED
from perspective_broker.limits import CONTAINER_NODES, Limits
from perspective_broker.native_path import NATIVE, make_bounds, read_banana, unjelly_plain
from tests.dialects.classic.coding import from_lists, to_lists
from tests.dialects.strategies import banana_values, chops, jellies, values

pytestmark = pytest.mark.skipif(not NATIVE, reason="perspective-broker-native is not installed")

SMALL = Limits(depth=8, list_items=20, string_bytes=100, message_bytes=400, int_bits=40, nodes=200)


def natively(data: bytes, limits: Limits, has_words: bool = True, nodes: int = 1 << 31) -> Any:
    assert read_banana is not None
    bounds = make_bounds(
        depth=limits.depth,
        list_items=limits.list_items,
        string_bytes=limits.string_bytes,
        message_bytes=limits.message_bytes,
        int_bits=limits.int_bits,
        nodes=limits.nodes,
        container_nodes=CONTAINER_NODES,
        words=tuple(BY_NUMBER.values()) if has_words else (),
    )
    return read_banana(data, 0, bounds, nodes)


def outcome(chunks: list[bytes], limits: Limits, has_words: bool, natively: bool) -> list[str]:
    """Return the values of bytes with their sizes and nodes, and how they end."""
    decoder, found = Decoder(limits, has_words, natively), []
    try:
        for chunk in chunks:
            decoder.receive_data(chunk)
            while (value := decoder.next()) is not NEED_MORE:
                # repr() distinguishes 0.0 and -0.0, and 1 and 1.0.
                found.append(f"{value!r} {decoder.last_size} {decoder.last_nodes}")
    except ProtocolError as error:
        return [*found, f"{error.code}: {error}"]
    return [*found, f"{decoder.mid_message} left"]


def compare(chunks: list[bytes]) -> None:
    for limits in (pb.Limits(), SMALL):
        for has_words in (True, False):
            ours = outcome(chunks, limits, has_words, natively=True)
            assert ours == outcome(chunks, limits, has_words, natively=False)


def test_it_can_be_switched_off() -> None:
    program = "import perspective_broker as pb; print(pb.NATIVE)"
    for value, expected in (("0", "False"), ("1", "True")):
        environment = {**os.environ, "PERSPECTIVE_BROKER_NATIVE": value}
        shown = subprocess.run(
            [sys.executable, "-c", program], capture_output=True, text=True, check=True, env=environment
        )
        assert shown.stdout == f"{expected}\n"


@given(st.lists(banana_values(), min_size=1, max_size=3), st.data())
def test_values_are_the_same_however_they_are_cut(values: list[Any], data: st.DataObject) -> None:
    sent = b"".join(map(encode, values))
    compare([sent])
    compare(data.draw(chops(sent)))


@given(banana_values(), st.data())
def test_changed_bytes_are_the_same_or_the_same_error(value: Any, data: st.DataObject) -> None:
    sent = bytearray(encode(value))
    for _ in range(data.draw(st.integers(1, 4))):
        sent[data.draw(st.integers(0, len(sent) - 1))] = data.draw(st.integers(0, 255))
    compare([bytes(sent)])


@given(st.binary(max_size=60))
def test_any_bytes_are_the_same_or_the_same_error(data: bytes) -> None:
    compare([data])


@given(st.recursive(st.integers(-(2**62), 2**62) | st.binary(max_size=300) | st.floats(), st.lists))
def test_what_is_plain_is_taken(value: Any) -> None:
    found = natively(encode(value), pb.Limits())
    assert found is not None
    assert repr(found[0]) == repr(value)


def test_every_beginning_is_left_to_python() -> None:
    data = encode([b"unicode", 1, -200, 2.5, [[], [b"x" * 200, 2**40]]])
    for end in range(len(data)):
        assert natively(data[:end], pb.Limits()) is None
    assert natively(data + b"\x01", pb.Limits())[1] == len(data)


def test_a_message_of_many_values_is_read_while_the_collector_is_paused() -> None:
    value = [[b"unicode", b"text"] for _ in range(5_000)]
    compare([encode(value)])
    assert gc.isenabled()


@pytest.mark.parametrize(
    "value",
    [
        [[[[[[[[[1]]]]]]]]],
        [0] * 21,
        b"x" * 101,
        [b"x" * 90] * 5,
        1 << 40,
        [[0] * 15] * 15,
    ],
    ids=["depth", "items", "string", "message", "bits", "nodes"],
)
def test_a_value_beyond_a_limit_is_left_to_python(value: Any) -> None:
    assert natively(encode(value), SMALL) is None
    decoder = Decoder(SMALL, has_words=True)
    decoder.receive_data(encode(value))
    with pytest.raises(ProtocolError, match="Limits"):
        decoder.next()


def test_lists_of_the_deepest_message_need_no_large_stack() -> None:
    value: list[Any] = []
    for _ in range(255):
        value = [value]
    limits = Limits(depth=100_000)
    assert natively(encode(value, limits=limits), limits) is not None
    assert natively(encode([value], limits=limits), limits) is None


def test_no_reference_leaks() -> None:
    data = encode([[b"unicode", b"name"], 1.5, 2**50, [b"x"] * 10])
    flawed = data[:-1] + b"\xff"
    before = sys.getrefcount(data), sys.getrefcount(None)
    for _ in range(10_000):
        natively(data, pb.Limits())
        natively(flawed, pb.Limits())
    assert sys.getrefcount(data) == before[0]
    assert abs(sys.getrefcount(None) - before[1]) < 100


# -- unjelly


def represented(jelly: list[Any], units: int = UNLIMITED) -> Any:
    """Return what the native path makes of a list, in a tuple; None where it makes nothing."""
    assert unjelly_plain is not None
    return unjelly_plain(jelly, units)


@given(jellies())
def test_a_list_is_the_same_value_or_left_to_python(jelly: Any) -> None:
    if type(jelly) is list and (found := represented(jelly)) is not None:
        assert repr(found[0]) == repr(from_lists(jelly))


@given(values())
def test_a_value_is_the_same_or_left_to_python(value: Any) -> None:
    jelly = to_lists(value)
    if type(jelly) is list and (found := represented(jelly)) is not None:
        assert repr(found[0]) == repr(from_lists(jelly))


_plain = st.none() | st.booleans() | st.integers(-(2**62), 2**62) | st.floats() | st.binary() | st.text("aé€")


@given(
    st.recursive(
        _plain,
        lambda inner: (
            st.lists(inner, max_size=4)
            | st.tuples(inner, inner)
            | st.dictionaries(st.text("aé€"), inner, max_size=4)
        ),
    ).map(lambda value: [value])
)
def test_a_plain_value_is_taken(value: list[Any]) -> None:
    found = represented(to_lists(value))
    assert found is not None
    assert repr(found[0]) == repr(value)


@pytest.mark.parametrize(
    "jelly",
    [
        [],
        [[]],
        [b"unicode"],
        [b"unicode", b"\xff"],
        [b"unicode", b"\xed\xa0\x80"],
        [b"unicode", 1],
        [b"unicode", b"a", b"b"],
        [b"None", 1],
        [b"boolean", b"maybe"],
        [b"dictionary", [b"key", 1]],
        [b"dictionary", [[b"unicode", b"key"]]],
        [b"dictionary", 1],
        [b"list", [b"remote", 1]],
        [b"reference", 1, [b"list"]],
        [b"tests.Note", [b"dictionary"]],
    ],
    ids=repr,
)
def test_what_is_flawed_or_not_plain_is_left_to_python(jelly: list[Any]) -> None:
    assert represented(jelly) is None
    assert represented([b"list", 1, jelly]) is None


def test_work_beyond_the_bound_is_left_to_python() -> None:
    jelly = [b"list", [b"tuple"], [b"dictionary"]]
    assert represented(jelly, 3) == ([(), {}],)
    assert represented(jelly, 2) is None


def test_a_type_that_the_policy_refuses_is_refused() -> None:
    assert allows_plain(pb.registry.Policy())
    assert not allows_plain(pb.registry.Policy(types=["list"]))
