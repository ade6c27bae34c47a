"""The operations of pb7: golden frames, fatal errors, call-level errors, and arbitrary bytes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from ormsgpack import Ext, packb

import perspective_broker as pb
from perspective_broker import Limits, ProtocolError
from perspective_broker.dialects.pb7 import codes
from perspective_broker.dialects.pb7.frames import piece_header
from perspective_broker.errors import BadArguments, DecodeError, InsecureJelly
from perspective_broker.ports import DELIVERED, NEEDS_DATA, READING, Feature, PromisedAnswer
from perspective_broker.registry import Policy, Registry

from .coding import LIMITS, End, Promised, answer_body, chopped, framed, read, whole
from .test_packing import Card, cards, same

GOLDEN = json.loads(
    (Path(__file__).parents[3] / "docs" / "wire" / "pb7-frames.json").read_text(encoding="utf-8")
)


def array(dtype: str, shape: tuple[int, ...], data: bytes) -> Any:
    """Return an array of numpy."""
    return numpy.frombuffer(data, dtype).reshape(shape)


def from_text(source: str) -> Any:
    """Return the value that the golden file writes as a Python expression."""
    import collections
    import datetime
    import fractions
    import ipaddress
    import pathlib
    import zoneinfo
    from decimal import Decimal
    from uuid import UUID

    names = {
        "Decimal": Decimal,
        "array": array,
        "deque": collections.deque,
        "Fraction": fractions.Fraction,
        "ipaddress": ipaddress,
        "PurePosixPath": pathlib.PurePosixPath,
        "PureWindowsPath": pathlib.PureWindowsPath,
        "UUID": UUID,
        "ZoneInfo": zoneinfo.ZoneInfo,
        "datetime": datetime,
        "inf": float("inf"),
    }
    return eval(source, {"__builtins__": {"set": set, "frozenset": frozenset, "range": range}}, names)


@pytest.mark.parametrize("golden", GOLDEN["values"], ids=lambda golden: golden["value"])
def test_golden_values_are_written_and_read(golden: dict[str, str]) -> None:
    value = from_text(golden["value"])
    body = answer_body(bytes.fromhex(golden["bytes"]))
    assert End().dialect.writer.encode_answer(1, value, None) == framed(body)
    [(_, _, arrived)] = End().feed(framed(body))
    assert same(arrived, value)


@pytest.mark.parametrize("golden", GOLDEN["messages"], ids=lambda golden: golden["name"])
def test_golden_messages_are_written_and_read(golden: dict[str, Any]) -> None:
    frame = bytes.fromhex(golden["frame"])
    end = End(registry=cards(), greeted=golden["name"] != "hello")
    operation, fields = golden["operation"], golden["fields"]
    if operation == "hello":
        assert end.sent == [frame]
    elif operation in ("call", "update"):
        request, target, name, wants_answer, args, kwargs = fields
        encode = getattr(end.dialect.writer, f"encode_{operation}")
        assert encode(request, target, name, wants_answer, tuple(args), kwargs, None) == frame
    elif operation == "error":
        assert end.dialect.writer.encode_error(fields[0], ValueError("bad"), False, None) == frame
    elif operation in ("ping", "pong"):
        fields = [bytes.fromhex(fields[0])]
        assert getattr(end.dialect.writer, f"encode_{operation}")(*fields) == frame
    elif operation == "answer":
        assert end.dialect.writer.encode_answer(fields[0], fields[1], None) == frame
    elif operation == "release":
        owed = dict(zip(fields[::2], fields[1::2], strict=True))
        assert end.dialect.writer.encode_releases(owed) == frame
        assert end.feed(frame) == [("release", luid, count) for luid, count in owed.items()]
        return
    else:
        assert getattr(end.dialect.writer, f"encode_{operation}")(*fields) == frame
    [got] = end.feed(frame)
    if operation == "hello":
        assert got == ("ready",)
    elif operation in ("call", "update"):
        assert got == (operation, *fields[:4], (fields[4], fields[5]))
    elif operation == "error":
        assert isinstance(got[2], pb.RemoteError)
        assert (got[2].type, got[2].value) == ("builtins.ValueError", "bad")
    else:
        assert got == (operation, *fields)


@pytest.mark.parametrize("golden", GOLDEN["pipelined"], ids=lambda golden: golden["name"])
def test_golden_calls_that_are_pipelined_are_written_and_read(golden: dict[str, Any]) -> None:
    frame = bytes.fromhex(golden["frame"])
    target = PromisedAnswer(*golden["target"]) if isinstance(golden["target"], list) else golden["target"]
    end = End()
    [got, *more] = end.feed(frame)
    _, request, read_target, name, wants_answer, (args, kwargs) = got
    assert read_target == target
    assert wants_answer
    assert more == (
        [("pipelining", golden["keep"], golden["hangs_on"])] if golden["keep"] or golden["hangs_on"] else []
    )
    if golden["hangs_on"]:
        assert args == [["answer 7"]]
        args = [[Promised(7)]]
    encoded = end.dialect.writer.encode_call(request, target, name, True, tuple(args), kwargs, None)
    assert (end.dialect.writer.encode_kept(encoded) if golden["keep"] else encoded) == frame


@pytest.mark.parametrize("golden", GOLDEN["limited"], ids=lambda golden: golden["name"])
def test_golden_calls_with_a_deadline_are_written_and_read(golden: dict[str, Any]) -> None:
    frame = bytes.fromhex(golden["frame"])
    end = End()
    encoded = end.dialect.writer.encode_call(7, "root", "room", True, ("lobby",), {}, None)
    limited = end.dialect.writer.encode_due(encoded, golden["seconds"])
    if golden["keep"]:
        # KEEP_ANSWER may be added before or after the deadline.
        assert (
            end.dialect.writer.encode_due(end.dialect.writer.encode_kept(encoded), golden["seconds"]) == frame
        )
        limited = end.dialect.writer.encode_kept(limited)
    assert limited == frame
    call, *more = end.feed(frame)
    assert call == ("call", 7, "root", "room", True, (["lobby"], {}))
    assert more == [("pipelining", True, [])] * golden["keep"] + [("seconds", golden["milliseconds"] / 1000)]


def test_what_a_peer_announces_is_what_it_is_told() -> None:
    for features, understood in (({}, False), ({"deadlines": True, "x": 1}, True), ({"deadlines": 1}, False)):
        end = End(greeted=False)
        end.message(0, 7, features)
        assert end.dialect.writer.has(Feature.DEADLINES) == understood


@pytest.mark.parametrize("golden", GOLDEN["pieces"], ids=lambda golden: golden["name"])
@pytest.mark.parametrize("size", [1, 2, 3, 5, 7, 1000])
def test_golden_pieces_are_put_together(golden: dict[str, Any], size: int) -> None:
    end = End()
    data = bytes.fromhex(golden["frames"])
    got = end.feed(*chopped(data + data, size))
    assert [f"{message[0]} {message[1]}" for message in got] == golden["got"] * 2
    assert (end.dialect.unfinished, end.dialect.mid_message) == ({}, 0)


# -- fatal


FATAL = {
    "no hello": (b"", [packb([2, 1, 1])], "bad-version"),
    "no array": (None, [packb({})], "bad-message"),
    "an empty array": (None, [packb([])], "bad-message"),
    "an operation that is text": (None, [packb(["call", 1])], "bad-message"),
    "an operation that is a truth": (None, [packb([True, 1, "root", "x", 1, []])], "bad-message"),
    "an operation that is an array": (None, [packb([[], 1])], "bad-message"),
    "an unknown operation": (None, [packb([99])], "bad-message"),
    "a forgotten answer without an id": (None, [packb([6, "1"])], "bad-id"),
    "an operation beyond the last": (None, [packb([14])], "bad-message"),
    "a second hello": (None, [packb([0, 7, {}])], "bad-version"),
    "another version": (b"", [packb([0, 8, {}])], "bad-version"),
    "a version that is a float": (b"", [packb([0, 7.0, {}])], "bad-version"),
    "features that are no map": (b"", [packb([0, 7, []])], "bad-version"),
    "too few fields": (None, [packb([1, 1, "root", "x", 1])], "bad-message"),
    "too many fields": (None, [packb([1, 1, "root", "x", 1, [], {}, [1], 1])], "bad-message"),
    "a call that hangs on an integer": (None, [packb([1, 1, "root", "x", 1, [], {}, 1])], "bad-message"),
    "a call that hangs on nothing": (None, [packb([1, 1, "root", "x", 1, [], {}, []])], "bad-message"),
    "a call that hangs on text": (None, [packb([1, 1, "root", "x", 1, [], {}, ["1"]])], "bad-id"),
    "a call that hangs on 1025 answers": (None, [packb([1, 1, "root", "x", 1, [], {}, [1] * 1025])], "bad-message"),
    "an update that hangs on something": (None, [packb([10, 1, 1, "x", 1, [], {}, [1]])], "bad-message"),
    "an answer of two ids as target": (None, [packb([1, 1, [1, 2], "x", 1, []])], "bad-id"),
    "an answer of text as target": (None, [packb([1, 1, ["1"], "x", 1, []])], "bad-id"),
    "a negative request": (None, [packb([1, -1, "root", "x", 1, []])], "bad-id"),
    "a request that is text": (None, [packb([2, "1", 1])], "bad-id"),
    "a request that is a truth": (None, [packb([2, True, 1])], "bad-id"),
    "a request of 100 kB": (None, [packb([2, "1" * 100_000, 1])], "bad-id"),
    "a target that is an array": (None, [packb([1, 1, [], "x", 1, []])], "bad-id"),
    "a target that is a float": (None, [packb([1, 1, 1.0, "x", 1, []])], "bad-id"),
    "a target with a long name": (None, [packb([1, 1, "x" * 257, "x", 1, []])], "bad-id"),
    "a target beyond 64 bits": (None, [packb([1, 1, Ext(5, b"\x01" + b"\0" * 8), "x", 1, []])], "bad-id"),
    "an update of a named object": (None, [packb([10, 1, "root", "x", 1, []])], "bad-id"),
    "a method that is an integer": (None, [packb([1, 1, "root", 1, 1, []])], "bad-message"),
    "a method that is bytes": (None, [packb([1, 1, "root", b"x", 1, []])], "bad-message"),
    "a method with a long name": (None, [packb([1, 1, "root", "ä" * 129, 1, []])], "limit-name"),
    "a method of 600 kB": (None, [packb([1, 1, "root", "x" * 600_000, 1, []])], "limit-name"),
    "a method that is no UTF-8": (None, [b"\x96\x01\x01\xa4root\xa1\xff\x01\x90"], "bad-message"),
    "flags that do not exist": (None, [packb([1, 1, "root", "x", 4, []])], "bad-message"),
    "an answer to be kept that nobody wants": (None, [packb([1, 1, "root", "x", 2, []])], "bad-message"),
    "an answer of an update to be kept": (None, [packb([10, 1, 1, "x", 3, []])], "bad-message"),
    "a time that is over": (None, [packb([1, 1, "root", "x", [1, 0], []])], "bad-message"),
    "a time that is negative": (None, [packb([1, 1, "root", "x", [1, -1], []])], "bad-message"),
    "a time that is a float": (None, [packb([1, 1, "root", "x", [1, 1.5], []])], "bad-message"),
    "a time that is a truth": (None, [packb([1, 1, "root", "x", [1, True], []])], "bad-message"),
    "a time of fifty days": (None, [packb([1, 1, "root", "x", [1, 2**32], []])], "bad-message"),
    "a time for what has no answer": (None, [packb([1, 1, "root", "x", [0, 9], []])], "bad-message"),
    "a time with a truth for flags": (None, [packb([1, 1, "root", "x", [True, 9], []])], "bad-message"),
    "a time with flags that do not exist": (None, [packb([1, 1, "root", "x", [5, 9], []])], "bad-message"),
    "a time without flags": (None, [packb([1, 1, "root", "x", [9], []])], "bad-message"),
    "flags within flags": (None, [packb([1, 1, "root", "x", [[1, 9], 9], []])], "bad-message"),
    "an update with a time": (None, [packb([10, 1, 1, "x", [1, 9], []])], "bad-message"),
    "flags that are a truth": (None, [packb([1, 1, "root", "x", True, []])], "bad-message"),
    "a release of nothing": (None, [packb([4, 1, 0])], "refcount"),
    "a release of less than nothing": (None, [packb([4, 1, -1])], "refcount"),
    "a release of a float": (None, [packb([4, 1, 1.0])], "refcount"),
    "a release of a truth": (None, [packb([4, 1, True])], "refcount"),
    "a release with an id without a count": (None, [packb([4, 1, 1, 2])], "bad-message"),
    "a release whose second count is nothing": (None, [packb([4, 1, 1, 2, 0])], "refcount"),
    "a release of a named object": (None, [packb([4, "root", 1])], "bad-id"),
    "a ping of 126 bytes": (None, [packb([7, b"x" * 126])], "bad-message"),
    "a ping of text": (None, [packb([7, "x"])], "bad-message"),
    "a flood of pings": (None, [packb([7, b""])] * 17, "too-many-pings"),
    "a farewell without words": (None, [packb([9, 1, 2])], "bad-message"),
    "an empty frame": (None, [b""], "bad-message"),
    "bytes behind the end": (None, [packb([2, 1, 1]) + b"\x01"], "bad-message"),
    "a truncated value": (None, [b"\x93\x02\x01"], "bad-message"),
    "a truncated integer": (None, [b"\x93\x02\x01\xcd\x01"], "bad-message"),
    "a truncated text": (None, [b"\x93\x02\x01\xa5abc"], "bad-message"),
    "an array of four billion": (None, [b"\x93\x02\x01\xdd\xff\xff\xff\xff"], "limit-nodes"),
    "a map of four billion": (None, [b"\x93\x02\x01\xdf\xff\xff\xff\xff"], "limit-nodes"),
    "a text of four billion": (None, [b"\x93\x02\x01\xdb\xff\xff\xff\xff"], "limit-size"),
    "the byte that MessagePack never uses": (None, [b"\x93\x02\x01\xc1"], "bad-token"),
    "an operation spelled longer": (None, [b"\x93\xcc\x02\x01\x01"], "bad-message"),
    "an integer spelled longer": (None, [b"\x93\x02\x01\xcd\x00\x05"], "bad-message"),
    "an integer spelled as signed": (None, [b"\x93\x02\x01\xd1\x01\x00"], "bad-message"),
    "a text spelled longer": (None, [b"\x93\x02\x01\xd9\x01x"], "bad-message"),
    "bytes spelled longer": (None, [b"\x93\x02\x01\xc5\x00\x01x"], "bad-message"),
    "an array spelled longer": (None, [b"\xdc\x00\x03\x02\x01\x01"], "bad-message"),
    "a map spelled longer": (None, [b"\x93\x02\x01\xde\x00\x00"], "bad-message"),
    "an extension spelled longer": (None, [b"\x93\x02\x01\xc7\x01\x05x"], "bad-message"),
    "a float of 32 bits": (None, [b"\x93\x02\x01\xca\x00\x00\x00\x00"], "bad-message"),
}  # fmt: skip


@pytest.mark.parametrize("flaw", FATAL)
def test_what_breaks_the_protocol_is_fatal(flaw: str) -> None:
    greeting, bodies, code = FATAL[flaw]
    end = End(greeted=greeting is None)
    with pytest.raises(ProtocolError) as caught:
        end.feed(b"".join(map(framed, bodies)))
    assert caught.value.code == code
    assert len(str(caught.value)) < 1000


def test_a_frame_beyond_the_limit_is_refused_by_its_header() -> None:
    for data in (b"\x01\x00\x00\x01", b"\x00\x00\x00\x00", b"GET / HTTP/1.1"):
        with pytest.raises(ProtocolError):
            End().feed(*chopped(data, 1))
    assert End().feed(b"\x01\x00\x00\x00") == []


# -- call-level errors


@pytest.mark.parametrize(
    ("args", "error"),
    [
        (1, BadArguments),
        (b"x", BadArguments),
        ({}, BadArguments),
        (Ext(codes.TUPLE, b"\x90"), BadArguments),
        (Ext(99, b""), DecodeError),
    ],
)
def test_arguments_that_are_none(args: Any, error: type[Exception]) -> None:
    [got] = End().message(1, 1, "root", "x", 1, args)
    assert type(got[-1]) is error


@pytest.mark.parametrize("kwargs", [1, None, [], "x", Ext(codes.DICTIONARY, packb([1, 2])), {"self": 1}])
def test_keywords_that_are_none(kwargs: Any) -> None:
    [got] = End().message(1, 1, "root", "x", 1, [], kwargs)
    assert type(got[-1]) is BadArguments


def head(payload: bytes) -> bytes:
    """Return a call whose one argument has these bytes, with the array header that fits."""
    return b"\x96\x01\x07\xa4root\xa1x\x01\x91" + payload


CALL_LEVEL = {
    "keys that are no text": b"\x81\x01\x02",
    "keys of mixed types": b"\x82\xa1a\x01\xc3\x02",
    "a key that is an array": b"\x81\x91\x01\x02",
    "a key that is a map": b"\x81\x80\x02",
    "a key twice": b"\x82\xa1a\x01\xa1a\x02",
    "a key that is no UTF-8": b"\x81\xa1\xff\x01",
    "text that is no UTF-8": b"\xa1\xff",
    "a surrogate": b"\xa3\xed\xa0\x80",
    "the same before a payload that ends within an extension": b"\x92\xa1\xff\xc7\x03\x04\x00\xc7\x07",
    "the same before a payload that is no value": b"\x92\xa1\xff\xc7\x03\x04\x00\xc1\x00",
    "254 levels": b"\x91" * 253 + b"\x90",
    "1000 levels": b"\x91" * 1000 + b"\x90",
    "20000 levels": b"\x91" * 20000 + b"\x90",
}


@pytest.mark.parametrize("flaw", CALL_LEVEL)
@pytest.mark.parametrize("operation", ["call", "answer"])
def test_a_value_that_cannot_be_read_costs_what_it_belongs_to(flaw: str, operation: str) -> None:
    payload = CALL_LEVEL[flaw]
    end = End()
    if operation == "call":
        [got] = end.feed(framed(head(payload)))
        assert got[:5] == ("call", 7, "root", "x", True)
    else:
        [got] = end.feed(framed(answer_body(b"\x91" + payload)))
        assert got[:2] == ("answer", 1)
    assert type(got[-1]) is DecodeError
    assert len(end.message(2, 2, "the connection lives")) == 2


@pytest.mark.parametrize(
    ("target", "flags"), [("root", [1, 99]), ([3], 1), ([3], [3, 99])], ids=["time", "answer", "both"]
)
def test_so_does_one_behind_a_head_that_holds_arrays(target: Any, flags: Any) -> None:
    body = b"\x96" + b"".join(map(packb, [1, 7, target, "x", flags])) + b"\x91\xa1\xff"
    call, *_ = End().feed(framed(body))
    assert call[:5] == ("call", 7, PromisedAnswer(3) if target == [3] else target, "x", True)
    assert type(call[-1]) is DecodeError


EXTENSIONS = {
    "unknown": (99, b""),
    "negative": (127, b"x"),
    "a tuple of nothing": (codes.TUPLE, b""),
    "a tuple that is no array": (codes.TUPLE, b"\x80"),
    "a tuple and more": (codes.TUPLE, b"\x90\x90"),
    "a tuple spelled longer": (codes.TUPLE, b"\xdc\x00\x00"),
    "a tuple with a truncated item": (codes.TUPLE, b"\x91"),
    "a tuple of a map with a key twice": (codes.TUPLE, b"\x91\x82\xa1a\x01\xa1a\x02"),
    "a set with an item twice": (codes.SET, packb([1, 1])),
    "a set with equal items": (codes.SET, packb([1, 1.0])),
    "a set of an array": (codes.SET, packb([[]])),
    "a frozenset of a map": (codes.FROZENSET, packb([{}])),
    "a set of not-a-number": (codes.SET, packb([float("nan")])),
    "pairs with one left": (codes.DICTIONARY, packb([1])),
    "pairs with a key twice": (codes.DICTIONARY, packb([1, 2, True, 3])),
    "pairs with text for keys": (codes.DICTIONARY, packb(["a", 1])),
    "pairs without any": (codes.DICTIONARY, packb([])),
    "pairs with an array as key": (codes.DICTIONARY, packb([[], 1])),
    "a large key": (codes.DICTIONARY, packb([Ext(codes.INTEGER, b"\x02" + bytes(8)), 1])),
    "keys with one hash": (
        codes.SET,
        packb([Ext(codes.UUID, (n * (2**61 - 1)).to_bytes(16, "big")) for n in range(65)]),
    ),
    "a small integer": (codes.INTEGER, b"\x05"),
    "an integer of 64 bits": (codes.INTEGER, b"\x00" + b"\xff" * 8),
    "an integer with a zero in front": (codes.INTEGER, b"\x00\x01" + bytes(8)),
    "an integer beyond the limit": (codes.INTEGER, b"\x7f" + bytes(8192)),
    "an integer of no bytes": (codes.INTEGER, b""),
    "a decimal with an underscore": (codes.DECIMAL, b"1_0"),
    "a decimal with a space": (codes.DECIMAL, b" 1"),
    "a decimal in other digits": (codes.DECIMAL, "١".encode()),
    "a decimal of a billion digits": (codes.DECIMAL, b"1E+1000000000"),
    "a long decimal": (codes.DECIMAL, b"1" * 5000),
    "no decimal": (codes.DECIMAL, b"one"),
    "a date of two fields": (codes.DATE, packb([2020, 1])),
    "a date of four fields": (codes.DATE, packb([2020, 1, 1, 1])),
    "the 30th of February": (codes.DATE, packb([2020, 2, 30])),
    "a date of floats": (codes.DATE, packb([2020.0, 1, 1])),
    "a date of truths": (codes.DATE, packb([2020, True, 1])),
    "a date of huge fields": (codes.DATE, packb([9_999_999_999, 1, 1])),
    "a time at 25": (codes.TIME, packb([25, 0, 0, 0])),
    "a time with three folds": (codes.TIME, packb([1, 0, 0, 0, 3])),
    "a time of three fields": (codes.TIME, packb([1, 0, 0])),
    "a datetime in no zone": (codes.DATETIME, packb([2020, 1, 1, 1, 1, 1, 1, 0, "Nowhere/Land"])),
    "a datetime in a zone elsewhere": (codes.DATETIME, packb([2020, 1, 1, 1, 1, 1, 1, 0, "../../etc/passwd"])),
    "a datetime in a float": (codes.DATETIME, packb([2020, 1, 1, 1, 1, 1, 1, 0, 1.0])),
    "a datetime a day off": (codes.DATETIME, packb([2020, 1, 1, 1, 1, 1, 1, 0, 86_400_000_000])),
    "a datetime of ten fields": (codes.DATETIME, packb([2020, 1, 1, 1, 1, 1, 1, 0, "UTC", 1])),
    "a difference of huge days": (codes.TIMEDELTA, packb([1 << 40, 0, 0])),
    "a difference of huge seconds": (codes.TIMEDELTA, packb([0, 86_400, 0])),
    "a uuid of 15 bytes": (codes.UUID, bytes(15)),
    "a complex of 15 bytes": (codes.COMPLEX, bytes(15)),
    "an id of no bytes": (codes.REMOTE, b""),
    "an id with a zero in front": (codes.REMOTE, b"\x00\x01"),
    "an id of nine bytes": (codes.LOCAL, b"\x01" + bytes(8)),
    "a name that is no UTF-8": (codes.LOCAL_NAMED, b"\xff"),
    "a copyable without anything": (codes.COPY, b""),
    "a copyable whose tag is a number": (codes.COPY, b"\x01\x80"),
    "a copyable whose tag is not whole": (codes.COPY, b"\xa5abc"),
    "a copyable whose tag is spelled longer": (codes.COPY, b"\xd9\x01x\x80"),
    "a copyable whose tag is no UTF-8": (codes.COPY, b"\xa1\xff\x80"),
    "a copyable without a state": (codes.COPY, b"\xaatests.Card"),
    "a copyable with two states": (codes.COPY, b"\xaatests.Card\x80\x80"),
    "a copyable whose state is a list": (codes.COPY, b"\xaatests.Card\x90"),
    "a copyable with a dunder": (codes.COPY, b"\xaatests.Card" + packb({"__class__": 1})),
    "a copyable with a method's name": (codes.COPY, b"\xaatests.Card" + packb({"set_copyable_state": 1})),
    "a mention of nothing": (codes.AGAIN, b"\x00"),
    "a cacheable without an id": (codes.CACHEABLE, b"\xaatests.Card"),
    "a cacheable with a negative id": (codes.CACHEABLE, b"\xaatests.Card\xff\x80"),
    "a cacheable that is a copyable": (codes.CACHEABLE, b"\xaatests.Card\x01\x80"),
    "a graph of nothing": (codes.GRAPH, b"\x90"),
    "a graph of an unknown kind": (codes.GRAPH, packb([1, [9]])),
    "a graph of rows that are none": (codes.GRAPH, packb([1, 2])),
    "a graph that mentions nothing": (codes.GRAPH, packb([Ext(codes.NODE, b"\x05"), [0]])),
    "a tuple in itself": (codes.GRAPH, packb([1, [2, Ext(codes.NODE, b"\x00")]])),
    "a set of a list": (codes.GRAPH, packb([1, [3, Ext(codes.NODE, b"\x01")], [0]])),
    "a mention outside of any graph": (codes.NODE, b"\x00"),
    "a mention within an array of a graph": (
        codes.GRAPH,
        packb([Ext(codes.NODE, b"\x00"), [0, [Ext(codes.NODE, b"\x00")]]]),
    ),
    "a mention within a map of a graph": (
        codes.GRAPH,
        packb([Ext(codes.NODE, b"\x00"), [0, {"a": Ext(codes.NODE, b"\x00")}]]),
    ),
    "a mention within the array that is a graph's value": (
        codes.GRAPH,
        packb([[Ext(codes.NODE, b"\x00")], [0]]),
    ),
    "a mention within a tuple of a graph": (codes.GRAPH, packb([1, [0, Ext(1, packb([Ext(codes.NODE, b"\x00")]))]])),
}  # fmt: skip


@pytest.mark.parametrize("flaw", EXTENSIONS)
def test_an_extension_that_is_not_right_costs_its_call(flaw: str) -> None:
    code, payload = EXTENSIONS[flaw]
    with pytest.raises(DecodeError) as caught:
        read(packb([Ext(code, payload)]), registry=cards())
    assert len(str(caught.value)) < 1000


def test_a_failure_that_is_none_is_a_failure_all_the_same() -> None:
    for payload in (1, None, "text", [], ["x"], [1, 2, 3, 4], Ext(99, b"")):
        [(_, _, error)] = End().message(3, 1, payload)
        assert isinstance(error, pb.RemoteError)
        assert error.type == "malformed"


def test_extensions_within_extensions_end_at_a_depth_and_at_a_price() -> None:
    deep, wide = b"\x90", packb(["x" * 30_000])
    for _ in range(129):
        deep = packb([Ext(codes.TUPLE, deep)])
    with pytest.raises(DecodeError, match="too deep"):
        read(deep)
    for _ in range(60):
        wide = packb([Ext(codes.TUPLE, wide)])
    with pytest.raises(DecodeError, match="cost more"):
        read(wide)


def test_a_class_must_be_registered_and_allowed() -> None:
    body = packb(Ext(codes.COPY, b"\xaatests.Card" + packb({"n": 1})))
    assert type(read(body, registry=cards())) is Card
    with pytest.raises(InsecureJelly, match="not allowed here"):
        read(body)
    with pytest.raises(InsecureJelly, match="not allowed here"):
        read(body, registry=cards(), policy=Policy(classes=["other"]))


def test_a_factory_makes_objects_but_not_before_their_state() -> None:
    registry = Registry()
    registry.set_unjellyable_factory_for_class("f", lambda state: ("made", state))
    tag = packb("f")
    assert read(packb([Ext(codes.COPY, tag + b"\x01"), Ext(codes.AGAIN, b"\x00")]), registry=registry) == [
        ("made", 1),
        ("made", 1),
    ]
    with pytest.raises(DecodeError, match="only a factory"):
        read(packb([Ext(codes.COPY, tag + packb([Ext(codes.AGAIN, b"\x00")]))]), registry=registry)


@pytest.mark.parametrize(
    ("types", "value"),
    [
        (["list"], [{}]),
        (["dictionary"], {"a": 1}),
        (["list"], [None]),
        (["list"], [[True]]),
        (["list", "tuple"], Ext(codes.TUPLE, packb(["text"]))),
        (["list"], Ext(codes.TUPLE, packb([1]))),
        (["list"], Ext(codes.UUID, bytes(16))),
        (["list"], Ext(codes.GRAPH, packb([1]))),
        (["tuple"], Ext(codes.TUPLE, packb([[]]))),
    ],
)
def test_a_policy_is_kept_for_every_type(types: list[str], value: Any) -> None:
    with pytest.raises(InsecureJelly):
        read(packb(value), policy=Policy(types=types))


def test_a_policy_leaves_arguments_and_keywords_what_they_are() -> None:
    [got] = End(policy=Policy(types=["tuple"])).message(
        1, 1, "root", "x", 1, [1, Ext(codes.TUPLE, b"\x90")], {"k": 2}
    )
    assert got[-1] == ([1, ()], {"k": 2})


# -- limits


@pytest.mark.parametrize(
    ("limits", "payload", "code"),
    [
        (Limits(nodes=1000), b"\xdc\x10\x00" + b"\x90" * 4096, "limit-nodes"),
        (Limits(nodes=1000), packb([Ext(codes.TUPLE, b"\xdc\x10\x00" + b"\x90" * 4096)]), "limit-nodes"),
        (Limits(nodes=1000), packb([1] * 20_000), "limit-nodes"),
        (Limits(large_string_bytes=1000), packb("x" * 1001), "limit-size"),
        (Limits(large_string_bytes=1000), packb(b"x" * 1001), "limit-size"),
        (Limits(), packb([[]] * 250_001), "limit-nodes"),
        (Limits(), packb(["text"] * 500_001), "limit-nodes"),
    ],
)
def test_limits_are_judged_before_anything_is_built(limits: Limits, payload: bytes, code: str) -> None:
    with pytest.raises(ProtocolError) as caught:
        End(limits=limits).feed(framed(answer_body(payload)))
    assert caught.value.code == code


def test_limits_let_through_what_is_below_them() -> None:
    assert read(packb(["x" * 10_000]), limits=Limits(nodes=1000)) == ["x" * 10_000]
    assert read(packb("x" * 1000), limits=Limits(large_string_bytes=1000)) == "x" * 1000
    many: list[list[Any]] = [[]] * 200_000
    assert read(packb(many)) == many


def test_a_smaller_depth_is_kept_at_both_ends() -> None:
    limits = Limits(depth=10)
    value: Any = []
    for _ in range(8):
        value = [value]
    assert read(packb(value), limits=limits) == value
    with pytest.raises(DecodeError):
        read(packb([value]), limits=limits)
    End(limits=limits).dialect.writer.encode_answer(1, value, None)
    with pytest.raises(pb.SerializationError, match="10 levels"):
        End(limits=limits).dialect.writer.encode_answer(1, [value], None)


# -- arbitrary bytes


def outcome(chunks: Any) -> Any:
    end = End(registry=cards())
    try:
        end.feed(*chunks)
    except ProtocolError as error:
        return repr(end.got), error.code
    return repr(end.got), end.dialect.mid_message


payloads = st.one_of(
    st.binary(max_size=40),
    st.builds(
        lambda code, payload: packb([Ext(code, payload)]),
        st.integers(0, 30),
        st.binary(max_size=20) | st.lists(st.integers(-99, 99) | st.text(max_size=2), max_size=3).map(packb),
    ),
)


@given(
    st.one_of(
        st.binary(max_size=60),
        st.binary(max_size=60).map(framed),
        payloads.map(lambda body: framed(answer_body(body))),
        payloads.map(lambda body: framed(head(body))),
        st.lists(
            st.builds(
                lambda content, number, last: piece_header(len(content), number, last) + content,
                st.binary(max_size=9) | payloads.map(answer_body),
                st.integers(0, 5),
                st.booleans(),
            ),
            max_size=6,
        ).map(b"".join),
    )
)
@example(framed(answer_body(b"\xc7\x00\x01")) + b"\x00")
def test_any_bytes_are_a_value_or_a_protocol_error(data: bytes) -> None:
    """Any bytes give values or a ProtocolError, with the same result as one chunk and byte by byte."""
    assert outcome([data]) == outcome(chopped(data, 1))


@given(st.lists(st.integers(1, 400), max_size=8))
def test_frames_arrive_the_same_however_they_are_cut(cuts: list[int]) -> None:
    sender = End()
    values = [1, "two", (3,), b"4" * 300, [5.0], {"six": {6}}]
    stream = b"".join(
        whole(sender.dialect.writer.encode_answer(n, value, None)) for n, value in enumerate(values, 1)
    )
    chunks, at = [], 0
    for cut in cuts:
        chunks.append(stream[at : at + cut])
        at += cut
    chunks.append(stream[at:])
    assert End().feed(*chunks) == [("answer", n, value) for n, value in enumerate(values, 1)]


def test_sizes_are_told() -> None:
    end = End()
    frame = whole(end.dialect.writer.encode_answer(1, "x" * 100, None))
    assert end.dialect.mid_message == 0
    for size in (1, 3, 4, 50):
        end = End()
        end.feed(frame[:size])
        assert end.dialect.mid_message == size
        end.feed(frame[size:] + frame[:2])
        assert (end.dialect.mid_message, end.dialect.last_size) == (2, len(frame))
    end.dialect.receive_data(b"ab")
    end.dialect.receive_data(b"c")
    assert end.dialect.mid_message == 5


def test_before_login_less_may_be_sent() -> None:
    end = End(limits=LIMITS.before_login())
    data = framed(answer_body(packb(b"x" * (2 << 20))))
    with pytest.raises(ProtocolError, match="limit-message"):
        end.feed(data)
    end = End(limits=LIMITS.before_login())
    end.dialect.use_limits(LIMITS)
    assert len(end.feed(data)) == 1


# -- outermost arrays whose length takes 16 bits, or 32


@pytest.mark.parametrize("greeted", [True, False])
@pytest.mark.parametrize("items", [65_535, 65_536, 70_000])
def test_an_array_of_any_length_is_judged_by_its_operation(items: int, greeted: bool) -> None:
    end = End(greeted=greeted)
    for operation in (codes.HELLO, codes.CALL, codes.ANSWER, 99):
        with pytest.raises(ProtocolError, match="bad-message"):
            end.message(operation, *[None] * (items - 1))


@pytest.mark.parametrize("count", [1, 7, 8, 127, 128, 32_767, 32_768, 40_000])
def test_one_message_may_give_back_any_number_of_objects(count: int) -> None:
    owed = {1000 + number: 1 + number % 3 for number in range(count)}
    [message] = {End().dialect.writer.encode_releases(owed)}
    assert End().feed(message) == [("release", *pair) for pair in owed.items()]


def test_a_long_message_is_read_in_steps() -> None:
    """The receiver gets the message after its last step, and then later bytes are read."""
    end = End()
    value = [["text", number, 1.5] for number in range(10_000)]
    message = end.dialect.writer.encode_answer(1, [*value, ()], None)
    end.dialect.receive_data(whole(message) + framed(packb([codes.FORGET, 1])))
    steps = []
    while (step := end.dialect.next_message()) == READING:
        assert end.got == []
        steps.append(step)
    assert len(steps) >= 3
    assert step == DELIVERED
    assert end.got == [("answer", 1, [*value, ()])]
    assert [end.dialect.next_message(), end.dialect.next_message()] == [DELIVERED, NEEDS_DATA]
