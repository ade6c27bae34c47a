"""A server made of unmodified Twisted: keeps the contract of `contract.py`, in a process of its own.

    python -m tests.interop.peers.server --tcp 0 --unix /run/pb.sock

started in the checkout. Its first line on standard output is JSON, ``{"urls": [...], "pid": ...,
"twisted": ..., "python": ...}``; it listens when that line is there. It ends when its standard input is
closed, so that it cannot outlive the test that started it, however that one ends. Its log goes to standard
error.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import signal
import sys
from typing import Any

import twisted
from twisted.cred import checkers, credentials, portal
from twisted.internet import defer, protocol, reactor, stdio
from twisted.python import log
from twisted.spread import pb, util
from zope.interface import implementer

from tests.interop.peers.contract import ECHO_DATES, USERS, hash_of, show
from tests.interop.peers.flavors import (
    CarriedError,
    ContractError,
    Note,
    Score,
    Stranger,
    start_pager,
    table_sizes,
)

_reactor: Any = reactor  # Twisted's module-level reactor has no type of its own


class Thing(pb.Referenceable):
    """A small object of the server."""

    def __init__(self, desk: Desk, name: str) -> None:
        self.desk = desk
        self.label = name

    def remote_name(self) -> str:
        return self.label

    def remote_touch(self, n: int) -> None:
        self.desk.recorded.append([self.label, n])

    def remote_itself(self) -> Thing:
        return self


class Desk(pb.Referenceable):
    """The root as one connection sees it."""

    def __init__(self, broker: Any) -> None:
        self.broker = broker
        self.recorded: list[Any] = []
        self.waiting: list[Any] = []
        self.hanging: list[Any] = []
        self.held: Any = None
        self.own = Thing(self, "own")
        self.score = Score()

    # -- values

    def remote_echo(self, value: Any) -> Any:
        return value

    def remote_text(self, value: Any) -> str:
        return show(value)

    def remote_add(self, a: Any, b: Any = 0) -> Any:
        return a + b

    def remote_arguments(self, *args: Any, **kw: Any) -> list[Any]:
        return [list(args), kw]

    def remote_same(self, a: Any, b: Any) -> bool:
        return a is b

    def remote_same_text(self, a: Any, b: Any) -> bool:
        return isinstance(a, str) and isinstance(b, str) and a == b

    def remote_dates(self) -> list[Any]:
        return [value for _, value in ECHO_DATES]

    def remote_blob(self, size: int) -> bytes:
        return b"x" * size

    # -- copyables

    def remote_note(self, text: str) -> Note:
        return Note(text)

    def remote_take_note(self, note: Note) -> Any:
        return note.text

    def remote_stranger(self) -> Stranger:
        return Stranger()

    # -- order and one-way calls

    def remote_record(self, item: Any) -> None:
        self.recorded.append(item)

    def remote_recordings(self) -> list[Any]:
        recorded, self.recorded = self.recorded, []
        return recorded

    # -- references

    def remote_new_thing(self, name: str) -> Thing:
        return Thing(self, name)

    def remote_own(self) -> Thing:
        return self.own

    def remote_is_own(self, thing: Any) -> bool:
        return thing is self.own

    def remote_callback(self, ref: Any, value: Any) -> Any:
        return ref.callRemote("call", value)

    def remote_give_back(self, value: Any) -> Any:
        # Twisted lets go of an argument before it sends the answer: its (decref n) would overtake the
        # (local n), and the caller would find nothing under n any more. `echo` shows that; here it is kept.
        _reactor.callLater(0, lambda: value)
        return value

    def remote_hold(self, ref: Any) -> None:
        self.held = ref

    def remote_call_held(self, value: Any) -> Any:
        return self.held.callRemote("call", value)

    def remote_release_held(self) -> None:
        self.held = None

    def remote_hand_back(self) -> Any:
        held, self.held = self.held, None
        return held

    # -- errors

    def remote_pb_error(self, text: str) -> None:
        raise ContractError(text)

    def remote_value_error(self, text: str) -> None:
        raise ValueError(text)

    def remote_pb_error_later(self, text: str) -> Any:
        return self._later(self.remote_pb_error, text)

    def remote_value_error_later(self, text: str) -> Any:
        return self._later(self.remote_value_error, text)

    def remote_carried_error(self, text: str) -> None:
        raise CarriedError(text)

    def _later(self, method: Any, text: str) -> Any:
        d: Any = defer.Deferred()
        d.addCallback(method)
        _reactor.callLater(0, d.callback, text)
        return d

    # -- time, and the end of it

    def remote_wait(self) -> Any:
        d: Any = defer.Deferred()
        self.waiting.append(d)
        return d

    def remote_fire(self, value: Any) -> int:
        waiting, self.waiting = self.waiting, []
        for d in waiting:
            d.callback(value)
        return len(waiting)

    def remote_hang(self) -> Any:
        d: Any = defer.Deferred()
        self.hanging.append(d)  # or it would be collected, which is another story than silence
        return d

    def remote_hang_up(self) -> Any:
        self.broker.transport.loseConnection()
        return self.remote_hang()

    def remote_die(self) -> None:
        os.kill(os.getpid(), signal.SIGKILL)

    # -- cacheables

    def remote_score(self) -> Score:
        return self.score

    def remote_win(self, n: int) -> int:
        return self.score.win(n)

    def remote_observers(self) -> int:
        return len(self.score.observers)

    # -- pages

    def remote_pages(self, collector: Any, kind: str, size: int) -> None:
        start_pager(collector, kind, size)

    def remote_collect(self, ref: Any, kind: str, size: int) -> Any:
        return util.getAllPages(ref, "pages", kind, size).addCallback(lambda pages: hash_of(b"".join(pages)))

    # -- leaks

    def remote_tables(self) -> dict[str, int]:
        return table_sizes(self.broker)


class ContractRoot(pb.Root):
    """Gives every connection a desk of its own."""

    def rootObject(self, broker: Any) -> Desk:
        return Desk(broker)


class Board(pb.Viewable):
    """Shared by all avatars; the view identifies the caller."""

    def __init__(self) -> None:
        self.posted: list[list[str]] = []

    def view_post(self, perspective: User, text: str) -> int:
        self.posted.append([perspective.name, text])
        return len(self.posted)

    def view_posts(self, perspective: User) -> list[list[str]]:
        return self.posted

    def view_whoami(self, perspective: User) -> str:
        return perspective.name

    def view_clear(self, perspective: User) -> None:
        self.posted = []


class SecretNote(Note):
    """A note whose text depends on who receives it; on the wire it is a `Note`."""

    def getStateToCopyFor(self, perspective: User) -> dict[str, str]:
        return {"text": f"for {perspective.name}"}

    def getTypeToCopy(self) -> bytes:
        return b"interop.Note"


class User(pb.Avatar):
    """One login."""

    def __init__(self, realm: Realm, name: str, mind: Any) -> None:
        self.realm = realm
        self.name = name
        self.mind = mind

    def perspective_whoami(self) -> str:
        return self.name

    def perspective_call_mind(self, value: Any) -> Any:
        return self.mind.callRemote("call", value)

    def perspective_board(self) -> Board:
        return self.realm.board

    def perspective_is_board(self, view: Any) -> bool:
        return isinstance(view, pb.ViewPoint) and view.object is self.realm.board and view.perspective is self

    def perspective_secret_note(self) -> SecretNote:
        return SecretNote("nobody's")

    def perspective_attached(self) -> list[str]:
        return sorted(user.name for user in self.realm.users)


@implementer(portal.IRealm)
class Realm:
    """Makes avatars, and forgets them when they leave."""

    def __init__(self) -> None:
        self.board = Board()
        self.users: list[User] = []

    def requestAvatar(self, avatarId: Any, mind: Any, *interfaces: Any) -> tuple[Any, Any, Any]:
        name = "anonymous" if avatarId is checkers.ANONYMOUS else avatarId
        # A checker may name its avatars in bytes; that is its affair and not the peers'.
        user = User(self, name.decode() if isinstance(name, bytes) else name, mind)
        self.users.append(user)
        return pb.IPerspective, user, lambda: self.users.remove(user)


def login_portal() -> Any:
    """The portal of `--portal`."""
    known: Any = checkers.InMemoryUsernamePasswordDatabaseDontUse()
    for name, password in USERS.items():
        # PB hands the name over as it arrived, as text, while the challenge's digest is made of bytes.
        known.addUser(name, password.encode())
        known.addUser(name.encode(), password.encode())
    anonymous: Any = checkers.AllowAnonymousAccess()
    assert credentials.IAnonymous in anonymous.credentialInterfaces
    realm: Any = Realm()
    return portal.Portal(realm, [known, anonymous])


class UntilInputEnds(protocol.Protocol):
    """Stops the reactor when the parent closed our standard input."""

    def connectionLost(self, reason: Any = None) -> None:
        if _reactor.running:
            _reactor.stop()


def main() -> None:
    parser = argparse.ArgumentParser(description="A Twisted PB server for interoperability tests.")
    parser.add_argument("--tcp", type=int, metavar="PORT", help="listen on this port of 127.0.0.1; 0 for any")
    parser.add_argument("--unix", metavar="PATH", help="listen on this Unix socket")
    parser.add_argument("--portal", action="store_true", help="ask for a login first")
    parser.add_argument("--unsafe-tracebacks", action="store_true", help="let tracebacks cross")
    options = parser.parse_args()
    if options.tcp is None and options.unix is None:
        parser.error("nothing to listen on: give --tcp, --unix or both")

    log.startLogging(sys.stderr, setStdout=False)
    root = login_portal() if options.portal else ContractRoot()
    factory: Any = pb.PBServerFactory(root, unsafeTracebacks=options.unsafe_tracebacks)
    urls = []
    if options.tcp is not None:
        port = _reactor.listenTCP(options.tcp, factory, interface="127.0.0.1")
        urls.append(f"tcp://127.0.0.1:{port.getHost().port}")
    if options.unix is not None:
        _reactor.listenUNIX(options.unix, factory)
        urls.append(f"unix://{options.unix}")

    about = {
        "urls": urls,
        "pid": os.getpid(),
        "twisted": twisted.__version__,
        "python": platform.python_version(),
    }
    print(json.dumps(about), flush=True)
    # After the line: a StandardIO makes standard output non-blocking.
    stdio.StandardIO(UntilInputEnds())
    _reactor.run()


if __name__ == "__main__":
    main()
