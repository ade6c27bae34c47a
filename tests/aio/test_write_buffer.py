"""The write buffer: how much a producer may send to a slow peer, and what waits until it is less."""

from __future__ import annotations

import asyncio

import pytest

import perspective_broker as pb
from perspective_broker.testing import ScriptedPeer, memory_pair
from tests.aio.desk import Desk, turns, until
from tests.loops import both_loops

KIB = 1024


def tell_until_refused(reference: pb.RemoteReference) -> int:
    """Tell 4 KiB again and again; return how often that went well before it was refused."""
    for told in range(1000):
        try:
            reference.tell("plain", bytes(4 * KIB))
        except pb.LimitExceeded:
            return told
    raise AssertionError("nothing was refused")


async def test_tell_is_refused_when_the_buffer_is_full_and_nobody_waits() -> None:
    limits = pb.Limits(write_buffer_high=64 * KIB, write_buffer_low=16 * KIB)
    async with ScriptedPeer.listen("memory:slow") as listener:
        connecting = asyncio.ensure_future(pb.connect("memory:slow", limits=limits))
        peer = await listener.accept()
        await peer.greet_as_server()
        root = await connecting
        peer.transport.pause_reading()
        told = tell_until_refused(root)
        assert 64 // 4 <= told <= 64 // 4 + 2
        peer.transport.resume_reading()
        await until(lambda: len(peer.received) > told * 4 * KIB)
        root.tell("take", b"there is room again")
        await root.connection.close()


@both_loops
@pytest.mark.parametrize("url", ["memory:slow", "tcp://127.0.0.1:0"])
async def test_a_producer_that_awaits_tell_is_held_to_the_pace_of_a_slow_reader(url: str) -> None:
    limits = pb.Limits(write_buffer_high=64 * KIB, write_buffer_low=16 * KIB)
    async with ScriptedPeer.listen(url) as listener:
        connecting = asyncio.ensure_future(pb.connect(listener.url, limits=limits))
        peer = await listener.accept()
        await peer.greet_as_server()
        root = await connecting
        buffer = root.connection._driver.buffer
        peer.transport.pause_reading()
        most = done = 0

        async def produce() -> None:
            nonlocal most, done
            for _ in range(2000):
                await root.tell("take", bytes(8 * KIB))
                most = max(most, buffer.size)
                done += 1

        producer = asyncio.ensure_future(produce())
        await turns(200)
        held_at = done
        peer.transport.resume_reading()
        while not producer.done():
            peer.received.clear()
            await asyncio.sleep(0)
        await producer
        assert done == 2000
        assert held_at < 2000
        assert most <= 64 * KIB + 9 * KIB
        await root.connection.close()


async def test_tells_behind_calls_that_are_held_back_count_as_buffered(dialect: str) -> None:
    desk = Desk()
    limits = pb.Limits(calls_in_flight=1, write_buffer_high=64 * KIB, write_buffer_low=16 * KIB)
    async with memory_pair(desk, limits=limits, dialects=[dialect]) as pair:
        waits = [pair.root.call("wait") for _ in range(2)]  # the second is held back
        tell_until_refused(pair.root)
        waiting = asyncio.ensure_future(_room(pair.root))
        await turns()
        assert not waiting.done()
        desk.gate.set()
        await asyncio.gather(*waits)
        await waiting
        pair.root.tell("plain", b"")
        await pair.root.call("echo")


async def _room(reference: pb.RemoteReference) -> None:
    await reference.connection.room


async def test_waiting_for_room_ends_with_the_connection() -> None:
    limits = pb.Limits(write_buffer_high=64 * KIB, write_buffer_low=16 * KIB)
    async with ScriptedPeer.listen("memory:slow") as listener:
        connecting = asyncio.ensure_future(pb.connect("memory:slow", limits=limits))
        peer = await listener.accept()
        await peer.greet_as_server()
        root = await connecting
        peer.transport.pause_reading()
        room = root.tell("take", bytes(100 * KIB))

        async def wait() -> None:
            await room

        waiting = asyncio.ensure_future(wait())
        await turns()
        assert not waiting.done()
        peer.abort()
        await waiting
        with pytest.raises(pb.DeadReferenceError):
            root.tell("take")


@pytest.mark.parametrize("url", ["memory:refusals", "tcp://127.0.0.1:0"])
async def test_refusals_that_a_peer_does_not_read_wait_for_it_and_are_all_sent(url: str) -> None:
    limits = pb.Limits(write_buffer_high=64 * KIB, write_buffer_low=16 * KIB, slow_consumer_seconds=1000)
    async with (
        pb.serve(Desk(), url, limits=limits) as server,
        ScriptedPeer.connect(server.urls[0], dialect="pb") as peer,
    ):
        driver = server.connections[0]._driver
        peer.transport.pause_reading()
        sent = [peer.call("root", "nothing") for _ in range(40_000)]
        await until(lambda: not driver._reading)
        await turns(200)
        assert driver.buffer.size < 300 * KIB
        assert driver.broker.messages_received < len(sent)
        peer.transport.resume_reading()
        for request in sent:
            answer = await peer.read()
            assert answer[:2] == [b"error", request]
        await until(lambda: driver._reading)
