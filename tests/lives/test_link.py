"""The link carries every byte in order, however it cuts them up; a cut ends both connections."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from random import Random

import pytest

from perspective_broker.testing import ScriptedPeer
from tests.lives.link import Link


@asynccontextmanager
async def linked(seed: int) -> AsyncIterator[tuple[Link, ScriptedPeer, ScriptedPeer]]:
    async with (
        ScriptedPeer.listen("memory:onward") as listener,
        Link("memory:onward", "memory:link", Random(seed)) as link,
        ScriptedPeer.connect("memory:link") as client,
    ):
        yield link, client, await listener.accept()


@pytest.mark.parametrize("seed", range(8))
async def test_every_byte_arrives_in_order(seed: int) -> None:
    data = bytes(range(256)) * 100
    async with linked(seed) as (_, client, server):
        client.send_bytes(data)
        server.send_bytes(data[::-1])
        assert await server.read_bytes(len(data)) == data
        assert await client.read_bytes(len(data)) == data[::-1]


async def test_the_end_comes_behind_what_was_sent() -> None:
    async with linked(1) as (_, client, server):
        client.send_bytes(b"the end" * 1000)
        await asyncio.wait_for(client.aclose(), 5)
        assert await server.read_bytes(7000) == b"the end" * 1000
        with pytest.raises(EOFError):
            await server.read_bytes(1)


async def test_a_cut_ends_both() -> None:
    async with linked(2) as (link, client, server):
        client.send_bytes(b"lost" * 1000)
        link.cut()
        for peer in (client, server):
            with pytest.raises(EOFError):
                await peer.read_bytes(4001)
