"""Methods: runs what the peer calls, plain methods at once and asynchronous ones as tasks, in the order of the calls.

A task begins in a later turn of the loop, and what was called after it must not overtake it. Tasks begin in the order
in which they were made, so asynchronous methods need not wait for each other; plain ones wait for them to begin.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Coroutine, Mapping, Sequence
from contextvars import Context, copy_context
from inspect import CO_COROUTINE
from types import CoroutineType
from typing import Final

from ..ports import Method, Value
from ..queues import Queue, put
from ..session import IncomingCall, IncomingCalls
from .deadlines import Limit, under
from .turns import Turns

__all__ = ["MethodWatcher", "Methods"]

#: Types of the answers of most plain methods. (That a type has no ``__await__`` costs an exception to find out.)
_PLAIN: Final = frozenset({type(None), bool, int, float, str, bytes, list, tuple, dict})


class MethodWatcher:
    """Is told of methods that end; the driver."""

    def method_ended(self) -> None:
        """A method has ended that did not end at once."""
        raise NotImplementedError


class Methods:
    """The methods that run, or will, for one connection.

    Args:
        loop: which runs them.
        turns: counts what encoding the answers of asynchronous methods takes.
        incoming: gets what they return or raise.
        watcher: is told of methods that end.
    """

    __slots__ = ("_incoming", "_loop", "_queue", "_tasks", "_turns", "_unbegun", "_watcher")

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        turns: Turns,
        incoming: IncomingCalls,
        watcher: MethodWatcher,
    ) -> None:
        self._loop = loop
        self._turns = turns
        self._incoming = incoming
        self._watcher = watcher
        self._unbegun = 0  # tasks that were made and have not begun,
        self._queue: Queue[_Call] = ()  # and the calls that must not overtake them
        self._tasks: dict[asyncio.Task[None], _Running] | None = None  # made with the first

    def __len__(self) -> int:
        """Return how many run as tasks."""
        return 0 if self._tasks is None else len(self._tasks)

    def invoke(
        self, call: IncomingCall, method: Method, args: Sequence[Value], kwargs: Mapping[str, Value]
    ) -> None:
        """Run a method, now or as soon as what was called before it has begun; its end is reported to the broker."""
        if self._queue or (self._unbegun and not _is_asynchronous(method)):
            self._queue = put(self._queue, (call, method, args, kwargs))
        elif call.due is None and under.get() is None:
            self._run(call, method, args, kwargs)
        else:
            self._run_limited(call, method, args, kwargs)

    def cancel(self, call: IncomingCall) -> None:
        """Cancel the task that runs for a call; a plain method has ended, and what has not begun is not run."""
        running = call.handle
        if running is not None:
            running.cancel()

    def stop(self) -> bool:
        """Cancel the tasks that were not cancelled before; return whether there were any."""
        running = [task for task in self._tasks or () if not task.cancelling()]
        for task in running:
            task.cancel()
        return bool(running)

    def _run_queue(self) -> None:
        queue = self._queue
        while queue and not (self._unbegun and not _is_asynchronous(queue[0][1])):
            call, method, args, kwargs = queue.popleft()
            if call.was_stopped:
                self._incoming.fail_call(call, asyncio.CancelledError())
            else:
                self._run_limited(call, method, args, kwargs)
        self._watcher.method_ended()  # of those among them that were plain

    def _run_limited(
        self, call: IncomingCall, method: Method, args: Sequence[Value], kwargs: Mapping[str, Value]
    ) -> None:
        """Run a method under the deadline of its call, or under none.

        The code that gave us this turn may have a deadline of its own, which does not concern the peer.
        """
        before = under.get()
        under.set(None if call.due is None else Limit(self._loop, call.due, None, call))
        try:
            self._run(call, method, args, kwargs)
        finally:
            under.set(before)

    def _run(
        self, call: IncomingCall, method: Method, args: Sequence[Value], kwargs: Mapping[str, Value]
    ) -> None:
        if call.has_ended:
            return
        try:
            context = copy_context()  # what the method sets in it stays in this call
            result = context.run(method, *args, **kwargs)
        except TypeError as error:
            self._incoming.blame_call(call, error, method, args, kwargs)
            return
        except KeyboardInterrupt:  # a person wants the program to end, which does not concern the method
            raise
        except BaseException as error:
            self._incoming.fail_call(call, error)
            return
        if type(result) in _PLAIN:
            self._incoming.answer_call(call, result)
        elif type(result) is CoroutineType:
            self._spawn(call, result, context)
        elif hasattr(type(result), "__await__"):
            self._spawn(call, _awaited(result), context)
        else:
            self._incoming.answer_call(call, result)

    def _spawn(self, call: IncomingCall, coroutine: Coroutine[Value, Value, Value], context: Context) -> None:
        running = _Running(call, coroutine)
        task = running.task = self._loop.create_task(self._finish(running), context=context)
        call.handle = running
        if self._tasks is None:
            self._tasks = {}
        self._tasks[task] = running
        task.add_done_callback(self._on_task_done)
        self._unbegun += 1

    def _begin(self, running: _Running) -> None:
        running.begun = True
        self._unbegun -= 1
        if self._queue and not self._unbegun:
            self._loop.call_soon(self._run_queue)  # after the first step of this one

    async def _finish(self, running: _Running) -> None:
        if running.task is None:
            # A task factory started this at once (asyncio.eager_task_factory). Methods start in a later turn.
            await asyncio.sleep(0)
        self._begin(running)
        call = running.call
        try:
            value = await running.coroutine
        except (Exception, SystemExit, asyncio.CancelledError) as error:
            self._incoming.fail_call(call, error)
        else:
            turns = self._turns
            began = turns.clock()
            self._incoming.answer_call(call, value)
            turns.spend(turns.clock() - began)  # encoding an answer is work of the connection

    def _on_task_done(self, task: asyncio.Task[None]) -> None:
        tasks = self._tasks
        assert tasks is not None
        running = tasks.pop(task)
        if not running.begun:  # it was cancelled before its first step, and so cannot report its end itself
            self._begin(running)
            running.coroutine.close()
            self._incoming.fail_call(running.call, asyncio.CancelledError())
        elif not task.cancelled() and (error := task.exception()) is not None:
            self._incoming.fail_call(running.call, error)  # a BaseException
        self._watcher.method_ended()


_Call = tuple[IncomingCall, Method, Sequence[Value], Mapping[str, Value]]


def _is_asynchronous(method: Method) -> bool:
    """Whether calling ``method`` runs nothing of it yet (``async def``; not what a decorator made of one)."""
    code = getattr(method, "__code__", None)
    return code is not None and bool(code.co_flags & CO_COROUTINE)


class _Running:
    """An asynchronous method that runs, or will."""

    __slots__ = ("begun", "call", "coroutine", "task")

    def __init__(self, call: IncomingCall, coroutine: Coroutine[Value, Value, Value]) -> None:
        self.call = call
        self.coroutine = coroutine
        self.begun = False
        self.task: asyncio.Task[None] | None = None

    def cancel(self) -> None:
        if self.task is not None:
            self.task.cancel()


async def _awaited(awaitable: Awaitable[Value]) -> Value:
    return await awaitable
