"""Values keep their type and their value across pb7; the error of a value that cannot cross has its path."""

from __future__ import annotations

import collections
import copy
import dataclasses
import datetime
import enum
import gc
import struct
import sys
import zoneinfo
from decimal import Decimal
from typing import Any, NamedTuple
from uuid import UUID

import numpy
import pytest
from hypothesis import given
from hypothesis import strategies as st
from ormsgpack import packb

import perspective_broker as pb
from perspective_broker import Limits
from perspective_broker.build import COMPILED
from perspective_broker.dialects.building import KeyBudget, KeyCheck
from perspective_broker.dialects.pb7.graphs import GraphBuilder, Node
from perspective_broker.dialects.pb7.large import LARGE, OPTIONS, pieces
from perspective_broker.dialects.pb7.packing import MAX_INT_BITS, MAX_PLAIN_DEPTH
from perspective_broker.dialects.pb7.scalars import _zone
from perspective_broker.errors import DecodeError, ProtocolError
from perspective_broker.flavors.graph import Graph
from perspective_broker.registry import Registry
from perspective_broker.testing.strategies import arrays, modern_atoms

from .coding import End, across, whole


def same(left: Any, right: Any) -> bool:
    """Return whether two values are equal, with the same types at any depth, and floats with the same bits."""
    if type(left) is not type(right):
        return False
    if isinstance(left, float):
        return struct.pack("!d", left) == struct.pack("!d", right)
    if isinstance(left, complex):
        return same(left.real, right.real) and same(left.imag, right.imag)
    if isinstance(left, (list, tuple)):
        return len(left) == len(right) and all(map(same, left, right))
    if isinstance(left, dict):
        return len(left) == len(right) and all(
            same(a, b) and same(x, y) for (a, x), (b, y) in zip(left.items(), right.items(), strict=True)
        )
    if isinstance(left, (set, frozenset)):
        return bool(left == right) and sorted(map(repr, map(type, left))) == sorted(
            map(repr, map(type, right))
        )
    if isinstance(left, numpy.ndarray):
        return bool(
            left.dtype == right.dtype and left.shape == right.shape and left.tobytes() == right.tobytes()
        )
    if isinstance(left, collections.deque):
        return left.maxlen == right.maxlen and same(list(left), list(right))
    if isinstance(left, Decimal):
        return left.as_tuple() == right.as_tuple()
    if isinstance(left, (datetime.datetime, datetime.time)):
        return (
            left.replace(tzinfo=None) == right.replace(tzinfo=None)
            and left.fold == right.fold
            and left.tzinfo == right.tzinfo
            and type(left.tzinfo) is type(right.tzinfo)
            and left.tzname() == right.tzname()
        )
    return bool(left == right)


zones = st.one_of(
    st.none(),
    st.just(datetime.UTC),
    st.builds(
        datetime.timezone,
        st.timedeltas(datetime.timedelta(hours=-23), datetime.timedelta(hours=23)),
    ),
    st.builds(
        datetime.timezone,
        st.timedeltas(datetime.timedelta(hours=-23), datetime.timedelta(hours=23)),
        st.text(st.characters(codec="utf-8"), max_size=5),
    ),
    st.sampled_from(["Europe/Berlin", "America/New_York", "Asia/Kathmandu", "UTC"]).map(zoneinfo.ZoneInfo),
)
text = st.text(st.characters(codec="utf-8"))
integers = st.one_of(st.integers(), st.integers(-(1 << 500), 1 << 500))
times = st.builds(lambda time, zone: time.replace(tzinfo=zone), st.times(), zones)
datetimes = st.builds(
    lambda moment, zone, fold: moment.replace(tzinfo=zone, fold=fold),
    st.datetimes(),
    zones,
    st.integers(0, 1),
)
decimals: st.SearchStrategy[Decimal] = st.decimals(
    allow_nan=False, allow_infinity=False, min_value=-(10**30), max_value=10**30
) | st.sampled_from([Decimal(text) for text in ("NaN", "-NaN12", "sNaN", "-Infinity", "-0.00", "1E+6176")])
hashables = st.recursive(
    st.one_of(
        st.none(),
        st.booleans(),
        st.integers(-(1 << 64), 1 << 64).filter(lambda n: n.bit_length() <= 64),
        st.floats(allow_nan=False),
        text,
        st.binary(),
        st.dates(),
        datetimes,
        st.uuids(),
        modern_atoms(),
    ),
    lambda inner: st.one_of(st.tuples(inner, inner), st.frozensets(inner, max_size=3)),
    max_leaves=4,
)
values = st.recursive(
    st.one_of(
        st.none(),
        st.booleans(),
        integers,
        st.floats(),
        text,
        st.binary(),
        decimals,
        st.dates(),
        times,
        datetimes,
        st.timedeltas(),
        st.uuids(),
        st.complex_numbers(),
        modern_atoms(),
        arrays(),
    ),
    lambda inner: st.one_of(
        st.lists(inner, max_size=4),
        st.builds(collections.deque, st.lists(inner, max_size=4), st.sampled_from([None, 4, 2**62])),
        st.lists(inner, max_size=4).map(tuple),
        st.dictionaries(text, inner, max_size=4),
        st.dictionaries(hashables, inner, max_size=4),
        st.sets(hashables, max_size=4),
        st.frozensets(hashables, max_size=4),
    ),
    max_leaves=12,
)


