"""64 MiB in one argument, and in one answer, over a real socket, while small calls go on in both directions.

Judged by the deliveries meanwhile, never by the clock.
"""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

import perspective_broker as pb
from perspective_broker.dialects.pb7.frames import PIECE_BYTES
from perspective_broker.testing import Pair, assert_no_leaks, memory_pair
from tests.aio.desk import Desk, turns, until
from tests.loops import both_loops

MIB = 1024 * 1024
WIDE = pb.Limits(message_bytes=80 * MIB, large_string_bytes=80 * MIB)
BLOB = bytes(range(256)) * (64 * MIB // 256)

#: Small calls that have to be answered while the large value is on its way. Each waits behind the bytes in the system's
#: own buffers (up to a few MiB), so one caller gets about ten through; there are several.
ENOUGH = 10
CALLERS = 8


class Depot(Desk):
    """Takes and returns large values, and chats with its visitor meanwhile."""

    def __init__(self) -> None:
        super().__init__()
        self.chats = 0
        self.chats_when_it_came = 0
        self.over = False

    async def remote_chat(self, friend: Any) -> int:
        while not self.over:
            await friend.call("echo", self.chats)
            self.chats += 1
        return self.chats

    async def remote_take(self, data: bytes) -> bool:
        self.chats_when_it_came = self.chats
        await self.gate.wait()
        return data == BLOB

    def remote_give(self) -> bytes:
        self.log.append("given")
        return BLOB


async def chatting(depot: Depot, pair: Pair) -> asyncio.Future[Any]:
    """Begin the chats, and return a promise of their end."""
    chats = [pair.root.call("chat", Desk()) for _ in range(CALLERS)]
    await until(lambda: depot.chats > CALLERS)
    return asyncio.gather(*chats)


@both_loops
@pytest.mark.parametrize("url", ["tcp://127.0.0.1:0", None])
async def test_small_calls_are_answered_while_a_large_argument_travels(url: str | None) -> None:
    depot = Depot()
    async with memory_pair(depot, url=url, limits=WIDE, dialects=["pb7"]) as pair:
        chat = await chatting(depot, pair)
        before = depot.chats
        taken = pair.root.call("take", BLOB)
        behind = pair.root.call("echo", "behind")
        # Calls start in order, so this one came second; but it need not wait for the first one's answer.
        assert await behind == "behind"
        assert depot.chats_when_it_came - before >= ENOUGH
        assert not taken.done()
        depot.gate.set()
        assert await taken
        depot.over = True
        await chat
        await assert_no_leaks(pair.client, pair.accepted)


@both_loops
@pytest.mark.parametrize("url", ["tcp://127.0.0.1:0", None])
async def test_small_calls_of_both_sides_are_answered_while_a_large_answer_travels(url: str | None) -> None:
    depot = Depot()
    async with memory_pair(depot, url=url, limits=WIDE, dialects=["pb7"]) as pair:
        chat = await chatting(depot, pair)
        given = pair.root.call("give")
        await until(lambda: depot.log)
        before, ours = depot.chats, 0
        while not given.done():
            await asyncio.gather(*(pair.root.call("echo", number) for number in range(CALLERS)))
            ours += CALLERS
        assert await given == BLOB
        assert ours >= ENOUGH
        assert depot.chats - before >= ENOUGH
        depot.over = True
        await chat
        await assert_no_leaks(pair.client, pair.accepted)


async def test_the_transport_is_given_no_more_than_it_takes() -> None:
    depot = Depot()
    async with memory_pair(depot, url="tcp://127.0.0.1:0", limits=WIDE, dialects=["pb7"]) as pair:
        transport: Any = pair.client._driver._transport
        taken = pair.root.call("take", BLOB)
        most = 0
        while not depot.waiting and pair.client.statistics().bytes_buffered > MIB:
            most = max(most, transport.get_write_buffer_size())
            await asyncio.sleep(0)
        assert 0 < most <= WIDE.write_buffer_high + 2 * PIECE_BYTES
        depot.gate.set()
        assert await taken


async def test_a_connection_that_ends_in_the_middle_keeps_nothing() -> None:
    depot = Depot()
    async with memory_pair(depot, url="tcp://127.0.0.1:0", limits=WIDE, dialects=["pb7"]) as pair:
        taken = pair.root.call("take", BLOB)
        accepted = pair.accepted._driver.broker
        await until(lambda: accepted.statistics().bytes_received > MIB)
        transport: Any = pair.client._driver._transport
        transport.abort()
        with pytest.raises(pb.ConnectionLost):
            await taken
        await pair.accepted.wait_closed()
        assert not pair.client._driver.broker.outbox.large
        assert accepted.dialect.mid_message == 0
        assert depot.chats_when_it_came == 0


async def test_what_is_told_meanwhile_finds_room() -> None:
    depot = Depot()
    async with memory_pair(depot, limits=WIDE, dialects=["pb7"]) as pair:
        depot.gate.set()
        taken = pair.root.call("take", BLOB)
        for number in range(20):
            pair.root.tell("plain", number)
            await turns(1)
        assert await taken
        assert await pair.root.call("echo", "last") == "last"
        assert depot.log == list(range(20))


async def test_a_classic_connection_carries_large_values_whole() -> None:
    limits = pb.Limits(message_bytes=80 * MIB, string_bytes=80 * MIB)
    depot = Depot()
    depot.gate.set()
    async with memory_pair(depot, limits=limits, dialects=["pb"]) as pair:
        assert await pair.root.call("take", BLOB)
        assert await pair.root.call("give") == BLOB
