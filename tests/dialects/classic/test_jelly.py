"""Jelly: the encoding of values; values that cannot be encoded, after which nothing stays exported."""

from __future__ import annotations

import datetime as dt
import enum
from collections import OrderedDict, namedtuple
from dataclasses import replace
from decimal import Decimal
from typing import Any

import pytest

import perspective_broker as pb
from perspective_broker import Limits, ProtocolError, SerializationError
from perspective_broker.dialects.classic import PB
from perspective_broker.dialects.classic.banana import NEED_MORE, Decoder
from perspective_broker.dialects.classic.jelly import MAX_KEPT_KEYS, Jellier
from perspective_broker.flavors import Exportable
from perspective_broker.ports import NullExporter
from perspective_broker.registry import Registry
from perspective_broker.testing import BrokerPair
from tests.dialects.classic.coding import LIMITS, across, from_lists, read, to_bytes, to_lists

VALUES: dict[str, Any] = {
    "ints": [0, -1, 2**31, -(2**40), 2**447],
    "floats": [0.0, -1.5, 1e300, float("inf")],
    "bytes": [b"", b"raw", b"list", b"x" * 70_000],
    "text": ["", "hello", "list", "None", "pérspective ☃ 🍌", "x" * 100_000],
    "none and booleans": [None, True, False],
    "containers": [[], [[]], (), ((),), {}, {"a": {}}, set(), {1, "a", (2,)}, frozenset(), frozenset({b"x"})],
    "dictionaries": {"a": 1, 2: "b", (3, "c"): [4], b"d": None, 1.5: True, None: 0, frozenset({1}): 2},
    "decimals": [Decimal("3.1415"), Decimal("-0.1"), Decimal("0.00"), Decimal(10) ** 6000, Decimal("9" * 134)],
    "times": [
        dt.datetime(2002, 7, 14, 19, 53, 20, 123456),
        dt.datetime.min,
        dt.datetime.max,
        dt.date(1, 1, 1),
        dt.time(23, 59, 59, 999999),
        dt.timedelta(-1, 5, 7),
        dt.timedelta.min,
        dt.timedelta.max,
    ],
    "message": {"user": "alice", "n": 42, "tags": ["a", "b", "c"], "ratio": 0.5},
}  # fmt: skip


@pytest.mark.parametrize("dialect", ["pb", "none"])
@pytest.mark.parametrize("value", VALUES.values(), ids=VALUES)
def test_values_of_every_type_arrive_as_they_were(value: Any, dialect: str) -> None:
    arrived = across(value, dialect=dialect)
    assert arrived == value
    assert repr(arrived) == repr(value)  # 1 is not True, and -0.0 is not 0.0


def test_text_may_be_spelled_as_a_word() -> None:
    assert to_bytes("list") == b"\x02\x80\x07\x82unicode\x08\x87"
    assert across({"list": "tuple"}) == {"list": "tuple"}


def test_keys_are_kept_in_bounds() -> None:
    for start in range(0, 3 * MAX_KEPT_KEYS, 100):
        value = {f"key {n}": n for n in range(start, start + 100)}
        assert across(value) == value
    long = {"k" * 100: 1}
    assert across(long) == across(long) == long


# -- sharing and cycles


def test_what_is_shared_stays_shared() -> None:
    for shared in ([1], (1, [2]), {"a": 1}, {1}, frozenset({1})):
        first, second, third = across([shared, shared, {"k": shared}])
        assert first is second is third["k"]


def test_sharing_is_written_as_twisted_does() -> None:
    shared: list[Any] = [1]
    assert to_lists([shared, shared, shared]) == [
        b"list",
        [b"reference", 1, [b"list", 1]],
        [b"dereference", 1],
        [b"dereference", 1],
    ]
    assert to_lists([(), ()]) == [b"list", [b"tuple"], [b"tuple"]]


