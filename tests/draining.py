"""Shared by the tests of programs that get a signal to stop: a call that runs meanwhile, and its arrival."""

from __future__ import annotations

import asyncio

import pytest

import perspective_broker as pb

__all__ = ["Client", "until_it_drains"]


class Client(pb.Referenceable):
    """Handed to a method that asks it: the call runs until the test lets it answer."""

    def __init__(self) -> None:
        self.asked = asyncio.Event()
        self.may_answer = asyncio.Event()

    async def remote_answer(self) -> str:
        self.asked.set()
        await self.may_answer.wait()
        return "at last"


async def until_it_drains(root: pb.RemoteReference) -> None:
    """Return when the program at the other end, which echoes, takes no new calls any more."""

    async def call_again_and_again() -> None:
        while True:
            await root.call("echo", 1)

    with pytest.raises(pb.Unavailable, match="shutting down"):
        await call_again_and_again()
