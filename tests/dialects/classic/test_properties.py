"""Any value, any bytes and any chunks give a value or the right kind of error, the same as in Twisted."""

from __future__ import annotations

from typing import Any

import hypothesis.strategies as st
import pytest
from hypothesis import given
from twisted.spread import jelly as twisted_jelly

import perspective_broker as pb
from perspective_broker import CallError, ProtocolError
from perspective_broker.dialects.classic.banana import NEED_MORE, Decoder, encode
from perspective_broker.dialects.classic.unjelly import _Pending
from perspective_broker.registry import Registry
from perspective_broker.testing import BrokerPair
from tests.dialects.classic.coding import LIMITS, SPELLINGS, across, from_lists, read, to_bytes, to_lists
from tests.dialects.classic.test_messages import Line
from tests.dialects.strategies import banana_values, chops, jellies, values
from tests.fuzz.twisted_banana import Theirs

dialects = st.sampled_from(sorted(SPELLINGS))


class Note(pb.RemoteCopy):
    pass


REGISTRY = Registry()
REGISTRY.set_unjellyable_for_class("tests.Note", Note)
REGISTRY.set_unjellyable_factory_for_class("tests.Made", lambda state: (state,))


@given(values(), dialects)
def test_any_value_round_trips(value: Any, dialect: str) -> None:
    arrived = across(value, dialect=dialect)
    assert arrived == value
    assert type(arrived) is type(value)


@given(st.data(), st.lists(banana_values(), max_size=4))
def test_any_chopping_gives_the_same(data: st.DataObject, expressions: list[Any]) -> None:
    sent = b"".join(map(encode, expressions))
    assert read(data.draw(chops(sent))) == expressions


def outcome(chunks: list[bytes]) -> tuple[list[Any], str]:
    """Return the values that bytes give, and the code of the error that ends them."""
    decoder, values = Decoder(LIMITS, has_words=True), []
    try:
        for chunk in chunks:
            decoder.receive_data(chunk)
            while (value := decoder.next()) is not NEED_MORE:
                values.append(repr(value))
    except ProtocolError as error:
        return values, error.code
    return values, ""


#: Bytes in which types are as frequent as digits.
noise = st.lists(
    st.one_of(st.integers(0x80, 0x88), st.integers(0, 5), st.integers(0, 255)).map(
        lambda byte: bytes([byte])
    ),
    max_size=60,
).map(b"".join)


@given(st.data(), st.one_of(st.binary(max_size=100), noise))
def test_any_bytes_give_values_or_a_protocol_error_in_every_cut(data: st.DataObject, sent: bytes) -> None:
    whole = outcome([sent])
    assert outcome(data.draw(chops(sent))) == whole
    assert outcome([sent[at : at + 1] for at in range(len(sent))]) == whole


def unfinished_in(value: Any) -> bool:
    """Return whether a value that was never finished is anywhere in ``value``."""
    seen: set[int] = set()
    found = [value]
    while found:
        part = found.pop()
        if isinstance(part, _Pending):
            return True
        if id(part) in seen:
            continue
        seen.add(id(part))
        if isinstance(part, dict):
            found += [*part, *part.values()]
        elif isinstance(part, (list, tuple, set, frozenset)):
            found += part
        elif isinstance(part, Note):
            found += vars(part).values()
    return False


@given(jellies())
def test_any_jelly_gives_a_whole_value_or_a_call_error(jelly: Any) -> None:
    try:
        value = from_lists(jelly, registry=REGISTRY)
    except CallError:
        return
    assert not unfinished_in(value)


@given(
    st.lists(jellies(), max_size=7),
    st.sampled_from([b"message", b"answer", b"error", b"decref", b"version", b"x"]),
)
def test_any_message_gives_operations_or_a_protocol_error(fields: list[Any], command: bytes) -> None:
    line = Line()
    try:
        operations = line.hear([command, *fields])
    except ProtocolError:
        return
    for operation in operations:
        try:
            if operation[0] in ("call", "update"):
                line.dialect.decode_arguments(operation[-1], None)
            elif operation[0] == "answer":
                line.dialect.decode_value(operation[-1], None)
            elif operation[0] == "error":
                assert isinstance(line.dialect.decode_error(operation[-1], None), Exception)
        except CallError:
            pass


@given(st.one_of(noise, st.binary(max_size=100)), st.booleans(), st.sampled_from(["pb", "none"]))
def test_any_bytes_leave_a_broker_open_or_closed_with_a_code(
    sent: bytes, greeted: bool, dialect: str
) -> None:
    pair = BrokerPair(established=greeted, dialects=[dialect])
    outcome = pair.root.call("x") if greeted else None
    pair.server.receive(sent)
    pair.client.receive(sent)
    pair.link.cut()
    assert pair.server.code
    assert pair.client.code
    assert outcome is None or outcome.done


# -- differential: Twisted's own banana and jelly, both directions


@given(banana_values(), dialects)
def test_banana_is_twisted_s(value: Any, dialect: str) -> None:
    theirs = Theirs(dialect)
    theirs.sendEncoded(value)
    written = theirs.wire.value()
    assert encode(value, SPELLINGS[dialect]) == written
    theirs.dataReceived(written)
    assert theirs.got == [value]
    assert read(written, words=dialect == "pb") == [value]


@given(values())
def test_jelly_is_read_by_twisted_as_the_same_value(value: Any) -> None:
    arrived = twisted_jelly.unjelly(to_lists(value))
    assert arrived == value
    assert type(arrived) is type(value)


@given(values())
def test_jelly_of_twisted_is_read_as_the_same_value(value: Any) -> None:
    jelly = twisted_jelly.jelly(value)
    arrived = from_lists(jelly)
    assert arrived == value
    assert type(arrived) is type(value)


@given(values().filter(lambda value: "()" not in repr(value)), dialects)
def test_our_bytes_are_twisted_s(value: Any, dialect: str) -> None:
    """All bytes are equal. (To Twisted the one empty tuple is shared; we write it again.)"""
    theirs = Theirs(dialect)
    theirs.sendEncoded(twisted_jelly.jelly(value))
    assert to_bytes(value, dialect=dialect) == theirs.wire.value()


@pytest.mark.parametrize(
    "make", [lambda ring: ring, lambda ring: {"ring": ring}, lambda ring: (ring, [ring])]
)
def test_cycles_are_twisted_s(make: Any) -> None:
    ring: list[Any] = [1]
    ring.append(make(ring))
    assert to_lists(ring) == twisted_jelly.jelly(ring)
    theirs = twisted_jelly.unjelly(to_lists(ring))
    assert to_lists(theirs) == to_lists(from_lists(twisted_jelly.jelly(ring))) == to_lists(ring)
