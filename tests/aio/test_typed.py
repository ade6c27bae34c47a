"""Calls by interfaces, over sockets, on both dialects: proxies, checks on both sides, streams, pipelining."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import pickle
from collections.abc import AsyncIterator
from typing import Any, cast

import pytest

import perspective_broker as pb
from perspective_broker.testing import assert_no_leaks
from tests.aio.desk import until
from tests.interfaces.chat import Box, Guest, Lobby, LobbyServer, Mood, MyGuest, Note, Room, RoomServer

DIALECTS = ["pb7", "pb"]


@pytest.fixture(params=DIALECTS)
def dialect(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@contextlib.asynccontextmanager
async def chatting(dialect: str) -> AsyncIterator[tuple[LobbyServer, Lobby]]:
    """A server, and a client's proxy of it."""
    root = LobbyServer()
    async with (
        pb.serve(root, "tcp://127.0.0.1:0", dialects=[dialect]) as server,
        pb.connect(server.urls[0], Lobby) as lobby,
    ):
        yield root, lobby


async def misfit(answer: Any) -> str:
    """Return the text of a call's BadArguments."""
    with pytest.raises(pb.BadArguments) as caught:
        await answer
    assert caught.value.ran is False
    return str(caught.value)


# -- calls


async def test_a_call(dialect: str) -> None:
    async with chatting(dialect) as (root, lobby):
        room = await lobby.join("kitchen")
        assert isinstance(room, Room)
        assert not isinstance(room, Guest)
        assert await room.say("hello") == 1
        assert await room.say(text="again") == 2
        assert await room.history() == ["hello", "again"]
        assert await room.history(last=1) == ["again"]
        assert root.rooms["kitchen"].said == ["hello", "again"]


async def test_an_object_that_is_passed_arrives_as_a_proxy_and_comes_home_as_itself(dialect: str) -> None:
    async with chatting(dialect) as (root, lobby):
        me = MyGuest()
        await lobby.join("kitchen", me)
        await lobby.join("cellar", loud=True)
        await until(lambda: me.seen)
        assert me.seen == ["CELLAR"]
        assert isinstance(root.guests[0], Guest)
        room = await lobby.join("kitchen")
        assert await lobby.find("nowhere") is None
        assert await lobby.find("kitchen") == room
        assert hash(await lobby.find("kitchen")) == hash(room)
        assert await lobby.both(me) == "a guest"
        assert await lobby.both("x") == "x"
        reference = pb.reference(lobby)
        assert await reference.call("untyped", me, room) == [
            me,
            pb.reference(room),
        ]  # proxies cross untyped, too


async def test_arguments_are_checked_before_the_method_runs(dialect: str) -> None:
    async with chatting(dialect) as (root, lobby):
        call = pb.reference(lobby).call
        assert await misfit(call("join", 1)) == "join: name: expected str, got int"
        assert await misfit(call("join", "x", 3)) == "join: guest: expected Guest or None, got int"
        assert await misfit(call("join", "x", loud=1)) == "join: loud: expected bool, got int"
        takes = "join takes (name, guest=..., *, loud=...)"
        assert await misfit(call("join")) == takes
        assert await misfit(call("join", "x", None, True)) == takes
        assert await misfit(call("join", "x", name="y")) == takes
        assert await misfit(call("join", "x", quiet=True)) == takes
        wrong = {"text": "a", "tags": ["b", 3]}
        assert await misfit(call("note", wrong)) == "note: note.tags[1]: expected str, got int"
        assert await misfit(call("get", 1.5)) == "get: fits none of its 2 forms"
        assert await misfit(call("anything", 1, "two")) == "anything: argument 2: expected int, got str"
        assert (
            await misfit(call("anything", 1, three=3)) == "anything: a named argument: expected str, got int"
        )
        assert root.ran == 0
        assert await call("anything", 1, 2, three="3") == [1, 2, "3"]


async def test_nothing_but_what_is_declared_is_reached(dialect: str) -> None:
    async with chatting(dialect) as (_, lobby):
        call = pb.reference(lobby).call
        for name in ("of", "guests", "__init__", "remote_untyped", "_pb_offer", "secret"):
            with pytest.raises(pb.NoSuchMethod):
                await call(name)
        assert await call("untyped", 1) == [1]


async def test_values_are_made_of_what_arrives(dialect: str) -> None:
    async with chatting(dialect) as (root, lobby):
        note = await lobby.note(Note("a", ["b"]), Note("c", []), mood=Mood.BAD)
        assert note == Note("A", ["b", "bad", "c"])
        assert root.kept == (Note("a", ["b"]), (Note("c", []),), Mood.BAD)


