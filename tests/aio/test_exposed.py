"""Callbacks and wrapped objects at a peer: called, refused, sent again, sent home, released."""

from __future__ import annotations

import asyncio
import functools
import gc
import weakref
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest

import perspective_broker as pb
from perspective_broker.testing import assert_no_leaks, memory_pair
from tests.aio.desk import Desk, until
from tests.loops import both_loops


class Calculator:
    """Of a library that knows nothing of this one."""

    def __init__(self) -> None:
        self.log: list[Any] = []

    def add(self, one: int, two: int = 0) -> int:
        self.log.append(("add", one, two))
        return one + two

    async def multiply(self, one: int, two: int) -> int:
        await asyncio.sleep(0)
        return one * two

    def divide(self, one: int, two: int) -> float:
        return one / two

    def secret(self) -> None:
        raise AssertionError("nobody reaches this")


class Caller(Desk):
    """Calls what it is given."""

    async def remote_call_it(self, reference: pb.RemoteReference, *args: Any, **kwargs: Any) -> Any:
        return await reference.call("call", *args, **kwargs)

    async def remote_call_by_method(self, reference: pb.RemoteReference, *args: Any) -> Any:
        hear = reference.method("call")
        return await hear(*args)

    async def remote_error_of(self, reference: pb.RemoteReference, name: str, *args: Any) -> list[str]:
        try:
            await reference.call(name, *args)
        except pb.BrokerError as error:
            return [type(error).__name__, str(error)]
        raise AssertionError("nothing was raised")

    async def remote_read(self, reference: pb.RemoteReference) -> list[Any]:
        return [item async for item in reference.call("call")]

    def remote_kept_once(self) -> int:
        return len(set(self.kept))

    def remote_kept(self) -> list[Any]:
        return self.kept

    def remote_tell_it(self, reference: pb.RemoteReference, *args: Any) -> None:
        reference.tell("call", *args)


def add(one: int, two: int = 0) -> int:
    return one + two


async def add_later(one: int, two: int = 0) -> int:
    await asyncio.sleep(0)
    return one + two


def fail(text: str) -> None:
    raise pb.Error(text)


def broken() -> None:
    raise KeyError("a defect")


async def count() -> AsyncIterator[int]:
    for number in (1, 2, 3):
        yield number


@pytest.mark.parametrize(
    "function",
    [
        add,
        add_later,
        functools.partial(add),
        functools.partial(add_later),
        Calculator().add,
        lambda a, two: a + two,
    ],
)
@both_loops
async def test_a_callback_is_called(function: Callable[..., Any], dialect: str) -> None:
    async with memory_pair(Caller(), dialects=[dialect]) as pair:
        assert await pair.root.call("call_it", pb.callback(function), 1, two=2) == 3
        assert await pair.root.call("call_by_method", pb.callback(function), 1, 2) == 3
        await assert_no_leaks(pair.client, pair.accepted)


async def test_one_way_calls_of_a_callback_keep_their_order(dialect: str) -> None:
    heard: list[int] = []
    hear = pb.callback(heard.append)
    async with memory_pair(Caller(), dialects=[dialect]) as pair:
        for number in range(5):
            await pair.root.call("tell_it", hear, number)
        await until(lambda: len(heard) == 5)
    assert heard == [0, 1, 2, 3, 4]


async def test_a_callback_may_be_a_stream(dialect: str) -> None:
    async with memory_pair(Caller(), dialects=[dialect]) as pair:
        assert await pair.root.call("read", pb.callback(count)) == [1, 2, 3]


async def test_a_method_of_another_peer_is_a_callback(dialect: str) -> None:
    async with (
        memory_pair(Caller(), dialects=[dialect]) as pair,
        memory_pair(Desk(), dialects=[dialect]) as other,
    ):
        assert await pair.root.call("call_it", pb.callback(other.root.method("echo")), "there") == "there"


