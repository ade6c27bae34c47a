"""From JSON to values, in two steps.

When a message comes, :class:`Holder` looks up what its ids mean, and holds it: a release that comes behind cannot hurt
it. That also shows on which promises the message depends. When these are settled, and it is known under which
perspective the values are read, :class:`Decoder` makes them.
"""

from __future__ import annotations

import datetime
from collections.abc import Callable, Iterator
from typing import Final

from ...errors import CallError, DecodeError, InsecureJelly
from ...flavors import Policy, Registry
from ...ports import Importer, Perspective, Undecoded, Value
from .containers import bytes_in
from .encoding import DROPPED_KEYS
from .failures import failure_in
from .settlements import Settlement

__all__ = ["Decoder", "Payload", "introduced"]

_EPOCH: Final = datetime.datetime(1970, 1, 1, tzinfo=datetime.UTC)
#: Digits of a bigint that the package reads.
_MOST_DIGITS: Final = 16_384


class Payload:
    """Values that are not decoded yet.

    Attributes:
        raw: as JSON has them.
        held: what the ids in it mean, by the ``id`` of their expression, which ``raw`` keeps alive.
        error: why it cannot be decoded, if that is known.
        bare: whether ``raw`` is a list of arguments.
    """

    __slots__ = ("bare", "error", "held", "raw")

    def __init__(self, raw: Undecoded, bare: bool) -> None:
        self.raw = raw
        self.bare = bare
        self.held: dict[int, Value] = {}
        self.error: CallError | None = None

    @property
    def dependencies(self) -> list[Settlement]:
        """The promises among what it holds."""
        return [held for held in self.held.values() if type(held) is Settlement]


def introduced(raw: Undecoded) -> Iterator[int]:
    """Yield the ids of the peer's objects that an expression introduces, in the order in which they are decoded.

    Not those of promises, which are given back when they are settled.
    """
    todo = [raw]
    while todo:
        node = todo.pop()
        if type(node) is dict:
            todo.extend(reversed(node.values()))
        elif type(node) is list and node:
            if node[0] in ("export", "writable") and len(node) == 2 and type(node[1]) is int:
                yield node[1]
            todo.extend(item for item in reversed(node) if type(item) in (list, dict))


