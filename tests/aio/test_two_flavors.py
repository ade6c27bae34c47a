"""An object of two flavors is sent as a reference: state that must stay in its program is never copied."""

from __future__ import annotations

from typing import Any

import pytest

import perspective_broker as pb
from perspective_broker.flavors import Exportable
from perspective_broker.testing import memory_pair


class Both(pb.Referenceable, pb.Copyable):
    def __init__(self) -> None:
        self.password = "not to leave this program"

    def remote_hello(self) -> str:
        return "hello"


class Reversed(pb.Copyable, pb.Referenceable):
    remote_hello = Both.remote_hello


class Door(pb.Cacheable, pb.Referenceable):
    remote_hello = Both.remote_hello


class Signal(pb.Live, pb.Referenceable):
    remote_hello = Both.remote_hello


class Carrier(pb.Error, pb.Copyable, pb.Referenceable):
    """An exception that is raised crosses as its text, with any flavor."""


class Shared(pb.Viewable, pb.Copyable):
    def view_hello(self, perspective: Any) -> str:
        return "hello"


KINDS = [Both, Reversed, Door, Signal]
each_kind = pytest.mark.parametrize("kind", KINDS)


class Root(pb.Root):
    def remote_make(self, number: int) -> Any:
        return KINDS[number]()

    def remote_shared(self) -> Any:
        return pb.ViewPoint(pb.Perspective("alice"), Shared())

    def remote_look(self, value: Any) -> str:
        return type(value["thing"][0]).__name__

    def remote_raise(self) -> None:
        raise Carrier("no tea")


@each_kind
async def test_it_goes_as_a_reference(kind: type[Any], dialect: str) -> None:
    async with memory_pair(Root(), dialects=[dialect]) as pair:
        assert await pair.root.call("look", {"thing": (kind(),)}) == "RemoteReference"
        made = await pair.root.call("make", KINDS.index(kind))
        assert isinstance(made, pb.RemoteReference)
        assert await made.call("hello") == "hello"
        # Also where the answer has not come yet, and the call on it goes along.
        assert await pair.root.call("make", KINDS.index(kind)).call("hello") == "hello"


async def test_a_view_of_it_and_an_error_that_is_raised(dialect: str) -> None:
    async with memory_pair(Root(), dialects=[dialect]) as pair:
        assert await (await pair.root.call("shared")).call("hello") == "hello"
        with pytest.raises(pb.RemoteError, match="no tea") as caught:
            await pair.root.call("raise")
        assert caught.value.check(Carrier)
        assert isinstance(Carrier(), Exportable)
