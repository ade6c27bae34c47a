"""Interfaces, and classes that implement them, for several tests. Some are named before they are defined."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from enum import Enum
from typing import Any, Protocol, TypeVar, overload, runtime_checkable

import perspective_broker as pb

T = TypeVar("T")


class Mood(Enum):
    GOOD = "good"
    BAD = "bad"


@dataclass
class Note:
    text: str
    tags: list[str]


@runtime_checkable
class Guest(pb.Interface, Protocol):
    async def arrived(self, who: str) -> None: ...


@runtime_checkable
class Lobby(pb.Interface, Protocol):
    """Where guests come first."""

    async def join(self, name: str, guest: Guest | None = None, *, loud: bool = False) -> Room:
        """Enter a room."""

    async def find(self, name: str) -> Room | None: ...
    async def both(self, who: Guest | str) -> str: ...
    async def hear(self, function: Callable[[str], Awaitable[int]]) -> int: ...
    async def counter(self) -> Callable[[int], Awaitable[int]]: ...
    async def box(self) -> Box[int]: ...
    async def note(self, note: Note, *more: Note, mood: Mood = ...) -> Note: ...
    async def anything(self, value: Any, *args: int, **kwargs: str) -> list[Any]: ...
    @overload
    async def get(self, key: str) -> str: ...
    @overload
    async def get(self, key: int, default: int = ...) -> int: ...
    async def upload(self, chunks: AsyncIterator[bytes]) -> int: ...


@runtime_checkable
class Room(pb.Interface, Protocol):
    """A room in which people talk."""

    async def say(self, text: str) -> int: ...
    async def history(self, last: int = 10) -> list[str]: ...
    def messages(self) -> AsyncIterator[str]: ...
    def notes(self) -> AsyncIterator[Note]: ...


class Box(pb.Interface, Protocol[T]):
    async def get(self) -> T: ...
    async def put(self, value: T) -> None: ...


class RoomServer(pb.Referenceable, Room):
    def __init__(self) -> None:
        self.said: list[str] = []

    @pb.sync
    def say(self, text: str) -> int:
        self.said.append(text)
        return len(self.said)

    async def history(self, last: int = 10) -> list[str]:
        return self.said[-last:]

    async def messages(self) -> AsyncIterator[str]:
        for text in self.said:
            yield text

    async def notes(self) -> AsyncIterator[Note]:
        for text in self.said:
            yield Note(text, [])

    def secret(self) -> None:
        raise AssertionError("callers do not reach this")


class IntBox(pb.Referenceable, Box[int]):
    def __init__(self) -> None:
        self.value: Any = 5

    async def get(self) -> int:
        value: int = self.value
        return value

    async def put(self, value: int) -> None:
        self.value = value


class LobbyServer(pb.Root, Lobby):
    def __init__(self) -> None:
        self.rooms: dict[str, RoomServer] = {}
        self.guests: list[Guest] = []
        self.ran = 0
        self.kept: Any = None

    async def join(self, name: str, guest: Guest | None = None, *, loud: bool = False) -> Room:
        self.ran += 1
        for other in self.guests:
            pb.tell(other.arrived, name.upper() if loud else name)
        if guest is not None:
            self.guests.append(guest)
        return self.rooms.setdefault(name, RoomServer())

    async def find(self, name: str) -> Room | None:
        return self.rooms.get(name)

    async def both(self, who: Guest | str) -> str:
        return who if isinstance(who, str) else "a guest"

    async def hear(self, function: Callable[[str], Awaitable[int]]) -> int:
        return await function("hello") + 1

    async def counter(self) -> Callable[[int], Awaitable[int]]:
        total = 0

        async def add(more: int) -> int:
            nonlocal total
            total += more
            return total

        return add

    async def box(self) -> Box[int]:
        return IntBox()

    async def note(self, note: Note, *more: Note, mood: Mood = Mood.GOOD) -> Note:
        self.kept = (note, more, mood)
        return Note(note.text.upper(), [*note.tags, mood.value, *(other.text for other in more)])

    async def anything(self, value: Any, *args: int, **kwargs: str) -> list[Any]:
        return [value, *args, *kwargs.values()]

    async def get(self, key: Any, default: int = 0) -> Any:
        return key + default if isinstance(key, int) else key.upper()

    async def upload(self, chunks: AsyncIterator[bytes]) -> int:
        return sum([len(chunk) async for chunk in chunks])

    def remote_untyped(self, *args: Any) -> Any:
        return list(args)


class MyGuest(pb.Referenceable, Guest):
    def __init__(self) -> None:
        self.seen: list[str] = []

    async def arrived(self, who: str) -> None:
        self.seen.append(who)
