"""The course of one life: two or three ends, a link for each connection, a program at each end, and an ending."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import Awaitable
from contextlib import AsyncExitStack, suppress
from dataclasses import dataclass
from random import Random
from typing import TYPE_CHECKING, Final

import perspective_broker as pb
from tests.lives.ends import End, Node
from tests.lives.history import History
from tests.lives.link import Link
from tests.lives.programs import Program, run_nested
from tests.lives.values import make_registry

if TYPE_CHECKING:
    from tests.lives.life import Life

__all__ = ["ENDINGS", "Course"]

#: How a life can end. "quiet": every call has ended, and then the tables are looked at.
ENDINGS: Final = ("quiet", "cut", "A closes", "A leaves", "B closes", "B drains")

#: Virtual seconds after which what has not ended never will: less than any limit that would end it, and more than
#: all the pauses of a life together.
_PATIENCE: Final = 25.0

#: Virtual seconds for what is under way to arrive when no program runs any more.
_SETTLING: Final = 20

#: Virtual seconds that calls get when B drains; some take longer.
_DRAIN: Final = 0.02

#: Before so many calls a life ends that does not end quietly.
_ENOUGH: Final = 75

#: Numbers of :class:`perspective_broker.annotations.Statistics` that say nothing of what is held.
_NOT_HELD: Final = frozenset(
    {"phase", "dialect", "bytes_received", "bytes_sent", "messages_received", "ignored"}
)


@dataclass(frozen=True, slots=True)
class _Client:
    """One end that connects to B.

    Attributes:
        end: A or C.
        link: between it and B.
        leave: closes its connection as the end of ``async with`` does.
        near, far: the connection, as it and as B sees it.
    """

    end: End
    link: Link
    leave: AsyncExitStack
    near: pb.Connection
    far: pb.Connection


class Course:
    """Runs one life.

    Args:
        life: what decides.
        history: where everything is recorded.
    """

    def __init__(self, life: Life, history: History) -> None:
        self._life = life
        self._history = history
        self._random = Random(f"course {life.seed}")
        self._ends = [
            End(name, history, Random(f"end {name} {life.seed}"), run_nested)
            for name in ("ABC" if life.three else "AB")
        ]
        self._clients: list[_Client] = []
        self._mains: list[asyncio.Task[None]] = []

    async def run(self) -> None:
        _, served, *_ = self._ends
        root = served.make()
        async with AsyncExitStack() as stack:
            server = await stack.enter_async_context(
                pb.serve(
                    root,
                    "memory:life",
                    limits=self._life.limits(served.name),
                    registry=make_registry(served.name),
                    dialects=[self._life.dialect],
                    forward=self._life.forwards,
                )
            )
            for end in self._ends:
                if end is not served:
                    await self._connect(stack, server, end, root, f"memory:link-{end.name}")
            del root
            self._begin()
            try:
                await self._end(server)
            finally:
                await self._clear()
        await self._check_nothing_left()

    async def _connect(
        self, stack: AsyncExitStack, server: pb.Server, end: End, root: Node, url: str
    ) -> None:
        life = self._life
        link = Link(server.urls[0], url, Random(f"link {end.name} {life.seed}"))
        await stack.enter_async_context(link)
        leave = await stack.enter_async_context(AsyncExitStack())
        reference = await leave.enter_async_context(
            pb.connect(
                url, limits=life.limits(end.name), registry=make_registry(end.name), dialects=[life.dialect]
            )
        )
        node = end.make()
        await reference.call("meet", node, end.name)
        end.objects.name(reference)
        end.pool.append((reference, root.thing))
        self._clients.append(_Client(end, link, leave, reference.connection, server.connections[-1]))

    def _begin(self) -> None:
        for end in self._ends:
            steps = self._life.steps[int(end.name == "B")]
            program = Program(end, Random(f"main {end.name} {self._life.seed}"), depth=3, main=True)
            self._mains.append(asyncio.create_task(program.run(steps)))

    # -- the endings: of the first client's connection, or of the server

    async def _end(self, server: pb.Server) -> None:
        ending, history, first = self._life.ending, self._history, self._clients[0]
        if ending == "quiet":
            if await self._all_end():
                await self._settle()
            self._check_alive()
            self._closes("A")
            await self._in_time("close", first.leave.aclose())
            return
        await self._some_calls()
        if ending == "cut":
            history.cut = history.note("the link is cut")
            first.link.cut()
        elif ending == "B drains":
            history.drained = True
            self._closes("B")
            await self._in_time("drain", server.close(drain=_DRAIN))
        elif ending == "B closes":
            self._closes("B")
            await self._in_time("close", first.far.close())
        else:
            self._closes("A")
            await self._in_time("close", first.near.close() if ending == "A closes" else first.leave.aclose())
        await self._all_end()

    def _closes(self, name: str) -> None:
        self._history.closed[name] = self._history.note(f"{name} closes")

    async def _some_calls(self) -> None:
        """Wait until some calls were made, or no more will be."""
        enough = asyncio.Event()
        self._history.at_call[self._random.randrange(2, _ENOUGH)] = enough.set
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
        with suppress(asyncio.CancelledError):
            await task

    async def _all_end(self) -> bool:
        """Wait for the programs, and what they have begun; return whether they end."""
        pending: set[asyncio.Task[None]] = set()
        waited = 0
        while waited < len(tasks := self._tasks()) and not pending:
            waited = len(tasks)
            _, pending = await asyncio.wait(tasks, timeout=_PATIENCE)
        for task in self._tasks():
            if task.done() and not task.cancelled() and (error := task.exception()) is not None:
                self._history.find("raised", f"in a program: {type(error).__name__}: {error}")
        if pending:
            self._history.find("wedge", f"not ended: {', '.join(self._history.unfinished())}")
        return not pending

    def _tasks(self) -> list[asyncio.Task[None]]:
        return [*self._mains, *(task for end in self._ends for task in end.tasks)]

    # -- what is looked at

    def _check_alive(self) -> None:
        """Find connections that have ended by themselves."""
        for name, connection in self._connections():
            if (cause := connection.close_cause) is not None:
                self._history.cut = 0
                self._history.find("ended", f"{name}: {cause.code}: {cause.reason}")

    async def _settle(self) -> None:
        """Compare replicas; then drop everything, and wait until no end holds anything of another."""
        self._mains.clear()
        await asyncio.sleep(1)
        for end in self._ends:
            for owner in self._ends:
                if stale := end.objects.stale_replicas(owner.objects):
                    self._history.find("replica", "; ".join(stale))
        for end in self._ends:
            end.drop()
        for _ in range(_SETTLING):
            gc.collect()
            await asyncio.sleep(1)
            left = [f"{name}: {leak}" for name, held in self._connections() for leak in _leaks(held)]
            left += [f"{end.name}: {end.streams} streams" for end in self._ends if end.streams]
            if not left:
                return
        self._history.find("tables", "; ".join(left))

    async def _check_nothing_left(self) -> None:
        """Find what goes on for ever although everything is closed."""
        tasks = asyncio.all_tasks() - {asyncio.current_task()}
        if tasks:
            _, tasks = await asyncio.wait(tasks, timeout=_PATIENCE)
        left = [f"{end.name}: {end.streams} streams" for end in self._ends if end.streams]
        left += [f"{end.name}: {text}" for end in self._ends for text in end.objects.observed()]
        left += sorted(f"task {getattr(task.get_coro(), '__qualname__', '?')}" for task in tasks)
        if left:
            self._history.find("left", "; ".join(left))

    def _connections(self) -> list[tuple[str, pb.Connection]]:
        sides = [((one.end.name, one.near), (f"B for {one.end.name}", one.far)) for one in self._clients]
        return [side for both in sides for side in both]

    async def _clear(self) -> None:
        """End what a finding has left, so that the next life begins with nothing."""
        for end in self._ends:
            end.drop()
        if self._history.ended is None:
            self._history.cut = len(self._history.events)
        for _, connection in self._connections():
            connection.end()
        for client in self._clients:
            client.link.cut()
        for task in self._tasks():
            task.cancel()
        if tasks := self._tasks():
            await asyncio.wait(tasks, timeout=_PATIENCE)


def _leaks(connection: pb.Connection) -> list[str]:
    statistics = connection.statistics()
    names = [name for name in type(statistics).__dataclass_fields__ if name not in _NOT_HELD]
    return [f"{name} {number}" for name in names if (number := getattr(statistics, name))]
