"""Remote: an object of the peer that is called like one of this program."""

from __future__ import annotations

import asyncio
import copy
import pickle
from collections.abc import AsyncIterator
from typing import Any

import pytest

import perspective_broker as pb
from perspective_broker.remote import Remote, RemoteAnswer
from perspective_broker.testing import memory_pair
from tests.loops import both_loops


class Room(pb.Referenceable):
    def __init__(self) -> None:
        self.said: list[str] = []

    def remote_say(self, text: str) -> int:
        self.said.append(text)
        return len(self.said)

    def remote_call(self, text: str) -> str:
        return f"called {text}"


class Lobby(pb.Root):
    def __init__(self) -> None:
        self.rooms: dict[str, Room] = {}
        self.got: list[Any] = []

    def remote_greet(self, name: str, *, loud: bool = False) -> str:
        return f"hello, {name}{'!' if loud else ''}"

    def remote_join(self, name: str) -> Room:
        return self.rooms.setdefault(name, Room())

    def remote_rooms(self) -> Any:
        return [*self.rooms.values()], {"by name": self.rooms}, ("a", 1)

    def remote_all(self) -> list[Room]:
        return list(self.rooms.values())

    def remote_by_name(self) -> dict[str, Room]:
        return self.rooms

    def remote_pair(self) -> tuple[int, Room]:
        return 1, self.rooms["x"]

    def remote_take(self, *values: Any) -> None:
        self.got.extend(values)

    async def remote_ticks(self, count: int) -> AsyncIterator[Any]:
        for number in range(count):
            yield number
        yield Room()

    def remote_fail(self) -> None:
        raise pb.Error("no")


@both_loops
async def test_methods_are_attributes(dialect: str) -> None:
    async with memory_pair(Lobby(), dialects=(dialect,)) as pair:
        root = Remote(pair.root)
        assert await root.greet("x") == "hello, x"
        assert await root.greet("x", loud=True) == "hello, x!"
        assert await root.call("greet", "x") == "hello, x"
        greet = root.greet
        assert await greet("y") == "hello, y"
        assert (greet, hash(greet)) == (root.greet, hash(root.greet))
        assert greet != root.join
        assert greet != 5
        assert repr(greet) == f"<method greet of <Remote of {pair.root!r}>>"
        with pytest.raises(pb.RemoteError, match="no"):
            await root.fail()
        with pytest.raises(pb.NoSuchMethod, match="Lobby has no method 'nothing'"):
            await root.nothing()


async def test_objects_in_answers_are_remotes_too(dialect: str) -> None:
    async with memory_pair(Lobby(), dialects=(dialect,)) as pair:
        root = Remote(pair.root)
        room = await root.join("x")
        assert type(room) is Remote
        assert await room.say("hi") == 1
        assert await room.call("call", "by name") == "called by name"
        assert await root.all() == [room]
        assert await root.by_name() == {"x": room}
        assert await root.pair() == (1, room)
        assert await (await root.all())[0].say("hi") == 2
        deep = await root.rooms()
        assert type(deep[0][0]) is pb.RemoteReference  # no deeper
        assert [item async for item in root.ticks(2)][:2] == [0, 1]
        items = [item async for item in await root.ticks(0)]
        assert [type(item) for item in items] == [Remote]


async def test_calls_on_an_answer_are_sent_behind_it(dialect: str) -> None:
    lobby = Lobby()
    async with memory_pair(lobby, dialects=(dialect,)) as pair:
        root = Remote(pair.root)
        room = root.join("x")
        assert type(room) is RemoteAnswer
        said = [room.say("one"), room.say("two")]
        assert await asyncio.gather(*said) == [1, 2]
        assert type(await room) is Remote
        assert await room == await room
        assert await room.say("three") == 3
        root.join("x").tell("say", "four")
        await root.greet("x")  # a classic caller sends what was called on an answer when it has come,
        await root.greet("x")  # and this behind it
        assert lobby.rooms["x"].said == ["one", "two", "three", "four"]
        assert await asyncio.ensure_future(room.say("five")) == 5


async def test_remotes_are_arguments(dialect: str) -> None:
    lobby = Lobby()
    async with memory_pair(lobby, dialects=(dialect,)) as pair:
        root = Remote(pair.root)
        room = await root.join("x")
        await root.take(root, room, root.join("x"), [room])
        await root.take(await pair.root.call("join", "y"))
        inside = lobby.rooms["x"]
        assert lobby.got == [lobby, inside, inside, [inside], lobby.rooms["y"]]
        drained = root.tell("take", 1)
        assert drained is not None
        await drained
        await root.greet("x")
        assert lobby.got[-1] == 1


async def test_what_a_remote_is_made_of() -> None:
    async with memory_pair(Lobby()) as pair:
        root = Remote(pair.root)
        assert Remote(root) == root
        assert hash(Remote(root)) == hash(root)
        assert root != pair.root
        assert await Remote(pair.root.call("join", "x")).say("hi") == 1
        for other in (5, "root", None, Room):
            with pytest.raises(TypeError, match="Remote takes a reference, not a"):
                Remote(other)  # type: ignore[arg-type]
        with pytest.raises(AttributeError, match="a Remote has no attribute '_private'"):
            root._private  # noqa: B018
        assert not hasattr(root, "__len__")
        assert copy.copy(root) is root
        with pytest.raises(TypeError, match="a Remote cannot be pickled"):
            pickle.dumps(root)
        with pytest.raises(TypeError):
            await root  # type: ignore[attr-defined]


async def test_names_are_completed_once_they_are_known() -> None:
    async with memory_pair(Lobby()) as pair:
        root = Remote(pair.root)
        assert [name for name in dir(root) if not name.startswith("_")] == ["call", "tell"]
        await pb.describe(root)
        assert {"greet", "join", "call", "tell"} <= set(dir(root))


async def test_by_way_of_a_reconnecting_reference() -> None:
    async with (
        pb.serve(Lobby(), "memory:again"),
        pb.connect("memory:again", reconnect=True) as reference,
    ):
        root = Remote(reference)
        assert await root.greet("x") == "hello, x"
        await root.take(root)


async def test_a_remote_may_be_what_a_method_returns(dialect: str) -> None:
    class Giver(pb.Root):
        async def remote_back(self, room: pb.RemoteReference) -> Any:
            return Remote(room)

    async with memory_pair(Giver(), dialects=(dialect,)) as pair:
        mine = Room()
        assert await pair.root.call("back", mine) is mine
