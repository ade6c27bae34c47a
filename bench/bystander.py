"""Round trips of a bystander's small calls while another peer floods the same server.

    python -m bench.bystander [--dialects pb,pb7] [--shapes NAME,...] [--seconds 2] [--nodes 1000000]

Three processes: a server, a peer that sends one shape of :mod:`bench.hostile` as fast as the server reads (and
reconnects when it is disconnected), and in this process a well-behaved caller, one call at a time. ROBUSTNESS, I3: no
call takes more than 50 ms.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

import perspective_broker as pb
from bench.hostile import GOAL_MS, MIB, MOST_NODES, SHAPES, Classic, Modern, Root, spelled
from bench.serving import serve, serving

#: Bytes that a flood passes to the system at once.
PIECE: Final = 64 * 1024


class _Root(Root):
    def remote_echo(self, value: Any) -> Any:
        return value


async def flood(port: int, dialect: str, shape: str, nodes: int) -> None:
    """Send one shape for ever; print a line when it starts."""
    hello = Classic.hello if dialect == "pb" else Modern.hello
    data = spelled(SHAPES[dialect][shape], MIB, nodes)
    print("ready", flush=True)
    while True:
        with contextlib.suppress(OSError):
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            drain = asyncio.ensure_future(_drain(reader))
            try:
                writer.write(hello)
                while not drain.done():
                    for at in range(0, len(data), PIECE):
                        writer.write(data[at : at + PIECE])
                        await writer.drain()
            finally:
                drain.cancel()
                writer.close()


async def _drain(reader: asyncio.StreamReader) -> None:
    with contextlib.suppress(OSError):
        while await reader.read(PIECE):
            pass


async def watch(url: str, seconds: float) -> list[float]:
    """Make one call after the other; return the milliseconds of each, sorted."""
    async with pb.connect(url) as root:
        await root.call("echo", 1)
        took = []
        end = time.perf_counter() + seconds
        while (began := time.perf_counter()) < end:
            await root.call("echo", 1)
            took.append((time.perf_counter() - began) * 1000)
            await asyncio.sleep(0.001)  # so that some calls arrive in the middle of turns
    return sorted(took)


def measure(url: str, dialect: str, shape: str, seconds: float, nodes: int) -> list[float]:
    """Return the bystander's milliseconds while a process floods the server."""
    port = urlsplit(url).port
    with subprocess.Popen(
        [
            *(sys.executable, "-m", "bench.bystander", "--flood", str(port), dialect, shape),
            *("--nodes", str(nodes)),
        ],
        stdout=subprocess.PIPE,
        cwd=Path(__file__).parents[1],
    ) as peer:
        try:
            assert peer.stdout is not None
            peer.stdout.readline()
            return pb.run(watch(url, seconds))
        finally:
            peer.kill()


def line(name: str, took: list[float]) -> str:
    """Return a line of the table."""
    at = [took[len(took) // 2], took[len(took) * 99 // 100], took[-1]]
    mark = "!" if at[1] > GOAL_MS else " "
    return f"{name:34} {len(took):>7} {at[0]:>9.2f} {at[1]:>9.2f} {at[2]:>9.2f} {mark}"


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="python -m bench.bystander", description=__doc__.partition("\n")[0])
    parser.add_argument("--dialects", default="pb,pb7", help="of the flood (default: %(default)s)")
    parser.add_argument("--shapes", default="", help="names, with commas between them; all when left out")
    parser.add_argument("--seconds", type=float, default=2.0, help="for each (default: %(default)s)")
    parser.add_argument(
        "--nodes", type=int, default=MOST_NODES, help="the server's Limits.nodes (default: %(default)s)"
    )
    parser.add_argument("--serve", action="store_true", help="be the serving process")
    parser.add_argument("--flood", nargs=3, metavar=("PORT", "DIALECT", "SHAPE"), help="be the flood")
    options = parser.parse_args(arguments)
    if options.serve:
        pb.run(serve(_Root(), limits=pb.Limits(nodes=options.nodes)))
    elif options.flood:
        port, dialect, shape = options.flood
        pb.run(flood(int(port), dialect, shape, options.nodes))
    else:
        wanted = set(filter(None, options.shapes.split(",")))
        with serving("bench.bystander", "--nodes", str(options.nodes)) as url:
            print(
                f"{'milliseconds of a small call':34} {'calls':>7} {'median':>9} {'99 %':>9} {'longest':>9}"
            )
            print(line("nobody else", pb.run(watch(url, options.seconds))), flush=True)
            for dialect in options.dialects.split(","):
                for shape in SHAPES[dialect]:
                    if not wanted or shape in wanted:
                        took = measure(url, dialect, shape, options.seconds, options.nodes)
                        print(line(f"{dialect}: {shape}", took), flush=True)


if __name__ == "__main__":
    main()
