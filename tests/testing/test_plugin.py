"""The pytest plugin, in runs of pytest of its own."""

from __future__ import annotations

import subprocess
import sys
import tomllib
from pathlib import Path

from tests.cli.processes import PATIENCE, ROOT, environment

PLUGIN = "perspective_broker.testing.plugin"

TESTS = """
import asyncio

import perspective_broker as pb

kept = []


class Echo(pb.Root):
    def remote_echo(self, value):
        return value


def test_a_pair(memory_pair):
    async def main():
        async with memory_pair(Echo()) as pair:
            assert await pair.root.call("echo", 1) == 1

    asyncio.run(main())


def test_that_leaks(no_leaks):
    async def main():
        kept.append(await pb.serve(Echo(), "memory:kept"))
        kept.append(await pb.connect("memory:kept"))

    loop = asyncio.new_event_loop()
    kept.append(loop)
    loop.run_until_complete(main())


def test_that_ends():
    loop, server, root = kept
    loop.run_until_complete(root.connection.close())
    loop.run_until_complete(server.close())
    loop.close()
"""


def test_it_is_found_by_its_module_and_brings_its_fixtures(tmp_path: Path) -> None:
    Path(tmp_path, "test_it.py").write_text(TESTS)
    declared = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["entry-points"]["pytest11"]
    assert declared == {PLUGIN: PLUGIN}
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:asyncio", "-p", PLUGIN, "-p", "no:cacheprovider"],
        cwd=tmp_path,
        env=environment(),
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )
    assert "3 passed, 1 error" in done.stdout
    assert "left open: [<Connection to memory:kept open>" in done.stdout
