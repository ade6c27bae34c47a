"""Writing: a transport keeps few pieces and reports that it is full, on every event loop and version of Python."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest

import perspective_broker as pb
from perspective_broker.aio.writing import MOST_PIECES, Writer
from perspective_broker.testing import ScriptedPeer
from tests.aio.desk import Desk, until
from tests.loops import both_loops

pytestmark = both_loops

KIB = 1024


class Notes(asyncio.Protocol):
    """The methods by which a transport reports."""

    def __init__(self) -> None:
        self.paused = False
        self.lost = False
        self.on_resumed: Callable[[], object] = bool

    def pause_writing(self) -> None:
        self.paused = True

    def resume_writing(self) -> None:
        self.paused = False
        self.on_resumed()

    def connection_lost(self, exc: Exception | None) -> None:
        self.lost = True


@contextlib.asynccontextmanager
async def full_socket() -> AsyncIterator[tuple[asyncio.Transport, Notes, socket.socket]]:
    """A transport over a socket whose own buffers are full, and the end that does not read."""
    loop, notes = asyncio.get_running_loop(), Notes()
    ours, theirs = socket.socketpair()
    with theirs:
        transport, _ = await loop.create_connection(lambda: notes, sock=ours)
        transport.set_write_buffer_limits(high=100 * KIB * KIB)
        while not transport.get_write_buffer_size():
            transport.write(bytes(KIB))
            await asyncio.sleep(0)
        theirs.setblocking(False)
        yield transport, notes, theirs
        transport.abort()
        await until(lambda: notes.lost)


async def read_until(theirs: socket.socket, condition: Callable[[], object]) -> int:
    """Read, and return how many bytes came until ``condition()``."""
    read = 0
    while not condition():
        with contextlib.suppress(BlockingIOError):
            read += len(theirs.recv(KIB * KIB))
        await asyncio.sleep(0)
    return read


async def test_many_small_pieces_fill_the_buffer_until_all_have_left() -> None:
    async with full_socket() as (transport, notes, theirs):
        writer = Writer(transport, KIB * KIB, KIB)
        notes.on_resumed = writer.resumed
        for written in range(2):
            pieces = written  # the large one of the first round
            while writer.takes_more():
                writer.write([b"a piece"])
                pieces += 1
                await asyncio.sleep(0)
            assert pieces == MOST_PIECES
            assert notes.paused
            await read_until(theirs, lambda: not notes.paused)
            assert transport.get_write_buffer_size() == 0
            # For the next round: more than the socket takes, and not more than the buffer does.
            writer.write([bytes(KIB * KIB)])
            assert not notes.paused


async def test_pieces_that_leave_at_once_are_never_too_many() -> None:
    async with full_socket() as (transport, notes, theirs):
        await read_until(theirs, lambda: not transport.get_write_buffer_size())
        writer = Writer(transport, KIB * KIB, KIB)
        for _ in range(10 * MOST_PIECES):
            assert writer.takes_more()
            writer.write([b"a piece"])
            await read_until(theirs, lambda: not transport.get_write_buffer_size())
        assert not notes.paused


async def test_large_pieces_written_together_fill_the_buffer() -> None:
    async with full_socket() as (transport, notes, theirs):
        writer = Writer(transport, 64 * KIB, 16 * KIB)
        notes.on_resumed = writer.resumed
        writer.write([bytes(20 * KIB)] * 4)
        await until(lambda: notes.paused)
        assert writer.room() < 0
        await read_until(theirs, lambda: not notes.paused)
        assert writer.room() >= 48 * KIB


@pytest.mark.parametrize("end", ["close", "abort"])
async def test_what_is_written_to_a_transport_that_closes_is_no_error(end: str, caplog: Any) -> None:
    async with full_socket() as (transport, notes, _):
        writer = Writer(transport, KIB * KIB, KIB)
        getattr(transport, end)()
        for pieces in ([b"small"], [b"small"] * 2, [bytes(20 * KIB)] * 2):
            writer.write(pieces)
        if end == "abort":
            await until(lambda: notes.lost)
    assert not caplog.records


@pytest.mark.parametrize("kind", ["memory", "unix"])
async def test_a_peer_that_reads_nothing_and_asks_one_thing_after_the_other(kind: str, tmp_path: Any) -> None:
    """Each answer is a piece of its own; without a bound, each cost as much as there were before it."""
    url = {"memory": "memory:pieces", "unix": f"unix://{tmp_path}/pieces"}[kind]
    async with (
        pb.serve(Desk(), url) as server,
        ScriptedPeer.connect(url, dialect="pb") as peer,
    ):
        driver: Any = server.connections[0]._driver
        peer.transport.pause_reading()
        requests = [peer.call("root", "echo", bytes(500 * KIB))]
        for number in range(2 * MOST_PIECES):
            received = driver.broker.messages_received
            requests.append(peer.call("root", "echo", number))
            await until(lambda: driver.broker.messages_received > received or driver._blocked)  # noqa: B023
        assert driver._blocked
        assert driver.broker.messages_received <= MOST_PIECES + 3
        peer.transport.resume_reading()
        assert [(await peer.read())[1] for _ in requests] == requests
        assert not driver._blocked
        assert driver._transport.get_write_buffer_limits() == (256 * KIB, KIB * KIB)
