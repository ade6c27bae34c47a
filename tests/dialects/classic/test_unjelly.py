"""Unjelly: a hostile value fails only its own call, and takes little time."""

from __future__ import annotations

import datetime as dt
from decimal import Decimal
from typing import Any

import pytest

import perspective_broker as pb
from perspective_broker import CallError, DecodeError, InsecureJelly, ProtocolError, UnknownObject
from perspective_broker.dialects.building import MAX_KEY_PARTS, MAX_SAME_HASH
from perspective_broker.registry import Policy, Registry
from perspective_broker.testing import BrokerPair
from tests.dialects.classic.coding import from_lists

MERSENNE = 2**61 - 1  # integers a multiple of this apart have the same hash

REFUSED: dict[str, Any] = {
    "an empty list": [],
    "a list that starts with a number": [1, 2],
    "a list that starts with a float": [1.5],
    "a list that starts with a list": [[b"list"], 1],
    "an unknown type": [b"no.such.Thing", 1],
    "a dotted name": [b"os.system", [b"dictionary"]],
    "a type that is no text": [b"\xff\xfe", 1],
    "class": [b"class", b"os.system"],
    "module": [b"module", b"os"],
    "function": [b"function", b"os.system"],
    "instance": [b"instance", [b"class", b"x"], [b"dictionary"]],
    "method": [b"method", b"x", [b"None"], [b"None"]],
    "persistent": [b"persistent", b"x"],
    "unpersistable": [b"unpersistable", b"x"],
    "None with a field": [b"None", 1],
    "boolean without a field": [b"boolean"],
    "boolean of another word": [b"boolean", b"maybe"],
    "boolean of an int": [b"boolean", 1],
    "text that is no UTF-8": [b"unicode", b"\xff"],
    "text with a surrogate": [b"unicode", b"\xed\xa0\x80"],
    "text of an int": [b"unicode", 5],
    "text of a float": [b"unicode", 5.0],
    "text of a list": [b"unicode", [b"unicode", b"x"]],
    "text without a field": [b"unicode"],
    "text of two fields": [b"unicode", b"a", b"b"],
    "decimal with a billion for exponent": [b"decimal", 1, 10**9],
    "decimal with a large negative exponent": [b"decimal", 1, -(10**9)],
    "decimal of text": [b"decimal", b"1", 0],
    "decimal of floats": [b"decimal", 1.0, 0],
    "decimal without exponent": [b"decimal", 1],
    "date of too many digits": [b"date", b"9999999999 1 1"],
    "date with underscores": [b"date", b"1_0 1 1"],
    "date with signs": [b"date", b"+1 1 1"],
    "date out of range": [b"date", b"2002 13 1"],
    "date of an int": [b"date", 5],
    "date with a newline": [b"date", b"2002 1 1\n"],
    "datetime too short": [b"datetime", b"2002 1 1"],
    "time out of range": [b"time", b"24 0 0 0"],
    "timedelta out of range": [b"timedelta", b"999999999 99999 999999"],
    "timedelta with letters": [b"timedelta", b"1 x 3"],
    "a pair of one": [b"dictionary", [1]],
    "a pair of three": [b"dictionary", [1, 2, 3]],
    "a pair that is a string of two": [b"dictionary", b"ab"],
    "a pair that is a number": [b"dictionary", 1],
    "a list as a key": [b"dictionary", [[b"list"], 1]],
    "a dictionary in a set": [b"set", [b"dictionary"]],
    "a set in a frozenset": [b"frozenset", [b"set"]],
    "a list in a tuple as a key": [b"dictionary", [[b"tuple", [b"list"]], 1]],
    "not-a-number as a key": [b"dictionary", [float("nan"), 1]],
    "not-a-number in a set": [b"set", float("nan")],
    "an integer key of 65 bits": [b"dictionary", [2**64, 1]],
    "dereference never defined": [b"dereference", 1],
    "dereference ahead of its definition": [b"list", [b"dereference", 1], [b"reference", 1, [b"list"]]],
    "dereference by text": [b"dereference", b"1"],
    "dereference by a list": [b"dereference", [b"list"]],
    "dereference by a float": [b"list", [b"reference", 1, [b"list"]], [b"dereference", 1.0]],
    "reference defined twice": [b"list", [b"reference", 1, [b"list"]], [b"reference", 1, [b"list"]]],
    "reference defined within itself": [b"reference", 1, [b"list", [b"reference", 1, [b"list"]]]],
    "reference number that is a list": [b"reference", [b"list"], [b"list"]],
    "reference number of 65 bits": [b"reference", 2**64, [b"list"]],
    "reference to a plain number": [b"reference", 1, 5],
    "reference to an empty list": [b"reference", 1, []],
    "reference to a reference to itself": [b"reference", 1, [b"dereference", 1]],
    "reference without a value": [b"reference", 1],
    "a tuple that is its own part": [b"reference", 1, [b"tuple", [b"dereference", 1]]],
    "a frozenset that is its own part": [b"reference", 1, [b"frozenset", [b"tuple", [b"dereference", 1]]]],
    "a set in itself": [b"reference", 1, [b"set", [b"dereference", 1]]],
    "a tuple that is its own key": [b"reference", 1, [b"tuple", [b"dictionary", [[b"dereference", 1], 1]]]],
    "an id that is a list": [b"remote", [b"list"]],
    "an id that is text": [b"remote", b"root"],
    "an id below zero": [b"remote", -1],
    "an id of 65 bits": [b"remote", 2**64],
    "an id of no kind": [b"local", 1.0],
    "an id that is no text": [b"local", b"\xff"],
    "a reference without a connection": [b"remote", 1],
    "an object without a connection": [b"local", 1],
    "a replica without a connection": [b"cached", 1],
    "an original without a connection": [b"lcache", 1],
    "a replica's id that is text": [b"cached", b"1"],
    "a failure without a state": [b"twisted.spread.pb.CopyableFailure"],
}  # fmt: skip


