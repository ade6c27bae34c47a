"""The process under attack: this library, serving and connecting on command. Run by :mod:`.rig`.

It serves the same desk under four names: ``desk`` with the default limits, ``small`` with limits and times scaled
down, ``hasty`` with the time for the handshake scaled down as well, ``login`` behind an application's login. It
reports its state over a control socket, in lines of JSON, which the attacker cannot influence.
"""

from __future__ import annotations

import asyncio
import gc
import json
import logging
import os
import socket
import sys
import time
import tracemalloc
from dataclasses import asdict
from typing import Any, Protocol

import perspective_broker as pb
from perspective_broker.aio.connection import driver_of
from perspective_broker.aio.driver import Driver
from tests.loops import LOOPS
from tests.robustness.limits import LIMITS

#: Seconds between two ticks of the metronome.
BEAT = 0.001

registry = pb.registry.Registry()


@pb.copier_for("robustness.Point", registry=registry)
class Point(pb.RemoteCopy):
    """A copyable that takes declared fields only."""

    x: int
    y: int


@pb.copier_for("robustness.Open", registry=registry)
class Open(pb.RemoteCopy):
    """A copyable that accepts every field except the names of its own methods and properties."""

    def move(self) -> None:
        raise AssertionError("nothing calls it")


@pb.copier_for("robustness.Forbidden", registry=registry)
class Forbidden(pb.RemoteCopy):
    """A class that is registered, and that the connections here may not use."""


@pb.copier_for("robustness.Board", registry=registry)
class BoardReplica(pb.RemoteCache):
    """The replica of a cacheable of the peer."""

    def observe_mark(self, *marks: Any) -> int:
        return len(marks)


class Board(pb.Cacheable):
    """A cacheable of ours."""

    def get_type_to_copy(self) -> str:
        return "robustness.Board"

    def get_state_to_cache_and_observe_for(self, perspective: Any, observer: Any) -> Any:
        return {}


POLICY = pb.registry.Policy(classes={"robustness.Point", "robustness.Open", "robustness.Board"})

#: Values that cannot be sent, by their flaw.
BAD_VALUES = {
    "unserialisable": object,
    "surrogate": lambda: "\ud800",
    "huge int": lambda: 1 << 100_000,
    "too large": lambda: bytes(17 * 1024 * 1024),
}


class Desk(pb.Root):
    """The object that peers reach, in either direction."""

    def __init__(self, subject: Subject, connection: pb.Connection) -> None:
        self._subject = subject
        self._connection = connection
        self._held: list[Any] = []
        self._gone = asyncio.Event()

    def gone(self, connection: pb.Connection) -> None:
        """The connection has ended."""
        self._held.clear()
        self._gone.set()

    def remote_probe(self) -> int:
        return 7

    def remote_take(self, *things: Any, **named: Any) -> int:
        return len(things) + len(named)

    def remote_echo(self, thing: Any) -> Any:
        return thing

    def remote_two(self, one: Any, two: Any = None) -> int:
        return 2

    def remote_defect(self) -> None:
        """Raise, deep inside, the error of a call with wrong arguments."""
        int("1", bad=True)  # type: ignore[call-overload]

    def remote_keep(self, *things: Any) -> int:
        """Hold things until the connection has ended."""
        self._held.extend(things)
        return len(self._held)

    def remote_hold(self, reference: Any) -> None:
        """Call the peer's object and wait for the answer for as long as there may be one."""
        self._subject.watch("later", reference.call("later"))
        self._held.append(reference)

    def remote_give(self) -> pb.Referenceable:
        return pb.Referenceable()

    def remote_board(self) -> Board:
        board = Board()
        self._held.append(board)
        return board

    async def remote_sleep(self) -> None:
        await asyncio.get_running_loop().create_future()

    async def remote_turn(self) -> None:
        """End when earlier calls have started."""
        await asyncio.sleep(0)

    async def remote_stubborn(self) -> None:
        """Take no notice of being cancelled while the connection lives."""
        while not self._gone.is_set():
            try:
                await self._gone.wait()
            except asyncio.CancelledError:
                pass

    def remote_give_badly(self, kind: Any) -> Any:
        return BAD_VALUES[_text(kind)]()

    async def remote_say_badly(self, kind: Any) -> str:
        """Call the peer with a value that cannot be sent; return the outcome."""
        reference = self._held[0]
        held = reference.connection.statistics()
        try:
            await reference.call("never", pb.Referenceable(), BAD_VALUES[_text(kind)]())
        except pb.SerializationError:
            left = reference.connection.statistics()
            clean = (held.exported, held.calls_out) == (left.exported, left.calls_out)
            return "SerializationError, nothing leaked" if clean else "something leaked"
        return "it crossed"

    def remote_tick(self, gap: float) -> None:
        """A bystander is served; ``gap`` is how long it waited the last time, in seconds."""
        self._subject.bystanders.add(driver_of(self._connection))
        self._subject.ticks += 1
        self._subject.gap = max(self._subject.gap, gap)


