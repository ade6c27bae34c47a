"""Calls by an interface: ``wait(lobby.join("x"))``, with the types that the interface says."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from typing import Protocol, assert_type, runtime_checkable

import pytest

import perspective_broker as pb
from perspective_broker import blocking
from perspective_broker.blocking import wait

from .desk import eventually


class Guest(pb.Interface, Protocol):
    async def arrived(self, who: str) -> str: ...


@runtime_checkable
class Room(pb.Interface, Protocol):
    async def say(self, text: str) -> int: ...
    async def hold(self) -> None: ...
    async def members(self) -> list[str]: ...
    def messages(self, last: int = 10) -> AsyncIterator[str]: ...


class Lobby(pb.Interface, Protocol):
    async def join(self, name: str, guest: Guest | None = None) -> Room: ...
    async def rooms(self) -> dict[str, Room]: ...
    async def meet(self, room: Room) -> str: ...
    async def back(self, guest: Guest) -> Guest: ...
    async def ask(self, function: Callable[[int], Awaitable[int]]) -> int: ...


class RoomServer(pb.Referenceable, Room):
    def __init__(self, name: str) -> None:
        self.name = name
        self.said: list[str] = []
        self.held = threading.Event()
        self.stopped = threading.Event()

    @pb.sync
    def say(self, text: str) -> int:
        self.said.append(text)
        return len(self.said)

    async def hold(self) -> None:
        self.held.set()
        try:
            await asyncio.get_running_loop().create_future()
        except asyncio.CancelledError:
            self.stopped.set()
            raise

    @pb.sync
    def members(self) -> list[str]:
        return self.said

    async def messages(self, last: int = 10) -> AsyncIterator[str]:
        for number in range(last):
            yield f"message {number}"


class LobbyServer(pb.Root, Lobby):
    def __init__(self) -> None:
        self.room = RoomServer("a")

    async def join(self, name: str, guest: Guest | None = None) -> Room:
        if guest is not None:
            self.room.said.append(await guest.arrived(name))
        return self.room

    @pb.sync
    def rooms(self) -> dict[str, Room]:
        return {"a": self.room}

    async def meet(self, room: Room) -> str:
        return "own" if room is self.room else "other"

    @pb.sync
    def back(self, guest: Guest) -> Guest:
        return guest

    async def ask(self, function: Callable[[int], Awaitable[int]]) -> int:
        return await function(20) + 1


@pytest.fixture(params=["pb7", "pb"])
def url(request: pytest.FixtureRequest, no_threads_left: None) -> Iterator[str]:
    async def serve() -> pb.Server:
        return await pb.serve(server_root, "tcp://127.0.0.1:0", dialects=[request.param])

    global server_root
    server_root = LobbyServer()
    with blocking.EventLoopThread("lobby") as thread:
        server = thread.run(serve())
        yield server.urls[0]
        thread.run(server.close())


server_root: LobbyServer


def test_what_comes_back_is_what_the_interface_says(url: str) -> None:
    with blocking.connect(url, Lobby) as lobby:
        assert_type(lobby, Lobby)
        room = wait(lobby.join("x"))
        assert_type(room, Room)
        assert isinstance(room, Room)
        said = wait(room.say("hi"))
        assert_type(said, int)
        assert said == 1
        assert wait(wait(lobby.rooms())["a"].say("again")) == 2
        assert wait(lobby.meet(room)) == "own"


def test_a_value_is_connected_and_closed(url: str) -> None:
    connected = blocking.connect(url, Lobby)
    assert_type(connected.root, Lobby)
    assert wait(wait(connected.root.join("x")).say("hi")) == 1
    connected.close()
    with pytest.raises(pb.DeadReferenceError):
        wait(connected.root.join("x"))


def test_calls_are_sent_when_they_are_made_and_in_order(url: str) -> None:
    with blocking.connect(url, Lobby) as lobby:
        room = wait(lobby.join("x"))
        answers = [room.say(str(number)) for number in range(100)]
        eventually(lambda: len(server_root.room.said) == 100)
        assert [wait(answer) for answer in answers] == list(range(1, 101))
        assert wait(answers[0]) == 1
        assert server_root.room.said == list(map(str, range(100)))


def test_pipelined_calls_need_no_answer_in_between(url: str) -> None:
    with blocking.connect(url, Lobby) as lobby:
        later = lobby.join("x")
        assert wait(pb.pipeline(later).say("hi")) == 1
        assert wait(lobby.meet(pb.pipeline(later))) == "own"
        assert list(wait(pb.pipeline(lobby.join("x")).messages(2))) == ["message 0", "message 1"]
        wait(pb.tell(pb.pipeline(later).say, "told"))
        assert wait(pb.pipeline(later).members()) == ["hi", "told"]


def test_a_stream_of_an_interface_is_read_by_a_plain_for(url: str) -> None:
    with blocking.connect(url, Lobby) as lobby:
        room = wait(lobby.join("x"))
        messages = wait(room.messages(3))
        assert_type(messages, Iterator[str])
        assert list(messages) == ["message 0", "message 1", "message 2"]


def test_what_does_not_fit_is_refused_as_in_a_loop(url: str) -> None:
    with blocking.connect(url, Lobby) as lobby:
        room = wait(lobby.join("x"))
        with pytest.raises(pb.BadArguments, match="say: text: expected str, got int"):
            wait(room.say(1))  # type: ignore[arg-type]
        with pytest.raises(TypeError, match="pipeline: takes the answer"):
            pb.pipeline(room.say("x"))
        with pytest.raises(TypeError, match="is not an interface"):
            blocking.connect(url, object)


class PlainGuest(pb.Referenceable, Guest):
    def __init__(self, lobby: Lobby) -> None:
        self.lobby = lobby

    @pb.sync
    def arrived(self, who: str) -> str:
        assert threading.current_thread().name == "perspective_broker worker"
        return f"{who} {wait(wait(self.lobby.join('nobody')).say('from a callback'))}"


class AsyncGuest(pb.Referenceable, Guest):
    def __init__(self, lobby: Lobby) -> None:
        self.lobby = lobby

    async def arrived(self, who: str) -> str:
        assert threading.current_thread().name == "perspective_broker"
        room = await self.lobby.join("nobody")
        with pytest.raises(pb.UsageError, match="the event loop thread itself would wait here"):
            wait(room.say("x"))
        return f"{who} {await room.say('from the loop')}"


def test_objects_by_an_interface_call_back(url: str) -> None:
    with blocking.connect(url, Lobby) as lobby:
        wait(lobby.join("x", PlainGuest(lobby)))
        wait(lobby.join("y", AsyncGuest(lobby)))

        async def twice(number: int) -> int:
            return 2 * number

        assert wait(lobby.ask(twice)) == 41
    assert [text for text in server_root.room.said if text[:2] in ("x ", "y ")] == ["x 1", "y 4"]


def test_an_object_that_came_home_is_called_in_a_worker_too(url: str) -> None:
    with blocking.connect(url, Lobby) as lobby:
        guest = PlainGuest(lobby)
        assert wait(lobby.back(guest)) is guest
        assert wait(pb.pipeline(lobby.back(guest)).arrived("z")) == "z 1"


def test_a_timeout_gives_the_call_up(url: str) -> None:
    with blocking.connect(url, Lobby, timeout=1) as lobby:
        room = wait(lobby.join("x"))
        with pytest.raises(
            pb.DeadlineExceeded, match=r"hold: no answer within 1 s \(the timeout of connect\)"
        ):
            wait(room.hold())
        with pytest.raises(pb.DeadlineExceeded, match=r"hold: no answer within 0.01 s; "):
            wait(room.hold(), timeout=0.01)
        with blocking.deadline(0), pytest.raises(pb.DeadlineExceeded, match="before"):
            wait(room.hold())


def test_answers_of_an_event_loop_of_the_programs_own_are_awaited_there(url: str) -> None:
    async def main() -> None:
        async with pb.connect(url, Lobby) as lobby:
            for answer in (lobby.join("x"), (await lobby.join("x")).messages()):
                with pytest.raises(pb.UsageError, match="event loop of the program's own"):
                    wait(answer)

    asyncio.run(main())
    with pytest.raises(TypeError, match=r"EventLoopThread\.run takes coroutines"):
        wait(asyncio.sleep(0))


def test_an_answer_that_nothing_waits_for_is_no_trouble(url: str) -> None:
    with blocking.connect(url, Lobby) as lobby:
        room = wait(lobby.join("x"))
        _ = room.say("one")
        assert wait(room.say("two")) == 2
    with pytest.raises(pb.DeadReferenceError):
        wait(room.say("three"))
    del room


def test_a_lasting_reference_has_an_interface_too(no_threads_left: None) -> None:
    root = LobbyServer()

    async def serve() -> pb.Server:
        return await pb.serve(root, "tcp://127.0.0.1:0")

    with blocking.EventLoopThread("lobby") as thread:
        server = thread.run(serve())
        with blocking.connect(server.urls[0], Lobby, reconnect=pb.Backoff(base=0.01)) as lobby:
            for _ in range(2):
                room = wait(lobby.join("x"))
                assert isinstance(wait(room.say("x")), int)
                assert list(wait(room.messages(1))) == ["message 0"]
                wait(pb.tell(lobby.join, "y"))

                async def end() -> None:
                    for connection in server.connections:
                        connection.end()

                thread.run(end())
        thread.run(server.close())
