"""Growth: time by the size of a message, the cost of a call by the number of references, and the import.

    python -m bench.growth

Three tables of processor time, the best of several, so that other work on the machine does not count. A `!` marks
figures above the goal: a message of twice the size may take 2.2 times the time, whether it arrives whole or in 64-byte
chunks; references that are held must not make calls slower; the import takes 150 ms and loads no extra.

Messages are timed with the garbage collector paused: it examines all objects after some 70,000 new ones, so
the first message with that many pays for all before it in one step. `--collector` leaves it on.
"""

from __future__ import annotations

import argparse
import gc
import json
import re
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any, Final

import perspective_broker as pb
from bench.values import PAYLOAD
from perspective_broker.testing import BrokerPair, memory_pair

#: The goals: time for twice the size; time of a call with the most references, divided by that with the fewest.
#: The second goal in words is "does not grow": the margin covers cold memory, and the scatter of repetitions.
DOUBLED: Final = 2.2
HELD: Final = 1.25
IMPORT_MS: Final = 150.0

CHUNK: Final = 64
#: Bytes of the smallest large string.
LARGE: Final = 1_000_000
HELDS: Final = (10, 1_000, 100_000, 1_000_000)
#: References in one message while they are collected, and calls that are timed together.
BATCH: Final = 10_000
CALLS: Final = 2_000

#: Modules that only an extra, or the command line, needs.
EXTRAS: Final = ("sqlalchemy", "twisted", "cryptography", "cyclopts", "rich", "perspective_broker.cli")

#: Limits above everything that is sent here.
LIMITS: Final = pb.Limits(
    message_bytes=1 << 28,
    window_bytes=1 << 28,
    write_buffer_high=1 << 28,
    nodes=1 << 24,
    list_items=1 << 24,
    string_bytes=1 << 28,
    large_string_bytes=1 << 28,
    references_received=1 << 24,
    references_exported=1 << 24,
)


@pb.copier_for("bench.growth.Point")
class Point(pb.Copyable, pb.RemoteCopy):
    """A copyable of two fields."""

    def __init__(self, x: int, y: float) -> None:
        self.x = x
        self.y = y

    def get_type_to_copy(self) -> str:
        return "bench.growth.Point"


class Token(pb.Referenceable):
    """An object that is passed."""


class Root(pb.Root):
    """The served object. It keeps nothing."""

    def remote_take(self, value: Any) -> int:
        return len(value)

    def remote_echo(self, value: Any) -> Any:
        return value

    def remote_make(self, count: int) -> list[Token]:
        return [Token() for _ in range(count)]

    def remote_swap(self, theirs: Any) -> Token:
        return Token()


#: Shape -> the smallest size, and a function that makes a value of a size. A MiB of objects is small enough for a
#: processor's cache; and all sizes of a shape are sent either whole or in pieces (from 512 KiB on), because that step
#: is not growth.
SHAPES: Final[dict[str, tuple[int, Callable[[int], Any]]]] = {
    "one large string": (LARGE, bytes),
    "strings of 100": (1_000, lambda n: [b"%0100d" % i for i in range(n)]),
    "small values": (25_000, lambda n: [(i, i / 4, None, True)[i % 4] for i in range(n)]),
    "records": (2_500, lambda n: [PAYLOAD | {"n": i} for i in range(n)]),
    "copyables": (2_500, lambda n: [Point(i, i / 4) for i in range(n)]),
    "references": (2_500, lambda n: [Token() for _ in range(n)]),
}


def seconds_for(dialect: str, value: Any, collector: bool) -> tuple[float, float, float]:
    """Return the processor time to write one call, to read and run it whole, and to read and run it in chunks."""
    write = whole = chunked = 0.0
    for piece in (None, CHUNK):
        pair = BrokerPair(Root(), dialects=[dialect], limits=LIMITS)
        gc.collect()
        if not collector:
            gc.disable()
        began = time.process_time()
        outcome = pair.root.call("take", value)
        parts = []
        while part := pair.client.take():
            parts.append(part)
        write = time.process_time() - began
        data = b"".join(parts)
        pieces = [data] if piece is None else [data[at : at + piece] for at in range(0, len(data), piece)]
        receive = pair.server.receive
        gc.collect()
        began = time.process_time()
        for chunk in pieces:
            receive(chunk)
        took = time.process_time() - began
        pair.run()
        if outcome.result() != len(value):
            raise AssertionError("the call did not come whole")
        if piece is None:
            whole = took
        else:
            chunked = took
        pair.link.cut()
        gc.enable()
    return write, whole, chunked


def messages(dialects: Sequence[str], shapes: Sequence[str], rounds: int, times: int, collector: bool) -> int:
    """Print the times of messages of n, 2n and 4n; return the number of ratios above the goal."""
    ways = ("write", "read whole", f"read in {CHUNK}-byte chunks")
    print("Milliseconds of processor time for one message of n, 2n, 4n, and the ratio of each doubling")
    print(f"(the garbage collector is {'on' if collector else 'paused'})\n")
    print(f"{'':5}{'':18}{'n':>10}" + "".join(f"   {way:^37}" for way in ways))
    beyond = 0
    for dialect in dialects:
        for shape in shapes:
            smallest, make = SHAPES[shape]
            smallest *= times
            values = [make(smallest * factor) for factor in (1, 2, 4)]
            taken = [[seconds_for(dialect, value, collector) for value in values] for _ in range(rounds)]
            cells = []
            for way in range(len(ways)):
                cell, over = _row([min(each[size][way] for each in taken) for size in range(3)])
                cells.append(cell)
                beyond += over
            print(f"{dialect:5}{shape:18}{smallest:>10,}   {'    '.join(cells)}", flush=True)
    copies = _row([_copied(LARGE * times * n, rounds) for n in (1, 2, 4)])[0]
    print(f"\n{'':5}{'a bare copy':18}{LARGE * times:>10,}   {copies}")
    return beyond


