"""Real ``pb`` processes: run one to its end, or serve with one for as long as a block lasts."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]

#: The directory of the modules that the tests serve.
SERVED = Path(__file__).with_name("served")

PB = (sys.executable, "-m", "perspective_broker.cli")

#: Seconds that only limit the time of a hanging process.
PATIENCE = 120


def environment(**more: str) -> dict[str, str]:
    """The environment of a user with an installed package; warnings are errors there too."""
    ours = {key: value for key, value in os.environ.items() if not key.startswith(("PYTHON", "COVERAGE"))}
    return ours | {
        "COLUMNS": "120",
        "PYTHONPATH": str(ROOT / "src"),
        "PYTHONWARNINGS": "error",
        "PYTHONDONTWRITEBYTECODE": "1",
        **more,
    }


def pb(
    *arguments: str, stdin: str = "", cwd: Path = SERVED, env: Mapping[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    """Run ``pb`` to its end."""
    return subprocess.run(
        [*PB, *arguments],
        input=stdin,
        capture_output=True,
        text=True,
        encoding="utf-8",
        cwd=cwd,
        env=environment(**(env or {})),
        timeout=PATIENCE,
        check=False,
        start_new_session=True,  # detached from the terminal of the test run: a prompt must not find it
    )


def without_lag(log: str) -> str:
    """Return a process's log, without warnings about a late loop, which may be the machine's fault."""
    return re.sub(r"(?m)^.*the event loop stood still.*\n", "", log)


@dataclass
class Serving:
    """A running ``pb serve``."""

    process: subprocess.Popen[str]
    urls: list[str]
    log: Path

    @property
    def url(self) -> str:
        return self.urls[0]

    def stop(self, number: int = signal.SIGTERM) -> int:
        """Send a signal and return the exit code."""
        self.process.send_signal(number)
        return self.process.wait(PATIENCE)

    def logged(self) -> str:
        return without_lag(self.log.read_text())


@contextlib.contextmanager
def serving(
    target: str = "desk:Desk",
    *options: str,
    listen: tuple[str, ...] = ("tcp://127.0.0.1:0",),
    cwd: Path = SERVED,
    env: Mapping[str, str] | None = None,
) -> Iterator[Serving]:
    """Serve within the block; at its end the server is stopped unless it was, and must end with 0."""
    with (
        tempfile.NamedTemporaryFile("w", prefix="pb-", suffix=".log") as log,
        subprocess.Popen(
            [*PB, "serve", target, "--listen", *listen, *options],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=log,
            text=True,
            cwd=cwd,
            env=environment(**(env or {})),
        ) as process,
    ):
        try:
            assert process.stdout is not None
            lines = [process.stdout.readline() for _ in listen]
            server = Serving(
                process, [line.strip().removeprefix("listening on ") for line in lines], Path(log.name)
            )
            assert all(server.urls), server.logged()
            yield server
            if process.poll() is None:
                assert server.stop() == 0, server.logged()
        finally:
            if process.poll() is None:
                process.kill()