@given(values)
def test_any_value_keeps_its_type_and_value(value: Any) -> None:
    assert same(across(value), value)


@given(
    st.lists(values, max_size=3), st.dictionaries(text.filter(lambda key: key != "self"), values, max_size=3)
)
def test_any_arguments_keep_their_types_and_values(args: list[Any], kwargs: dict[str, Any]) -> None:
    [(_, _, _, _, _, decoded)] = End().feed(
        End().dialect.writer.encode_call(1, "root", "x", True, tuple(args), kwargs, None)
    )
    assert same(list(decoded[0]), args)
    assert same(dict(decoded[1]), kwargs)


@pytest.mark.parametrize("bits", [0x7FF8000000000001, 0xFFF8000000000000, 0x7FF0000000000001, 1 << 63])
def test_floats_keep_their_bits(bits: int) -> None:
    value = struct.unpack("!d", struct.pack("!Q", bits))[0]
    assert struct.pack("!d", across(value)) == struct.pack("!Q", bits)


@pytest.mark.parametrize(
    "value",
    [
        [b"x" * LARGE, "small", b"y" * (LARGE + 1)],
        b"z" * 0x10000,
        {"nested": [b"x" * LARGE]},
        [[b"x" * LARGE], b"y" * LARGE, [1]],
        "x" * 100_000,
        [b"x"] * 20 + [b"x" * LARGE],
    ],
    ids=lambda value: f"{type(value).__name__} of {len(value)}",
)
def test_large_bytes_are_spelled_as_the_codec_spells_them(value: Any) -> None:
    frame = whole(End().dialect.writer.encode_answer(1, value, None))
    assert frame[4:] == packb([2, 1, value])
    assert same(across(value), value)


def test_a_large_message_has_limits_that_do_not_cost_the_connection() -> None:
    sender = End(limits=Limits(message_bytes=1000))
    with pytest.raises(pb.SerializationError, match="peers read 1000"):
        sender.dialect.writer.encode_answer(1, "x" * 1000, None)
    with pytest.raises(pb.SerializationError, match="100 items"):
        End(limits=Limits(nodes=100)).dialect.writer.encode_answer(1, [[] for _ in range(100)], None)


def test_whatever_holds_bytes_arrives_as_bytes() -> None:
    for value in (bytearray(b"abc"), memoryview(b"abc"), memoryview(bytearray(b"xabcx"))[1:4]):
        assert across([value, {"in": (value,)}]) == [b"abc", {"in": (b"abc",)}]
    assert type(across(bytearray(b"abc"))) is bytes


# -- exact types only


class Colour(enum.IntEnum):
    RED = 1


class Name(enum.StrEnum):
    BOB = "bob"


class Pair(NamedTuple):
    left: int
    right: int


class Text(str):
    pass


class Zone(datetime.tzinfo):
    def utcoffset(self, moment: datetime.datetime | None) -> datetime.timedelta:
        return datetime.timedelta(0)

    dst = utcoffset

    def tzname(self, moment: datetime.datetime | None) -> str:
        return "here"


@dataclasses.dataclass
class Data:
    x: int = 1