class Decoder:
    """Makes the values of one payload.

    Args:
        payload: what its ids mean is known.
        importer: makes references to the peer's objects.
        registry: of exceptions.
        policy: what may be received.
        follow: follows a path over the value of a promise.
        perspective: under which references are made.
        int_bits: of the largest integer.
    """

    __slots__ = (
        "_follow",
        "_importer",
        "_int_bits",
        "_payload",
        "_perspective",
        "_policy",
        "_registry",
        "_taken",
    )

    def __init__(
        self,
        payload: Payload,
        importer: Importer,
        registry: Registry,
        policy: Policy,
        follow: Callable[[Value, Undecoded, Perspective], Value],
        perspective: Perspective,
        int_bits: int,
    ) -> None:
        self._payload = payload
        self._importer = importer
        self._registry = registry
        self._policy = policy
        self._follow = follow
        self._perspective = perspective
        self._int_bits = int_bits
        self._taken = 0  # references that were made

    def decode(self) -> Value:
        """Return the value, or the list of the arguments.

        Raises:
            CallError: it cannot be decoded. The references in it are counted all the same.
        """
        payload = self._payload
        try:
            if payload.error is not None:
                raise payload.error
            if payload.bare:
                return self._arguments(payload.raw)
            return self._value(payload.raw)
        except CallError:
            for number, luid in enumerate(introduced(payload.raw)):
                if number >= self._taken and luid < 0:
                    self._importer.pass_over(-luid, self._perspective)
            raise
        finally:
            payload.held = {}

    def _arguments(self, raw: list[Undecoded]) -> list[Value]:
        last = len(raw)
        while last and raw[last - 1] == ["undefined"]:  # so that defaults hold
            last -= 1
        return [self._value(item) for item in raw[:last]]

    def _value(self, node: Undecoded) -> Value:
        kind = type(node)
        if kind is list:
            return self._expression(node)
        if kind is dict:
            return {_text(key): self._value(item) for key, item in node.items() if key not in DROPPED_KEYS}
        if kind is str:
            return _text(node)
        if kind is int and node.bit_length() > self._int_bits:
            raise DecodeError("an integer is larger than Limits.int_bits allows")
        return node

    def _expression(self, node: list[Undecoded]) -> Value:
        if not node:
            raise DecodeError("an expression is empty")
        code = node[0]
        if type(code) is list:
            if len(node) != 1:
                raise DecodeError("a list has one list around it")
            return [self._value(item) for item in code]
        if type(code) is not str:
            raise DecodeError("an expression has no code")
        if id(node) in self._payload.held:
            return self._held(node)
        make = _MAKERS.get(code)
        if make is None:
            raise DecodeError("an expression has a code that is not known")
        return make(self, node)

    def _held(self, node: list[Undecoded]) -> Value:
        held = self._payload.held[id(node)]
        perspective = None
        if type(held) is Settlement:
            if held.error is not None:
                raise DecodeError("a promise among the values has failed")
            held, perspective = held.value, held.perspective
            if node[0] == "pipeline" and len(node) == 4:
                return held  # the path was that of the call
        elif len(node) == 4:
            return held
        return self._follow(held, node[2], perspective) if len(node) == 3 else held

    def _reference(self, node: list[Undecoded]) -> Value:
        if len(node) != 2 or type(node[1]) is not int or node[1] >= 0:
            raise DecodeError("an export has a negative id")
        if not self._policy.allows_type("remote"):
            raise InsecureJelly("references are not allowed (Policy.types)")
        self._taken += 1
        return self._importer.import_reference(-node[1], self._perspective)

    def _error(self, node: list[Undecoded]) -> Value:
        return failure_in(node).as_exception(self._registry, self._policy)

    def _bigint(self, node: list[Undecoded]) -> Value:
        text = node[1] if len(node) == 2 else None
        if type(text) is not str or not text.isascii() or not text.removeprefix("-").isdigit():
            raise DecodeError("a bigint is decimal text")
        if len(text) > _MOST_DIGITS or len(text) > 1 + self._int_bits * 0.302:
            raise DecodeError("a bigint is larger than Limits.int_bits allows")
        return int(text) if len(text) < 4000 else _integer(text)

    def _date(self, node: list[Undecoded]) -> Value:
        if not self._policy.allows_type("datetime"):
            raise InsecureJelly("moments are not allowed (Policy.types)")
        at: Undecoded = node[1] if len(node) == 2 else None
        if type(at) not in (int, float):
            raise DecodeError("a date is a number of milliseconds")
        try:
            return _EPOCH + datetime.timedelta(microseconds=round(at * 1000))
        except (OverflowError, ValueError):
            raise DecodeError("a date is out of range") from None

    def _bytes(self, node: list[Undecoded]) -> Value:
        return bytes_in(node)

    def _url(self, node: list[Undecoded]) -> Value:
        if len(node) != 2 or type(node[1]) is not str:
            raise DecodeError("a url is text")
        return _text(node[1])

    def _headers(self, node: list[Undecoded]) -> Value:
        pairs = node[1] if len(node) == 2 else None
        if type(pairs) is not list or not all(
            type(pair) is list and len(pair) == 2 and all(type(part) is str for part in pair)
            for pair in pairs
        ):
            raise DecodeError("headers are pairs of text")
        return [(_text(name), _text(value)) for name, value in pairs]

    def _special(self, node: list[Undecoded]) -> Value:
        if len(node) != 1:
            raise DecodeError("a number that is not finite stands alone")
        return _SPECIAL[node[0]]

    def _later(self, node: list[Undecoded]) -> Value:
        raise DecodeError("streams, blobs, requests, responses and maps are not supported")


def _text(text: str) -> str:
    if not text.isascii():
        try:
            text.encode()
        except UnicodeEncodeError:
            raise DecodeError("text contains a lone surrogate") from None
    return text


def _integer(text: str) -> int:
    """Return a large integer, whatever ``sys.set_int_max_str_digits`` allows."""
    digits = text.removeprefix("-")
    value = 0
    for start in range(0, len(digits), 4000):
        part = digits[start : start + 4000]
        value = value * 10 ** len(part) + int(part)
    return -value if text[0] == "-" else value


_SPECIAL: Final[dict[str, float | None]] = {
    "undefined": None,
    "nan": float("nan"),
    "inf": float("inf"),
    "-inf": float("-inf"),
}

_MAKERS: Final[dict[str, Callable[[Decoder, list[Undecoded]], Value]]] = {
    **dict.fromkeys(_SPECIAL, Decoder._special),
    "bigint": Decoder._bigint,
    "date": Decoder._date,
    "bytes": Decoder._bytes,
    "error": Decoder._error,
    "export": Decoder._reference,
    "url": Decoder._url,
    "headers": Decoder._headers,
    **dict.fromkeys(("readable", "writable", "blob", "request", "response", "remap"), Decoder._later),
}
