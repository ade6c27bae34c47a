"""Promise: the answer of a call that is under way."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from ..errors import ConnectionLost
from ..flavors import Exportable, Reference
from ..flavors.dispatch import find_method
from .streams import StreamReader

__all__ = ["Promise"]


class Promise(asyncio.Future[Any]):
    """The answer of one remote call. Awaitable any number of times, cancellable.

    A promise can be called before it is kept: ``root.call("room", 1).call("say", "hi")``. A failure is handed
    on to what was called on it.

    Raises, when awaited:
        RemoteError: the method raised (or the registered class of what it raised).
        CallError: the call was refused before its method ran.
        ConnectionLost: the connection ended first.
        SerializationError: the arguments could not cross; nothing was sent.
    """

    #: Tells the broker that the answer is not wanted any more; None when it need not be told.
    _withdraw: Callable[[], None] | None = None

    def cancel(self, msg: Any | None = None) -> bool:
        """Give the answer up. A pb7 peer stops the method; a classic one is not told, and its answer is ignored.

        Cancelling a task that awaits the promise does the same.
        """
        if not super().cancel(msg):
            return False
        if self._withdraw is not None:
            self._withdraw()
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
        """Call a method of the object that this promise will be; calls on one promise keep their order."""
        chained = Promise(loop=self.get_loop())
        self.add_done_callback(lambda kept: _call_when_kept(kept, chained, name, args, kwargs))
        return chained

    def __aiter__(self) -> StreamReader:
        """Read the stream that the answer is: ``async for item in root.call("items")``."""
        return StreamReader(self)

    def tell(self, name: str, /, *args: Any, **kwargs: Any) -> None:
        """The same without an answer: if this promise fails, nothing is sent and nobody is told."""

        def send(kept: asyncio.Future[Any]) -> None:
            if not kept.cancelled() and kept.exception() is None:
                target = kept.result()
                if isinstance(target, Reference):
                    target.tell(name, *args, **kwargs)  # type: ignore[attr-defined]
                else:
                    _call_when_kept(kept, Promise(loop=self.get_loop()), name, args, kwargs)

        self.add_done_callback(send)


def _call_when_kept(
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
    target = kept.result()
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
