"""Descriptions of objects with interfaces: signatures with types, and schemas of the arguments."""

from __future__ import annotations

from collections.abc import AsyncIterator
from enum import Enum
from typing import TYPE_CHECKING, Annotated, Any, Literal, Protocol

import msgspec

import perspective_broker as pb
from perspective_broker.flavors import export_target
from perspective_broker.flavors.describing import Described
from perspective_broker.interfaces import described
from perspective_broker.remote import Remote
from perspective_broker.testing import memory_pair
from tests.interfaces.chat import IntBox, Lobby, LobbyServer, Note, Room, RoomServer

if TYPE_CHECKING:
    from decimal import Decimal  # for type checkers alone


def of(obj: Any, perspective: Any = None) -> Described:
    return described(export_target(obj, perspective))


def spelled(description: Described) -> list[str]:
    return [text for method in description["methods"] for text in method["signatures"]]


def parameters(description: Described, name: str) -> Any:
    return next(method["parameters"] for method in description["methods"] if method["name"] == name)


def test_methods_are_those_of_the_interface_and_others_come_behind() -> None:
    description = of(LobbyServer())
    assert description["name"] == "LobbyServer"
    assert description["doc"] == "Where guests come first."
    assert description["interfaces"] == ["Lobby"]
    assert spelled(description) == [
        "join(name: str, guest: Guest | None = None, *, loud: bool = False) -> Room",
        "find(name: str) -> Room | None",
        "both(who: Guest | str) -> str",
        "hear(function: Callable[[str], Awaitable[int]]) -> int",
        "counter() -> Callable[[int], Awaitable[int]]",
        "box() -> Box[int]",
        "note(note: Note, *more: Note, mood: Mood = ...) -> Note",
        "anything(value: Any, *args: int, **kwargs: str) -> list[Any]",
        "get(key: str) -> str",
        "get(key: int, default: int = ...) -> int",
        "upload(chunks: AsyncIterator[bytes]) -> int",
        "untyped(*args)",
    ]
    assert description["methods"][0]["doc"] == "Enter a room."
    room = of(RoomServer())
    assert [method["name"] for method in room["methods"] if method["stream"]] == ["messages", "notes"]
    assert of(IntBox())["interfaces"] == ["Box[int]"]
    assert of(RoomServer()) is of(RoomServer())


def test_schemas_are_complete_in_themselves() -> None:
    lobby = of(LobbyServer())
    joining = parameters(lobby, "join")
    assert joining["properties"]["name"] == {"type": "string"}
    assert joining["properties"]["guest"] == {"anyOf": [{"description": "Guest"}, {"type": "null"}]}
    assert joining["required"] == ["name"]
    assert joining["additionalProperties"] is False
    note = parameters(lobby, "note")
    assert note["properties"]["note"] == {"$ref": "#/$defs/Note"}
    assert note["$defs"]["Note"]["properties"]["tags"] == {"type": "array", "items": {"type": "string"}}
    assert [form["required"] for form in parameters(lobby, "get")["anyOf"]] == [["key"], ["key"]]
    assert parameters(lobby, "anything")["additionalProperties"] is True
    assert parameters(lobby, "both")["properties"] == {"who": {"description": "Guest | str"}}
    assert parameters(of(IntBox()), "put")["properties"] == {"value": {"type": "integer"}}


class Size(Enum):
    SMALL = 1


class Shop(pb.Interface, Protocol):
    """Sells."""

    async def buy(
        self,
        count: Annotated[int, msgspec.Meta(ge=1)],
        kind: Literal["a.b", "c"] = "c",
        size: Size = Size.SMALL,
        note: str = "x" * 100,
        rest: Any = object(),  # noqa: B008 # what is tested
    ) -> dict[str, pb.RemoteReference]: ...

    def offers(self) -> AsyncIterator[str]: ...

    async def later(self) -> AsyncIterator[str]: ...


class Seller(pb.Viewable, offers=(Shop, Room)):
    async def view_buy(self, who: Any, count: int, kind: str = "c", *more: Any, **rest: Any) -> Any: ...

    async def view_offers(self, who: Any) -> AsyncIterator[str]:
        yield ""

    async def view_later(self, who: Any) -> Any: ...

    async def view_say(self, who: Any, text: str) -> int:
        return 1

    async def view_history(self, who: Any, last: int = 10) -> list[str]:
        return []

    async def view_messages(self, who: Any) -> AsyncIterator[str]:
        yield ""

    async def view_notes(self, who: Any) -> AsyncIterator[Note]:
        yield Note("", [])

    def view_close(self, who: Any, door: int) -> None: ...


def test_a_view_that_offers_two_interfaces() -> None:
    description = of(Seller(), object())
    assert description["doc"] == "Sells."
    assert description["interfaces"] == ["Shop", "Room"]
    assert spelled(description) == [
        "buy(count: Annotated[int, Meta(ge=1)], kind: Literal['a.b', 'c'] = 'c', size: Size = Size.SMALL,"
        " note: str = ..., rest: Any = ...) -> dict[str, RemoteReference]",
        "offers() -> AsyncIterator[str]",
        "later() -> AsyncIterator[str]",
        "say(text: str) -> int",
        "history(last: int = 10) -> list[str]",
        "messages() -> AsyncIterator[str]",
        "notes() -> AsyncIterator[Note]",
        "close(door)",
    ]
    buy = parameters(description, "buy")["properties"]
    assert buy["count"] == {"type": "integer", "minimum": 1}
    assert buy["kind"] == {"enum": ["a.b", "c"]}
    streams = [method["name"] for method in description["methods"] if method["stream"]]
    assert streams == ["offers", "later", "messages", "notes"]


def test_names_that_only_type_checkers_know_have_no_schema() -> None:
    class Bank(pb.Interface, Protocol):
        async def pay(self, amount: Decimal) -> None: ...

        def log(self) -> AsyncIterator[Decimal]: ...

    class BankServer(pb.Referenceable, Bank):
        async def pay(self, amount: Decimal) -> None: ...

        async def log(self) -> AsyncIterator[Decimal]:
            yield amount()  # type: ignore[name-defined] # noqa: F821 # never called

    holder = BankServer()
    target = pb.Referenceable._pb_export_target(holder, None)  # by export_target it is refused
    description = described(target)
    assert spelled(description) == ["pay(amount: Decimal) -> None", "log() -> AsyncIterator[Decimal]"]
    assert parameters(description, "pay")["properties"] == {"amount": {}}
    assert [method["stream"] for method in description["methods"]] == [False, True]


async def test_asked_for_by_way_of_a_proxy_and_a_promise() -> None:
    async with memory_pair(LobbyServer()) as pair:
        lobby = Lobby.of(pair.root)
        description = await pb.describe(lobby)
        assert description.interfaces == ("Lobby",)
        method = description.method("join")
        assert method is not None
        assert method.signatures[0].startswith("join(name: str, ")
        room = await lobby.join("x")
        assert (await pb.describe(room)).name == "RoomServer"
        remote = Remote(room)
        assert await remote.say("hi") == 1
        assert [item async for item in remote.messages()] == ["hi"]
        assert pb.reference(remote) is pb.reference(room)
        untyped = Remote(lobby)
        assert await untyped.join("x") == remote
        assert await untyped.untyped(remote) == [remote]
