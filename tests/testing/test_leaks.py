"""Leak checks find leftovers, name them, and pass without any."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from pathlib import Path

import pytest

import perspective_broker as pb
from perspective_broker.testing import (
    assert_all_closed,
    assert_no_leaks,
    memory_pair,
    open_connections,
)
from tests.aio.desk import Desk, until

ROOT = Path(__file__).resolve().parents[2]


async def test_a_reference_that_is_kept_is_found_on_both_sides() -> None:
    desk = Desk()
    async with memory_pair(desk) as pair:
        await assert_no_leaks(pair.client, pair.accepted)
        await pair.root.call("keep", pb.Referenceable())
        with pytest.raises(AssertionError, match=r"1 objects exported.*1 references imported"):
            await assert_no_leaks(pair.client, pair.accepted)
        desk.kept.clear()
        await assert_no_leaks(pair.client, pair.accepted)


async def test_a_call_that_hangs_is_found_on_both_sides() -> None:
    desk = Desk()
    async with memory_pair(desk) as pair:
        promise = pair.root.call("wait")
        await until(lambda: desk.waiting)
        with pytest.raises(AssertionError, match=r"1 calls without an answer.*1 methods running"):
            await assert_no_leaks(pair.client, pair.accepted)
        desk.gate.set()
        await promise
        await assert_no_leaks(pair.client, pair.accepted)


async def test_an_open_connection_is_found_until_it_is_closed() -> None:
    async with memory_pair(Desk()) as pair:
        assert set(open_connections()) == {pair.client, pair.accepted}
        assert open_connections(asyncio.get_running_loop()) == open_connections()
        with pytest.raises(AssertionError, match="left open: <Connection to memory:pair"):
            await assert_all_closed()
    await assert_all_closed()
    assert open_connections() == []


async def test_a_task_is_found_until_it_has_ended() -> None:
    gate = asyncio.Event()
    task = asyncio.ensure_future(gate.wait())
    with pytest.raises(AssertionError, match="a task is left"):
        await assert_all_closed()
    gate.set()
    await task
    await assert_all_closed()


async def test_what_is_just_ending_gets_its_time() -> None:
    async with memory_pair(Desk()) as pair:
        pair.root.tell("keep", pb.Referenceable())
        pair.root.tell("drop")
        await assert_no_leaks(pair.client, pair.accepted)


PROGRAM = """
import asyncio
import pytest
import perspective_broker as pb

pytestmark = pytest.mark.usefixtures("no_leaks")
loop = asyncio.new_event_loop()

async def leak():
    global server, root
    server = await pb.serve(pb.Root(), "memory:leak")
    root = await pb.connect("memory:leak")

async def end():
    await root.connection.close()
    await server.close()

def test_leaks(): loop.run_until_complete(leak())
def test_is_not_blamed_for_another(): pass
def test_cleans_up(): loop.run_until_complete(end())
"""


def test_the_fixture_blames_the_test_that_leaks(tmp_path: Path) -> None:
    (tmp_path / "test_program.py").write_text(PROGRAM)
    result = subprocess.run(
        [
            *(sys.executable, "-m", "pytest", "-q", "--no-header", "-p", "no:cacheprovider"),
            *("-p", "perspective_broker.testing.plugin", "test_program.py"),
        ],
        cwd=tmp_path,
        env={"PYTHONPATH": str(ROOT / "src")},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert "1 error" in result.stdout
    assert "3 passed" in result.stdout
    assert "ERROR test_program.py::test_leaks - AssertionError: left open: [<Connection" in result.stdout
