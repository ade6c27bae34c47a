"""Streams for live data: a window of the reader's own, only the latest, and the same for several readers."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from typing import Any

import pytest

import perspective_broker as pb
from tests.aio.desk import turns, until

URL = "memory:live-streams"


class Camera(pb.Root):
    def __init__(self) -> None:
        self.frames: pb.streams.Broadcast[Any] = pb.streams.Broadcast()
        self.made = 0

    def remote_frames(self, bound: int = 64, lossy: bool = False) -> AsyncGenerator[Any, None]:
        return self.frames.read(bound, lossy=lossy)

    async def remote_count(self) -> AsyncGenerator[int, None]:
        while self.made < 1000:
            self.made += 1
            yield self.made


async def test_a_window_of_the_readers_own_holds_the_generator_up(dialect: str) -> None:
    camera = Camera()
    async with pb.serve(camera, URL), pb.connect(URL, dialects=[dialect]) as root:
        stream = pb.streams.read_stream(root.call("count"), window_bytes=1)
        for number in range(1, 6):
            assert await anext(stream) == number
            await root.connection.ping()
            assert camera.made <= number + 1
        await stream.aclose()


async def test_only_the_latest_is_kept_for_a_slow_reader(dialect: str) -> None:
    camera = Camera()
    async with pb.serve(camera, URL), pb.connect(URL, dialects=[dialect]) as root:
        stream = pb.streams.read_stream(root.call("count"), window_bytes=1000, latest=True)
        first = await anext(stream)
        await until(lambda: camera.made == 1000)  # the generator does not wait for the reader
        await turns()
        assert isinstance(first, int)
        assert [item async for item in stream] == [1000]


async def test_what_cannot_be_read_so_is_refused() -> None:
    async with pb.serve(Camera(), URL), pb.connect(URL) as root:
        for window in (0, 4 * 2**20 + 1):
            with pytest.raises(ValueError, match="window_bytes: 1 to"):
                pb.streams.read_stream(root, window_bytes=window)
        with pytest.raises(TypeError, match="takes a stream of the peer"):
            pb.streams.read_stream([1])  # type: ignore[arg-type]
        stream = pb.streams.read_stream(root.call("count"))
        await anext(stream)
        with pytest.raises(pb.UsageError, match="being read"):
            pb.streams.read_stream(stream)
        await stream.aclose()


async def test_a_broadcast_reaches_all_and_a_slow_reader_stops_nobody() -> None:
    camera = Camera()
    async with pb.serve(camera, URL), pb.connect(URL) as root:
        fast, strict, lossy = (
            pb.streams.read_stream(root.call("frames", *arguments), window_bytes=1)
            for arguments in ((100,), (2,), (1, True))
        )
        reading = [asyncio.ensure_future(anext(stream)) for stream in (fast, strict, lossy)]
        await until(lambda: len(camera.frames) == 3)
        await root.connection.ping()
        camera.frames.send(0)
        assert await asyncio.gather(*reading) == [0, 0, 0]
        await root.connection.ping()
        for number in range(1, 10):
            camera.frames.send(number)
        await until(lambda: len(camera.frames) == 2)
        camera.frames.close()
        assert [item async for item in fast] == list(range(1, 10))
        assert [item async for item in lossy] == [9]
        assert [await anext(strict), await anext(strict)] == [1, 2]
        with pytest.raises(pb.RemoteError, match="more than 2 items behind"):
            await anext(strict)
        assert [item async for item in root.call("frames")] == []
        assert len(camera.frames) == 0


async def test_a_reader_that_leaves_or_never_begins_is_forgotten() -> None:
    camera = Camera()
    with pytest.raises(ValueError, match="bound: at least 1"):
        camera.frames.read(0)
    unread = camera.frames.read()
    assert len(camera.frames) == 1
    del unread
    assert len(camera.frames) == 0
    async with pb.serve(camera, URL), pb.connect(URL) as root:
        stream = pb.streams.read_stream(root.call("frames"))
        reading = asyncio.ensure_future(anext(stream))
        await until(lambda: len(camera.frames))
        camera.frames.send("one")
        assert await reading == "one"
        await stream.aclose()
        await until(lambda: not len(camera.frames))
