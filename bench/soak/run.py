"""Runs a soak: a serving process, visiting processes that are killed now and then, samples, and a verdict."""

from __future__ import annotations

import asyncio
import collections
import contextlib
import json
import sys
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from random import Random
from typing import Any, Final

__all__ = ["Result", "soak"]

_ROOT: Final = Path(__file__).parents[2]

#: Visiting processes at a time.
VISITING: Final = 2

#: The share of a core of each; the server takes about as much as both.
SHARE: Final = 0.12

#: Figures of a sample that have to be 0 when all visitors have left.
_TABLES: Final = (
    "connections", "exported", "imported", "observed", "replicas", "calls_in", "calls_out", "calls_waiting",
    "answers_kept",
)  # fmt: skip

#: Seconds that a process may take to end, its last visits included.
_END: Final = 90.0


class Result:
    """The result of a soak.

    Attributes:
        samples: of the server, oldest first; the last was taken when all visitors had left.
        done: the actions of the visitors, with their counts; those of killed visitors are missing.
        killed: the number of visiting processes that were killed.
        problems: one line each; empty if all is well.
    """

    def __init__(self) -> None:
        self.samples: list[dict[str, Any]] = []
        self.done: collections.Counter[str] = collections.Counter()
        self.killed = 0
        self.problems: list[str] = []


class _Process:
    """A child process that reads lines and answers with lines of JSON."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self.process = process

    @classmethod
    async def start(cls, log: Path, module: str, *arguments: str) -> _Process:
        with log.open("a") as errors:
            process = await asyncio.create_subprocess_exec(
                sys.executable, "-m", module, *arguments,
                stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, stderr=errors, cwd=_ROOT,
                limit=2**24,
            )  # fmt: skip
        return cls(process)

    def tell(self, line: str) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(line.encode() + b"\n")

    async def answer(self, seconds: float = _END) -> dict[str, Any]:
        """Return its next line. Raises EOFError or TimeoutError."""
        assert self.process.stdout is not None
        line = await asyncio.wait_for(self.process.stdout.readline(), seconds)
        if not line:
            raise EOFError("a process ended before its time; its log says why")
        answer: dict[str, Any] = json.loads(line)
        return answer

    async def kill(self) -> None:
        with contextlib.suppress(ProcessLookupError):
            self.process.kill()
        await self.process.wait()


async def soak(
    seconds: float,
    directory: Path,
    *,
    between_samples: float = 5.0,
    between_kills: float = 15.0,
    seed: int = 1,
    progress: Callable[[dict[str, Any]], None] = lambda sample: None,
) -> Result:
    """Let visitors come and go at a server for so long, and check for leftovers.

    Args:
        seconds: the duration, without starting and ending.
        directory: for sockets, certificates, identities and logs.
        between_samples: seconds.
        between_kills: seconds until one of the visiting processes is killed and another takes its place.
        seed: of the visitors' actions.
        progress: called with each sample.
    """
    result = Result()
    random = Random(seed)
    async with _started(directory / "server.log", "bench.soak.serving", str(directory)) as server:
        urls = json.dumps(await server.answer())

        async def visitor() -> _Process:
            arguments = (str(directory), str(random.randrange(2**32)), str(SHARE), urls)
            return await _Process.start(directory / "visitors.log", "bench.soak.visiting", *arguments)

        visitors = [await visitor() for _ in range(VISITING)]
        try:
            began = time.monotonic()
            next_kill = began + between_kills
            while (now := time.monotonic()) < began + seconds:
                await asyncio.sleep(min(between_samples, began + seconds - now))
                await _sample(server, result, "sample")
                progress(result.samples[-1])
                if time.monotonic() >= next_kill:
                    next_kill += between_kills
                    place = random.randrange(VISITING)
                    await visitors[place].kill()
                    result.killed += 1
                    visitors[place] = await visitor()
            for one in visitors:
                one.tell("enough")
            for one in visitors:
                said = await one.answer()
                result.done.update(said["done"])
                result.problems += [f"a visit went wrong: {text}" for text in said["failures"]]
        finally:
            for one in visitors:
                await one.kill()
        await _sample(server, result, "settle")
        last = result.samples[-1]
        result.problems += [f"{last[name]} {name} when everybody has left" for name in _TABLES if last[name]]
        if last["tasks"] != 1:
            result.problems.append(f"{last['tasks'] - 1} tasks when everybody has left")
        server.tell("end")
        left = await server.answer()
        result.problems += [f"left at the end, {name}: {what}" for name, what in left.items() if what]
    return result


async def _sample(server: _Process, result: Result, line: str) -> None:
    server.tell(line)
    result.samples.append(await server.answer())


@contextlib.asynccontextmanager
async def _started(log: Path, module: str, *arguments: str) -> AsyncIterator[_Process]:
    process = await _Process.start(log, module, *arguments)
    try:
        yield process
    finally:
        await process.kill()