class Typed(pb.Interface, Protocol):
    """What of a desk the hostile side calls, with types."""

    async def probe(self) -> int: ...
    async def take(self, *things: Any, **named: Any) -> int: ...
    async def echo(self, thing: Any) -> Any: ...
    async def two(self, one: Any, two: Any = None) -> int: ...
    async def defect(self) -> None: ...
    async def keep(self, *things: Any) -> int: ...
    async def sleep(self) -> None: ...
    async def turn(self) -> None: ...
    async def stubborn(self) -> None: ...
    async def give_badly(self, kind: str) -> Any: ...
    async def say_badly(self, kind: str) -> str: ...
    async def tick(self, gap: float) -> None: ...


class TypedDesk(Desk, offers=Typed):
    """A desk whose calls go through the checks of an interface."""


def _text(value: Any) -> str:
    return value.decode() if isinstance(value, bytes) else str(value)


class Serving:
    """The argument of ``serve``: it makes a desk for every connection, and records the connection."""

    def __init__(self, subject: Subject) -> None:
        self._subject = subject

    def root_object(self, connection: pb.Connection) -> Desk:
        return self._subject.desk_for(connection)


class PatientAuthorizer(pb.MemoryAuthorizer):
    """A throttle with a hundredth of the usual delays, because time is a parameter."""

    async def delay_for(self, name: str, now: float) -> float:
        return await super().delay_for(name, now) / 100


class Clerk(pb.Perspective):
    """A user that has logged in."""

    def perspective_probe(self) -> int:
        return 7


class WatchedApplication(pb.Application):
    """An application whose connections are watched."""

    subject: Subject

    def root_object(self, connection: Any) -> Any:
        self.subject.watch_connection(connection)
        return super().root_object(connection)


class Log(logging.Handler):
    """Keeps the lines that an operator would read."""

    def __init__(self) -> None:
        super().__init__(logging.INFO)
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(f"{record.levelname} {self.format(record)}")


