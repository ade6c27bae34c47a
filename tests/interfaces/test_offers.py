"""Which methods a class offers by its interfaces, and what is refused when it is made."""

from __future__ import annotations

import functools
import inspect
import re
from collections.abc import AsyncIterator, Callable
from typing import Any, Protocol, TypeVar, cast, runtime_checkable

import pytest

import perspective_broker as pb
from perspective_broker.errors import BadArguments, NoSuchMethod
from perspective_broker.flavors import export_target
from perspective_broker.flavors.dispatch import find_call
from perspective_broker.interfaces import interfaces_of, methods_of
from tests.interfaces.chat import Box, Guest, IntBox, Lobby, LobbyServer, MyGuest, Note, Room, RoomServer

T = TypeVar("T")


@runtime_checkable
class Pair(pb.Interface, Protocol):
    async def add(self, one: int, two: int = 0) -> int:
        """Add up."""


class Loud(Pair, Protocol):
    async def shout(self, text: str, /, *, twice: bool) -> str: ...


def reached(obj: Any, name: str, *args: Any, perspective: Any = None, **kwargs: Any) -> Any:
    """Call what a peer reaches under a name."""
    target = export_target(obj, perspective)
    method, (received, named, sender) = find_call(target, name, args, kwargs)
    result = method(*received, **named)
    if inspect.iscoroutine(result):
        with pytest.raises(StopIteration) as ended:
            result.send(None)
        result = ended.value.value
    return result if sender is None else sender.send(result)


# -- what is offered


def test_a_class_that_derives() -> None:
    class Adder(pb.Referenceable, Loud):
        async def add(self, one: int, two: int = 0, *extra: int) -> int:
            return one + two + sum(extra)

        @pb.sync
        def shout(self, text: str, /, *, twice: bool) -> str:
            return text.upper() * (1 + twice)

        def remote_beside(self, value: Any) -> Any:
            return value

        def other(self) -> None: ...

    adder = Adder()
    assert reached(adder, "add", 1, two=2) == 3
    assert reached(adder, "shout", "a", twice=True) == "AA"
    assert reached(adder, "beside", "x") == "x"
    with pytest.raises(BadArguments, match=r"^add takes \(one, two=\.\.\.\)$"):
        reached(adder, "add", 1, 2, 3)  # the interface has no more
    with pytest.raises(BadArguments, match=r"^shout takes \(text, /, \*, twice\)$"):
        reached(adder, "shout", text="a", twice=True)
    for name in ("other", "of", "_shout", "remote_beside", "__init__"):
        with pytest.raises(NoSuchMethod):
            reached(adder, name)


def test_a_plain_method_may_stand_for_an_asynchronous_one() -> None:
    class Plain(pb.Referenceable, Pair):
        def add(self, one: int, two: int = 0) -> int:  # type: ignore[override]
            return one + two

    assert reached(Plain(), "add", 1) == 1


async def test_sync_is_awaited_in_this_program() -> None:
    room = RoomServer()
    assert await room.say("x") == 1
    assert not inspect.iscoroutinefunction(find_call(export_target(room, None), "say", ("x",), {})[0])
    for wrong in (len, RoomServer.history, functools.partial(print)):
        with pytest.raises(TypeError, match="sync: takes a plain function"):
            pb.sync(cast(Any, wrong))


def test_a_subclass_overrides_and_inherits() -> None:
    class Deaf(RoomServer):
        async def say(self, text: str) -> int:  # type: ignore[override]
            return -1

    class Deafer(Deaf):
        pass

    assert reached(Deafer(), "say", "x") == -1
    assert reached(Deafer(), "history") == []
    room = RoomServer()
    cast(Any, room).say = lambda text: 7  # of this object
    assert reached(room, "say", "x") == 7
    cast(Any, room).say = None
    with pytest.raises(NoSuchMethod):
        reached(room, "say", "x")


def test_a_view_names_the_interface() -> None:
    class RoomView(pb.Viewable, offers=Room):
        async def view_say(self, who: Any, text: str) -> int:
            return len(who + text)

        def view_history(self, who: Any, last: int = 10) -> list[str]:
            return [who] * last

        async def view_messages(self, who: Any) -> AsyncIterator[str]:
            yield who

        async def view_notes(self, who: Any) -> AsyncIterator[Note]:
            yield Note(who, [])

        def view_beside(self, who: Any, value: Any) -> Any:
            return (who, value)

    room = RoomView()
    assert reached(room, "say", "abc", perspective="me") == 5
    assert reached(room, "history", last=2, perspective="me") == ["me", "me"]
    assert reached(room, "beside", 1, perspective="me") == ("me", 1)
    with pytest.raises(BadArguments, match="say: text: expected str, got int"):
        reached(room, "say", 1, perspective="me")
    assert isinstance(room, Room)
    assert not isinstance(room, Guest)
    assert issubclass(RoomView, Room)

    class Quiet(RoomView):
        async def view_say(self, who: Any, text: str) -> int:
            return 0

    assert reached(Quiet(), "say", "x", perspective="me") == 0
    assert isinstance(Quiet(), Room)


def test_perspectives_and_referenceables_name_interfaces_too() -> None:
    class Player(pb.Perspective, offers=(Pair, Guest)):
        def perspective_add(self, one: int, two: int = 0) -> int:
            return one + two

        async def perspective_arrived(self, who: str) -> None: ...

    class Adder(pb.Referenceable, offers=Pair):
        def remote_add(self, one: int, two: int = 0) -> int:
            return one + two

    for adder in (Player("x"), Adder()):
        assert reached(adder, "add", 1, 2) == 3
        with pytest.raises(BadArguments):
            reached(adder, "add", "1")
        assert isinstance(adder, Pair)
    assert reached(Player("x"), "arrived", "y") is None


