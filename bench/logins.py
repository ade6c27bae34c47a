"""The price of a login: processor time at the server and at the client, and a storm of many at once.

    python -m bench.logins [--stores memory,sqlite,postgresql] [--logins 400] [--storm 785]

Two processes over loopback TCP. One client after the other connects, logs in and closes; from this is taken what the
same costs without a login. Then ``--storm`` clients that have connected log in at the same moment, while a bystander
makes one small call after the other. How much later the server comes to anything else is measured in it, too: a timer
every 2 ms, and the processor time of the event loop's thread from when it is set until it runs.

The users' verifiers have the fewest rounds that SCRAM allows, because PBKDF2 is the client's work alone
(``--reconnect`` measures it, at the default rounds). PostgreSQL is the one of the tests; its own processes are not
counted.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import gc
import json
import logging
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Final

import perspective_broker as pb
from bench.idle import raise_file_limit
from perspective_broker.aio.login import Login
from perspective_broker.cred.verifiers import DEFAULT_ITERATIONS, MIN_ITERATIONS

#: Milliseconds of the server's processor time for each login.
GOALS: Final = {"memory": 1.0, "postgresql": 2.0}

_USERS: Final = 100
_PASSWORD: Final = "correct horse"


class _Root(pb.Root):
    """Serves the application under its login, and a bystander without one."""

    def remote_echo(self, value: Any) -> Any:
        return value


# -- the server


class _Defects(logging.Handler):
    """Counts log records, and those with a traceback."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.counts: Counter[str] = Counter()

    def emit(self, record: logging.LogRecord) -> None:
        self.counts["logged"] += 1
        self.counts[record.msg] += 1
        if record.exc_info:
            self.counts["tracebacks"] += 1
            if logging.lastResort is not None and self.counts["tracebacks"] == 1:
                logging.lastResort.handle(record)


class _Lateness:
    """The processor time of this thread for which a timer of 2 ms waits: for the collector, and for all else."""

    def __init__(self) -> None:
        self.longest = 0.0
        self.collected = 0.0
        self._in_collector = 0.0
        self._began = 0.0
        gc.callbacks.append(self._collector)
        self._loop = asyncio.get_running_loop()
        self._set()

    def _set(self) -> None:
        self._loop.call_later(0.002, self._note, time.thread_time() - self._in_collector)

    def _note(self, began: float) -> None:
        self.longest = max(self.longest, (time.thread_time() - self._in_collector - began) * 1000)
        self._set()

    def _collector(self, phase: str, info: dict[str, int]) -> None:
        if phase == "start":
            self._began = time.thread_time()
        else:
            took = time.thread_time() - self._began
            self._in_collector += took
            self.collected = max(self.collected, took * 1000)

    def take(self) -> dict[str, float]:
        """Return the longest of both since the last time, in milliseconds."""
        figures = {"late": self.longest, "collector": self.collected}
        self.longest = self.collected = 0.0
        return figures


async def serve(store: str, iterations: int) -> None:
    """Serve until the standard input ends; answer each line of it with a line of figures."""
    defects = _Defects()
    logging.getLogger("perspective_broker").addHandler(defects)
    known: pb.Authorizer
    if store == "memory":
        known = pb.MemoryAuthorizer(iterations=iterations)
    else:
        known = pb.SQLAuthorizer(store, iterations=iterations)
    model = pb.Identity("model")
    model.set_password(_PASSWORD, iterations=iterations)
    for number in range(_USERS):
        await known.add_identity(
            pb.Identity(f"user{number}", verifier=model.verifier, keys=[("chat", f"user{number}")])
        )
    application = pb.Application("bench", known)
    application.add_service(pb.Service("chat"))
    limits = pb.Limits(strangers_per_address=20_000, login_seconds=120, handshake_seconds=60)
    loop = asyncio.get_running_loop()
    lines = asyncio.StreamReader()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(lines), sys.stdin)
    async with (
        pb.serve(application, "tcp://127.0.0.1:0", limits=limits) as server,
        pb.serve(_Root(), "tcp://127.0.0.1:0") as beside,
    ):
        print(json.dumps({"url": server.urls[0], "beside": beside.urls[0]}), flush=True)
        lateness = _Lateness()
        while (await lines.readline()).strip():
            figures = {"cpu": time.process_time(), **lateness.take(), **defects.counts}
            print(json.dumps(figures), flush=True)
    await known.close()


