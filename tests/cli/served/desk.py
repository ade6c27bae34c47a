"""The objects that the tests of the command line serve; started by ``pb serve desk:...`` in this directory."""

from __future__ import annotations

import asyncio
import os
import sys
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


class Desk(pb.Root):
    def remote_echo(self, *args: Any, **kwargs: Any) -> Any:
        return args[0] if len(args) == 1 and not kwargs else [args, kwargs]

    def remote_fail(self, text: str) -> None:
        raise ValueError(text)

    def remote_busy(self, text: str) -> None:
        raise Busy(text)

    def remote_drawer(self, label: str) -> Drawer:
        return Drawer(label)

    def remote_note(self, text: str) -> Note:
        return Note(text)

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
