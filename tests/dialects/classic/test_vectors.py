"""The messages of real Twisted peers (tests/vectors), encoded and decoded by us, and replayed with our broker."""

from __future__ import annotations

import ast
import datetime
import gc
import json
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

import perspective_broker as pb
from perspective_broker.dialects.classic import PB
from perspective_broker.dialects.classic.banana import encode
from perspective_broker.flavors import Observer
from perspective_broker.registry import Registry
from perspective_broker.testing import Clock, End, Later, Outcome, SansIOReference, broker_leaks
from tests.dialects.classic.coding import SPELLINGS, from_lists, read, to_bytes

VECTORS = Path(__file__).parents[2] / "vectors"
VALUES = {row["name"]: row for row in json.loads((VECTORS / "values.json").read_text())["values"]}
SESSIONS = json.loads((VECTORS / "sessions.json").read_text())["sessions"]


def python(row: dict[str, Any]) -> Any:
    """Return the row's value. A literal does not show shared parts."""
    if row["name"] == "shared list":
        return [inner := [1, 2], inner]
    return eval(row["python"], {"Decimal": Decimal, "datetime": datetime})


@pytest.mark.parametrize("dialect", SPELLINGS)
@pytest.mark.parametrize("row", VALUES.values(), ids=VALUES)
def test_value(row: dict[str, Any], dialect: str) -> None:
    value, jelly, data = python(row), ast.literal_eval(row["jelly"]), bytes.fromhex(row["banana"][dialect])
    assert to_bytes(value, dialect=dialect) == data
    assert encode(jelly, SPELLINGS[dialect]) == data
    for chunks in (data, [data[at : at + 1] for at in range(len(data))]):
        assert read(chunks, words=dialect == "pb") == [jelly]
    arrived = from_lists(jelly)
    assert repr(arrived) == repr(value)
    if row["name"] == "shared list":
        assert arrived[0] is arrived[1]


def test_no_value_is_left_out() -> None:
    assert len(VALUES) == 38


# -- sessions


class Note(pb.Copyable, pb.RemoteCopy):
    text: Any

    def __init__(self, text: Any) -> None:
        self.text = text

    def get_type_to_copy(self) -> str:
        return "vectors.Note"


class Score(pb.Cacheable):
    def __init__(self) -> None:
        self.points = 0
        self.observers: list[Observer] = []
        self.stopped = 0

    def get_type_to_copy(self) -> str:
        return "vectors.Score"

    def get_state_to_cache_and_observe_for(self, perspective: Any, observer: Any) -> Any:
        self.observers.append(observer)
        return {"points": self.points}

    def stopped_observing(self, perspective: Any, observer: Any) -> None:
        self.observers.remove(observer)
        self.stopped += 1


class RemoteScore(pb.RemoteCache):
    points: int

    def observe_points(self, points: int) -> None:
        self.points = points


REGISTRY = Registry()
REGISTRY.set_unjellyable_for_class("vectors.Note", Note)
REGISTRY.set_unjellyable_for_class("vectors.Score", RemoteScore)


class Named(pb.Referenceable):
    def __init__(self, name: str) -> None:
        self._name = name

    def remote_name(self) -> str:
        return self._name


class Desk(pb.Root):
    """The server of the sessions."""

    def __init__(self) -> None:
        self.told: list[Any] = []
        self.shared = Score()
        self.relayed: tuple[Outcome, Later] | None = None

    def remote_echo(self, value: Any) -> Any:
        self.told.append(value)
        return value

    def remote_add(self, a: int, b: int) -> int:
        return a + b

    def remote_thing(self, name: str) -> Named:
        return Named(name)

    def remote_note(self, text: str) -> Note:
        return Note(text)

    def remote_unknown(self) -> None:
        raise KeyError("nothing")

    def remote_callback(self, theirs: SansIOReference, times: int) -> Later:
        self.relayed = theirs.call("name"), Later()
        return self.relayed[1]

    def relay(self) -> None:
        """Answer with the result of our own call, as soon as there is one."""
        if self.relayed is not None and self.relayed[0].done:
            outcome, later = self.relayed
            self.relayed = None
            later.answer(outcome.result())

    def remote_score(self) -> Score:
        return self.shared

    def remote_win(self, points: int) -> None:
        self.shared.points += points
        [observer] = self.shared.observers
        observer.call("points", self.shared.points)  # type: ignore[attr-defined]


def end(*, server: bool, root: Desk | None = None) -> End:
    return End(Clock(), server=server, root=root, registry=REGISTRY, dialects=["pb", "none"])


class Visit:
    """The client of one session: takes the next step when it does not wait for anything.

    A step is a call of the root, or a function that gets the visit as its argument.
    """

    def __init__(self, *steps: Callable[[Visit], Outcome | None]) -> None:
        self.client = end(server=False)
        self.value: Any = None  # of the last call,
        self.error: Exception | None = None  # and how it failed
        self.kept: list[Any] = []
        self._steps = list(steps)
        self._outcome: Outcome | None = None

    def go_on(self) -> None:
        if self._outcome is not None and self._outcome.done:
            self.value, self.error, self._outcome = self._outcome.value, self._outcome.error, None
        if self.client.opened:
            while self._outcome is None and self._steps:
                self._outcome = self._steps.pop(0)(self)

    @property
    def over(self) -> bool:
        return self._outcome is None and not self._steps


def call(name: str, *args: Any, **kwargs: Any) -> Callable[[Visit], Outcome]:
    return lambda visit: visit.client.root.call(name, *args, **kwargs)