class Serving:
    """The serving process, from here."""

    def __init__(self, store: str, iterations: int) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "bench.logins", "--serve", store, "--iterations", str(iterations)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=Path(__file__).parents[1],
        )
        greeting = self._read()
        self.url: str = greeting["url"]
        self.beside: str = greeting["beside"]

    def _read(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        reply: dict[str, Any] = json.loads(self._process.stdout.readline())
        return reply

    def figures(self) -> dict[str, Any]:
        """Return the processor time of the server so far, and what it has logged."""
        assert self._process.stdin is not None
        self._process.stdin.write("figures\n")
        self._process.stdin.flush()
        return self._read()

    def end(self) -> None:
        self._process.communicate("\n")


@contextlib.contextmanager
def serving(store: str, iterations: int = MIN_ITERATIONS) -> Iterator[Serving]:
    """Run the server on a fresh store of one kind."""
    with contextlib.ExitStack() as stack:
        if store == "sqlite":
            folder = stack.enter_context(tempfile.TemporaryDirectory())
            store = f"sqlite:///{folder}/identities.db"
        elif store == "postgresql":
            from tests.cred import postgres

            store = postgres.url(stack.enter_context(postgres.running()), "postgres")
        server = Serving(store, iterations)
        try:
            yield server
        finally:
            server.end()


# -- the clients


async def _one(url: str, number: int, login: bool) -> None:
    user: dict[str, Any] = {"username": f"user{number % _USERS}", "password": _PASSWORD, "service": "chat"}
    async with pb.connect(url, timeout=None, **(user if login else {})):
        pass


async def each(server: Serving, logins: int) -> dict[str, tuple[float, float]]:
    """Return the milliseconds of a connection and of a login on it, at the server and at the client."""
    await _one(server.url, 0, True)  # opens the store
    found: dict[bool, tuple[float, float]] = {}
    for login in (False, True):
        began, here = server.figures()["cpu"], time.process_time()
        for number in range(logins):
            await _one(server.url, number, login)
        took = server.figures()["cpu"] - began, time.process_time() - here
        found[login] = (took[0] * 1000 / logins, took[1] * 1000 / logins)
    (bare_there, bare_here), (there, here) = found[False], found[True]
    return {"connection": (bare_there, bare_here), "login": (there - bare_there, here - bare_here)}


async def watch(url: str, stop: asyncio.Event) -> list[float]:
    """Make one small call after the other until told to stop; return the milliseconds of each, sorted."""
    took = []
    async with pb.connect(url) as root:
        while not stop.is_set():
            began = time.perf_counter()
            await root.call("echo", 1)
            took.append((time.perf_counter() - began) * 1000)
            await asyncio.sleep(0.001)
    return sorted(took)


async def _bystand(url: str) -> None:
    """Be the bystander, in a process of its own, until the standard input ends; print the milliseconds."""
    stop = asyncio.Event()
    asyncio.get_running_loop().add_reader(sys.stdin, stop.set)
    print("ready", flush=True)
    took = await watch(url, stop)
    print(json.dumps([len(took), took[len(took) // 2], took[len(took) * 99 // 100], took[-1]]), flush=True)


async def storm(server: Serving, many: int) -> tuple[Counter[str], float, dict[str, Any]]:
    """Connect so many clients, and let them log in at once; return what they came to, the seconds it
    took, and how much later the server came to anything else."""
    url = server.url
    roots: list[pb.RemoteReference] = []
    limits = pb.Limits(handshake_seconds=60)
    while len(roots) < many:
        some = min(100, many - len(roots))
        roots += await asyncio.gather(*(pb.connect(url, timeout=None, limits=limits) for _ in range(some)))
    server.figures()  # connecting is another matter
    began = time.perf_counter()
    ends = await asyncio.gather(*(_log_in(root, n) for n, root in enumerate(roots)), return_exceptions=True)
    took, late = time.perf_counter() - began, server.figures()
    for root in roots:
        await root.connection.close()
    counts = Counter("logged in" if end is None else f"{type(end).__name__}: {end}" for end in ends)
    return counts, took, late


async def _log_in(root: pb.RemoteReference, number: int) -> None:
    login = Login.of(f"user{number % _USERS}", _PASSWORD, "chat", None, None, False)
    assert login is not None
    await login.run(root)


def storms(server: Serving, many: int) -> None:
    """Measure a storm, and print."""
    with subprocess.Popen(
        [sys.executable, "-m", "bench.logins", "--bystand", server.beside],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        cwd=Path(__file__).parents[1],
    ) as bystander:
        assert bystander.stdout is not None
        bystander.stdout.readline()
        before = server.figures()
        ends, took, late = pb.run(storm(server, many))
        after = server.figures()
        calls, median, most, longest = json.loads(bystander.communicate("")[0])
    cpu = (after["cpu"] - before["cpu"]) * 1000 / many
    print(
        f"  {many} at once: {took:.1f} s, {cpu:.2f} ms of the server's processor time each, connecting included"
    )
    for end, count in ends.most_common():
        print(f"    {count:>5} {end}")
    print(f"    logged: {after.get('logged', 0)}, with a traceback: {after.get('tracebacks', 0)}")
    for message in after.keys() - {"cpu", "late", "collector", "logged", "tracebacks"}:
        print(f"    {after[message]:>5} {message}")
    print(
        f"    a timer of 2 ms: at most {late['late']:.1f} ms of processor time later,"
        f" and {late['collector']:.1f} ms for a collection of garbage"
    )
    print(
        f"    a bystander's {calls} calls on the clock: median {median:.2f} ms, 99 % {most:.2f} ms,"
        f" longest {longest:.2f} ms"
    )


async def reconnects(url: str, times: int) -> None:
    """Lose a connection so often; print the processor time of this process for each new one."""
    back = asyncio.Event()
    kept = await pb.connect(
        url,
        username="user1",
        password=_PASSWORD,
        service="chat",
        reconnect=pb.Backoff(base=0.001, cap=0.001),
    )
    kept.on_reconnect(lambda current: back.set())
    began = time.process_time()
    for _ in range(times):
        back.clear()
        kept.connection.end("closed", "once more")
        await back.wait()
    spent = (time.process_time() - began) * 1000 / times
    print(f"a reconnect with {DEFAULT_ITERATIONS} rounds: {spent:.1f} ms of the client's processor time")
    await kept.close()


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="python -m bench.logins", description=__doc__.partition("\n")[0])
    parser.add_argument("--stores", default="memory,sqlite,postgresql", help="(default: %(default)s)")
    parser.add_argument("--logins", type=int, default=400, help="one after the other (default: %(default)s)")
    parser.add_argument("--rounds", type=int, default=3, help="of these (default: %(default)s)")
    parser.add_argument(
        "--storm", type=int, default=785, help="logins at once; 0: none (default: %(default)s)"
    )
    parser.add_argument("--reconnect", type=int, default=5, metavar="TIMES", help="(default: %(default)s)")
    parser.add_argument("--serve", metavar="STORE", help="be the serving process")
    parser.add_argument("--iterations", type=int, help="of the serving process")
    parser.add_argument("--bystand", metavar="URL", help="be the bystander")
    options = parser.parse_args(arguments)
    raise_file_limit(20_000)
    if options.serve:
        pb.run(serve(options.serve, options.iterations))
    elif options.bystand:
        pb.run(_bystand(options.bystand))
    else:
        print(f"{'compiled' if pb.build.COMPILED else 'not compiled'}; ms of processor time: server, client")
        for store in filter(None, options.stores.split(",")):
            with serving(store) as server:
                for _ in range(options.rounds):
                    found = pb.run(each(server, options.logins))
                    parts = (f"{what} {a:.2f}, {b:.2f}" for what, (a, b) in found.items())
                    print(f"{store:<11} {'; '.join(parts)}", flush=True)
                if options.storm:
                    storms(server, options.storm)
        if options.reconnect:
            with serving("memory", DEFAULT_ITERATIONS) as server:
                pb.run(reconnects(server.url, options.reconnect))


if __name__ == "__main__":
    main()