async def test_overloads(dialect: str) -> None:
    async with chatting(dialect) as (_, lobby):
        assert await lobby.get("a") == "A"
        assert await lobby.get(1, 2) == 3
        with pytest.raises(pb.SerializationError, match="get: fits none of its 2 forms"):
            await cast(Any, lobby).get(1.5)


async def test_generics(dialect: str) -> None:
    async with chatting(dialect) as (_, lobby):
        box = await lobby.box()
        assert await box.get() == 5
        await box.put(6)
        assert await misfit(cast(Any, box).put("x")) == "put: value: expected int, got str"
        reference = pb.reference(box)
        with pytest.raises(pb.BadAnswer, match="get: in the answer: expected str, got int"):
            await Box[str].of(reference).get()
        assert await Box.of(reference).get() == 6


async def test_functions(dialect: str) -> None:
    async with chatting(dialect) as (_, lobby):

        async def length(text: str) -> int:
            return len(text)

        assert await lobby.hear(length) == 6
        add = await lobby.counter()
        assert await add(1) == 1
        assert await add(2) == 3
        assert await misfit(cast(Any, add)("x")) == "call: argument 1: expected int, got str"
        await pb.tell(add, 4)
        assert await add(0) == 7
        assert add == add
        assert pb.reference(add) in {pb.reference(add)}


async def test_answers_are_checked_at_the_caller(dialect: str) -> None:
    class Wrong(pb.Root):
        def remote_say(self, text: Any) -> Any:
            return str(text)

        async def remote_history(self, last: Any = 0) -> Any:
            return ["a", 2]

        async def remote_messages(self) -> AsyncIterator[Any]:
            yield "a"
            yield 2
            yield "c"

    async with (
        pb.serve(Wrong(), "tcp://127.0.0.1:0", dialects=[dialect]) as server,
        pb.connect(server.urls[0], Room) as room,
    ):
        with pytest.raises(pb.BadAnswer, match=r"^say: in the answer: expected int, got str$") as caught:
            await room.say("x")
        assert caught.value.ran is True
        with pytest.raises(pb.BadAnswer, match=r"^history: in the answer\[1\]: expected str, got int$"):
            await room.history()
        messages = room.messages()
        assert await anext(messages) == "a"
        with pytest.raises(pb.BadAnswer, match=r"^messages: in an item: expected str, got int$"):
            await anext(messages)


async def test_an_answer_that_the_interface_does_not_declare_is_not_sent(
    dialect: str, caplog: pytest.LogCaptureFixture
) -> None:
    class Careless(LobbyServer):
        async def note(self, note: Any, *more: Any, mood: Any = Mood.GOOD) -> Any:
            return 5

    async with (
        pb.serve(Careless(), "tcp://127.0.0.1:0", dialects=[dialect]) as server,
        pb.connect(server.urls[0], Lobby) as lobby,
    ):
        with pytest.raises((pb.RemoteError, pb.BadAnswer)):
            await lobby.note(Note("a", []))


# -- streams


async def test_streams(dialect: str) -> None:
    async with chatting(dialect) as (_, lobby):
        room = await lobby.join("x")
        await room.say("a")
        await room.say("b")
        assert [text async for text in room.messages()] == ["a", "b"]
        assert [note async for note in room.notes()] == [Note("a", []), Note("b", [])]

        async def chunks() -> AsyncIterator[bytes]:
            yield b"abc"
            yield b"de"

        assert await lobby.upload(chunks()) == 5

        async def wrong() -> AsyncIterator[Any]:
            yield b"abc"
            yield 5

        with pytest.raises(pb.RemoteError, match="in an item: expected bytes, got int"):
            await lobby.upload(wrong())


# -- pipelining, one-way calls


async def test_pipelining(dialect: str) -> None:
    async with chatting(dialect) as (_, lobby):
        answer = lobby.join("x")
        room = pb.pipeline(answer)
        assert isinstance(room, Room)
        assert await room.say("a") == 1
        assert await pb.pipeline(lobby.find("x")).say("b") == 2
        await pb.tell(room.say, "c")
        assert [text async for text in pb.pipeline(lobby.join("x")).messages()] == ["a", "b", "c"]
        await answer
        await pb.tell(room.say, "d")
        assert await room.history(1) == ["d"]
        assert pb.reference(room) == pb.reference(await answer)
        assert await misfit(lobby.both(cast(Any, room))) == "both: who: expected Guest, got RoomServer"
        assert await Room.of(pb.reference(lobby).call("join", "x")).history(1) == ["d"]