def tell(name: str, *args: Any) -> Callable[[Visit], None]:
    return lambda visit: visit.client.root.tell(name, *args)


def lend(visit: Visit) -> Outcome:
    visit.kept = [Named("mine")]
    return visit.client.root.call("callback", visit.kept[0], 1)


def call_it(visit: Visit) -> Outcome:
    outcome: Outcome = visit.value.call("name")
    return outcome


def keep_points(visit: Visit) -> None:
    """The messages of the session are its result; the replicas are dropped."""
    visit.value = visit.kept.pop().points
    visit.kept.clear()


def keep(visit: Visit) -> None:
    visit.kept.append(visit.value)
    visit.value = None


#: The client's actions in each session, and its results.
REPLAYED: dict[str, tuple[list[Callable[[Visit], Outcome | None]], Callable[[Visit], Any]]] = {
    "echo of a dict": (
        [call("echo", {"user": "alice", "n": 42, "tags": ["a", "b"], "ratio": 0.5})],
        lambda visit: visit.value,
    ),
    "keyword arguments": ([call("add", 1, b=41)], lambda visit: visit.value),
    "call with no answer required": ([tell("echo", "no answer")], lambda visit: visit.value),
    "a reference: returned, called, released": ([call("thing", "box"), call_it], lambda visit: visit.value),
    "a callback: the client's object called by the server": ([lend], lambda visit: visit.value),
    "a copyable": ([call("note", "remember")], lambda visit: vars(visit.value)),
    "a cacheable: cached, sent again, observed, dropped": (
        [call("score"), keep, call("score"), keep, call("win", 3), keep_points],
        lambda visit: visit.value,
    ),
    "an unexpected exception": (
        [call("unknown")],
        lambda visit: (visit.error.type.encode(), visit.error.value),  # type: ignore[union-attr]
    ),
}  # fmt: skip

#: Sessions that need the library's logins: not replayed here.
WAITING = {"portal login": "the portal's login"}


def test_every_session_is_replayed_or_waits_for_something() -> None:
    assert REPLAYED.keys() | WAITING.keys() == SESSIONS.keys()
    assert not REPLAYED.keys() & WAITING.keys()


def canonical(expression: Any) -> Any:
    """Return an expression without what a sender may choose: the order of dictionaries, details of failures."""
    if not isinstance(expression, list):
        return expression
    if expression[:1] == [b"twisted.spread.pb.CopyableFailure"]:
        state = from_lists(expression[1])
        return {key: state[key] for key in ("type", "value", "parents", "traceback")}
    parts = [canonical(part) for part in expression]
    return [parts[0], *sorted(parts[1:], key=repr)] if parts[:1] == [b"dictionary"] else parts


def recorded(name: str, side: str) -> list[Any]:
    return [canonical(ast.literal_eval(text)) for text in SESSIONS[name]["expressions"][side]]


def said(data: bytes) -> list[Any]:
    return [canonical(expression) for expression in read(data)]


@pytest.mark.parametrize("bytewise", [False, True], ids=["whole", "bytewise"])
@pytest.mark.parametrize("name", REPLAYED)
def test_our_server_answers_a_twisted_client(name: str, bytewise: bool) -> None:
    desk = Desk()
    server = end(server=True, root=desk)
    output = server.take()
    for sender, data in SESSIONS[name]["chunks"]:
        if sender == "client":
            chunk = bytes.fromhex(data)
            for piece in [chunk[at : at + 1] for at in range(len(chunk))] if bytewise else [chunk]:
                server.receive(piece)
            desk.relay()
            gc.collect()
            output += server.take()
    assert said(output) == recorded(name, "server")
    assert server.code == ""
    assert not broker_leaks(server.broker)
    if "no answer" in name:
        assert desk.told == ["no answer"]
    if "cacheable" in name:
        assert desk.shared.stopped == 1


@pytest.mark.parametrize("bytewise", [False, True], ids=["whole", "bytewise"])
@pytest.mark.parametrize("name", REPLAYED)
def test_our_client_calls_a_twisted_server(name: str, bytewise: bool) -> None:
    steps, result = REPLAYED[name]
    visit = Visit(*steps)
    output = b""
    for sender, data in SESSIONS[name]["chunks"]:
        if sender == "server":
            chunk = bytes.fromhex(data)
            for piece in [chunk[at : at + 1] for at in range(len(chunk))] if bytewise else [chunk]:
                visit.client.receive(piece)
            visit.go_on()
            gc.collect()
            output += visit.client.take()
    assert visit.over
    assert said(output) == recorded(name, "client")
    assert result(visit) == ast.literal_eval(SESSIONS[name]["result"])
    assert visit.client.code == ""
    visit.kept.clear()
    visit.client.take()
    assert not broker_leaks(visit.client.broker)


# -- 2002: these sessions need the old login; here their messages are only decoded and encoded

OLD = json.loads((VECTORS / "sessions-2002.json").read_text())["sessions"]


def old(expression: Any) -> Any:
    """Return an expression of the old vectors' notation."""
    if isinstance(expression, list):
        return [old(part) for part in expression]
    if isinstance(expression, dict):
        [(kind, value)] = expression.items()
        return float(value) if kind == "f" else value.encode("latin-1")
    return expression


@pytest.mark.parametrize("name", OLD)
def test_the_bytes_of_2002_are_read_and_written(name: str) -> None:
    rows = [row for row in OLD[name] if "hex" in row]
    assert len(rows) >= 4
    for row in rows:
        data, expression = bytes.fromhex(row["hex"]), old(row["expression"])
        assert read(data) == [expression]
        assert read(encode(expression, PB)) == [expression]
