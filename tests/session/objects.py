"""Objects that the tests of the session call, send and replicate."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import perspective_broker as pb
from perspective_broker.flavors import Cacheable, RemoteCache
from perspective_broker.testing import BrokerPair, Later, Outcome

registry = pb.registry.Registry()

#: Set by the fixture of the same name.
dialect = "pb"


def make_pair(root: pb.Referenceable | None = None, **options: Any) -> BrokerPair:
    """Return two connected brokers that know the classes of this module and use :data:`dialect`."""
    return BrokerPair(root or Desk(), registry=registry, dialects=[dialect], **options)


def ended_by(outcome: Outcome) -> Later:
    """Return the outcome of a method that returns the answer of its own call."""
    later = Later()

    def end() -> None:
        if outcome.error is not None:
            later.fail(outcome.error)
        else:
            later.answer(outcome.value)

    outcome.when_done = end
    return later


class Desk(pb.Root):
    """A root that keeps its arguments, and answers when a test makes it."""

    def __init__(self) -> None:
        self.kept: list[Any] = []
        self.later: list[Later] = []

    def remote_echo(self, *args: Any) -> Any:
        return args[0] if len(args) == 1 else args

    def remote_keep(self, *things: Any) -> None:
        self.kept.extend(things)

    def remote_give(self) -> Any:
        """Return the first object that was kept."""
        return self.kept[0]

    def remote_drop(self) -> None:
        self.kept.clear()

    def remote_later(self, *things: Any) -> Later:
        self.later.append(Later())
        return self.later[-1]

    def remote_refuse(self) -> None:
        raise pb.Error("as expected")

    def remote_break(self) -> None:
        raise KeyError("a defect")


class Node(pb.Root):
    """An object that makes others, records its calls, and ends some calls when a test makes it."""

    def __init__(self, log: list[Any] | None = None) -> None:
        self.log: list[Any] = [] if log is None else log
        self.later: list[Later] = []
        self.held: list[Any] = []

    def remote_child(self, mark: Any = None) -> Node:
        self.log.append(mark)
        child = Node(self.log)
        child.later = self.later
        return child

    def remote_mark(self, mark: Any, *things: Any) -> Any:
        self.log.append(mark)
        return mark

    def remote_take(self, *things: Any) -> list[Any]:
        self.log.append(things)
        self.held.extend(things)
        return list(things)

    def remote_same(self, thing: Any) -> Any:
        return thing

    def remote_later(self, *things: Any) -> Later:
        self.later.append(Later())
        return self.later[-1]

    def remote_refuse(self, *things: Any) -> None:
        raise pb.Error("as expected")


class Thing(pb.Referenceable):
    """An object without a state, known by its name."""

    def __init__(self, name: str = "") -> None:
        self.name = name

    def remote_name(self) -> str:
        return self.name


class Hooked(pb.Copyable):
    """A copyable whose state is made by a function of the test."""

    def __init__(self, hook: Callable[[], Any]) -> None:
        self.hook = hook

    def get_type_to_copy(self) -> str:
        return "test.Hooked"

    def get_state_to_copy(self) -> Any:
        return {"value": self.hook()}


@pb.copier_for("test.Hooked", registry=registry)
class HookedCopy(pb.RemoteCopy):
    value: Any


class Trap(pb.Copyable):
    """A copyable that runs :attr:`TrapCopy.sprung` where it arrives."""

    def get_type_to_copy(self) -> str:
        return "test.Trap"


@pb.copier_for("test.Trap", registry=registry)
class TrapCopy(pb.RemoteCopy):
    sprung: Callable[[], None] = staticmethod(lambda: None)

    def set_copyable_state(self, state: Any) -> None:
        type(self).sprung()


class Unregistered(pb.Copyable):
    """A copyable that no peer knows."""


class Counter(Cacheable):
    """A dictionary of numbers that notifies its observers of changes.

    Attributes:
        hook: called with the observer while the state is made.
        stopped: the observers passed to ``stopped_observing``, oldest first.
    """

    def __init__(self, hook: Callable[[Any], Any] | None = None, **numbers: Any) -> None:
        self.numbers = numbers
        self.observers: list[Any] = []
        self.asked: list[Any] = []
        self.stopped: list[tuple[Any, Any]] = []
        self.hook = hook

    def get_type_to_copy(self) -> str:
        return "test.Counter"

    def get_state_to_cache_and_observe_for(self, perspective: Any, observer: Any) -> Any:
        self.asked.append(perspective)
        self.observers.append(observer)
        state = {"numbers": dict(self.numbers), "seen_by": getattr(perspective, "name", "")}
        if self.hook is not None:
            self.hook(observer)
        return state

    def stopped_observing(self, perspective: Any, observer: Any) -> None:
        self.stopped.append((perspective, observer))
        self.observers.remove(observer)

    def set(self, name: str, value: Any) -> None:
        self.numbers[name] = value
        for observer in list(self.observers):
            observer.tell("set", name, value)


@pb.copier_for("test.Counter", registry=registry)
class CounterReplica(RemoteCache):
    numbers: dict[str, Any]
    seen_by: str
    history: list[tuple[str, Any]]

    def set_copyable_state(self, state: Any) -> None:
        super().set_copyable_state(state)
        self.history = []

    def observe_set(self, name: str, value: Any) -> int:
        self.numbers[name] = value
        self.history.append((name, value))
        return len(self.history)

    def updates_ended(self) -> None:
        self.history.append(("ended", None))
