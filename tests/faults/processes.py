"""Starts the processes of :mod:`tests.faults.served`; none outlives the block that it was started for."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import sys
import tempfile
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

from tests.cli.processes import ROOT, environment, without_lag
from tests.library import PYTHONPATH

__all__ = ["Process", "eventually", "running"]

#: Seconds that only limit the time of a hanging process.
PATIENCE = 120


async def eventually(condition: Callable[[], Any]) -> None:
    """Wait until ``condition()``, which another process brings about, and leave it the processor meanwhile."""
    async with asyncio.timeout(PATIENCE):
        while not condition():
            await asyncio.sleep(0.002)


class Process:
    """A running process, and its output."""

    def __init__(self, process: asyncio.subprocess.Process, log: Path) -> None:
        self._process = process
        self._log = log

    @property
    def pid(self) -> int:
        return self._process.pid

    async def hear(self) -> dict[str, Any]:
        """Return its next line."""
        assert self._process.stdout is not None
        line = await asyncio.wait_for(self._process.stdout.readline(), PATIENCE)
        assert line, f"the process has ended:\n{self.logged()}"
        heard: dict[str, Any] = json.loads(line)
        return heard

    def signal(self, number: int) -> None:
        self._process.send_signal(number)

    async def stop(self) -> None:
        """Let it stand still, until it is sent SIGCONT."""
        self._process.send_signal(signal.SIGSTOP)
        state = Path(f"/proc/{self.pid}/stat")
        await eventually(lambda: state.read_text().rpartition(")")[2].split()[0] == "T")

    async def kill(self) -> None:
        """End it as a machine failure would, and wait until it is gone."""
        self._process.kill()
        await asyncio.wait_for(self._process.wait(), PATIENCE)

    async def wait(self) -> int:
        """Return its exit status, once it has ended by itself."""
        return await asyncio.wait_for(self._process.wait(), PATIENCE)

    def logged(self) -> str:
        """Its log so far."""
        return without_lag(self._log.read_text(errors="replace"))


@contextlib.asynccontextmanager
async def running(
    *arguments: str, limits: dict[str, float] | None = None, descriptors: int | None = None
) -> AsyncIterator[Process]:
    """Run one within the block.

    Args:
        arguments: of ``python -m tests.faults.served``.
        limits: of a server.
        descriptors: how many files it may have open (RLIMIT_NOFILE).
    """
    command = [sys.executable, "-m", "tests.faults.served", *arguments]
    if limits:
        command += ["--limits", json.dumps(limits)]
    if descriptors is not None:
        command = ["bash", "-c", f'ulimit -n {descriptors}; exec "$0" "$@"', *command]
    with tempfile.NamedTemporaryFile("w", prefix="pb-", suffix=".log") as log:
        started = await asyncio.create_subprocess_exec(
            *command,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=log,
            cwd=ROOT,
            env=environment(PYTHONPATH=PYTHONPATH),
        )
        try:
            yield Process(started, Path(log.name))
        finally:
            assert started.stdin is not None
            started.stdin.close()
            if started.returncode is None:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(started.pid, signal.SIGCONT)
            try:
                await asyncio.wait_for(started.wait(), PATIENCE)
            except TimeoutError:
                started.kill()
                await started.wait()
            assert started.stdout is not None
            await started.stdout.read()
            started._transport.close()  # type: ignore[attr-defined]  # or its pipes are closed by the collector
