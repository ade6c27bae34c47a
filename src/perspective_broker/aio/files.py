"""Files and large bytes as streams: sent piece by piece, and put together again.

:func:`stream_bytes` and :func:`stream_file` make what a method returns or is handed as an argument;
:func:`save_stream` and :func:`collect_stream` read it on the other side. Files are opened, read and written in a
thread: the event loop never waits for a disk.
"""

from __future__ import annotations

import asyncio
import os
import secrets
from collections.abc import AsyncGenerator, AsyncIterable, AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from typing import Any, BinaryIO, Final, ParamSpec, TypeVar

from ..errors import LimitExceeded
from ..ports import Value

__all__ = ["Progress", "collect_stream", "save_stream", "stream_bytes", "stream_file"]

_P = ParamSpec("_P")
_T = TypeVar("_T")

#: Called with the bytes so far, and the bytes in all where they are known.
Progress = Callable[[int, int | None], object]

#: One item: several travel together, and the memory for pieces of less than 128 KiB is used again without asking the
#: system.
CHUNK_BYTES: Final = 64 * 1024

#: Bytes that are read or written in one visit to a thread, which takes about as long as copying them.
_BLOCK_BYTES: Final = 1024 * 1024


async def stream_bytes(
    data: bytes | bytearray | memoryview, *, chunk_bytes: int = CHUNK_BYTES, progress: Progress | None = None
) -> AsyncGenerator[bytes, None]:
    """Send ``data`` in pieces: return the stream from a method, or pass it as an argument.

    Args:
        data: what is sent; it must not change before it was.
        chunk_bytes: size of a piece, in bytes.
        progress: called with the bytes taken so far and ``len(data)``, after every piece.

    Raises:
        ValueError: ``chunk_bytes`` is not positive.
    """
    _check_chunk(chunk_bytes)
    view = memoryview(data).cast("B")
    for start in range(0, len(view), chunk_bytes):
        chunk = bytes(view[start : start + chunk_bytes])
        yield chunk
        if progress is not None:
            progress(start + len(chunk), len(view))


async def stream_file(
    path: str | os.PathLike[str], *, chunk_bytes: int = CHUNK_BYTES, progress: Progress | None = None
) -> AsyncGenerator[bytes, None]:
    """Send a file in pieces: return the stream from a method, or pass it as an argument.

    The file is opened when the first piece is wanted, and closed at the end or when the reader leaves.

    Args:
        path: where the file is.
        chunk_bytes: size of a piece, in bytes.
        progress: called with the bytes taken so far and the size that the file had when it was opened.

    Raises:
        OSError: it cannot be read. The reader gets the error.
        ValueError: ``chunk_bytes`` is not positive.
    """
    _check_chunk(chunk_bytes)
    sent = 0
    async with _open(path, "rb") as file:
        total = os.fstat(file.fileno()).st_size
        block = memoryview(bytearray(max(chunk_bytes, _BLOCK_BYTES)))  # for the whole file
        while filled := await _in_thread(_read, file, block):
            for start in range(0, filled, chunk_bytes):
                chunk = bytes(block[start : min(start + chunk_bytes, filled)])
                yield chunk
                sent += len(chunk)
                if progress is not None:
                    progress(sent, total)


async def save_stream(
    stream: AsyncIterable[bytes],
    path: str | os.PathLike[str],
    *,
    progress: Progress | None = None,
    limit_bytes: int | None = None,
) -> int:
    """Read a stream of bytes into a file, which is there whole or not at all.

    The file that was at ``path`` before stays until the last byte has come and is on the disk, and is then replaced at
    once.

    Args:
        stream: what to read: a reference to a stream, the promise of one, or anything asynchronous with bytes.
        path: the file to write; its directory exists.
        progress: called with the bytes received so far and None, after every piece.
        limit_bytes: how large the file may become; None for any size.

    Returns:
        The size of the file, in bytes.

    Raises:
        LimitExceeded: the stream is longer than ``limit_bytes``.
        OSError: the file cannot be written.
        TypeError: something in the stream is not bytes.
        Exception: whatever ended the stream. In any case the stream has been left and ``path`` is untouched.
    """
    received = waiting = 0
    block: list[bytes] = []
    async with _left(stream) as chunks, _replacing(path) as file:
        async for chunk in chunks:
            received = _checked(chunk, received, limit_bytes)
            block.append(chunk)
            waiting += len(chunk)
            if waiting >= _BLOCK_BYTES:
                await _in_thread(_write, file, block)
                block, waiting = [], 0
            if progress is not None:
                progress(received, None)
        await _in_thread(_write, file, block)
    return received


