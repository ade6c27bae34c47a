"""A Twisted program calls an object with an interface: its calls are checked, and it sees builtins.TypeError."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from pathlib import Path

import pytest

import perspective_broker as pb
from tests.interfaces.chat import LobbyServer

PROGRAM = Path(__file__).parent / "programs" / "typed_client.py"


async def test_a_twisted_caller() -> None:
    pytest.importorskip("twisted")
    root = LobbyServer()
    async with pb.serve(root, "tcp://127.0.0.1:0") as server:
        command = [sys.executable, str(PROGRAM), server.urls[0].rpartition(":")[2]]
        done = await asyncio.to_thread(
            subprocess.run, command, capture_output=True, text=True, timeout=60, check=False
        )
    assert done.stdout.splitlines() == [
        "1",
        "['hello']",
        "{'text': 'A', 'tags': ['b', 'good']}",
        "['CELLAR']",
        "builtins.TypeError: join: name: expected str, got int",
        "builtins.TypeError: join takes (name, guest=..., *, loud=...)",
        "builtins.TypeError: get: fits none of its 2 forms",
        "twisted.spread.flavors.NoSuchMethod: LobbyServer has no method 'guests' for its callers",
    ], done.stderr
