"""The objects of the soak that cross, for both sides."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Any, ClassVar

import perspective_broker as pb

__all__ = ["Board", "Desk", "Mind", "Note", "Room", "Token", "Visitor"]


@pb.copier_for("soak.Note")
class Note(pb.Copyable, pb.RemoteCopy):
    """Crosses by value."""

    text: str
    parts: list[Any]

    def __init__(self, text: str, parts: list[Any]) -> None:
        self.text = text
        self.parts = parts

    def get_type_to_copy(self) -> str:
        return "soak.Note"


class Token(pb.Referenceable):
    """Crosses as a reference; returns another one on request."""

    def remote_next(self) -> Token:
        return Token()

    def remote_name(self) -> str:
        return "token"


@pb.copier_for("soak.Board")
class Board(pb.Live, tag="soak.Board"):
    """Crosses once; assignments reach every replica."""

    topic: str
    n: int


class Room(pb.Viewable):
    """A viewable: its methods get the caller."""

    def view_say(self, who: Visitor, text: str) -> str:
        return f"{who.name}: {text}"


class Mind(pb.Referenceable):
    """An object of the client that the server calls."""

    def remote_double(self, value: Any) -> Any:
        return [value, value]

    async def remote_numbers(self, most: int) -> AsyncIterator[int]:
        for number in range(most):
            yield number


class Desk(pb.Root):
    """The object that visitors use."""

    board: ClassVar[Board]

    def __init__(self) -> None:
        self.kept: list[Any] = []
        self.told = 0

    def remote_echo(self, value: Any) -> Any:
        return value

    def remote_swap(self, theirs: Any) -> Token:
        """Keep a reference for a while, and return another."""
        self.kept.append(theirs)
        if len(self.kept) > 20:
            del self.kept[:10]
        return Token()

    def remote_keep_in_a_cycle(self, *theirs: Any) -> None:
        """Only the garbage collector frees these."""
        cycle: list[Any] = [*theirs]
        cycle.append(cycle)

    def remote_tell(self, value: Any) -> None:
        self.told += 1

    def remote_board(self) -> Board:
        return self.board

    def remote_write(self, topic: str) -> None:
        self.board.topic = topic
        self.board.n += 1

    def remote_note(self, note: Note) -> Note:
        return Note(note.text, [note, note.parts])

    def remote_refuse(self) -> None:
        raise pb.Error("as expected")

    async def remote_call_back(self, theirs: Any, value: Any) -> Any:
        return await theirs.call("double", value)

    async def remote_read(self, stream: Any, most: int) -> int:
        """Read a stream of the peer's, to its end or not."""
        read = 0
        async with contextlib.aclosing(aiter(stream)) as items:
            async for _ in items:
                read += 1
                if read == most:
                    break
        return read

    async def remote_stream(self, most: int, size: int) -> AsyncIterator[bytes]:
        for _ in range(most):
            yield bytes(size)

    async def remote_wait(self) -> None:
        """Run until it is cancelled."""
        await asyncio.get_running_loop().create_future()

    async def remote_wait_a_little(self, seconds: float) -> None:
        await asyncio.sleep(seconds)


class Visitor(pb.Perspective):
    """A user that has logged in."""

    room: ClassVar[Room] = Room()

    def perspective_desk(self) -> Desk:
        return Desk()

    def perspective_room(self) -> Room:
        return self.room
