"""Answers of calls by an interface: made in a thread, waited for there with :func:`wait`.

``lobby.join("x")`` returns the same kind of promise as in an event loop, so that ``pipeline`` takes it and it can be an
argument. The call begins in the event loop a moment later, in the order in which the threads made their calls.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Generator, Iterator
from functools import partial
from types import CoroutineType
from typing import Any, TypeVar, overload

from ..aio import Promise, StreamReader
from ..aio.pending import begin_on, fail_waiting, hasten, wait_for_connection
from ..aio.streams import loop_of, next_items
from ..errors import UsageError
from ..interfaces import Form
from ..ports import Value
from .running import OF_CONNECT, Running, running_of
from .waiting import WaitingForFuture

__all__ = ["Answer", "Items", "Told", "wait"]

_T = TypeVar("_T")


class Answer(Promise[_T]):
    """The answer of a call by an interface, for threads."""

    __slots__ = ("_running", "_timeout")

    #: Where the call is made, and the seconds that it may take.
    _running: Running
    _timeout: float | None

    @classmethod
    def of(
        cls, running: Running, timeout: float | None, form: Form, begin: Callable[[Answer[Any]], object]
    ) -> Answer[Any]:
        """Return the answer of a call that ``begin``, given the answer, makes in the event loop.

        Raises:
            UsageError: the event loop has ended, or is in the parent of this process.
        """
        if running.problem is not None:
            raise UsageError(running.problem)
        answer: Answer[Any] = cls(loop=running.loop)
        answer._form, answer._running, answer._timeout = form, running, timeout
        wait_for_connection(answer, form.name, form)
        running.soon(_begin, answer, begin)
        return answer

    def _pb_call(self, form: Form, args: tuple[Value, ...], kwargs: dict[str, Value]) -> Promise[Value]:
        if self._running.is_here:
            return super()._pb_call(form, args, kwargs)
        return Answer.of(
            self._running,
            self._timeout,
            form,
            lambda answer: begin_on(answer, self, form.name, args, kwargs, form),
        )

    def _pb_tell(self, form: Form, args: tuple[Value, ...], kwargs: dict[str, Value]) -> Awaitable[None]:
        if self._running.is_here:
            return super()._pb_tell(form, args, kwargs)
        self._running.run(_tell(partial(Promise._pb_tell, self, form, args, kwargs)), name=form.name)
        return Told()


def _begin(answer: Answer[Any], begin: Callable[[Answer[Any]], object]) -> None:
    try:
        begin(answer)
    except Exception as error:
        if not answer.done():
            wait_for_connection(answer, answer._form.name, answer._form)
            fail_waiting(answer, error)


async def _tell(tell: Callable[[], Awaitable[None]]) -> None:
    await tell()


class Told:
    """What a one-way call has returned that a thread made: it is sent."""

    def __await__(self) -> Generator[None, None, None]:
        yield from ()


class Items:
    """The items of a stream, for one ``for``.

    Args:
        running: where it is read.
        reader: of the asyncio face.
    """

    def __init__(self, running: Running, reader: AsyncIterator[Any]) -> None:
        self._running = running
        self._reader = reader
        self._items: deque[Value] = deque()

    def __iter__(self) -> Items:
        return self

    def __next__(self) -> Any:
        if not self._items:
            self._running.run(_fill(self._items, self._reader), name="a stream")
            if not self._items:
                raise StopIteration
        return self._items.popleft()

    def close(self) -> None:
        """Leave the stream, and wait until the generator of the peer is closed. May be called twice."""
        self._items.clear()
        close = getattr(self._reader, "aclose", None)
        if close is not None:
            self._running.run(close(), name="a stream")


async def _fill(items: deque[Value], reader: AsyncIterator[Any]) -> None:
    if isinstance(reader, StreamReader):
        items.extend(await next_items(reader))
        return
    try:
        items.append(await anext(reader))
    except StopAsyncIteration:
        pass


@overload
def wait(answer: AsyncIterator[_T], timeout: float | None = None) -> Iterator[_T]: ...


@overload
def wait(answer: Awaitable[_T], timeout: float | None = None) -> _T: ...


def wait(answer: Awaitable[Any] | AsyncIterator[Any], timeout: float | None = None) -> Any:
    """Wait for the answer of a call by an interface, and return it: ``room = wait(lobby.join("x"))``.

    The call is sent when it is made, so that several can be on their way: make them all, then wait for each. For a
    method that returns a stream there is ``for text in wait(room.messages())``.

    Args:
        answer: of a method of an object that :func:`connect` or such a method has given.
        timeout: seconds; None for the ``timeout`` of the connection. A :func:`deadline` takes its place.

    Raises:
        Exception: of the method, see :class:`~perspective_broker.Promise`.
        DeadlineExceeded: there was no answer in time; the call is given up.
        UsageError: the answer belongs to an event loop of the program's own, which awaits it; or this is the thread of
            the event loop.
        TypeError: it is not an answer.
    """
    if isinstance(answer, Told):
        return None
    if isinstance(answer, Answer):
        running, usual = answer._running, answer._timeout
    elif isinstance(answer, (Promise, StreamReader)):
        loop = answer.get_loop() if isinstance(answer, Promise) else loop_of(answer)
        found = None if loop is None else running_of(loop)
        if found is None:
            raise UsageError(
                "wait: the answer belongs to an event loop of the program's own, which has to await it; wait takes "
                "answers of objects that blocking.connect has given"
            )
        running, usual = found, 30
    else:
        if isinstance(answer, CoroutineType):
            answer.close()
        raise TypeError(
            f"wait: takes the answer of a method by an interface, not {type(answer).__name__}; "
            "EventLoopThread.run takes coroutines"
        )
    running.check()
    if isinstance(answer, StreamReader):
        return Items(running, answer)
    if answer.done() and not answer.cancelled():
        return answer.result()
    waiting = WaitingForFuture(partial(_hastened, answer))
    seconds, where = (usual, OF_CONNECT) if timeout is None else (timeout, "")
    return running.wait(waiting, seconds, str(getattr(answer, "__name__", "")), where)


def _hastened(promise: Promise[Any]) -> asyncio.Future[Any]:
    hasten(promise)
    return promise
