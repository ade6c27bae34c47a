"""Files and large bytes as streams: whole or not at all, and never in the event loop."""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import AsyncIterator, Callable, Coroutine
from pathlib import Path
from typing import Any

import pytest

import perspective_broker as pb
from perspective_broker.aio.files import CHUNK_BYTES, collect_stream, save_stream, stream_bytes, stream_file
from perspective_broker.testing import assert_no_leaks, memory_pair

MIB = 1024 * 1024
#: A little more than two blocks, and no two pieces alike.
DATA = b"".join(n.to_bytes(4, "big") for n in range(2 * MIB // 4 + 1001))


class Shelf(pb.Root):
    """Sends its files, and keeps the files that it gets."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.progress: list[tuple[int, int | None]] = []
        self.opened: list[Any] = []

    def note(self, done: int, total: int | None) -> None:
        self.progress.append((done, total))

    def remote_get(self, name: str) -> AsyncIterator[bytes]:
        return stream_file(self.directory / name, progress=self.note)

    def remote_get_bytes(self) -> AsyncIterator[bytes]:
        return stream_bytes(DATA)

    async def remote_put(self, name: str, stream: Any) -> int:
        return await save_stream(stream, self.directory / name, progress=self.note)

    def remote_mixed(self) -> AsyncIterator[Any]:
        return items(b"bytes", "text")


async def items(*values: Any, error: Exception | None = None) -> AsyncIterator[Any]:
    for value in values:
        yield value
    if error is not None:
        raise error


@pytest.fixture
def shelf(tmp_path: Path) -> Shelf:
    (tmp_path / "data").write_bytes(DATA)
    (tmp_path / "empty").write_bytes(b"")
    return Shelf(tmp_path)


def names(shelf: Shelf) -> list[str]:
    return sorted(os.listdir(shelf.directory))


async def test_a_file_goes_there_and_back(shelf: Shelf, tmp_path: Path, dialect: str) -> None:
    copy, back = tmp_path / "copy", tmp_path / "back"
    progress: list[tuple[int, int | None]] = []
    async with memory_pair(shelf, dialects=[dialect]) as pair:
        size = await save_stream(
            pair.root.call("get", "data"), copy, progress=lambda *both: progress.append(both)
        )
        assert size == len(DATA)
        assert copy.read_bytes() == DATA
        assert progress[-1] == (size, None)
        assert [done for done, _ in progress] == sorted({done for done, _ in progress})
        assert shelf.progress[-1] == (size, size)
        sent: list[tuple[int, int | None]] = []
        stream = stream_file(copy, chunk_bytes=100_000, progress=lambda *both: sent.append(both))
        assert await pair.root.call("put", "back", stream) == size
        assert back.read_bytes() == DATA
        assert sent[0] == (100_000, size)
        assert sent[-1] == (size, size)
        del stream
        await assert_no_leaks(pair.client, pair.accepted)
    assert names(shelf) == ["back", "copy", "data", "empty"]


async def test_bytes_go_there_and_back(shelf: Shelf, dialect: str) -> None:
    async with memory_pair(shelf, dialects=[dialect]) as pair:
        assert await collect_stream(pair.root.call("get_bytes"), limit_bytes=len(DATA)) == DATA
        assert await pair.root.call("put", "copy", stream_bytes(DATA)) == len(DATA)
        assert (shelf.directory / "copy").read_bytes() == DATA
        await assert_no_leaks(pair.client, pair.accepted)


async def test_an_empty_file_is_an_empty_stream(shelf: Shelf, tmp_path: Path) -> None:
    async with memory_pair(shelf) as pair:
        assert await save_stream(pair.root.call("get", "empty"), tmp_path / "copy") == 0
        assert (tmp_path / "copy").read_bytes() == b""
        assert await collect_stream(pair.root.call("get", "empty"), limit_bytes=1) == b""


async def test_pieces_are_as_large_as_one_wishes(tmp_path: Path) -> None:
    (tmp_path / "data").write_bytes(DATA)
    for size in (CHUNK_BYTES, 100_000, 3 * MIB // 2, len(DATA), 2 * len(DATA)):
        for stream in (
            stream_bytes(DATA, chunk_bytes=size),
            stream_file(tmp_path / "data", chunk_bytes=size),
            stream_bytes(memoryview(bytearray(DATA)), chunk_bytes=size),
        ):
            pieces = [piece async for piece in stream]
            assert b"".join(pieces) == DATA
            assert {type(piece) for piece in pieces} == {bytes}
            assert max(map(len, pieces)) == min(size, len(DATA))
    for nothing in (stream_bytes(DATA, chunk_bytes=0), stream_file(tmp_path, chunk_bytes=-1)):
        with pytest.raises(ValueError, match="positive"):
            await anext(nothing)


async def test_a_file_that_cannot_be_read_is_the_readers_error(
    shelf: Shelf, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with memory_pair(shelf) as pair:
        for method, name in (("get", "missing"), ("get", ".")):
            with pytest.raises(pb.RemoteError) as raised:
                await save_stream(pair.root.call(method, name), tmp_path / "copy")
            assert raised.value.check(OSError)
    assert names(shelf) == ["data", "empty"]


# -- whole or not at all


Broken = Callable[[Path], Coroutine[Any, Any, Any]]

BROKEN: dict[str, tuple[type[Exception], Broken]] = {
    "the stream fails": (pb.Error, lambda path: save_stream(items(DATA, error=pb.Error("dry")), path)),
    "not bytes": (TypeError, lambda path: save_stream(items(b"1", "2"), path)),
    "too long": (pb.LimitExceeded, lambda path: save_stream(items(DATA), path, limit_bytes=len(DATA) - 1)),
    "progress fails": (
        ZeroDivisionError,
        lambda path: save_stream(items(DATA), path, progress=lambda *_: 1 // 0),
    ),
    "a directory is there": (OSError, lambda path: save_stream(items(DATA), path.parent)),
    "no directory is there": (OSError, lambda path: save_stream(items(DATA), path / "below")),
}


@pytest.mark.parametrize("name", BROKEN)
async def test_a_file_is_there_whole_or_as_it_was(name: str, tmp_path: Path) -> None:
    path = tmp_path / "within" / "file"
    path.parent.mkdir()
    path.write_bytes(b"as it was")
    error, broken = BROKEN[name]
    with pytest.raises(error):
        await broken(path)
    assert path.read_bytes() == b"as it was"
    assert os.listdir(path.parent) == ["file"]
    assert os.listdir(tmp_path) == ["within"]


@pytest.mark.parametrize("pieces", [1, 200, 1048, 1049, 1050, 2000, 2101])
async def test_saving_that_is_cancelled_leaves_nothing(shelf: Shelf, pieces: int) -> None:
    """In the middle of a block, right before and after one is written, and with the last piece."""
    there = asyncio.Event()

    def note(done: int, total: int | None) -> None:
        if done >= min(pieces * 1000, len(DATA)):
            there.set()

    stream = stream_file(shelf.directory / "data", chunk_bytes=1000)
    saving = asyncio.ensure_future(save_stream(stream, shelf.directory / "copy", progress=note))
    await there.wait()
    saving.cancel()
    with pytest.raises(asyncio.CancelledError):
        await saving
    assert names(shelf) == ["data", "empty"]


async def test_saving_that_is_cancelled_before_it_began_leaves_nothing(tmp_path: Path) -> None:
    for turns in range(6):
        saving = asyncio.ensure_future(save_stream(items(DATA), tmp_path / "copy"))
        for _ in range(turns):
            await asyncio.sleep(0)
        saving.cancel()
        with pytest.raises(asyncio.CancelledError):
            await saving
        assert os.listdir(tmp_path) == []


async def test_a_new_file_has_the_rights_of_a_new_file(tmp_path: Path) -> None:
    await save_stream(items(b"1"), tmp_path / "saved")
    (tmp_path / "written").write_bytes(b"1")
    assert (tmp_path / "saved").stat().st_mode == (tmp_path / "written").stat().st_mode


# -- leaving


async def test_leaving_early_closes_the_file(shelf: Shelf) -> None:
    before = len(os.listdir("/proc/self/fd")) if os.path.exists("/proc/self/fd") else 0
    async with memory_pair(shelf) as pair:
        stream = aiter(await pair.root.call("get", "data"))
        await anext(stream)
        await stream.aclose()
        await assert_no_leaks(pair.client, pair.accepted)
        if before:
            assert len(os.listdir("/proc/self/fd")) == before


@pytest.mark.parametrize("collect", [True, False])
async def test_a_stream_that_is_too_long_or_no_bytes_is_left(
    shelf: Shelf, tmp_path: Path, collect: bool
) -> None:
    def take(stream: Any) -> Coroutine[Any, Any, Any]:
        if collect:
            return collect_stream(stream, limit_bytes=1000)
        return save_stream(stream, tmp_path / "copy", limit_bytes=1000)

    async with memory_pair(shelf) as pair:
        with pytest.raises(pb.LimitExceeded, match="longer than 1000"):
            await take(pair.root.call("get", "data"))
        with pytest.raises(TypeError, match="str in it"):
            await take(pair.root.call("mixed"))
        assert names(shelf) == ["data", "empty"]


async def test_progress_of_what_is_collected() -> None:
    progress: list[tuple[int, int | None]] = []
    sent: list[tuple[int, int | None]] = []
    stream = stream_bytes(b"12345", chunk_bytes=2, progress=lambda *both: sent.append(both))
    got = await collect_stream(stream, limit_bytes=5, progress=lambda *both: progress.append(both))
    assert got == b"12345"
    assert progress == [(2, None), (4, None), (5, None)]
    assert sent == [(2, 5), (4, 5), (5, 5)]


async def test_files_are_worked_on_in_other_threads(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[threading.Thread] = []
    for name in ("fsync", "replace", "unlink"):
        real = getattr(os, name)

        def noted(*args: Any, real: Any = real) -> Any:
            seen.append(threading.current_thread())
            return real(*args)

        monkeypatch.setattr(os, name, noted)
    await save_stream(items(DATA), tmp_path / "copy")
    with pytest.raises(TypeError):
        await save_stream(items("text"), tmp_path / "other")
    assert len(seen) == 3
    assert threading.main_thread() not in seen