@pytest.mark.parametrize("inside", ["alone", "in a list", "as a value"])
@pytest.mark.parametrize("jelly", REFUSED.values(), ids=REFUSED)
def test_malformed_values_cost_the_call_and_nothing_else(jelly: Any, inside: str) -> None:
    if inside == "in a list":
        jelly = [b"list", 1, jelly]
    elif inside == "as a value":
        jelly = [b"dictionary", [b"key", jelly]]
    with pytest.raises(CallError) as refusal:
        from_lists(jelly)
    assert len(str(refusal.value)) < 200


def test_code_is_never_named() -> None:
    for name in (b"os.system", b"class", b"module", b"function", b"instance", b"method", b"x" * 500_000):
        with pytest.raises(InsecureJelly) as refusal:
            from_lists([name, b"os.system"])
        assert len(str(refusal.value)) < 200


def test_the_last_of_two_equal_keys_wins() -> None:
    assert from_lists([b"dictionary", [b"k", 1], [b"k", 2]]) == {b"k": 2}
    assert from_lists([b"dictionary", [[b"unicode", b"k"], 1], [[b"unicode", b"k"], 2]]) == {"k": 2}


def test_deep_values_are_refused_by_the_stack_at_the_latest() -> None:
    jelly: Any = 1
    for _ in range(20_000):
        jelly = [b"list", jelly]
    with pytest.raises(DecodeError, match="nested too deep"):
        from_lists(jelly)


# -- the work is bounded by the size; the tests count work, not time


class CountedKey:
    """An object made by a factory; it counts how often it is hashed and compared."""

    work = 0

    def __init__(self, state: Any) -> None:
        self.state = state

    def __hash__(self) -> int:
        CountedKey.work += 1
        return 7

    def __eq__(self, other: object) -> bool:
        CountedKey.work += 1
        return self is other


@pytest.mark.parametrize("kind", [b"set", b"frozenset", b"dictionary"])
def test_keys_of_one_hash_are_few(kind: bytes) -> None:
    registry = Registry()
    registry.set_unjellyable_factory_for_class("key", CountedKey)
    CountedKey.work = 0
    keys: list[Any] = [[b"key", n] for n in range(10_000)]
    with pytest.raises(DecodeError, match="same hash"):
        from_lists([kind, *([key, 1] if kind == b"dictionary" else key for key in keys)], registry=registry)
    assert CountedKey.work < MAX_SAME_HASH**2


def pairs_of_minus(count: int) -> list[Any]:
    """Return different tuples of -1 and -2, which have the same hash."""
    return [[b"tuple", *(-1 - (n >> bit & 1) for bit in range(16))] for n in range(count)]


COLLIDING: dict[str, list[Any]] = {
    "decimals": [[b"decimal", n * MERSENNE + 1, 0] for n in range(1000)],
    "tuples of small integers": pairs_of_minus(1000),
    "frozensets of tuples": [[b"frozenset", key] for key in pairs_of_minus(1000)],
    "floats": [
        *(float(2 ** (61 * n)) for n in range(17)),
        *(2.0 ** (-61 * n) for n in range(1, 17)),
        *(float(2 ** (61 * n)) for n in range(17)),
        *(2.0 ** (-61 * n) for n in range(1, 17)),
    ],
}


@pytest.mark.parametrize("keys", COLLIDING.values(), ids=COLLIDING)
def test_keys_that_are_made_to_collide(keys: list[Any]) -> None:
    assert len(from_lists([b"list", *keys])) == len(keys)
    for jelly in (
        [b"set", *keys],
        [b"frozenset", *keys],
        [b"dictionary", *([key, 1] for key in keys)],
    ):
        with pytest.raises(DecodeError, match="same hash"):
            from_lists(jelly)


