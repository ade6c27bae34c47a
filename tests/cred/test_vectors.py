"""Logins that real peers had with each other, replayed at ours: today's Twisted, and two programs of 2002."""

from __future__ import annotations

import ast
import asyncio
import gc
import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

import perspective_broker as pb
from perspective_broker.cred.verifiers import legacy_response
from perspective_broker.testing import ScriptedPeer
from tests.cred.logins import ITERATIONS, turns

VECTORS = Path(__file__).parents[1] / "vectors"
TODAY = json.loads((VECTORS / "sessions.json").read_text())["sessions"]
OF_2002 = json.loads((VECTORS / "sessions-2002.json").read_text())["sessions"]

FAILURE = b"twisted.spread.pb.CopyableFailure"


def plain(expression: Any) -> Any:
    """Return an expression of sessions-2002.json as nested lists of bytes, ints and floats."""
    if isinstance(expression, list):
        return [plain(item) for item in expression]
    if isinstance(expression, dict):
        ((kind, value),) = expression.items()
        return float(value) if kind == "f" else value.encode("latin-1")
    return expression


class Replay:
    """One session: sends the client's messages, and compares our server's messages with the other server's.

    The server's own choice, and not compared, are its ids, its challenges, and the time of its releases.

    Args:
        peer: connected, and past the greeting.
        password: whose digests the client sent.
    """

    def __init__(self, peer: ScriptedPeer, password: str) -> None:
        self.peer = peer
        self.password = password
        self.ids: dict[int, int] = {}  # of objects: the other server's -> ours
        self.replicas: dict[int, int] = {}  # the same of cacheables
        self.challenges: list[tuple[bytes, bytes]] = []  # the other server's and ours
        self.released: Counter[int] = Counter()  # the client's objects: by the other server, less by ours

    async def run(self, session: list[tuple[str, Any]]) -> None:
        for sender, expression in session:
            if sender == "client":
                self.peer.send(self.ours(expression))
            elif expression[0] == b"decref":
                self.released[expression[1]] += 1
            else:
                self.compare(await self.next(), expression)
        # Our releases are sent as soon as nothing here holds the references.
        gc.collect()
        request = 10_000
        self.peer.send([b"message", request, b"nobody", b"hello", 1, [b"tuple"], [b"dictionary"]])
        assert (await self.next())[:2] == [b"error", request]
        assert +self.released == Counter()

    async def next(self) -> Any:
        """Return the next message of our server that is not a release."""
        while True:
            expression = await self.peer.read()
            assert b"boolean" not in expression
            if expression[0] != b"decref":
                return expression
            self.released[expression[1]] -= 1

    def ours(self, said: Any) -> Any:
        """Return the client's message, with our ids and the response to our challenge."""
        said = [*said]
        if said[0] == b"decref":
            said[1] = self.ids[said[1]]
        elif said[0] == b"decache":
            said[1] = self.replicas[said[1]]
        elif said[0] == b"message":
            if isinstance(said[2], int):
                said[2] = self.ids[said[2]]
            said[5] = self._homecoming(said[5])
            if said[3] == b"respond":
                theirs, challenge = self.challenges.pop(0)
                fits = said[5][1] == legacy_response(self.password, theirs)
                said[5][1] = legacy_response(self.password if fits else "wrong", challenge)
        return said

    def _homecoming(self, value: Any) -> Any:
        if not isinstance(value, list):
            return value
        if value[:1] == [b"local"]:
            return [value[0], self.ids[value[1]]]
        if value[:1] == [b"lcache"]:
            return [value[0], self.replicas[value[1]]]
        return [self._homecoming(item) for item in value]

    def compare(self, ours: Any, theirs: Any) -> None:
        if theirs[0] == b"error":
            assert ours[:2] == theirs[:2]
            self._compare_failures(ours[2], theirs[2])
            return
        if theirs[0] == b"cachemessage":
            assert ours[2] == self.replicas[theirs[2]]
            ours = [*ours[:2], theirs[2], *ours[3:]]
        elif theirs[0] == b"uncache":
            assert ours[1] == self.replicas[theirs[1]]
            ours = theirs
        elif theirs[0] == b"answer":
            challenge = theirs[2][1] if isinstance(theirs[2], list) and len(theirs[2]) == 3 else None
            if type(challenge) is bytes and len(challenge) == 16 and theirs[2][2][0] == b"remote":
                assert len(ours[2][1]) == 16
                self.challenges.append((challenge, ours[2][1]))
                ours[2][1] = challenge
        assert self._same_ids(ours, theirs) == theirs

    def _same_ids(self, ours: Any, theirs: Any) -> Any:
        """Return our server's message with the other server's ids, where it contains one."""
        if not isinstance(ours, list) or not isinstance(theirs, list) or len(ours) != len(theirs) or not ours:
            return ours
        first = theirs[0]
        known: dict[int, int] | None = None
        if first == b"remote":
            known = self.ids
        elif first == b"cached" or (len(theirs) == 3 and type(first) is bytes and b"." in first):
            known = self.replicas
        if known is not None:
            assert known.setdefault(theirs[1], ours[1]) == ours[1]
            ours = [ours[0], theirs[1], *ours[2:]]
        if theirs[0] == b"dictionary":  # whose order is the sender's choice
            return [ours[0], *sorted(ours[1:], key=theirs.index)] if all(i in theirs for i in ours) else ours
        return [self._same_ids(our, their) for our, their in zip(ours, theirs, strict=True)]

    def _compare_failures(self, ours: Any, theirs: Any) -> None:
        assert ours[0] == theirs[0] == FAILURE
        our, their = dict(ours[1][1:]), dict(theirs[1][1:])
        assert all(type(key) is bytes for key in our)
        assert set(their) <= set(our)
        assert (our[b"type"], our[b"value"]) == (their[b"type"], their[b"value"])
        # StandardError is a class of Python 2 alone. The other server named the class itself last.
        expected = {name for name in their[b"parents"] if name != b"exceptions.StandardError"}
        assert expected <= set(our[b"parents"])


