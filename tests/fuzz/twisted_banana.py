"""The same bytes are the same values to Twisted's banana and to ours, or both refuse; each reads the other.

Where the two differ on purpose stands in :data:`STRICTER`. The first byte selects the vocabulary, and whether the rest
is raw bytes or a script for a value.
"""

from __future__ import annotations

from typing import Any, Final

from twisted.internet.testing import StringTransport
from twisted.spread import banana as twisted_banana

from perspective_broker import Limits, ProtocolError
from perspective_broker.dialects.classic.banana import NEED_MORE, Decoder, encode
from perspective_broker.dialects.classic.vocabulary import NONE, PB
from tests.fuzz.budget import Meter, judged
from tests.fuzz.describing import describe
from tests.fuzz.draw import Draw

__all__ = ["STRICTER", "target"]

#: How our refusals begin where Twisted finds a value -> why we refuse.
STRICTER: Final = {
    "limit-depth": "Limits.depth",
    "limit-nodes": "Limits.nodes, for a whole message",
    "limit-message": "Limits.message_bytes",
    "limit-int": "Limits.int_bits: bits are counted, not digits",
    "limit-prefix": "64 digits and no more, also where they have no end yet",
    "bad-token: digits in front of a float": "a float has none",
}

_LIMITS = Limits()


class Refused(Exception):
    """They do not take it."""


class Theirs(twisted_banana.Banana):
    """Twisted's banana behind its greeting."""

    def __init__(self, dialect: str) -> None:
        super().__init__()
        self.got: list[Any] = []
        self.wire = StringTransport()
        self.makeConnection(self.wire)
        self.currentDialect = dialect.encode()

    def expressionReceived(self, expression: Any) -> None:
        self.got.append(expression)

    def read(self, data: bytes) -> list[Any]:
        """Return the values of some bytes. Raises Refused."""
        try:
            self.dataReceived(data)
        except Exception as error:
            raise Refused from error
        if self.wire.disconnecting:
            raise Refused
        return self.got

    def write(self, value: Any) -> bytes:
        """Return a value's bytes. Raises Refused."""
        self.wire.clear()
        try:
            self.sendEncoded(value)
        except Exception as error:
            raise Refused from error
        data: bytes = self.wire.value()
        return data


def ours(data: bytes, words: bool, meter: Meter | None = None) -> tuple[list[Any], str]:
    with meter or Meter():
        return _ours(data, words)


def _ours(data: bytes, words: bool) -> tuple[list[Any], str]:
    decoder, found = Decoder(_LIMITS, words), []
    decoder.receive_data(data)
    try:
        while (value := decoder.next()) is not NEED_MORE:
            found.append(value)
    except ProtocolError as error:
        return found, str(error)
    return found, ""


def banana(draw: Draw, depth: int = 0) -> Any:
    """Return a value that banana carries."""
    kind = draw.below(5) if depth < 12 and draw.left else draw.below(3)
    if kind == 0:
        number = draw.integer()
        return number if number.bit_length() <= 448 else 0
    if kind == 1:
        return draw.choice([b"list", b"None", draw.data(40)])
    if kind == 2:
        return draw.choice([1.5, -0.0, float("inf"), float("nan"), 5e-324])
    return [banana(draw, depth + 1) for _ in range(draw.below(7))]


def target(data: bytes) -> None:
    draw = Draw(data)
    options = draw.byte()
    words, dialect, spelling = (True, "pb", PB) if options & 1 else (False, "none", NONE)
    if options & 2:
        value = banana(draw)
        written = encode(value, spelling)
        assert Theirs(dialect).write(value) == written
        assert describe(Theirs(dialect).read(written)) == describe([value])
        assert describe(ours(written, words)[0]) == describe([value])
        return
    sent = draw.rest()
    found, why = judged(len(sent), lambda meter: ours(sent, words, meter))
    try:
        theirs = Theirs(dialect).read(sent)
    except Refused:
        assert why, "they refuse what we take"
        return
    if not why:
        assert describe(theirs) == describe(found)
    else:
        assert why.startswith(tuple(STRICTER)), f"we refuse what they take: {why}"