async def test_what_can_be_pipelined(dialect: str) -> None:
    async with chatting(dialect) as (_, lobby):
        assert await pb.pipeline(lobby.box()).get() == 5
        for answer in (lobby.get("x"), pb.reference(lobby).call("join", "x")):
            with pytest.raises(TypeError, match="pipeline: takes the answer"):
                pb.pipeline(answer)
            await answer
        joining = lobby.join("x")
        with pytest.raises(pb.UsageError, match="has not come"):
            pb.reference(cast(Any, pb.pipeline(joining)))
        await joining


async def test_a_promise_of_a_proxy_is_an_argument(dialect: str) -> None:
    async with chatting(dialect) as (_, lobby):
        answer = lobby.join("x")
        untyped = pb.reference(lobby).call("untyped", answer, pb.pipeline(answer))
        await answer
        assert await untyped == [pb.reference(await answer)] * 2
        assert await pb.reference(lobby).call("untyped", answer) == [pb.reference(await answer)]


async def test_tell_takes_methods_of_proxies() -> None:
    for wrong in (RoomServer().say, len, print):
        with pytest.raises(TypeError, match="tell: takes a method of an object at the peer"):
            pb.tell(cast(Any, wrong), "x")
    with pytest.raises(TypeError, match="reference: takes an object that lives at the peer, not RoomServer"):
        pb.reference(RoomServer())


# -- proxies


async def test_a_proxy_shows_what_it_is_and_cannot_be_pickled() -> None:
    async with chatting("pb7") as (_, lobby):
        assert repr(lobby).startswith("<LobbyProxy of <RemoteReference 'root' at 127.0.0.1:")
        assert repr(await lobby.box()).startswith("<BoxProxy[int] of <RemoteReference ")
        with pytest.raises(TypeError, match="cannot be pickled"):
            pickle.dumps(lobby)
        assert lobby != pb.reference(lobby)
        assert Lobby.of(lobby) == lobby
        assert not hasattr(lobby, "greet")


async def test_a_proxy_holds_its_reference_and_nothing_else_does() -> None:
    async with chatting("pb7") as (_, lobby):
        room = await lobby.join("x")
        await room.say("x")
        del room
        gc.collect()
        await lobby.find("x")
        await assert_no_leaks(pb.reference(lobby).connection)


async def test_a_promise_of_a_typed_call_is_a_task(dialect: str) -> None:
    async with chatting(dialect) as (_, lobby):
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(lobby.join(name)) for name in "abc"]
        rooms = [task.result() for task in tasks]
        assert [await room.say("x") for room in rooms] == [1, 1, 1]


# -- references that reconnect


async def test_a_reconnecting_reference(dialect: str) -> None:
    async with pb.serve(LobbyServer(), "tcp://127.0.0.1:0", dialects=[dialect]) as server:
        soon = pb.Backoff(base=0.01, cap=0.01)
        async with pb.connect(server.urls[0], reconnect=soon) as reference:
            lobby = Lobby.of(reference)
            room = await lobby.join("x")
            await pb.tell(room.say, "a")
            assert [text async for text in room.messages()] == ["a"]
            server.connections[0].end("test", "it is made again")
            await until(lambda: not reference.connected)
            with pytest.raises(pb.DeadReferenceError):
                pb.reference(lobby)
            waiting = lobby.join("x")
            ahead = pb.pipeline(waiting).history()
            told = pb.tell(lobby.join, "y")
            assert await ahead == ["a"]
            assert isinstance(await waiting, Room)
            await told
            assert await lobby.find("y") is not None
            with pytest.raises(pb.DeadReferenceError):
                await room.say("b")
            assert await lobby.both(MyGuest()) == "a guest"
            assert await misfit(cast(Any, lobby).join(1)) == "join: name: expected str, got int"


async def test_connect_gives_a_proxy_that_reconnects(dialect: str) -> None:
    async with (
        pb.serve(LobbyServer(), "tcp://127.0.0.1:0", dialects=[dialect]) as server,
        pb.connect(server.urls[0], Lobby, reconnect=True) as lobby,
    ):
        assert isinstance(await lobby.join("x"), Room)
        assert isinstance(pb.reference(lobby), pb.RemoteReference)


# -- connect


async def test_connect_takes_interfaces_alone() -> None:
    for wrong in (LobbyServer, pb.Interface, str, len):
        with pytest.raises(TypeError, match="is not an interface"):
            pb.connect("tcp://127.0.0.1:1", cast(Any, wrong))
    root = LobbyServer()
    async with pb.serve(root, "memory:typed") as server:
        lobby = await pb.connect(server.urls[0], Lobby)
        assert isinstance(await lobby.join("x"), Room)
        await pb.reference(lobby).connection.close()
