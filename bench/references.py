"""References per second that cross, are dropped and are released, and the memory that this takes.

    python -m bench.references --seconds 10

Two processes over loopback. A call brings references to fresh objects and takes as many others back: one of each with
200 calls in flight, or a hundred of each. A reference counts when it has crossed; it is dropped where it arrives, so
each is also released. At the end both tables have to be empty. The goal (ROBUSTNESS, fault 16) is 50,000 a second.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import resource
import sys
import time
from pathlib import Path
from typing import Any

import perspective_broker as pb
from bench.serving import serve, serving
from perspective_broker.testing import broker_leaks

#: References a second.
GOAL_RATE = 50_000

IN_FLIGHT = 200
MANY = 100

#: Seconds before anything is measured: pools and tables grow to their size.
WARM_UP = 2.0


class Token(pb.Referenceable):
    """An object that is passed and dropped."""


class Root(pb.Root):
    def remote_swap(self, *theirs: Any) -> Any:
        return [Token() for _ in theirs]

    def remote_rss(self) -> int:
        return rss_kib()


def rss_kib() -> int:
    """Return the resident memory of this process."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * (resource.getpagesize() // 1024)


async def measure(url: str, dialect: str, size: int, seconds: float) -> list[str]:
    """Swap references for so long; print the figures, and return the problems."""
    async with pb.connect(url, dialects=[dialect]) as root:
        crossed = 0
        until = time.perf_counter() + WARM_UP

        async def worker() -> None:
            nonlocal crossed
            while time.perf_counter() < until:
                await root.call("swap", *[Token() for _ in range(size)])
                crossed += 2 * size

        async def all_of_them() -> None:
            await asyncio.gather(*(worker() for _ in range(max(2, IN_FLIGHT // size))))

        await all_of_them()
        memory = [rss_kib(), await root.call("rss")]
        crossed, began = 0, time.perf_counter()
        until = began + seconds
        await all_of_them()
        took = time.perf_counter() - began
        grown = [
            after - before for before, after in zip(memory, [rss_kib(), await root.call("rss")], strict=True)
        ]
        rate = crossed / took
        print(
            f"{dialect:>5} {size:>4} a call: {rate:>9,.0f} references/s ({'met' if rate >= GOAL_RATE else 'missed'}), "
            f"{memory[0] / 1024:.1f} MiB {grown[0]:+d} KiB here, {memory[1] / 1024:.1f} MiB {grown[1]:+d} KiB there",
            flush=True,
        )
        gc.collect()
        await root.call("rss")
        left = broker_leaks(root.connection._driver.broker)
    return [f"{dialect}, {size} a call: {what} at the end" for what in left]


def call(seconds: float) -> int:
    problems: list[str] = []
    with serving("bench.references") as url:
        for dialect in ("pb7", "pb"):
            for size in (1, MANY):
                problems += pb.run(measure(url, dialect, size, seconds))
    for problem in problems:
        print(f"PROBLEM: {problem}")
    return 1 if problems else 0


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m bench.references", description=__doc__.partition("\n")[0]
    )
    parser.add_argument(
        "--seconds", type=float, default=10.0, metavar="S", help="per line (default: %(default)s)"
    )
    parser.add_argument("--serve", action="store_true", help="be the serving process")
    options = parser.parse_args(arguments)
    if options.serve:
        pb.run(serve(Root()))
        return 0
    return call(options.seconds)


if __name__ == "__main__":
    sys.exit(main())
