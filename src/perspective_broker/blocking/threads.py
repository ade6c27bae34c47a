"""EventLoopThread: the event loops of threads, as programs know them.

What runs is a :class:`.Running`: a loop, a thread, and what was connected there. When it has ended, or when the process
has forked, its connections are gone for good, and the next use of the ``EventLoopThread`` starts another one::

    EventLoopThread ──▶ Running 1 (closed, or left in the parent: UsageError says why)
                    ──▶ Running 2 ──▶ loop, thread, workers
"""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import Coroutine
from time import monotonic
from types import TracebackType
from typing import Any, TypeVar

from .links import Links
from .running import Running

__all__ = ["EventLoopThread"]

_T = TypeVar("_T")


class EventLoopThread:
    """One event loop in a thread of its own, in which connections live while the program waits in others.

    :func:`connect` and :func:`serve` share one, :meth:`shared`, which starts with the first of them and ends with the
    process. One's own, ``with EventLoopThread() as thread:``, and ``thread=thread`` as an argument of these functions,
    keeps the connections of a part of a program apart, and ends them with the block.

    Args:
        name: of the thread, for debuggers.
    """

    def __init__(self, name: str = "perspective_broker") -> None:
        self._name = name
        self._running: Running | None = None

    @classmethod
    def shared(cls) -> EventLoopThread:
        """Return the one that the process shares."""
        return _shared

    @property
    def loop(self) -> asyncio.AbstractEventLoop:
        """The event loop. It is started if it does not run."""
        return self.running().loop

    def run(self, coroutine: Coroutine[Any, Any, _T], timeout: float | None = None) -> _T:
        """Run a coroutine in the event loop, and wait for its result. Ctrl-C cancels it.

        Args:
            coroutine: may use the asyncio face: ``await pb.connect(...)``, ``await reference.call(...)``.
            timeout: seconds, after which it is cancelled; None for no end but that of a :func:`deadline`.

        Raises:
            UsageError: this is the thread of the event loop.
            DeadlineExceeded: it took longer.
        """
        return self.running().run(coroutine, timeout, getattr(coroutine, "__name__", ""))

    def close(self, timeout: float = 5) -> None:
        """End all connections and servers of the thread, and the thread. The next use starts another one.

        Args:
            timeout: seconds that this may take.

        Raises:
            UsageError: this is the thread of the event loop.
        """
        running = self._running
        if running is not None and running.problem is None:
            running.check()
            running.close(monotonic() + timeout)

    def running(self) -> Running:
        """Return what runs, started if necessary (for the library)."""
        running = self._running
        if running is not None and running.problem is None:
            return running
        with _starting:
            if self._running is None or self._running.problem is not None:
                self._running = Running(self._name, Links)
            return self._running

    def __enter__(self) -> EventLoopThread:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()


_shared = EventLoopThread()
_starting = threading.Lock()


def _in_child() -> None:
    global _starting
    _starting = threading.Lock()  # a thread of the parent may have held it


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_in_child)
