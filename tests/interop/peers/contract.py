"""The contract of the interoperability peers: what a server offers and what a client will see.

`server.py` keeps it with Twisted, our own server keeps it with this library, and `client.py` (Twisted) or a
test of ours asks either of them. This module is plain Python, so that all four can import it.

Root: one object **per connection**, so that nothing of one client is visible to another. `ref` is a
reference to an object of the caller; "never" is a call that is never answered.

================================  ============================================================================
method                            answer
================================  ============================================================================
echo(value)                       the value: any type of the wire, a `Note` too. (A reference as well, but
                                  Twisted's server releases it before it answers: a Twisted client gets None.)
text(value)                       the value as the server sees it: the canonical text of `show`
add(a, b=0)                       a + b
arguments(*args, **kw)            ``[list(args), kw]``, keyword names as text
same(a, b)                        ``a is b``: is identity kept within one message?
same_text(a, b)                   ``a == b`` and both are text
dates()                           the values of `ECHO_DATES`, as a list
blob(size)                        `size` bytes ``b"x"``
note(text)                        a copyable tagged ``interop.Note``, state ``{"text": text}``
take_note(note)                   the `text` of the received copy
stranger()                        a copyable tagged ``interop.Stranger``, which no client has registered
record(item)                      None; appends to this connection's recordings (for one-way calls and order)
recordings()                      the recordings so far; starts a new list
new_thing(name)                   a new referenceable: ``name()`` -> its name; ``touch(n)`` -> None, records
                                  ``[name, n]``; ``itself()`` -> the same object again
own()                             a referenceable of the server, always the same; ``name()`` -> "own"
is_own(thing)                     True when what arrived *is* that object (a reference passed back home)
callback(ref, value)              what ``ref.call(value)`` answers, its error when that fails
give_back(value)                  the value, whose references arrive at the caller as its own objects
hold(ref)                         None; keeps the reference
call_held(value)                  what ``call(value)`` answers on the held reference
release_held()                    None; drops the held reference
hand_back()                       the held reference, which the server keeps no longer. (As with `echo`: a Twisted
                                  client gets None from Twisted's server.)
pb_error(text)                    raises ``interop.ContractError(text)``, a subclass of ``pb.Error``
value_error(text)                 raises ``ValueError(text)``
pb_error_later(text)              the same error, after a turn of the event loop
value_error_later(text)           the same error, after a turn of the event loop
carried_error(text)               raises ``interop.CarriedError``, an error that is itself a copyable with
                                  state ``{"text": text}``: it arrives as itself
wait()                            answered by the next ``fire(value)`` of this connection, with its value
fire(value)                       how many waiting calls it answered; their answers leave first
hang()                            never
hang_up()                         never: the server closes this connection
die()                             never: the server process kills itself with SIGKILL
score()                           the connection's cacheable, tagged ``interop.Score``, state
                                  ``{"points": int}``, updates by ``observe_points(points)``
win(n)                            adds n to the score, tells the observers, then answers with the points
observers()                       how many observers the score has
pages(collector, kind, size)      None, at once or when all is sent; `page_data(size)` goes to the collector in pages,
                                  by a pager of the kind "string" or "file"
collect(ref, kind, size)          the `hash_of` what ``ref.pages(collector, kind, size)`` sends
tables()                          after a collection of garbage, sizes of the tables of this connection on the
                                  server: a dictionary with the keys of `EMPTY_TABLES`; names such as ``root``
                                  are not counted
missing()                         there is no such method: ``twisted.spread.flavors.NoSuchMethod``
================================  ============================================================================

Behind a portal (`--portal`) the root is the portal's login object (``login``, ``loginAnonymous``); users are
`USERS`, and anonymous gets in too. The avatar ("perspective"):

================================  ============================================================================
whoami()                          the user's name, ``"anonymous"`` for the anonymous one
call_mind(value)                  what ``mind.call(value)`` answers
board()                           the board: one viewable for all avatars of the process
is_board(view)                    True when the view that came back stands for the board *and* for the caller
secret_note()                     a `Note` whose text depends on the perspective: ``"for " + name``
attached()                        names of the users that are logged in, sorted
================================  ============================================================================

A view of the board: ``post(text)`` -> number of posts; ``posts()`` -> ``[[who, text], ...]``; ``whoami()`` ->
the name of the perspective that looks at it; ``clear()`` -> None.
"""

from __future__ import annotations

import datetime
import decimal
import hashlib
from typing import Any

#: Where the contract's classes live on the wire: their tags are ``interop.Note`` and so on.
MODULE = "interop"

USERS = {"alice": "secret", "bob": "builder"}

