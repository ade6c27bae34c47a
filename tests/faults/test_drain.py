"""Row 9: a server that drains loses no answer, whenever it begins to."""

from __future__ import annotations

import asyncio
import random

import pytest

import perspective_broker as pb
from tests.aio.desk import turns

RUNS = 100


class Counting(pb.Root):
    def __init__(self, dice: random.Random) -> None:
        self.dice = dice
        self.begun = 0

    async def remote_work(self) -> int:
        self.begun += 1
        number = self.begun
        await turns(self.dice.randrange(20))
        return number

    def remote_plain(self) -> int:
        self.begun += 1
        return self.begun


async def drained(dice: random.Random, url: str, dialect: str) -> tuple[int, int, int]:
    """Serve, be called, and drain in the middle. Return how many calls began, were answered, and failed."""
    desk = Counting(dice)
    async with pb.serve(desk, url, dialects=[dialect]) as server:
        roots = [await pb.connect(server.urls[0]) for _ in range(3)]
        closing: asyncio.Task[None] | None = None
        begin, calls = dice.randrange(30), []
        for n in range(30):
            if n == begin:
                closing = asyncio.create_task(server.close(drain=20))
            root = dice.choice(roots)
            try:
                calls.append(root.call(dice.choice(["work", "plain"])))
            except pb.DeadReferenceError:
                continue
            await turns(dice.randrange(3))
        outcomes = await asyncio.gather(*calls, return_exceptions=True)
        assert closing is not None
        await closing
        for root in roots:
            await root.connection.wait_closed()
    answered = [outcome for outcome in outcomes if isinstance(outcome, int)]
    failed = [outcome for outcome in outcomes if not isinstance(outcome, int)]
    assert {type(error) for error in failed} <= {pb.Unavailable, pb.ConnectionLost}
    assert len(set(answered)) == len(answered)
    return desk.begun, len(answered), len(failed)


@pytest.mark.parametrize("dialect", ["pb7", "pb"])
@pytest.mark.parametrize("url", ["memory:drained", "tcp://127.0.0.1:0"])
async def test_what_has_begun_is_answered(url: str, dialect: str) -> None:
    dice, refused = random.Random(f"{url} {dialect}"), 0
    for _ in range(RUNS):
        begun, answered, failed = await drained(dice, url, dialect)
        assert begun == answered
        refused += failed
    assert refused > 0
