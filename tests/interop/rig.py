"""Starts and ends the peers: real processes, no sleeping, nothing left behind.

    with twisted_server(today(), unix=True) as server:  # or our_server()
        run = run_client(of_2019(), server.tcp, "echo_all", "errors")
        assert run.outcomes == {...}

A server ends when its standard input closes, so it does not outlive the tests even when they are killed; a
client has a time limit of its own. Their log is kept in a file and shown if a test fails.
"""

from __future__ import annotations

import contextlib
import json
import os
import selectors
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from tests.interop.expectations import Outcomes
from tests.interop.twisted_env import CHECKOUT, TwistedEnv
from tests.library import PYTHONPATH

#: Seconds. Generous: they only bound what a broken peer can cost, nothing waits this long when all is well.
START, STOP, SCENARIOS = 120.0, 60.0, 240.0


class PeerError(AssertionError):
    """A peer did not do what the rig counts on; carries its log."""


@dataclass
class ServerProcess:
    """A running `peers/server.py`, or our own."""

    process: subprocess.Popen[bytes]
    urls: list[str]
    twisted: str  #: its version, "" for our own
    log: Path

    @property
    def tcp(self) -> str:
        return next(url for url in self.urls if url.startswith("tcp:"))

    @property
    def unix(self) -> str:
        return next(url for url in self.urls if url.startswith("unix:"))

    def kill(self) -> None:
        """End it as a machine failure would: no farewell. Returns when it is gone."""
        self.process.kill()
        self.process.wait(STOP)

    def wait(self) -> int:
        """Its exit status, once it has ended by itself (`die()`); negative for a signal."""
        return self.process.wait(STOP)

    def logged(self) -> str:
        """Its log so far."""
        return self.log.read_text(errors="replace")


@dataclass
class ClientRun:
    """The output of a finished `peers/client.py`."""

    status: int
    outcomes: dict[str, Outcomes] = field(default_factory=dict)
    log: str = ""


def _command(env: TwistedEnv, program: str) -> list[str]:
    face = ["-m", "perspective_broker.compat"] if env.on_our_face else []
    return [str(env.python), *face, "-m", f"tests.interop.peers.{program}"]


def peer_environment(env: TwistedEnv | None = None) -> dict[str, str]:
    """Ours, less what would make another Python import our packages or treat warnings as we do."""
    ours = {k: v for k, v in os.environ.items() if not k.startswith(("PYTHON", "COVERAGE", "PYTEST"))}
    # Peers of several versions share the sources: none may leave its byte code there for another.
    ours |= {"PYTHONDONTWRITEBYTECODE": "1", "PYTHONUNBUFFERED": "1", "PYTHONUTF8": "1"}
    return ours | {"PYTHONPATH": PYTHONPATH} if env is not None and env.on_our_face else ours


@contextlib.contextmanager
def twisted_server(
    env: TwistedEnv,
    *,
    tcp: bool = True,
    unix: bool = False,
    portal: bool = False,
    unsafe_tracebacks: bool = False,
) -> Iterator[ServerProcess]:
    """A Twisted server that listens when the block is entered and is gone when it is left."""
    command = _command(env, "server")
    command += ["--portal"] if portal else []
    command += ["--unsafe-tracebacks"] if unsafe_tracebacks else []
    with _server(command, peer_environment(env), tcp=tcp, unix=unix) as running:
        yield running


@contextlib.contextmanager
def our_server(*, tcp: bool = True, unix: bool = False) -> Iterator[ServerProcess]:
    """Our own server in a process of its own, with the same manners."""
    command = [sys.executable, "-m", "tests.interop.ours"]
    environment = peer_environment() | {"PYTHONPATH": PYTHONPATH, "PYTHONWARNINGS": "error"}
    with _server(command, environment, tcp=tcp, unix=unix) as running:
        yield running


@contextlib.contextmanager
def _server(
    command: list[str], environment: dict[str, str], *, tcp: bool, unix: bool
) -> Iterator[ServerProcess]:
    # A separate directory, because a test's own may be too deep for the 100 bytes of a Unix socket's path.
    with tempfile.TemporaryDirectory(prefix="pb-") as directory:
        log = Path(directory, "log")
        command += ["--tcp", "0"] if tcp else []
        command += ["--unix", str(Path(directory, "socket"))] if unix else []
        with (
            open(log, "wb") as log_file,
            subprocess.Popen(
                command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log_file,
                cwd=CHECKOUT,
                env=environment,
            ) as process,
        ):
            try:
                about = json.loads(_first_line(process, START) or "null")
                if about is None:
                    raise PeerError(f"{' '.join(command)} did not start:\n{log.read_text(errors='replace')}")
                yield ServerProcess(process, about["urls"], about.get("twisted", ""), log)
            finally:
                assert process.stdin is not None
                process.stdin.close()  # its signal to end
                try:
                    process.wait(STOP)
                except subprocess.TimeoutExpired:
                    process.kill()
                    process.wait(STOP)


def _first_line(process: subprocess.Popen[bytes], timeout: float) -> str:
    """The first line of its output, or an empty text if it ended or printed nothing in time."""
    assert process.stdout is not None
    descriptor = process.stdout.fileno()
    deadline = time.monotonic() + timeout
    line = b""
    with selectors.DefaultSelector() as selector:
        selector.register(descriptor, selectors.EVENT_READ)
        while not line.endswith(b"\n"):
            if not selector.select(max(0.0, deadline - time.monotonic())):
                return ""
            data = os.read(descriptor, 4096)
            if not data:
                return ""
            line += data
    return line.decode()


def run_client(env: TwistedEnv, url: str, *scenarios: str, status: int = 0) -> ClientRun:
    """Run scenarios of the Twisted client at a server, each on its own connection; fails when it does not end
    with the status (`-signal.SIGKILL` for the scenario that kills itself).

    Blocking: inside an event loop, call it with `asyncio.to_thread`.
    """
    command = [*_command(env, "client"), "--timeout", str(SCENARIOS), url, *scenarios]
    done = subprocess.run(
        command,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        cwd=CHECKOUT,
        env=peer_environment(env),
        timeout=SCENARIOS + STOP,
        check=False,
    )
    run = ClientRun(done.returncode, log=done.stderr.decode(errors="replace"))
    for line in done.stdout.decode().splitlines():
        scenario, step, outcome = json.loads(line)
        run.outcomes.setdefault(scenario, []).append((step, outcome))
    if run.status != status:
        story = f"{run.log}\n{run.outcomes}"
        raise PeerError(f"the client of {env} ended with {run.status}, not {status}:\n{story}")
    return run


KILLED = -signal.SIGKILL
