"""Any bytes are operations with values or CallErrors, or a ProtocolError, however they are cut, in time; nothing else.

The first byte selects whether the rest is a raw stream of frames or a script for frames; the second selects the cuts.
In addition, there is one spelling, so a value that was read is written as the same bytes again.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from ormsgpack import packb

from perspective_broker import CallError, Limits, ProtocolError, SerializationError
from perspective_broker.dialects.pb7 import codes
from perspective_broker.dialects.pb7.frames import frame_header
from tests.dialects.pb7.coding import End, framed
from tests.fuzz import shapes
from tests.fuzz.application import REGISTRY
from tests.fuzz.budget import Meter, judged
from tests.fuzz.describing import TOO_DEEP, describe
from tests.fuzz.draw import Draw, cuts
from tests.fuzz.making import payload

__all__ = ["NAMES", "frame", "target"]

_LIMITS = (
    Limits(),
    Limits(depth=6, nodes=60, message_bytes=200, large_string_bytes=40, method_name_bytes=8),
)

#: Bytes that a stream is made of, from which on nothing is added.
_MOST_SENT = 2000

#: The plainer operations, and how many ids and values they have.
_OPERATIONS: list[tuple[int, int, int]] = [
    (codes.ANSWER, 1, 1),
    (codes.ERROR, 1, 1),
    (codes.RELEASE, 2, 0),
    (codes.CANCEL, 1, 0),
    (codes.FORGET, 1, 0),
    (codes.DECACHE, 2, 0),
    (codes.UNCACHE, 1, 0),
    (codes.DRAINING, 0, 0),
    (codes.PING, 0, 1),
    (codes.PONG, 0, 1),
    (codes.FAREWELL, 0, 2),
    (codes.HELLO, 1, 1),
]
NAMES = [
    "echo", "keep", "drop", "give", "later", "answer", "refuse", "unknown", "junk", "me", "thing", "note", "person",
    "score", "win", "add", "graph", "callback", "chain", "name", "self", "room", "say", "points", "open", "items",
    "credit", "close", "chunks", "numbers", "read", "__class__", "",
]  # fmt: skip


def frame(draw: Draw) -> bytes:
    """Return one frame, nearly always of an operation as it should be."""
    kind = draw.byte()
    parts: list[bytes]
    if kind < 150:
        target: Any = draw.choice(["root", "root", draw.below(8), [draw.below(8)]])
        flags = draw.choice([1, 1, 1, 0, 3, 3, 2])
        args = [payload(draw) for _ in range(draw.below(4))]
        hangs_on = [draw.below(8) for _ in range(draw.below(3))]
        parts = [
            *map(packb, (codes.CALL, draw.below(16), target, draw.choice(NAMES), flags)),
            bytes([0x90 + len(args)]) + b"".join(args),
        ]
        if hangs_on or draw.byte() > 200:
            parts.append(packb({draw.text(4): 1} if draw.byte() > 200 else {}))
        if hangs_on:
            parts.append(packb(hangs_on))
    elif kind < 170:
        head = (codes.UPDATE, draw.below(16), draw.below(8), draw.choice(NAMES), draw.below(2))
        parts = [*map(packb, head), b"\x91" + payload(draw)]
    elif kind < 250:
        operation, ids, values = draw.choice(_OPERATIONS)
        parts = [
            packb(operation),
            *(packb(draw.below(9)) for _ in range(ids)),
            *(payload(draw) for _ in range(values)),
        ]
    else:
        if kind > 252:
            return shapes.large(draw, shapes.MODERN)
        parts = [payload(draw) for _ in range(draw.below(9))]
    body = bytes([0x90 + len(parts)]) + b"".join(parts)
    if draw.byte() > 250:
        at = draw.below(min(len(body), 256))
        body = body[:at] + bytes([draw.byte()]) + body[at + 1 :]
    return frame_header(len(body)) + body


def hear(
    chunks: Iterable[bytes], limits: Limits, meter: Meter | None = None
) -> tuple[str, list[tuple[Any, ...]], str]:
    """Return the decoded messages: described, as they are, and the end."""
    end = End(limits=limits, registry=REGISTRY, greeted=False)
    end.feed(framed(packb([codes.HELLO, codes.VERSION, {}])))
    end.got.clear()
    code = ""
    try:
        with meter or Meter():
            end.feed(*chunks)
    except ProtocolError as error:
        code = error.code
    return describe(end.got), end.got, code or f"{end.dialect.mid_message} left"


def target(data: bytes) -> None:
    draw = Draw(data)
    options, seed = draw.byte(), draw.byte()
    limits = _LIMITS[options & 1]
    if options & 2:
        sent = b""
        while draw.left and len(sent) < _MOST_SENT:
            sent += frame(draw)
    else:
        sent = draw.rest()
    whole, got, ending = judged(len(sent), lambda meter: hear([sent], limits, meter))
    assert "_Node" not in whole, "a mention that was never resolved"
    for seed_of_cuts in {0, seed}:
        text, _, code = hear(cuts(sent, seed_of_cuts), limits)
        if ending != "too-many-pings":  # which are judged by the bytes that come at once
            assert (text, code) == (whole, ending)
    for operation in got:
        if operation[0] == "answer":
            check_answer(operation[2], limits)


def check_answer(value: Any, limits: Limits) -> None:
    """Write a value that was read, and read it again."""
    text = describe(value)
    if isinstance(value, BaseException) or text == TOO_DEEP or not _is_plain(text):
        return
    end = End(limits=limits, registry=REGISTRY)
    try:
        written = end.dialect.encode_answer(1, value, None)
    except SerializationError as refusal:
        if "nested too deep" in str(refusal):  # values in a graph may be nested deeper than arrays may
            return
        raise
    end.feed(written)
    again = end.got[-1][2]
    assert not isinstance(again, CallError), again
    assert describe(again) == text


def _is_plain(text: str) -> bool:
    """Whether a value holds nothing that goes back as something else, and nothing that only a graph can hold."""
    return not any(
        word in text
        for word in ("Reference(", "local", "answer", "Error", "Note(", "Score(", "Picky(", "again(", "made")
    )