async def collect_stream(
    stream: AsyncIterable[bytes], *, limit_bytes: int, progress: Progress | None = None
) -> bytes:
    """Read a stream of bytes into memory.

    Args:
        stream: what to read: a reference to a stream, the promise of one, or anything asynchronous with bytes.
        limit_bytes: how much of it at most.
        progress: called with the bytes received so far and None, after every piece.

    Raises:
        LimitExceeded: the stream is longer.
        TypeError: something in the stream is not bytes.
        Exception: whatever ended the stream. In any case the stream has been left.
    """
    parts: list[bytes] = []
    received = 0
    async with _left(stream) as chunks:
        async for chunk in chunks:
            received = _checked(chunk, received, limit_bytes)
            parts.append(chunk)
            if progress is not None:
                progress(received, None)
    return b"".join(parts)


def _check_chunk(chunk_bytes: int) -> None:
    if chunk_bytes < 1:
        raise ValueError(f"chunk_bytes must be positive, not {chunk_bytes}")


def _checked(chunk: Value, received: int, limit: int | None) -> int:
    """Return how many bytes there are with ``chunk``, or raise because it may not be one."""
    if not isinstance(chunk, bytes):
        raise TypeError(f"a stream of bytes, with a {type(chunk).__name__} in it")
    received += len(chunk)
    if limit is not None and received > limit:
        raise LimitExceeded(f"the stream is longer than {limit} bytes")
    return received


@asynccontextmanager
async def _left(stream: AsyncIterable[_T]) -> AsyncIterator[AsyncIterator[_T]]:
    """Read a stream, and leave it whatever happens."""
    items = aiter(stream)
    try:
        yield items
    finally:
        close = getattr(items, "aclose", None)
        if close is not None:
            await close()


@asynccontextmanager
async def _replacing(path: str | os.PathLike[str]) -> AsyncIterator[BinaryIO]:
    """Open a file that replaces ``path`` when the block has ended without an error."""
    directory, name = os.path.split(os.fspath(path))
    # Beside it, because a replacement cannot cross file systems.
    part = os.path.join(directory, f".{name}.{secrets.token_hex(8)}.part")
    try:
        async with _open(part, "xb") as file:
            yield file
            await _in_thread(os.fsync, file.fileno())
        await _in_thread(os.replace, part, path)
    except BaseException:
        await _in_thread(_remove, part)
        raise


def _remove(path: str) -> None:
    with suppress(FileNotFoundError):
        os.unlink(path)


@asynccontextmanager
async def _open(path: str | os.PathLike[str], mode: str) -> AsyncIterator[BinaryIO]:
    """Open a file without a buffer of its own."""
    opening = asyncio.ensure_future(asyncio.to_thread(open, path, mode, 0))
    try:
        await _finished(opening)
        yield opening.result()  # type: ignore[misc] # of the modes used here
    finally:
        if not opening.cancelled() and opening.exception() is None:
            await _in_thread(opening.result().close)


def _read(file: BinaryIO, block: memoryview) -> int:
    """Fill ``block``, and return how much of it there is."""
    filled = 0
    while filled < len(block) and (more := file.readinto(block[filled:])):  # type: ignore[attr-defined] # unbuffered
        filled += more
    return filled


def _write(file: BinaryIO, chunks: list[bytes]) -> None:
    for chunk in chunks:
        rest = memoryview(chunk)
        while rest:  # it may take less than all
            rest = rest[file.write(rest) :]


async def _in_thread(function: Callable[_P, _T], *args: _P.args, **kwargs: _P.kwargs) -> _T:
    """Run a file operation in a thread."""
    working = asyncio.ensure_future(asyncio.to_thread(function, *args, **kwargs))
    await _finished(working)
    return working.result()


async def _finished(working: asyncio.Future[Any]) -> None:
    """Wait for a thread, also when this task is cancelled: a file is not closed under it."""
    try:
        await asyncio.wait([working])
    except asyncio.CancelledError:
        await asyncio.wait([working])
        if not working.cancelled():
            working.exception()  # nothing else looks at it
        raise
