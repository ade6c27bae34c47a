"""The table of everyday values is true, and none is refused without a path and a remedy."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import AsyncGeneratorType
from typing import Any

import numpy
import pytest

import perspective_broker as pb
from perspective_broker.interfaces import Converter, converter
from perspective_broker.testing import memory_pair

from .everyday import ITSELF, REFUSED, REGISTRY, VALUES, Everyday, table

PAGE = Path(__file__).resolve().parents[2] / "docs" / "reference" / "values.md"

#: What advice contains.
REMEDIES = (
    "send ",
    "register it",
    "derive it",
    "make it",
    "call through",
    "annotate",
    "only their instances do",
)


class Stream(list[Any]):
    """What came as a stream."""


class Server(pb.Root):
    got: Any = None

    async def remote_take(self, value: Any, is_stream: bool) -> None:
        if is_stream:
            value = Stream([item async for item in value])
        self.got = value


class Hooks:
    def is_interface(self, annotation: object) -> bool:
        return False

    def proxy(self, interface: Any, reference: Any) -> object:
        raise AssertionError("no interface is annotated")

    def callable(self, annotation: Any, reference: Any) -> object:
        return reference

    def check_callable(self, annotation: Any) -> None: ...

    def send_callable(self, annotation: Any, function: Callable[..., Any]) -> object:
        return pb.callback(function)

    def stream(self, item: Converter, value: Any) -> object:
        return value


HOOKS = Hooks()


def arrival(sent: Any, got: Any) -> str:
    """Return the word of the table for what arrived."""
    if isinstance(got, pb.RemoteReference):
        return "a reference"
    if isinstance(got, Stream):
        return "a stream"
    if isinstance(sent, pb.Array):
        return "a numpy array" if isinstance(got, numpy.ndarray) else "other"
    if type(got) is type(sent):
        same = bool((got == sent).all()) if isinstance(got, numpy.ndarray) else bool(got == sent)
        return ITSELF if same or _alike(got, sent) else "other"
    if type(got).__name__.startswith("Pure"):
        return "its pure path"
    return f"`{type(got).__name__}`"


def _alike(one: Any, other: Any) -> bool:
    """Return whether two exceptions, which are never equal, have the same content."""
    return isinstance(one, BaseException) and one.args == other.args


def check(refusal: pb.SerializationError) -> None:
    """A refusal says where the value is, and what to do."""
    assert refusal.path == "args[0]"
    assert any(remedy in refusal.message for remedy in REMEDIES), refusal


async def untyped(value: Any, dialect: str) -> str:
    """Return what arrives in an untyped call."""
    server = Server()
    async with memory_pair(server, registry=REGISTRY, dialects=[dialect]) as pair:
        try:
            await pair.root.call("take", value, isinstance(value, AsyncGeneratorType))
        except pb.SerializationError as error:
            check(error)
            return REFUSED
        return arrival(value, server.got)


@pytest.mark.parametrize("each", VALUES, ids=lambda each: each.name)
async def test_what_crosses_in_an_untyped_call(each: Everyday) -> None:
    assert await untyped(each.make(), "pb7") == each.pb7
    for dialect in ("pb", "none"):
        assert await untyped(each.make(), dialect) == each.classic


@pytest.mark.parametrize("each", VALUES, ids=lambda each: each.name)
async def test_what_crosses_by_an_annotation(each: Everyday) -> None:
    value = each.make()
    try:
        made = converter(type(value) if each.annotation is None else each.annotation, HOOKS)
    except TypeError as error:
        check(pb.SerializationError(str(error), "args[0]"))
        assert each.typed == REFUSED
        return
    server = Server()
    async with memory_pair(server, dialects=["pb7"], registry=REGISTRY) as pair:
        try:
            await pair.root.call("take", made.send(value), isinstance(value, AsyncGeneratorType))
        except pb.SerializationError as error:
            check(error)
            assert each.typed == REFUSED
            return
        got = server.got if each.typed == "a stream" else made.receive(server.got, False)
        assert arrival(value, got) == each.typed


def test_few_everyday_values_are_refused() -> None:
    assert len(VALUES) == 83
    assert sum(each.pb7 == REFUSED for each in VALUES) <= 20
    assert sum(each.typed == REFUSED for each in VALUES) <= 12


def test_the_page_shows_the_table() -> None:
    assert table() in PAGE.read_text(encoding="utf-8")
