"""Promise: the answer of a call that is under way."""

from __future__ import annotations

import asyncio
from collections.abc import Generator
from contextvars import copy_context
from typing import TYPE_CHECKING, Any, Final, NoReturn

from ..errors import ConnectionLost, DeadReferenceError, with_ran
from ..flavors import Exportable, Reference
from ..flavors.dispatch import find_method
from ..flavors.guard import ordinary
from ..ports import Method
from ..session import OutgoingCall, Unready, call_when_connected, not_callable, not_run, of_this_call
from .deadlines import Limit, current, under
from .places import check_place
from .streams import StreamReader

if TYPE_CHECKING:
    from .driver import Driver

__all__ = ["Promise", "call_here", "unmade"]

_await: Final = asyncio.Future.__await__
_cancel: Final = asyncio.Future.cancel
_get_running_loop: Final = asyncio._get_running_loop

#: Methods that run here. A loop holds its tasks weakly, and nothing else holds the task of a one-way call.
_running_here: Final[set[asyncio.Future[Any]]] = set()


class Promise(asyncio.Future[Any]):
    """The answer of one remote call. Awaitable any number of times, cancellable.

    A promise can be called before it is kept: ``root.call("room", 1).call("say", "hi")``. A failure is handed
    on to what was called on it.

    Raises, when awaited:
        RemoteError: the method raised (or the registered class of what it raised).
        CallError: the call was refused before its method ran.
        DeadlineExceeded: the peer stopped the method, or never began, because the call's deadline has passed.
        ConnectionLost: the connection ended first.
        SerializationError: the arguments could not cross; nothing was sent.
        UsageError: it is awaited (or called, or cancelled) in another event loop than its connection's.
    """

    __slots__ = ("_call", "_driver", "deadline")

    #: The call whose answer it is.
    _call: OutgoingCall
    #: Of the connection that makes the call; None while there is none.
    _driver: Driver | None
    #: Until when the call may take; asked by the broker when it makes the message.
    deadline: Limit | None

    def __await__(self) -> Generator[Any, None, Any]:
        # In the right place nearly always, so that is asked first: on every call there is.
        if _get_running_loop() is not self._loop and not self.done():
            check_place(self._loop)
        driver = self._driver
        if driver is not None and driver.lull:
            driver.flush()
        return _await(self)

    def __iter__(self) -> NoReturn:
        raise TypeError("a promise is not iterable: await it for its value, or read a stream with async for")

    def cancel(self, msg: Any | None = None) -> bool:
        """Give the answer up. A pb7 peer stops the method; a classic one is not told, and its answer is ignored.

        What was called on the promise is given up with it: on pb7 these calls were sent, and the peer stops them too.
        Cancelling a task that awaits the promise does the same.
        """
        if not self.done():
            check_place(self.get_loop())
        if not super().cancel(msg):
            return False
        if self._driver is not None:
            self._driver.broker.outgoing.cancel(self._call)
        else:
            self._call.end_unmade(None)
        return True

    def abandon(self) -> None:
        """Be given up together with a promise that this one was called on, or mentions; called by the broker."""
        _cancel(self)

    def succeed(self, value: Any) -> None:
        """Keep the promise; called by the broker, once."""
        if not self.done():
            self.set_result(value)

    def fail(self, error: Exception) -> None:
        """Break the promise; called by the broker, once."""
        if self.done():
            return
        if isinstance(error, StopIteration):  # which no future can hold
            error = RuntimeError("the remote method raised StopIteration")
        self.set_exception(error)
        if isinstance(error, ConnectionLost):
            # Whoever does not look at an answer need not be told that it will not come.
            self._log_traceback = False

    def call(self, name: str, /, *args: Any, **kwargs: Any) -> Promise:
        """Call a method of the object that this promise will be.

        On pb7 the call is sent now, and needs no round trip of its own. On the classic dialect it is sent when this
        promise is kept. Nothing else waits for it.

        Raises:
            DeadReferenceError: the connection has ended or is being closed. (At once.)
            UsageError: from another thread or event loop than the connection's. (At once.)
        """
        check_place(self.get_loop())
        chained = Promise(loop=self.get_loop())
        driver = chained._driver = self._driver
        chained.deadline = None if under.get() is None else current()
        if driver is None:
            chained._call = call_when_connected(self._call, name, args, kwargs, chained)
        elif self.done():
            self._call_settled(driver, chained, name, args, kwargs)
        else:
            chained._call = driver.broker.outgoing.call_answer(self._call, name, args, kwargs, chained)
        return chained

    def _call_settled(
        self, driver: Driver, chained: Promise, name: str, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> None:
        """Call a method of what this promise is, and let ``chained`` be the answer."""
        chained._call = OutgoingCall(None, None)
        if self.cancelled():
            chained.abandon()
            return
        error = self.exception()
        if isinstance(error, Exception):
            chained.fail(not_run(error))
            return
        target = self.result()
        try:
            if isinstance(target, Reference):
                chained._call = target._usable().broker.outgoing.call(target, name, args, kwargs, chained)  # type: ignore[attr-defined]
            else:
                chained._call = driver.broker.outgoing.call_here(target, name, args, kwargs, chained)
        except DeadReferenceError as dead:
            chained.fail(with_ran(dead, False))

    def tell(self, name: str, /, *args: Any, **kwargs: Any) -> None:
        """The same without an answer: if this promise fails, nothing is sent and nobody is told.

        Raises:
            SerializationError: the arguments cannot cross.
            DeadReferenceError: the connection has ended or is being closed.
        """
        driver = self._driver
        if driver is not None and not self.done():
            check_place(self.get_loop())
            driver.broker.outgoing.call_answer(self._call, name, args, kwargs, None)
        elif self._is_reference:
            self.result().tell(name, *args, **kwargs)
        else:
            self.call(name, *args, **kwargs).add_done_callback(_look_away)

    @property
    def _is_reference(self) -> bool:
        """Whether the promise was kept with a reference to an object of the peer."""
        return (
            self.done()
            and not self.cancelled()
            and self.exception() is None
            and isinstance(self.result(), Reference)
        )

    def __aiter__(self) -> StreamReader:
        """Read the stream that the answer is: ``async for item in root.call("items")``."""
        return StreamReader(self)


def unmade(loop: asyncio.AbstractEventLoop) -> Promise:
    """Return the promise of a call that no connection has made yet."""
    promise = Promise(loop=loop)
    promise._driver = promise.deadline = None
    promise._call = OutgoingCall(promise, None)
    return promise


def _look_away(promise: asyncio.Future[Any]) -> None:
    """Nobody is interested in how this ended."""
    if not promise.cancelled():
        promise.exception()


def call_here(
    driver: Driver,
    call: OutgoingCall,
    target: Any,
    name: str,
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
) -> None:
    """Call a method of what a promise turned out to be, and tell the broker how that ended.

    Raises:
        Unready: an argument is a promise without an outcome; nothing was called.
        Exception: an argument is a promise that has failed; nothing was called.
    """
    promise = call.answerable
    if any(isinstance(value, Promise) and value.cancelled() for value in (*args, *kwargs.values())):
        driver.broker.outgoing.cancel(call)
        if promise is not None:
            promise.abandon()
        return
    args = tuple(map(_settled, args))
    kwargs = {key: _settled(value) for key, value in kwargs.items()}
    limit = promise.deadline if isinstance(promise, Promise) else None
    if limit is None:
        _run_here(driver, call, target, name, args, kwargs)
        return
    # The broker runs in a context of its own, and the block may have been left meanwhile.
    context = copy_context()
    context.run(under.set, Limit(driver.loop, limit.when))
    context.run(_run_here, driver, call, target, name, args, kwargs)


def _settled(value: Any) -> Any:
    """Return the answer that is meant by an argument which is a promise; any other argument as it is."""
    if not isinstance(value, Promise):
        return value
    if not value.done():
        raise Unready(value._call)
    error = value.exception()
    if isinstance(error, Exception):
        raise not_run(error)
    return value.result()


def _run_here(
    driver: Driver,
    call: OutgoingCall,
    target: Any,
    name: str,
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
) -> None:
    method: Method | None = None  # of an object of this program
    try:
        if isinstance(target, Reference):
            result = target.call(name, *args, **kwargs)  # type: ignore[attr-defined]
        elif isinstance(target, Exportable):  # one of our own objects came home
            export = target.export_target(None)
            method = find_method(export.holder, export.prefix, name)
            result = method(*export.leading, *args, **kwargs)
        else:
            raise not_callable(target)
        if not hasattr(type(result), "__await__"):
            driver.broker.outgoing.ended_here(call, result, None)
            return
        running = call.handle = asyncio.ensure_future(result)
        _running_here.add(running)
    except BaseException as raised:  # the method's, or a hook's
        error = ordinary(raised)
        if not isinstance(error, Exception):
            raise
        driver.broker.outgoing.ended_here(call, None, of_this_call(error, method is not None))
        return

    def ended(running: asyncio.Future[Any]) -> None:
        call.handle = None
        _running_here.discard(running)
        if running.cancelled():
            promise = call.answerable
            driver.broker.outgoing.cancel(call)
            if promise is not None:
                promise.abandon()
            return
        raised = running.exception()
        if raised is None:
            driver.broker.outgoing.ended_here(call, running.result(), None)
            return
        error = ordinary(raised)
        if not isinstance(error, Exception):
            error = RuntimeError()
        if method is not None:  # otherwise it is the error of this call, by way of another connection
            error = of_this_call(error, True)
        driver.broker.outgoing.ended_here(call, None, error)

    running.add_done_callback(ended)
