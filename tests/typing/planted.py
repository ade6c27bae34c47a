"""A program with planted mistakes, for type checkers; it is never run.

A line that ends with ``# wrong`` has a mistake that every checker must find, and no other line has one.
``reveal_type(x)  # is T`` says which type a checker must find for ``x``.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar, overload, runtime_checkable

import perspective_broker as pb
from perspective_broker import blocking
from perspective_broker.blocking import wait

T = TypeVar("T")


@dataclass
class Note:
    text: str


class Guest(pb.Interface, Protocol):
    async def arrived(self, who: str) -> None: ...


@runtime_checkable
class Room(pb.Interface, Protocol):
    async def say(self, text: str) -> int: ...
    async def history(self, last: int = 10) -> list[str]: ...
    def messages(self) -> AsyncIterator[str]: ...


class Loud(Room, Protocol):
    async def shout(self, text: str, /, *, twice: bool = False) -> int: ...


class Lobby(pb.Interface, Protocol):
    async def join(self, name: str, guest: Guest | None = None, *, loud: bool = False) -> Room: ...
    async def find(self, name: str) -> Room | None: ...
    async def both(self, who: Guest | str) -> str: ...
    async def hear(self, function: Callable[[str], Awaitable[int]]) -> int: ...
    async def counter(self) -> Callable[[int], Awaitable[int]]: ...
    async def note(self, note: Note) -> Note: ...
    async def box(self) -> Box[int]: ...
    async def upload(self, chunks: AsyncIterator[bytes]) -> int: ...
    @overload
    async def get(self, key: str) -> str: ...
    @overload
    async def get(self, key: int) -> int: ...


class Box(pb.Interface, Protocol[T]):
    async def get(self) -> T: ...
    async def put(self, value: T) -> None: ...


# -- classes that implement interfaces


class MyGuest(pb.Referenceable, Guest):
    async def arrived(self, who: str) -> None: ...


class RoomServer(pb.Referenceable, Room):
    @pb.sync
    def say(self, text: str) -> int:
        return len(text)

    async def history(self, last: int = 10, *more: int) -> list[str]:
        return []

    async def messages(self) -> AsyncIterator[str]:
        yield "x"


class IntBox(pb.Referenceable, Box[int]):
    @pb.sync
    def get(self) -> int:
        return 5

    async def put(self, value: int) -> None: ...


class AnyBox(pb.Referenceable, Box[T]):
    def __init__(self, value: T) -> None:
        self.value = value

    async def get(self) -> T:
        return self.value

    async def put(self, value: T) -> None:
        self.value = value


class RoomView(pb.Viewable, offers=Room):
    def view_say(self, who: Player, text: str) -> int:
        reveal_type(who.service)  # is Cards
        return who.service.stake

    async def view_history(self, who: Player, last: int = 10) -> list[str]:
        return who.service.table  # wrong

    async def view_messages(self, who: Player) -> AsyncIterator[str]:
        yield who.name


class Player(pb.Perspective["Cards"]):
    def perspective_stake(self) -> int:
        return self.service.stake

    def perspective_other(self) -> int:
        return self.service.other  # wrong


class Watcher(pb.Perspective):
    def perspective_name(self) -> str:
        return self.service.name


class Cards(pb.Service):
    stake = 5

    def __init__(self) -> None:
        super().__init__("cards", perspective_class=Player)
        self.watchers = pb.Service("watchers", Watcher)


class OtherType(pb.Referenceable, Guest):
    async def arrived(self, who: int) -> None: ...  # wrong


class OtherAnswer(pb.Referenceable, Guest):
    async def arrived(self, who: str) -> int:  # wrong
        return 5


class Fewer(pb.Referenceable, Guest):
    async def arrived(self) -> None: ...  # wrong


class More(pb.Referenceable, Guest):
    async def arrived(self, who: str, when: int) -> None: ...  # wrong


class NotAsync(pb.Referenceable, Guest):
    def arrived(self, who: str) -> None: ...  # wrong


class SyncOtherType(pb.Referenceable, Guest):
    @pb.sync
    def arrived(self, who: int) -> None: ...  # wrong


class SyncOtherAnswer(pb.Referenceable, Guest):
    @pb.sync
    def arrived(self, who: str) -> int:  # wrong
        return 5


class NoDefault(pb.Referenceable, Room):
    async def say(self, text: str) -> int:
        return 5

    async def history(self, last: int) -> list[str]:  # wrong
        return []

    def messages(self) -> AsyncIterator[int]:  # wrong
        raise NotImplementedError


class Missing(pb.Referenceable, Room):
    async def say(self, text: str) -> int:
        return 5


class BoxOfText(pb.Referenceable, Box[int]):
    async def get(self) -> str:  # wrong
        return "x"

    async def put(self, value: str) -> None: ...  # wrong


# -- programs that call them


async def length(text: str) -> int:
    return len(text)


async def number(value: int) -> int:
    return value


def at_once(text: str) -> int:
    return len(text)


async def chunks() -> AsyncIterator[bytes]:
    yield b"x"


async def calls(lobby: Lobby, room: Room, loud: Loud) -> None:
    reveal_type(await lobby.join("x"))  # is Room
    reveal_type(await lobby.join("x", MyGuest(), loud=True))  # is Room
    reveal_type(await lobby.join(name="x", guest=None))  # is Room
    reveal_type(await room.say("x"))  # is int
    reveal_type(await room.history(last=3))  # is list[str]
    reveal_type(await loud.say("x"))  # is int
    reveal_type(await loud.shout("x", twice=True))  # is int
    reveal_type(await lobby.note(Note("x")))  # is Note
    await lobby.join()  # wrong
    await lobby.join(3)  # wrong
    await lobby.join("x", None, True)  # wrong
    await lobby.join("x", quiet=True)  # wrong
    await lobby.join("x", loud="yes")  # wrong
    await lobby.join("x", RoomServer())  # wrong
    await lobby.join("x", MyGuest)  # wrong
    await lobby.joyn("x")  # wrong
    await room.shout("x")  # wrong
    await loud.shout(text="x")  # wrong
    await lobby.note("x")  # wrong
    text: str = await room.say("x")  # wrong
    count: int = room.say("x")  # wrong
    room.say("x")  # wrong
    print(text, count)
    Missing()  # wrong
    Room()  # wrong


async def unions(lobby: Lobby) -> None:
    found = await lobby.find("x")
    reveal_type(found)  # is Room | None
    await found.say("x")  # wrong
    if found is not None:
        reveal_type(await found.say("x"))  # is int
    reveal_type(await lobby.both("x"))  # is str
    reveal_type(await lobby.both(MyGuest()))  # is str
    await lobby.both(5)  # wrong


async def streams(room: Room, lobby: Lobby) -> None:
    async for text in room.messages():
        reveal_type(text)  # is str
        print(text + 1)  # wrong
    reveal_type([text async for text in room.messages()])  # is list[str]
    for text in room.messages():  # wrong
        pass
    await room.messages()  # wrong
    async for text in room.history():  # wrong
        pass
    reveal_type(await lobby.upload(chunks()))  # is int
    await lobby.upload(room.messages())  # wrong
    await lobby.upload([b"x"])  # wrong


async def overloads(lobby: Lobby) -> None:
    reveal_type(await lobby.get("x"))  # is str
    reveal_type(await lobby.get(5))  # is int
    await lobby.get(1.5)  # wrong
    await lobby.get()  # wrong


async def generics(lobby: Lobby, reference: pb.RemoteReference) -> None:
    box = Box[int].of(reference)
    reveal_type(box)  # is Box[int]
    reveal_type(await box.get())  # is int
    reveal_type(await lobby.box())  # is Box[int]
    reveal_type(await Box[list[str]].of(reference).get())  # is list[str]
    await box.put("x")  # wrong
    other: Box[str] = box  # wrong
    mine: Box[int] = IntBox()
    texts: Box[str] = AnyBox("x")
    numbers: Box[int] = AnyBox("x")  # wrong
    print(other, mine, texts, numbers)


async def callbacks(lobby: Lobby) -> None:
    reveal_type(await lobby.hear(length))  # is int
    await lobby.hear(RoomServer().say)
    await lobby.hear(at_once)  # wrong
    await lobby.hear(number)  # wrong
    await lobby.hear(5)  # wrong
    count = await lobby.counter()
    reveal_type(await count(1))  # is int
    await count("x")  # wrong
    await pb.tell(count, 1)
    pb.callback(length)


async def pipelining(lobby: Lobby, room: Room) -> None:
    reveal_type(pb.pipeline(lobby.join("x")))  # is Room
    reveal_type(await pb.pipeline(lobby.join("x")).say("x"))  # is int
    reveal_type(await pb.pipeline(lobby.find("x")).say("x"))  # is int
    reveal_type([text async for text in pb.pipeline(lobby.join("x")).messages()])  # is list[str]
    await pb.pipeline(lobby.join("x")).say(5)  # wrong
    await pb.pipeline(lobby.join("x")).shout("x")  # wrong
    await pb.pipeline(lobby.join(5)).say("x")  # wrong
    await pb.pipeline(room).say("x")  # wrong
    await pb.pipeline(lobby.box()).put("x")  # wrong


async def telling(lobby: Lobby, room: Room) -> None:
    reveal_type(await pb.tell(room.say, "x"))  # is None
    await pb.tell(lobby.join, "x", MyGuest(), loud=True)
    await pb.tell(room.say, 5)  # wrong
    await pb.tell(room.say)  # wrong
    await pb.tell(room.say, "x", "y")  # wrong
    await pb.tell(lobby.join, "x", quiet=True)  # wrong
    await pb.tell(room, "x")  # wrong


async def connecting(url: str) -> None:
    async with pb.connect(url, Lobby) as lobby:
        reveal_type(lobby)  # is Lobby
    async with pb.connect(url, Box[int], timeout=5, username="x", password="y") as box:
        reveal_type(box)  # is Box[int]
    async with pb.connect(url, Lobby, reconnect=True) as lasting:
        reveal_type(lasting)  # is Lobby
    async with pb.connect(url) as reference:
        reveal_type(reference)  # is RemoteReference
    async with pb.connect(url, reconnect=pb.Backoff()) as always:
        reveal_type(always)  # is ReconnectingReference
        reveal_type(Lobby.of(always))  # is Lobby
    reveal_type(await pb.connect(url, Lobby))  # is Lobby
    pb.connect(url, 5)  # wrong
    pb.connect(url, Lobby, timeout="x")  # wrong
    pb.connect(url, Lobby, retry=5)  # wrong
    pb.connect(5, Lobby)  # wrong


async def references(lobby: Lobby, room: Room, reference: pb.RemoteReference) -> None:
    reveal_type(pb.reference(room))  # is RemoteReference
    pb.reference(room).on_disconnect(print)
    reveal_type(Room.of(reference))  # is Room
    reveal_type(Room.of(reference.call("join", "x")))  # is Room
    reveal_type(Loud.of(room))  # is Loud
    Room.of("x")  # wrong
    Room.of()  # wrong
    pb.reference("x")  # wrong
    room.call("say", "x")  # wrong
    reference.say("x")  # wrong
    value: Any = await reference.call("say", "x")
    print(value, lobby.connection)  # wrong


async def tasks(lobby: Lobby, room: Room) -> None:
    task = asyncio.create_task(lobby.join("x"))
    reveal_type(await task)  # is Room
    reveal_type(await asyncio.gather(room.say("x"), lobby.join("x")))  # is tuple[int, Room]
    async with asyncio.TaskGroup() as group:
        reveal_type(await group.create_task(room.history()))  # is list[str]
    async with asyncio.timeout(5):
        await room.say("x")
    async with pb.deadline(5):
        await room.say("x")


def looking(value: object) -> None:
    if isinstance(value, Room):
        reveal_type(value)  # is Room
    if isinstance(value, Guest):  # wrong
        print(value)


async def here() -> None:
    server = RoomServer()
    reveal_type(await server.say("x"))  # is int
    await server.say(5)  # wrong
    rooms: list[Room] = [server]
    await rooms[0].say("x")
    guest: Guest = server  # wrong
    print(guest)


# -- the blocking face


def waiting() -> None:
    with blocking.connect("tcp://x:1", Lobby, timeout=5) as lobby:
        reveal_type(lobby)  # is Lobby
        room = wait(lobby.join("x"))
        reveal_type(room)  # is Room
        reveal_type(wait(room.say("x"), timeout=1))  # is int
        reveal_type(wait(pb.pipeline(lobby.join("x")).say("hi")))  # is int
        wait(pb.tell(room.say, "x"))
        for text in wait(room.messages()):
            reveal_type(text)  # is str
        wait(room.say(5))  # wrong
        wait(room)  # wrong
        wait(room.say("x"), timeout="soon")  # wrong
    again = blocking.connect("tcp://x:1", Lobby, reconnect=True)
    reveal_type(again.root)  # is Lobby
    again.close()
    blocking.connect("tcp://x:1", Lobby, usernam="x")  # wrong
    blocking.connect("tcp://x:1", timeout="x")  # wrong
    with blocking.deadline("x"):  # wrong
        pass
    with blocking.connect("tcp://x:1") as root:
        reveal_type(root)  # is Remote
        print(root.greet("x"), root.call("greet", "x"), root.tell("greet"), list(root.items()))
    with blocking.connect("tcp://x:1", reconnect=pb.Backoff()) as lasting:
        reveal_type(lasting)  # is RemoteAlways
    with blocking.serve(pb.Root(), "tcp://x:1", timeout=None) as server, blocking.EventLoopThread() as thread:
        reveal_type(server.urls)  # is list[str]
        reveal_type(thread.run(asyncio.sleep(0, "x")))  # is str
