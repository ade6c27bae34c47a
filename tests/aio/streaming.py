"""A large stream between two processes: its memory and its speed.

    python -m tests.aio.streaming --mib 1024 --dialect pb7

in the checkout prints one line of JSON: MB/s, and for both processes the seconds of processor time that the stream
took, and the peak of resident memory (MiB) before the first chunk and behind the last. The test of flat memory runs
it with less. Speed beside a bare socket is for ``python -m bench``.
"""

from __future__ import annotations

import argparse
import json
import resource
import time
from collections.abc import AsyncIterator
from typing import Any

import uvloop

import perspective_broker as pb
from bench.serving import serve, serving

CHUNK = bytes(64 * 1024)


class Source(pb.Root):
    """The serving process."""

    async def remote_chunks(self, number: int) -> AsyncIterator[bytes]:
        for _ in range(number):
            yield CHUNK

    def remote_usage(self) -> list[float]:
        return usage()


def usage() -> list[float]:
    """The most memory that this process ever had, in MiB, and the processor time that it took, in seconds."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    return [used.ru_maxrss / 1024, used.ru_utime + used.ru_stime]


async def read(url: str, mib: int, dialect: str) -> dict[str, Any]:
    """Read a stream, and return its cost."""
    async with pb.connect(url, dialects=[dialect]) as root:
        async for _ in root.call("chunks", 64):  # modules and buffers that are made once exist now
            pass
        before = usage(), await root.call("usage")
        received, began = 0, time.perf_counter()
        async for chunk in root.call("chunks", mib * 1024 * 1024 // len(CHUNK)):
            received += len(chunk)
        seconds = time.perf_counter() - began
        after = usage(), await root.call("usage")
    return {"dialect": dialect, "MiB": received / 1024**2, "MB/s": round(received / seconds / 1e6)} | {
        name: {
            "seconds": round(then[1] - first[1], 2),
            "peak before": round(first[0], 1),
            "peak after": round(then[0], 1),
        }
        for name, first, then in zip(("reader", "source"), before, after, strict=True)
    }


def measure(mib: int, dialect: str) -> dict[str, Any]:
    """Read a stream from a process of its own, in this one."""
    with serving("tests.aio.streaming") as url:
        return uvloop.run(read(url, mib, dialect))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--mib", type=int, default=1024, help="size of the stream (default: %(default)s)")
    parser.add_argument("--dialect", default="pb7", help="pb7 (default), pb or none")
    parser.add_argument("--serve", action="store_true", help="be the other process")
    options = parser.parse_args()
    if options.serve:
        uvloop.run(serve(Source()))
    else:
        print(json.dumps(measure(options.mib, options.dialect)))


if __name__ == "__main__":
    main()