class Subject:
    """The requests over the control socket.

    Attributes:
        ticks: calls of the bystander so far.
        gap: the longest time of one of them, in seconds.
        bystanders: their connections, which the checks ignore.
    """

    def __init__(self, desk_class: type[Desk]) -> None:
        self._desk_class = desk_class
        self.ticks = 0
        self.gap = 0.0
        self.bystanders: set[Driver] = set()
        self._log = Log()
        self._servers: dict[str, pb.Server] = {}
        self._causes: list[str] = []
        self._outcomes: list[list[str]] = []
        self._tasks: set[asyncio.Task[None]] = set()
        self._longest = 0.0
        self._last = time.thread_time()

    # -- events

    def desk_for(self, connection: pb.Connection) -> Desk:
        """Return the desk of a new connection."""
        desk = self._desk_class(self, connection)
        self.watch_connection(connection)
        connection.on_disconnect(desk.gone)
        return desk

    def watch_connection(self, connection: pb.Connection) -> None:
        """Note how a connection ends."""
        connection.on_disconnect(lambda connection: self._causes.append(connection.close_cause.code))  # type: ignore[union-attr]

    def watch(self, what: str, promise: pb.Promise) -> None:
        """Note how a call of ours ends."""

        def note(promise: Any) -> None:
            error = promise.exception()
            ended = "value" if error is None else type(error).__name__
            self._outcomes.append([what, ended, getattr(error, "type", "")])

        promise.add_done_callback(note)

    def _beat(self) -> None:
        """Note how long the loop has worked at a stretch, in processor time: other programs do not count."""
        now = time.thread_time()
        self._longest = max(self._longest, now - self._last)
        self._last = now
        asyncio.get_running_loop().call_later(BEAT, self._beat)

    # -- requests

    def do_begin(self, memory: bool = False) -> dict[str, Any]:
        """Reset the records; with ``memory`` record the allocations from now on."""
        gc.collect()
        self._causes.clear()
        self._outcomes.clear()
        self._log.lines.clear()
        tracemalloc.stop()
        if memory:
            tracemalloc.start()
        state = self.do_state()
        self._longest = self.gap = 0.0
        self._last = time.thread_time()
        return state

    def do_state(self) -> dict[str, Any]:
        """Report the state of the process."""
        longest, gap = self._longest, self.gap
        peak = 0
        if tracemalloc.is_tracing():
            peak = tracemalloc.get_traced_memory()[1]
        gc.collect()
        self._last = time.thread_time()  # the time of the collection is not counted
        connections = [thing for thing in gc.get_objects() if issubclass(type(thing), pb.Connection)]
        others = [connection for connection in connections if driver_of(connection) not in self.bystanders]
        alive = [connection for connection in others if connection.close_cause is None]
        return {
            "connections": sorted(
                (asdict(connection.statistics()) for connection in alive), key=lambda s: s["bytes_received"]
            ),
            "remembered": len(others),
            "tasks": len(asyncio.all_tasks()) - len(self._tasks),
            "causes": self._causes,
            "outcomes": self._outcomes,
            "log": self._log.lines,
            "ticks": self.ticks,
            "longest": longest,
            "gap": gap,
            "peak": peak,
        }

    def do_connect(self, url: str, dialect: str, limits: str) -> dict[str, Any]:
        """Connect to a hostile server, and call it."""
        task = asyncio.get_running_loop().create_task(self._connect(url, dialect, limits))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return {}

    async def _connect(self, url: str, dialect: str, limits: str) -> None:
        try:
            root = await pb.connect(
                url, limits=LIMITS[limits], dialects=[dialect], registry=registry, policy=POLICY, timeout=None
            )
        except (pb.ProtocolError, pb.ConnectionLost) as error:
            self._causes.append(error.code)
            return
        self.watch("meet", root.call("meet", self.desk_for(root.connection)))

    # -- life

    async def run(self, control: socket.socket) -> None:
        """Serve until the control socket is closed."""
        logging.getLogger().addHandler(self._log)
        logging.getLogger("perspective_broker").setLevel(logging.INFO)
        asyncio.get_running_loop().set_debug(False)
        authorizer = PatientAuthorizer(iterations=4096)
        await authorizer.create("alice", "secret", legacy=True)
        await authorizer.grant("alice", "shop")
        application = WatchedApplication("robustness", authorizer)
        application.subject = self
        application.add_service(pb.Service("shop", Clerk))
        for name, limits in LIMITS.items():
            root: Any = application if name == "login" else Serving(self)
            self._servers[name] = await pb.serve(
                root, "tcp://127.0.0.1:0", limits=limits, policy=POLICY, registry=registry
            )
        gc.collect()
        gc.freeze()
        self._beat()
        reader, writer = await asyncio.open_connection(sock=control)
        _say(writer, {name: server.urls[0] for name, server in self._servers.items()})
        while line := await reader.readline():
            question = json.loads(line)
            _say(writer, getattr(self, f"do_{question.pop('do')}")(**question))
        writer.close()
        for server in self._servers.values():
            await server.close()


def _say(writer: asyncio.StreamWriter, answer: Any) -> None:
    writer.write(json.dumps(answer).encode() + b"\n")


def main() -> None:
    """Run with the number of the control socket's descriptor, and ``typed`` for desks with an interface."""
    desk_class = TypedDesk if "typed" in sys.argv else Desk
    with asyncio.Runner(loop_factory=LOOPS[os.environ.get("PB_TEST_LOOP", "asyncio")]) as runner:
        runner.run(Subject(desk_class).run(socket.socket(fileno=int(sys.argv[1]))))


if __name__ == "__main__":
    main()
