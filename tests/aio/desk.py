"""The object that most tests of this room serve."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import perspective_broker as pb

__all__ = ["Desk", "give_up_when", "turns", "until"]


class Desk(pb.Root):
    """Records its calls in ``log``, and keeps its arguments on request."""

    def __init__(self) -> None:
        self.log: list[Any] = []
        self.kept: list[Any] = []
        self.gate = asyncio.Event()  #: what ``wait`` waits for
        self.waiting = 0
        self.cancelled = 0

    def remote_echo(self, *args: Any) -> Any:
        return args[0] if len(args) == 1 else args

    def remote_keywords(self, **kwargs: Any) -> Any:
        return kwargs

    def remote_plain(self, mark: Any) -> None:
        self.log.append(mark)

    async def remote_async(self, mark: Any) -> None:
        self.log.append(mark)

    async def remote_async_slow(self, mark: Any) -> None:
        self.log.append(mark)
        await asyncio.sleep(0)

    def remote_awaitable(self, mark: Any) -> Awaitable[Any]:
        self.log.append(mark)
        done = asyncio.get_running_loop().create_future()
        done.set_result(mark)
        return done

    def remote_wrapped(self, mark: Any) -> Awaitable[None]:
        """An asynchronous method behind a decorator: plain from outside."""
        return self.remote_async(mark)

    async def remote_wait(self, value: Any = None) -> Any:
        self.waiting += 1
        try:
            await self.gate.wait()
        except asyncio.CancelledError:
            self.cancelled += 1
            raise
        finally:
            self.waiting -= 1
        return value

    def remote_keep(self, *things: Any) -> None:
        self.kept.extend(things)

    def remote_drop(self) -> None:
        self.kept.clear()

    def remote_me(self) -> Desk:
        return self

    def remote_new(self) -> Desk:
        desk = Desk()
        desk.log = self.log
        return desk

    def remote_raise(self, error: str = "builtins.ValueError") -> None:
        raise {
            "pb.Error": pb.Error("expected"),
            "builtins.ValueError": ValueError("a defect"),
            "builtins.SystemExit": SystemExit(3),
            "CancelledError": asyncio.CancelledError(),
        }[error]

    async def remote_raise_async(self, error: str) -> None:
        self.remote_raise(error)


async def turns(number: int = 20) -> None:
    """Let the event loop turn."""
    for _ in range(number):
        await asyncio.sleep(0)


async def until(condition: Any, turns: int = 100_000) -> None:
    """Let the event loop turn until ``condition()``; the test fails when it never comes."""
    for _ in range(turns):
        if condition():
            return
        await asyncio.sleep(0)
    raise AssertionError("what the test waits for did not come")


async def give_up_when(condition: Callable[[], Any], awaitable: Awaitable[Any]) -> Any:
    """Await something under a timeout that expires when ``condition()`` is true, not before."""
    async with asyncio.timeout(None) as patience:
        await until(condition)
        patience.reschedule(asyncio.get_running_loop().time())
        return await awaitable
