"""Rows 14 and 23: every call ends, for any method, without harm to others; a cancelled call ends its method."""

from __future__ import annotations

import asyncio
import logging
from typing import Any

import pytest

import perspective_broker as pb
from perspective_broker.testing import memory_pair
from tests.aio.desk import give_up_when, until
from tests.loops import both_loops


class Odd(BaseException):
    """An exception that ``except Exception`` does not catch."""


class Endless:
    """A value that raises when any attribute is read."""

    def __getattr__(self, name: str) -> Any:
        raise Odd(name)


class Awaitable:
    """Something to await that is broken."""

    def __await__(self) -> Any:
        raise TypeError("not to be awaited")


async def never_begun() -> None:
    raise AssertionError("nobody awaits it")


RAISED: dict[str, Any] = {
    "Exception": ValueError("a defect"),
    "pb.Error": pb.Error("expected"),
    "CancelledError": asyncio.CancelledError(),
    "SystemExit": SystemExit(3),
    "GeneratorExit": GeneratorExit(),
    "StopIteration": StopIteration(1),
    "StopAsyncIteration": StopAsyncIteration(),
    "TimeoutError": TimeoutError(),
    "RecursionError": RecursionError("too deep"),
    "MemoryError": MemoryError(),
    "group": BaseExceptionGroup("several", [ValueError(1), SystemExit(2)]),
    "own BaseException": Odd("odd"),
    "one that cannot be shown": type("Mute", (Exception,), {"__str__": lambda self: 1 / 0})(),
}

JUNK: dict[str, Any] = {
    "an object": object(),
    "a class": Odd,
    "a function": len,
    "a generator": (n for n in range(3)),
    "a value that raises when it is looked at": Endless(),
    "something broken to await": Awaitable(),
    "a cycle": None,
    "NotImplemented": NotImplemented,
    "a lone surrogate": "\ud800",
    "an integer without end": 1 << 100_000,
}
JUNK["a cycle"] = [JUNK]
JUNK["a cycle"].append(JUNK["a cycle"])


class Bad(pb.Root):
    """Raises and returns the requested values, at once or later."""

    def remote_raise(self, what: str) -> None:
        raise RAISED[what]

    async def remote_raise_later(self, what: str) -> None:
        await asyncio.sleep(0)
        raise RAISED[what]

    def remote_return(self, what: str) -> Any:
        return JUNK[what]

    async def remote_return_later(self, what: str) -> Any:
        await asyncio.sleep(0)
        return JUNK[what]

    def remote_echo(self, value: Any) -> Any:
        return value


@both_loops
@pytest.mark.parametrize("dialect", ["pb7", "pb"])
@pytest.mark.parametrize("method", ["raise", "raise_later", "return", "return_later"])
async def test_whatever_a_method_raises_or_returns_its_call_ends(
    method: str, dialect: str, caplog: pytest.LogCaptureFixture
) -> None:
    complaints: list[Any] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: complaints.append(context))
    async with memory_pair(Bad(), url="tcp://127.0.0.1:0", dialects=[dialect]) as pair:
        for what in RAISED if method.startswith("raise") else JUNK:
            caplog.clear()
            async with asyncio.timeout(60):
                (outcome,) = await asyncio.gather(pair.root.call(method, what), return_exceptions=True)
            assert isinstance(outcome, Exception), what
            assert not isinstance(outcome, pb.ConnectionLost), what
            assert await pair.root.call("echo", what) == what
            assert len([record for record in caplog.records if record.levelno >= logging.WARNING]) <= 1, what
        assert pair.accepted.statistics().calls_in == 0
    assert complaints == []


# -- deadlines


class Hop(pb.Root):
    """Hands a call on to the next program, if there is one."""

    def __init__(self, following: pb.RemoteReference | None = None) -> None:
        self.following = following
        self.running = 0
        self.cancelled = 0

    async def remote_work(self) -> None:
        self.running += 1
        try:
            if self.following is None:
                await asyncio.Event().wait()
            else:
                await self.following.call("work")
        except asyncio.CancelledError:
            self.cancelled += 1
            raise
        finally:
            self.running -= 1


async def test_who_gives_up_first_gives_up_for_all_that_were_called_on_the_way() -> None:
    last = Hop()
    async with (
        pb.serve(last, "tcp://127.0.0.1:0") as third,
        pb.connect(third.urls[0]) as second_to_third,
        pb.serve(middle := Hop(second_to_third), "tcp://127.0.0.1:0") as second,
        pb.connect(second.urls[0]) as root,
    ):
        with pytest.raises(TimeoutError):
            await give_up_when(lambda: last.running, root.call("work"))
        await until(lambda: not last.running)
        assert (middle.cancelled, last.cancelled) == (1, 1)
        for connection in (root.connection, second_to_third.connection):
            # The slot is free when the peer has answered, after the method has ended.
            await until(lambda statistics=connection.statistics: not statistics().calls_out)