@pytest.mark.parametrize(
    "value",
    [
        Colour.RED,
        Name.BOB,
        Pair(1, 2),
        Text("x"),
        collections.OrderedDict(a=1),
        collections.defaultdict(int),
        Data(),
        object(),
        range(1 << 63),
        datetime.datetime(2020, 1, 1, tzinfo=Zone()),
    ],
    ids=lambda value: type(value).__name__,
)
def test_other_types_are_refused_and_the_place_is_named(value: Any) -> None:
    with pytest.raises(pb.SerializationError) as caught:
        End().dialect.writer.encode_call(1, "root", "x", True, (1, {"jobs": [(), value]}), {}, None)
    assert caught.value.path == 'args[1]["jobs"][1]'


@pytest.mark.parametrize("key", [Colour.RED, Name.BOB, Pair(1, 2), Text("x"), range(1 << 63), (1, Text("x"))])
def test_other_types_are_refused_as_keys_too(key: Any) -> None:
    with pytest.raises(pb.SerializationError) as caught:
        End().dialect.writer.encode_call(1, "root", "x", True, ([{key: 1}],), {}, None)
    assert caught.value.path.startswith("args[0][0] key")


@pytest.mark.parametrize(
    ("value", "path"),
    [
        ("\ud800", "answer"),
        ([{"a": "\udfff"}], 'answer[0]["a"]'),
        ([{"\ud800": 1}], 'answer[0] key "\\ud800"'),
        ([1 << MAX_INT_BITS], "answer[0]"),
        ([{float("nan"): 1}], "answer[0]"),
        ([{float("nan")}], "answer[0]"),
        ({1 << 65: 1}, "answer"),
        ([Decimal("1E+7000")], "answer[0]"),
    ],
    ids=lambda value: repr(value)[:20] if not isinstance(value, list) else None,
)
def test_what_the_peer_would_refuse_is_refused_here(value: Any, path: str) -> None:
    with pytest.raises(pb.SerializationError) as caught:
        End().dialect.writer.encode_answer(1, value, None)
    assert caught.value.path == path


def test_the_largest_integer_crosses() -> None:
    largest = (1 << MAX_INT_BITS) - 1
    assert across([largest, -largest]) == [largest, -largest]


# -- nesting


def nested(make: Any, levels: int) -> Any:
    value = make([])
    for _ in range(levels - 1):
        value = make([value])
    return value


def test_the_codec_packs_so_many_levels_and_no_more() -> None:
    packb(nested(list, MAX_PLAIN_DEPTH), None, OPTIONS)
    with pytest.raises(TypeError):
        packb(nested(list, MAX_PLAIN_DEPTH + 1), None, OPTIONS)


@pytest.mark.parametrize(("make", "most"), [(list, 254), (tuple, 128)])
def test_nesting_ends_at_the_limit_and_what_is_sent_is_read(make: Any, most: int) -> None:
    value = nested(make, most)
    assert same(across(value), value)
    with pytest.raises(pb.SerializationError, match="nested too deep"):
        End().dialect.writer.encode_answer(1, nested(make, most + 1), None)


def test_what_is_copied_for_every_level_is_bounded() -> None:
    value: Any = b"x" * 20_000
    for _ in range(100):
        value = (value,)
    with pytest.raises(pb.SerializationError, match="nested too deep"):
        End().dialect.writer.encode_answer(1, value, None)


def test_a_message_may_have_a_twentieth_of_its_values_as_extensions() -> None:
    tight = Limits(nodes=2000)
    most = [(n,) for n in range(100)]
    assert across(most, sender=End(limits=tight), receiver=End(limits=tight)) == most
    with pytest.raises(pb.SerializationError, match="100 extensions"):
        End(limits=tight).dialect.writer.encode_answer(1, [*most, ()], None)
    with pytest.raises(ProtocolError, match="limit-extensions: a message may have 100"):
        across([*most, ()], receiver=End(limits=tight))


def cycle_of_lists() -> Any:
    value: list[Any] = []
    value.append(value)
    return value


def cycle_through_tuple() -> Any:
    value: list[Any] = [1]
    value.append((value,))
    return value


def cycle_through_pairs() -> Any:
    value: dict[Any, Any] = {}
    value[1] = [value]
    return value


