"""A client of unmodified Twisted, which uses everything that `contract.py` promises.

    python -m tests.interop.peers.client tcp://127.0.0.1:8787 echo_all kwargs

started in the checkout. Every scenario runs on a connection of its own and prints one line per step, a
JSON list ``[scenario, step, outcome]``; outcomes are the texts of `contract.show`, an error is
``!type: text``. It judges nothing: `tests/interop/expectations.py` has the required lines. Exit status 0
when all scenarios ran to their end, 1 when one broke off, 3 when time ran out.
"""

from __future__ import annotations

import argparse
import gc
import json
import os
import signal
import sys
from collections import Counter
from collections.abc import Callable, Generator
from typing import Any

from twisted.cred import credentials
from twisted.internet import defer, reactor
from twisted.python import failure, log, reflect
from twisted.spread import jelly, pb, util

from tests.interop.peers.contract import (
    ECHO_DATES,
    ECHO_VALUES,
    EMPTY_TABLES,
    PAGED,
    USERS,
    hash_of,
    page_data,
    show,
)
from tests.interop.peers.flavors import CarriedError, ContractError, Note, Stranger, start_pager, table_sizes

_reactor: Any = reactor  # Twisted's module-level reactor has no type of its own

Steps = Generator[Any, Any, None]
SCENARIOS: dict[str, Callable[[Session], Steps]] = {}


def scenario(function: Callable[[Session], Steps]) -> Callable[[Session], Steps]:
    """Offer the function by its name on the command line."""
    SCENARIOS[function.__name__] = function
    return function


# ------------------------------------------------------------------------------------------ machinery


class Session:
    """One scenario on its connection."""

    root: Any

    def __init__(self, url: str, name: str) -> None:
        self.url = url
        self.name = name
        self.factories: list[Any] = []

    def connect(self) -> Any:
        """A new connection's factory."""
        factory: Any = pb.PBClientFactory()
        self.factories.append(factory)
        scheme, _, rest = self.url.partition("://")
        if scheme == "tcp":
            host, _, port = rest.rpartition(":")
            _reactor.connectTCP(host, int(port), factory, timeout=10)
        elif scheme == "unix":
            _reactor.connectUNIX(rest, factory, timeout=10)
        else:
            raise ValueError(f"neither tcp:// nor unix://: {self.url}")
        return factory

    def report(self, step: str, outcome: str) -> None:
        print(json.dumps([self.name, step, outcome]), flush=True)

    def show(self, step: str, value: Any) -> None:
        self.report(step, show(value))

    def step(self, step: str, answer: Any, read: Callable[[Any], Any] = lambda value: value) -> Any:
        """Report how the call ended; the Deferred that comes back always fires, with the value or None."""

        def succeeded(value: Any) -> Any:
            self.show(step, read(value))
            return value

        def failed(reason: Any) -> None:
            self.report(step, outcome_of(reason))

        return answer.addCallback(succeeded).addErrback(failed)

    def call(self, method: str, /, *args: Any, **kw: Any) -> Any:
        return self.root.callRemote(method, *args, **kw)

    @property
    def broker(self) -> Any:
        return self.root.broker

    def disconnect(self) -> Any:
        """Leave politely; the Deferred fires when every connection is gone."""
        gone = []
        for factory in self.factories:
            broker = factory._broker
            if broker is not None and not broker.disconnected:
                d: Any = defer.Deferred()
                broker.notifyOnDisconnect(lambda d=d: d.callback(None))
                gone.append(d)
            factory.disconnect()
        return defer.DeferredList(gone)

    @defer.inlineCallbacks
    def until(self, ask: Callable[[], Any], wanted: Any) -> Any:
        """Ask until the answer is the wanted one; what it was at last. Releases have their own time."""
        for _ in range(200):
            value = yield defer.maybeDeferred(ask)
            if value == wanted:
                break
            gc.collect()
            yield self.call("echo", None)  # a round trip: whatever was on its way is here now
        return value

    @defer.inlineCallbacks
    def both_tables(self) -> Any:
        gc.collect()
        theirs = yield self.until(lambda: self.call("tables"), EMPTY_TABLES)
        self.show("tables of the server", theirs)
        ours = yield self.until(lambda: table_sizes(self.broker), EMPTY_TABLES)
        self.show("tables of the client", ours)


def type_name(reason: Any) -> str:
    """The name of a failure's type, which is a class, a text or bytes, depending on where it failed."""
    kind = reason.type
    if isinstance(kind, bytes):
        return kind.decode()
    return kind if isinstance(kind, str) else str(reflect.qual(kind))


