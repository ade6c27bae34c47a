"""A reconnecting client that makes 50 calls a second while its server is killed, over and over.

``python -m tests.faults.reconnecting 100`` prints what the calls came to. The suite does the same with few kills.
"""

from __future__ import annotations

import asyncio
import collections
import contextlib
import os
import random
import signal
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path

import perspective_broker as pb
from perspective_broker.ports import Value

__all__ = ["Outcome", "kill_over_and_over"]

#: Seconds between two calls.
PACE = 0.02

SERVER = """
import asyncio, os, sys
import perspective_broker as pb

class Journal(pb.Root):
    def __init__(self):
        self.file = os.open(sys.argv[2], os.O_WRONLY | os.O_APPEND | os.O_CREAT)

    async def remote_note(self, number):
        os.write(self.file, b"%d\\n" % number)  # before anything else
        await asyncio.sleep(0.01)  # so that some are killed in the middle
        return number

async def main():
    async with pb.serve(Journal(), sys.argv[1]) as server:
        print("ready", flush=True)
        await server.serve_forever()

pb.run(main())
"""


@dataclass
class Outcome:
    """What the calls came to.

    Attributes:
        calls: how many were made.
        ends: how many ended in which way, as (name of the error, ran).
        twice: numbers that ran twice.
        ran_although_not: numbers that have run although their error says that they have not.
        silent: numbers whose call has not ended.
        missing: numbers that were answered and have not run.
        reconnects: connections after the first.
        seconds: of processor time that this process took.
    """

    calls: int = 0
    ends: collections.Counter[tuple[str, bool | None]] = field(default_factory=collections.Counter)
    twice: list[int] = field(default_factory=list)
    ran_although_not: list[int] = field(default_factory=list)
    silent: list[int] = field(default_factory=list)
    missing: list[int] = field(default_factory=list)
    reconnects: int = 0
    seconds: float = 0.0


async def _start(url: str, journal: Path) -> asyncio.subprocess.Process:
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", SERVER, url, str(journal), stdout=asyncio.subprocess.PIPE
    )
    assert process.stdout is not None
    assert await process.stdout.readline() == b"ready\n"
    return process


async def _kill(process: asyncio.subprocess.Process) -> None:
    process.send_signal(signal.SIGKILL)
    await process.communicate()


async def kill_over_and_over(kills: int, directory: Path, seed: int = 1) -> Outcome:
    """Kill the server so often, and return what the calls came to."""
    chance = random.Random(seed)
    url, journal = f"unix://{directory / 'socket'}", directory / "journal"
    outcome = Outcome()
    calls: dict[int, asyncio.Future[Value]] = {}
    process = await _start(url, journal)
    began = time.process_time()
    soon = pb.Backoff(base=0.05, cap=0.1)
    async with pb.connect(url, reconnect=soon) as root:

        def count(current: object) -> None:
            outcome.reconnects += 1

        root.on_reconnect(count)

        async def load() -> None:
            while True:
                calls[len(calls)] = asyncio.ensure_future(root.call("note", len(calls)))
                await asyncio.sleep(PACE)

        loading = asyncio.create_task(load())
        for _ in range(kills):
            before, before_answers = outcome.reconnects, sum(call.done() for call in calls.values())
            while sum(call.done() for call in calls.values()) < before_answers + 5:
                await asyncio.sleep(PACE)
            await asyncio.sleep(chance.random() * PACE)
            os.kill(process.pid, signal.SIGKILL)
            await process.communicate()
            process = await _start(url, journal)
            while outcome.reconnects == before:
                await asyncio.sleep(PACE)
        loading.cancel()
        await asyncio.wait([loading])
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(60):
                await asyncio.gather(*calls.values(), return_exceptions=True)
        outcome.seconds = time.process_time() - began
    await _kill(process)
    _judge(outcome, calls, [int(line) for line in journal.read_text().split()])
    return outcome


def _judge(outcome: Outcome, calls: dict[int, asyncio.Future[Value]], ran: list[int]) -> None:
    times = collections.Counter(ran)
    outcome.calls = len(calls)
    outcome.twice = [number for number, count in times.items() if count > 1]
    for number, call in calls.items():
        if call.cancelled():  # it was given up after a minute
            outcome.silent.append(number)
            continue
        error = call.exception()
        if error is None:
            outcome.ends["answered", True] += 1
            if not times[number]:
                outcome.missing.append(number)
            continue
        says = getattr(error, "ran", None)
        outcome.ends[type(error).__name__, says] += 1
        if says is False and times[number]:
            outcome.ran_although_not.append(number)


def main() -> None:
    """Print what the calls came to."""
    with tempfile.TemporaryDirectory() as directory:
        outcome = pb.run(kill_over_and_over(int(sys.argv[1]), Path(directory)))
    print(
        f"{outcome.calls} calls, {outcome.reconnects} reconnects, {outcome.seconds:.2f} s of processor time"
    )
    for (name, ran), count in sorted(outcome.ends.items(), key=str):
        print(f"{count:8} {name}, ran {ran}")
    print(
        f"ran twice {len(outcome.twice)}, silent {len(outcome.silent)}, ran although not "
        f"{len(outcome.ran_although_not)}, answered and not run {len(outcome.missing)}"
    )


if __name__ == "__main__":
    main()
