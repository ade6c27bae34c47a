"""Large inputs of hard shapes, made on demand: as files they would be megabytes.

Those that bench.hostile measures, and those at which a length takes more bits, or one part is worth many. A target's
corpus has each of them once (:mod:`.corpus`); a fuzzer makes them in other sizes (:func:`large`).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from ormsgpack import Ext, packb

from bench.hostile import SHAPES as HOSTILE
from perspective_broker.dialects.classic.banana import encode
from perspective_broker.dialects.classic.vocabulary import PB
from perspective_broker.dialects.pb7 import codes
from tests.dialects.pb7.coding import framed
from tests.fuzz.draw import Draw

__all__ = ["CLASSIC", "CLASSIC_VALUES", "COUNTS", "MODERN", "VALUES", "array", "large"]

#: A function from a number of parts to a peer's bytes after its greeting.
Shape = Callable[[int], bytes]

#: Sizes where the length of an array takes more bits, and around the number of releases in one message.
COUNTS: Final = (1, 15, 16, 255, 256, 1024, 4096, 20_000, 32_767, 32_768, 65_535, 65_536, 70_000)

#: Bytes of a shape that :mod:`bench.hostile` makes, for a part.
_BYTES_OF_PART: Final = 4

_KEPT: Final = codes.WANTS_ANSWER | codes.KEEP_ANSWER


def array(*items: bytes) -> bytes:
    """Return an array of items that are packed already."""
    count = len(items)
    if count < 16:
        head = bytes([0x90 + count])
    elif count < 0x10000:
        head = b"\xdc" + count.to_bytes(2, "big")
    else:
        head = b"\xdd" + count.to_bytes(4, "big")
    return head + b"".join(items)


def _number(number: int) -> bytes:
    return number.to_bytes(max(1, (number.bit_length() + 7) // 8), "big")


def _says(*fields: Any) -> bytes:
    return framed(packb(list(fields)))


def _call(value: bytes, name: str = "keep") -> bytes:
    """Return a call with one argument, which is packed already."""
    return framed(array(*map(packb, (codes.CALL, 1, "root", name, codes.WANTS_ANSWER)), array(value)))


def _shared_keys(count: int, parts: int) -> bytes:
    """Return a set of pairs, which all begin with the same tuple of ``parts``."""
    rows: list[Any] = [Ext(codes.NODE, b"\0")]
    rows.append([3, *(Ext(codes.NODE, _number(number + 2)) for number in range(count))])
    rows.append([2, *range(parts)])
    rows += [[2, Ext(codes.NODE, b"\1"), number] for number in range(count)]
    return bytes(packb(Ext(codes.GRAPH, packb(rows))))


def _ring(count: int) -> bytes:
    """Return a graph of lists, each of which holds the next two."""
    rows: list[Any] = [Ext(codes.NODE, b"\0")]
    for number in range(count):
        rows.append([0, *(Ext(codes.NODE, _number((number + step) % count)) for step in (1, 2))])
    return bytes(packb(Ext(codes.GRAPH, packb(rows))))


def _nested(count: int) -> bytes:
    value = b"\x90"
    for _ in range(min(count, 2000)):
        value = bytes(packb(Ext(codes.TUPLE, array(value))))
    return value


#: Values of pb7, packed, of so many parts.
VALUES: Final[dict[str, Shape]] = {
    "list": lambda count: array(*[b"\x07"] * count),
    "map": lambda count: bytes(packb({f"{number:x}": number for number in range(count)})),
    "empty lists": lambda count: array(*[b"\x90"] * count),
    "lists in lists": lambda count: array(*[b"\x91" * 200 + b"\xc0"] * (count // 200 + 1)),
    "deep list": lambda count: b"\x91" * count + b"\xc0",
    "deep tuple": _nested,
    "dates": lambda count: array(*[bytes(packb(Ext(codes.DATE, packb([2002, 4, 1]))))] * count),
    "tuples": lambda count: array(*[bytes(packb(Ext(codes.TUPLE, b"\x91\x07")))] * count),
    "set": lambda count: bytes(packb(Ext(codes.SET, packb(list(range(count)))))),
    "pairs": lambda count: bytes(packb(Ext(codes.DICTIONARY, packb(list(range(2 * (count // 2))))))),
    "references": lambda count: array(
        *(bytes(packb(Ext(codes.REMOTE, _number(number)))) for number in range(1, count + 1))
    ),
    "own object": lambda count: array(*[bytes(packb(Ext(codes.LOCAL_NAMED, b"root")))] * count),
    "copies": lambda count: array(
        *[bytes(packb(Ext(codes.COPY, packb("fuzz.Note") + packb({"text": 1}))))] * count
    ),
    "keys that share a tuple": lambda count: _shared_keys(count, 1000),
    "keys that share a long tuple": lambda count: _shared_keys(count, count),
    "ring": _ring,
}


def _chain(count: int, end: bytes) -> bytes:
    """Return calls, each on the answer of the previous one; the first has no answer until ``end``."""
    first = _says(codes.CALL, 0, "root", "later", _KEPT, [])
    return b"".join(
        (first, *(_says(codes.CALL, n, [n - 1], "me", _KEPT, []) for n in range(1, count + 1)), end)
    )


def _fan(count: int, end: bytes) -> bytes:
    """Return calls that all wait for one answer, and gifts of theirs that are given back behind them."""
    said = [_says(codes.CALL, 0, "root", "later", _KEPT, [])]
    said += [_says(codes.CALL, n, "root", "thing", codes.WANTS_ANSWER, []) for n in range(1, count + 1)]
    for n in range(1, count + 1):
        head = map(packb, (codes.CALL, count + n, "root", "keep", codes.WANTS_ANSWER))
        mentions = array(
            *(bytes(packb(Ext(code, _number(of)))) for code, of in ((codes.PROMISE, 0), (codes.LOCAL, n)))
        )
        said.append(framed(array(*head, mentions, packb({}), packb([0]))))
    said.append(_releases(count))
    return b"".join((*said, end))


def _releases(count: int) -> bytes:
    return framed(array(b"\x04", *(packb(number) for n in range(1, count + 1) for number in (n, 1))))


def _things(count: int) -> bytes:
    return b"".join(
        _says(codes.CALL, n, "root", "thing", codes.WANTS_ANSWER, []) for n in range(1, count + 1)
    )


_ANSWER_LATER: Final = framed(
    array(
        *map(packb, (codes.CALL, 1 << 20, "root", "answer", 0)),
        array(bytes(packb(Ext(codes.LOCAL_NAMED, b"root")))),
    )
)

#: A peer's bytes in pb7, of so many parts.
MODERN: Final[dict[str, Shape]] = {
    **{name: lambda count, value=value: _call(value(count)) for name, value in VALUES.items()},  # type: ignore[misc]
    "answer": lambda count: framed(array(b"\x02", b"\x01", VALUES["list"](count))),
    **{
        f"array that begins with {operation}": lambda count, first=bytes([operation]): framed(  # type: ignore[misc]
            array(first, *[b"\x01"] * (count - 1))
        )
        for operation in (codes.HELLO, codes.CALL, codes.RELEASE, 99)
    },
    "things and their releases": lambda count: _things(count // 4) + _releases(count // 4),
    "releases one by one": lambda count: (
        _things(count // 4) + b"".join(_says(codes.RELEASE, n, 1) for n in range(1, count // 4 + 1))
    ),
    "forgets": lambda count: _says(codes.FORGET, 5) * count,
    "cancels": lambda count: _says(codes.CANCEL, 5) * count,
    "chain, answered": lambda count: _chain(count // 4, _ANSWER_LATER),
    "chain, cancelled": lambda count: _chain(count // 4, _says(codes.CANCEL, 0)),
    "chain, cancelled backwards": lambda count: _chain(
        count // 4, b"".join(_says(codes.CANCEL, n) for n in range(count // 4, 0, -1))
    ),
    "fan, answered": lambda count: _fan(count // 8, _ANSWER_LATER),
    "fan, cancelled backwards": lambda count: _fan(
        count // 8, b"".join(_says(codes.CANCEL, n) for n in range(2 * (count // 8), count // 8, -1))
    ),
    **{
        f"hostile {name}": lambda count, make=make: make(_BYTES_OF_PART * count)  # type: ignore[misc]
        for name, make in HOSTILE["pb7"].items()
    },
}


def _classic_shared_keys(count: int, parts: int) -> Any:
    shared = [b"reference", 1, [b"tuple", *range(parts)]]
    keys = [[b"tuple", shared, 0], *([b"tuple", [b"dereference", 1], n] for n in range(1, count))]
    return [b"dictionary", *([key, 0] for key in keys)]


def _deep_list(count: int) -> Any:
    value: Any = [b"list"]
    for _ in range(min(count, 200)):
        value = [b"list", value]
    return value


#: Jellies of so many parts.
CLASSIC_VALUES: Final[dict[str, Callable[[int], Any]]] = {
    "list": lambda count: [b"list", *[7] * count],
    "dictionary": lambda count: [b"dictionary", *([b"%x" % n, n] for n in range(count))],
    "empty lists": lambda count: [b"list", *[[b"list"]] * count],
    "deep list": _deep_list,
    "set": lambda count: [b"set", *range(count)],
    "dates": lambda count: [b"list", *[[b"date", b"2002 4 1"]] * count],
    "references": lambda count: [b"list", *([b"remote", n] for n in range(1, count + 1))],
    "one object, referred to": lambda count: [
        b"list", [b"reference", 1, [b"list", 7]], *[[b"dereference", 1]] * count
    ],
    "keys that share a tuple": lambda count: _classic_shared_keys(count, 1000),
    "keys that share a long tuple": lambda count: _classic_shared_keys(count, count),
}  # fmt: skip


def _classic_call(value: Any, name: bytes = b"keep") -> bytes:
    return encode([b"message", 1, b"root", name, 1, [b"tuple", value], [b"dictionary"]], PB)


#: A peer's bytes in the classic dialects, of so many parts.
CLASSIC: Final[dict[str, Shape]] = {
    **{
        name: lambda count, value=value: _classic_call(value(count))  # type: ignore[misc]
        for name, value in CLASSIC_VALUES.items()
    },
    "message": lambda count: encode([b"decref", *[1] * count], PB),
    "decrefs": lambda count: (
        b"".join(
            encode([b"message", n, b"root", b"thing", 1, [b"tuple"], [b"dictionary"]], PB)
            for n in range(1, count // 4 + 1)
        )
        + b"".join(encode([b"decref", n], PB) for n in range(1, count // 4 + 1))
    ),
    **{
        f"hostile {name}": lambda count, make=make: make(_BYTES_OF_PART * count)  # type: ignore[misc]
        for name, make in HOSTILE["pb"].items()
    },
}


def large(draw: Draw, shapes: dict[str, Shape]) -> bytes:
    """Return one of ``shapes``, of a size that the fuzzer chooses."""
    shape, count = shapes[draw.choice(sorted(shapes))], draw.choice(COUNTS)
    return shape(count)
