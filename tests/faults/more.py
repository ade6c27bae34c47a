"""The same faults in larger numbers, to be run by hand: ``python -m tests.faults.more``. Takes a few minutes.

Each line has a step and its duration; a fault is an AssertionError.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import time
from collections.abc import Coroutine
from typing import Any

import perspective_broker as pb
from tests.faults import test_drain, test_killed, test_too_much
from tests.faults.processes import running
from tests.faults.served import Desk, memory
from tests.loops import LOOPS


async def cancel(number: int) -> None:
    """Row 15: calls that are made and cancelled. A turn of the loop that is late by 100 ms is printed."""
    limits, desk = pb.Limits(calls_in_flight=16), Desk()
    async with (
        pb.serve(desk, "tcp://127.0.0.1:0", limits=limits) as server,
        pb.connect(server.urls[0], limits=limits) as root,
    ):
        for turn in range(number):
            root.call("wait").cancel()
            if turn % 100 == 0:
                await asyncio.sleep(0)
        await root.call("echo", 1)
        assert desk.most_running <= 16
        print(f"    the loop was late by {server.statistics().worst_lag * 1000:.0f} ms at its worst")


async def connect(number: int, loop: str) -> None:
    """Row 13: idle connections, their memory in the server, and the time to open and close them."""
    limits = {"strangers_per_address": number, "ping_seconds": 3600.0}
    async with running("serve", "tcp://127.0.0.1:0", "--loop", loop, limits=limits) as server:
        (url,) = (await server.hear())["urls"]
        before, began, at_once = memory(server.pid)["VmRSS"], time.perf_counter(), asyncio.Semaphore(200)

        async def one() -> pb.RemoteReference:
            async with at_once:
                return await pb.connect(url)

        async with contextlib.AsyncExitStack():
            roots = await asyncio.gather(*(one() for _ in range(number)))
            connected = time.perf_counter() - began
            size = (memory(server.pid)["VmRSS"] - before) / number / 1024
            began = time.perf_counter()
            await asyncio.gather(*(root.connection.close() for root in roots))
            closed = time.perf_counter() - began
        print(f"    connected in {connected:.1f} s, {size:.1f} KiB each, closed in {closed:.1f} s")


def do(what: str, coroutine: Coroutine[Any, Any, None], loop: str) -> None:
    print(what, flush=True)
    began = time.perf_counter()
    with asyncio.Runner(loop_factory=LOOPS[loop]) as runner:
        runner.run(coroutine)
    print(f"    well, after {time.perf_counter() - began:.1f} s", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--times", type=float, default=10, help="as many as in the tests, times this")
    parser.add_argument("--loop", choices=sorted(LOOPS), default="uvloop")
    given = parser.parse_args()
    test_drain.RUNS = int(test_drain.RUNS * given.times)
    test_too_much.SILENT = int(test_too_much.SILENT * given.times / 2)
    cancels, connections = int(10_000 * given.times), int(500 * given.times)
    for _ in range(int(given.times)):
        servers = test_killed.test_servers_killed_in_mid_call("tcp")
        do(f"row 1: {test_killed.SERVERS} servers killed", servers, given.loop)
        clients = test_killed.test_clients_killed_in_mid_call()
        do(f"row 1: {test_killed.CLIENTS} clients killed", clients, given.loop)
    silent = test_too_much.test_clients_that_never_greet_are_gone_when_their_time_is_over(given.loop)
    do(f"row 3: {test_too_much.SILENT} silent clients", silent, given.loop)
    for dialect in ("pb7", "pb"):
        drained = test_drain.test_what_has_begun_is_answered("tcp://127.0.0.1:0", dialect)
        do(f"row 9: drained {test_drain.RUNS} times, {dialect}", drained, given.loop)
    do(f"row 13: {connections} connections", connect(connections, given.loop), given.loop)
    do(f"row 15: {cancels} calls given up", cancel(cancels), given.loop)


if __name__ == "__main__":
    main()