#: Errors whose text belongs to the server.
ONLY_TYPE = (
    "twisted.spread.flavors.NoSuchMethod",
    "twisted.cred.error.UnauthorizedLogin",
    "builtins.TypeError",
)


def outcome_of(reason: Any) -> str:
    name = type_name(reason)
    if name == "twisted.spread.pb.PBConnectionLost":
        return "!lost"
    if name == "twisted.spread.pb.DeadReferenceError":
        return "!dead"
    if name in ONLY_TYPE:
        return f"!{name}"
    text = reason.value
    return f"!{name}: {text.decode() if isinstance(text, bytes) else text}"


def traceback_of(reason: Any) -> str:
    text = reason.traceback
    return text.decode() if isinstance(text, bytes) else str(text)


def seen(note: Any) -> Any:
    """A copy, as something to show."""
    if isinstance(note, (Note, CarriedError)):
        return (type(note).__name__, seen(note.text))
    return note


class Callback(pb.Referenceable):
    """The object that clients hand over."""

    def __init__(self, session: Session) -> None:
        self.session = session

    def remote_call(self, value: Any) -> Any:
        return ("called", value)


class NestedCallback(Callback):
    """Calls the server while the server waits for it."""

    def remote_call(self, value: Any) -> Any:
        return self.session.call("add", value, b=1).addCallback(lambda n: ("nested", n))


class LaterCallback(Callback):
    """Answers in another turn of the event loop."""

    def remote_call(self, value: Any) -> Any:
        d: Any = defer.Deferred()
        _reactor.callLater(0, d.callback, ("later", value))
        return d


class FailingCallback(Callback):
    """Raises the error it was made with."""

    def __init__(self, session: Session, error: Exception) -> None:
        super().__init__(session)
        self.error = error

    def remote_call(self, value: Any) -> Any:
        raise self.error


class Mute(pb.Referenceable):
    """Has no `call` at all."""


# ------------------------------------------------------------------------------------------ scenarios


@scenario
def echo_all(s: Session) -> Steps:
    for name, value in ECHO_VALUES:
        yield s.step(name, s.call("echo", value))
    cycle: list[Any] = []
    cycle.append(cycle)
    yield s.step("cycle", s.call("echo", cycle), lambda value: value[0] is value)
    yield s.step("shared", s.call("echo", [cycle, cycle]), lambda value: value[0] is value[1])
    yield s.step("blob", s.call("blob", 600_000))
    texts = yield defer.gatherResults([s.call("text", value) for _, value in ECHO_VALUES])
    s.show("texts", texts == [show(value) for _, value in ECHO_VALUES])


@scenario
def echo_dates(s: Session) -> Steps:
    for name, value in ECHO_DATES:
        yield s.step(name, s.call("echo", value))


@scenario
def dates(s: Session) -> Steps:
    values = yield s.call("dates")
    for (name, _), value in zip(ECHO_DATES, values, strict=True):
        s.show(name, value)


@scenario
def kwargs(s: Session) -> Steps:
    yield s.step("positional", s.call("add", 1, 2))
    yield s.step("keyword", s.call("add", a=3, b=4))
    yield s.step("default", s.call("add", 5))
    yield s.step("text", s.call("add", "a", b="b"))
    yield s.step("many", s.call("arguments", 1, "two", a=1, b=[2], name="x"))
    yield s.step("none at all", s.call("arguments"))


@scenario
def one_way(s: Session) -> Steps:
    returned = [s.call("record", n, pbanswer=False) for n in range(5)]
    s.show("returned", returned[0])
    yield s.call("record", "waited")
    yield s.step("recordings", s.call("recordings"))
    yield s.step("again", s.call("recordings"))


@scenario
def order(s: Session) -> Steps:
    things = []
    for name in "abc":
        things.append((yield s.call("new_thing", name)))
    names = yield defer.gatherResults([thing.callRemote("name") for thing in things])
    s.show("names", names)
    for n in range(20):  # one-way and answered calls mixed, on three objects, nothing awaited
        for index, thing in enumerate(things):
            if (n + index) % 2:
                thing.callRemote("touch", n, pbanswer=False)
            else:
                thing.callRemote("touch", n)
    yield s.step("recordings", s.call("recordings"))
    yield s.step("identity", things[0].callRemote("itself"), lambda thing: thing == things[0])


