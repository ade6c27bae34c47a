"""One life of a connection: two ends, a link, a program at each end, and one of several ways to end it."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import logging
from collections.abc import Awaitable, Iterator
from dataclasses import dataclass
from itertools import count
from random import Random
from typing import Any, Final

import perspective_broker as pb
from tests.lives.clock import Stuck, VirtualLoop
from tests.lives.ends import End
from tests.lives.history import Finding, History, judge
from tests.lives.link import Link
from tests.lives.programs import MOST_CALLS, Program, run_nested
from tests.lives.values import make_registry

__all__ = ["DIALECTS", "ENDINGS", "Life", "Report"]

DIALECTS: Final = ("pb7", "pb")

#: How a life can end. "quiet": every call has ended, and then the tables are looked at.
ENDINGS: Final = ("quiet", "cut", "A closes", "A leaves", "B closes", "B drains")

#: Virtual seconds after which what has not ended never will: less than any limit that would end it, and more than
#: all the pauses of a life together.
_PATIENCE: Final = 25.0

#: Virtual seconds for what is under way to arrive when no program runs any more.
_SETTLING: Final = 20

_serial = count(1)


@dataclass(frozen=True, slots=True)
class Report:
    """What came of a life.

    Attributes:
        findings: laws that did not hold.
        events: one line for each thing that happened.
        calls: how many were made.
    """

    findings: tuple[Finding, ...]
    events: tuple[str, ...]
    calls: int


@dataclass(frozen=True, slots=True)
class Life:
    """What decides everything that happens.

    Attributes:
        seed: of all that is random.
        dialect: spoken by both ends.
        ending: one of :data:`ENDINGS`.
        slots: ``Limits.calls_in_flight`` of A and of B.
        window: ``Limits.window_bytes`` of A and of B.
        buffer: ``Limits.write_buffer_high`` of A and of B.
        steps: of the main programs of A and of B.
    """

    seed: int
    dialect: str = "pb7"
    ending: str = "quiet"
    slots: tuple[int, int] = (1024, 1024)
    window: tuple[int, int] = (2**20, 2**20)
    buffer: tuple[int, int] = (2**20, 2**20)
    steps: tuple[int, int] = (20, 10)

    @classmethod
    def draw(cls, seed: int) -> Life:
        """Return the life of a seed, with limits and all."""
        random = Random(f"life {seed}")

        def two(*choices: int) -> tuple[int, int]:
            return random.choice(choices), random.choice(choices)

        return cls(
            seed,
            dialect=random.choice(DIALECTS),
            ending=random.choice(("quiet", *ENDINGS)),
            slots=two(1, 1, 2, 3, 8, 1024),
            window=two(1, 200, 2_000, 2**20, 2**20),
            buffer=two(200, 5_000, 2**20, 2**20),
            steps=two(3, 8, 20, 40),
        )

    def run(self) -> Report:
        """Live it, on a loop of its own whose time is virtual."""
        history = History()
        with _watched(history), asyncio.Runner(loop_factory=VirtualLoop) as runner:
            runner.get_loop().set_exception_handler(
                lambda _, context: history.find("unhandled", _text(context))
            )
            try:
                runner.run(_Course(self, history).run())
            except Stuck as error:
                history.find("stuck", str(error))
        return Report(tuple(judge(history)), tuple(history.events), len(history.calls))

    def limits(self, end: int) -> pb.Limits:
        """Return those of A (0) or B (1)."""
        high = self.buffer[end]
        return pb.Limits(
            calls_in_flight=self.slots[end],
            window_bytes=self.window[end],
            write_buffer_high=high,
            write_buffer_low=max(1, high // 4),
        )


class _Course:
    """The course of one life."""

    def __init__(self, life: Life, history: History) -> None:
        self._life = life
        self._history = history
        self._random = Random(f"course {life.seed}")
        self._a, self._b = (
            End(name, history, Random(f"end {name} {life.seed}"), run_nested) for name in ("A", "B")
        )
        self._ends = (self._a, self._b)
        self._mains: list[asyncio.Task[None]] = []

    async def run(self) -> None:
        life, number = self._life, next(_serial)
        root = self._b.make()
        async with contextlib.AsyncExitStack() as stack:
            server = await stack.enter_async_context(
                pb.serve(
                    root,
                    f"memory:life-{number}",
                    limits=life.limits(1),
                    registry=make_registry("B"),
                    dialects=[life.dialect],
                )
            )
            link = Link(server.urls[0], f"memory:link-{number}", Random(f"link {life.seed}"))
            await stack.enter_async_context(link)
            client = await stack.enter_async_context(contextlib.AsyncExitStack())
            reference = await client.enter_async_context(
                pb.connect(
                    link.url, limits=life.limits(0), registry=make_registry("A"), dialects=[life.dialect]
                )
            )
            await reference.call("meet", self._a.make())
            connections = (reference.connection, server.connections[-1])
            self._a.objects.name(reference)
            self._a.pool.append((reference, root.thing))
            del reference, root
            self._begin()
            try:
                await self._end(link, client, server, connections)
            finally:
                await self._clear(link, connections)
        await self._check_nothing_left()

    def _begin(self) -> None:
        for end, steps in zip(self._ends, self._life.steps, strict=True):
            random = Random(f"main {end.name} {self._life.seed}")
            program = Program(end, random, depth=3, main=True)
            self._mains.append(asyncio.create_task(program.run(steps)))

    # -- the endings

    async def _end(
        self,
        link: Link,
        client: contextlib.AsyncExitStack,
        server: pb.Server,
        connections: tuple[pb.Connection, pb.Connection],
    ) -> None:
        ending, history = self._life.ending, self._history
        if ending == "quiet":
            if await self._all_end():
                await self._settle(connections)
            self._check_alive(connections)
            history.closed["A"] = history.note("A closes")
            await self._in_time("close", client.aclose())
            return
        await self._some_calls()
        if ending == "cut":
            history.cut = history.note("the link is cut")
            link.cut()
        elif ending == "B drains":
            history.drained = True
            history.closed["B"] = history.note("B drains")
            await self._in_time("drain", server.close(drain=3))
        elif ending == "B closes":
            history.closed["B"] = history.note("B closes")
            await self._in_time("close", connections[1].close())
        else:
            history.closed["A"] = history.note(ending)
            await self._in_time("close", connections[0].close() if ending == "A closes" else client.aclose())
        await self._all_end()

    async def _some_calls(self) -> None:
        """Wait until some calls were made, or no more will be."""
        enough = asyncio.Event()
        self._history.at_call[self._random.randrange(2, MOST_CALLS // 2)] = enough.set
        made = asyncio.create_task(enough.wait())
        programs = asyncio.create_task(asyncio.wait(self._mains, timeout=_PATIENCE))
        await asyncio.wait([made, programs], return_when=asyncio.FIRST_COMPLETED)
        made.cancel()
        programs.cancel()

    async def _in_time(self, what: str, ending: Awaitable[None]) -> None:
        task = asyncio.ensure_future(ending)
        _, pending = await asyncio.wait([task], timeout=_PATIENCE)
        if pending:
            self._history.find("wedge", f"{what} has not ended")
            task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task

    async def _all_end(self) -> bool:
        """Wait for the programs; return whether they end."""
        tasks = [*self._mains, *self._a.tasks, *self._b.tasks]
        _, pending = await asyncio.wait(tasks, timeout=_PATIENCE)
        later = [task for end in self._ends for task in end.tasks]
        if later and not pending:
            _, pending = await asyncio.wait(later, timeout=_PATIENCE)
        for task in (*tasks, *later):
            if task.done() and not task.cancelled() and (error := task.exception()) is not None:
                raise error
        if pending:
            self._history.find("wedge", f"not ended: {', '.join(self._history.unfinished())}")
        return not pending

    # -- what is looked at when every call has ended

    def _check_alive(self, connections: tuple[pb.Connection, pb.Connection]) -> None:
        for end, connection in zip(self._ends, connections, strict=True):
            cause = connection.close_cause
            if cause is not None:
                self._history.cut = 0
                self._history.find(
                    "ended", f"{end.name}'s connection ended by itself: {cause.code}: {cause.reason}"
                )

    async def _settle(self, connections: tuple[pb.Connection, pb.Connection]) -> None:
        """Drop everything, and wait until both ends hold nothing of each other."""
        self._mains.clear()
        await asyncio.sleep(1)
        stale = [
            *self._a.objects.stale_replicas(self._b.objects),
            *self._b.objects.stale_replicas(self._a.objects),
        ]
        if stale:
            self._history.find("replica", "; ".join(stale))
        for end in self._ends:
            end.drop()
        left: list[str] = []
        for _ in range(_SETTLING):
            gc.collect()
            await asyncio.sleep(1)
            left = [
                f"{end.name}: {leak}"
                for end, held in zip(self._ends, connections, strict=True)
                for leak in _leaks(held)
            ]
            left += [f"{end.name}: {end.streams} streams" for end in self._ends if end.streams]
            if not left:
                return
        self._history.find("tables", "; ".join(left))

    async def _check_nothing_left(self) -> None:
        """Look for what goes on for ever although everything is closed."""
        tasks = asyncio.all_tasks() - {asyncio.current_task()}
        if tasks:
            _, tasks = await asyncio.wait(tasks, timeout=_PATIENCE)
        left = [f"{end.name}: {end.streams} streams" for end in self._ends if end.streams]
        left += [f"{end.name}: {text}" for end in self._ends for text in end.objects.observed()]
        if tasks:
            left.append(
                f"{len(tasks)} tasks, {', '.join(sorted({str(task.get_coro()) for task in tasks}))[:200]}"
            )
        if left:
            self._history.find("left", "; ".join(left))

    async def _clear(self, link: Link, connections: tuple[pb.Connection, pb.Connection]) -> None:
        """End what a finding has left, so that the next life begins with nothing."""
        for end in self._ends:
            end.drop()
        if self._history.ended is None:
            self._history.cut = len(self._history.events)
        for connection in connections:
            connection.end()
        link.cut()
        tasks = [*self._mains, *self._a.tasks, *self._b.tasks]
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks, timeout=_PATIENCE)


#: Numbers of :class:`perspective_broker.Statistics` that say nothing of what is held.
_NOT_HELD: Final = frozenset(
    {"phase", "dialect", "bytes_received", "bytes_sent", "messages_received", "ignored"}
)


def _leaks(connection: pb.Connection) -> list[str]:
    statistics = connection.statistics()
    names = [name for name in type(statistics).__dataclass_fields__ if name not in _NOT_HELD]
    return [f"{name} {number}" for name in names if (number := getattr(statistics, name))]


def _text(context: dict[str, Any]) -> str:
    error = context.get("exception")
    return f"{context['message']}: {type(error).__name__}: {error}" if error else str(context["message"])


class _Complaints(logging.Handler):
    """Takes what the library logs as an error of its own."""

    def __init__(self, history: History) -> None:
        super().__init__(logging.ERROR)
        self._history = history

    def emit(self, record: logging.LogRecord) -> None:
        text, error = record.getMessage(), record.exc_info[1] if record.exc_info else None
        if "given back" not in text or not self._history.released:
            self._history.find(
                "logged", f"{text:.300}" + (f" {type(error).__name__}: {error}" if error else "")
            )


@contextlib.contextmanager
def _watched(history: History) -> Iterator[None]:
    """Take the library's complaints, and collect garbage only where the program says so."""
    log, complaints = logging.getLogger("perspective_broker"), _Complaints(history)
    propagates, collects = log.propagate, gc.isenabled()
    log.addHandler(complaints)
    log.propagate = False
    gc.disable()
    try:
        yield
    finally:
        log.removeHandler(complaints)
        log.propagate = propagates
        if collects:
            gc.enable()
