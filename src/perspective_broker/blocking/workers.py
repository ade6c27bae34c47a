"""Workers: threads that run what may block: plain methods that a peer calls, generators, files.

The plain methods of one connection run one after another, in the order of their calls, as they would in an event loop:
its :class:`Lane`. A method that waits for an answer by this face gives the lane away, because that answer may depend on
the next one::

    call 1 ──▶ Lane ──▶ worker A: method 1 ── waits for an answer ┄┄┄┄┄┄┄┄┄▶ goes on
    call 2 ──▶   └────────────────────────────▶ worker B: method 2

So there are as many threads as connections with a method that runs, and methods that wait. A thread that has nothing
to do ends after some seconds.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from time import monotonic
from typing import Final

__all__ = ["Job", "Lane", "Workers", "step_aside"]

#: Seconds that a thread waits for more to do. Starting one takes about 0.1 ms.
_IDLE_SECONDS: Final = 5.0


class Workers:
    """The threads of one event loop thread.

    Args:
        name: how the threads are called.
    """

    def __init__(self, name: str) -> None:
        self._name = name
        self._lock = threading.Lock()
        self._idle: list[_Worker] = []
        self._all: set[_Worker] = set()
        self._closed = False

    def run(self, work: Callable[[], None]) -> None:
        """Run ``work``, which never raises, in a thread.

        Raises:
            RuntimeError: no thread can be started, or the workers are closed.
        """
        with self._lock:
            if self._closed:
                raise RuntimeError("the event loop thread is closed")
            if self._idle:
                self._idle.pop().give(work)
                return
            worker = _Worker(self, f"{self._name} worker", work)
            self._all.add(worker)
        try:
            worker.start()
        except RuntimeError:
            self.left(worker)
            raise

    def close(self, until: float) -> None:
        """Take no more work, and wait for what runs until that time by ``monotonic()``."""
        with self._lock:
            self._closed = True
            idle, self._idle = self._idle, []
            threads = list(self._all)
        for worker in idle:
            worker.give(None)
        for worker in threads:
            worker.join(max(0.0, until - monotonic()))

    def rest(self, worker: _Worker) -> bool:
        """Note that ``worker`` has nothing to do; return whether it shall wait for more."""
        with self._lock:
            if not self._closed:
                self._idle.append(worker)
            return not self._closed

    def leave(self, worker: _Worker) -> bool:
        """Return whether ``worker`` may end: nothing was given to it meanwhile."""
        with self._lock:
            if worker not in self._idle:
                return False
            self._idle.remove(worker)
            return True

    def left(self, worker: _Worker) -> None:
        """Forget a worker that has ended."""
        with self._lock:
            self._all.discard(worker)


class _Worker:
    """One thread."""

    def __init__(self, workers: Workers, name: str, work: Callable[[], None]) -> None:
        self._workers = workers
        self._work: Callable[[], None] | None = work
        self._given = threading.Lock()
        self._given.acquire()
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self.start: Callable[[], None] = self._thread.start

    def give(self, work: Callable[[], None] | None) -> None:
        """Give the thread, which waits, more to do; None ends it."""
        self._work = work
        self._given.release()

    def join(self, seconds: float) -> None:
        if self._thread.is_alive() and self._thread is not threading.current_thread():
            self._thread.join(seconds)

    def _run(self) -> None:
        try:
            while (work := self._work) is not None:
                work()
                self._work = work = None  # or what it refers to would live as long as the thread
                if not self._workers.rest(self):
                    return
                if not self._given.acquire(timeout=_IDLE_SECONDS):
                    if self._workers.leave(self):
                        return
                    self._given.acquire()
        finally:
            self._workers.left(self)


class Job:
    """A method that runs in a worker, or will.

    Args:
        lane: whose turn it takes.
        work: runs the method and reports its outcome; never raises.
        refuse: is called with the error when there is no thread for it.
    """

    __slots__ = ("_lane", "refuse", "work")

    def __init__(
        self, lane: Lane, work: Callable[[], None], refuse: Callable[[RuntimeError], object]
    ) -> None:
        self._lane = lane
        self.work: Callable[[], None] = work
        self.refuse: Callable[[RuntimeError], object] = refuse

    def run(self) -> None:
        """Run this and what comes after it."""
        job: Job | None = self
        while job is not None:
            _running.job = job
            try:
                job.work()
            finally:
                _running.job = None
            job = self._lane.after(job)

    def step_aside(self) -> None:
        """Let the next job begin, because this one waits."""
        job = self._lane.after(self)
        if job is not None:
            self._lane.start(job)


class Lane:
    """The plain methods of one connection: one at a time, in order."""

    def __init__(self, workers: Workers) -> None:
        self._workers = workers
        self._lock = threading.Lock()
        self._queue: deque[Job] = deque()
        self._current: Job | None = None

    def put(self, job: Job) -> None:
        """Run ``job`` when it is its turn."""
        with self._lock:
            if self._current is not None:
                self._queue.append(job)
                return
            self._current = job
        self.start(job)

    def after(self, job: Job) -> Job | None:
        """``job`` needs the lane no more; return what has its turn now, if anything."""
        with self._lock:
            if self._current is not job:
                return None  # it has given the lane away before
            self._current = self._queue.popleft() if self._queue else None
            return self._current

    def start(self, job: Job | None) -> None:
        """Run a job that has its turn."""
        while job is not None:
            try:
                self._workers.run(job.run)
                return
            except RuntimeError as error:
                job.refuse(error)
                job = self.after(job)


class _Running(threading.local):
    """The job of each thread."""

    job: Job | None = None


_running: Final = _Running()


def step_aside() -> None:
    """Give the lane away, if this thread runs a job: it will wait."""
    job = _running.job
    if job is not None:
        job.step_aside()
