"""What crosses, and how the model writes it down.

The model never looks at a live value to know what to expect: beside each value stands its *description*, made of
numbers, texts, containers and the words of this module. A call stands for its answer.
"""

from __future__ import annotations

import weakref
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any
from weakref import WeakValueDictionary

import perspective_broker as pb
from tests.lives.history import Call

__all__ = ["Objects", "Odd", "Oddity", "Packed", "Parcel", "Streamed", "Thing", "make_registry", "parts", "things", "words"]


@dataclass(frozen=True, slots=True)
class Thing:
    """An object that is sent by reference: the ``number``-th one of the end that is called ``end``."""

    end: str
    number: int

    def __str__(self) -> str:
        return f"{self.end}{self.number}"


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
class Streamed:
    """A stream of so many items."""

    items: int

    def __str__(self) -> str:
        return f"Stream({self.items})"


class Parcel(pb.Copyable, pb.RemoteCopy):
    """Sent by value, with something in it."""

    def __init__(self, content: Any) -> None:
        self.content = content

    def get_type_to_copy(self) -> str:
        return "parcel"


class Oddity(pb.Copyable, pb.RemoteCopy):
    """Sent by value, and decodable only at the end that is called ``end``."""

    def __init__(self, end: str) -> None:
        self.end = end

    def get_type_to_copy(self) -> str:
        return f"oddity.{self.end}"


def make_registry(end: str) -> pb.Registry:
    """Return what one end can decode."""
    registry = pb.Registry()
    registry.set_unjellyable_for_class("parcel", Parcel)
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


def things(description: Any) -> Iterator[Thing]:
    """Give the objects that a description mentions."""
    return (part for part in parts(description) if isinstance(part, Thing))


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
        case Thing() | Packed() | Odd() | Streamed():
            return str(description)
        case _:
            return repr(description)


class Objects:
    """What one end knows by identity: its own objects, and the references that it holds.

    Args:
        end: its name.
    """

    def __init__(self, end: str) -> None:
        self._end = end
        self._own: WeakValueDictionary[Thing, pb.Referenceable] = WeakValueDictionary()
        self._held: dict[Thing, weakref.ref[pb.RemoteReference]] = {}
        self._aliases: list[weakref.ref[pb.RemoteReference]] = []  # named, or released by the program

    def add(self, thing: Thing, obj: pb.Referenceable) -> None:
        """Remember an object of this end."""
        self._own[thing] = obj

    def name(self, reference: pb.RemoteReference) -> None:
        """``reference`` reaches an object by its name, and is another one than those that arrive."""
        self._aliases.append(weakref.ref(reference))

    def released(self, thing: Thing, reference: pb.RemoteReference) -> None:
        """The program gave a reference back; the thing may arrive again, as another one."""
        self._held.pop(thing, None)
        self._aliases.append(weakref.ref(reference))

    def mismatch(self, description: Any, value: Any) -> str:
        """Return in which way ``value``, found at this end, is not what is described; "" when it is."""
        match description:
            case Call():
                if description.answer is None:
                    return f"{_kind(value)} for answer {description.serial}, which there is not"
                return self.mismatch(description.answer.description, value)
            case Thing():
                return self._other_object(description, value)
            case Packed():
                if type(value) is not Parcel:
                    return f"{_kind(value)} instead of a parcel"
                return self.mismatch(description.content, value.content)
            case Odd():
                same = type(value) is Oddity and value.end == description.end
                return "" if same else f"{_kind(value)} instead of an oddity"
            case Streamed():
                return "" if hasattr(value, "__aiter__") else f"{_kind(value)} instead of a stream"
            case list() | tuple():
                if type(value) is not type(description) or len(value) != len(description):
                    return f"{_kind(value)} {value!r:.60} instead of {words(description)}"
                return self._first_mismatch(zip(description, value, strict=True))
            case dict():
                if type(value) is not dict or value.keys() != description.keys():
                    return f"{_kind(value)} {value!r:.60} instead of {words(description)}"
                return self._first_mismatch((part, value[key]) for key, part in description.items())
            case _:
                same = type(value) is type(description) and value == description
                return "" if same else f"{_kind(value)} {value!r:.60} instead of {words(description)}"

    def _first_mismatch(self, pairs: Iterator[tuple[Any, Any]]) -> str:
        return next(filter(None, (self.mismatch(part, value) for part, value in pairs)), "")

    def _other_object(self, thing: Thing, value: Any) -> str:
        if thing.end == self._end:
            return "" if value is self._own.get(thing) else f"{_kind(value)} instead of {thing} itself"
        if not isinstance(value, pb.RemoteReference):
            return f"{_kind(value)} instead of a reference to {thing}"
        if any(alias() is value for alias in self._aliases):
            return ""
        known = self._held.get(thing)
        held = None if known is None else known()
        if held is None:
            self._held[thing] = weakref.ref(value)
        elif held is not value:
            return f"a second reference to {thing}"
        others = (other for other, known in self._held.items() if known() is value)
        return next((f"one reference to {thing} and {other}" for other in others if other != thing), "")


def _kind(value: Any) -> str:
    return f"a {type(value).__name__}"
