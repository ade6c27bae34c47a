"""The rows in pb7: the exact input, and its effect."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Any, Final

from ormsgpack import Ext, packb

from perspective_broker.dialects.pb7 import codes
from perspective_broker.dialects.pb7.frames import frame_header

from .cases import (
    CALLS_THAT_NEVER_END,
    CANARY,
    Answered,
    Case,
    Fatal,
    Ignored,
    PendingEnds,
    Refused,
    Said,
    Script,
    SlotsHeld,
    Stand,
    many,
)
from .words import Modern, framed

__all__ = ["CASES"]

MI: Final = 1024 * 1024

#: Graph rows: the kinds of containers.
_LIST, _TUPLE = 0, 2


def _call(method: Any, *args: Any, **options: Any) -> Script:
    """Return a script: one call."""
    return lambda say: say.call(method, *args, **options)


def _take(*things: Any) -> Script:
    """Return a script: a call with that among its arguments."""
    return lambda say: say.call("take", *things)


def _spelled(value: bytes) -> Script:
    """Return a script: a call with one argument, spelled byte for byte."""
    return lambda say: say.spelled_call("take", b"\x91" + value)


def _ext(code: int, *parts: Any) -> Ext:
    """Return an extension whose payload is values one behind the other."""
    return Ext(code, b"".join(map(packb, parts)))


def _graph(root: Any, *rows: list[Any]) -> Ext:
    return _ext(codes.GRAPH, [root, *rows])


def _node(number: int) -> Ext:
    return Ext(codes.NODE, number.to_bytes(max(1, (number.bit_length() + 7) // 8), "big"))


def _dag(kind: int) -> list[list[Any]]:
    """Return thirty-one containers, each of which mentions the one before twice."""
    return [[kind, 1], *([kind, _node(level), _node(level)] for level in range(30))]


def _tuple(*items: Any) -> Ext:
    return _ext(codes.TUPLE, list(items))


def _same_hash() -> list[Ext]:
    """Return 128 keys that have one hash: -1 and -2 do."""
    return [_tuple(*point) for point in itertools.product((-1, -2), repeat=7)]


def _copy(tag: str, state: Any) -> Ext:
    return _ext(codes.COPY, tag, state)


def _failure(kind: str, parents: list[str]) -> Ext:
    return _ext(codes.FAILURE, [kind, "x", "", parents])


def _given(*then: Any) -> Script:
    """Return a script: let the subject send an object, then send messages about its id."""

    def script(say: Modern) -> Iterator[bytes]:
        luid = say.next_luid
        yield say.call("give")
        for make in then:
            yield make(say, luid)

    return script


def _release(count: Any) -> Any:
    return lambda say, luid: say.say(codes.RELEASE, luid, count)


def _answer(value: Any) -> Script:
    return lambda say: say.answer(say.pending, value)


def _error(payload: Any) -> Script:
    return lambda say: say.error(say.pending, payload)


def _nested(levels: int) -> list[Any]:
    value: list[Any] = []
    for _ in range(levels - 1):
        value = [value]
    return value


def _nested_bytes(levels: int) -> bytes:
    return b"\x91" * (levels - 1) + b"\x90"


def _say_badly(kind: str) -> Script:
    """Return a script: let the subject call the object that it was given, with a value that cannot be sent."""
    return lambda say: (say.call("keep", say.reference(8)), say.call("say_badly", kind))


def _login_again(say: Modern) -> Iterator[bytes | None]:
    for challenger in range(1, 7):
        yield say.call("login", b"alice")
        yield None
        yield say.call("respond", b"wrong", to=challenger)


def _started_and_cancelled(say: Modern) -> Iterator[bytes | None]:
    """Let fifteen methods begin, of sixteen that may; cancel them, and go on with calls that are cancelled at once."""
    running = []
    for _ in range(15):
        yield say.call("stubborn")
        running.append(say.last_request)
    yield say.call("turn")
    yield None
    for request in running:
        yield say.say(codes.CANCEL, request)
    for _ in range(10):
        yield b"".join(say.call("stubborn") + say.say(codes.CANCEL, say.last_request) for _ in range(500))


_NO_FLAGS: Final[tuple[Any, ...]] = (2, 4, -1, "1", [], 1.0, True)
_NO_FAILURES: Final[tuple[Any, ...]] = (5, "sorry", None, [])

_ANSWERS_NOTHING: Final = ("authenticate", b"NOTHING", b"")

CASES: Final[dict[int, tuple[Case, ...]]] = {
    1: (Case("in a message", lambda say: framed(b"\x92\x63\xc1"), Fatal("bad-token")),),
    2: (
        Case("the longest frame", lambda say: b"\x7f\xff\xff\xff", Fatal("limit-message")),
        Case("the longest piece", lambda say: b"\xff\xff\xff\xff\x00", Fatal("limit-message")),
        Case("all bits set", lambda say: b"\xff" * 8, Fatal("limit-pieces")),
    ),
    3: (Case("3 bytes of a length", lambda say: b"\x00\x00\x01", Fatal("message-timeout"), server="small"),),
    4: (
        Case("an integer", _spelled(b"\xcc\x05"), Fatal("bad-message")),
        Case("a text", _spelled(b"\xd9\x01a"), Fatal("bad-message")),
    ),
    5: (
        Case("a frame", lambda say: frame_header(16 * MI + 1), Fatal("limit-message")),
        Case("a text behind its frame", _spelled(b"\xdb\x00\x0a\x00\x01"), Fatal("bad-message")),
    ),
    6: (
        Case(
            "announced",
            lambda say: frame_header(16 * MI),
            Fatal("message-timeout"),
            server="small",
            memory=True,
        ),
    ),
    7: (Case("announced", _spelled(b"\xdd\x00\x0f\x42\x41"), Fatal("limit-nodes")),),
    8: (
        Case("1.2 million", _spelled(_nested_bytes(1_200_000)), Fatal("limit-nodes"), is_large=True),
        Case("257", _spelled(_nested_bytes(257)), Refused("DecodeError")),
    ),
    9: (
        Case(
            "2 million",
            _spelled(b"\xdd\x00\x1e\x84\x80" + b"\x90" * 2_000_000),
            Fatal("limit-nodes"),
            is_large=True,
        ),
    ),
    10: (Case("announced", lambda say: frame_header(300 * 640 * 1024), Fatal("limit-message")),),
    11: (Case("in a list", _spelled(b"\xdd\x00\x09\x27\xc0" + b"\x07" * 600_000), Answered()),),
    12: (
        Case("byte by byte", lambda say: (bytes((b,)) for b in say.call("echo", 77)), Answered(77)),
        Case("glued", lambda say: say.call("probe") + say.call("echo", 77), Answered(77)),
    ),
    15: (
        Case("not a number", _call("echo", float("nan")), Answered(float("nan"))),
        Case("infinity", _call("echo", float("-inf")), Answered(float("-inf"))),
        Case("as a key", _take(_ext(codes.DICTIONARY, [float("nan"), 1])), Refused("DecodeError")),
    ),
    16: (
        Case("2**447", _take(Ext(codes.INTEGER, (2**447).to_bytes(56, "big"))), Refused("DecodeError")),
        Case("2**446", _take(Ext(codes.INTEGER, (2**446).to_bytes(56, "big"))), Answered()),
        Case(
            "beyond 8192 bits",
            _take(Ext(codes.INTEGER, (2**9000).to_bytes(1126, "big"))),
            Refused("DecodeError"),
        ),
    ),
    17: (Case("as an extension", _take(Ext(codes.INTEGER, b"\x00")), Refused("DecodeError")),),
    18: (
        Case("an integer", lambda say: framed(packb(5)), Fatal("bad-message")),
        Case("a text", lambda say: framed(packb("call")), Fatal("bad-message")),
    ),
    19: (
        Case("an empty array", lambda say: say.say(), Fatal("bad-message")),
        Case("an empty frame", lambda say: framed(b""), Fatal("bad-message")),
    ),
    20: (
        Case("text", lambda say: say.say("call", 1), Fatal("bad-message")),
        Case("an array", lambda say: say.say([1], 1), Fatal("bad-message")),
        Case("bad UTF-8", lambda say: framed(b"\x92\xa2\xff\xfe\x01"), Fatal("bad-message")),
    ),
    21: (
        Case("14", lambda say: say.say(14, 1), Fatal("bad-message")),
        Case("2**60", lambda say: say.say(2**60, 1), Fatal("bad-message")),
    ),
    22: (
        Case(
            "a farewell of two lines",
            lambda say: say.say(codes.FAREWELL, "tired", "one\ntwo"),
            Fatal("tired", told=False),
        ),
    ),
    23: (
        Case("too few", lambda say: say.say(codes.CALL, 9, "root"), Fatal("bad-message")),
        Case("too many", lambda say: say.say(codes.RELEASE, 1, 1, 1), Fatal("bad-message")),
        Case("70,000", lambda say: say.say(codes.ANSWER, *[1] * 69_999), Fatal("bad-message")),
        Case(
            "70,000 first",
            lambda say: say.say(codes.HELLO, *[1] * 69_999),
            Fatal("bad-message"),
            Stand.CHOSEN,
        ),
    ),
    24: (
        Case("8", lambda say: say.say(codes.HELLO, 8, {}), Fatal("bad-version"), Stand.CHOSEN),
        Case("an array", lambda say: say.say(codes.HELLO, [7], {}), Fatal("bad-version"), Stand.CHOSEN),
    ),
    25: (
        Case("an operation", lambda say: say.say("__class__", 1), Fatal("bad-message")),
        Case("a method", _call("__class__"), Refused("NoSuchMethod")),
        Case("another", _call("__init__"), Refused("NoSuchMethod")),
    ),
    26: (Case("before the hello", _call("probe"), Fatal("bad-version"), Stand.CHOSEN),),
    29: (Case("a second hello", lambda say: say.say(codes.HELLO, 7, {}), Fatal("bad-version")),),
    30: (
        Case("never given", _call("probe", to=999), Refused("UnknownObject")),
        Case("0", _call("probe", to=0), Refused("UnknownObject")),
        Case("digits", _call("probe", to="1"), Refused("UnknownObject")),
        Case("bytes", _call("probe", to=b"1"), Fatal("bad-id")),
    ),
    31: (
        Case("an array", _call("probe", to=[999]), Fatal("bad-id")),
        Case("a float", _call("probe", to=1.0), Fatal("bad-id")),
        Case("negative", _call("probe", to=-1), Fatal("bad-id")),
    ),
    32: (Case("a long name", _call(CANARY * 9), Refused("NoSuchMethod")),),
    33: (
        Case("an integer", _call(5), Fatal("bad-message")),
        Case(
            "bad UTF-8",
            lambda say: framed(b"\x96\x01\x63" + packb(say.target) + b"\xa1\xff\x01\x90"),
            Fatal("bad-message"),
        ),
    ),
    34: (
        Case("600 KB", _call("x" * 600 * 1024), Fatal("limit-name"), is_large=True),
        Case("257 bytes", _call("x" * 257), Fatal("limit-name")),
        Case("256 bytes", _call("x" * 256), Refused("NoSuchMethod")),
    ),
    35: (
        Case("bytes", _call("take", args=b"x"), Refused("BadArguments")),
        Case("an integer", _call("take", args=5), Refused("BadArguments")),
        Case("a map", _call("take", args={}), Refused("BadArguments")),
        Case("too many for the method", _call("two", 1, 2, 3), Refused("BadArguments")),
        Case("too few for the method", _call("two"), Refused("BadArguments")),
    ),
    36: (
        *(
            Case(name, _call(method, kwargs=kwargs), Refused(error))
            for name, method, kwargs, error in (
                ("an integer", "take", 5, "BadArguments"),
                ("integers as keys", "take", {1: 2}, "DecodeError"),
                ("mixed keys", "take", {"a": 1, 2: 2}, "DecodeError"),
                ("self", "take", {"self": 1}, "BadArguments"),
                ("unknown names", "two", {"one": 1, CANARY * 9: 2}, "BadArguments"),
            )
        ),
        Case(
            "bad UTF-8",
            lambda say: framed(
                b"\x97\x01"
                + packb(say._request({}))
                + packb(say.target)
                + packb("take")
                + b"\x01\x90\x81\xa1\xff\x01"
            ),
            Refused("DecodeError"),
        ),
    ),
    37: (
        Case(
            "twice",
            lambda say: say.call("sleep", request=50) + say.call("sleep", request=50),
            Fatal("duplicate-id"),
        ),
    ),
    38: (
        Case("an array", _call("probe", request=[1]), Fatal("bad-id")),
        Case("100 KB", _call("probe", request="1" * 100 * 1024), Fatal("bad-id"), is_large=True),
    ),
    39: tuple(
        Case(repr(answer), _call("probe", answer=answer), Fatal("bad-message")) for answer in _NO_FLAGS
    ),
    40: (
        Case("extension 99", _take(Ext(99, b"os.path")), Refused("DecodeError")),
        *(
            Case(tag[:32], _take(_copy(tag, {})), Refused("InsecureJelly"))
            for tag in ("unheard", "os.system", "module", "function", CANARY * 9)
        ),
    ),
    41: (Case("registered", _take(_copy("robustness.Forbidden", {})), Refused("InsecureJelly")),),
    42: (
        Case("a copyable", _take(Ext(codes.AGAIN, b"\x05")), Refused("DecodeError")),
        Case("a container", _take(_node(5)), Refused("DecodeError")),
    ),
    43: (
        Case(
            "a container beyond the last", _take(_graph(_node(0), [_LIST, _node(5)])), Refused("DecodeError")
        ),
    ),
    44: (
        Case("of lists", _take(_graph(_node(30), *_dag(_LIST))), Answered()),
        Case("of tuples", _take(_graph(_node(30), *_dag(_TUPLE))), Answered()),
        Case("as a key", _take(_graph(_node(31), *_dag(_TUPLE), [1, _node(30), 1])), Refused("DecodeError")),
    ),
    45: (
        Case(
            "in itself",
            _take(_graph(_node(0), [_TUPLE, *([0] * 640 * 1024), _node(0)])),
            Refused("DecodeError"),
        ),
    ),
    46: (Case("in itself", _take(_graph(_node(0), [_LIST, _node(0)])), Answered()),),
    47: (
        Case(
            "beyond 64 bits",
            _take(_ext(codes.SET, [Ext(codes.INTEGER, (2**65).to_bytes(9, "big"))])),
            Refused("DecodeError"),
        ),
        Case(
            "tuples",
            _take(_ext(codes.DICTIONARY, [part for key in _same_hash() for part in (key, 0)])),
            Refused("DecodeError"),
        ),
        Case("tuples in a set", _take(_ext(codes.SET, _same_hash())), Refused("DecodeError")),
    ),
    48: (
        Case("a list as a key", _take(_ext(codes.DICTIONARY, [[], 1])), Refused("DecodeError")),
        Case("a list in a set", _take(_ext(codes.SET, [[]])), Refused("DecodeError")),
        Case("half a pair", _take(_ext(codes.DICTIONARY, [1, 1, 2])), Refused("DecodeError")),
    ),
    49: (
        Case("in a map", _spelled(b"\x82\xa1a\x01\xa1a\x02"), Refused("DecodeError")),
        Case("in a dictionary", _take(_ext(codes.DICTIONARY, [1, 1, 1, 2])), Refused("DecodeError")),
    ),
    50: (
        Case("bad UTF-8", _spelled(b"\xa1\xff"), Refused("DecodeError")),
        Case("a surrogate", _spelled(b"\xa3\xed\xa0\x80"), Refused("DecodeError")),
    ),
    51: (
        Case("an exponent of 10**9", _take(Ext(codes.DECIMAL, b"1E+1000000000")), Refused("DecodeError")),
        Case("a year of ten digits", _take(_ext(codes.DATE, [9999999999, 1, 1])), Refused("DecodeError")),
        Case("an underscore", _take(Ext(codes.DECIMAL, b"1_0")), Refused("DecodeError")),
    ),
    53: (
        *(
            Case(name, _take(_copy("robustness.Open", {name: 1})), Refused("DecodeError"))
            for name in ("__class__", "_hidden", "move", "set_copyable_state")
        ),
        Case("not a dictionary", _take(_copy("robustness.Open", 5)), Refused("DecodeError")),
        Case(
            "postUnjelly",
            _take(_copy("robustness.Open", {"postUnjelly": 1})),
            Answered(note="accepted as data, never called"),
        ),
        Case(
            "not declared",
            _take(_copy("robustness.Point", {"x": 1, "move": 1})),
            Answered(note="accepted, undeclared fields are left out"),
        ),
    ),
    54: (
        Case("250", _spelled(_nested_bytes(250)), Answered()),
        Case("332", _spelled(_nested_bytes(332)), Refused("DecodeError")),
        Case("20 000", _spelled(_nested_bytes(20_000)), Refused("DecodeError")),
    ),
    55: (
        Case(
            "depth 332",
            lambda say: framed(b"\x93\x02" + packb(say.pending) + _nested_bytes(332)),
            PendingEnds("BadAnswer"),
            ends_pending=True,
        ),
        Case("an unknown class", _answer(_copy("unheard", {})), PendingEnds("BadAnswer"), ends_pending=True),
        Case(
            "bad UTF-8",
            lambda say: framed(b"\x93\x02" + packb(say.pending) + b"\xa1\xff"),
            PendingEnds("BadAnswer"),
            ends_pending=True,
        ),
        Case(
            "an unknown object",
            _answer(Ext(codes.LOCAL, b"\x63")),
            PendingEnds("BadAnswer"),
            ends_pending=True,
        ),
    ),
    56: (
        *(
            Case(repr(payload), _error(payload), PendingEnds("RemoteError", "malformed"), ends_pending=True)
            for payload in _NO_FAILURES
        ),
        Case(
            "without parents",
            _error(_ext(codes.FAILURE, ["shop.Closed", "on Sundays"])),
            PendingEnds("RemoteError", "malformed"),
            ends_pending=True,
        ),
    ),
    57: (
        Case("never made", lambda say: say.answer(999, 1), Fatal("bad-id")),
        Case("0", lambda say: say.error(0, 1), Fatal("bad-id")),
        Case(
            "answered before",
            lambda say: say.answer(say.pending, 1) + say.answer(say.pending, 2),
            Ignored(),
            ends_pending=True,
        ),
    ),
    58: (
        Case(
            "an answer that is a failure",
            _answer(_failure("builtins.KeyError", [])),
            PendingEnds("RemoteError", "builtins.KeyError"),
            ends_pending=True,
        ),
        Case(
            "a forged type",
            _error(_failure("builtins.SystemExit", ["builtins.SystemExit"])),
            PendingEnds("RemoteError", "builtins.SystemExit"),
            ends_pending=True,
        ),
    ),
    59: (
        Case(
            "release of an id that was never sent",
            lambda say: say.say(codes.RELEASE, 999, 1),
            Fatal("refcount"),
        ),
        Case(
            "decache of an id that was never sent",
            lambda say: say.say(codes.DECACHE, 999, 1),
            Fatal("refcount"),
        ),
        Case("uncache of anything", lambda say: say.say(codes.UNCACHE, 999), Ignored()),
        Case("release of an id that was just released", _given(_release(1), _release(1)), Ignored()),
        Case("cancel of a call that does not run", lambda say: say.say(codes.CANCEL, 999), Ignored()),
        Case("forget of an answer that is not kept", lambda say: say.say(codes.FORGET, 999), Ignored()),
    ),
    60: (
        Case("more than owned", _given(_release(2)), Fatal("refcount")),
        *(Case(repr(count), _given(_release(count)), Fatal("refcount")) for count in (0, -1, True, 1.0)),
    ),
    61: (Case("root", lambda say: say.say(codes.RELEASE, "root", 1), Fatal("bad-id")),),
    62: (
        Case(
            "given before",
            _given(_release(1), lambda say, luid: say.call("probe", to=luid)),
            Refused("UnknownObject"),
        ),
    ),
    63: (
        Case(
            "in one call",
            lambda say: say.call("take", *(say.reference(n) for n in range(10_001))),
            Fatal("limit-references"),
            is_large=True,
        ),
    ),
    64: (
        Case("local", _take(Ext(codes.LOCAL, b"\x63")), Refused("UnknownObject")),
        Case("lcache", _take(Ext(codes.LCACHE, b"\x63")), Refused("UnknownObject")),
        Case("cached", _take(Ext(codes.CACHED, b"\x63")), Refused("UnknownObject")),
        Case("a kept answer", _take(Ext(codes.PROMISE, b"\x63")), Refused("UnknownObject")),
    ),
    65: (
        Case("exported as root", _take(Ext(codes.LOCAL_NAMED, b"root")), Answered(), directions=("server",)),
        Case(
            "not exported",
            _take(Ext(codes.LOCAL_NAMED, b"root")),
            Refused("UnknownObject"),
            directions=("client",),
        ),
        Case("another name", _take(Ext(codes.LOCAL_NAMED, b"rook")), Refused("UnknownObject")),
    ),
    66: (Case("never sent", lambda say: say.update(99, "mark"), Refused("UnknownObject")),),
    67: (CALLS_THAT_NEVER_END,),
    68: (
        Case(
            "of methods that do not heed it",
            _started_and_cancelled,
            SlotsHeld(15),
            server="small",
            is_large=True,
        ),
    ),
    70: (
        *(
            Case(
                name,
                _call("username", value),
                Refused("BadArguments"),
                server="login",
                directions=("server",),
                probe=_ANSWERS_NOTHING,
            )
            for name, value in (("an integer", 5), ("an array", []), ("nil", None), ("2 KB", b"x" * 2048))
        ),
        Case(
            "2 MB",
            _call("username", b"x" * 2 * MI),
            Fatal("limit-message"),
            server="login",
            directions=("server",),
            is_large=True,
            probe=_ANSWERS_NOTHING,
        ),
        Case(
            "an array as the response",
            lambda say: (say.call("login", b"alice"), say.call("respond", [], to=1)),
            Refused("LoginFailed", forgets=False),
            server="login",
            directions=("server",),
            probe=_ANSWERS_NOTHING,
        ),
    ),
    71: (
        Case(
            "six times",
            _login_again,
            Fatal("too-many-logins"),
            server="login",
            directions=("server",),
            probe=_ANSWERS_NOTHING,
        ),
    ),
    73: tuple(
        Case(
            kind,
            _say_badly(kind),
            Said("SerializationError, nothing leaked"),
        )
        for kind in ("too large", "huge int", "surrogate", "unserialisable")
    ),
    74: tuple(
        Case(kind, _call("give_badly", kind), Refused("SerializationError"))
        for kind in ("too large", "huge int", "surrogate", "unserialisable")
    ),
    75: (
        Case("twenty at once", lambda say: say.say(codes.PING, b"") * 20, Fatal("too-many-pings")),
        Case("126 bytes", lambda say: say.say(codes.PING, bytes(126)), Fatal("bad-message")),
        Case("an unrequested pong", lambda say: say.say(codes.PONG, b""), Ignored(counted=0)),
    ),
    76: (
        Case(
            "50 ms a byte",
            lambda say: (bytes((b,)) for b in say.call("probe")),
            Fatal("message-timeout"),
            server="small",
            pause=0.05,
        ),
    ),
    90: (
        Case(
            "ten thousand times",
            lambda say: many(say, "pb:describe", 10_000),
            Answered(),
            is_large=True,
            large_answer=True,
        ),
        Case("with an argument", _call("pb:describe", 1), Refused("BadArguments")),
        Case(
            "of an object without methods",
            _given(lambda say, luid: say.call("pb:describe", to=luid)),
            Answered({"name": "Referenceable", "doc": "", "interfaces": [], "methods": []}),
        ),
        Case(
            "of a replica",
            lambda say: (
                say.call("keep", _ext(codes.CACHEABLE, "robustness.Board", 8, {})),
                say.update(8, "pb:describe"),
            ),
            Refused("NoSuchMethod", forgets=False),
        ),
    ),
    91: (
        Case(
            "before a login",
            _call("pb:describe"),
            Refused("NoSuchMethod"),
            server="login",
            directions=("server",),
            probe=_ANSWERS_NOTHING,
        ),
    ),
}
