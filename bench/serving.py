"""A process that serves an object until its parent ends: both halves."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import perspective_broker as pb

__all__ = ["serve", "serving"]


async def serve(root: Any, **options: Any) -> None:
    """Serve ``root``, print the url, and end when the standard input is closed, or the parent ends."""
    async with pb.serve(root, "tcp://127.0.0.1:0", **options) as server:
        print(server.urls[0], flush=True)
        ended = asyncio.Event()
        asyncio.get_running_loop().add_reader(sys.stdin, ended.set)
        await ended.wait()


@contextmanager
def serving(module: str, *arguments: str) -> Iterator[str]:
    """Run ``python -m MODULE --serve ARGUMENTS``, which calls :func:`serve`, and yield its url."""
    server = subprocess.Popen(
        [sys.executable, "-m", module, "--serve", *arguments],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        cwd=Path(__file__).parents[1],
    )
    assert server.stdout is not None
    try:
        yield server.stdout.readline().strip()
    finally:
        server.communicate("")
