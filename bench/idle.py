"""The cost of idle connections: the time to open them, memory, keepalive, the time to close them.

    python -m bench.idle --connections 10000

Two processes over loopback. The clients are bare sockets that send the greeting and answer pings, so that the
server has nearly all of the measured cost. The goals: 10,000 are open within 5 s, with at most 10 KB each, and their
keepalive takes less than 5 % of a core. The kernel's memory (sockets and their buffers) is not counted.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import json
import resource
import select
import socket
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any

from ormsgpack import packb

import perspective_broker as pb
from perspective_broker.dialects.classic.banana import encode
from perspective_broker.dialects.classic.vocabulary import NONE, PB
from perspective_broker.dialects.pb7.codes import HELLO, PING, PONG, VERSION
from perspective_broker.dialects.pb7.frames import frame_header

#: Bytes, seconds, and a share of a core.
GOAL_BYTES, GOAL_SECONDS, GOAL_SHARE = 10_000, 5.0, 0.05

#: Connections that are being made at once: the backlog of the system's listener takes no more.
_AT_ONCE = 256

#: The last is not a dialect but the event loop alone.
_DIALECTS = ("pb7", "pb", "none", "floor")


def _frame(message: list[Any]) -> bytes:
    body = packb(message)
    return frame_header(len(body)) + body


_PING, _PONG = _frame([PING, b""]), _frame([PONG, b""])

#: The first bytes of a client: the dialect that it picks, and the dialect's hello.
_HELLO = {
    "pb7": encode(b"pb7", NONE) + _frame([HELLO, VERSION, {}]),
    "pb": encode(b"pb", NONE) + encode([b"version", 6], PB),
    "none": encode(b"none", NONE) + encode([b"version", 6], NONE),
}


def raise_file_limit(wanted: int) -> None:
    """Allow this process so many open files, as far as the system does."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    most = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
    if soft != resource.RLIM_INFINITY and soft < most:
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))


# -- the server


class Bare(asyncio.Protocol):
    """The least that can hold a connection: the rest is the cost of the event loop."""

    __slots__ = ("transport",)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport


def resident() -> int:
    """Return the bytes of resident memory of this process."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()


def objects() -> tuple[Counter[str], Counter[str]]:
    """Return how many objects of each type there are, and their bytes: all that the collector knows or can reach."""
    count: Counter[str] = Counter()
    size: Counter[str] = Counter()
    found = gc.get_objects()
    seen = set(map(id, found))
    while found:
        reached = []
        for thing in found:
            name = f"{type(thing).__module__}.{type(thing).__qualname__}".removeprefix("builtins.")
            count[name] += 1
            size[name] += sys.getsizeof(thing)
            for other in gc.get_referents(thing):
                if id(other) not in seen:
                    seen.add(id(other))
                    reached.append(other)
        found = reached
    return count, size


async def serve(dialect: str, connections: int, ping_seconds: float) -> None:
    """Serve until the standard input ends; answer each line of it with a line of figures."""
    limits = pb.Limits(strangers_per_address=connections, ping_seconds=ping_seconds)
    loop = asyncio.get_running_loop()
    lines = asyncio.StreamReader()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(lines), sys.stdin)
    server: Any
    held: set[Bare] = set()
    if dialect == "floor":

        class Held(Bare):
            __slots__ = ()

            def connection_made(self, transport: asyncio.BaseTransport) -> None:
                super().connection_made(transport)
                held.add(self)

            def connection_lost(self, exc: Exception | None) -> None:
                held.discard(self)

        server = await loop.create_server(Held, "127.0.0.1", 0, backlog=1024)
        url = f"tcp://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    else:
        server = await pb.serve(pb.Root(), "tcp://127.0.0.1:0", limits=limits, dialects=[dialect])
        url = server.urls[0]
    before: tuple[Counter[str], Counter[str]] | None = None
    print(json.dumps({"url": url, "compiled": pb.build.COMPILED}), flush=True)
    while command := (await lines.readline()).strip().decode():
        reply: dict[str, Any] = {}
        if command == "objects":
            now = objects()
            if before is not None:
                reply = {"count": now[0] - before[0], "size": now[1] - before[1]}
            before = now
        elif command == "memory":
            gc.collect()
            reply["rss"] = resident()
        elif dialect == "floor":
            reply["open"] = reply["connections"] = len(held)
        else:
            statistics = server.statistics()
            reply["connections"] = statistics.connections
            reply["open"] = statistics.connections - statistics.strangers
        reply["cpu"] = time.process_time()
        print(json.dumps(reply), flush=True)
    closing = server.close()
    if closing is not None:
        await closing


# -- the clients


class Clients:
    """Many bare connections to one server."""

    def __init__(self, url: str, dialect: str) -> None:
        host, _, port = url.removeprefix("tcp://").rpartition(":")
        self._where = (host, int(port))
        self._hello = _HELLO.get(dialect)
        self._poll = select.epoll()
        self._sockets: dict[int, socket.socket] = {}
        self.pings = 0

    def open(self, connections: int) -> None:
        """Connect so many, and see each one through its greeting."""
        greeting: dict[int, bool] = {}  # the connections of which it is not over: whether the offer has come
        while greeting or len(self._sockets) < connections:
            while len(greeting) < _AT_ONCE and len(self._sockets) < connections:
                client = socket.create_connection(self._where)
                client.setblocking(False)
                self._sockets[client.fileno()] = client
                self._poll.register(client, select.EPOLLIN)
                if self._hello is not None:
                    greeting[client.fileno()] = False
            for number, _ in self._poll.poll() if greeting else ():
                if number not in greeting:
                    self._answer(number)
                    continue
                assert self._hello is not None
                client = self._sockets[number]
                assert client.recv(4096), "the server hung up"
                if greeting[number]:
                    del greeting[number]
                else:
                    client.send(self._hello)
                    greeting[number] = True

    def _answer(self, number: int) -> None:
        client = self._sockets[number]
        data = client.recv(4096)
        assert data == _PING, data
        client.send(_PONG)
        self.pings += 1

    def answer_pings(self, seconds: float) -> None:
        """Answer pings for so long, and count them."""
        self.pings = 0
        until = time.perf_counter() + seconds
        while (left := until - time.perf_counter()) > 0:
            for number, _ in self._poll.poll(left):
                self._answer(number)

    def close(self) -> None:
        """Hang up on all of them."""
        for client in self._sockets.values():
            client.close()
        self._sockets.clear()


class Serving:
    """The serving process, from here."""

    def __init__(self, *arguments: str) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "bench.idle", "--serve", *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=Path(__file__).parents[1],
        )
        self.greeting = self._read()

    def _read(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        reply: dict[str, Any] = json.loads(self._process.stdout.readline())
        return reply

    def ask(self, command: str) -> dict[str, Any]:
        """Return the figures that the server has now."""
        assert self._process.stdin is not None
        self._process.stdin.write(command + "\n")
        self._process.stdin.flush()
        return self._read()

    def wait_until(self, figure: str, value: int, seconds: float = 60) -> dict[str, Any]:
        """Ask until a figure has come to a value; return all of them."""
        until = time.perf_counter() + seconds
        while (reply := self.ask("state"))[figure] != value:
            assert time.perf_counter() < until, f"{figure} is {reply[figure]}, not {value}"
            time.sleep(0.005)
        return reply

    def end(self) -> None:
        self._process.communicate()


def _line(what: str, figure: str, met: bool | None = None) -> None:
    print(f"{what:<34}{figure}" + ("" if met is None else f"   ({'met' if met else 'missed'})"), flush=True)


def measure(dialect: str, connections: int, ping_seconds: float, window: float, by_type: bool) -> None:
    """Open, keep, and close; print the time of each."""
    server = Serving(
        "--dialect", dialect, "--connections", str(connections), "--ping-seconds", str(ping_seconds)
    )
    try:
        build = "compiled" if server.greeting["compiled"] else "plain Python"
        print(f"{connections:,} idle connections, {dialect}, {build}")
        clients = Clients(server.greeting["url"], dialect)
        # The first ones make everything that is made once: tables, caches, the first memory of the allocator.
        clients.open(100)
        server.wait_until("open", 100)
        if by_type:
            server.ask("objects")
        before = server.ask("memory")
        began = time.perf_counter()
        clients.open(100 + connections)
        after = server.wait_until("open", 100 + connections)
        took = time.perf_counter() - began
        _line("until all are open", f"{took:.2f} s", took * 10_000 / connections <= GOAL_SECONDS)
        _line("  of the server's processor", f"{after['cpu'] - before['cpu']:.2f} s")
        memory = server.ask("memory")
        each = (memory["rss"] - before["rss"]) / connections
        _line("memory of each", f"{each:,.0f} bytes", each <= GOAL_BYTES)
        if by_type:
            found = server.ask("objects")
            _print_types(found["count"], found["size"], connections)
        if dialect == "pb7":
            before = server.ask("state")
            began = time.perf_counter()
            clients.answer_pings(window)
            after = server.ask("state")
            took = time.perf_counter() - began
            a_ping = (after["cpu"] - before["cpu"]) / max(1, clients.pings)
            share = a_ping * connections / pb.Limits().ping_seconds
            _line("processor time of a ping", f"{a_ping * 1e6:.1f} µs ({clients.pings} in {took:.0f} s)")
            _line(
                f"keepalive at {pb.Limits().ping_seconds:g} s", f"{share:.2%} of a core", share <= GOAL_SHARE
            )
        before = server.ask("state")
        began = time.perf_counter()
        clients.close()
        after = server.wait_until("connections", 0)
        took = time.perf_counter() - began
        _line(
            "until all are closed",
            f"{took:.2f} s, {after['cpu'] - before['cpu']:.2f} s of the server's processor",
        )
    finally:
        server.end()


def _print_types(count: dict[str, int], size: dict[str, int], connections: int) -> None:
    for name in sorted(size, key=size.__getitem__, reverse=True):
        if size[name] >= connections:  # a byte each
            print(
                f"  {size[name] / connections:>8,.0f} bytes {count.get(name, 0) / connections:>6.1f} {name}"
            )
    print(f"  {sum(size.values()) / connections:>8,.0f} bytes together")


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.idle", description=__doc__.partition("\n")[0])
    parser.add_argument("--connections", type=int, default=10_000, metavar="N", help="default: %(default)s")
    parser.add_argument(
        "--dialect",
        choices=_DIALECTS,
        default="pb7",
        help="default: %(default)s; floor is the event loop alone, no broker and no greeting",
    )
    parser.add_argument(
        "--ping-seconds",
        type=float,
        default=5.0,
        metavar="S",
        help="silence before a ping (default: %(default)s)",
    )
    parser.add_argument(
        "--window", type=float, default=15.0, metavar="S", help="to count pings in (default: %(default)s)"
    )
    parser.add_argument("--by-type", action="store_true", help="show which types of object take the memory")
    parser.add_argument("--serve", action="store_true", help="be the serving process")
    options = parser.parse_args(arguments)
    raise_file_limit(options.connections + 200)
    if options.serve:
        pb.run(serve(options.dialect, options.connections + 100, options.ping_seconds))
    else:
        measure(options.dialect, options.connections, options.ping_seconds, options.window, options.by_type)


if __name__ == "__main__":
    main()
