"""Machine instructions of one small call, both ends in one process: the figure that no neighbour moves.

Each kind runs twice under valgrind's callgrind, with different numbers of calls; the difference is that of the calls
alone, without the start of the interpreter. The kernel's instructions are not counted.
"""

from __future__ import annotations

import asyncio
import gc
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Any, Final

import uvloop

import perspective_broker as pb
from bench.peers import _floor
from bench.values import PAYLOAD

__all__ = ["KINDS", "measure", "print_instructions"]

IN_FLIGHT: Final = 200
#: Calls before the first that is counted, and calls of the shorter and of the longer run.
_WARM, _FEW, _MANY = 600, 400, 2_400

#: Instructions, then misses of the first cache of instructions and of the last cache, where callgrind simulates them.
_COUNTED: Final = re.compile(r"Collected : (\d+)(?: \d+ \d+ (\d+))?")

_ROOT: Final = Path(__file__).parents[1]


class _Root(pb.Root):
    def remote_echo(self, value: Any) -> Any:
        return value

    async def remote_echo_async(self, value: Any) -> Any:
        return value


Call = Callable[[Any], Awaitable[Any]]


async def _ours(dialect: str, method: str, run: Callable[[Call], Awaitable[None]]) -> None:
    async with (
        pb.serve(_Root(), "tcp://127.0.0.1:0", dialects=[dialect]) as server,
        pb.connect(server.urls[0]) as root,
    ):
        await run(lambda value: root.call(method, value))


async def _floor_of(corked: bool, run: Callable[[Call], Awaitable[None]]) -> None:
    loop, decode = asyncio.get_running_loop(), _floor._decode_plain
    server = await loop.create_server(lambda: _floor._EchoServer(decode, corked), "127.0.0.1", 0)
    _, client = await loop.create_connection(
        lambda: _floor._EchoClient(decode, corked), *server.sockets[0].getsockname()
    )
    await run(client.call)
    client.transport.abort()
    server.close()
    await server.wait_closed()


#: Row -> both ends of it, which run what they are given with a function that makes a call.
_ROWS: Final[dict[str, Callable[[Callable[[Call], Awaitable[None]]], Awaitable[None]]]] = {
    "floor": lambda run: _floor_of(False, run),
    "corked floor": lambda run: _floor_of(True, run),
    "pb7": lambda run: _ours("pb7", "echo", run),
    "pb7 async": lambda run: _ours("pb7", "echo_async", run),
    "classic": lambda run: _ours("pb", "echo", run),
}
#: Row and whether the calls are in flight together.
KINDS: Final = [(row, together) for row in _ROWS for together in (False, True)]


def _child(row: str, together: bool, count: int) -> None:
    """Make the calls: the process that is counted."""

    async def run(call: Call) -> None:
        async def some(number: int) -> None:
            for _ in range(number):
                await call(PAYLOAD)

        at_once = IN_FLIGHT if together else 1
        for number in (_WARM, count):
            await asyncio.gather(*(some(number // at_once) for _ in range(at_once)))
            gc.collect()
            gc.freeze()  # a full collection among the calls that are counted would cost as much as a hundred of them

    async def main() -> None:
        await _ROWS[row](run)

    uvloop.run(main())


def _count(python: str, row: str, together: bool, count: int, caches: bool) -> tuple[int, int]:
    """Return the instructions and the misses of the first instruction cache (0 without ``caches``)."""
    with tempfile.NamedTemporaryFile() as out:
        command = ["valgrind", "--tool=callgrind", f"--callgrind-out-file={out.name}"]
        command += ["--cache-sim=yes"] if caches else []
        command += [python, "-m", "bench.instructions", row, str(int(together)), str(count)]
        # One order of dictionaries and sets, so that two runs differ in the calls alone.
        environment = os.environ | {"PYTHONHASHSEED": "0"}
        done = subprocess.run(
            command, cwd=_ROOT, env=environment, capture_output=True, text=True, check=False
        )
    found = _COUNTED.search(done.stderr)
    if done.returncode or found is None:
        raise SystemExit(f"callgrind of {row} failed:\n{done.stderr}")
    return int(found[1]), int(found[2] or 0)


def measure(python: str, row: str, together: bool, caches: bool = False) -> tuple[float, float]:
    """Return the instructions of one call at both ends, and its misses of the first instruction cache.

    Args:
        python: an interpreter that has the build to measure.
        row: one of ``KINDS``, with ``together``.
        together: 200 calls at once on one connection, or one after the other.
        caches: simulate the caches as well, which takes three times as long; otherwise the misses are 0.
    """
    few, many = (_count(python, row, together, count, caches) for count in (_FEW, _MANY))
    calls = _MANY - _FEW
    return (many[0] - few[0]) / calls, (many[1] - few[1]) / calls


def print_instructions(pythons: Sequence[str], rows: Sequence[str], caches: bool) -> None:
    """Print the table: a column for each interpreter, and a ratio to the first for each of the others."""
    if shutil.which("valgrind") is None:
        raise SystemExit("valgrind is missing: install it to count instructions")
    pythons = pythons or [sys.executable]
    print(f"\nInstructions of a small call and its answer, both ends ({_MANY - _FEW} calls)")
    if caches:
        print("In parentheses: misses of a first instruction cache of this machine's size, simulated")
    print()
    for row, together in KINDS:
        if rows and row not in rows:
            continue
        found = [measure(python, row, together, caches) for python in pythons]
        cells = [f"{count:12,.0f}" + (f" ({misses:,.0f})" if caches else "") for count, misses in found]
        ratios = [f"{count / found[0][0]:8.3f}" for count, _ in found[1:]]
        print(f"{row:14}{'in flight' if together else 'one':10}{''.join(cells)}{''.join(ratios)}", flush=True)


if __name__ == "__main__":
    _child(sys.argv[1], bool(int(sys.argv[2])), int(sys.argv[3]))