@pytest.mark.parametrize("make", [cycle_of_lists, cycle_through_tuple, cycle_through_pairs])
def test_a_cycle_names_its_place(make: Any) -> None:
    with pytest.raises(pb.SerializationError, match="contains itself") as caught:
        End().dialect.writer.encode_call(1, "root", "x", True, (), {"graph": {"a": [make()]}}, None)
    assert caught.value.path.startswith('kwargs["graph"]["a"][0]')


def test_what_cannot_cross_is_not_held_by_the_error() -> None:
    """It is freed without a garbage collection."""
    held = frozenset({1})
    before = sys.getrefcount(held)
    gc.disable()
    try:
        with pytest.raises(pb.SerializationError):
            End().dialect.writer.encode_answer(1, [[held], object()], None)
        assert sys.getrefcount(held) == before
    finally:
        gc.enable()


def test_plain_containers_are_trees() -> None:
    shared = [1]
    left, right = across((shared, shared))
    assert left == right == [1]
    assert left is not right


# -- graphs


def test_a_graph_keeps_sharing_and_cycles() -> None:
    shared = [1]
    top: dict[Any, Any] = {"shared": shared, (1, 2): [shared]}
    top["self"] = (top, frozenset({(3,)}), {4})
    arrived = across(Graph(top))
    assert arrived["self"][0] is arrived
    assert arrived["shared"] is arrived[1, 2][0]
    assert same(arrived["self"][1:], (frozenset({(3,)}), {4}))


@given(values)
def test_a_graph_of_a_tree_is_the_tree(value: Any) -> None:
    assert same(across(Graph(value)), value)


def test_a_graph_within_a_value_and_a_graph_within_a_graph() -> None:
    cycle = cycle_of_lists()
    arrived = across([Graph(cycle), {"inner": Graph([Graph(cycle), 1])}])
    assert arrived[0][0] is arrived[0]
    inner = arrived[1]["inner"][0]
    assert inner[0] is inner
    assert inner is not arrived[0]


# -- flavors


class Card(pb.Copyable, pb.RemoteCopy):
    def __init__(self, **state: Any) -> None:
        self.__dict__.update(state)

    def __repr__(self) -> str:
        return f"Card({sorted(self.__dict__)})"

    def get_type_to_copy(self) -> str:
        return "tests.Card"


def cards() -> Registry:
    registry = Registry()
    registry.set_unjellyable_for_class("tests.Card", Card)
    return registry


def test_copyables_keep_identity_within_a_message() -> None:
    card = Card(n=1)
    card.friend = other = Card(friend=card)  # type: ignore[attr-defined]
    receiver = End(registry=cards())
    [(*_, (args, kwargs))] = receiver.feed(
        End().dialect.writer.encode_call(1, "root", "x", True, ((card,), card), {"other": [other]}, None)
    )
    arrived = args[0][0]
    assert type(arrived) is Card
    assert args[1] is arrived
    assert arrived.friend is kwargs["other"][0]
    assert arrived.friend.friend is arrived


class Greedy(pb.Copyable):
    asked = 0

    def get_state_to_copy(self) -> dict[str, Any]:
        self.asked += 1
        return {"n": self.asked}

    def get_type_to_copy(self) -> str:
        return "tests.Card"


def test_no_hook_is_asked_twice_and_no_object_counted_twice_because_of_a_dictionary() -> None:
    # ormsgpack stops at a key that is not text, after it has requested the values before it.
    copyable, token = Greedy(), pb.Referenceable()
    sender = End()
    value = [copyable, token, (token,), {"before": [token, {1: copyable, "t": token}]}]
    arrived = across(value, sender=sender, receiver=End(registry=cards()))
    assert copyable.asked == 1
    assert sender.exports.counts == {1: 4}
    assert arrived[0] is arrived[3]["before"][1][1]
    assert arrived[0].n == 1


def test_references_cross_and_come_home() -> None:
    token = pb.Referenceable()
    receiver = End()
    [theirs, again] = across([token, (token,)], receiver=receiver)
    assert theirs is again[0]
    assert theirs._luid == 1
    assert theirs._perspective == "who"
    assert across([theirs, (theirs,)], sender=receiver) == ["local 1", ("local 1",)]


def test_a_value_that_the_session_has_a_stand_in_for_crosses_as_that() -> None:
    sender = End()
    [arrived] = across([(n for n in range(3))], sender=sender)
    assert arrived._luid == 1
    assert sender.exports.counts == {1: 1}


