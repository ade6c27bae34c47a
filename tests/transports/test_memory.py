"""Memory: names belong to one event loop."""

from __future__ import annotations

import asyncio
import threading

import pytest

from perspective_broker import transports
from tests.transports.recorder import Recorder

ADDRESS = transports.parse_url("memory:here")


async def test_another_event_loop_does_not_see_a_name() -> None:
    listener = await transports.listen(ADDRESS, Recorder)
    raised: list[BaseException] = []

    async def elsewhere() -> None:
        with pytest.raises(ConnectionRefusedError, match="memory:here") as error:
            await transports.connect(ADDRESS, Recorder)
        raised.append(error.value)
        other = await transports.listen(ADDRESS, Recorder)
        other.close()
        await other.wait_closed()

    thread = threading.Thread(target=lambda: asyncio.run(elsewhere()))
    thread.start()
    thread.join()
    assert len(raised) == 1
    listener.close()
    await listener.wait_closed()


async def test_the_peer_has_a_name() -> None:
    listener = await transports.listen(ADDRESS, Recorder)
    client = Recorder()
    await transports.connect(ADDRESS, lambda: client)
    assert client.transport.get_extra_info("peername") == "memory:here"
    assert client.transport.get_write_buffer_limits() == (16 * 1024, 64 * 1024)
    client.transport.set_write_buffer_limits(high=400)
    assert client.transport.get_write_buffer_limits() == (100, 400)
    assert not client.transport.can_write_eof()
    assert client.transport.is_reading()
    client.transport.abort()
    await client.lost.wait()
    assert not client.transport.is_reading()
    listener.close()