@scenario
def callback(s: Session) -> Steps:
    yield s.step("answer", s.call("callback", Callback(s), "hello"))
    yield s.step("nested", s.call("callback", NestedCallback(s), 41))
    yield s.step("later", s.call("callback", LaterCallback(s), None))
    expected = FailingCallback(s, ContractError("from the client"))
    yield s.step("pb.Error", s.call("callback", expected, 0))
    unexpected = FailingCallback(s, ValueError("from the client"))
    yield s.step("ValueError", s.call("callback", unexpected, 0))
    yield s.step("no such method", s.call("callback", Mute(), 0))


@scenario
def references_home(s: Session) -> Steps:
    mine = Callback(s)
    yield s.step("given back", s.call("give_back", mine), lambda value: value is mine)
    yield s.step(
        "given back in a list, twice",
        s.call("give_back", [mine, mine]),
        lambda value: (value[0] is mine, value[1] is mine),
    )
    own = yield s.call("own")
    yield s.step("own", own.callRemote("name"))
    yield s.step("is own", s.call("is_own", own))
    other = yield s.call("new_thing", "other")
    yield s.step("is not own", s.call("is_own", other))
    yield s.step("own again", s.call("own"), lambda value: value == own)
    yield s.step("same in one message", s.call("same", own, own))


@scenario
def echoed_home(s: Session) -> Steps:
    """References that the server lets go of when it answers with them."""
    mine = Callback(s)
    yield s.step("echo", s.call("echo", mine), lambda value: value is mine)
    both = s.call("echo", [mine, Callback(s)])
    yield s.step(
        "echo of two", both, lambda value: (value[0] is mine, value[1] is mine, value[1].session is s)
    )
    met = s.call("callback", mine, mine)
    yield s.step("met itself", met, lambda value: (value[0], value[1] is mine))
    yield s.call("hold", mine)
    yield s.step("handed back", s.call("hand_back"), lambda value: value is mine)
    s.call("hold", mine, pbanswer=False)
    yield s.step("handed back again", s.call("hand_back"), lambda value: value is mine)
    yield s.both_tables()


@scenario
def copyables(s: Session) -> Steps:
    yield s.step("note", s.call("note", "hello \N{SNOWMAN}"), seen)
    yield s.step("take_note", s.call("take_note", Note("carried")))
    note = Note("there and back")
    yield s.step("echo", s.call("echo", note), seen)
    yield s.step("same", s.call("same", note, note))
    yield s.step("not same", s.call("same", note, Note("there and back")))
    yield s.step("nested", s.call("echo", Note(Note("inner"))), seen)
    yield s.step("shared", s.call("echo", [note, note]), lambda value: value[0] is value[1])


@scenario
def errors(s: Session) -> Steps:
    yield s.step("pb.Error", s.call("pb_error", "boom"))
    yield s.step("pb.Error later", s.call("pb_error_later", "boom later"))
    yield s.step("ValueError", s.call("value_error", "boom"))
    yield s.step("ValueError later", s.call("value_error_later", "boom later"))
    yield s.step("text \N{SNOWMAN}", s.call("value_error", "\N{SNOWMAN}"))
    # `check` with the local class is what programs write in their errbacks, though only its name crossed.
    trapped = s.call("pb_error", "boom").addErrback(lambda f: f.check(ContractError) and type_name(f))
    yield s.step("trap", trapped)
    carried = s.call("carried_error", "cargo").addErrback(lambda f: f.value)
    yield s.step("carried", carried, seen)
    yield s.step("no such method", s.call("missing"))
    yield s.step("wrong arguments", s.call("add"))
    hidden = s.call("value_error", "boom").addErrback(lambda f: 'File "' in traceback_of(f))
    yield s.step("no traceback", hidden)
    s.call("value_error", "unheard", pbanswer=False)
    s.call("pb_error_later", "unheard", pbanswer=False)
    s.call("missing", pbanswer=False)
    yield s.step("one-way errors, then", s.call("echo", "still here"))


@scenario
def checks(s: Session) -> Steps:
    """The values that programs compare failures with."""

    def check(step: str, answer: Any, *kinds: type[Exception]) -> Any:
        return s.step(
            step, answer.addErrback(lambda f: [reflect.qual(kind) for kind in kinds if f.check(kind)])
        )

    yield check("pb.Error", s.call("pb_error", "boom"), ContractError, pb.Error, Exception, ValueError)
    yield check("ValueError", s.call("value_error_later", "boom"), ValueError, Exception, pb.Error)
    yield check("no such method", s.call("missing"), pb.NoSuchMethod, AttributeError, Exception, pb.Error)
    yield check("wrong arguments", s.call("add"), TypeError, pb.Error)
    yield check("stranger", s.call("echo", Stranger()), jelly.InsecureJelly, pb.Error)


