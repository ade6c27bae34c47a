"""The objects that the tests of the command line serve; started by ``pb serve desk:...`` in this directory."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import AsyncIterator
from typing import Any

import perspective_broker as pb


class Note(pb.Copyable, pb.RemoteCopy):
    """Crosses by value, where `notes` is imported too."""

    def __init__(self, text: str) -> None:
        self.text = text

    def get_type_to_copy(self) -> str:
        return "desk.Note"


class Drawer(pb.Referenceable):
    def __init__(self, label: str) -> None:
        self.label = label

    def remote_label(self) -> str:
        return self.label


class Busy(pb.Error):
    """An expected condition."""


class Score(pb.Live, tag="desk.Score"):
    home: int = 0
    guests: int = 0


class Board(pb.Cacheable):
    """Sends one update, and ends when it is told to."""

    def get_state_to_cache_and_observe_for(self, perspective: Any, observer: Any) -> Any:
        self.observer = observer
        observer.tell("moved", 3, by="a\nb")
        return {"at": 0}


class Flawed(pb.Live):
    at: Any = 0


class Desk(pb.Root):
    """A desk to play with.

    It has drawers.
    """

    def __init__(self) -> None:
        self.score = Score()
        self.answered = 0

    def remote_echo(self, *args: Any, **kwargs: Any) -> Any:
        """Return the arguments.

        One by itself, several in a list.
        """
        return args[0] if len(args) == 1 and not kwargs else [args, kwargs]

    def remote_fail(self, text: str) -> None:
        raise ValueError(text)

    def remote_busy(self, text: str) -> None:
        raise Busy(text)

    def remote_drawer(self, label: str) -> Drawer:
        return Drawer(label)

    def remote_note(self, text: str) -> Note:
        return Note(text)

    async def remote_ticks(self, count: int, *, item: Any = None, hang: bool = False) -> AsyncIterator[Any]:
        """Yield so many numbers, or the item so often."""
        for number in range(count):
            yield number if item is None else item
        if hang:
            await asyncio.Event().wait()

    async def remote_broken(self) -> AsyncIterator[int]:
        yield 1
        raise ValueError("no more\x1b[2J")

    def remote_score(self) -> Score:
        return self.score

    def remote_goal(self) -> None:
        self.score.home += 1

    def remote_board(self) -> Board:
        return Board()

    def remote_flawed(self) -> Flawed:
        """Return what gets a value that cannot cross, and so is followed no more."""
        flawed = Flawed()
        asyncio.get_running_loop().call_soon(setattr, flawed, "at", object())
        return flawed

    async def remote_tire(self) -> None:
        """Answer twice and no more."""
        self.answered += 1
        if self.answered > 2:
            await asyncio.Event().wait()

    def remote_cycle(self) -> list[Any]:
        cycle: list[Any] = []
        cycle.append(cycle)
        return cycle

    async def remote_ask(self, client: Any) -> Any:
        """Return the answer of the caller's own object, when it comes."""
        return await client.call("answer")

    async def remote_hang(self) -> None:
        await asyncio.Event().wait()

    def remote_die(self) -> None:
        os._exit(70)


class NeedsMore(pb.Root):
    def __init__(self, more: int) -> None:
        self.more = more


desk = Desk()


async def make_desk() -> Desk:
    await asyncio.sleep(0)
    return Desk()


def make_nothing() -> None:
    pass


class room:
    """Objects may be deeper in a module."""

    desk = desk


class Visitor(pb.Perspective):
    pass


rooms = {"root": Desk(), "top drawer": Drawer("top"), "list": pb.wrap([3, 1, 3], "count", "index")}


class Users(pb.MemoryAuthorizer):
    async def close(self) -> None:
        print("the users are closed", file=sys.stderr)


def make_rooms() -> dict[str, object]:
    """Return an application beside another object."""
    return {"desk": pb.Application("desk", Users()), "drawer": Drawer("open to all")}


class NoMethods(pb.Root):
    pass


class Rude(pb.Root):
    """Answers the question for its methods itself, which no correct peer does."""

    description: Any = 5

    def __getattr__(self, name: str) -> Any:
        if name == "remote_pb:describe":
            return lambda: self.description
        raise AttributeError(name)


class Hostile(Rude):
    description = {
        "name": "a\x1b[2Jb\nc",
        "doc": "d\x07\n    [bold]",
        "interfaces": ["I\rJ"],
        "methods": [{"name": "e", "signatures": ["e\x1b]0;x(\u202e)"], "doc": "f\x9b", "stream": True}],
    }
