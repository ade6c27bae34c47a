"""Random lives of a connection with all features on top of calls: streams both ways, promises, deadlines, large values.

In any order of starting and leaving, every call ends, every generator is closed, and both tables are empty.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import perspective_broker as pb
from perspective_broker.testing import assert_no_leaks, memory_pair
from tests.aio.desk import Desk, turns

LARGE = bytes(700 * 1024)

STEPS = st.lists(
    st.tuples(
        st.sampled_from(
            ("count", "sum", "chain", "mention", "wait", "large", "larger answer", "tell", "late", "deadline")
        ),
        st.integers(0, 30),  # of items, or of the value
        st.integers(0, 8),  # turns of the loop before the next step
        st.booleans(),  # whether it is given up half-way
    ),
    max_size=14,
)


class Lively(Desk):
    """Makes and reads streams, and counts those that are open."""

    def __init__(self) -> None:
        super().__init__()
        self.open = 0

    async def items(self, number: int) -> AsyncIterator[Any]:
        self.open += 1
        try:
            for item in range(number):
                yield item if item % 7 else bytes(1000 * item)
        finally:
            self.open -= 1

    async def remote_count(self, number: int) -> AsyncIterator[Any]:
        async for item in self.items(number):
            yield item

    async def remote_sum(self, stream: Any) -> int:
        return len([item async for item in stream])

    async def remote_never(self) -> None:
        await asyncio.Event().wait()

    def remote_large(self) -> bytes:
        return LARGE


async def one(life: Lively, here: Lively, root: Any, kind: str, number: int) -> None:
    """One action of a program, which judges its own outcome."""
    if kind == "count":
        items = [item async for item in root.call("count", number)]
        assert len(items) == number
    elif kind == "sum":
        assert await root.call("sum", here.items(number)) == number
    elif kind == "chain":
        assert await root.call("new").call("me").call("echo", number) == number
    elif kind == "mention":
        assert await root.call("echo", root.call("echo", number)) == number
    elif kind == "wait":
        await root.call("wait")
    elif kind == "large":
        assert await root.call("echo", number, LARGE) == (number, LARGE)
    elif kind == "larger answer":
        assert await root.call("large") == LARGE
    elif kind == "tell":
        root.tell("plain", number)
    elif kind == "late":
        with pytest.raises(TimeoutError):
            await _late(root)
    else:
        async with pb.deadline(1000):
            assert await root.call("echo", number) == number


async def _late(root: Any) -> None:
    async with pb.deadline(0.001):
        await root.call("never")


@pytest.mark.parametrize("dialect_name", ["pb", "pb7"])
@settings(max_examples=40)
@given(steps=STEPS)
async def test_everything_ends_and_nothing_is_left(
    dialect_name: str, steps: list[tuple[str, int, int, bool]]
) -> None:
    life, here = Lively(), Lively()
    limits = pb.Limits(string_bytes=2**20)
    async with memory_pair(life, dialects=[dialect_name], limits=limits) as pair:
        kept, given_up = [], []
        task: asyncio.Task[None] | None = None
        for kind, number, pause, give_up in steps:
            if kind == "late" and dialect_name == "pb":
                continue  # its method would go on
            task = asyncio.ensure_future(one(life, here, pair.root, kind, number))
            await turns(pause)
            if give_up:
                task.cancel()
                given_up.append(task)
            else:
                kept.append(task)
        life.gate.set()
        await asyncio.gather(*kept)
        outcomes = await asyncio.gather(*given_up, return_exceptions=True)
        assert all(outcome is None or isinstance(outcome, asyncio.CancelledError) for outcome in outcomes)
        task = None
        outcomes.clear()  # their tracebacks hold readers, which could be read on
        given_up.clear()
        assert await pair.root.call("echo", "the end") == "the end"
        await assert_no_leaks(pair.client, pair.accepted)
        assert (life.open, here.open) == (0, 0)
