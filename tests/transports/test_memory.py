"""Memory: names belong to one event loop."""

from __future__ import annotations

import asyncio
import gc
import threading
import weakref

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
    assert client.transport.can_write_eof()
    assert client.transport.is_reading()
    client.transport.abort()
    await client.lost.wait()
    assert not client.transport.is_reading()
    listener.close()


def test_a_listener_that_nobody_closed_is_forgotten_with_its_loop() -> None:
    async def listen() -> weakref.ref[asyncio.AbstractEventLoop]:
        loop = asyncio.get_running_loop()

        def factory() -> Recorder:  # it reaches its loop, as a server does
            assert loop.is_running()
            return Recorder()

        await transports.listen(ADDRESS, factory)
        return weakref.ref(loop)

    first = asyncio.run(listen())
    second = asyncio.run(listen())  # the name is free: it is another loop's
    gc.collect()
    assert first() is None
    assert second() is not None
    asyncio.run(listen())
    gc.collect()
    assert second() is None
