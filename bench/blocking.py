"""The price of a call that waits in a thread: beside the awaited call, and beside RPyC and Pyro5 if they are installed.

    python -m bench.blocking            # one small call after the other, to a server in another process

Each row is the best of rounds that are measured in turn: processor time of the caller and of both processes, and the
time of a call.
"""

from __future__ import annotations

import argparse
import contextlib
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from typing import Any, Final

import uvloop

import perspective_broker as pb
from perspective_broker import blocking

#: Calls of one round, which takes some 30 ms.
CALLS: Final = 300


class Root(pb.Root):
    """The served object."""

    def remote_echo(self, value: Any) -> Any:
        return value

    def remote_used(self) -> float:
        return time.process_time()


# -- servers


def serve_ours() -> None:
    async def main() -> None:
        async with pb.serve(Root(), "tcp://127.0.0.1:0") as server:
            print(server.urls[0], flush=True)
            await server.serve_until_stopped()

    pb.run(main())


def serve_rpyc() -> None:
    from rpyc import Service
    from rpyc.utils.server import ThreadedServer

    class Echo(Service):  # type: ignore[misc, unused-ignore]
        def exposed_echo(self, value: Any) -> Any:
            return value

        def exposed_used(self) -> float:
            return time.process_time()

    server = ThreadedServer(Echo, hostname="127.0.0.1", port=0)
    print(server.port, flush=True)
    server.start()


def serve_pyro5() -> None:
    from Pyro5.api import Daemon, expose

    @expose  # type: ignore[misc, unused-ignore]
    class Echo:
        def echo(self, value: Any) -> Any:
            return value

        def used(self) -> float:
            return time.process_time()

    daemon = Daemon(host="127.0.0.1")
    print(daemon.register(Echo), flush=True)
    daemon.requestLoop()


SERVERS: Final = {"ours": serve_ours, "rpyc": serve_rpyc, "pyro5": serve_pyro5}


@contextlib.contextmanager
def served(kind: str) -> Iterator[str]:
    """Run a server within the block, and yield where it is."""
    command = [sys.executable, "-m", "bench.blocking", "--serve", kind]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            yield process.stdout.readline().strip()
        finally:
            process.terminate()


# -- callers: each yields a function that makes so many calls, and one that returns what the server has used


Caller = Iterator[tuple[Callable[[int], None], Callable[[], float]]]


@contextlib.contextmanager
def awaited(url: str) -> Caller:
    loop = uvloop.new_event_loop()

    async def connect() -> pb.RemoteReference:
        return await pb.connect(url)

    async def calls(count: int) -> None:
        for _ in range(count):
            await root.call("echo", 1)

    async def used() -> float:
        return float(await root.call("used"))

    root = loop.run_until_complete(connect())
    try:
        yield lambda count: loop.run_until_complete(calls(count)), lambda: loop.run_until_complete(used())
    finally:
        loop.run_until_complete(root.connection.close())
        loop.close()


@contextlib.contextmanager
def waiting(url: str) -> Caller:
    with blocking.connect(url) as root:
        yield _calls(root.echo), root.used


@contextlib.contextmanager
def rpyc(port: str) -> Caller:
    import rpyc

    with contextlib.closing(rpyc.connect("127.0.0.1", int(port))) as connection:
        yield _calls(connection.root.echo), connection.root.used


@contextlib.contextmanager
def pyro5(uri: str) -> Caller:
    from Pyro5.api import Proxy

    with Proxy(uri) as proxy:
        yield _calls(proxy.echo), proxy.used


def _calls(echo: Callable[[int], object]) -> Callable[[int], None]:
    def calls(count: int) -> None:
        for _ in range(count):
            echo(1)

    return calls


ROWS: Final = {
    "awaited": ("ours", awaited),
    "blocking": ("ours", waiting),
    "RPyC": ("rpyc", rpyc),
    "Pyro5": ("pyro5", pyro5),
}


def measure(rounds: int) -> dict[str, tuple[float, float, float]]:
    """Return microseconds for each row: of the caller's processor, of both, of the clock."""
    best: dict[str, tuple[float, float, float]] = {}
    with contextlib.ExitStack() as stack:
        rows = {}
        for name, (kind, caller) in ROWS.items():
            try:
                rows[name] = stack.enter_context(caller(stack.enter_context(served(kind))))
            except ImportError:
                print(f"{name} is not installed")
        for _ in range(rounds):
            for name, (calls, used) in rows.items():
                there, here, began = used(), time.process_time(), time.perf_counter()
                calls(CALLS)
                took, mine = time.perf_counter() - began, time.process_time() - here
                figures = (mine, mine + used() - there, took)
                before = best.get(name, figures)
                best[name] = tuple(map(min, before, figures))  # type: ignore[assignment] # of three
    return {
        name: tuple(1e6 * figure / CALLS for figure in figures)  # type: ignore[misc] # of three
        for name, figures in best.items()
    }


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="python -m bench.blocking", description=__doc__)
    parser.add_argument("--serve", choices=SERVERS, help=argparse.SUPPRESS)
    parser.add_argument("--rounds", type=int, default=40)
    options = parser.parse_args()
    if options.serve:
        SERVERS[options.serve]()
        return
    figures = measure(options.rounds)
    print(f"{'µs a call':<10} {'caller':>8} {'both':>8} {'clock':>8}   of the awaited call")
    for name, row in figures.items():
        ratios = " ".join(
            f"{mine / awaited:6.2f}" for mine, awaited in zip(row, figures["awaited"], strict=True)
        )
        print(f"{name:<10} " + " ".join(f"{figure:8.1f}" for figure in row) + f"   {ratios}")


if __name__ == "__main__":
    main()