@pytest.mark.parametrize(
    ("exposed", "name", "args", "error"),
    [
        (pb.callback(add), "call", (), ["BadArguments", "call takes (one, two=...)"]),
        (pb.callback(add), "call", (1, 2, 3), ["BadArguments", "call takes (one, two=...)"]),
        (pb.callback(add_later), "call", (), ["BadArguments", "call takes (one, two=...)"]),
        (
            pb.callback(fail),
            "call",
            ("no luck",),
            ["RemoteError", "perspective_broker.errors.Error: no luck"],
        ),
        (pb.callback(broken), "call", (), ["RemoteError", "builtins.KeyError: 'a defect'"]),
        (
            pb.callback(add),
            "hear",
            (),
            ["NoSuchMethod", "Callback has no method 'hear' for its callers; a callback has one, 'call'"],
        ),
        (pb.wrap(Calculator(), "add"), "add", (), ["BadArguments", "add takes (one, two=...)"]),
        (
            pb.wrap(Calculator(), "divide"),
            "divide",
            (1, 0),
            ["RemoteError", "builtins.ZeroDivisionError: division by zero"],
        ),
        (
            pb.wrap(Calculator(), "add"),
            "secret",
            (),
            ["NoSuchMethod", "Calculator has no method 'secret' for its callers"],
        ),
    ],
)
async def test_errors_are_those_of_methods(
    exposed: pb.Referenceable, name: str, args: tuple[Any, ...], error: list[str], dialect: str
) -> None:
    async with memory_pair(Caller(), dialects=[dialect]) as pair:
        assert await pair.root.call("error_of", exposed, name, *args) == error


async def test_sent_again_it_is_the_same_object(dialect: str) -> None:
    calculator = Calculator()
    desk = Caller()
    async with memory_pair(desk, dialects=[dialect]) as pair:
        for _ in range(3):
            await pair.root.call("keep", pb.callback(calculator.add), pb.wrap(calculator, "add", "multiply"))
        assert await pair.root.call("kept_once") == 2
        assert pair.client.statistics().exported == 2
        home = await pair.root.call("kept")
        assert home[0] == pb.callback(calculator.add)
        assert home[1] == pb.wrap(calculator, "multiply", "add")
        del home
        await pair.root.call("drop")
        await assert_no_leaks(pair.client, pair.accepted)


@pytest.mark.parametrize(
    ("expose", "name"),
    [(lambda obj: pb.callback(obj.add), "call"), (lambda obj: pb.wrap(obj, "add"), "add")],
)
async def test_the_peer_keeps_it_alive(
    expose: Callable[[Calculator], pb.Referenceable], name: str, dialect: str
) -> None:
    calculator = Calculator()
    gone = weakref.ref(calculator)
    desk = Caller()
    async with memory_pair(desk, dialects=[dialect]) as pair:
        await pair.root.call("keep", expose(calculator))
        del calculator
        gc.collect()
        assert gone() is not None
        assert await desk.kept[0].call(name, 1) == 1
        await pair.root.call("drop")
        await pair.root.call("echo", 1)
        await until(lambda: gc.collect() is not None and gone() is None)
        await assert_no_leaks(pair.client, pair.accepted)


async def test_a_wrapped_object_is_served(dialect: str) -> None:
    calculator = Calculator()
    async with memory_pair(pb.wrap(calculator, "add", "multiply"), dialects=[dialect]) as pair:
        assert await pair.root.call("add", 1, two=2) == 3
        assert await pair.root.call("multiply", 3, 4) == 12
        for name in ("secret", "divide", "log", "__init__", "remote_add", "exposed"):
            with pytest.raises(pb.NoSuchMethod):
                await pair.root.call(name)
    assert calculator.log == [("add", 1, 2)]


async def test_a_callback_is_served(dialect: str) -> None:
    async with memory_pair(pb.callback(add_later), dialects=[dialect]) as pair:
        assert await pair.root.call("call", 1, 2) == 3


async def test_a_call_of_a_callback_is_cancelled_with_its_caller() -> None:
    began, ended = asyncio.Event(), asyncio.Event()

    async def wait() -> None:
        began.set()
        try:
            await asyncio.Event().wait()
        finally:
            ended.set()

    async with memory_pair(Caller(), dialects=["pb7"]) as pair:
        promise = pair.root.call("call_it", pb.callback(wait))
        await began.wait()
        promise.cancel()
        await ended.wait()