def test_honest_keys_are_let_in() -> None:
    grid = {(x, y, z) for x in range(-5, 5) for y in range(-5, 5) for z in range(-5, 5)}
    jelly = [b"set", *([b"tuple", *point] for point in grid)]
    assert from_lists(jelly) == grid
    many = [b"list", *([b"dictionary", [[b"tuple", 1, 2], n]] for n in range(1000))]
    assert from_lists(many) == [{(1, 2): n} for n in range(1000)]
    assert from_lists([b"set", *range(10_000)]) == set(range(10_000))
    assert from_lists([b"set", 2**63, -(2**63), 1.5, [b"None"], [b"boolean", b"true"]]) == {
        2**63, -(2**63), 1.5, None, True,
    }  # fmt: skip


@pytest.mark.parametrize("kind", [b"tuple", b"frozenset"])
def test_a_key_that_unfolds_is_refused(kind: bytes) -> None:
    """2**60 parts, because each level refers to the one below twice: harmless as a value, but hashing never ends."""
    key: Any = [b"tuple", 1]
    for number in range(60):
        key = [b"tuple", [b"reference", number, key], [b"dereference", number]]
    assert type(from_lists(key)) is tuple
    for jelly in (
        [b"set", key],
        [b"frozenset", key],
        [b"dictionary", [[kind, key], 1]],
        [b"set", [kind, key]],
    ):
        with pytest.raises(DecodeError, match="parts"):
            from_lists(jelly)
    wide = [b"tuple", *range(MAX_KEY_PARTS)]
    assert len(from_lists([b"set", wide])) == 1
    with pytest.raises(DecodeError, match="parts"):
        from_lists([b"set", [*wide, 1]])


def test_mentions_of_what_is_never_finished_are_cheap() -> None:
    jelly = [b"reference", 1, [b"tuple", *([[b"dereference", 1]] * 100_000)]]
    with pytest.raises(DecodeError, match="contains itself"):
        from_lists(jelly)


def test_a_decimal_is_ready_to_be_used() -> None:
    value = from_lists([b"decimal", -(10**134), 6176])
    assert value == Decimal(-(10**134)).scaleb(6176)
    assert int(value).bit_length() < 21_000


# -- classes, factories, policy


class Note(pb.RemoteCopy):
    text: str


class Open(pb.RemoteCopy):
    def method(self) -> None: ...


class Slotted(pb.RemoteCopy):
    __slots__ = ("seen",)

    def set_copyable_state(self, state: Any) -> None:
        self.seen = state


class Raising(pb.RemoteCopy):
    def set_copyable_state(self, state: Any) -> None:
        raise RuntimeError(f"not {state}")


class Unmakeable(pb.RemoteCopy):
    def __new__(cls) -> Unmakeable:
        raise RuntimeError("no instances")


class Unhashed(pb.RemoteCopy):
    text: str

    def __hash__(self) -> int:
        return hash(self.text)


@pytest.fixture
def registry() -> Registry:
    registry = Registry()
    for cls in (Note, Open, Slotted, Raising, Unmakeable, Unhashed):
        registry.set_unjellyable_for_class(cls.__name__, cls)
    registry.set_unjellyable_factory_for_class("Factory", lambda state: ("made", state))
    registry.set_unjellyable_factory_for_class("Failing", lambda state: state["no such key"])
    return registry


def state(**fields: Any) -> list[Any]:
    return [b"dictionary", *([[b"unicode", name.encode()], value] for name, value in fields.items())]


def test_a_registered_class_is_built_from_its_state(registry: Registry) -> None:
    note = from_lists([b"Note", state(text=[b"unicode", b"hi"], unknown=1)], registry=registry)
    assert type(note) is Note
    assert vars(note) == {"text": "hi"}
    assert from_lists([b"Note", [b"dictionary", [b"text", b"hi"]]], registry=registry).text == b"hi"
    assert vars(from_lists([b"Open", state(anything=1)], registry=registry)) == {"anything": 1}
    assert from_lists([b"Slotted", 5], registry=registry).seen == 5
    assert from_lists([b"Factory", state(a=1)], registry=registry) == ("made", {"a": 1})


