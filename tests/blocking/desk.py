"""What the tests of the blocking face call: an object of an asyncio program."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import subprocess
import sys
import threading
from collections.abc import AsyncGenerator, AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import perspective_broker as pb
from perspective_broker import blocking
from tests.cli.processes import PATIENCE, ROOT, environment

DIALECTS = ("pb7", "pb")

#: How a peer of each dialect learns that a program has closed its connection. The classic one has no farewell.
CLOSED = {"pb7": "closed", "pb": "lost"}


class Room(pb.Referenceable):
    def __init__(self, name: str) -> None:
        self.name = name
        self.said: list[str] = []

    def remote_say(self, text: str) -> int:
        self.said.append(text)
        return len(self.said)

    def remote_close(self) -> str:
        return f"{self.name} is closed"


class Desk(pb.Root):
    """Served in an event loop; its attributes are set there."""

    def __init__(self) -> None:
        self.stopped: list[str] = []  # names of the methods that were cancelled
        self.told: list[Any] = []
        self.began = threading.Event()  # of the last method that waits
        self.lost: list[str] = []  # codes with which connections ended
        self.left_streams = 0
        self.remaining: float | None = None
        self.connections: list[pb.Connection] = []

    def root_object(self, connection: pb.Connection) -> Desk:
        self.connections.append(connection)
        connection.on_disconnect(self.hear_end)
        return self

    def hear_end(self, connection: pb.Connection) -> None:
        assert connection.close_cause is not None
        self.lost.append(connection.close_cause.code)

    def remote_echo(self, value: Any = None, **kwargs: Any) -> Any:
        return (value, kwargs) if kwargs else value

    def remote_note(self, value: Any) -> None:
        self.told.append(value)

    def remote_notes(self) -> list[Any]:
        return self.told

    def remote_fail(self) -> None:
        raise KeyError("nothing there")

    def remote_refuse(self) -> None:
        raise pb.Error("not today")

    def remote_room(self, name: str) -> Room:
        return Room(name)

    def remote_rooms(self) -> dict[str, list[Room]]:
        return {"rooms": [Room("a"), Room("b")]}

    async def remote_wait(self) -> None:
        self.remaining = pb.remaining()
        self.began.set()
        try:
            await asyncio.get_running_loop().create_future()
        except asyncio.CancelledError:
            self.stopped.append("wait")
            raise

    async def remote_call_back(self, callback: pb.RemoteReference, *args: Any) -> Any:
        return await callback.call("call", *args)

    async def remote_call_at_once(self, callback: pb.RemoteReference, many: int) -> list[Any]:
        return await asyncio.gather(*(callback.call("call", number) for number in range(many)))

    async def remote_count(self, to: int) -> AsyncGenerator[int, None]:
        return self._count(to)

    async def _count(self, to: int) -> AsyncGenerator[int, None]:
        try:
            for number in range(to):
                yield number
        finally:
            self.left_streams += 1

    def remote_slow_stream(self) -> AsyncIterator[str]:
        return self._slow_stream()

    async def _slow_stream(self) -> AsyncGenerator[str, None]:
        self.going_on = asyncio.Event()
        yield "first"
        await self.going_on.wait()
        yield "second"

    def remote_go_on(self) -> None:
        self.going_on.set()

    def remote_broken(self) -> AsyncIterator[int]:
        return self._broken()

    async def _broken(self) -> AsyncGenerator[int, None]:
        yield 1
        raise ValueError("no more")

    async def remote_collect(self, stream: pb.RemoteReference) -> list[Any]:
        return [item async for item in stream]

    async def remote_first(self, stream: pb.RemoteReference) -> Any:
        reader = aiter(stream)
        try:
            return await anext(reader)
        finally:
            await reader.aclose()

    async def remote_size(self, stream: pb.RemoteReference) -> int:
        return sum([len(chunk) async for chunk in stream])


class Served:
    """A desk in an event loop thread of its own: to the face that is tested it is a program of its own."""

    def __init__(self, desk: Desk, url: str, thread: blocking.EventLoopThread, dialect: str) -> None:
        self.desk = desk
        self.closed = CLOSED[dialect]
        self.url = url
        self.thread = thread

    def settle(self) -> None:
        """Wait until the loop of the desk has handled what has come."""

        async def turns() -> None:
            for _ in range(20):
                await asyncio.sleep(0)

        self.thread.run(turns())

    def end_first(self) -> None:
        """End the connection that came first."""

        async def end() -> None:
            self.desk.connections[0].end()

        self.thread.run(end())


@contextlib.contextmanager
def served(dialect: str) -> Iterator[Served]:
    desk = Desk()

    async def serve() -> pb.Server:
        return await pb.serve(desk, "tcp://127.0.0.1:0", dialects=[dialect])

    with blocking.EventLoopThread("desk") as thread:
        server = thread.run(serve())
        try:
            yield Served(desk, server.urls[0], thread, dialect)
        finally:
            thread.run(server.close())


def eventually(condition: Any) -> None:
    """Wait for what another thread or process brings about."""
    for _ in range(PATIENCE * 200):
        if condition():
            return
        threading.Event().wait(0.005)
    raise AssertionError("it did not come about")


class Program:
    """A Python program in a process of its own, with the desk's url as its argument."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self.process = process

    def line(self) -> str:
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        assert line, self.process.communicate()[1]
        return line.rstrip("\n")

    def interrupt(self) -> None:
        """The effect of Ctrl-C at a terminal."""
        self.process.send_signal(signal.SIGINT)

    def end(self) -> tuple[int, str, str]:
        """Return its exit status, and the rest of what it wrote to stdout and stderr."""
        out, err = self.process.communicate(timeout=PATIENCE)
        return self.process.returncode, out, err


@contextlib.contextmanager
def program(source: str, *arguments: str, **env: str) -> Iterator[Program]:
    """Run a program that heeds Ctrl-C, as one that a person starts at a terminal."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # a new program gets the default then
    try:
        process = subprocess.Popen(
            [sys.executable, "-c", source, *arguments],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            cwd=ROOT,
            env=environment(PYTHONPATH=os.pathsep.join([str(ROOT / "src"), str(Path(ROOT))]), **env),
        )
    finally:
        signal.signal(signal.SIGINT, before)
    with process:
        try:
            yield Program(process)
        finally:
            if process.poll() is None:
                process.kill()
