"""The parent of the workers: starts them, replaces what died, and acts on signals."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Sequence
from typing import Final

from ..aio.signals import on_signals
from .attempts import CountedAttempts
from .process import Worker
from .sockets import Bound
from .statistics import WorkerStatistics
from .systemd import Notifier

__all__ = ["Parent"]

log: logging.Logger = logging.getLogger("perspective_broker")

#: A worker that ends within so many seconds of its start has died young.
_YOUNG_SECONDS: Final = 60.0

#: Workers that die young, each within a minute after the one before, until the parent gives up.
_MOST_YOUNG: Final = 5

#: Seconds in which a new worker has to be ready before the one that it replaces stays.
_READY_SECONDS: Final = 60.0

#: Seconds that a worker gets beyond its drain: for the ends of its connections, and of the program.
_GRACE: Final = 15.0

#: The exit code of a worker that was started in a wrong way, which it has explained: others would do the same.
_USAGE: Final = 2


class _Slot:
    """A socket for each url, and the worker that accepts from it.

    Attributes:
        number: from 0.
        wanted: whether it is to have a worker.
        worker: serves in it, or starts; None for a moment.
        next: starts to take the place of ``worker``.
        neighbour: accepts from its socket while ``worker`` does not.
    """

    def __init__(self, number: int) -> None:
        self.number = number
        self.wanted = True
        self.worker: Worker | None = None
        self.next: Worker | None = None
        self.neighbour: Worker | None = None

    @property
    def is_served(self) -> bool:
        worker = self.worker
        return worker is not None and worker.is_ready and not worker.is_leaving


class Parent:
    """Keeps a number of workers serving until it is told to stop.

    Args:
        command: starts a worker.
        bound: the sockets of each url.
        workers: how many.
        drain: seconds that the calls of a worker get to end in.
        notifier: tells the service manager.
    """

    def __init__(
        self, command: Sequence[str], bound: Sequence[Bound], workers: int, drain: float, notifier: Notifier
    ) -> None:
        self._command = command
        self._bound = bound
        self._drain = drain
        self._notifier = notifier
        self._attempts = CountedAttempts()
        self._slots = [_Slot(number) for number in range(workers)]
        self._workers: dict[
            Worker, None
        ] = {}  # all processes that live, in the order in which they were started
        self._young = 0  # how many have died young, none of them more than a minute after the one before
        self._last_young = 0.0
        self._stopping = False
        self._replacing: asyncio.Task[None] | None = None
        self._replace_again = False
        self._reloaded = 0.0  # when the certificates were last read again
        self._done: asyncio.Future[int] | None = None
        self._starting: set[asyncio.Task[None]] = set()
        self._news = asyncio.Event()  # a worker is ready, leaves or has ended
        self._serves = False  # whether all workers were ready once

    async def run(self, ready: Callable[[], object]) -> int:
        """Serve until a signal ends it; return the exit code.

        Args:
            ready: called when all workers serve for the first time.
        """
        done: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        self._done = done
        handlers: dict[str, Callable[[], object]] = {
            "SIGTERM": self.stop,
            "SIGINT": self.stop,
            "SIGHUP": self.reload,
            "SIGUSR1": self.replace,
            "SIGTTIN": self.add,
            "SIGTTOU": self.remove,
        }
        with on_signals(handlers):
            beginning = asyncio.create_task(self._begin(ready))
            try:
                return await done
            finally:
                self._stopping = True
                for task in [beginning, *self._starting, *([self._replacing] if self._replacing else [])]:
                    task.cancel()
                    await asyncio.wait([task])
                await self._end_all()
                self._notifier.close()

    async def _begin(self, ready: Callable[[], object]) -> None:
        first, *others = self._slots
        self._fill(first)  # alone, so that a mistake of the program is reported once
        await self._wait_until_served([first])
        for slot in others:
            if slot.wanted:
                self._fill(slot)
        await self._wait_until_served(others)
        self._serves = True
        ready()
        self._notifier.ready()

    async def _wait_until_served(self, slots: Sequence[_Slot]) -> None:
        while not all(slot.is_served for slot in slots if slot.wanted):
            self._news.clear()
            await self._news.wait()

    # -- signals

    def stop(self) -> None:
        """Have all workers drain; a second time, do not wait for that."""
        if self._stopping:
            for worker in self._workers:
                worker.hurry(_GRACE)
            return
        self._stopping = True
        log.info("stopping")
        self._notifier.stopping()
        for worker in self._workers:
            worker.leave(self._drain, _GRACE, moves=False)
        self._finish_if_empty()

    def reload(self) -> None:
        """Have all workers read the certificates again."""
        self._reloaded = time.monotonic()
        for worker in self._workers:
            worker.tell("reload")
        if self._serves:
            self._notifier.reloading()
            self._notifier.ready()

    def replace(self) -> None:
        """Replace each worker by a new one, one after the other; during a replacement: once more, afterwards."""
        if self._stopping:
            return
        if self._replacing is not None and not self._replacing.done():
            self._replace_again = True
            return
        self._replacing = asyncio.create_task(self._replace_all())

    def add(self) -> None:
        """Have one worker more."""
        if self._stopping:
            return
        for slot in self._slots:
            if not slot.wanted:
                break
        else:
            mosts = [bound.most for bound in self._bound if bound.most is not None]
            if mosts and len(self._slots) >= min(mosts):
                log.error("there are as many workers as sockets were bound for (%d)", min(mosts))
                return
            slot = _Slot(len(self._slots))
            self._slots.append(slot)
        slot.wanted = True
        log.info("one worker more: %d", self.wanted)
        self._fill(slot)

    def remove(self) -> None:
        """Have one worker less, but keep one."""
        if self._stopping or self.wanted == 1:
            return
        slot = [slot for slot in self._slots if slot.wanted][-1]
        slot.wanted = False
        log.info("one worker less: %d", self.wanted)
        for worker in (slot.worker, slot.next):
            if worker is not None:
                worker.leave(self._drain, _GRACE, moves=True)
        slot.worker = slot.next = None
        self._settle()

    @property
    def wanted(self) -> int:
        """How many workers there are to be."""
        return sum(slot.wanted for slot in self._slots)

    # -- looking

    async def statistics(self) -> list[WorkerStatistics]:
        """Return the statistics of each worker. (A monitor of the whole service reads all workers in this way.)"""
        return list(await asyncio.gather(*(worker.statistics() for worker in list(self._workers))))

    # -- slots

    def _fill(self, slot: _Slot) -> None:
        """Start a worker in a slot that has none."""
        slot.worker = self._start(slot)

    def _start(self, slot: _Slot) -> Worker:
        worker = Worker(slot.number, self._changed)
        self._workers[worker] = None
        for bound in self._bound:
            bound.listen(slot.number)
        task = asyncio.create_task(self._start_process(worker))
        self._starting.add(task)
        task.add_done_callback(self._starting.discard)
        return worker

    async def _start_process(self, worker: Worker) -> None:
        try:
            await worker.start(self._command, self._bound, self._attempts)
        except OSError as error:
            log.error("a worker cannot be started: %s", error)

    def _changed(self, worker: Worker) -> None:
        """A worker is ready, leaves or has ended."""
        slot = self._slots[worker.slot]
        if worker.ended.done():
            self._workers.pop(worker, None)
            self._judge(worker)
        elif worker.is_leaving:  # it was told so by somebody else
            log.info("%s leaves, and another takes its place", worker)
        elif worker.began < self._reloaded:
            worker.tell("reload")
        if worker.ended.done() or worker.is_leaving:
            if slot.next is worker:
                slot.next = None
            elif slot.worker is worker:
                slot.worker, slot.next = slot.next, None
        if slot.wanted and slot.worker is None and not self._is_over:
            self._fill(slot)
        self._settle()
        self._news.set()
        self._finish_if_empty()

    @property
    def _is_over(self) -> bool:
        return self._stopping or self._done is None or self._done.done()

    def _judge(self, worker: Worker) -> None:
        """Look at how a worker has ended, and give up if none lives long."""
        if worker.is_leaving or self._is_over:
            return
        if worker.killed_by:
            log.error("%s was killed by %s", worker, worker.killed_by)
        else:
            log.error("%s ended with the exit code %d", worker, worker.returncode)
        assert self._done is not None
        is_first = not worker.was_ready and not any(each.is_ready for each in self._workers)
        if worker.returncode == _USAGE and is_first:
            self._done.set_result(_USAGE)
            return
        now = time.monotonic()
        if now - worker.began > _YOUNG_SECONDS:
            return
        self._young = 1 if now - self._last_young > _YOUNG_SECONDS else self._young + 1
        self._last_young = now
        if self._young >= _MOST_YOUNG:
            log.error(
                "%d workers have ended within %g s of their start; the last lines of the last one:\n%s",
                self._young,
                _YOUNG_SECONDS,
                "\n".join(f"    {line}" for line in worker.last_lines),
            )
            self._done.set_result(1)

    def _settle(self) -> None:
        """See to it that one worker accepts from each socket that listens."""
        ready = [slot.worker for slot in self._slots if slot.is_served and slot.worker is not None]
        for slot in self._slots:
            neighbour = slot.neighbour
            if neighbour is not None and (slot.is_served or neighbour not in ready):
                neighbour.tell("give_back", slot.number)
                slot.neighbour = neighbour = None
            if neighbour is None and not slot.is_served and ready:
                charges = [each.neighbour for each in self._slots]
                slot.neighbour = min(ready, key=charges.count)
                slot.neighbour.tell("accept", slot.number)

    def _finish_if_empty(self) -> None:
        if self._stopping and not self._workers and self._done is not None and not self._done.done():
            self._done.set_result(0)

    # -- replacing

    async def _replace_all(self) -> None:
        while True:
            self._replace_again = False
            log.info("replacing %d workers", self.wanted)
            for slot in list(self._slots):
                if slot.wanted and not self._stopping:
                    await self._replace(slot)
            log.info("replaced")
            if not self._replace_again or self._stopping:
                return

    async def _replace(self, slot: _Slot) -> None:
        """Start a new worker on the socket of a slot; when it is ready, have the old one leave."""
        new = slot.next = self._start(slot)
        try:
            async with asyncio.timeout(_READY_SECONDS):
                await asyncio.shield(new.settled)
        except TimeoutError:
            log.error("%s is not ready within %g s: the old one stays", new, _READY_SECONDS)
            new.kill()
        if not new.is_ready or new.is_leaving:
            if slot.next is new:
                slot.next = None
            if not self._is_over and slot.worker is not None:
                log.error("%s is not replaced", slot.worker)
            return
        if slot.next is not new:  # the old one has died, and its place was taken
            return
        old, slot.worker, slot.next = slot.worker, new, None
        if old is not None:
            old.leave(self._drain, _GRACE, moves=True)
        self._settle()

    async def _end_all(self) -> None:
        """Kill what is left."""
        for worker in list(self._workers):
            worker.kill()
        ends = [worker.ended for worker in self._workers]
        if ends:
            await asyncio.wait(ends)