@pytest.mark.parametrize(
    "jelly",
    [
        [b"Open", state(__class__=1)],
        [b"Open", state(__dict__=[b"dictionary"])],
        [b"Open", state(method=1)],
        [b"Open", state(set_copyable_state=1)],
        [b"Open", state(_private=1)],
        [b"Open", [b"dictionary", [1, 2]]],
        [b"Open", [b"dictionary", [b"\xff", 2]]],
        [b"Open", [b"dictionary", [[b"unicode", b"not a name"], 2]]],
        [b"Open", [b"list"]],
        [b"Open", 7],
        [b"Open"],
        [b"Open", state(), state(), state()],
        [b"Raising", 7],
        [b"Unmakeable", state()],
        [b"Failing", state()],
        [b"Factory"],
        [b"Factory", [b"unknown"]],
        [b"reference", 1, [b"Note", [b"dereference", 1]]],
        [b"reference", 1, [b"Factory", [b"dereference", 1]]],
        [b"reference", 1, [b"tuple", [b"Note", [b"dereference", 1]]]],
        [b"set", [b"Unhashed", state()]],
        [b"Note", 1, state()],
    ],
)
def test_states_that_are_no_good(jelly: Any, registry: Registry) -> None:
    with pytest.raises(CallError):
        from_lists(jelly, registry=registry)


def test_a_class_s_own_exception_is_kept_as_the_cause(registry: Registry) -> None:
    with pytest.raises(DecodeError, match=r"refused by its class \(RuntimeError\)") as refusal:
        from_lists([b"Raising", 7], registry=registry)
    assert isinstance(refusal.value.__cause__, RuntimeError)


def test_a_factory_never_sees_a_state_that_is_still_being_built(registry: Registry) -> None:
    with pytest.raises(DecodeError, match="factory"):
        from_lists(
            [b"reference", 1, [b"tuple", [b"Factory", [b"list", [b"dereference", 1]]]]], registry=registry
        )
    shared = [b"reference", 1, [b"tuple", [b"Factory", [b"list", 5]]]]
    assert from_lists([b"list", shared, [b"dereference", 1]], registry=registry) == [(("made", [5]),)] * 2


def test_a_class_sees_its_whole_state(registry: Registry) -> None:
    """The state contains a tuple that is complete only after the object exists, so the state is set at the end."""
    jelly = [b"reference", 1, [b"tuple", [b"Slotted", [b"tuple", [b"list", [b"dereference", 1]]]]]]
    arrived = from_lists(jelly, registry=registry)
    assert type(arrived[0].seen) is tuple
    assert arrived[0].seen[0][0] is arrived


def test_policy_of_types() -> None:
    policy = Policy(types={"unicode", "reference", "dereference", "tuple"})
    assert from_lists([b"tuple", [b"unicode", b"x"], 1, b"raw"], policy=policy) == ("x", 1, b"raw")
    for jelly in ([b"list"], [b"reference", 1, [b"list"]], [b"dictionary"], [b"None"], [b"tuple", [b"set"]]):
        with pytest.raises(InsecureJelly):
            from_lists(jelly, policy=policy)


def test_policy_of_classes(registry: Registry) -> None:
    policy = Policy(classes={"Note"})
    assert type(from_lists([b"Note", state()], policy=policy, registry=registry)) is Note
    for tag in (b"Open", b"Factory"):
        for jelly in ([tag, state()], [b"reference", 1, [tag, state()]]):
            with pytest.raises(InsecureJelly):
                from_lists(jelly, policy=policy, registry=registry)


# -- ids


def test_references_and_objects_come_from_the_session() -> None:
    root = pb.Root()
    pair = BrokerPair(root, dialects=["pb"])
    broker = pair.client.broker
    one, two, three = from_lists(
        [b"tuple", [b"remote", 5], [b"remote", 5], [b"remote", 6]], importer=broker.importer
    )
    assert one is two is not three
    for jelly in ([b"local", 5], [b"local", b"5"], [b"local", b"root"], [b"lcache", 5], [b"cached", 5]):
        with pytest.raises(UnknownObject):
            from_lists(jelly, importer=broker.importer)
    assert from_lists([b"local", b"root"], importer=pair.server.broker.importer) is root
    pair.link.cut()


def test_more_references_than_allowed_end_the_connection() -> None:
    pair = BrokerPair(dialects=["pb"], limits=pb.Limits(references_received=3))
    jelly = [b"list", *([b"remote", n] for n in range(1, 5))]
    with pytest.raises(ProtocolError, match="limit-references"):
        from_lists(jelly, importer=pair.client.broker.importer)
    pair.link.cut()


def test_dates_arrive() -> None:
    assert from_lists([b"date", b"2002 7 14"]) == dt.date(2002, 7, 14)
    assert from_lists([b"date", b"0002 07 01"]) == dt.date(2, 7, 1)


def test_a_dictionary_keeps_its_order_also_around_a_value_that_is_not_finished() -> None:
    pairs = [
        [b"a", [b"dereference", 1]],
        [b"b", 2],
        [b"a", [b"dereference", 1]],
        [b"c", [b"dereference", 1]],
        [b"c", 3],
    ]
    whole = from_lists([b"reference", 1, [b"tuple", [b"dictionary", *pairs]]])
    assert list(whole[0]) == [b"a", b"b", b"c"]
    assert whole[0][b"a"] is whole
    assert whole[0][b"c"] == 3  # the last one of duplicate keys wins