# -- today's Twisted


class User(pb.Perspective):
    mind: Any

    def perspective_whoami(self) -> bytes:
        return self.name.encode()

    async def perspective_poke(self) -> Any:
        return await self.mind.call("name")


class Realm:
    def request_avatar(self, avatar_id: Any, mind: Any) -> User:
        user = User(avatar_id)
        user.mind = mind
        return user


async def known(**users: str) -> pb.MemoryAuthorizer:
    authorizer = pb.MemoryAuthorizer(iterations=ITERATIONS)
    for name, password in users.items():
        await authorizer.create(name, password, legacy=True)
    return authorizer


async def test_the_portal_login_of_todays_twisted() -> None:
    said = {
        side: map(ast.literal_eval, TODAY["portal login"]["expressions"][side])
        for side in ("client", "server")
    }
    client, server = list(said["client"])[2:], list(said["server"])[2:]
    order = [client.pop(0), server.pop(0), client.pop(0), server.pop(0), client.pop(0)]
    order += [client.pop(0), server.pop(0), client.pop(0), server.pop(0), client.pop(0), server.pop(0)]
    assert not client
    assert not server
    sides = [
        "client",
        "server",
        "client",
        "server",
        "client",
        "client",
        "server",
        "client",
        "server",
        "client",
        "server",
    ]
    session = list(zip(sides, order, strict=True))
    portal = pb.Portal(Realm(), await known(alice="secret"))
    async with (
        pb.serve(portal, "memory:vectors") as serving,
        ScriptedPeer.connect(serving.urls[0], dialect="pb") as peer,
    ):
        await Replay(peer, "secret").run(session)


# -- 2002


class DefinedError(pb.Error):
    __module__ = "__main__"


class Doc(pb.Viewable):
    def view_who(self, perspective: Any) -> str:
        return str(perspective.name)

    def view_add(self, perspective: Any, a: int, b: int) -> int:
        return a + b


class Point(pb.Copyable):
    def __init__(self) -> None:
        self.x, self.y, self.z = 1, {"Hello": "World"}, ["test"]

    def get_type_to_copy(self) -> str:
        return "case.Point"


class Counter2002(pb.Cacheable):
    def __init__(self, events: list[str]) -> None:
        self.n = 0
        self.observers: list[Any] = []
        self.events = events

    def get_type_to_copy(self) -> str:
        return "case.Counter"

    def get_state_to_cache_and_observe_for(self, perspective: Any, observer: Any) -> Any:
        self.observers.append(observer)
        return {"n": self.n}

    def stopped_observing(self, perspective: Any, observer: Any) -> None:
        self.observers.remove(observer)
        self.events.append("stoppedObserving")


class Case(pb.Service):
    def __init__(self) -> None:
        super().__init__("case", Guest)
        self.events: list[str] = []
        self.counter = Counter2002(self.events)


