"""Row 27: the content at the time of the call arrives, even if the buffer changes later.

For pb7 only, because a classic dialect takes ``bytes`` alone, which are immutable.
"""

from __future__ import annotations

import asyncio
import hashlib
from typing import Any

import perspective_broker as pb
from perspective_broker.testing import memory_pair
from tests.loops import both_loops


class Digests(pb.Root):
    def __init__(self) -> None:
        self.kept: list[bytes] = []
        self.answer = bytearray()

    def remote_digest(self, data: bytes) -> bytes:
        self.kept.append(data)
        return hashlib.sha256(data).digest()

    def remote_buffer(self, size: int, fill: int) -> bytearray:
        self.answer[:] = bytes([fill]) * size  # the same buffer for every answer
        return self.answer


@both_loops
async def test_a_buffer_may_be_used_again_at_once() -> None:
    desk, largest = Digests(), 8_000_000
    async with memory_pair(desk, url="tcp://127.0.0.1:0", dialects=["pb7"]) as pair:
        buffer = bytearray(largest)
        calls, told = [], []
        for number, size in enumerate([*range(100, 8001, 100), largest, 1, largest]):
            buffer[:size] = bytes([number + 1]) * size
            given: Any = bytearray(memoryview(buffer)[:size]) if size < largest else buffer
            calls.append(pair.root.call("digest", given))
            told.append(hashlib.sha256(given).digest())
            given[:] = bytes(len(given))  # before anything was written
        assert await asyncio.gather(*calls) == told
        assert [hashlib.sha256(data).digest() for data in desk.kept] == told  # and it stays so


async def test_an_answer_in_a_buffer_that_is_used_again() -> None:
    async with memory_pair(Digests(), url="tcp://127.0.0.1:0", dialects=["pb7"]) as pair:
        sizes = [*range(100, 8001, 100), 500_000]
        calls = [pair.root.call("buffer", size, number) for number, size in enumerate(sizes)]
        for number, (call, size) in enumerate(zip(calls, sizes, strict=True)):
            assert bytes(await call) == bytes([number]) * size