@scenario
def traceback(s: Session) -> Steps:
    def complete(reason: Any) -> bool:
        text = traceback_of(reason)
        return text.startswith("Traceback") and 'File "' in text and "boom" in text

    yield s.step("pb.Error", s.call("pb_error_later", "boom").addErrback(complete))
    yield s.step("ValueError", s.call("value_error", "boom").addErrback(complete))
    yield s.step("ValueError later", s.call("value_error_later", "boom").addErrback(complete))


@scenario
def thousand_in_flight(s: Session) -> Steps:
    echoes = yield defer.gatherResults([s.call("echo", n) for n in range(1000)])
    s.show("echoes, in order", echoes == list(range(1000)))
    waiting = [s.call("wait") for _ in range(1000)]
    yield s.call("echo", None)
    s.show("waiting", sum(1 for d in waiting if not d.called))
    yield s.step("fired", s.call("fire", "fired"))
    answers = yield defer.gatherResults(waiting)
    s.show("answers", dict(Counter(answers)))
    yield s.step("tables", s.until(lambda: table_sizes(s.broker), EMPTY_TABLES))


@scenario
def release(s: Session) -> Steps:
    held = Callback(s)
    yield s.call("hold", held)
    yield s.step("held", s.call("call_held", 1))
    s.show("while held", table_sizes(s.broker)["local_objects"])
    yield s.call("release_held")
    yield s.step(
        "after release",
        s.until(lambda: s.call("tables").addCallback(lambda _: table_sizes(s.broker)["local_objects"]), 0),
    )
    things = yield defer.gatherResults([s.call("new_thing", str(n)) for n in range(50)])
    again = yield defer.gatherResults([thing.callRemote("itself") for thing in things])
    yield defer.gatherResults([s.call("give_back", Callback(s)) for _ in range(50)])
    yield defer.gatherResults([s.call("callback", Callback(s), n) for n in range(50)])
    things += yield s.call("echo", again)
    s.show("things at the server", len(things))
    del things, again, held
    yield s.both_tables()


class Pages(pb.Referenceable):
    """Sends pages."""

    def remote_pages(self, collector: Any, kind: str, size: int) -> None:
        start_pager(collector, kind, size)


@scenario
def pages(s: Session) -> Steps:
    for kind, size in PAGED:
        got = util.getAllPages(s.root, "pages", kind, size).addCallback(b"".join)
        yield s.step(f"get {kind} {size}", got.addCallback(page_data(size).__eq__))
        sent = s.call("collect", Pages(), kind, size)
        yield s.step(f"send {kind} {size}", sent.addCallback(hash_of(page_data(size)).__eq__))
    yield s.both_tables()


@scenario
def cacheable(s: Session) -> Steps:
    score = yield s.call("score")
    s.show("points", score.points)
    yield s.step("win", s.call("win", 3))
    yield s.step("win again", s.call("win", 2))
    s.show("replica", score.points)
    s.show("changes", score.changes)
    second = yield s.call("score")
    s.show("second replica", second.points)
    yield s.step("observers", s.call("observers"))
    del score, second
    yield s.step("dropped", s.until(lambda: s.call("observers"), 0))
    yield s.both_tables()


def _lose(s: Session, last_call: str) -> Steps:
    """Calls that are open when the connection goes, and what is left afterwards."""
    gone: Any = defer.Deferred()
    told: list[Any] = []
    s.root.notifyOnDisconnect(told.append)
    s.broker.notifyOnDisconnect(lambda: gone.callback(None))
    hanging = s.call("hang")
    last = s.call(last_call)
    yield gone
    s.show("disconnected", len(told))
    yield s.step("hang", hanging)
    yield s.step("last call", last)
    try:
        yield s.step("afterwards", s.call("echo", None))
    except pb.DeadReferenceError:
        s.report("afterwards", outcome_of(failure.Failure()))


@scenario
def killed(s: Session) -> Steps:
    yield from _lose(s, "die")


@scenario
def hang_up(s: Session) -> Steps:
    yield from _lose(s, "hang_up")


@scenario
def leave(s: Session) -> Steps:
    """Goes away politely with a call open and a reference held at the server."""
    s.call("hang").addErrback(lambda _: None)
    yield s.call("hold", Callback(s))
    s.show("leaving", True)


