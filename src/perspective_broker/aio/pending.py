"""Pending answers: the future of one call, and how a call begins."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Generator
from time import monotonic
from typing import Final, NoReturn, TypeVar

from ..errors import DeadReferenceError, with_ran
from ..flavors import Observer, Reference
from ..interfaces import Form, underlying
from ..ports import Value
from ..session import OutgoingCall, call_when_connected, not_run
from .affinity import check_loop
from .caller import Answer, Caller, TypedAnswer, answer_of
from .deadlines import current, under
from .held import HeldReference, usable

__all__ = [
    "Note",
    "Pending",
    "begin",
    "begin_at_once",
    "begin_on",
    "begin_update",
    "begin_waiting",
    "call_of",
    "fail_waiting",
    "form_of",
    "hasten",
    "wait_for_connection",
]

_await: Final = asyncio.Future.__await__
_get_running_loop: Final = asyncio._get_running_loop


_T = TypeVar("_T")


class _Waker:
    """Wakes one task that drives a pending answer when that has an outcome."""

    __slots__ = ("waiter",)

    def __init__(self, waiter: asyncio.Future[None]) -> None:
        self.waiter: asyncio.Future[None] = waiter

    def __call__(self, pending: Value) -> None:
        if not self.waiter.done():
            self.waiter.set_result(None)


class Note:
    """A done callback that only keeps accounts: it does not want the answer."""

    __slots__ = ("_callback",)

    def __init__(self, callback: Callable[[Value], object]) -> None:
        self._callback = callback

    def __call__(self, pending: Value) -> None:
        self._callback(pending)


class Pending(asyncio.Future[_T]):
    """The answer of a call that is under way. Awaiting it sends what is to be sent, if nothing else would come along.

    Cancelling it gives the call up.
    """

    __slots__ = ("_call", "_caller", "_form", "_made", "_name")

    #: The call whose answer it is.
    _call: OutgoingCall
    #: Of the connection that makes the call; None while there is none.
    _caller: Caller | None
    #: How the method was declared; only of calls by an interface.
    _form: Form
    #: The name of the method, and when it was called by time.monotonic(). Nothing else knows either of every call.
    _name: str
    _made: float

    def __await__(self) -> Generator[Value, None, _T]:
        # It is the right loop nearly always, so that is asked first: on every call there is.
        if _get_running_loop() is not self._loop and not self.done():
            check_loop(self._loop)
        caller = self._caller
        if caller is not None and caller.buffer.idle:
            caller.buffer.flush_early()
        return _await(self)

    def __repr__(self) -> str:
        if not self.done():
            state = f"pending for {monotonic() - self._made:.1f} s"
        elif self.cancelled():
            state = "cancelled"
        elif (error := self._exception) is not None:  # exception() would count as looking at it
            state = f"failed with {type(error).__name__}"
        else:
            state = "kept"
        name = self._name if self._name.isidentifier() else repr(self._name)
        return f"<{type(self).__name__} of {name}, {state}>"

    def __iter__(self) -> NoReturn:
        raise TypeError("a promise is not iterable: await it for its value, or read a stream with async for")

    def cancel(self, msg: object = None) -> bool:
        """Give the answer up. A pb7 peer stops the method; a classic one is not told, and its answer is ignored.

        Calls on the promise are given up with it: on pb7 these calls were sent, and the peer stops them too.
        Cancelling a task that awaits the promise does the same.
        """
        if not self.done():
            check_loop(self.get_loop())
        if not super().cancel(msg):
            return False
        if self._caller is not None:
            self._caller.outgoing.cancel(self._call)
        else:
            self._call.end_unmade(None)
        return True

    # -- tasks that drive it

    def _wait(self) -> asyncio.Future[None]:
        """Return what one task waits for until there is an outcome; cancelled, it ends the wait of that task alone."""
        waiter: asyncio.Future[None] = self._loop.create_future()
        self.add_done_callback(_Waker(waiter))
        next(waiter.__await__())  # which is how a task knows that it is awaited
        return waiter

    def _leave(self) -> None:
        """A task waits no more: give the call up, if no other task waits for it, and no other call depends on it.

        This is judged a turn later, because tasks that were just made have their first step before that.
        """
        if not self.done() and not self._loop.is_closed():
            self._loop.call_soon(self._give_up_if_unwanted)

    def _give_up_if_unwanted(self) -> None:
        wanted = False
        for callback, _ in list(self._callbacks or ()):  # the future's own list, at times
            if isinstance(callback, _Waker) and callback.waiter.done():
                self.remove_done_callback(callback)
            elif not isinstance(callback, Note):
                wanted = True
        links = self._call.links
        if not wanted and (links is None or not links.dependents):
            self.cancel()


_P = TypeVar("_P", bound=Pending[Value])


def begin(
    pending: _P,
    caller: Caller,
    target: Reference,
    name: str,
    args: tuple[Value, ...],
    kwargs: dict[str, Value],
    at_once: bool = False,
    form: Form | None = None,
) -> _P:
    """Call a method of the peer's object, and return ``pending``, which gets the answer.

    Args:
        pending: was just made.
        caller: of the connection of ``target``.
        target: the object.
        name: of the method.
        args: positional arguments.
        kwargs: keyword arguments.
        at_once: the call is a message of a stream, which takes no capacity, no slot and no queue position.
        form: what the answer has to be, where the call is made by an interface.

    Raises:
        DeadReferenceError: the connection has ended.
    """
    pending._caller = caller
    pending._name, pending._made = name, monotonic()
    limit = None if under.get() is None else current()
    if form is None:
        answer = Answer(pending, limit)
    else:
        pending._form = form
        answer = TypedAnswer(pending, limit, form, caller)
    pending._call = caller.outgoing.call(target, name, args, kwargs, answer, at_once)
    return pending


def call_of(pending: Pending[Value]) -> OutgoingCall:
    """Return the call that will be answered."""
    return pending._call


def form_of(answer: object) -> Form | None:
    """Return how the method was declared whose answer is pending; None for any other, and for anything else."""
    return getattr(answer, "_form", None) if isinstance(answer, Pending) else None


def hasten(pending: Pending[Value]) -> None:
    """Send what is to be sent, if nothing else would come along: a thread waits for the answer."""
    caller = pending._caller
    if caller is not None and caller.buffer.idle:
        caller.buffer.flush_early()


def begin_at_once(caller: Caller, target: Reference, name: str, *args: Value) -> Pending[Value]:
    """Send a message of a stream that has an answer, see :func:`begin`."""
    return begin(Pending(loop=caller.loop), caller, target, name, args, {}, at_once=True)


def begin_update(
    pending: _P,
    caller: Caller,
    observer: Observer,
    name: str,
    args: tuple[Value, ...],
    kwargs: dict[str, Value],
) -> _P:
    """Call a method of the peer's replica. It has no deadline: an update is sent, however long it takes.

    Raises:
        DeadReferenceError: the replica is gone.
    """
    pending._caller = caller
    pending._name, pending._made = name, monotonic()
    pending._call = caller.outgoing.update(observer, name, args, kwargs, Answer(pending, None))
    return pending


# -- calls on what another call will be answered with


def begin_on(
    pending: _P,
    on: Pending[Value],
    name: str,
    args: tuple[Value, ...],
    kwargs: dict[str, Value],
    form: Form | None = None,
) -> _P:
    """Call a method of the object that ``on`` will be, and return ``pending``, which gets the answer.

    Args:
        form: see :func:`begin`.

    Raises:
        DeadReferenceError: the connection has ended. (Where ``on`` has its answer, ``pending`` fails instead.)
    """
    caller = pending._caller = on._caller
    pending._name, pending._made = name, monotonic()
    answer = answer_of(pending, None if under.get() is None else current(), form, caller)
    if form is not None:
        pending._form = form
    if caller is None:
        pending._call = call_when_connected(on._call, name, args, kwargs, answer)
    elif on.done():
        _begin_on_answer(pending, answer, caller, on, name, args, kwargs)
    else:
        pending._call = caller.outgoing.call_answer(on._call, name, args, kwargs, answer)
    return pending


def _begin_on_answer(
    pending: Pending[Value],
    answer: Answer,
    caller: Caller,
    on: Pending[Value],
    name: str,
    args: tuple[Value, ...],
    kwargs: dict[str, Value],
) -> None:
    """Call a method of what ``on`` was answered with."""
    pending._call = OutgoingCall(None, None)
    if on.cancelled():
        answer.abandon()
        return
    error = on.exception()
    if isinstance(error, Exception):
        answer.fail(not_run(error))
        return
    target = underlying(on.result())
    try:
        if isinstance(target, HeldReference):
            pending._call = usable(target).outgoing.call(target, name, args, kwargs, answer)
        else:
            pending._call = caller.outgoing.call_here(target, name, args, kwargs, answer)
    except DeadReferenceError as dead:
        answer.fail(with_ran(dead, False))


# -- calls that wait for a connection


def wait_for_connection(pending: _P, name: str, form: Form | None = None) -> _P:
    """Return ``pending``, whose call of the method ``name`` will be made when there is a connection."""
    pending._caller = None
    pending._name, pending._made = name, monotonic()
    if form is not None:
        pending._form = form
    pending._call = OutgoingCall(answer_of(pending, None, form, None), None)
    return pending


def begin_waiting(
    pending: Pending[Value],
    caller: Caller,
    target: Reference,
    name: str,
    args: tuple[Value, ...],
    kwargs: dict[str, Value],
) -> None:
    """Make the call that has waited for a connection; ``pending`` has no outcome yet."""
    call = pending._call
    answer = call.answerable
    assert answer is not None
    if isinstance(answer, TypedAnswer):
        answer.caller = caller
    pending._caller = caller
    caller.outgoing.call(target, name, args, kwargs, answer, call=call)


def fail_waiting(pending: Pending[Value], error: Exception) -> None:
    """End a call that waits for a connection, or could not be made on one."""
    Answer(pending, None).fail(with_ran(error, False))
    pending._call.end_unmade(error)
    if not pending.cancelled():
        pending.exception()  # a program that does not look at it gets no warning that it was not sent
