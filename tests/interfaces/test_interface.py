"""Interface: what may be declared, and what `of` takes."""

from __future__ import annotations

import copy
import pickle
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any, ClassVar, Protocol, cast, get_args, get_origin

import pytest

import perspective_broker as pb
from perspective_broker.interfaces import HOOKS, Callee, declaration, is_interface
from tests.interfaces.chat import Box, Guest, Lobby, MyGuest, Room


class Later(pb.Interface, Protocol):
    async def meet(self, other: Earlier, unknown: Unknown) -> None: ...  # type: ignore[name-defined] # noqa: F821


class Earlier(pb.Interface, Protocol):
    async def meet(self, other: Later, itself: Earlier) -> None: ...


def test_what_is_an_interface() -> None:
    for interface in (Guest, Room, Lobby, Box, Box[int]):
        assert is_interface(interface)
    for other in (pb.Interface, MyGuest, Protocol, str, 5, None, list[int], Room.of):
        assert not is_interface(other)


def test_an_interface_with_type_arguments() -> None:
    assert get_origin(Box[int]) is Box
    assert get_args(Box[int]) == (int,)
    assert Box[int] == Box[int]
    assert pickle.loads(pickle.dumps(Box[int])) == Box[int]
    assert copy.copy(Box[int]) == Box[int]
    with pytest.raises(TypeError):
        cast(Any, Room)[int]


def test_an_interface_is_not_made() -> None:
    with pytest.raises(TypeError, match="Protocols cannot be instantiated"):
        cast(Any, Room)()


def refused(name: str, value: Any) -> str:
    with pytest.raises(TypeError) as caught:
        cast(Any, type(pb.Interface))("Bad", (pb.Interface, cast(Any, Protocol)), {name: value})
    return str(caught.value)


def test_what_an_interface_cannot_declare() -> None:
    def plain(self: Any) -> int:
        return 5

    async def fine(self: Any) -> int:
        return 5

    assert refused("plain", plain).startswith(
        "Bad.plain: a method of an interface is async, or answers an AsyncIter"
    )
    assert refused("value", property(fine)) == "Bad.value: an interface has methods, and no property"
    assert refused("value", classmethod(fine)) == "Bad.value: an interface has methods, and no classmethod"
    assert (
        refused("call", fine)
        == "Bad.call: references have a 'call' of their own; give the method another name"
    )
    assert refused("of", fine) == "Bad.of: interfaces have a 'of' of their own; give the method another name"
    with pytest.raises(TypeError, match=r"Bad\.value: an interface has methods, and no attributes"):

        class Bad(pb.Interface, Protocol):
            value: int


def test_what_cannot_be_checked_is_refused_when_the_interface_is_made() -> None:
    async def takes(self: Any, value: Any) -> None: ...

    def of(annotation: Any) -> Any:
        async def takes(self: Any, value: Any) -> None: ...

        takes.__annotations__["value"] = annotation
        return takes

    assert refused("takes", of(Room | Guest)).startswith("Bad.takes: value: ")
    assert "write Awaitable[int]" in refused("takes", of(Callable[[str], int]))
    for fine in (
        Room | str,
        Callable[[str], Awaitable[int]],
        Callable[..., Awaitable[Any]],
        AsyncIterator[Room],
    ):
        cast(Any, type(pb.Interface))("Good", (pb.Interface, cast(Any, Protocol)), {"takes": of(fine)})


def test_constants_and_private_names_are_no_methods() -> None:
    class Fine(pb.Interface, Protocol):
        LIMIT: ClassVar[int] = 5

        class Inner:
            pass

        def _helper(self) -> int:
            return 5

        async def go(self) -> None: ...

    assert set(declaration(Fine).methods) == {"go"}


def test_names_are_looked_up_late() -> None:
    methods = set(declaration(Earlier).forms(HOOKS))
    assert methods == {"meet"}
    with pytest.raises(
        TypeError, match=r"Later\.meet: there is no 'Unknown' in tests\.interfaces\.test_interface"
    ):
        Later.of(Callee())

    class LaterServer(pb.Root, Later):
        async def meet(self, other: Any, unknown: Any) -> None: ...

    with pytest.raises(TypeError, match=r"Later\.meet: there is no 'Unknown'"):
        pb.serve(LaterServer(), "memory:later")


def test_of_takes_references_and_own_objects_that_fit() -> None:
    me = MyGuest()
    assert Guest.of(me) is me
    for wrong in (None, 5, "x", MyGuest):
        with pytest.raises(
            TypeError, match=r"^Room\.of: takes a reference, a promise, or an object that implements it"
        ):
            Room.of(cast(Any, wrong))
    with pytest.raises(TypeError, match="implements it, not MyGuest"):
        Room.of(me)
    with pytest.raises(
        TypeError, match=r"Interface is not an interface: derive it from pb\.Interface and Protocol"
    ):
        pb.Interface.of(me)
