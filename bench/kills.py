"""A reconnecting client whose server is killed: what each call came to, and what a reconnect costs the client.

    python -m bench.kills [--kills 100] [--rate 50] [--reconnects 200]

Two processes over loopback TCP. The client makes ``--rate`` calls a second, and the server writes the number of each
call into a file before it does anything else. The server is killed (SIGKILL) again and again, and started again. In
the end every call must have come to an end, and the file must agree with what the errors say (``.ran``): a call that
was answered ran once, one with ``ran`` False never, one with None at most once.

Then the server ends the connection ``--reconnects`` times while nothing else is done, and the processor time of the
client is measured from there until a call that waited has its answer. (With a login: ``python -m bench.logins
--reconnect``.)
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import gc
import os
import random
import socket
import sys
import tempfile
import time
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import perspective_broker as pb

__all__ = ["Course", "kill_again_and_again"]

#: Milliseconds of the client's processor time for a reconnect.
GOAL: Final = 5.0

#: Seconds for which a method runs after it has taken note of its call, so that a kill meets some of them.
_RUNS: Final = 0.03

_SOON: Final = pb.Backoff(base=0.02, cap=0.1)


# -- the server


class _Journal(pb.Root):
    """Takes note of each call, and runs a little longer."""

    def __init__(self, path: str, connection: pb.Connection) -> None:
        self._file = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        self._connection = connection
        connection.on_disconnect(lambda connection: os.close(self._file))

    async def remote_note(self, number: int) -> int:
        os.write(self._file, b"%d\n" % number)
        await asyncio.sleep(_RUNS)
        return number

    def remote_same(self, number: int) -> int:
        return number

    def remote_hang_up(self) -> None:
        asyncio.get_running_loop().call_soon(asyncio.ensure_future, self._connection.close())


class _Root:
    """Gives each connection a journal of its own."""

    def __init__(self, path: str) -> None:
        self._path = path

    def root_object(self, connection: pb.Connection) -> _Journal:
        return _Journal(self._path, connection)


async def _serve(url: str, path: str) -> None:
    async with pb.serve(_Root(path), url) as server:
        print("ready", flush=True)
        await server.serve_forever()


@contextlib.asynccontextmanager
async def _serving(url: str, path: Path) -> AsyncIterator[asyncio.subprocess.Process]:
    """Run a server in a process of its own, which is killed at the end of the block."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "bench.kills", "--serve", url, str(path)), stdout=asyncio.subprocess.PIPE
    )
    try:
        assert process.stdout is not None
        if not await process.stdout.readline():
            raise RuntimeError("the server did not start")
        yield process
    finally:
        process.kill()
        await process.wait()


def _free_url() -> str:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return f"tcp://127.0.0.1:{probe.getsockname()[1]}"


# -- the client


@dataclass(slots=True)
class Course:
    """What the calls of one run came to.

    Attributes:
        ends: by number: ``"answered"``, or the ``ran`` of the error.
        codes: how many errors there were of each class and code.
        made: how many calls were made.
        ran: how often each of them ran, by number.
    """

    ends: dict[int, object] = field(default_factory=dict)
    codes: Counter[str] = field(default_factory=Counter)
    made: int = 0
    ran: Counter[int] = field(default_factory=Counter)

    async def call(self, number: int, reference: Any) -> None:
        """Make one call, and take note of its end."""
        try:
            answer = await reference.call("note", number)
        except pb.BrokerError as error:
            self.ends[number] = error.ran
            self.codes[f"{type(error).__name__} {getattr(error, 'code', '')}".strip()] += 1
        else:
            self.ends[number] = "answered" if answer == number else "another answer"

    def wrong(self) -> list[str]:
        """Return what must not be."""
        found = [f"call {number}: silent" for number in range(self.made) if number not in self.ends]
        for number in range(self.made):
            end, times = self.ends.get(number), self.ran[number]
            allowed = {"answered": (1,), True: (1,), False: (0,), None: (0, 1)}.get(end, ())
            if times not in allowed:
                found.append(f"call {number}: it came to {end}, and ran {times} times")
        return found

    def summary(self) -> str:
        """Return the figures as text."""
        by_end = Counter(map(str, self.ends.values()))
        lost = sum(1 for number, end in self.ends.items() if end is None and self.ran[number])
        ends = ", ".join(f"{name}: {count}" for name, count in sorted(by_end.items()))
        codes = ", ".join(f"{name}: {count}" for name, count in sorted(self.codes.items()))
        return (
            f"{self.made} calls; by .ran: {ends} (of those with None {lost} had run)\n"
            f"errors: {codes or 'none'}\n"
            f"ran twice: {sum(times > 1 for times in self.ran.values())}, "
            f"silent: {self.made - len(self.ends)}, wrong: {len(self.wrong())}"
        )


