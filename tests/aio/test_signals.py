"""Signals: a serving program gets a signal, and lets running calls end."""

from __future__ import annotations

import asyncio
import signal
import subprocess
import sys
from collections.abc import Iterator

import pytest

import perspective_broker as pb
from perspective_broker.aio.signals import on_signals
from tests.draining import Client, until_it_drains
from tests.loops import both_loops

PROGRAM = """
import perspective_broker as pb

class Slow(pb.Root):
    async def remote_ask(self, client):
        return await client.call("answer")

    def remote_echo(self, value):
        return value

async def main():
    async with pb.serve(Slow(), "tcp://127.0.0.1:0") as server:
        print(server.urls[0], flush=True)
        await server.serve_until_stopped(drain=3600)
    print("over")

pb.run(main())
"""

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="event loops get no signals there")


@pytest.fixture
def program() -> Iterator[subprocess.Popen[str]]:
    with subprocess.Popen([sys.executable, "-c", PROGRAM], stdout=subprocess.PIPE, text=True) as process:
        try:
            yield process
        finally:
            process.kill()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
async def test_a_signal_lets_what_runs_come_to_its_end(program: subprocess.Popen[str], number: int) -> None:
    assert program.stdout is not None
    client = Client()
    async with pb.connect(program.stdout.readline().strip()) as root:
        promise = root.call("ask", client)
        await client.asked.wait()
        program.send_signal(number)
        await until_it_drains(root)
        client.may_answer.set()
        assert await promise == "at last"
        await root.connection.wait_closed()
        assert root.connection.close_cause is not None
        assert root.connection.close_cause.code == "drained"
    assert await asyncio.to_thread(program.stdout.read) == "over\n"
    assert await asyncio.to_thread(program.wait, 60) == 0


async def test_a_second_one_does_not_wait(program: subprocess.Popen[str]) -> None:
    assert program.stdout is not None
    client = Client()
    async with pb.connect(program.stdout.readline().strip()) as root:
        promise = root.call("ask", client)
        await client.asked.wait()
        program.send_signal(signal.SIGTERM)
        await until_it_drains(root)
        program.send_signal(signal.SIGTERM)
        with pytest.raises(pb.ConnectionLost):
            await promise
    assert await asyncio.to_thread(program.wait, 60) == 0


@both_loops
async def test_it_also_ends_with_the_server() -> None:
    async with pb.serve(pb.Root(), "memory:signals") as server:
        serving = asyncio.ensure_future(server.serve_until_stopped())
        await asyncio.sleep(0)
        await server.close()
        await serving


async def test_a_server_that_was_not_started_is_not_waited_for() -> None:
    server = pb.serve(pb.Root(), "memory:signals")
    for serve in (server.serve_until_stopped, server.serve_forever):
        with pytest.raises(RuntimeError, match="start the server first"):
            await serve()
    async with server:
        pass


async def test_what_the_end_of_serving_raises_is_raised() -> None:
    class Sore(pb.Root):
        def end_serving(self) -> None:
            raise RuntimeError("could not end")

    server = await pb.serve(Sore(), "memory:signals")
    serving = asyncio.ensure_future(server.serve_until_stopped())
    await asyncio.sleep(0)
    signal.raise_signal(signal.SIGTERM)
    with pytest.raises(RuntimeError, match="could not end"):
        await serving


async def test_who_cancels_it_closes_the_server() -> None:
    server = await pb.serve(pb.Root(), "memory:signals")
    serving = asyncio.ensure_future(server.serve_until_stopped(drain=3600))
    await asyncio.sleep(0)
    serving.cancel()
    with pytest.raises(asyncio.CancelledError):
        await serving
    await server.serve_forever()  # is over


@both_loops
async def test_a_handler_is_there_within_the_block_alone() -> None:
    heard: list[int] = []
    came = asyncio.Event()

    def hear() -> None:
        heard.append(1)
        came.set()

    before = signal.getsignal(signal.SIGUSR1)
    with on_signals({"SIGUSR1": hear, "SIGNONE": hear}):
        signal.raise_signal(signal.SIGUSR1)
        await came.wait()
    assert heard == [1]
    assert signal.getsignal(signal.SIGUSR1) == before


async def test_another_thread_than_the_main_one_is_told_what_it_may_do() -> None:
    async def serve() -> None:
        async with pb.serve(pb.Root(), "memory:thread") as server:
            await server.serve_until_stopped()

    with pytest.raises(pb.UsageError, match=r"main thread.*serve_forever\(\)"):
        await asyncio.to_thread(asyncio.run, serve())
