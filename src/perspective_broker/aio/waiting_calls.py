"""Calls that wait for a connection: kept in the order in which they were made, whatever object each of them is for."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from dataclasses import dataclass

from ..errors import ConnectionLost
from ..interfaces import Form
from ..ports import Value
from .calls import Promise
from .held import usable
from .pending import Note, begin_waiting, fail_waiting, wait_for_connection
from .references import RemoteReference

__all__ = ["Lasting", "WaitingCalls"]

log: logging.Logger = logging.getLogger("perspective_broker")


class Lasting:
    """An object of the peer that is reached by another reference on each connection.

    Args:
        label: what it is, for messages.
        missing: the text that messages use while there is no reference.

    Attributes:
        current: the reference of this moment; None while there is none.
        end: why it has ended.
    """

    def __init__(self, label: str, missing: str) -> None:
        self.label: str = label
        self.missing: str = missing
        self.current: RemoteReference | None = None
        self.end: Exception | None = None


@dataclass(frozen=True, slots=True)
class _Call:
    target: Lasting
    name: str
    args: tuple[Value, ...]
    kwargs: dict[str, Value]
    wants_answer: bool
    timer: asyncio.TimerHandle | None


class WaitingCalls:
    """Calls that wait.

    Args:
        loop: where they are made.
        timeout: seconds that each of them waits; None for ever.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, timeout: float | None) -> None:
        self._loop = loop
        self._timeout = timeout
        self._calls: dict[Promise[Value], _Call] = {}  # in the order in which they were made

    def count(self, target: Lasting) -> int:
        """Return how many of them are for ``target``."""
        return sum(call.target is target for call in self._calls.values())

    def add(
        self,
        target: Lasting,
        name: str,
        args: tuple[Value, ...],
        kwargs: dict[str, Value],
        wants_answer: bool,
        form: Form | None,
    ) -> Promise[Value]:
        """Keep a call, and return the promise of its answer."""
        promise: Promise[Value] = wait_for_connection(Promise(loop=self._loop), name, form)
        timer = None
        if self._timeout is not None:
            timer = self._loop.call_later(self._timeout, self._expire, promise, target)
        self._calls[promise] = _Call(target, name, args, kwargs, wants_answer, timer)
        promise.add_done_callback(Note(self._forget))
        return promise

    def _expire(self, promise: Promise[Value], target: Lasting) -> None:
        fail_waiting(promise, ConnectionLost("not-sent", f"{target.missing} within {self._timeout:g} s"))

    def _forget(self, promise: Value) -> None:
        """A call that waited was sent, or is over."""
        call = self._calls.pop(promise, None)
        if call is not None and call.timer is not None:
            call.timer.cancel()

    def fail(self, error: Exception, target: Lasting | None = None) -> None:
        """End the calls for ``target``; all when it is None."""
        for promise, call in list(self._calls.items()):
            if target is None or call.target is target:
                fail_waiting(promise, error)

    async def send(self, usable_still: Callable[[], bool]) -> None:
        """Send the calls for which there is a reference, in order, at the pace of the connection.

        Args:
            usable_still: whether the connection takes calls.
        """
        while usable_still():
            found = [
                (promise, call, call.target.current)
                for promise, call in self._calls.items()
                if call.target.current is not None
            ]
            if not found:
                return
            for promise, call, reference in found:
                if not usable_still():
                    return
                if promise in self._calls:
                    await self._send_one(promise, call, reference)

    async def send_to(
        self, target: Lasting, reference: RemoteReference, usable_still: Callable[[], bool]
    ) -> None:
        """Send the calls for ``target`` to a reference that it does not have yet."""
        while usable_still():
            found = [(promise, call) for promise, call in self._calls.items() if call.target is target]
            if not found:
                return
            for promise, call in found:
                if usable_still() and promise in self._calls:
                    await self._send_one(promise, call, reference)

    async def _send_one(self, promise: Promise[Value], call: _Call, reference: RemoteReference) -> None:
        self._forget(promise)
        if promise.done():
            return
        try:
            caller = usable(reference)
            if call.wants_answer:
                begin_waiting(promise, caller, reference, call.name, call.args, call.kwargs)
                return
            reference.tell(call.name, *call.args, **call.kwargs)
        except Exception as error:
            log.debug("a one-way call could not be sent: %s", type(error).__name__)
            fail_waiting(promise, error)
        else:
            if not promise.done():
                promise.set_result(None)
            await caller.buffer.drain
