"""Every call ends exactly once: the messages that a peer can send instead of an answer, as data."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, NamedTuple

from ormsgpack import Ext, packb

from perspective_broker.dialects.classic.failures import FAILURE_TAG
from perspective_broker.dialects.pb7 import codes

from .words import framed

__all__ = ["ENDS", "End"]


class End(NamedTuple):
    """A message that is sent instead of an answer.

    Attributes:
        name: the flaw.
        say: a function from the words of the dialect and the call's id to its bytes; None breaks the connection after
            them.
        errors: names of the classes, one of which the call fails with.
        kept: whether the connection lives on.
    """

    name: str
    say: Callable[[Any, int], bytes | None]
    errors: tuple[str, ...]
    kept: bool = True


_LOST: Final = ("ConnectionLost",)


def _value(value: Any) -> Callable[[Any, int], bytes]:
    return lambda words, request: bytes(words.answer(request, value))


def _payload(value: Any) -> Callable[[Any, int], bytes]:
    return lambda words, request: bytes(words.error(request, value))


def _spelled(value: bytes) -> Callable[[Any, int], bytes]:
    return lambda words, request: framed(b"\x93\x02" + packb(request) + value)


def _ext(code: int, *parts: Any) -> Ext:
    return Ext(code, b"".join(map(packb, parts)))


_CLASSIC_STATE: Final = [b"dictionary", [b"type", b"shop.Closed"], [b"value", b"on Sundays"]]

ENDS: Final[dict[str, tuple[End, ...]]] = {
    "pb": (
        End("an unknown type", _value([b"unheard", 1]), ("BadAnswer",)),
        End("an empty list", _value([]), ("BadAnswer",)),
        End("bad UTF-8", _value([b"unicode", b"\xff"]), ("BadAnswer",)),
        End("a reference to nothing", _value([b"dereference", 9]), ("BadAnswer",)),
        End("an unknown object", _value([b"local", 999]), ("BadAnswer",)),
        End("an unknown replica", _value([b"cached", 999]), ("BadAnswer",)),
        End("a list as a key", _value([b"dictionary", [[b"list"], 1]]), ("BadAnswer",)),
        End("an endless tuple", _value([b"reference", 1, [b"tuple", [b"dereference", 1]]]), ("BadAnswer",)),
        End("a failure as the value", _value([FAILURE_TAG, _CLASSIC_STATE]), ("RemoteError",)),
        End("an error that is a number", _payload(5), ("RemoteError",)),
        End("an error that is None", _payload([b"None"]), ("RemoteError",)),
        End("an error of an unknown type", _payload([b"unheard", 1]), ("RemoteError",)),
        End("an error without parents", _payload([FAILURE_TAG, _CLASSIC_STATE]), ("RemoteError",)),
        End("an error whose state is a list", _payload([FAILURE_TAG, [b"list"]]), ("RemoteError",)),
        End("bytes that are none", lambda words, request: b"\x01\x80\x01\x88", _LOST, kept=False),
        End(
            "a field too many", lambda words, request: words.say(b"answer", request, 1, 2), _LOST, kept=False
        ),
        End(
            "an id that is a list",
            lambda words, request: words.say(b"answer", [request], 1),
            _LOST,
            kept=False,
        ),
        End("another call's id", lambda words, request: words.answer(request + 1000, 1), _LOST, kept=False),
        End("too deep", lambda words, request: b"\x01\x80" * 300, _LOST, kept=False),
        End("half of it, and the end", lambda words, request: None, _LOST, kept=False),
    ),
    "pb7": (
        End("an unknown extension", _value(Ext(99, b"x")), ("BadAnswer",)),
        End("an unknown class", _value(_ext(codes.COPY, "unheard", {})), ("BadAnswer",)),
        End("bad UTF-8", _spelled(b"\xa1\xff"), ("BadAnswer",)),
        End("too deep", _spelled(b"\x91" * 300 + b"\x90"), ("BadAnswer",)),
        End("a key twice", _spelled(b"\x82\xa1a\x01\xa1a\x01"), ("BadAnswer",)),
        End("an unknown object", _value(Ext(codes.LOCAL, b"\x63")), ("BadAnswer",)),
        End("an unknown replica", _value(Ext(codes.CACHED, b"\x63")), ("BadAnswer",)),
        End("a list in a set", _value(_ext(codes.SET, [[]])), ("BadAnswer",)),
        End("a node outside of a graph", _value(Ext(codes.NODE, b"\x01")), ("BadAnswer",)),
        End(
            "an endless tuple",
            _value(_ext(codes.GRAPH, [Ext(codes.NODE, b"\x00"), [2, Ext(codes.NODE, b"\x00")]])),
            ("BadAnswer",),
        ),
        End("a failure as the value", _value(_ext(codes.FAILURE, ["a.B", "c", "", []])), ("RemoteError",)),
        End("an error that is a number", _payload(5), ("RemoteError",)),
        End("an error that is nil", _payload(None), ("RemoteError",)),
        End("an error of an unknown type", _payload(Ext(99, b"x")), ("RemoteError",)),
        End("an error of two fields", _payload(_ext(codes.FAILURE, ["a.B", "c"])), ("RemoteError",)),
        End("bytes that are none", lambda words, request: framed(b"\xc1"), _LOST, kept=False),
        End("a field too many", lambda words, request: words.say(2, request, 1, 2), _LOST, kept=False),
        End("an id that is an array", lambda words, request: words.say(2, [request], 1), _LOST, kept=False),
        End("another call's id", lambda words, request: words.answer(request + 1000, 1), _LOST, kept=False),
        End("a longer spelling", _spelled(b"\xcc\x05"), _LOST, kept=False),
        End("half of it, and the end", lambda words, request: None, _LOST, kept=False),
    ),
}
