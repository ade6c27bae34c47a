"""The promises of every transport: order, flow control, and its end."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from perspective_broker import transports
from tests.aio.desk import turns, until
from tests.loops import both_loops
from tests.transports.recorder import Recorder

KIB = 1024

pytestmark = [both_loops, pytest.mark.parametrize("scheme", ["memory", "tcp", "unix"])]


@pytest.fixture
def url(scheme: str, tmp_path: Path) -> str:
    return {"memory": "memory:conformance", "tcp": "tcp://127.0.0.1:0", "unix": f"unix://{tmp_path}/socket"}[
        scheme
    ]


@asynccontextmanager
async def connected(url: str) -> AsyncIterator[tuple[Recorder, Recorder]]:
    """The accepting end, and the connecting one; both closed at the end of the block."""
    accepted: list[Recorder] = []

    def accept() -> Recorder:
        accepted.append(Recorder())
        return accepted[-1]

    client = Recorder()
    listener = await transports.listen(transports.parse_url(url), accept)
    try:
        await transports.connect(transports.parse_url(listener.urls[0]), lambda: client)
        await until(lambda: accepted and accepted[0].events)
        (server,) = accepted
        yield server, client
    finally:
        listener.close()
        for end in (client, *accepted):
            if not end.lost.is_set():
                end.transport.abort()
            await end.lost.wait()
        await listener.wait_closed()


async def test_bytes_arrive_in_order_both_ways(url: str) -> None:
    async with connected(url) as (server, client):
        for n in range(500):
            client.transport.write(b"%d," % n)
            server.transport.writelines([b"%d" % n, b";"])
        await until(lambda: server.data.endswith(b"499,") and client.data.endswith(b"499;"))
        assert bytes(server.data) == b"".join(b"%d," % n for n in range(500))
        assert bytes(client.data) == b"".join(b"%d;" % n for n in range(500))


async def test_what_was_written_may_be_changed_afterwards(url: str) -> None:
    async with connected(url) as (server, client):
        data = bytearray(b"before")
        client.transport.write(data)
        data[:] = b"after!"
        await until(lambda: server.data)
        assert server.data == b"before"


async def test_nothing_is_delivered_within_the_call_that_writes(url: str) -> None:
    async with connected(url) as (server, client):
        client.transport.write(b"later")
        assert not server.data
        await until(lambda: server.data)


async def test_a_paused_reader_is_given_nothing_and_loses_nothing(url: str) -> None:
    async with connected(url) as (server, client):
        server.transport.pause_reading()
        await turns()
        client.transport.write(b"kept")
        await turns()
        assert not server.data
        server.transport.resume_reading()
        await until(lambda: server.data == b"kept")


async def test_a_writer_is_paused_above_the_high_mark_and_resumed_below_the_low_one(url: str) -> None:
    async with connected(url) as (server, client):
        client.transport.set_write_buffer_limits(high=64 * KIB, low=16 * KIB)
        server.transport.pause_reading()
        await turns()
        written = 0
        while client.can_write:
            client.transport.write(bytes(16 * KIB))
            written += 16 * KIB
            await asyncio.sleep(0)
        assert 64 * KIB < client.transport.get_write_buffer_size() <= 64 * KIB + 16 * KIB
        server.transport.resume_reading()
        await until(lambda: client.can_write)
        assert client.transport.get_write_buffer_size() <= 16 * KIB
        await until(lambda: len(server.data) == written)


async def test_close_delivers_what_was_written_and_ends_both_ends(url: str) -> None:
    async with connected(url) as (server, client):
        client.transport.write(bytes(300 * KIB))
        client.transport.close()
        assert client.transport.is_closing()
        client.transport.close()
        await asyncio.gather(server.lost.wait(), client.lost.wait())
        assert len(server.data) == 300 * KIB
        assert server.events == ["made", "eof", "lost"]
        assert client.events == ["made", "lost"]
        assert (server.error, client.error) == (None, None)


async def test_what_is_written_after_a_close_goes_nowhere(url: str) -> None:
    async with connected(url) as (server, client):
        client.transport.close()
        client.transport.write(b"too late")
        await server.lost.wait()
        assert not server.data


async def test_a_closed_end_is_given_nothing_more(url: str) -> None:
    async with connected(url) as (server, client):
        server.transport.write(b"on its way")
        client.transport.close()
        await asyncio.gather(server.lost.wait(), client.lost.wait())
        assert not client.data


async def test_abort_ends_both_ends_although_nobody_reads(url: str) -> None:
    async with connected(url) as (server, client):
        server.transport.pause_reading()
        await turns()
        client.transport.write(bytes(4096 * KIB))
        await turns()
        client.transport.abort()
        await client.lost.wait()
        assert "lost" not in server.events
        server.transport.resume_reading()
        await server.lost.wait()
        assert len(server.data) < 4096 * KIB


async def test_both_ends_may_close_at_once(url: str) -> None:
    async with connected(url) as (server, client):
        client.transport.write(b"a")
        server.transport.write(b"b")
        client.transport.close()
        server.transport.close()
        await asyncio.gather(server.lost.wait(), client.lost.wait())
        assert server.events.count("lost") == client.events.count("lost") == 1


async def test_a_listener_that_is_closed_takes_no_more_and_frees_its_address(url: str) -> None:
    address = transports.parse_url(url)
    listener = await transports.listen(address, Recorder)
    bound = transports.parse_url(listener.urls[0])
    listener.close()
    listener.close()
    await listener.wait_closed()
    with pytest.raises(OSError, match=r".+"):
        await transports.connect(bound, Recorder)
    again = await transports.listen(bound, Recorder)
    assert again.urls == [str(bound)]
    again.close()
    await again.wait_closed()


async def test_an_address_is_taken_once(url: str) -> None:
    listener = await transports.listen(transports.parse_url(url), Recorder)
    bound = transports.parse_url(listener.urls[0])
    with pytest.raises(OSError, match=r".+"):
        await transports.listen(bound, Recorder)
    listener.close()
    await listener.wait_closed()
