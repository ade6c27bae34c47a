"""Waiting: a thread hands something to the event loop and sleeps until it has an outcome.

::

    thread                                    event loop
      Waiting ── call_soon_threadsafe ──────▶ begin: makes the call, which is sent
      sleeps on a lock                          ...
      wakes ◀── the lock is released ──────── succeed, fail: it has its outcome
      Ctrl-C, time is up ───────────────────▶ give_up: cancels the call

A lock is the cheapest thing that a thread can sleep on.
"""

from __future__ import annotations

import asyncio
from _thread import allocate_lock
from abc import ABC, abstractmethod
from collections.abc import Callable
from concurrent.futures import CancelledError
from threading import TIMEOUT_MAX, Lock, get_ident, main_thread
from time import monotonic
from typing import Any, Final

__all__ = ["Waiting", "WaitingForFuture", "acquire"]

#: The main thread looks up so often, in seconds. A signal wakes a thread that sleeps on a lock, but not on Windows, and
#: nowhere when it comes right before the thread sleeps.
LOOK_UP_SECONDS: Final = 0.2


class Waiting(ABC):
    """One thread that waits for one outcome."""

    __slots__ = ("_error", "_lock", "_woken", "given_up", "value")

    def __init__(self) -> None:
        self._lock = allocate_lock()
        self._lock.acquire()
        self._woken = False
        self._error: BaseException | None = None
        self.value: Any = None
        self.given_up: bool = False

    # -- in the thread

    def sleep(self, seconds: float | None) -> bool:
        """Sleep until there is an outcome; return False if the time was up before."""
        return acquire(self._lock, seconds)

    def outcome(self) -> Any:
        """Return the outcome, or raise it."""
        error, self._error = self._error, None
        if error is None:
            return self.value
        try:
            raise error
        finally:
            del error  # or it would keep the arguments of the call, by way of this frame

    # -- in the event loop

    @abstractmethod
    def begin(self) -> None:
        """Do what has the outcome; called unless it was given up before."""

    @abstractmethod
    def cancel(self) -> None:
        """Cancel what has been begun and has no outcome."""

    def give_up(self) -> None:
        """The thread waits no more."""
        self.given_up = True
        if not self._woken:
            self.cancel()

    def succeed(self, value: Any) -> None:
        """Wake the thread with a value."""
        self.value = value
        self._wake()

    def fail(self, error: BaseException) -> None:
        """Wake the thread with an error."""
        if not self._woken:
            self._error = error
            self._wake()

    def abandon(self) -> None:
        """What it waited for was given up."""
        self.fail(CancelledError("what it waited for was given up"))

    def _wake(self) -> None:
        if not self._woken:
            self._woken = True
            self._lock.release()


class WaitingForFuture(Waiting):
    """A thread that waits for a future.

    Args:
        start: called in the event loop; returns the future.
    """

    __slots__ = ("_future", "_start")

    def __init__(self, start: Callable[[], asyncio.Future[Any]]) -> None:
        super().__init__()
        self._start = start
        self._future: asyncio.Future[Any] | None = None

    def begin(self) -> None:
        if self.given_up:
            return
        try:
            self._future = self._start()
        except BaseException as error:
            self.fail(error)
        else:
            self._future.add_done_callback(self._end)

    def _end(self, future: asyncio.Future[Any]) -> None:
        if future.cancelled():
            self.abandon()
        elif (error := future.exception()) is not None:
            self.fail(error)
        else:
            self.succeed(future.result())

    def cancel(self) -> None:
        if self._future is not None:
            self._future.cancel()


def acquire(lock: Lock, seconds: float | None) -> bool:
    """Wait for a lock, and return whether it was had in time; Ctrl-C ends the wait in the main thread."""
    if seconds is not None and seconds > TIMEOUT_MAX:
        seconds = None
    if get_ident() != main_thread().ident:  # which alone hears of signals
        return lock.acquire(True, -1 if seconds is None else max(0.0, seconds))
    until = None if seconds is None else monotonic() + seconds
    while not lock.acquire(True, _next_look(until)):
        if until is not None and monotonic() >= until:
            return False
    return True


def _next_look(until: float | None) -> float:
    """Return how long to sleep before the next look for a signal."""
    return LOOK_UP_SECONDS if until is None else min(LOOK_UP_SECONDS, max(0.0, until - monotonic()))
