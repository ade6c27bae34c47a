"""The values that cross, and their descriptions in the model.

The model never looks at a live value to know what to expect: beside each value stands its *description*, made of
numbers, texts, containers and the words of this module. A call stands for its answer.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, ClassVar
from weakref import WeakValueDictionary

import perspective_broker as pb
from tests.lives.history import Call

__all__ = [
    "Counter",
    "Objects",
    "Odd",
    "Oddity",
    "Packed",
    "Parcel",
    "Replica",
    "Replicated",
    "Streamed",
    "Thing",
    "Unsendable",
    "crosses",
    "make_registry",
    "parts",
    "things",
    "words",
]


@dataclass(frozen=True, slots=True)
class Thing:
    """An object that is sent by reference: the ``number``-th one of the end that is called ``end``."""

    end: str
    number: int
    passes_on: ClassVar[bool] = True

    def __str__(self) -> str:
        return f"{self.end}{self.number}"


@dataclass(frozen=True, slots=True)
class Replicated:
    """A :class:`Counter`, which arrives as a :class:`Replica`: the ``number``-th object of an end."""

    end: str
    number: int
    passes_on: ClassVar[bool] = False

    def __str__(self) -> str:
        return f"Counter({self.end}{self.number})"


@dataclass(frozen=True, slots=True)
class Packed:
    """A :class:`Parcel`."""

    content: Any

    def __str__(self) -> str:
        return f"Parcel({words(self.content)})"


@dataclass(frozen=True, slots=True)
class Odd:
    """An :class:`Oddity`."""

    end: str

    def __str__(self) -> str:
        return f"Oddity({self.end})"


@dataclass(frozen=True, slots=True)
class Unsendable:
    """Describes itself: an object without a flavor, which cannot be encoded."""

    def __str__(self) -> str:
        return "Unsendable"


@dataclass(frozen=True, slots=True)
class Streamed:
    """A stream of so many items."""

    items: int

    def __str__(self) -> str:
        return f"Stream({self.items})"


class Parcel(pb.Copyable, pb.RemoteCopy):
    """Sent by value, with something in it.

    Args:
        content: what crosses.
        hook: called when the parcel is first encoded; None for nothing.
    """

    content: Any
    _hook: Callable[[], object] | None = None

    def __init__(self, content: Any, hook: Callable[[], object] | None = None) -> None:
        self.content = content
        self._hook = hook

    def get_type_to_copy(self) -> str:
        return "parcel"

    def get_state_to_copy(self) -> Any:
        hook, self._hook = self._hook, None
        if hook is not None:
            hook()
        return {"content": self.content}


class Oddity(pb.Copyable, pb.RemoteCopy):
    """Sent by value, and decodable only at the end that is called ``end``."""

    def __init__(self, end: str) -> None:
        self.end = end

    def get_type_to_copy(self) -> str:
        return f"oddity.{self.end}"


class Counter(pb.Cacheable):
    """Replicated: each change is one more than the last, so a replica knows when it missed one.

    Attributes:
        begun, ended: how many observers it was given, and how many of them have been taken back.
    """

    def __init__(self, description: Replicated) -> None:
        self.description = description
        self.value = 0
        self.begun = self.ended = 0
        self._observers: list[pb.annotations.RemoteCacheObserver] = []

    def get_type_to_copy(self) -> str:
        return "counter"

    def get_state_to_cache_and_observe_for(self, perspective: Any, observer: Any) -> Any:
        self.begun += 1
        self._observers.append(observer)
        return {"value": self.value}

    def stopped_observing(self, perspective: Any, observer: Any) -> None:
        self.ended += 1
        self._observers.remove(observer)

    def change(self) -> None:
        self.value += 1
        for observer in list(self._observers):
            with suppress(pb.DeadReferenceError):  # the connection is ending, and will take the observer back
                observer.tell("value", self.value)


class Replica(pb.RemoteCache):
    """The replica of a :class:`Counter`."""

    value: int
    missed = False

    def observe_value(self, value: int) -> None:
        self.missed |= value != self.value + 1
        self.value = value


def make_registry(end: str) -> pb.registry.Registry:
    """Return what one end can decode."""
    registry = pb.registry.Registry()
    registry.set_unjellyable_for_class("parcel", Parcel)
    registry.set_unjellyable_for_class("counter", Replica)
    registry.set_unjellyable_for_class(f"oddity.{end}", Oddity)
    return registry


def parts(description: Any) -> Iterator[Any]:
    """Give a description and all that is in it; a call in it stands for itself."""
    yield description
    match description:
        case Packed():
            yield from parts(description.content)
        case list() | tuple():
            for part in description:
                yield from parts(part)
        case dict():
            for part in description.values():
                yield from parts(part)


def things(description: Any) -> Iterator[Thing | Replicated]:
    """Give the objects that a description mentions, and that have an end where they live."""
    return (part for part in parts(description) if isinstance(part, (Thing, Replicated)))


def crosses(description: Any) -> bool:
    """Return whether a description mentions nothing that one of the ends cannot encode or decode."""
    return not any(isinstance(part, (Odd, Unsendable)) for part in parts(description))


def words(description: Any) -> str:
    """Return a short text for a description."""
    match description:
        case Call():
            return f"answer {description.serial}"
        case list():
            return f"[{', '.join(map(words, description))}]"
        case tuple():
            return f"({', '.join(map(words, description))})"
        case dict():
            return f"{{{', '.join(f'{key}: {words(value)}' for key, value in description.items())}}}"
        case bytes() if len(description) > 8:
            return f"{len(description)} bytes"
        case Thing() | Replicated() | Packed() | Odd() | Unsendable() | Streamed():
            return str(description)
        case _:
            return repr(description)


class Objects:
    """The objects that one end knows by identity: its own, and the references and replicas that it holds.

    Args:
        end: its name.
    """

    def __init__(self, end: str) -> None:
        self._end = end
        self._own: WeakValueDictionary[Thing | Replicated, Any] = WeakValueDictionary()
        self._held: dict[Thing | Replicated, weakref.ref[Any]] = {}
        self._aliases: list[weakref.ref[pb.RemoteReference]] = []  # named, or released by the program

    def add(self, description: Thing | Replicated, obj: object) -> None:
        """Remember an object of this end."""
        self._own[description] = obj

    def name(self, reference: pb.RemoteReference) -> None:
        """``reference`` reaches an object by its name, and is another one than those that arrive."""
        self._aliases.append(weakref.ref(reference))

    def released(self, thing: Thing, reference: pb.RemoteReference) -> None:
        """The program gave a reference back; the thing may arrive again, as another one."""
        self._held.pop(thing, None)
        self._aliases.append(weakref.ref(reference))

    def mismatch(self, description: Any, value: Any, *, at_home: bool = False) -> str:
        """Return in which way ``value``, found at this end, is not what is described; "" when it is.

        Args:
            description: of it.
            value: itself.
            at_home: it is in an argument of a call that was made here, which takes the program's own objects.
        """
        match description:
            case Call() if at_home and isinstance(value, pb.Promise):
                return ""
            case Call():
                if description.answer is None:
                    return f"{_kind(value)} for answer {description.serial}, which there is not"
                return self.mismatch(description.answer.description, value, at_home=at_home)
            case Thing() | Replicated():
                return self._other_object(description, value)
            case Packed():
                if type(value) is not Parcel:
                    return f"{_kind(value)} instead of a parcel"
                return self.mismatch(description.content, value.content, at_home=at_home)
            case Odd():
                same = type(value) is Oddity and value.end == description.end
                return "" if same else f"{_kind(value)} instead of an oddity"
            case Streamed():
                return "" if hasattr(value, "__aiter__") else f"{_kind(value)} instead of a stream"
            case list() | tuple():
                if type(value) is not type(description) or len(value) != len(description):
                    return f"{_kind(value)} {value!r:.60} instead of {words(description)}"
                return self._first_mismatch(zip(description, value, strict=True), at_home)
            case dict():
                if type(value) is not dict or value.keys() != description.keys():
                    return f"{_kind(value)} {value!r:.60} instead of {words(description)}"
                return self._first_mismatch(
                    ((part, value[key]) for key, part in description.items()), at_home
                )
            case _:
                same = type(value) is type(description) and value == description
                return "" if same else f"{_kind(value)} {value!r:.60} instead of {words(description)}"

    def _first_mismatch(self, pairs: Iterator[tuple[Any, Any]], at_home: bool) -> str:
        found = (self.mismatch(part, value, at_home=at_home) for part, value in pairs)
        return next(filter(None, found), "")

    def _other_object(self, description: Thing | Replicated, value: Any) -> str:
        if description.end == self._end:
            same = value is self._own.get(description)
            return "" if same else f"{_kind(value)} instead of {description} itself"
        if not isinstance(value, pb.RemoteReference if isinstance(description, Thing) else Replica):
            return f"{_kind(value)} for {description}"
        if any(alias() is value for alias in self._aliases):
            return ""
        known = self._held.get(description)
        held = None if known is None else known()
        if held is None:
            self._held[description] = weakref.ref(value)
        elif held is not value:
            return f"a second {type(value).__name__} for {description}"
        others = (other for other, known in self._held.items() if known() is value)
        return next(
            (f"{_kind(value)} for {description} and {other}" for other in others if other != description), ""
        )

    def stale_replicas(self, owner: Objects) -> list[str]:
        """Return which replicas here are not as their originals are, when no update is under way."""
        found = []
        for description, held in self._held.items():
            replica, original = held(), owner._own.get(description)
            if not (isinstance(replica, Replica) and isinstance(original, Counter)):
                continue
            if replica.missed or replica.value != original.value:
                found.append(f"{description} is {replica.value} at {self._end} instead of {original.value}")
        return found

    def observed(self) -> list[str]:
        """Return which counters of this end believe that they are observed."""
        counters = [own for own in self._own.values() if isinstance(own, Counter)]
        return [
            f"{own.description}: {own.begun} observers came and {own.ended} went"
            for own in sorted(counters, key=lambda own: own.description.number)
            if own.begun != own.ended
        ]


def _kind(value: Any) -> str:
    return f"a {type(value).__name__}"