def test_cycles_of_containers_that_can_change() -> None:
    ring: list[Any] = [1]
    ring.append(ring)
    arrived = across(ring)
    assert arrived[1] is arrived
    assert len(arrived) == 2
    mapping: dict[str, Any] = {"n": 1}
    mapping["self"] = [mapping]
    arrived = across(mapping)
    assert arrived["self"][0] is arrived


def test_cycles_through_a_tuple() -> None:
    inner: list[Any] = []
    outer = (inner, "x")
    inner += [outer, (outer,), {"deep": (1, (outer,))}]
    arrived = across(outer)
    assert type(arrived) is tuple
    [back, wrapped, deep] = arrived[0]
    assert back is arrived
    assert wrapped[0] is arrived
    assert deep["deep"][1][0] is arrived


def test_a_tuple_that_waited_is_shared_by_all_who_mention_it() -> None:
    inner: list[Any] = []
    outer = (inner,)
    waiting = (outer, 1)
    inner.append(waiting)
    arrived = across([outer, waiting, [waiting]])
    assert arrived[1] == (arrived[0], 1)
    assert arrived[1][0] is arrived[0]
    assert arrived[0][0][0] is arrived[1] is arrived[2][0]


class Tagged(pb.Copyable):
    def __init__(self, **state: Any) -> None:
        self.__dict__.update(state)

    def get_type_to_copy(self) -> str:
        return "tests.Tagged"


class RemoteTagged(pb.RemoteCopy):
    held: Any
    other: Any


REGISTRY = Registry()
REGISTRY.set_unjellyable_for_class("tests.Tagged", RemoteTagged)


def test_cycles_through_copyables() -> None:
    one, two = Tagged(), Tagged()
    one.held, two.held = (two,), {"back": one}  # type: ignore[attr-defined]
    one.other = one  # type: ignore[attr-defined]
    arrived = across([one, two], registry=REGISTRY)
    assert arrived[0].held[0] is arrived[1]
    assert arrived[1].held["back"] is arrived[0] is arrived[0].other


def test_cycles_through_sets_and_keys() -> None:
    """A hashable object that refers to its own container."""
    one = Tagged()
    key = (one, 7)
    one.held = {key: "value", "plain": {key}, "frozen": frozenset({key})}  # type: ignore[attr-defined]
    arrived = across(key, registry=REGISTRY)
    held = arrived[0].held
    [found] = [key for key in held if type(key) is tuple]
    assert found is arrived
    assert held["plain"] == {arrived}
    assert held["frozen"] == frozenset({arrived})
    assert held[arrived] == "value"


def test_a_diamond_of_any_height_costs_what_it_says() -> None:
    value: Any = []
    for _ in range(30):
        value = [value, value]
    data = to_bytes(value)
    assert len(data) < 1000
    arrived = from_lists(read(data)[0])
    height = 0
    while arrived:
        assert arrived[0] is arrived[1]
        arrived, height = arrived[0], height + 1
    assert height == 30


# -- copyables


class Asked(pb.Copyable):
    def __init__(self) -> None:
        self.by: list[Any] = []

    def get_type_to_copy_for(self, perspective: Any) -> str:
        return f"tests.Asked.{perspective}"

    def get_state_to_copy_for(self, perspective: Any) -> Any:
        self.by.append(perspective)
        return {"for": perspective}


def test_a_copyable_is_asked_once_for_the_perspective() -> None:
    asked = Asked()
    [jelly] = read(to_bytes([asked, asked], perspective="alice"))
    assert asked.by == ["alice"]
    state = [b"dictionary", [[b"unicode", b"for"], [b"unicode", b"alice"]]]
    assert jelly == [
        b"list",
        [b"reference", 1, [b"tests.Asked.alice", state]],
        [b"dereference", 1],
    ]


class Momentary(pb.Copyable):
    """An object that makes a new state each time: the ids of these lists must not be confused."""

    def get_type_to_copy(self) -> str:
        return "tests.Tagged"

    def get_state_to_copy(self) -> Any:
        return {"held": [id(self)]}


