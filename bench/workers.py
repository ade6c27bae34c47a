"""Several processes of one server: how evenly connections land, and what a call costs.

    python -m bench.workers [--connections 4000] [--workers 4] [--seconds 5] [--clients 3]

The first part opens that many connections and counts them at each worker. The second lets client processes call one
worker, and then two, as fast as each answers; processor times are those of the server's processes (parent included),
because on a machine with two cores clients and workers share these.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import perspective_broker as pb

#: Calls under way at a time in one client.
_AT_ONCE: Final = 16

_SERVED: Final = """
import perspective_broker as pb

class Echo(pb.Root):
    def remote_echo(self, value):
        return value
"""


@contextmanager
def server(workers: int) -> Iterator[tuple[str, str, list[int]]]:
    """Serve within the block; give the url, the control socket and all processes."""
    with tempfile.TemporaryDirectory() as where:
        Path(where, "echoing.py").write_text(_SERVED)
        control = f"unix://{where}/control"
        command = [sys.executable, "-m", "perspective_broker.cli", "serve", "echoing:Echo"]
        command += ["--listen", "tcp://127.0.0.1:0", "--workers", str(workers), "--control", control]
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
        with subprocess.Popen(
            [*command, "--drain", "0.1"], stdout=subprocess.PIPE, text=True, cwd=where, env=environment
        ) as process:
            assert process.stdout is not None
            url = process.stdout.readline().split()[-1]
            children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
            try:
                yield url, control, [process.pid, *map(int, children)]
            finally:
                process.terminate()


def processor_seconds(processes: list[int]) -> float:
    """Return the processor time that processes have used."""
    ticks = 0
    for process in processes:
        fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
        ticks += int(fields[11]) + int(fields[12])
    return ticks / os.sysconf("SC_CLK_TCK")


async def balance(connections: int, workers: int) -> None:
    """Open connections, and print how many each worker has."""
    with server(workers) as (url, control, _):
        gate = asyncio.Semaphore(64)

        async def come() -> pb.RemoteReference:
            async with gate:
                return await pb.connect(url, timeout=120)

        held = await asyncio.gather(*(come() for _ in range(connections)))
        async with pb.connect(control) as root:
            counts = sorted(one["statistics"]["connections"] for one in await root.call("statistics"))
        fullest = counts[-1] / (sum(counts) / workers)
        print(
            f"{connections} connections on {workers} workers: {counts}, the fullest {fullest:.3f} times the mean"
        )
        await asyncio.gather(*(one.connection.close() for one in held))


async def client(url: str, seconds: float) -> int:
    """Call until the time is over; return how often."""
    calls = 0
    until = time.monotonic() + seconds

    async def go_on(root: pb.RemoteReference) -> None:
        nonlocal calls
        while time.monotonic() < until:
            await root.call("echo", 1)
            calls += 1

    async def connection() -> None:
        async with pb.connect(url) as root:
            await asyncio.gather(*(go_on(root) for _ in range(_AT_ONCE // 4)))

    await asyncio.gather(*(connection() for _ in range(4)))
    return calls


def throughput(workers: int, clients: int, seconds: float) -> None:
    """Let clients call, and print the cost of a call."""
    with server(workers) as (url, _, processes):
        before = processor_seconds(processes)
        command = [sys.executable, "-m", "bench.workers", "--client", url, "--seconds", str(seconds)]
        running = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(clients)]
        calls = sum(int(one.communicate()[0]) for one in running)
        spent = processor_seconds(processes) - before
        print(
            f"{workers} workers, {clients} clients: {calls} calls, {calls / seconds:.0f} a second,"
            f" {spent / calls * 1e6:.1f} µs of the server's processor time for each"
        )


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--connections", type=int, default=4000)
    parser.add_argument("--workers", type=int, default=4)
    parser.add_argument("--seconds", type=float, default=5)
    parser.add_argument("--clients", type=int, default=3)
    parser.add_argument("--client", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.client:
        print(pb.run(client(options.client, options.seconds)))
        return
    most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    pb.run(balance(options.connections, options.workers))
    for workers in (1, 2, 1, 2):
        throughput(workers, options.clients, options.seconds)


if __name__ == "__main__":
    main()
