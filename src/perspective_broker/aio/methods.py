"""Methods: runs what the peer calls, plain methods at once and asynchronous ones as tasks, in the order of the calls.

Since Python 3.12 a task has its first step where it is made, so every method begins when it is called. Before that, and
where the program has a task factory, a task begins in a later turn of the loop, and what was called after it must not
overtake it. Tasks begin in the order in which they were made, so asynchronous methods need not wait for each other;
plain ones wait for them to begin.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Mapping, Sequence
from contextvars import Context, copy_context
from functools import partial
from inspect import CO_COROUTINE
from types import CoroutineType
from typing import Final

from ..errors import with_ran
from ..flavors.dispatch import blame
from ..native import mypyc_attr
from ..ports import Method, Value
from ..queues import NOTHING, Queue, own, put
from ..session import IncomingCall, IncomingCalls
from .deadlines import Limit, under
from .eager import begin_now, begins_now
from .turns import Turns
from .write_buffer import WriteBuffer

__all__ = ["MethodWatcher", "Methods", "Passage"]

#: Types of the answers of most plain methods. (That a type has no ``__await__`` costs an exception to find out.)
_PLAIN: Final = frozenset({type(None), bool, int, float, str, bytes, list, tuple, dict})


class MethodWatcher:
    """Is told of methods that end; the driver."""

    def method_ended(self) -> None:
        """A method has ended that did not end at once."""
        raise NotImplementedError

    def pause_for(self, buffer: WriteBuffer) -> None:
        """Read nothing more of the peer until a full buffer of another connection has drained."""
        raise NotImplementedError


@mypyc_attr(allow_interpreted_subclasses=True)
class Passage:
    """A method that passes its calls on to another connection."""

    def __call__(self, *args: Value, **kwargs: Value) -> asyncio.Future[Value]:
        """Pass a call on, and return the future of its answer."""
        raise NotImplementedError

    def tell(self, args: Sequence[Value], kwargs: Mapping[str, Value]) -> WriteBuffer | None:
        """Pass a one-way call on, and return the buffer that it fills; None when that has room."""
        raise NotImplementedError


class Methods:
    """The methods that run, or will, for one connection.

    Args:
        loop: which runs them.
        turns: counts what encoding the answers of asynchronous methods takes.
        incoming: gets what they return or raise.
        watcher: is told of methods that end.
    """

    __slots__ = ("_futures", "_incoming", "_loop", "_queue", "_tasks", "_turns", "_unbegun", "_watcher")

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
        self._tasks: dict[asyncio.Task[None], IncomingCall] | None = None  # made with the first
        self._futures: dict[IncomingCall, asyncio.Future[Value]] = NOTHING

    def __len__(self) -> int:
        """Return how many have begun and not ended."""
        return len(self._futures) + (0 if self._tasks is None else len(self._tasks))

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
        """Cancel the methods that were not cancelled before; return whether there were any."""
        running: list[asyncio.Future[Value]] = [task for task in self._tasks or () if not task.cancelling()]
        running += self._futures.values()
        for future in running:
            future.cancel()
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
        if isinstance(method, Passage):
            self._pass_on(call, method, args, kwargs)
            return
        try:
            context = copy_context()  # what the method sets in it stays in this call
            result = context.run(method, *args, **kwargs)
        except TypeError as error:
            self._incoming.fail_or_refuse(call, blame(error, call.name, method, args, kwargs))
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
        elif isinstance(result, asyncio.Future):
            self._follow(call, result, False)
        elif hasattr(type(result), "__await__"):
            self._spawn(call, _awaited(result), context)
        else:
            self._incoming.answer_call(call, result)

    def _spawn(self, call: IncomingCall, coroutine: Coroutine[Value, Value, Value], context: Context) -> None:
        first = call.handle = _FirstStep()
        task: asyncio.Task[None]
        if not begins_now(self._loop):
            late = _Late(call, coroutine)
            self._unbegun += 1
            task = self._loop.create_task(self._finish_late(late), context=context)
            self._hold(call, task, partial(self._on_late_task_done, late))
        elif (task := begin_now(self._loop, self._finish(call, coroutine), context)).done():
            self._look_at(call, task)
        else:
            self._hold(call, task, self._on_task_done)
        if first.is_cancelled:
            task.cancel()

    def _hold(
        self,
        call: IncomingCall,
        task: asyncio.Task[None],
        when_done: Callable[[asyncio.Task[None]], object],
    ) -> None:
        """Keep a task alive, and where it is found when it has to be cancelled."""
        call.handle = task
        if self._tasks is None:
            self._tasks = {}
        self._tasks[task] = call
        task.add_done_callback(when_done)

    async def _finish(self, call: IncomingCall, coroutine: Coroutine[Value, Value, Value]) -> None:
        """Run a method to its end, and answer at once: the program may change a value that it has returned."""
        try:
            value = await coroutine
        except (Exception, SystemExit, asyncio.CancelledError) as error:
            self._incoming.fail_call(call, error)
            return
        if type(call.handle) is _FirstStep:  # the turn in which it was called counts this
            self._incoming.answer_call(call, value)
            return
        turns = self._turns
        began = turns.clock()
        self._incoming.answer_call(call, value)
        turns.spend(turns.clock() - began)  # encoding an answer is work of the connection

    def _on_task_done(self, task: asyncio.Task[None]) -> None:
        assert self._tasks is not None
        self._look_at(self._tasks.pop(task), task)
        self._watcher.method_ended()

    def _look_at(self, call: IncomingCall, task: asyncio.Task[None]) -> None:
        """See whether a task that is done could not answer."""
        if not task.cancelled() and (error := task.exception()) is not None:
            self._incoming.fail_call(call, error)  # a BaseException

    # -- methods that return futures

    def _follow(self, call: IncomingCall, future: asyncio.Future[Value], is_passed_on: bool) -> None:
        """Answer a call as soon as the future is done that its method has returned. That needs no task."""
        if future.done():
            self._report(call, future, is_passed_on)
            return
        call.handle = future
        self._futures = own(self._futures)
        self._futures[call] = future
        future.add_done_callback(partial(self._on_future_done, call, is_passed_on))

    def _on_future_done(self, call: IncomingCall, is_passed_on: bool, future: asyncio.Future[Value]) -> None:
        del self._futures[call]
        turns = self._turns
        began = turns.clock()
        self._report(call, future, is_passed_on)
        turns.spend(turns.clock() - began)
        self._watcher.method_ended()

    def _report(self, call: IncomingCall, future: asyncio.Future[Value], is_passed_on: bool) -> None:
        if future.cancelled():
            self._incoming.fail_call(call, asyncio.CancelledError())
        elif (error := future.exception()) is None:
            self._incoming.answer_call(call, future.result())
        elif is_passed_on:
            self._incoming.fail_or_refuse(call, error)
        else:
            self._incoming.fail_call(call, error)

    def _pass_on(
        self, call: IncomingCall, passage: Passage, args: Sequence[Value], kwargs: Mapping[str, Value]
    ) -> None:
        """Pass a call on; after a one-way call read no more of its caller while the other connection is full."""
        full: WriteBuffer | None = None
        call.is_passed_on = True
        try:
            if call.wants_answer:
                self._follow(call, passage(*args, **kwargs), True)
                return
            full = passage.tell(args, kwargs)
        except Exception as error:  # at once, so it was not passed on
            self._incoming.fail_or_refuse(call, with_ran(error, False))
            return
        self._incoming.answer_call(call, None)
        if full is not None:
            self._watcher.pause_for(full)

    # -- where tasks begin in a later turn

    async def _finish_late(self, late: _Late) -> None:
        self._begin(late)
        await self._finish(late.call, late.coroutine)

    def _begin(self, late: _Late) -> None:
        late.has_begun = True
        self._unbegun -= 1
        if self._queue and not self._unbegun:
            self._loop.call_soon(self._run_queue)  # after the first step of this one

    def _on_late_task_done(self, late: _Late, task: asyncio.Task[None]) -> None:
        if not late.has_begun:  # it was cancelled before its first step
            self._begin(late)
            late.coroutine.close()
            self._incoming.fail_call(late.call, asyncio.CancelledError())
        self._on_task_done(task)


_Call = tuple[IncomingCall, Method, Sequence[Value], Mapping[str, Value]]


class _Late:
    """An asynchronous method that begins in a later turn than the one in which it was called."""

    __slots__ = ("call", "coroutine", "has_begun")

    def __init__(self, call: IncomingCall, coroutine: Coroutine[Value, Value, Value]) -> None:
        self.call = call
        self.coroutine = coroutine
        self.has_begun = False


class _FirstStep:
    """Handle of a call whose method is in the first step of its task, which is not known yet."""

    __slots__ = ("is_cancelled",)

    def __init__(self) -> None:
        self.is_cancelled = False

    def cancel(self) -> None:
        self.is_cancelled = True


def _is_asynchronous(method: Method) -> bool:
    """Whether calling ``method`` runs nothing of it yet (``async def``; not what a decorator made of one)."""
    code = getattr(method, "__code__", None)
    return code is not None and bool(code.co_flags & CO_COROUTINE)


async def _awaited(awaitable: Awaitable[Value]) -> Value:
    return await awaitable