#: The answer of `tables()` without leftovers.
EMPTY_TABLES = {
    "local_objects": 0,  # references given to the caller
    "remotely_cached": 0,  # cacheables the caller holds replicas of
    "locally_cached": 0,  # replicas held of the caller's cacheables
    "waiting_for_answers": 0,  # calls made to the caller
}


def page_data(size: int) -> bytes:
    """The data of pagers: so many bytes, no page like the next."""
    return b"".join(b"%07d\n" % n for n in range(size // 8 + 1))[:size]


#: Kind and size of what is paged: nothing but an empty page, less than a page, many pages.
PAGED: list[tuple[str, int]] = [("string", 0), ("string", 5000), ("string", 1_000_000), ("file", 1_000_000)]

_SHARED = ["shared"]

#: Every type of the wire, at its edges. The name is the step's name in the client's `echo_all`.
ECHO_VALUES: list[tuple[str, Any]] = [
    ("none", None),
    ("true", True),
    ("false", False),
    ("zero", 0),
    ("minus one", -1),
    ("2**31-1", 2**31 - 1),
    ("2**31", 2**31),
    ("-2**31", -(2**31)),
    ("-2**31-1", -(2**31) - 1),
    ("2**63", 2**63),
    ("-2**64", -(2**64)),
    ("2**400", 2**400),
    ("float", 2.5),
    ("float -0.0", -0.0),
    ("float infinite", float("inf")),
    ("float nan", float("nan")),
    ("float tiny", 5e-324),
    ("bytes", b"\x00\xff bytes"),
    ("bytes empty", b""),
    ("bytes of a vocabulary word", b"dictionary"),
    ("bytes 600,000", b"z" * 600_000),
    ("text", "snowman \N{SNOWMAN} \N{GRINNING FACE}"),
    ("text empty", ""),
    ("text of a vocabulary word", "None"),
    ("list", [1, "two", b"three", [4.0]]),
    ("list empty", []),
    ("tuple", (1, ("nested",), ())),
    ("dictionary", {"a": 1, b"b": 2, 3: [4], (5, 6): None}),
    ("dictionary empty", {}),
    ("set", {1, "one", b"one"}),
    ("set empty", set()),
    ("frozenset", frozenset([1, 2, frozenset()])),
    ("decimal", decimal.Decimal("-3.14159")),
    ("decimal exponent", decimal.Decimal("7E+30")),
    ("shared list", [_SHARED, _SHARED]),
    ("all at once", [{"k": ({1}, frozenset("x"), decimal.Decimal(0))}, None, True, b"", "", 1.0, -1]),
]

#: Types that Twisted 19.10 reads but cannot send on Python 3: it makes text of them where banana wants bytes,
#: and a server that has to answer with one drops the connection.
ECHO_DATES: list[tuple[str, Any]] = [
    ("datetime", datetime.datetime(2002, 7, 15, 12, 30, 59, 999999)),
    ("date", datetime.date(2002, 7, 15)),
    ("time", datetime.time(23, 59, 58, 7)),
    ("timedelta", datetime.timedelta(days=-1, seconds=3, microseconds=5)),
]


def show(value: object, _inside: tuple[int, ...] = ()) -> str:
    """The value as one canonical text: equal texts mean equal values of equal types.

    JSON would blur tuples, bytes, booleans and numbers; `repr` would keep the order of a set.
    """
    if id(value) in _inside:
        return "<cycle>"
    inside = (*_inside, id(value))
    kind: type = type(value)
    if kind is list:
        assert isinstance(value, list)
        return "[" + ", ".join(show(item, inside) for item in value) + "]"
    if kind is tuple:
        assert isinstance(value, tuple)
        return "(" + "".join(show(item, inside) + "," for item in value) + ")"
    if kind is dict:
        assert isinstance(value, dict)
        items = sorted(f"{show(key, inside)}: {show(item, inside)}" for key, item in value.items())
        return "{" + ", ".join(items) + "}"
    if kind in (set, frozenset):
        assert isinstance(value, (set, frozenset))
        return kind.__name__ + "{" + ", ".join(sorted(show(item, inside) for item in value)) + "}"
    if kind in (bytes, str) and len(value) > 1000:  # type: ignore[arg-type]
        return f"<{kind.__name__} of {len(value)}, {hash_of(value)}>"  # type: ignore[arg-type]
    if value is None or kind in (bool, int, float, str, bytes) or kind.__module__ in ("decimal", "datetime"):
        return repr(value)
    return f"<{kind.__name__}>"


def hash_of(data: str | bytes) -> str:
    """A short digest, so that a large value is compared without being printed."""
    return hashlib.sha256(data.encode() if isinstance(data, str) else data).hexdigest()[:16]