@scenario
def client_dies(s: Session) -> Steps:
    """Is killed with a call open and a reference held at the server."""
    s.call("hang")
    yield s.call("hold", Callback(s))
    s.show("dying", True)
    os.kill(os.getpid(), signal.SIGKILL)


# ------------------------------------------------------------------------------------------ with a portal


def _login(s: Session, name: str, password: str | None = None, mind: Any = None, factory: Any = None) -> Any:
    known = USERS.get(name, "") if password is None else password
    factory = factory or s.connect()
    # In bytes: the digest of the answer is made of bytes, and the name may be either.
    return factory.login(credentials.UsernamePassword(name.encode(), known.encode()), mind)


@scenario
def login(s: Session) -> Steps:
    me = yield _login(s, "alice", mind=Callback(s))
    yield s.step("whoami", me.callRemote("whoami"))
    yield s.step("mind", me.callRemote("call_mind", "from the avatar"))
    yield s.step("attached", _attached(s, me, ["alice"]))
    yield s.step("note", me.callRemote("secret_note"), seen)


@scenario
def refused(s: Session) -> Steps:
    factory = s.connect()
    yield s.step("wrong password", _login(s, "alice", "sesame", factory=factory))
    yield s.step("unknown user", _login(s, "mallory", "secret", factory=factory))
    me = yield _login(s, "bob", factory=factory)
    yield s.step("right, on the same connection", me.callRemote("whoami"))


@scenario
def anonymous(s: Session) -> Steps:
    me = yield s.connect().login(credentials.Anonymous(), Callback(s))
    yield s.step("whoami", me.callRemote("whoami"))
    yield s.step("mind", me.callRemote("call_mind", "from the avatar"))


@scenario
def views(s: Session) -> Steps:
    alice = yield _login(s, "alice")
    bob = yield _login(s, "bob")
    hers = yield alice.callRemote("board")
    his = yield bob.callRemote("board")
    yield s.step("alice looks", hers.callRemote("whoami"))
    yield s.step("bob looks", his.callRemote("whoami"))
    yield s.step("attached", _attached(s, alice, ["alice", "bob"]))
    yield s.step("alice posts", hers.callRemote("post", "hello"))
    yield s.step("bob posts", his.callRemote("post", "hello yourself"))
    yield s.step("posts", hers.callRemote("posts"))
    yield s.step("passed back home", alice.callRemote("is_board", hers))
    yield s.step("clear", hers.callRemote("clear"))
    bob.broker.transport.loseConnection()
    yield s.step("after bob left", _attached(s, alice, ["alice"]))


@defer.inlineCallbacks
def _attached(s: Session, me: Any, wanted: list[str]) -> Any:
    """The users that are logged in. Others come and go on connections of their own, so it may take a moment."""
    for _ in range(200):
        names = yield me.callRemote("attached")
        if names == wanted:
            break
    return names


#: Scenarios that log in for themselves and have no open root.
WITH_LOGIN = ("login", "refused", "anonymous", "views")


# ------------------------------------------------------------------------------------------ main


@defer.inlineCallbacks
def run(url: str, names: list[str]) -> Any:
    for name in names:
        s = Session(url, name)
        if name not in WITH_LOGIN:
            s.root = yield s.connect().getRootObject()
        yield from SCENARIOS[name](s)
        yield s.disconnect()
        del s


def main() -> None:
    parser = argparse.ArgumentParser(description="A Twisted PB client for interoperability tests.")
    parser.add_argument("url", help="tcp://host:port or unix:///path")
    parser.add_argument("scenarios", nargs="+", choices=sorted(SCENARIOS), metavar="scenario")
    parser.add_argument("--timeout", type=float, default=30, help="seconds, for all scenarios together")
    options = parser.parse_args()

    status = [1]

    def stop(result: Any) -> None:
        if isinstance(result, failure.Failure):
            print(result.getTraceback(), file=sys.stderr)
        else:
            status[0] = 0
        _reactor.stop()

    def out_of_time() -> None:
        print("out of time", file=sys.stderr)
        status[0] = 3
        _reactor.stop()

    log.startLogging(sys.stderr, setStdout=False)
    _reactor.callLater(options.timeout, out_of_time)
    _reactor.callWhenRunning(lambda: run(options.url, options.scenarios).addBoth(stop))
    _reactor.run()
    sys.exit(status[0])


if __name__ == "__main__":
    main()
