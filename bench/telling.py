"""What it takes to tell many listeners the same: with one-way calls, with a topic, and with bare writes.

    python -m bench.telling --listeners 1000 --rounds 20

Two processes over loopback, one connection for each listener. The figures are microseconds of the server's processor
time for each listener, from the first call until everything was written; medians of the rounds. ``bare`` writes bytes
of the same length to asyncio transports, so it is what the event loop and the system take.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import statistics
import sys
import time
from collections.abc import Callable
from typing import Any

import perspective_broker as pb
from bench.idle import raise_file_limit
from bench.serving import serve, serving

__all__ = ["main"]

KINDS = ("bare", "tell", "topic")


class Bare(asyncio.Protocol):
    """A listener that only takes bytes; ``bare`` writes to these."""

    transports: list[asyncio.Transport]

    def __init__(self, transports: list[asyncio.Transport]) -> None:
        self.transports = transports

    def connection_made(self, transport: Any) -> None:
        self.transports.append(transport)


class Told(pb.Referenceable):
    """A listener."""

    def remote_said(self, who: str, text: str) -> None:
        pass


class Teller(pb.Root):
    """Tells its listeners, and measures it."""

    def __init__(self) -> None:
        self.readers: list[pb.RemoteReference] = []
        self.topic = pb.Topic("news")
        self.bare: list[asyncio.Transport] = []

    def remote_subscribe(self, reader: pb.RemoteReference) -> None:
        self.readers.append(reader)
        self.topic.add(reader)

    async def remote_open_bare(self) -> int:
        """Return the port of a listener for bare connections."""
        loop = asyncio.get_running_loop()
        self.server = await loop.create_server(lambda: Bare(self.bare), "127.0.0.1", 0, backlog=1024)
        return int(self.server.sockets[0].getsockname()[1])

    async def remote_measure(self, kind: str, rounds: int) -> float:
        """Return the processor time for each listener, in microseconds."""
        says: dict[str, Callable[[str, str], None]] = {
            "bare": self._write,
            "tell": self._tell,
            "topic": lambda who, text: self.topic.tell("said", who, text),
        }
        say, figures = says[kind], []
        for number in range(rounds + 2):
            gc.collect()
            gc.disable()
            began = time.process_time()
            say("alice", f"this is message number {number:6}")
            await asyncio.sleep(
                0.5
            )  # until everything is written, also by connections that gave way to others
            figures.append((time.process_time() - began) / len(self.readers) * 1e6)
            gc.enable()
        return statistics.median(figures[2:])

    def _write(self, who: str, text: str) -> None:
        for transport in self.bare:
            transport.write(b"\0" * 12 + f"said {who} {text}".encode())

    def _tell(self, who: str, text: str) -> None:
        for reader in self.readers:
            reader.tell("said", who, text)


async def _measure(url: str, listeners: int, rounds: int) -> None:
    root = await pb.connect(url)
    port = await root.call("open_bare")
    told, connected = Told(), []
    for _ in range(listeners):
        connected.append(await pb.connect(url))
        await connected[-1].call("subscribe", told)
    loop = asyncio.get_running_loop()
    ours: list[asyncio.Transport] = []
    for _ in range(listeners):
        await loop.create_connection(lambda: Bare(ours), "127.0.0.1", port)
    for kind in KINDS:
        print(f"{kind:6} {await root.call('measure', kind, rounds):6.1f} us a listener", flush=True)
    for reference in [root, *connected]:
        reference.connection.end()
    for transport in ours:
        transport.abort()


def main() -> None:
    """Run the bench, or serve it."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--listeners", type=int, default=1000)
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--serve", action="store_true", help=argparse.SUPPRESS)
    chosen = parser.parse_args()
    raise_file_limit(2 * chosen.listeners + 100)
    if chosen.serve:
        limits = pb.Limits(strangers_per_address=10 * chosen.listeners)
        pb.run(serve(Teller(), limits=limits))
        return
    with serving("bench.telling", "--listeners", str(chosen.listeners)) as url:
        pb.run(_measure(url, chosen.listeners, chosen.rounds))


if __name__ == "__main__":
    sys.exit(main())
