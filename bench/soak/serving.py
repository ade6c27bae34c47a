"""The serving process: ``python -m bench.soak.serving DIRECTORY``. It reads commands, one a line, and answers in JSON.

Its first line has the urls. ``sample`` requests a sample, ``settle`` one after all visitors have left, ``end`` closes
everything, answers with the leftovers, and is the last command.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import json
import logging
import os
import resource
import sys
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import trustme

import perspective_broker as pb
from bench.soak.things import Board, Desk, Visitor
from perspective_broker.testing import open_connections

#: SCRAM's fewest: the deliberate cost of a login is not measured here.
ITERATIONS = 4096

USERS = 10

#: Seconds until killed visitors are noticed and forgotten.
SETTLE = 20.0


class Records(logging.Handler):
    """Counts log records from level warning on, and keeps the first lines."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.number = 0
        self.first: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.number += 1
        if len(self.first) < 20:
            self.first.append(self.format(record)[:500])


def open_files() -> dict[str, str]:
    """Return the open files of this process: number -> description."""
    found = {}
    for number in os.listdir("/proc/self/fd"):
        try:
            found[number] = os.readlink(f"/proc/self/fd/{number}")
        except OSError:
            pass  # the directory itself, which is closed by now
    return found


def sample(servers: Iterable[pb.Server], records: Records) -> dict[str, Any]:
    """Return the state of this process now."""
    tables = dict.fromkeys(
        (
            "exported",
            "imported",
            "observed",
            "replicas",
            "calls_in",
            "calls_out",
            "calls_waiting",
            "answers_kept",
        ),
        0,
    )
    connections = 0
    for server in servers:
        for connection in server.connections:
            connections += 1
            statistics = connection.statistics()
            for name in tables:
                tables[name] += getattr(statistics, name)
    used = resource.getrusage(resource.RUSAGE_SELF)
    return {
        "at": time.monotonic(),
        "rss_kib": int(Path("/proc/self/statm").read_text().split()[1]) * (resource.getpagesize() // 1024),
        "connections": connections,
        **tables,
        "fds": len(open_files()),
        "tasks": len(asyncio.all_tasks()),
        "objects": len(gc.get_objects()),
        "collected": sum(generation["collected"] for generation in gc.get_stats()),
        "cpu_seconds": used.ru_utime + used.ru_stime,
        "log_records": records.number,
    }


async def prepared(authorizer: pb.SQLAuthorizer) -> pb.Application:
    app = pb.Application("soak", authorizer)
    app.add_service(pb.Service("soak", perspective_class=Visitor))
    for number in range(USERS):
        name = f"user-{number}"
        await authorizer.create(name, "secret", legacy=True)
        await authorizer.grant(name, "soak")
    return app


async def main(directory: Path) -> None:
    records = Records()
    logging.basicConfig(level=logging.WARNING, stream=sys.stderr)
    logging.getLogger().addHandler(records)
    loop = asyncio.get_running_loop()
    lines: asyncio.Queue[str] = asyncio.Queue()
    # An empty line means that the parent has ended.
    loop.add_reader(sys.stdin, lambda: lines.put_nowait(sys.stdin.readline().strip()))
    async with pb.serve(Desk(), "tcp://127.0.0.1:0"):
        pass  # the event loop opens a file of its own when it first listens
    files_before = open_files()
    Desk.board = Board(topic="", n=0)
    authority, certificate = trustme.CA(), directory / "server.pem"
    authority.cert_pem.write_to_path(str(directory / "ca.pem"))
    authority.issue_cert("localhost", "127.0.0.1").private_key_and_cert_chain_pem.write_to_path(
        str(certificate)
    )
    tls = pb.ServerTLS(certificate)

    def urls(name: str) -> list[str]:
        return ["tcp://127.0.0.1:0", f"unix://{directory}/{name}.sock", "tls://localhost:0"]

    async with pb.SQLAuthorizer(f"sqlite:///{directory}/identities.db", iterations=ITERATIONS) as authorizer:
        app = await prepared(authorizer)
        async with (
            pb.serve(app, *urls("soak"), tls=tls) as one,
            pb.serve(Desk(), *urls("desk"), tls=tls) as other,
        ):
            servers = (one, other)
            say({"logins": one.urls, "desk": other.urls})
            while (line := await lines.get()) not in ("end", ""):
                if line == "settle":
                    await settled(servers)
                say(sample(servers, records))
    loop.remove_reader(sys.stdin)
    left = {
        "connections": len(open_connections()),
        "tasks": [repr(task)[:200] for task in asyncio.all_tasks() if task is not asyncio.current_task()],
        "fds": [what for number, what in open_files().items() if number not in files_before],
        "log": records.first,
    }
    say(left)


async def settled(servers: Iterable[pb.Server]) -> None:
    """Wait until all visitors have left."""
    deadline = time.monotonic() + SETTLE
    for server in servers:
        for connection in server.connections:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(max(0.0, deadline - time.monotonic())):
                    await connection.wait_closed()
    await asyncio.sleep(0.2)  # work that came right after the last of them is done
    gc.collect()


def say(what: dict[str, Any]) -> None:
    print(json.dumps(what), flush=True)


if __name__ == "__main__":
    pb.run(main(Path(sys.argv[1])))
