"""The processes of these tests: ``python -m tests.faults.served ROLE ...``.

A process prints one line of JSON for each event that a test may wait for, and ends when its standard input closes.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import json
import logging
import os
import signal
import threading
from pathlib import Path
from typing import Any

import perspective_broker as pb
from tests.loops import LOOPS

#: Users of the services that are served here; the fewest rounds that SCRAM allows.
USERS, ITERATIONS = {"alice": "secret", "bob": "sesame"}, 4096


class Desk(pb.Root):
    """Has methods that a test interrupts.

    Args:
        ledger: a file in which every call of :meth:`remote_enter` is written down before it is answered.
    """

    def __init__(self, ledger: Path | None = None) -> None:
        self.ledger = ledger
        self.kept: list[Any] = []
        self.running = 0
        self.most_running = 0
        self.told = 0

    def remote_echo(self, value: Any = None) -> Any:
        return value

    def remote_keep(self, *things: Any) -> None:
        self.kept.extend(things)

    def remote_give(self) -> Desk:
        return Desk()

    def remote_tell(self, value: Any = None) -> None:
        self.told += 1

    def remote_count(self) -> int:
        return self.told

    def remote_big(self, size: int) -> bytes:
        return bytes(size)

    async def remote_wait(self, value: Any = None) -> Any:
        self.running += 1
        self.most_running = max(self.most_running, self.running)
        try:
            await asyncio.Event().wait()
        finally:
            self.running -= 1

    async def remote_produce(self, client: pb.RemoteReference, size: int, number: int) -> None:
        for _ in range(number):
            await client.tell("take", bytes(size))

    async def remote_enter(self, entry: str) -> str:
        assert self.ledger is not None
        with open(self.ledger, "a") as ledger:
            ledger.write(f"{entry}\n")
        await asyncio.sleep(0)
        return entry

    def remote_rss(self) -> int:
        gc.collect()
        return memory()["VmRSS"]

    def remote_running(self) -> tuple[int, int]:
        return self.running, self.most_running


def memory(pid: int | None = None) -> dict[str, int]:
    """Return the sizes of a process in bytes, by the names of /proc/PID/status: VmRSS, VmHWM (its peak)."""
    lines = Path(f"/proc/{pid or 'self'}/status").read_text().splitlines()
    return {
        name: int(rest.split()[0]) * 1024
        for name, _, rest in (line.partition(":") for line in lines)
        if name in ("VmRSS", "VmHWM")
    }


def say(**what: Any) -> None:
    """Print a line in one piece, even if several processes share the pipe."""
    os.write(1, json.dumps(what).encode() + b"\n")


def end_with_stdin(number: int) -> None:
    """Send this process a signal when its standard input is closed."""

    def watch() -> None:
        while os.read(0, 4096):
            pass
        os.kill(os.getpid(), number)

    threading.Thread(target=watch, daemon=True).start()


async def make_application(second_login: Any = "coexist") -> tuple[pb.Application, pb.Service]:
    """Return an application whose users have a key to its service ``desk``, and that."""
    authorizer = pb.MemoryAuthorizer(iterations=ITERATIONS)
    for name, password in USERS.items():
        await authorizer.create(name, password)
        await authorizer.grant(name, "desk")
    app = pb.Application("faults", authorizer)
    return app, app.add_service(pb.Service("desk", Seat, second_login=second_login))


class Seat(pb.Perspective):
    """A user's view of the service, and a list of users that have disconnected."""

    gone: list[str] = []

    def detached(self, client: Any, identity: pb.Identity) -> None:
        self.gone.append(identity.name)

    def perspective_echo(self, value: Any) -> Any:
        return value

    async def perspective_wait(self) -> None:
        await asyncio.Event().wait()


async def serve(url: str, limits: pb.Limits, ledger: Path | None = None, **more: Any) -> None:
    """Serve a desk until SIGTERM."""
    ended = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, ended.set)
    async with pb.serve(Desk(ledger), url, limits=limits) as server:
        say(pid=os.getpid(), urls=server.urls, **more)
        await ended.wait()


async def attend(url: str, username: str) -> None:
    """Log in, report it, wait for an answer that does not come, and report the end of the call."""
    async with pb.connect(url, username=username, password=USERS[username], service="desk") as seat:
        say(pid=os.getpid(), attached=username)
        try:
            await seat.call("wait")
        except pb.ConnectionLost as error:
            say(pid=os.getpid(), code=error.code)


def fork(number: int, what: Any) -> None:
    """Let ``number`` children run ``what(n)``, a coroutine each; they are killed when our standard input closes."""
    children = []
    for n in range(number):
        pid = os.fork()
        if pid == 0:
            status = 1
            try:
                asyncio.run(what(n))
                status = 0
            finally:
                os._exit(status)
        children.append(pid)
    while os.read(0, 4096):
        pass
    for pid in children:
        os.kill(pid, signal.SIGKILL)  # none has been waited for, so none's number is another's
    for pid in children:
        os.waitpid(pid, 0)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("role", choices=("serve", "servers", "attend", "attenders"))
    parser.add_argument("url", help="of one server of several: of the directory of its sockets")
    parser.add_argument("--limits", type=json.loads, default={})
    parser.add_argument("--ledger", type=Path)
    parser.add_argument("--loop", choices=sorted(LOOPS), default="asyncio")
    parser.add_argument("--number", type=int, default=1)
    parser.add_argument("--user", default="alice")
    parser.add_argument("--verbose", action="store_true")
    given = parser.parse_args()
    logging.basicConfig(
        level=logging.INFO if given.verbose else logging.WARNING, format="%(levelname)s %(message)s"
    )
    limits = pb.Limits(**given.limits)
    if given.role == "servers":
        urls = [given.url if "://127" in given.url else f"{given.url}/{n}" for n in range(given.number)]
        fork(given.number, lambda n: serve(urls[n], limits, number=n))
        return
    if given.role == "attenders":
        fork(given.number, lambda n: attend(given.url, given.user))
        return
    end_with_stdin(signal.SIGTERM)
    with asyncio.Runner(loop_factory=LOOPS[given.loop]) as runner:
        if given.role == "serve":
            runner.run(serve(given.url, limits, given.ledger))
        else:
            runner.run(attend(given.url, given.user))


if __name__ == "__main__":
    main()