def test_states_made_in_passing_are_not_mixed_up() -> None:
    things = [Momentary() for _ in range(50)]
    arrived = across(things, registry=REGISTRY)
    assert [thing.held for thing in arrived] == [[id(thing)] for thing in things]


# -- values that cannot be sent


class Colour(enum.IntEnum):
    RED = 1


Point = namedtuple("Point", "x y")


@pytest.mark.parametrize(
    ("value", "why"),
    [
        (object(), "no form"),
        (Colour.RED, "no form"),
        (Point(1, 2), "no form"),
        (OrderedDict(), "no form"),
        (bytearray(b"x"), "no form"),
        (range(3), "no form"),
        (int, "no form"),
        ("\ud800", "surrogate"),
        ({"\udfff": 1}, "surrogate"),
        (2**448, "448 bits"),
        (-(2**448), "448 bits"),
        ("é" * 330_000, "send it in pieces"),
        (b"x" * (640 * 1024 + 1), "send it in pieces"),
        ({b"k" * (640 * 1024 + 1): 1}, "send it in pieces"),
        ([0] * (640 * 1024), "items"),
        (dict.fromkeys(range(640 * 1024)), "items"),
        (Decimal("nan"), "decimal"),
        (Decimal("inf"), "decimal"),
        (Decimal("1e6177"), "decimal"),
        (Decimal("1" * 136), "136 digits"),
        (Decimal("1" * 5000), "5000 digits"),
        (dt.datetime(2002, 7, 14, tzinfo=dt.UTC), "time zone"),
        (dt.time(12, tzinfo=dt.UTC), "time zone"),
        (pb.Referenceable(), "connection"),
    ],
    ids=lambda value: type(value).__name__,
)  # fmt: skip
def test_what_cannot_cross_is_refused_here(value: Any, why: str) -> None:
    with pytest.raises(SerializationError, match=why):
        to_bytes([1, value])


def test_the_culprit_is_named() -> None:
    culprit = object()
    with pytest.raises(SerializationError) as refusal:
        to_bytes({"a": [1, culprit]})
    assert refusal.value.culprit is culprit


class Faulty(pb.Copyable):
    def get_state_to_copy(self) -> Any:
        raise RuntimeError("no state today")


@pytest.mark.parametrize("bad", [object(), Faulty()])
def test_nothing_stays_exported_when_encoding_fails(bad: object) -> None:
    with BrokerPair(dialects=["pb"]) as pair:
        broker = pair.client.broker
        kept = pb.Referenceable()
        before = Jellier(PB, broker.exporter, None, LIMITS)
        before.jelly(kept)
        assert len(broker.tables.exports) == 1
        jellier = Jellier(PB, broker.exporter, None, LIMITS)
        with pytest.raises((SerializationError, RuntimeError)):
            jellier.jelly([kept, pb.Referenceable(), [pb.Referenceable()], bad])
        assert jellier.exported == []
        assert len(broker.tables.exports) == 1
        before.rollback()
        assert len(broker.tables.exports) == 0


def test_what_a_value_exports_is_collected_one_entry_for_every_count() -> None:
    with BrokerPair(dialects=["pb"]) as pair:
        shared = pb.Referenceable()
        jellier = Jellier(PB, pair.client.broker.exporter, None, LIMITS)
        [jelly] = read(jellier.jelly([shared, pb.Referenceable(), shared]))
        assert jelly == [b"list", [b"remote", 1], [b"remote", 2], [b"remote", 1]]
        assert jellier.exported == [1, 2, 1]
        jellier.rollback()


