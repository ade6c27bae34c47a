"""The parts of the time of one small call: each alone, between two processes, and the share of waiting.

    python -m bench.cost                       # processor time, the best of several; half a minute
    python -m bench.cost --instructions        # counted by callgrind, which no neighbour moves; two minutes
    perf record --no-inherit -o DATA --call-graph dwarf,16384 -F 300 python -m bench.cost --parts calls --kinds one
    python -m bench.cost --rooms DATA          # the caller's samples by room, of the compiled build

For the server's samples use `perf record -p` with the number of the process that runs with `--serve`.
With another source on PYTHONPATH (`git archive COMMIT src`) it measures that source, as plain Python.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import re
import socket
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final

import uvloop
from ormsgpack import packb, unpackb

import perspective_broker as pb
from bench.instructions import print_instructions
from bench.peers._ours import Point
from bench.values import MEBIBYTE, PAYLOAD, POINTS
from perspective_broker.dialects.pb7.frames import HEADER_BYTES, FrameReader
from perspective_broker.dialects.pb7.large import OPTIONS
from perspective_broker.testing import BrokerPair

IN_FLIGHT: Final = 200


class Root(pb.Root):
    """The served object."""

    def remote_echo(self, value: Any) -> Any:
        return value

    def remote_used(self) -> float:
        return time.process_time()


def points() -> list[Point]:
    """Return 1,000 copyables."""
    made = []
    for state in POINTS:
        point = Point()
        point.name, point.x, point.y = state
        made.append(point)
    return made


#: Kind of call -> the number of timed calls, and a function that makes the value to echo.
KINDS: Final[dict[str, tuple[int, Callable[[], Any]]]] = {
    "one": (20_000, lambda: PAYLOAD),
    "inflight": (20_000, lambda: PAYLOAD),
    "bytes": (200, lambda: MEBIBYTE),
    "copyables": (100, points),
}


def best(run: Callable[[], None], count: int, rounds: int = 7) -> float:
    """Return the microseconds of processor time of one ``run()``."""
    least = float("inf")
    for _ in range(rounds):
        began = time.process_time()
        for _ in range(count):
            run()
        least = min(least, time.process_time() - began)
    return least / count * 1e6


def parts() -> None:
    """Print the time of each part of a small call and its answer alone, both ends together."""
    pair = BrokerPair(Root(), dialects=["pb7"])
    pair.root.call("echo", PAYLOAD)
    call = pair.client.take()
    pair.server.receive(call)
    answer = pair.server.take()
    pair.client.receive(answer)
    bodies = [call[HEADER_BYTES:], answer[HEADER_BYTES:]]
    values = [unpackb(body) for body in bodies]
    frames = FrameReader(pb.Limits())

    def pack() -> None:
        for value in values:
            packb(value, None, OPTIONS)

    def unpack() -> None:
        for body in bodies:
            unpackb(body)

    def cut() -> None:
        for data in (call, answer):
            frames.receive_data(data)
            frames.next()
            frames.next()

    def whole() -> None:
        pair.root.call("echo", PAYLOAD)
        pair.server.receive(pair.client.take())
        pair.client.receive(pair.server.take())

    print("\nMicroseconds of processor time of a small call and its answer on pb7, both ends\n")
    for name, run in (("pack", pack), ("unpack", unpack), ("frames", cut), ("two brokers, no I/O", whole)):
        print(f"{name:24}{best(run, 5_000):8.2f}")
    print(f"{'a bare future awaited':24}{uvloop.run(_future()):8.2f}")


async def _future() -> float:
    loop = asyncio.get_running_loop()
    least = float("inf")
    for _ in range(7):
        began = time.process_time()
        for _ in range(5_000):
            future = loop.create_future()
            loop.call_soon(future.set_result, None)
            await future
        least = min(least, time.process_time() - began)
    return least / 5_000 * 1e6


async def _serve() -> None:
    async with pb.serve(Root(), "tcp://127.0.0.1:0") as server:
        print(server.urls[0], flush=True)
        await server.serve_forever()


async def _call(url: str, dialect: str, kind: str) -> tuple[float, float, float]:
    """Return microseconds of a call: on the clock, of this process, of the other process."""
    count, make = KINDS[kind]
    value = make()
    at_once = IN_FLIGHT if kind == "inflight" else 1
    async with pb.connect(url, dialects=[dialect]) as root:

        async def some(number: int) -> None:
            for _ in range(number):
                await root.call("echo", value)

        await some(count // 10)
        there, here, clock = await root.call("used"), time.process_time(), time.perf_counter()
        await asyncio.gather(*(some(count // at_once) for _ in range(at_once)))
        clock, here = time.perf_counter() - clock, time.process_time() - here
        there = await root.call("used") - there
    return clock / count * 1e6, here / count * 1e6, there / count * 1e6


def calls(dialects: Sequence[str], kinds: Sequence[str], rounds: int) -> None:
    """Print the time of calls between two processes over loopback."""
    server = subprocess.Popen(
        [sys.executable, "-m", "bench.cost", "--serve"],
        stdout=subprocess.PIPE,
        text=True,
        cwd=Path(__file__).parents[1],
    )
    assert server.stdout is not None
    print(f"\nMicroseconds of one call between two processes, best of {rounds}\n")
    print(f"{'':16}{'clock':>10}{'caller':>10}{'server':>10}{'both':>10}   (processor time)")
    try:
        url = server.stdout.readline().strip()
        for dialect in dialects:
            for kind in kinds:
                if dialect == "pb" and kind == "bytes":
                    continue  # longer than a string of the classic dialect
                took = [uvloop.run(_call(url, dialect, kind)) for _ in range(rounds)]
                clock, here, there = (min(column) for column in zip(*took, strict=True))
                print(
                    f"{dialect:5}{kind:11}{clock:10.1f}{here:10.1f}{there:10.1f}{here + there:10.1f}",
                    flush=True,
                )
    finally:
        server.kill()
        server.communicate()


def ping_pong(count: int = 20_000) -> None:
    """Print the time of 80 bytes there and back between two processes that do nothing else."""
    ours, theirs = socket.socketpair()
    child = os.fork()
    if not child:
        ours.close()
        while data := theirs.recv(4096):
            theirs.send(data)
        os._exit(0)
    theirs.close()
    clock, used = time.perf_counter(), time.process_time()
    for _ in range(count):
        ours.send(bytes(80))
        ours.recv(4096)
    clock, used = time.perf_counter() - clock, time.process_time() - used
    ours.close()
    os.waitpid(child, 0)
    print(
        f"\nA bare socket pair between two processes, 80 bytes there and back: {clock / count * 1e6:.1f} µs"
    )
    print(f"on the clock, {used / count * 1e6:.1f} µs of processor time at one end")


#: Shared object -> room; of the compiled build, a module is a room.
ROOMS: Final = {
    "kernel": "kernel",
    "loop.cpython": "uvloop",
    "ormsgpack": "codec in C (ormsgpack)",
    "_asyncio": "task, and the program's own line",
}


def rooms(file: str) -> None:
    """Print the samples of a ``perf record``: each counts for the innermost frame that belongs to a room."""
    script = subprocess.run(
        ["perf", "script", "-i", file, "-F", "comm,ip,sym,dso"], capture_output=True, text=True, check=True
    )
    found: Counter[str] = Counter()
    for sample in script.stdout.split("\n\n"):
        if sample.strip():
            found[
                next(filter(None, map(_room, sample.splitlines()[1:])), "interpreter, outside of these")
            ] += 1
    total = sum(found.values())
    for room, count in found.most_common():
        print(f"{count / total:6.1%} {room}")


def _room(line: str) -> str | None:
    if "__mypyc" in line:
        module = re.search(r" CPy(?:Def|Py|Gen)_([a-z0-9_]+?)___", line)
        return f"ours: {module[1]}" if module else None
    return next((room for part, room in ROOMS.items() if part in line.rpartition(" ")[2]), None)


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="python -m bench.cost", description=__doc__.partition("\n")[0])
    parser.add_argument("--dialects", default="pb7,pb", help="default: %(default)s")
    parser.add_argument("--kinds", default=",".join(KINDS), help="of calls (default: %(default)s)")
    parser.add_argument(
        "--rounds", type=int, default=3, help="of which the best counts (default: %(default)s)"
    )
    parser.add_argument("--parts", default="parts,calls,sockets", help="default: %(default)s")
    parser.add_argument(
        "--rooms", metavar="DATA", help="count the samples of a perf record, and measure nothing"
    )
    parser.add_argument(
        "--instructions", action="store_true", help="count instructions with valgrind, and nothing else"
    )
    parser.add_argument(
        "--caches", action="store_true", help="with --instructions: misses of the instruction cache, too"
    )
    parser.add_argument("--rows", default="", help="with --instructions: these alone, such as pb7,floor")
    parser.add_argument(
        "--pythons",
        nargs="*",
        default=[],
        help="with --instructions: interpreters to compare, the old one first",
    )
    parser.add_argument("--serve", action="store_true", help="be the serving process")
    options = parser.parse_args(arguments)
    if options.rooms:
        rooms(options.rooms)
        return
    if options.instructions:
        print_instructions(options.pythons, [row for row in options.rows.split(",") if row], options.caches)
        return
    if options.serve:
        uvloop.run(_serve())
        return
    wanted = options.parts.split(",")
    compiled = getattr(getattr(pb, "build", pb), "COMPILED", False)  # older sources have it elsewhere, or not
    print(f"perspective-broker, {'compiled' if compiled else 'plain Python'}")
    if "sockets" in wanted:
        ping_pong()
    if "parts" in wanted:
        parts()
    if "calls" in wanted:
        calls(options.dialects.split(","), options.kinds.split(","), options.rounds)


if __name__ == "__main__":
    main()
