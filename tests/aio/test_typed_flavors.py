"""Interfaces of perspectives and views, over sockets, after a login; and what Python 2 peers send."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any, Protocol

import pytest

import perspective_broker as pb
from tests.interfaces.chat import Lobby, LobbyServer, Note, Room


class Desk(pb.Interface, Protocol):
    async def sit_down(self, mood: str = "good") -> Room: ...
    async def size(self, pair: tuple[int, str]) -> int: ...


class RoomView(pb.Viewable, offers=Room):
    async def view_say(self, who: Player, text: str) -> int:
        return len(f"{who.name}: {text}")

    def view_history(self, who: Player, last: int = 10) -> list[str]:
        return [who.name] * last

    async def view_messages(self, who: Player) -> AsyncIterator[str]:
        yield who.name

    async def view_notes(self, who: Player) -> AsyncIterator[Note]:
        yield Note(who.name, [])


class Player(pb.Perspective["Cards"], offers=Desk):
    def perspective_sit_down(self, mood: str = "good") -> RoomView:
        return self.service.room

    async def perspective_size(self, pair: tuple[int, str]) -> int:
        return len(pair)


class DerivedPlayer(pb.Perspective["Cards"], Desk):
    async def sit_down(self, mood: str = "good") -> Any:
        return self.service.room

    async def size(self, pair: tuple[int, str]) -> int:
        return len(pair)


class Cards(pb.Service):
    def __init__(self, perspective_class: type[pb.Perspective]) -> None:
        super().__init__("cards", perspective_class)
        self.room = RoomView()


async def application(perspective_class: type[pb.Perspective]) -> pb.Application:
    users = pb.MemoryAuthorizer(iterations=4096)
    await users.create("alice", "secret")
    await users.grant("alice", "cards")
    application = pb.Application("games", users)
    application.add_service(Cards(perspective_class))
    return application


@pytest.mark.parametrize("dialect", ["pb7", "pb"])
@pytest.mark.parametrize("kind", [Player, DerivedPlayer])
async def test_a_user_has_a_typed_perspective_and_a_typed_view(
    dialect: str, kind: type[pb.Perspective]
) -> None:
    who: dict[str, Any] = {"username": "alice", "password": "secret", "service": "cards"}
    async with (
        pb.serve(await application(kind), "tcp://127.0.0.1:0", dialects=[dialect]) as server,
        pb.connect(server.urls[0], Desk, **who) as desk,
    ):
        room = await desk.sit_down()
        assert await room.say("hi") == len("alice: hi")
        assert await room.history(2) == ["alice", "alice"]
        assert [text async for text in room.messages()] == ["alice"]
        assert [note async for note in room.notes()] == [Note("alice", [])]
        assert await pb.pipeline(desk.sit_down()).say("") == len("alice: ")
        with pytest.raises(pb.BadArguments, match=r"^say: text: expected str, got int$"):
            await pb.reference(room).call("say", 5)
        with pytest.raises(pb.BadArguments, match=r"^say takes \(text\)$"):
            await pb.reference(room).call("say")
        with pytest.raises(pb.BadArguments, match=r"^sit_down: mood: expected str, got int$"):
            await pb.reference(desk).call("sit_down", 5)
        assert await desk.size((1, "x")) == 2


async def test_bytes_pass_for_text_and_lists_for_tuples_on_classic_connections_alone() -> None:
    async with pb.serve(LobbyServer(), "tcp://127.0.0.1:0") as server:
        async with pb.connect(server.urls[0], dialects=["pb"]) as root:
            assert isinstance(await root.call("join", b"kitchen"), pb.RemoteReference)
            assert await root.call("get", b"kitchen") == "KITCHEN"
            with pytest.raises(pb.BadArguments, match="join: name: "):
                await root.call("join", b"\xff")
        async with pb.connect(server.urls[0], dialects=["pb7"]) as root:
            with pytest.raises(pb.BadArguments, match=r"^join: name: expected str, got bytes$"):
                await root.call("join", b"kitchen")
    application_ = await application(Player)
    async with pb.serve(application_, "tcp://127.0.0.1:0") as server:
        who: dict[str, Any] = {"username": "alice", "password": "secret", "service": "cards"}
        async with pb.connect(server.urls[0], dialects=["pb"], **who) as player:
            assert await player.call("size", [1, b"x"]) == 2
        async with pb.connect(server.urls[0], dialects=["pb7"], **who) as player:
            with pytest.raises(pb.BadArguments, match=r"^size: pair: expected "):
                await player.call("size", [1, "x"])


@pytest.mark.parametrize("dialect", ["pb7", "pb"])
async def test_answers_of_a_classic_peer_are_read_as_such(dialect: str) -> None:
    class Old(pb.Root):
        def remote_join(self, name: str) -> Any:
            return self

        def remote_both(self, who: Any) -> bytes:
            return b"both"

    async with (
        pb.serve(Old(), "tcp://127.0.0.1:0", dialects=[dialect]) as server,
        pb.connect(server.urls[0], Lobby) as lobby,
    ):
        if dialect == "pb":
            assert await lobby.both("x") == "both"
            ahead: Any = Lobby.of(pb.reference(lobby).call("join", "x"))
            assert await ahead.both("x") == "both"
        else:
            with pytest.raises(pb.BadAnswer):
                await lobby.both("x")
