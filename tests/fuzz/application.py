"""The application behind the fuzzed broker, with one object of each kind.

It runs on :class:`perspective_broker.testing.End`, without an event loop; :mod:`.connection` has the objects that need
one.
"""

from __future__ import annotations

import dataclasses
import enum
from typing import Any

import perspective_broker as pb
from perspective_broker.testing import Later, Outcome, SansIOReference

__all__ = ["REGISTRY", "Desk", "Score"]


class Note(pb.Copyable, pb.RemoteCopy):
    text: Any

    def __init__(self, text: Any = "") -> None:
        self.text = text

    def get_type_to_copy(self) -> str:
        return "fuzz.Note"


class Color(enum.Enum):
    RED = "red"
    ONE = 1


@dataclasses.dataclass
class Job:
    """A registered value."""

    name: str = ""
    numbers: list[int | None] = dataclasses.field(default_factory=list)
    color: Color | None = None
    parts: list[Job] = dataclasses.field(default_factory=list)


class Picky(pb.RemoteCopy):
    """A copy that does not take every state."""

    def set_copyable_state(self, state: Any) -> None:
        self.first = state["first"]


class RemoteScore(pb.RemoteCache):
    points: Any = 0

    def observe_points(self, points: Any) -> Any:
        self.points = points
        return self.points

    def observe_keep(self, *things: Any) -> None:
        self.things = things


class Score(pb.Cacheable):
    """Counts the observers that got it, and those that were notified of the end."""

    def __init__(self) -> None:
        self.points = 0
        self.observers: list[Any] = []
        self.asked = 0
        self.stopped = 0

    def get_type_to_copy(self) -> str:
        return "fuzz.Score"

    def get_state_to_cache_and_observe_for(self, perspective: Any, observer: Any) -> Any:
        self.asked += 1
        self.observers.append(observer)
        observer.tell("points", self.points)  # right behind the state
        return {"points": self.points}

    def stopped_observing(self, perspective: Any, observer: Any) -> None:
        self.observers.remove(observer)
        self.stopped += 1

    def win(self, points: Any) -> None:
        for observer in list(self.observers):
            observer.tell("points", points)


class Thing(pb.Referenceable):
    """An object that knows only its name, and its former name."""

    def remote_name(self) -> str:
        return "thing"

    def remote_self(self) -> Thing:
        return self

    def remote_keep(self, *things: Any) -> None:
        self.things = things


class Room(pb.Viewable):
    def view_say(self, who: Any, *what: Any) -> Any:
        return [what, self, who]

    def view_name(self, who: Any) -> str:
        return "room"


class Person(pb.Perspective):
    room = Room()

    def perspective_room(self) -> Room:
        return self.room

    def perspective_keep(self, *things: Any) -> Any:
        return things


REGISTRY = pb.registry.Registry()
for prefix in ("fuzz", "vectors"):
    REGISTRY.set_unjellyable_for_class(f"{prefix}.Note", Note)
    REGISTRY.set_unjellyable_for_class(f"{prefix}.Score", RemoteScore)
REGISTRY.set_unjellyable_for_class("fuzz.Picky", Picky)
pb.value("fuzz.Job", registry=REGISTRY)(Job)
pb.value("fuzz.Color", registry=REGISTRY)(Color)
REGISTRY.set_unjellyable_factory_for_class("fuzz.Made", lambda state: ("made", state))


class Desk(pb.Root):
    """The root on either side; its methods are also those of the recorded sessions."""

    def __init__(self) -> None:
        self.kept: list[Any] = []
        self.later: list[Later] = []
        self.score = Score()
        self.outcomes: list[Outcome] = []  # of our calls to the peer

    def called(self, outcome: Outcome) -> Outcome:
        self.outcomes.append(outcome)
        return outcome

    def remote_echo(self, *things: Any) -> Any:
        return things[0] if len(things) == 1 else things

    def remote_keep(self, *things: Any, **more: Any) -> None:
        self.kept.extend(things)

    def remote_drop(self) -> None:
        self.kept.clear()

    def remote_give(self) -> Any:
        return self.kept[-1]

    def remote_later(self, *things: Any) -> Later:
        self.later.append(Later())
        return self.later[-1]

    def next_later(self, number: int = 0) -> Later | None:
        """Return a method that has not ended, and forget it. (One that our own promise called was never begun.)"""
        self.later = [later for later in self.later if later._end is not None]
        return self.later.pop(number % len(self.later)) if self.later else None

    def remote_answer(self, value: Any = None) -> None:
        later = self.next_later()
        if later is not None:
            later.answer(value)

    def remote_refuse(self, why: Any = None) -> None:
        raise pb.Error(f"not a {type(why).__name__}")

    def remote_unknown(self) -> None:
        raise KeyError("nothing")

    def remote_junk(self) -> object:
        return object()

    def remote_me(self) -> Desk:
        return self

    def remote_thing(self, *args: Any) -> Thing:
        return Thing()

    def remote_note(self, text: Any = None) -> Note:
        return Note(text)

    def remote_person(self) -> Person:
        return Person("person")

    def remote_score(self) -> Score:
        return self.score

    def remote_win(self, points: Any = 1) -> None:
        self.score.win(points)

    def remote_add(self, a: Any, b: Any = 1) -> Any:
        return a + b

    def remote_graph(self) -> Any:
        ring: list[Any] = [Thing()]
        ring.append(ring)
        return pb.Graph(ring)

    def remote_callback(self, theirs: SansIOReference, times: int = 1) -> Later:
        """Call back, and answer with the answer."""
        outcome = self.called(theirs.call("name", Thing()))
        self.later.append(later := Later())
        outcome.when_done = lambda: self.end_of(later, outcome)
        return later

    def end_of(self, later: Later, outcome: Outcome) -> None:
        if later._end is not None:
            if outcome.error is not None:
                later.fail(outcome.error)
            else:
                later.answer(outcome.value)

    def remote_chain(self, theirs: SansIOReference) -> None:
        """Call an answer, and pass it as an argument, before it is there."""
        first = self.called(theirs.call("self"))
        second = self.called(first.call("name"))
        self.called(theirs.call("keep", first, [second]))
        theirs.tell("keep", first)