def test_a_reference_goes_home_and_no_further() -> None:
    class Desk(pb.Root):
        def remote_thing(self) -> Exportable:
            return pb.Referenceable()

    with BrokerPair(Desk(), dialects=["pb"]) as pair:
        thing = pair.call("thing")
        assert to_lists(thing, exporter=pair.client.broker.exporter) == [b"local", 1]
        assert to_lists(pair.root, exporter=pair.client.broker.exporter) == [b"local", b"root"]
        with pytest.raises(SerializationError, match="third program"):
            to_bytes(thing, exporter=pair.server.broker.exporter)
        with pytest.raises(SerializationError, match="connection"):
            to_bytes(thing, exporter=NullExporter())
        del thing
        pair.call("thing")  # until the next message the broker keeps the objects of the last one


# -- depth and size: checked here exactly as the peer checks them


def nested(levels: int, make: Any, core: Any = 7) -> Any:
    value = core
    for _ in range(levels):
        value = make(value)
    return value


MAKERS: dict[str, Any] = {
    "lists": lambda value: [value],
    "tuples": lambda value: (value,),
    "sets": lambda value: frozenset([value]),
    "dictionaries": lambda value: {"k": value},
    "copyables": lambda value: Tagged(held=value),
}


@pytest.mark.parametrize("make", MAKERS.values(), ids=MAKERS)
@pytest.mark.parametrize(
    "core", [7, "text", True, Decimal(1), RuntimeError("oh")], ids=lambda core: type(core).__name__
)
def test_the_deepest_value_let_out_is_let_in_and_one_more_is_refused(make: Any, core: Any) -> None:
    limits = replace(LIMITS, depth=40)
    deepest = 0

    def send_deeper_and_deeper() -> None:
        nonlocal deepest
        while True:
            data = to_bytes(nested(deepest + 1, make, core), limits=limits)
            [message] = read(b"\x01\x80" + data, limits)  # the message is a level
            from_lists(message[0], registry=REGISTRY)
            deepest += 1

    with pytest.raises(SerializationError, match="40 levels"):
        send_deeper_and_deeper()
    assert 8 < deepest < 40


@pytest.mark.parametrize("make", MAKERS.values(), ids=MAKERS)
def test_a_value_as_deep_as_the_default_can_be_read_within_half_the_stack(make: Any) -> None:
    levels = 0
    while True:
        try:
            to_bytes(nested(levels + 1, make))
        except SerializationError:
            break
        levels += 1
    value = nested(levels, make)
    assert levels >= 63  # a copyable whose state is a dictionary takes four

    def below(frames: int) -> Any:
        return across(value, registry=REGISTRY) if not frames else below(frames - 1)

    assert below(250) is not None


def test_nesting_beyond_the_stack_is_refused_not_crashed() -> None:
    with pytest.raises(SerializationError):
        to_bytes(nested(100_000, MAKERS["lists"]))
    with pytest.raises(SerializationError, match="call stack"):
        to_bytes(nested(100_000, MAKERS["lists"]), limits=replace(LIMITS, depth=1_000_000))


def test_a_bound_on_items_is_never_too_low() -> None:
    """The jellier's upper bound is at least the decoder's count, for any value."""
    shared: list[list[Any]] = [[] for _ in range(20)]
    for value in (
        [shared, shared],
        [item for item in shared for _ in "ab"],
        {f"k{n}": n for n in range(50)},
        dict.fromkeys(range(50)),
        [Decimal(1)] * 50,
        [True] * 50,
        [dt.date(2002, 7, 14)] * 50,
        ["text"] * 50,
        [Tagged(held="x")] * 2,
        [RuntimeError("x")],
    ):
        jellier = Jellier(PB, NullExporter(), None, LIMITS)
        data = jellier.jelly(value)
        low, high = 1, jellier.nodes_at_most
        while low < high:  # the smallest limit on nodes with which a decoder accepts it
            middle = (low + high) // 2
            decoder = Decoder(Limits(nodes=middle), has_words=True)
            decoder.receive_data(data)
            try:
                assert decoder.next() is not NEED_MORE
                high = middle
            except ProtocolError:
                low = middle + 1
        assert low < jellier.nodes_at_most