def test_a_named_object_comes_home() -> None:
    receiver = End()
    root = receiver.imports.imported["root"] = copy.copy(across(pb.Referenceable(), receiver=receiver))
    root._luid = "root"
    assert across((root,), sender=receiver) == ("local root",)


def test_a_failed_message_leaves_no_counts() -> None:
    sender = End()
    board = Board()
    with pytest.raises(pb.SerializationError):
        sender.dialect.writer.encode_call(
            1, "root", "x", True, (pb.Referenceable(), board, (pb.Referenceable(), {1: object()})), {}, None
        )
    assert set(sender.exports.counts.values()) == {0}
    assert set(sender.exports.caches.values()) == {0}


class Broken(pb.Copyable):
    def get_state_to_copy(self) -> Any:
        raise LookupError("not today")


def test_a_hook_that_raises_fails_the_message_and_leaves_nothing() -> None:
    sender = End()
    with pytest.raises(LookupError, match="not today"):
        sender.dialect.writer.encode_answer(1, [pb.Referenceable(), (Broken(),)], None)
    assert sender.exports.counts == {1: 0}


class Board(pb.Cacheable):
    def get_state_to_cache_and_observe_for(self, perspective: Any, observer: Any) -> dict[str, Any]:
        return {"n": 1}

    def get_type_to_copy(self) -> str:
        return "tests.Board"


class Replica(pb.RemoteCache):
    n: int


def test_a_cacheable_crosses_once_and_its_replica_comes_home() -> None:
    registry = Registry()
    registry.set_unjellyable_for_class("tests.Board", Replica)
    board, sender, receiver = Board(), End(), End(registry=registry)
    first, again = across([board, (board,)], sender=sender, receiver=receiver)
    assert type(first) is Replica
    assert first.n == 1
    assert again[0] is first
    first._pb_luid = luid = next(iter(sender.exports.caches))
    assert across([first], sender=receiver, receiver=sender) == [f"local cache {luid}"]


def test_an_exception_is_a_value_too() -> None:
    arrived = across([ValueError("bad")])[0]
    assert isinstance(arrived, pb.RemoteError)
    assert (arrived.type, arrived.value) == ("builtins.ValueError", "bad")
    assert arrived.check(ValueError) is ValueError


def test_a_zone_is_read_from_its_file_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each zone is read once, whatever their number and order: zoneinfo itself keeps only eight."""
    names = sorted(zoneinfo.available_timezones())[:20]
    for name in names:
        _zone(name)
    monkeypatch.setattr("zoneinfo.ZoneInfo", None)
    for name in names:
        assert _zone(name).key == name


def test_uuid_and_zone_types_are_the_very_ones() -> None:
    value = [
        UUID(int=1),
        datetime.datetime(2020, 10, 25, 2, 30, tzinfo=zoneinfo.ZoneInfo("Europe/Berlin"), fold=1),
    ]
    arrived = across(value)
    assert same(arrived, value)
    assert arrived[1].utcoffset() == datetime.timedelta(hours=1)


@pytest.mark.skipif(COMPILED, reason="nothing derives from a compiled class to count")
def test_a_tuple_that_contains_itself_is_found_by_reading_its_items_once() -> None:
    """The test counts reads: once the tuple was read again for each level of nesting that is allowed."""
    read = 0

    class Counting(GraphBuilder):
        def _value(self, item: Any, depth: int) -> Any:
            nonlocal read
            read += 1
            return super()._value(item, depth)

    with pytest.raises(DecodeError, match="contains itself"):
        Counting([[2, *([0] * 1000), Node(0)]], 128, lambda: KeyCheck(KeyBudget())).build(Node(0))
    assert read == 1001


# -- pieces


@pytest.mark.parametrize("items", [0, 1, 15, 16, 255, 256, 65_535, 65_536, 70_000])
def test_the_pieces_of_a_list_of_any_length_are_its_one_spelling(items: int) -> None:
    value: list[Any] = [None] * items
    assert b"".join(piece for piece, _ in pieces(value, packb)) == packb(value)


@pytest.mark.parametrize("size", [LARGE - 1, LARGE, 65_535, 65_536, 70_000])
def test_the_pieces_of_bytes_of_any_length_are_their_one_spelling(size: int) -> None:
    value = [b"x" * size, [b"y" * size, 1]]
    assert b"".join(piece for piece, _ in pieces(value, packb)) == packb(value)