def test_generic_interfaces() -> None:
    class AnyBox(pb.Referenceable, Box[T]):
        def __init__(self, value: T) -> None:
            self.value = value

        async def get(self) -> T:
            return self.value

        async def put(self, value: T) -> None:
            self.value = value

    class NoteBox(AnyBox[Note]):
        pass

    class Named(pb.Referenceable, offers=Box[str]):
        def remote_get(self) -> str:
            return "x"

        def remote_put(self, value: str) -> None: ...

    assert reached(AnyBox(1), "put", "anything") is None
    box = NoteBox(Note("a", []))
    with pytest.raises(BadArguments, match=r"put: value: expected .*Note, got str"):
        reached(box, "put", "x")
    reached(box, "put", {"text": "b", "tags": []})
    assert box.value == Note("b", [])
    with pytest.raises(BadArguments, match="put: value: expected str, got int"):
        reached(Named(), "put", 1)
    with pytest.raises(BadArguments, match="put: value: expected int, got str"):
        reached(IntBox(), "put", "x")


def test_what_a_class_offers_can_be_read() -> None:
    assert [of.interface for of in interfaces_of(IntBox)] == [Box[int]]
    assert [of.interface for of in interfaces_of(LobbyServer)] == [Lobby]
    assert interfaces_of(pb.Root) == ()
    assert methods_of(pb.Root) == {}

    class Adder(pb.Referenceable, Loud):
        async def add(self, one: int, two: int = 0) -> int:
            return one

        async def shout(self, text: str, /, *, twice: bool) -> str:
            return text

    assert [of.interface for of in interfaces_of(Adder)] == [Loud]
    methods = methods_of(Adder)
    assert set(methods) == {"add", "shout"}
    of, add = methods["add"]
    assert add.interface is Pair
    assert add.doc == "Add up."
    assert [str(signature) for signature in add.signatures] == ["(one: 'int', two: 'int' = 0) -> 'int'"]
    assert of.hints(add) == [{"one": int, "two": int, "return": int}]


# -- what is refused


def refused(make: Callable[[], object]) -> str:
    with pytest.raises(TypeError) as caught:
        make()
    return re.sub(r"[\w.<>]*<locals>\.", "", str(caught.value))


def derives(*bases: Any, **methods: Any) -> Callable[[], object]:
    return lambda: type("Server", bases, methods)


def test_missing_methods() -> None:
    assert refused(derives(pb.Root, Pair)) == "Server has no method add(one, two=...), which Pair declares"
    assert refused(derives(pb.Root, Loud, add=lambda self, one, two=0: 0)) == (
        "Server has no method shout(text, /, *, twice), which Loud declares"
    )
    assert refused(lambda: type("Server", (pb.Root,), {}, offers=Pair)) == (
        "Server has no method remote_add(one, two=...), which Pair declares"
    )
    assert refused(derives(pb.Root, Pair, add=5)) == "Server.add is not a method, as Pair declares"


def nothing(self: Any) -> None: ...


def fewer(self: Any, one: Any) -> None: ...


def no_default(self: Any, one: Any, two: Any) -> None: ...


def other_name(self: Any, one: Any, three: Any = 0) -> None: ...


def keyword_only(self: Any, one: Any, *, two: Any = 0) -> None: ...


def one_more(self: Any, one: Any, two: Any = 0, *, three: Any) -> None: ...


@pytest.mark.parametrize(
    ("method", "spelled"),
    [
        (nothing, "()"),
        (fewer, "(one)"),
        (no_default, "(one, two)"),
        (other_name, "(one, three=...)"),
        (keyword_only, "(one, *, two=...)"),
        (one_more, "(one, two=..., *, three)"),
    ],
)
def test_methods_that_do_not_fit(method: Any, spelled: str) -> None:
    assert refused(derives(pb.Root, Pair, add=method)) == (
        f"Server.add does not fit Pair: add{spelled} is to take all that add(one, two=...) takes"
    )


def test_a_method_of_a_view_takes_the_perspective_first() -> None:
    assert "write class Server(..., offers=Pair)" in refused(derives(pb.Viewable, Pair, add=fewer))
    make = lambda: type("Server", (pb.Viewable,), {"view_add": fewer}, offers=Pair)  # noqa: E731
    assert (
        refused(make)
        == "Server.view_add does not fit Pair: view_add() is to take all that add(one, two=...) takes"
    )


def test_names_that_meet() -> None:
    assert refused(derives(pb.Root, Pair, add=lambda self, one, two=0: 0, remote_add=nothing)) == (
        "Server has both add and remote_add; callers know them as add"
    )

    class Clients(pb.Interface, Protocol):
        async def clients(self) -> None: ...

    assert "a Perspective has a 'clients' of its own; use offers=" in refused(
        derives(pb.Perspective, Clients)
    )

    class Player(pb.Perspective, offers=Clients):
        def perspective_clients(self) -> None: ...

    assert reached(Player("x"), "clients") is None


def test_what_offers_takes() -> None:
    for wrong in (pb.Interface, RoomServer, Room.of, "Room", 5, (Room, str)):
        make = lambda wrong=wrong: type("Server", (pb.Root,), {}, offers=wrong)  # noqa: E731
        assert "offers= takes an interface" in refused(cast(Any, make))
    assert "objects of this flavor are not called by interfaces" in refused(
        lambda: type("Server", (pb.AsReferenceable,), {}, offers=Room)
    )


def test_own_objects_are_instances() -> None:
    assert isinstance(MyGuest(), Guest)
    assert not isinstance(MyGuest(), Room)
    assert issubclass(MyGuest, Guest)
    assert not issubclass(MyGuest, Room)
    assert not isinstance(3, Room)
    assert isinstance(MyGuest(), cast(Any, pb.Interface))