async def kill_again_and_again(kills: int, rate: float, path: Path, seed: int = 0) -> Course:
    """Kill the server under a client that goes on calling, and return what its calls came to.

    Args:
        kills: how often.
        rate: calls a second.
        path: of the file in which the server takes note of calls; it does not exist.
        seed: decides how long each server lives, and how long there is none.
    """
    chance, url, course = random.Random(seed), _free_url(), Course()
    calls: set[asyncio.Task[None]] = set()
    back = asyncio.Event()

    async def go_on_calling(reference: Any) -> None:
        while True:
            calls.add(asyncio.create_task(course.call(course.made, reference)))
            course.made += 1
            await asyncio.sleep(1 / rate)

    async with contextlib.AsyncExitStack() as stack:
        async with _serving(url, path):
            reference = await stack.enter_async_context(pb.connect(url, reconnect=_SOON, timeout=60))
            reference.on_reconnect(lambda current: back.set())
            calling = asyncio.create_task(go_on_calling(reference))
            await asyncio.sleep(0.1 + chance.random() * 0.2)
        for _ in range(kills - 1):
            async with _serving(url, path):
                await back.wait()
                back.clear()
                await asyncio.sleep(chance.random() * 0.2)
        async with _serving(url, path):
            calling.cancel()
            await asyncio.wait([calling, *calls])
    course.ran.update(map(int, _read(path).split()))
    return course


def _read(path: Path) -> str:
    return path.read_text()


async def reconnect_cost(reconnects: int, path: Path) -> list[float]:
    """Return the milliseconds of processor time that each reconnect took."""
    url, costs = _free_url(), []
    at_once = pb.Backoff(base=0.001, cap=0.001)
    async with _serving(url, path), pb.connect(url, reconnect=at_once) as reference:
        for number in range(reconnects):
            gc.collect()
            connection = reference.connection
            began = time.process_time()
            await reference.tell("hang_up")
            await connection.wait_closed()
            assert await reference.call("same", number) == number
            costs.append((time.process_time() - began) * 1e3)
    return costs


async def _measure(arguments: argparse.Namespace) -> int:
    with tempfile.TemporaryDirectory() as directory:
        course = await kill_again_and_again(arguments.kills, arguments.rate, Path(directory, "calls"))
        costs = sorted(await reconnect_cost(arguments.reconnects, Path(directory, "others")))
    print(f"{arguments.kills} kills, {arguments.rate:g} calls a second: {course.summary()}")
    for line in course.wrong()[:20]:
        print(line)
    median, worst = costs[len(costs) // 2], costs[int(len(costs) * 0.99)]
    print(
        f"a reconnect, processor time of the client: median {median:.2f} ms, 99 of 100 below {worst:.2f} ms "
        f"(goal {GOAL:g} ms)"
    )
    return 1 if course.wrong() or median > GOAL else 0


def main(arguments: Sequence[str] | None = None) -> int:
    """Run what the command line asks for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--kills", type=int, default=100)
    parser.add_argument("--rate", type=float, default=50)
    parser.add_argument("--reconnects", type=int, default=200)
    parser.add_argument("--serve", nargs=2, metavar=("URL", "FILE"), help=argparse.SUPPRESS)
    given = parser.parse_args(arguments)
    if given.serve is not None:
        asyncio.run(_serve(*given.serve))
        return 0
    return asyncio.run(_measure(given))


if __name__ == "__main__":
    sys.exit(main())
