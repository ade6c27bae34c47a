"""Promise: the answer of a call that is under way.

A promise is a future and a coroutine. ``await`` takes it as the future that it is, at no cost. A task that is made *of*
it (``asyncio.create_task(promise)``) drives it as a coroutine::

    Task ── send ──▶ Promise ── a waiter of this task's own ──▶ Task waits ── send ──▶ StopIteration(answer)
      └── cancelled ──▶ throw ──▶ the call is given up, if nothing else wants its answer

Nothing is kept for a task but its waiter, so any number of tasks may drive one promise.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Generator
from types import TracebackType
from typing import TYPE_CHECKING, Any, NoReturn, TypeVar

from ..interfaces import Callee, Form, underlying
from ..ports import Value
from .affinity import check_loop
from .held import HeldReference, usable
from .pending import Pending, begin_on
from .streams import StreamReader

__all__ = ["Promise", "TypedPromise", "form_of", "typed_promise"]

_T = TypeVar("_T")

if TYPE_CHECKING:
    from collections.abc import Coroutine

    class _Driven(Pending[_T], Coroutine[Any, Any, _T]):
        """A coroutine in the eyes of a type checker."""
else:
    # And of programs, which go by its methods. As a base the abstract class would make each isinstance() slower.
    _Driven = Pending


class Promise(_Driven[_T], Callee):
    """The answer of one remote call. Awaitable any number of times, cancellable.

    A promise can be called before it is kept: ``root.call("room", 1).call("say", "hi")``. A failure is handed
    on to what was called on it.

    A task can be made of it: ``asyncio.create_task(root.call("room", 1))``. When the task is cancelled, the call is
    given up unless another task waits for it, or a call that was made on it has no answer yet. ``asyncio.wait`` takes
    such tasks, and no promises.

    Raises, when awaited:
        RemoteError: the method raised (or the registered class of what it raised).
        CallError: the call was refused before its method ran.
        DeadlineExceeded: the peer stopped the method, or never began, because the call's deadline has passed.
        ConnectionLost: the connection ended first.
        SerializationError: the arguments could not cross; nothing was sent.
        UsageError: it is awaited (or called, or cancelled) in another event loop than its connection's.
    """

    __slots__ = ()

    def call(self, name: str, /, *args: Value, **kwargs: Value) -> Promise[Value]:
        """Call a method of the object that this promise will be.

        On pb7 the call is sent now, and needs no round trip of its own. On the classic dialect it is sent when this
        promise is kept. Nothing else waits for it.

        Raises:
            DeadReferenceError: the connection has ended or is being closed. (At once.)
            UsageError: from another thread or event loop than the connection's. (At once.)
        """
        check_loop(self.get_loop())
        return begin_on(Promise(loop=self.get_loop()), self, name, args, kwargs)

    def tell(self, name: str, /, *args: Value, **kwargs: Value) -> None:
        """The same without an answer: if this promise fails, nothing is sent and nothing is reported.

        Raises:
            SerializationError: the arguments cannot cross.
            DeadReferenceError: the connection has ended or is being closed.
        """
        caller = self._caller
        if caller is not None and not self.done():
            check_loop(self.get_loop())
            caller.outgoing.call_answer(self._call, name, args, kwargs, None)
        elif (target := self._answered_reference()) is not None:
            usable(target).tell(target, name, args, kwargs)
        else:
            self.call(name, *args, **kwargs).add_done_callback(_look_away)

    if not TYPE_CHECKING:  # which would take this for the name of the class

        @property
        def __name__(self) -> str:
            """The name of the method, by which asyncio shows a task that was made of this promise."""
            return self._name

    def send(self, value: object, /) -> asyncio.Future[None]:
        """Go on for a task that was made of this promise, until there is something to wait for (for asyncio).

        Returns:
            The future for which this task waits.

        Raises:
            StopIteration: with the answer.
        """
        if self.done():
            raise StopIteration(self.result())
        check_loop(self.get_loop())
        if self._caller is not None and self._caller.buffer.idle:
            self._caller.buffer.flush_early()
        return self._wait()

    def throw(
        self,
        kind: type[BaseException] | BaseException,
        value: object = None,
        traceback: TracebackType | None = None,
        /,
    ) -> NoReturn:
        """End a task that was made of this promise, because it was cancelled (for asyncio).

        Raises:
            BaseException: the given one.
        """
        if asyncio._get_running_loop() is self.get_loop():
            self._leave()
        if isinstance(kind, type):
            kind = value if isinstance(value, kind) else kind() if value is None else kind(value)
        raise kind if traceback is None else kind.with_traceback(traceback)

    def close(self) -> None:
        """Give the call up soon, unless a task waits for it or another call depends on it (for asyncio)."""
        if not self.done():
            check_loop(self.get_loop())
        self._leave()

    def _answered_reference(self) -> HeldReference | None:
        """Return the reference to an object of the peer that is the answer; None when that is anything else."""
        if not self.done() or self.cancelled() or self.exception() is not None:
            return None
        target = underlying(self.result())
        return target if isinstance(target, HeldReference) else None

    def __aiter__(self) -> StreamReader:
        """Read the stream that the answer is: ``async for item in root.call("items")``."""
        return StreamReader(self)

    # -- calls by an interface

    def _pb_call(self, form: Form, args: tuple[Value, ...], kwargs: dict[str, Value]) -> TypedPromise[Value]:
        check_loop(self.get_loop())
        return begin_on(typed_promise(self.get_loop(), form), self, form.name, args, kwargs, form)

    def _pb_tell(self, form: Form, args: tuple[Value, ...], kwargs: dict[str, Value]) -> Awaitable[None]:
        self.tell(form.name, *args, **kwargs)
        return _AtOnce() if self._caller is None else self._caller.buffer.drain

    def _pb_read(self, form: Form, args: tuple[Value, ...], kwargs: dict[str, Value]) -> StreamReader:
        return StreamReader(self._pb_call(form, args, kwargs), form)

    def _pb_items(self, form: Form) -> StreamReader:
        return StreamReader(self, form)


class TypedPromise(Promise[_T]):
    """The answer of a call by an interface: what the interface says, or BadAnswer."""

    __slots__ = ("_form",)

    _form: Form


def typed_promise(loop: asyncio.AbstractEventLoop, form: Form) -> TypedPromise[Value]:
    """Return a promise whose call is yet to be made."""
    promise: TypedPromise[Value] = TypedPromise(loop=loop)
    promise._form = form
    return promise


def form_of(answer: object) -> Form | None:
    """Return how the method was declared whose answer is promised; None for anything else."""
    return answer._form if isinstance(answer, TypedPromise) else None


class _AtOnce:
    """Awaited, it waits for nothing: no connection can be full yet."""

    def __await__(self) -> Generator[None, None, None]:
        yield from ()


def _look_away(promise: asyncio.Future[Value]) -> None:
    """Take note of how a one-way call ended, which the program does not look at."""
    if not promise.cancelled():
        promise.exception()