class Guest(pb.Perspective):
    """The perspective of the sessions."""

    @property
    def case(self) -> Case:
        assert isinstance(self.service, Case)
        return self.service

    def attached(self, client: Any, identity: pb.Identity) -> None:
        self.case.events.append(f"attached {self.name}")

    def detached(self, client: Any, identity: pb.Identity) -> None:
        self.case.events.append(f"detached {self.name}")

    def perspective_echo(self, value: Any) -> Any:
        return value

    def perspective_kw(self, a: int, b: int = 2, c: int = 3) -> Any:
        return a, b, c

    def perspective_error(self) -> None:
        raise DefinedError("exception!")

    def perspective_crash(self) -> None:
        raise ValueError("not nice")

    async def perspective_later(self) -> str:
        await asyncio.sleep(0)
        return "done"

    async def perspective_laterFail(self) -> None:
        await asyncio.sleep(0)
        raise KeyError("late")

    async def perspective_callMe(self, ref: Any, value: int) -> Any:
        return await ref.call("hello", value)

    async def perspective_callClient(self, value: int) -> Any:
        return await self.clients[-1].call("hello", value)

    def perspective_same(self, a: Any, b: Any) -> bool:
        return a is b

    def perspective_getDoc(self) -> Doc:
        return Doc()

    def perspective_getPoint(self) -> Point:
        return Point()

    def perspective_getCounter(self) -> Any:
        return [self.case.counter, self.case.counter]

    def perspective_bump(self) -> int:
        counter = self.case.counter
        counter.n += 1
        for observer in counter.observers:
            observer.call("set", counter.n)
        return counter.n

    def perspective_isCounter(self, counter: Any) -> bool:
        return counter is self.case.counter

    def perspective_observers(self) -> int:
        return len(self.case.counter.observers)

    def perspective_events(self) -> list[str]:
        return self.case.events


FAILS = ("login, wrong password", "login, unknown user", "login, a service without a key")


def session_of_2002(name: str) -> list[tuple[str, Any]]:
    """Return a session without its greeting."""
    rows = [(row["from"], plain(row["expression"])) for row in OF_2002[name]]
    version = [b"version", 6]
    assert [e for _, e in rows].count(version) == 2
    return [row for row in rows[2:] if row[1] != version]


async def case() -> pb.Application:
    app = pb.Application("case", await known(guest="guest"))
    app.add_service(Case())
    await app.authorizer.grant("guest", "case")
    return app


def test_no_session_is_left_out() -> None:
    together = {"login step by step", "another login"} | {
        name for name in OF_2002 if name.startswith("a perspective")
    }
    assert set(OF_2002) == {*FAILS, *together}


@pytest.mark.parametrize("name", [name for name in FAILS if name != "login, unknown user"])
async def test_a_login_of_2002_that_fails(name: str) -> None:
    async with (
        pb.serve(await case(), "memory:vectors") as serving,
        ScriptedPeer.connect(serving.urls[0], dialect="pb") as peer,
    ):
        await Replay(peer, "guest").run(session_of_2002(name))


async def test_the_unknown_user_of_2002_hears_what_a_wrong_password_does() -> None:
    # The one intended difference: there `username` answered that the user does not exist.
    (_, asked), (_, refused) = session_of_2002("login, unknown user")
    assert refused == [b"error", 1, b"unauthorized"]
    wrong = session_of_2002("login, wrong password")
    assert wrong[0][1][:5] == asked[:5]
    async with (
        pb.serve(await case(), "memory:vectors") as serving,
        ScriptedPeer.connect(serving.urls[0], dialect="pb") as peer,
    ):
        await Replay(peer, "guest").run([("client", asked), *wrong[1:]])


async def test_the_perspective_of_2002_at_work() -> None:
    (at_work,) = [name for name in OF_2002 if name.startswith("a perspective")]
    async with pb.serve(await case(), "memory:vectors") as serving:
        url = serving.urls[0]
        async with ScriptedPeer.connect(url, dialect="pb") as peer:  # was connected all the time
            await Replay(peer, "guest").run(session_of_2002("login step by step"))
            async with ScriptedPeer.connect(url, dialect="pb") as worker:
                await Replay(worker, "guest").run(session_of_2002(at_work))
            await turns()
            async with ScriptedPeer.connect(url, dialect="pb") as another:
                await Replay(another, "guest").run(session_of_2002("another login"))
