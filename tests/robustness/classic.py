"""The rows in the classic dialect: the exact input, and its effect."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator
from typing import Any, Final

from perspective_broker.dialects.classic.banana import encode, encode_list_head
from perspective_broker.dialects.classic.failures import FAILURE_TAG
from perspective_broker.dialects.classic.vocabulary import NONE, base128

from .cases import (
    CALLS_THAT_NEVER_END,
    CANARY,
    Answered,
    Case,
    Fatal,
    Ignored,
    PendingEnds,
    Refused,
    Replied,
    Said,
    Script,
    Stand,
)
from .words import Classic

__all__ = ["CASES", "GREETINGS", "NONE_CASES"]

KI: Final = 1024

#: A value that stands for another one in a call's bytes.
_PLACEHOLDER: Final = 77


def _instead(raw: bytes) -> Script:
    """Return a script: an echo of a number that is spelled in that way."""

    def script(say: Classic) -> bytes:
        call = say.call("echo", _PLACEHOLDER)
        assert call.count(b"\x4d\x81") == 1
        return call.replace(b"\x4d\x81", raw)

    return script


def _call(method: Any, *args: Any, **options: Any) -> Script:
    """Return a script: one call."""
    return lambda say: say.call(method, *args, **options)


def _take(*things: Any) -> Script:
    """Return a script: a call with that among its arguments."""
    return lambda say: say.call("take", *things)


def _string(size: int) -> bytes:
    """Return the announcement of a string."""
    return base128(size) + b"\x82"


def _deep(levels: int) -> bytes:
    """Return lists within lists, spelled."""
    return (b"\x02\x80\x04\x82list") * (levels - 1) + b"\x01\x80\x04\x82list"


def _dag(kind: bytes) -> list[Any]:
    """Return thirty containers, each of which mentions the one before twice: 2**30 when it is written out."""
    levels: list[Any] = [[b"reference", 0, [kind, 1]]]
    for level in range(1, 31):
        before = [b"dereference", level - 1]
        levels.append([b"reference", level, [kind, before, before]])
    return [b"list", *levels]


def _same_hash() -> list[Any]:
    """Return 128 keys that have one hash: -1 and -2 do."""
    grid = itertools.product((-1, -2), repeat=7)
    return [b"dictionary", *([[b"tuple", *point], 0] for point in grid)]


def _failure(**state: Any) -> list[Any]:
    return [FAILURE_TAG, [b"dictionary", *([key.encode(), value] for key, value in state.items())]]


def _given(*then: Any) -> Script:
    """Return a script: let the subject send an object, then send messages about its id."""

    def script(say: Classic) -> Iterator[bytes]:
        luid = say.next_luid
        yield say.call("give")
        for make in then:
            yield make(say, luid)

    return script


def _decref(say: Classic, luid: int) -> bytes:
    return say.say(b"decref", luid)


def _call_it(say: Classic, luid: int) -> bytes:
    return say.call("probe", to=luid)


def _answer(value: Any) -> Script:
    return lambda say: say.answer(say.pending, value)


def _error(payload: Any) -> Script:
    return lambda say: say.error(say.pending, payload)


def _empty_lists(say: Classic) -> Iterable[bytes]:
    half = encode_list_head(640 * KI) + b"\x00\x80" * (640 * KI)
    return encode_list_head(2), half, half


def _strings(say: Classic) -> Iterator[bytes]:
    yield encode_list_head(300)
    for _ in range(27):
        yield _string(640 * KI) + bytes(640 * KI)


def _say_badly(kind: str) -> Script:
    """Return a script: let the subject call the object that it was given, with a value that cannot be sent."""
    return lambda say: (say.call("keep", say.reference(8)), say.call("say_badly", kind.encode()))


def _login_again(say: Classic) -> Iterator[bytes | None]:
    for challenger in range(1, 7):
        yield say.call("login", b"alice")
        yield None
        yield say.call("respond", b"wrong", to=challenger)


_NO_FLAGS: Final[tuple[Any, ...]] = (2, -1, b"1", [], 1.0)

_ANSWERS_NOTHING: Final = ("authenticate", b"NOTHING", b"")

#: Before a dialect is agreed on, so the same for all.
GREETINGS: Final[dict[int, tuple[Case, ...]]] = {
    14: (
        Case(
            "before a dialect is chosen",
            lambda say: b"\x17\x87",
            Fatal("bad-handshake"),
            Stand.CONNECTED,
        ),
    ),
    26: (
        Case(
            "a message first",
            lambda say: Classic().call("probe"),
            Fatal("bad-handshake"),
            Stand.CONNECTED,
        ),
        Case(
            "a dialect that was not offered",
            lambda say: encode(b"pb9", NONE),
            Fatal("bad-handshake"),
            Stand.CONNECTED,
            directions=("server",),
        ),
        Case(
            "an offer of unknown dialects",
            lambda say: encode([b"pb9"], NONE),
            Fatal("no-dialect"),
            Stand.CONNECTED,
            directions=("client",),
        ),
    ),
    27: (
        Case("HTTP", lambda say: b"GET / HTTP/1.1\r\n\r\n", Fatal("bad-handshake"), Stand.CONNECTED),
        Case(
            "TLS",
            lambda say: bytes.fromhex("1603010200010001fc0303") + bytes(range(128, 160)),
            Fatal("bad-handshake"),
            Stand.CONNECTED,
        ),
    ),
    28: (
        Case("nothing at all", lambda say: b"", Fatal("handshake-timeout"), Stand.CONNECTED, "hasty"),
        Case("nothing behind the choice", lambda say: b"", Fatal("handshake-timeout"), Stand.CHOSEN, "hasty"),
    ),
}

CASES: Final[dict[int, tuple[Case, ...]]] = {
    1: (Case("in a message", lambda say: b"\x01\x80\x01\x88", Fatal("bad-token")),),
    2: (Case("65 digits", lambda say: b"\x01" * 65, Fatal("limit-prefix")),),
    3: (Case("64 digits", lambda say: b"\x01" * 64, Fatal("message-timeout"), server="small"),),
    4: (Case("an integer", _instead(b"\x4d\x00\x00\x81"), Answered(_PLACEHOLDER)),),
    5: (Case("announced", lambda say: _string(640 * KI + 1), Fatal("limit-size")),),
    6: (
        Case(
            "announced",
            lambda say: _string(640 * KI),
            Fatal("message-timeout"),
            server="small",
            memory=True,
        ),
    ),
    7: (Case("announced", lambda say: encode_list_head(640 * KI + 1), Fatal("limit-items")),),
    8: (Case("all at once", lambda say: b"\x01\x80" * 1_200_000, Fatal("limit-depth"), is_large=True),),
    9: (Case("two lists of 640 Ki", _empty_lists, Fatal("limit-nodes"), is_large=True),),
    10: (Case("until it is too much", _strings, Fatal("limit-message"), is_large=True),),
    11: (
        Case(
            "in a list",
            lambda say: say.spelled_call(
                "take", encode_list_head(600_001) + b"\x04\x82list" + b"\x07\x81" * 600_000
            ),
            Answered(),
        ),
    ),
    12: (
        Case("byte by byte", lambda say: (bytes((b,)) for b in say.call("echo", 77)), Answered(77)),
        Case("glued", lambda say: say.call("probe") + say.call("echo", 77), Answered(77)),
    ),
    13: (
        Case("0", lambda say: b"\x01\x80\x00\x87", Fatal("bad-token")),
        Case("99", lambda say: b"\x01\x80\x63\x87", Fatal("bad-token")),
    ),
    15: (
        Case("not a number", _call("echo", float("nan")), Answered(float("nan"))),
        Case("infinity", _call("echo", float("-inf")), Answered(float("-inf"))),
        Case("as a key", _take([b"dictionary", [float("nan"), 1]]), Refused("DecodeError")),
    ),
    16: (
        Case("2**447", _call("echo", 2**447), Answered(2**447)),
        Case("64 digits", _call("echo", 2**448 - 1), Answered(2**448 - 1)),
        Case("2**448", _take(2**448), Fatal("limit-prefix")),
    ),
    17: (Case("as an argument", _instead(b"\x00\x86"), Answered(0)),),
    18: (
        Case("an integer", lambda say: say.spell(5), Fatal("bad-message")),
        Case("a string", lambda say: say.spell(b"message"), Fatal("bad-message")),
    ),
    19: (Case("alone", lambda say: say.say(), Fatal("bad-message")),),
    20: (
        Case("an integer", lambda say: say.say(5, 1), Fatal("bad-message")),
        Case("a list", lambda say: say.say([b"message"], 1), Fatal("bad-message")),
        Case("bad UTF-8", lambda say: say.say(b"\xff\xfe", 1), Fatal("bad-message")),
    ),
    21: (Case("well-formed", lambda say: say.say(CANARY * 9, 1), Replied("didNotUnderstand")),),
    22: (Case("two lines", lambda say: say.say(b"didNotUnderstand", b"one\ntwo"), Ignored()),),
    23: (
        Case("too few", lambda say: say.say(b"message", 9, "root"), Fatal("bad-message")),
        Case("too many", lambda say: say.say(b"decref", 1, 1), Fatal("bad-message")),
        Case("70,000", lambda say: say.say(b"decref", *[1] * 70_000), Fatal("bad-message")),
    ),
    24: (
        Case("7", lambda say: say.say(b"version", 7), Fatal("bad-version"), Stand.CHOSEN),
        Case("a list", lambda say: say.say(b"version", [6]), Fatal("bad-version"), Stand.CHOSEN),
    ),
    25: (
        Case("a command", lambda say: say.say(b"__class__", 1), Replied("didNotUnderstand")),
        Case("a method", _call("__class__"), Refused("NoSuchMethod")),
        Case("another", _call("__init__"), Refused("NoSuchMethod")),
    ),
    26: (Case("before the version", _call("probe"), Fatal("bad-version"), Stand.CHOSEN),),
    29: (Case("a second version", lambda say: say.say(b"version", 6), Fatal("bad-version")),),
    30: (
        Case("never given", _call("probe", to=999), Refused("UnknownObject")),
        Case("0", _call("probe", to=0), Refused("UnknownObject")),
        Case("digits", _call("probe", to=b"1"), Refused("UnknownObject")),
    ),
    31: (
        Case("a list", _call("probe", to=[1]), Fatal("bad-id")),
        Case("a float", _call("probe", to=1.0), Fatal("bad-id")),
        Case("negative", _call("probe", to=-1), Fatal("bad-id")),
    ),
    32: (Case("a long name", _call(CANARY * 9), Refused("NoSuchMethod")),),
    33: (
        Case("an integer", _call(5), Fatal("bad-message")),
        Case("bad UTF-8", _call(b"\xff"), Fatal("bad-message")),
    ),
    34: (
        Case("600 KB", _call(b"x" * 600 * KI), Fatal("limit-name"), is_large=True),
        Case("257 bytes", _call(b"x" * 257), Fatal("limit-name")),
        Case("256 bytes", _call(b"x" * 256), Refused("NoSuchMethod")),
    ),
    35: (
        Case("bytes", _call("take", args=b"x"), Refused("BadArguments")),
        Case("an integer", _call("take", args=5), Refused("BadArguments")),
        Case("a dictionary", _call("take", args=[b"dictionary"]), Refused("BadArguments")),
        Case("too many for the method", _call("two", 1, 2, 3), Refused("BadArguments")),
        Case("too few for the method", _call("two"), Refused("BadArguments")),
    ),
    36: tuple(
        Case(name, _call(method, kwargs=kwargs), Refused("BadArguments"))
        for name, method, kwargs in (
            ("an integer", "take", 5),
            ("integers as keys", "take", [b"dictionary", [1, 2]]),
            ("mixed keys", "take", [b"dictionary", [b"a", 1], [2, 2]]),
            ("bad UTF-8", "take", [b"dictionary", [b"\xff", 1]]),
            ("self", "take", [b"dictionary", [b"self", 1]]),
            ("unknown names", "two", [b"dictionary", [b"one", 1], [CANARY.encode() * 9, 2]]),
        )
    ),
    37: (
        Case(
            "twice",
            lambda say: say.call("sleep", request=50) + say.call("sleep", request=50),
            Fatal("duplicate-id"),
        ),
    ),
    38: (
        Case("a list", _call("probe", request=[1]), Fatal("bad-id")),
        Case("100 KB", _call("probe", request=b"1" * 100 * KI), Fatal("bad-id"), is_large=True),
        Case("more than 64 bits", _call("probe", request=2**64), Fatal("bad-id")),
    ),
    39: tuple(
        Case(repr(answer), _call("probe", answer=answer), Fatal("bad-message")) for answer in _NO_FLAGS
    ),
    40: tuple(
        Case(tag[:32], _take([tag.encode(), b"os.path"]), Refused("InsecureJelly"))
        for tag in ("unheard", "os.system", "class", "module", "function", "instance", "method", CANARY * 9)
    ),
    41: (Case("registered", _take([b"robustness.Forbidden", [b"dictionary"]]), Refused("InsecureJelly")),),
    42: (Case("alone", _take([b"dereference", 5]), Refused("DecodeError")),),
    43: (
        Case(
            "twice among the arguments",
            _take([b"reference", 1, [b"list"]], [b"list", [b"reference", 1, [b"list"]]]),
            Refused("DecodeError"),
        ),
        Case(
            "twice in one value",
            _take([b"list", [b"reference", 1, [b"list"]], [b"reference", 1, [b"list"]]]),
            Refused("DecodeError"),
        ),
        Case("a list as its number", _take([b"reference", [1], [b"list"]]), Refused("DecodeError")),
    ),
    44: (
        Case("of lists", _take(_dag(b"list")), Answered()),
        Case("of tuples", _take(_dag(b"tuple")), Answered()),
        Case(
            "as a key",
            _take([b"list", _dag(b"tuple"), [b"dictionary", [[b"dereference", 30], 1]]]),
            Refused("DecodeError"),
        ),
    ),
    45: (
        Case(
            "in itself",
            lambda say: say.spelled_call(
                "take",
                encode_list_head(3)
                + say.spell(b"reference")
                + say.spell(1)
                + encode_list_head(320 * KI + 2)
                + say.spell(b"tuple")
                + b"\x00\x81" * (320 * KI)
                + say.spell([b"dereference", 1]),
            ),
            Refused("DecodeError"),
        ),
    ),
    46: (Case("in itself", _take([b"reference", 1, [b"list", [b"dereference", 1]]]), Answered()),),
    47: (
        Case("beyond 64 bits", _take([b"dictionary", [2**64, 1]]), Refused("DecodeError")),
        Case("tuples", _take(_same_hash()), Refused("DecodeError")),
        Case(
            "tuples in a set",
            _take([b"set", *(key for key, _ in _same_hash()[1:])]),
            Refused("DecodeError"),
        ),
    ),
    48: (
        Case("a list as a key", _take([b"dictionary", [[b"list"], 1]]), Refused("DecodeError")),
        Case("a list in a set", _take([b"set", [b"list"]]), Refused("DecodeError")),
        Case("a pair of 1", _take([b"dictionary", [b"a"]]), Refused("DecodeError")),
        Case("a pair of 3", _take([b"dictionary", [b"a", 1, 2]]), Refused("DecodeError")),
    ),
    49: (
        Case(
            "the same text",
            _call("echo", [b"dictionary", [b"a", 1], [b"a", 2]]),
            Answered([b"dictionary", [b"a", 2]], "accepted, the last wins"),
        ),
    ),
    50: (
        Case("bad UTF-8", _take([b"unicode", b"\xff"]), Refused("DecodeError")),
        Case("a surrogate", _take([b"unicode", b"\xed\xa0\x80"]), Refused("DecodeError")),
        Case("an integer", _take([b"unicode", 5]), Refused("DecodeError")),
    ),
    51: (
        Case("an exponent of 10**9", _take([b"decimal", 1, 10**9]), Refused("DecodeError")),
        Case("a year of ten digits", _take([b"date", b"9999999999 1 1"]), Refused("DecodeError")),
        Case("an underscore", _take([b"date", b"1_0 1 1"]), Refused("DecodeError")),
    ),
    52: (
        Case("persistent", _take([b"persistent", b"x"]), Refused("InsecureJelly")),
        Case("unpersistable", _take([b"unpersistable", b"x"]), Refused("InsecureJelly")),
    ),
    53: (
        *(
            Case(
                name,
                _take([b"robustness.Open", [b"dictionary", [name.encode(), 1]]]),
                Refused("DecodeError"),
            )
            for name in ("__class__", "_hidden", "move", "set_copyable_state")
        ),
        Case("not a dictionary", _take([b"robustness.Open", 5]), Refused("DecodeError")),
        Case(
            "postUnjelly",
            _take([b"robustness.Open", [b"dictionary", [b"postUnjelly", 1]]]),
            Answered(note="accepted as data, never called"),
        ),
        Case(
            "not declared",
            _take([b"robustness.Point", [b"dictionary", [b"x", 1], [b"move", 1]]]),
            Answered(note="accepted, undeclared fields are left out"),
        ),
    ),
    54: (
        Case("250", lambda say: say.spelled_call("take", _deep(250)), Answered()),
        Case("332", lambda say: say.spelled_call("take", _deep(332)), Fatal("limit-depth")),
        Case(
            "20 000", lambda say: say.spelled_call("take", _deep(20_000)), Fatal("limit-depth"), is_large=True
        ),
    ),
    55: (
        Case("an unknown type", _answer([b"unheard", 1]), PendingEnds("BadAnswer"), ends_pending=True),
        Case("bad UTF-8", _answer([b"unicode", b"\xff"]), PendingEnds("BadAnswer"), ends_pending=True),
        Case("an unknown object", _answer([b"local", 99]), PendingEnds("BadAnswer"), ends_pending=True),
    ),
    56: (
        Case("an integer", _error(5), PendingEnds("RemoteError", "malformed"), ends_pending=True),
        Case("None", _error([b"None"]), PendingEnds("RemoteError", "malformed"), ends_pending=True),
        Case("a list", _error([b"unheard", 1]), PendingEnds("RemoteError", "malformed"), ends_pending=True),
        Case(
            "a string",
            _error(b"sorry"),
            PendingEnds("RemoteError", "twisted.spread.pb.Error"),
            ends_pending=True,
        ),
        Case(
            "without parents",
            _error(_failure(type=b"shop.Closed", value=b"on Sundays")),
            PendingEnds("RemoteError", "shop.Closed"),
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
            _answer(_failure(type=b"builtins.KeyError", value=b"x")),
            PendingEnds("RemoteError", "builtins.KeyError"),
            ends_pending=True,
        ),
        Case(
            "a forged type",
            _error(_failure(type=b"builtins.SystemExit", value=b"1", parents=[b"list"])),
            PendingEnds("RemoteError", "builtins.SystemExit"),
            ends_pending=True,
        ),
    ),
    59: (
        Case("decref of an id that was never sent", lambda say: say.say(b"decref", 999), Fatal("refcount")),
        Case("decache of an id that was never sent", lambda say: say.say(b"decache", 999), Fatal("refcount")),
        Case("uncache of anything", lambda say: say.say(b"uncache", 999), Ignored()),
        Case("decref of an id that was just released", _given(_decref, _decref), Ignored()),
    ),
    60: (
        Case("negative", lambda say: say.say(b"decref", -1), Fatal("bad-id")),
        Case("a float", lambda say: say.say(b"decref", 1.0), Fatal("bad-id")),
    ),
    61: (Case("root", lambda say: say.say(b"decref", b"root"), Fatal("refcount")),),
    62: (Case("given before", _given(_decref, _call_it), Refused("UnknownObject")),),
    63: (
        Case(
            "in one call",
            _take(*([b"remote", n] for n in range(10_001))),
            Fatal("limit-references"),
            is_large=True,
        ),
    ),
    64: (
        Case("local", _take([b"local", 99]), Refused("UnknownObject")),
        Case("lcache", _take([b"lcache", 99]), Refused("UnknownObject")),
        Case("cached", _take([b"cached", 99]), Refused("UnknownObject")),
    ),
    65: (
        Case("exported as root", _take([b"local", b"root"]), Answered(), directions=("server",)),
        Case("not exported", _take([b"local", b"root"]), Refused("UnknownObject"), directions=("client",)),
        Case("another name", _take([b"local", b"rook"]), Refused("UnknownObject")),
    ),
    66: (Case("never sent", lambda say: say.update(99, "mark"), Refused("UnknownObject")),),
    67: (CALLS_THAT_NEVER_END,),
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
            for name, value in (
                ("an integer", 5),
                ("a list", [b"list"]),
                ("None", [b"None"]),
                ("2 KB", b"x" * 2 * KI),
            )
        ),
        Case(
            "600 KB",
            _call("username", b"x" * 600 * KI),
            Fatal("limit-size"),
            server="login",
            directions=("server",),
            is_large=True,
            probe=_ANSWERS_NOTHING,
        ),
        Case(
            "a list as the response",
            lambda say: (say.call("login", b"alice"), say.call("respond", [b"list"], to=1)),
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
        Case(kind, _call("give_badly", kind.encode()), Refused("SerializationError"))
        for kind in ("too large", "huge int", "surrogate", "unserialisable")
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
}

#: Rows that have a meaning only in the dialect without a vocabulary.
NONE_CASES: Final[dict[int, tuple[Case, ...]]] = {
    14: (Case("in a dialect without words", lambda say: b"\x01\x80\x13\x87", Fatal("bad-token")),),
}
