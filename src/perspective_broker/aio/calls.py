"""Promise: the answer of a call that is under way."""

from __future__ import annotations

import asyncio
from collections.abc import Generator
from contextvars import copy_context
from typing import TYPE_CHECKING, Any, Final, NoReturn

from ..errors import ConnectionLost
from ..flavors import Exportable, Reference
from ..flavors.dispatch import find_method
from .deadlines import Limit, current, under
from .places import check_place
from .streams import StreamReader

if TYPE_CHECKING:
    from .driver import Driver

__all__ = ["Promise", "call_when_kept", "unasked"]

_await: Final = asyncio.Future.__await__
_get_running_loop: Final = asyncio._get_running_loop


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

    __slots__ = ("_driver", "_request", "deadline")

    #: Of the connection whose call this is the answer of; None for what only follows another promise.
    _driver: Driver | None
    #: That call's id.
    _request: int
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
            self._driver.broker.cancel_call(self._request)
        return True

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
        promise is kept; calls on one promise keep their order.
        """
        check_place(self.get_loop())
        chained = unasked(self.get_loop())
        if under.get() is not None:
            chained.deadline = current()
        driver = self._driver
        if driver is not None and not self.done():
            request = driver.broker.call_answer(self, self._request, name, args, kwargs, chained)
            if request is not None:
                chained._driver, chained._request = driver, request
                self.add_done_callback(chained._give_up_with)
                return chained
        self.add_done_callback(lambda kept: call_when_kept(kept, chained, name, args, kwargs))
        return chained

    def _give_up_with(self, promise: asyncio.Future[Any]) -> None:
        """End as the promise that this one was called on, if that was given up."""
        if promise.cancelled():
            self.cancel()

    def __aiter__(self) -> StreamReader:
        """Read the stream that the answer is: ``async for item in root.call("items")``."""
        return StreamReader(self)

    def tell(self, name: str, /, *args: Any, **kwargs: Any) -> None:
        """The same without an answer: if this promise fails, nothing is sent and nobody is told."""
        self.call(name, *args, **kwargs).add_done_callback(_look_away)


def unasked(loop: asyncio.AbstractEventLoop) -> Promise:
    """Return a promise of ``loop`` that is not the answer of a call, or not yet."""
    promise = Promise(loop=loop)
    promise._driver = promise.deadline = None
    return promise


def _look_away(promise: asyncio.Future[Any]) -> None:
    """Nobody is interested in how this ended."""
    if not promise.cancelled():
        promise.exception()


def call_when_kept(
    kept: asyncio.Future[Any], chained: Promise, name: str, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> None:
    """Call a method of what a promise turned out to be, and let ``chained`` follow the answer."""
    if chained.done():  # given up before it was sent
        return
    if kept.cancelled():
        chained.cancel()
        return
    error = kept.exception()
    if isinstance(error, Exception):
        chained.fail(error)
        return
    if chained.deadline is None:
        _call_kept(kept.result(), chained, name, args, kwargs)
        return
    # Whoever tells us of the promise runs in a context of its own, and the block may have been left meanwhile.
    context = copy_context()
    context.run(under.set, Limit(chained.get_loop(), chained.deadline.when))
    context.run(_call_kept, kept.result(), chained, name, args, kwargs)


def _call_kept(
    target: Any, chained: Promise, name: str, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> None:
    try:
        if isinstance(target, Reference):
            _follow(target.call(name, *args, **kwargs), chained)  # type: ignore[attr-defined]
        elif isinstance(target, Exportable):  # one of our own objects came home
            export = target.export_target(None)
            method = find_method(export.holder, export.prefix, name)
            result = method(*export.leading, *args, **kwargs)
            if hasattr(result, "__await__"):
                _follow(asyncio.ensure_future(result), chained)
            else:
                chained.succeed(result)
        else:
            chained.fail(
                TypeError(f"the promise was kept with a {type(target).__name__}, which cannot be called")
            )
    except Exception as raised:
        chained.fail(raised)


def _follow(answer: asyncio.Future[Any], chained: Promise) -> None:
    """Let ``chained`` end as ``answer`` does, and cancel ``answer`` when ``chained`` is cancelled."""

    def hand_on(answer: asyncio.Future[Any]) -> None:
        if chained.done():
            return
        if answer.cancelled():
            chained.cancel()
        elif isinstance(error := answer.exception(), Exception):
            chained.fail(error)
        elif error is not None:
            chained.set_exception(error)
        else:
            chained.set_result(answer.result())

    answer.add_done_callback(hand_on)
    chained.add_done_callback(lambda chained: answer.cancel() if chained.cancelled() else None)
