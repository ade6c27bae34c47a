"""Jellies, pb7 payloads and values, made from a fuzzer's choices: nearly right, so that they get far."""

from __future__ import annotations

import datetime
import math
from decimal import Decimal
from typing import Any

from ormsgpack import Ext, packb

from perspective_broker.dialects.pb7 import codes
from perspective_broker.dialects.pb7.large import OPTIONS
from tests.fuzz.draw import Draw

__all__ = ["COPIES", "jelly", "payload", "value"]

#: Type tags that a peer may use: those of :mod:`tests.fuzz.application`, and an unknown one.
COPIES = [
    "fuzz.Note",
    "fuzz.Made",
    "fuzz.Picky",
    "fuzz.Score",
    "fuzz.Job",
    "fuzz.Color",
    "vectors.Note",
    "vectors.Score",
    "fuzz.Nobody",
]

_CONTAINERS = [b"list", b"tuple", b"set", b"frozenset"]
_WORDS = [
    b"None", b"boolean", b"unicode", b"decimal", b"datetime", b"date", b"time", b"timedelta", b"list", b"dictionary",
    b"set", b"frozenset", b"tuple", b"reference", b"dereference", b"remote", b"local", b"cached", b"lcache",
    b"unpersistable", b"persistent", b"instance", b"module", b"class", b"function", b"method",
    b"twisted.spread.pb.CopyableFailure", b"true", b"false", b"root",
]  # fmt: skip
_TIMES = {b"date": 3, b"time": 4, b"datetime": 7, b"timedelta": 3}
_DEEPEST = 12


def jelly(draw: Draw, depth: int = 0) -> Any:
    """Return one expression that is jelly, or nearly."""
    kind = draw.below(24) if depth < _DEEPEST and draw.left else draw.below(4)
    if kind == 0:
        return [b"unicode", draw.data(20)]
    if kind == 1:
        return draw.integer()
    if kind == 2:
        return draw.data(20)
    if kind == 3:
        return draw.choice(
            [[b"None"], [b"boolean", b"true"], [b"boolean", b"false"], 1.5, float("nan"), -0.0]
        )
    if kind in (4, 5, 6):
        return [draw.choice(_CONTAINERS), *_several(draw, depth)]
    if kind in (7, 8):
        return [
            b"dictionary",
            *([jelly(draw, depth + 1), jelly(draw, depth + 1)] for _ in range(draw.below(4))),
        ]
    if kind in (9, 10, 11):
        return [b"reference", draw.below(6), jelly(draw, depth + 1)]
    if kind in (12, 13, 14):
        return [b"dereference", draw.below(6)]
    if kind == 15:
        word = draw.choice(list(_TIMES))
        return [word, b" ".join(b"%d" % draw.integer() for _ in range(_TIMES[word]))]
    if kind == 16:
        return [b"decimal", draw.integer(), draw.integer()]
    if kind == 17:
        return [draw.choice([b"remote", b"local", b"cached", b"lcache"]), draw.below(12)]
    if kind == 18:
        return [draw.choice(COPIES).encode(), jelly(draw, depth + 1)]
    if kind == 19:
        return [draw.choice(COPIES).encode(), draw.below(12), jelly(draw, depth + 1)]
    if kind == 20:
        return [b"twisted.spread.pb.CopyableFailure", jelly(draw, depth + 1)]
    if kind == 21:
        return [b"local", b"root"]
    if kind == 22:
        return [draw.choice(_WORDS), *_several(draw, depth)]
    return _several(draw, depth)


def _several(draw: Draw, depth: int) -> list[Any]:
    return [jelly(draw, depth + 1) for _ in range(draw.below(6))]


_NESTED = [codes.TUPLE, codes.SET, codes.FROZENSET]
_IDS = [codes.REMOTE, codes.LOCAL, codes.CACHED, codes.LCACHE, codes.PROMISE, codes.AGAIN]


def payload(draw: Draw) -> bytes:
    """Return one value of pb7, packed; nearly always in its one spelling."""
    return packb(_packable(draw, 0, 0), None, OPTIONS)


