"""An event loop in a thread, the threads that wait for it, and its end: by hand, at exit, in a forked child."""

from __future__ import annotations

import asyncio
import atexit
import logging
import os
import sys
import threading
import weakref
from collections.abc import Awaitable, Callable, Coroutine
from contextvars import copy_context
from functools import partial
from time import monotonic
from typing import Any, Final, TypeVar

from ..aio.faces import Face, set_face
from ..aio.runner import loop_factory
from ..errors import DeadlineExceeded, UsageError, with_ran
from .deadlines import seconds_left
from .waiting import Waiting, WaitingForFuture
from .workers import Workers, step_aside

__all__ = ["OF_CONNECT", "Running", "loop_stood_still", "running_of"]

#: Where the usual time limit of a call comes from, for errors.
OF_CONNECT: Final = " (the timeout of connect)"

log: logging.Logger = logging.getLogger("perspective_broker")

_T = TypeVar("_T")

#: Seconds that a process waits for farewells when it ends. The user who ends the program waits as long.
_EXIT_SECONDS: Final = 0.8

#: Seconds that the tasks of a thread which is closed get to end in once they are cancelled.
_TASK_SECONDS: Final = 1.0

_FORKED: Final = "it was made before this process forked, and belongs to the parent: connect again here"
_CLOSED: Final = "the event loop thread that it belongs to is closed: connect again"
_HERE: Final = (
    "the event loop thread itself would wait here, for what only it can do: write an async method and await the call, "
    "or a plain one, which runs in a thread of its own"
)


class Running:
    """An event loop that runs in a thread.

    Args:
        name: of the thread.
        face: makes the face of the loop, given this.

    Attributes:
        loop: the event loop.
        workers: the threads that run what may block.
        ident: of the thread.
        problem: why it cannot be used any more; None while it can.
    """

    def __init__(self, name: str, face: Callable[[Running], Face]) -> None:
        self.loop: asyncio.AbstractEventLoop = (loop_factory() or asyncio.new_event_loop)()
        self.workers: Workers = Workers(name)
        self.problem: str | None = None
        self._transports: weakref.WeakSet[asyncio.BaseTransport] = weakref.WeakSet()
        self._waiting: set[Waiting] = set()
        self._closers: dict[object, Callable[[], Awaitable[object]]] = {}
        set_face(self.loop, face(self))
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        try:
            self._thread.start()
        except RuntimeError as error:
            self.loop.close()
            raise UsageError(f"no event loop thread can be started: {error}") from None
        self.ident: int | None = self._thread.ident
        _all.append(self)
        _also_in_children_of_multiprocessing()

    # -- threads that wait

    @property
    def is_here(self) -> bool:
        """Whether the caller is in the event loop's own thread."""
        return threading.get_ident() == self.ident

    def check(self) -> None:
        """Raise UsageError if a thread cannot wait here."""
        if self.problem is not None:
            raise UsageError(self.problem)
        if threading.get_ident() == self.ident:
            raise UsageError(_HERE)

    def wait(self, waiting: Waiting, timeout: float | None, name: str = "", where: str = "") -> Any:
        """Begin something in the event loop, wait for its outcome, and return or raise that.

        Args:
            waiting: begins it.
            timeout: seconds; a deadline takes its place. None for no end.
            name: of what is waited for, for errors.
            where: the time limit comes from there, for errors.

        Raises:
            UsageError: this is the event loop's thread, or it has ended.
            DeadlineExceeded: there was no outcome in time; it was given up.
        """
        self.check()
        left = seconds_left()
        if left is not None:
            if left <= 0:
                raise with_ran(DeadlineExceeded(f"{name}: the deadline had passed before"), False)
            timeout = left
        step_aside()
        self._waiting.add(waiting)
        try:
            try:
                self.loop.call_soon_threadsafe(waiting.begin)
            except RuntimeError:
                raise UsageError(self.problem or _CLOSED) from None
            in_time = waiting.sleep(timeout)
        except BaseException:  # KeyboardInterrupt above all
            self.soon(waiting.give_up)
            raise
        finally:
            self._waiting.discard(waiting)
        if in_time:
            return waiting.outcome()
        self.soon(waiting.give_up)
        assert timeout is not None
        raise DeadlineExceeded(_late(name, timeout, "" if left is not None else where))

    def run(self, coroutine: Coroutine[Any, Any, _T], timeout: float | None = None, name: str = "") -> _T:
        """Run a coroutine in the event loop, and wait for it; see :meth:`wait`."""
        begun = False

        def begin() -> asyncio.Future[_T]:
            nonlocal begun
            begun = True
            return self.loop.create_task(coroutine)

        def close() -> None:
            if not begun:
                coroutine.close()

        try:
            result: _T = self.wait(WaitingForFuture(begin), timeout, name)
        except BaseException:
            if not self.soon(close):  # behind the attempt to begin
                close()
            raise
        return result

    def soon(self, function: Callable[..., object], *args: Any) -> bool:
        """Call a function in the event loop, without waiting; return False if that has ended."""
        try:
            self.loop.call_soon_threadsafe(function, *args)
        except RuntimeError:
            return False
        return True

    async def in_worker(self, function: Callable[[], _T]) -> _T:
        """Run a function that may block in a thread of its own, and return its result."""
        outcome: asyncio.Future[_T] = self.loop.create_future()
        context = copy_context()

        def work() -> None:
            try:
                report = partial(_settle, outcome, context.run(function), None)
            except BaseException as error:
                report = partial(_settle, outcome, None, error)
            self.soon(report)

        self.workers.run(work)
        return await outcome

    def report(self, text: str, error: BaseException) -> None:
        """Log an error that no caller sees."""
        log.error(text, exc_info=error)

    # -- what is closed with it

    def keep(self, owner: object, close: Callable[[], Awaitable[object]]) -> None:
        """Have ``close`` called, in the loop, before the loop ends."""
        self._closers[owner] = close

    def forget(self, owner: object) -> None:
        """``owner`` is closed."""
        self._closers.pop(owner, None)

    def close(self, until: float) -> None:
        """End all connections and then the thread.

        Args:
            until: by ``monotonic()``, it is given up by then, whatever still runs.
        """
        self.begin_close(until)
        self.join(until)

    def begin_close(self, until: float) -> None:
        """Begin to end; :meth:`join` waits for it."""
        if self.problem is None:
            self.problem = _CLOSED
            self.soon(self._begin_end, until)

    def join(self, until: float) -> None:
        """Wait for the thread."""
        self._thread.join(max(0.0, until - monotonic()))
        self.workers.close(until)

    def _begin_end(self, until: float) -> None:
        self._ending = self.loop.create_task(self._end(until))

    async def _end(self, until: float) -> None:
        closing = [asyncio.ensure_future(_quietly(close)) for close in list(self._closers.values())]
        if closing:
            _, late = await asyncio.wait(closing, timeout=max(0.0, until - monotonic()))
            for task in late:
                task.cancel()
        self.loop.stop()

    # -- the thread

    def _run(self) -> None:
        loop = self.loop
        try:
            loop.run_forever()
            loop.run_until_complete(_end_tasks())
            loop.run_until_complete(loop.shutdown_asyncgens())
            self._wake_all()
            loop.run_until_complete(loop.shutdown_default_executor())  # takes as long as what runs there
        finally:
            loop.close()
            if self in _all:
                _all.remove(self)
            self._wake_all()  # a thread that comes after this finds the loop closed

    def _wake_all(self) -> None:
        if self.problem is None:
            self.problem = _CLOSED
        for waiting in list(self._waiting):
            waiting.fail(UsageError(self.problem))

    # -- forks

    def opened(self, transport: asyncio.BaseTransport) -> None:
        """Note the socket of a connection, which a forked child must not share."""
        if transport.get_extra_info("socket") is not None:
            self._transports.add(transport)

    def left_in_parent(self) -> None:
        """This is a forked child, without the thread: let go of the sockets, so that they end with the parent.

        Their numbers stay taken. What Python does to them at the end of this process then concerns nothing.
        """
        self.problem = _FORKED
        self._waiting.clear()
        nothing = os.open(os.devnull, os.O_RDWR)
        for transport in self._transports:
            descriptor = -1 if transport.is_closing() else transport.get_extra_info("socket").fileno()
            if descriptor >= 0:
                os.dup2(nothing, descriptor, inheritable=False)
        os.close(nothing)