def _row(seconds: Sequence[float]) -> tuple[str, int]:
    """Return times and the ratios of neighbours as text, and the number of ratios above the goal."""
    text = "".join(f"{each * 1000:8.2f}" for each in seconds)
    ratios = [more / less for less, more in pairwise(seconds)]
    text += "".join(f"{ratio:5.2f}{'!' if ratio > DOUBLED else ' '}" for ratio in ratios)
    return text, sum(ratio > DOUBLED for ratio in ratios)


def _copied(size: int, rounds: int) -> float:
    """Return the processor time to copy so many bytes to new memory: a lower bound."""
    source = bytearray(size)
    best = float("inf")
    for _ in range(rounds):
        began = time.process_time()
        copy = bytes(source)
        best = min(best, time.process_time() - began)
        del copy
    return best


async def microseconds(dialect: str, held: Sequence[int], rounds: int) -> list[tuple[float, float]]:
    """Return the times of a small call, and of one that swaps two references, while so many are held."""
    found = []
    async with memory_pair(Root(), limits=LIMITS, dialects=[dialect]) as pair:
        root = pair.root
        keep: list[Any] = []
        for count in held:
            while len(keep) < count:
                keep += await root.call("make", min(BATCH, count - len(keep)))
            gc.collect()
            best = [float("inf")] * 2
            for _ in range(rounds):
                began = time.process_time()
                for _ in range(CALLS):
                    await root.call("echo", PAYLOAD)
                between = time.process_time()
                for _ in range(CALLS):
                    await root.call("swap", Token())
                ended = time.process_time()
                best = [min(best[0], between - began), min(best[1], ended - between)]
            found.append((best[0] / CALLS * 1e6, best[1] / CALLS * 1e6))
        keep.clear()
    return found


def references(dialects: Sequence[str], held: Sequence[int], rounds: int) -> int:
    """Print the cost of a call while references are held; return the number of dialects and calls above the goal."""
    print("\nMicroseconds of processor time for one call, both ends, while so many references are held\n")
    print(f"{'':5}{'':18}" + "".join(f"{count:>12,}" for count in held) + f"{'last/first':>12}")
    beyond = 0
    for dialect in dialects:
        found = pb.run(microseconds(dialect, held, rounds))
        for call, cells in zip(("small call", "references swapped"), zip(*found, strict=True), strict=True):
            ratio = cells[-1] / cells[0]
            over = ratio > HELD
            beyond += over
            figures = "".join(f"{cell:12.1f}" for cell in cells)
            print(f"{dialect:5}{call:18}{figures}{ratio:12.2f}{'!' if over else ''}", flush=True)
    return beyond


_TIMED: Final = f"""
import time; wall, cpu = time.perf_counter(), time.process_time()
import perspective_broker
wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
import json, sys; print(json.dumps([wall * 1000, cpu * 1000, [x for x in {EXTRAS!r} if x in sys.modules]]))
"""


def imports(rounds: int) -> int:
    """Print the time of the import in fresh interpreters; return 1 if it is above the goal."""
    walls, cpus, totals = [], [], []
    extras: set[str] = set()
    for _ in range(rounds):
        wall, cpu, loaded = json.loads(_python("-c", _TIMED).stdout)
        walls.append(wall)
        cpus.append(cpu)
        extras.update(loaded)
        traced = _python("-X", "importtime", "-c", "import perspective_broker").stderr
        total = re.search(r"\|\s*(\d+) \| perspective_broker$", traced, re.MULTILINE)
        assert total is not None
        totals.append(int(total[1]) / 1000)
    wall, cpu, total = map(statistics.median, (walls, cpus, totals))
    over = wall > IMPORT_MS or bool(extras)
    print(f"\nimport perspective_broker, median of {rounds} fresh interpreters\n")
    print(
        f"{wall:.0f} ms{'!' if wall > IMPORT_MS else ''} on the clock, {cpu:.0f} ms of processor time,",
        end=" ",
    )
    print(f"{total:.0f} ms by -X importtime; extras loaded: {', '.join(sorted(extras)) or 'none'}")
    return over


def _python(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=True, cwd=Path(__file__).parents[1])


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="python -m bench.growth", description=__doc__.partition("\n")[0])
    parser.add_argument("--dialects", default="pb,pb7", help="default: %(default)s")
    parser.add_argument("--shapes", default="", help="names, with commas between them; all when left out")
    parser.add_argument(
        "--rounds", type=int, default=5, help="of which the best counts (default: %(default)s)"
    )
    parser.add_argument(
        "--parts", default="messages,references,import", help="tables to print (default: %(default)s)"
    )
    parser.add_argument("--times", type=int, default=1, metavar="N", help="messages of N times the size")
    parser.add_argument("--collector", action="store_true", help="leave the garbage collector on")
    options = parser.parse_args(arguments)
    dialects = options.dialects.split(",")
    shapes = options.shapes.split(",") if options.shapes else list(SHAPES)
    parts = options.parts.split(",")
    print(f"perspective-broker, {'compiled' if pb.build.COMPILED else 'plain Python'}\n")
    beyond = 0
    if "messages" in parts:
        beyond += messages(dialects, shapes, options.rounds, options.times, options.collector)
    if "references" in parts:
        beyond += references(dialects, HELDS, options.rounds)
    if "import" in parts:
        beyond += imports(2 * options.rounds + 1)
    print(f"\n{beyond} figures beyond the goals")


if __name__ == "__main__":
    main()
