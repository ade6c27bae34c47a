"""Promise: the answer of a call that is under way."""

from __future__ import annotations

import asyncio

from ..ports import Value
from .affinity import check_loop
from .held import HeldReference, usable
from .pending import Pending, begin_on
from .streams import StreamReader

__all__ = ["Promise"]


class Promise(Pending):
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

    __slots__ = ()

    def call(self, name: str, /, *args: Value, **kwargs: Value) -> Promise:
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

    def _answered_reference(self) -> HeldReference | None:
        """Return the reference to an object of the peer that is the answer; None when that is anything else."""
        if not self.done() or self.cancelled() or self.exception() is not None:
            return None
        target = self.result()
        return target if isinstance(target, HeldReference) else None

    def __aiter__(self) -> StreamReader:
        """Read the stream that the answer is: ``async for item in root.call("items")``."""
        return StreamReader(self)


def _look_away(promise: asyncio.Future[Value]) -> None:
    """Take note of how a one-way call ended, which the program does not look at."""
    if not promise.cancelled():
        promise.exception()