def _settle(outcome: asyncio.Future[Any], value: Any, error: BaseException | None) -> None:
    if outcome.done():
        return
    if error is None:
        outcome.set_result(value)
    else:
        outcome.set_exception(
            RuntimeError("it raised StopIteration") if isinstance(error, StopIteration) else error
        )


async def _quietly(close: Callable[[], Awaitable[object]]) -> None:
    try:
        await close()
    except Exception as error:
        log.debug("a connection did not end in order: %s", type(error).__name__)


async def _end_tasks() -> None:
    """Cancel the tasks that are left, and give them some time."""
    left = asyncio.all_tasks() - {asyncio.current_task()}
    for task in left:
        task.cancel()
    if left:
        await asyncio.wait(left, timeout=_TASK_SECONDS)


def _late(name: str, timeout: float, where: str) -> str:
    """Return the text of the error for a call without an answer."""
    text = f"{name or 'it'}: no answer within {timeout:.3g} s{where}; the call was given up"
    return text + loop_stood_still()


def loop_stood_still() -> str:
    """Return a hint where the thread that has waited has an event loop of its own; else nothing."""
    if asyncio._get_running_loop() is None:
        return ""
    return (
        ". An event loop runs in this thread, and stood still meanwhile: a server in that loop cannot answer. "
        "Await the call with the asyncio face, or make it in asyncio.to_thread"
    )


# -- the process


def running_of(loop: asyncio.AbstractEventLoop) -> Running | None:
    """Return what runs a loop, or has run it; None for a loop of the program's own."""
    return next((running for running in (*_all, *_left) if running.loop is loop), None)


#: Those that run.
_all: Final[list[Running]] = []


def _in_child() -> None:
    for running in _all:
        running.left_in_parent()
    _left.extend(_all)
    _all.clear()


#: Of the parent of this process. An object of theirs that is never freed does nothing to the parent.
_left: Final[list[Running]] = []


def _at_exit() -> None:
    until = monotonic() + _EXIT_SECONDS
    ending = list(_all)
    for running in ending:
        running.begin_close(until)
    for running in ending:
        running.join(until + 0.1)


def _also_in_children_of_multiprocessing() -> None:
    """Have a process of multiprocessing call :func:`_at_exit`, because it leaves without atexit before Python 3.14."""
    process = sys.modules.get("multiprocessing.process")
    if process is not None and process.parent_process() is not None:
        from multiprocessing.util import Finalize

        Finalize(None, _at_exit, exitpriority=100)


atexit.register(_at_exit)
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_in_child)