def _packable(draw: Draw, depth: int, nodes: int) -> Any:
    """Return a packable value; it may refer to ``nodes`` containers of the graph around it."""
    kind = draw.below(24) if depth < _DEEPEST and draw.left else draw.below(4)
    if kind == 0:
        return draw.text()
    if kind == 1:
        number = draw.integer()
        if -(1 << 63) <= number < 1 << 64:
            return number
        return Ext(codes.INTEGER, number.to_bytes(number.bit_length() // 8 + 1, "big", signed=True))
    if kind == 2:
        return draw.data(20)
    if kind == 3:
        return draw.choice([None, True, False, 1.5, float("nan"), -0.0])
    if kind in (4, 5):
        return _items(draw, depth, nodes)
    if kind == 6:
        return {draw.text(6): _packable(draw, depth + 1, nodes) for _ in range(draw.below(4))}
    if kind in (7, 8, 9):
        return Ext(draw.choice(_NESTED), packb(_items(draw, depth, 0), None, OPTIONS))
    if kind in (10, 11):
        flat = [_packable(draw, depth + 1, 0) for _ in range(2 * draw.below(4) + (draw.byte() > 250))]
        return Ext(codes.DICTIONARY, packb(flat, None, OPTIONS))
    if kind == 12:
        return Ext(
            codes.DECIMAL,
            draw.choice([b"1.5", b"-0", b"1E+6176", b"NaN", b"sNaN", b"Infinity", draw.data(9)]),
        )
    if kind == 13:
        return _time(draw)
    if kind == 14:
        return Ext(draw.choice([codes.UUID, codes.COMPLEX]), draw.data(17).ljust(16, b"\0"))
    if kind in (15, 16):
        number = draw.below(12)
        return Ext(draw.choice(_IDS), bytes([number]) if draw.byte() < 250 else draw.data(10))
    if kind == 17:
        return Ext(codes.LOCAL_NAMED, draw.choice([b"root", b"other", b"\xff"]))
    if kind == 18:
        state = _job(draw, depth) if draw.byte() < 100 else _packable(draw, depth + 1, 0)
        return Ext(codes.COPY, packb(draw.choice(COPIES)) + packb(state, None, OPTIONS))
    if kind == 19:
        head = packb(draw.choice(COPIES)) + packb(draw.below(12))
        return Ext(codes.CACHEABLE, head + packb(_packable(draw, depth + 1, 0), None, OPTIONS))
    if kind == 20:
        failure = [draw.text(), draw.text(), draw.text(), [draw.text() for _ in range(draw.below(4))]]
        return Ext(
            codes.FAILURE,
            packb(failure if draw.byte() < 240 else _packable(draw, depth + 1, 0), None, OPTIONS),
        )
    if kind == 21:
        count = draw.below(5) + 1
        rows = [
            [draw.below(6), *(_packable(draw, depth + 1, count) for _ in range(draw.below(5)))]
            for _ in range(count)
        ]
        return Ext(codes.GRAPH, packb([_node(draw, count), *rows], None, OPTIONS))
    if kind == 22 and nodes:
        return _node(draw, nodes)
    if kind == 23 and draw.byte() < 200:
        return _array(draw) if draw.byte() < 100 else _more(draw, depth)
    return Ext(draw.below(128), draw.data(30))


def _job(draw: Draw, depth: int) -> Any:
    """Return the fields of a registered value, or nearly."""
    if draw.byte() < 60:
        return {"value": draw.choice(["red", 1, True, "blue", _packable(draw, depth + 1, 0)])}
    fields = {
        "name": draw.text(),
        "numbers": [draw.choice([1, None, -3]) for _ in range(draw.below(4))],
        "color": draw.choice(["red", 1, None]),
        "parts": [_job(draw, depth + 1) for _ in range(draw.below(3) if depth < _DEEPEST else 0)],
        "new": 1,
    }
    kept = {name: item for name, item in fields.items() if draw.byte() < 200}
    return kept if draw.byte() < 200 else {**kept, "numbers": _packable(draw, depth + 1, 0)}


_SPELLED = [
    *(
        "10.0.0.1",
        "10.0.0.0/8",
        "10.0.0.1/8",
        "::1",
        "fe80::1%eth0",
        "::/0",
        "::1/64",
        "1",
        "::%/",
        "::1/064",
    ),
    *("", ".", "a/b", "a//b", "/", "//a", "c:\\x", "c:/x", "..", "a\0"),
]
_DTYPES = [
    "|b1",
    "|u1",
    "<i4",
    ">f8",
    "<c8",
    "<M8[ns]",
    "<m8[3D]",
    "|S3",
    "<U2",
    "<U0",
    "|O",
    "<f16",
    "V3",
    "",
]


def _more(draw: Draw, depth: int) -> Ext:
    kind = draw.below(13)
    if kind < 2:
        parts: list[Any] = [draw.integer() % (1 << 63) for _ in range(2 + kind + (draw.byte() > 240))]
    elif kind == 2:
        parts = [draw.choice([-1, 0, 3, 1 << 62, None]), *_items(draw, depth, 0)]
    else:
        parts = [draw.choice(_SPELLED)] if draw.byte() < 240 else _items(draw, depth, 0)
    return Ext(codes.MORE, packb([kind, *parts], None, OPTIONS))


def _array(draw: Draw) -> Ext:
    dtype = draw.choice(_DTYPES)
    shape = [draw.below(4) if draw.byte() < 250 else 1 << 62 for _ in range(draw.below(4))]
    size = math.prod(shape) * draw.choice([1, 1, 3, 4, 8, 8]) % 1000
    return Ext(
        codes.ARRAY,
        packb([dtype, shape]) + (draw.data(size).ljust(size, b"\0") if draw.byte() < 240 else b""),
    )


def _node(draw: Draw, nodes: int) -> Ext:
    return Ext(codes.NODE, bytes([draw.below(nodes + (draw.byte() > 250))]))


def _items(draw: Draw, depth: int, nodes: int) -> list[Any]:
    return [_packable(draw, depth + 1, nodes) for _ in range(draw.below(6))]


_ZONES: list[list[Any]] = [
    [],
    [],
    [0],
    [1],
    [0, 3_600_000_000],
    [0, 0, "UTC"],
    [0, "Europe/Paris"],
    [1, -1],
    [0, "No/Zone"],
]


def _time(draw: Draw) -> Ext:
    code, count = draw.choice([(codes.DATE, 3), (codes.TIME, 4), (codes.DATETIME, 7), (codes.TIMEDELTA, 3)])
    fields: list[Any] = [draw.integer() % (1 << 63) for _ in range(count)]
    if code in (codes.TIME, codes.DATETIME):
        fields += draw.choice(_ZONES)
    return Ext(code, packb(fields))


def value(draw: Draw, depth: int = 0, *, hashable: bool = False) -> Any:
    """Return a value that the classic dialect carries: a tree, with keys that every peer can hash."""
    kinds = 13 if hashable else 17
    kind = draw.below(kinds) if depth < _DEEPEST and draw.left else draw.below(8)
    if kind == 0:
        return draw.text()
    if kind == 1:
        number = draw.integer()
        if hashable:
            return number % (1 << 64)
        return number if number.bit_length() <= 448 else number % (1 << 448)
    if kind == 2:
        return draw.data(30)
    if kind == 3:
        return draw.choice([None, True, False])
    if kind == 4:
        return (
            draw.choice([1.5, -0.0, float("inf"), 5e-324]) if hashable else draw.choice([1e300, float("nan")])
        )
    if kind == 5:
        # The classic wire has no sign of a zero and no zeros in front.
        number = int.from_bytes(draw.data(10), "big")
        return Decimal((draw.below(2) if number else 0, tuple(map(int, str(number))), draw.below(200) - 100))
    if kind == 6:
        return datetime.datetime(
            1 + draw.below(200) * 40, 1 + draw.below(12), 1 + draw.below(28), draw.below(24)
        )
    if kind == 7:
        return draw.choice(
            [
                datetime.date(2002, 4, 1),
                datetime.time(1, 2, 3, 4),
                datetime.timedelta(draw.below(99) - 50, draw.byte(), draw.byte()),
            ]
        )
    if kind in (8, 9):
        return tuple(value(draw, depth + 1, hashable=hashable) for _ in range(draw.below(4)))
    if kind in (10, 11, 12):
        return frozenset(value(draw, depth + 1, hashable=True) for _ in range(draw.below(4)))
    if kind == 13:
        return {value(draw, depth + 1, hashable=True) for _ in range(draw.below(4))}
    if kind == 14:
        keys = [value(draw, depth + 1, hashable=True) for _ in range(draw.below(4))]
        return {key: value(draw, depth + 1) for key in keys}
    return [value(draw, depth + 1) for _ in range(draw.below(5))]
