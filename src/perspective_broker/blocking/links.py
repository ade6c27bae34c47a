"""Links: how the connections of an event loop thread meet a program of threads.

Objects of the peer arrive as :class:`.Remote`; plain methods that the peer calls run in workers; plain generators and
binary files cross as streams.
"""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import AsyncGenerator, Callable, Generator, Mapping, Sequence
from contextvars import ContextVar, copy_context
from functools import partial
from types import MethodType
from typing import Any, Final
from weakref import ReferenceType, WeakKeyDictionary, ref

from ..aio import RemoteReference
from ..aio.caller import Caller
from ..aio.faces import Face, Link
from ..flavors import RemoteCache
from ..flavors.annotations import signature_of
from ..ports import Method, ObjectId, Perspective, Value
from ..session import Broker
from .feeds import feed, is_binary_file
from .remotes import Remote, Shown
from .running import Running
from .workers import Job, Lane

__all__ = ["Links", "default_timeout"]

#: Seconds for each call of the connections that are made in this context.
default_timeout: ContextVar[float | None] = ContextVar("perspective_broker.blocking.timeout", default=30)

#: The methods of this library are made for the event loop.
_LIBRARY: Final = __name__.partition(".")[0]

#: Signatures of functions, without the first argument. Each access to a method makes a new object.
_signatures: Final[WeakKeyDictionary[Callable[..., Any], inspect.Signature | None]] = WeakKeyDictionary()


class Links(Face):
    """The face of an event loop thread."""

    def __init__(self, running: Running) -> None:
        self.running: Running = running
        self._here = BlockingLink(running, None)  # of no connection

    def link(self) -> Link:
        return BlockingLink(self.running, default_timeout.get())

    def method(self, method: Method, args: Sequence[Value], kwargs: Mapping[str, Value]) -> Method:
        return self._here.method(method, args, kwargs)


class BlockingLink(Link):
    """The link of one connection.

    Args:
        running: whose connection it is.
        timeout: seconds for each call; None for no end.
    """

    def __init__(self, running: Running, timeout: float | None) -> None:
        self.running: Running = running
        self.timeout: float | None = timeout
        self._lane = Lane(running.workers)
        # A value that is encoded twice is one stream. Neither of the two keeps the other.
        self._feeds: WeakKeyDictionary[Value, ReferenceType[AsyncGenerator[Value, None]]] = (
            WeakKeyDictionary()
        )

    def opened(self, transport: asyncio.BaseTransport) -> None:
        self.running.opened(transport)

    def make_reference(
        self, caller: Caller, broker: Broker, luid: ObjectId, perspective: Perspective
    ) -> RemoteReference:
        return Remote(caller, broker, luid, perspective, self.running, self.timeout)

    def adapt(self, value: Value) -> Value:
        if isinstance(value, Shown):
            return value.shown()
        if not isinstance(value, Generator) and not is_binary_file(value):
            return value
        known = self._feeds.get(value)
        fed = None if known is None else known()
        if fed is None:
            fed = feed(self.running, value)
            self._feeds[value] = ref(fed)
        return fed

    def method(self, method: Method, args: Sequence[Value], kwargs: Mapping[str, Value]) -> Method:
        if _is_of_the_loop(method) or not _fits(method, args, kwargs):
            return method

        async def in_worker(*args: Value, **kwargs: Value) -> Value:
            result = await self._run(partial(method, *args, **kwargs))
            return await result if hasattr(type(result), "__await__") else result

        return in_worker

    def _run(self, method: Callable[[], Value]) -> asyncio.Future[Value]:
        """Run a method in its turn, in a worker."""
        loop = self.running.loop
        outcome: asyncio.Future[Value] = loop.create_future()
        context = copy_context()

        def work() -> None:
            if outcome.cancelled():
                return  # the peer has given the call up
            try:
                report = partial(_succeed, outcome, context.run(method))
            except BaseException as error:
                report = partial(_fail, outcome, error)
            self.running.soon(report)

        self._lane.put(Job(self._lane, work, partial(_fail, outcome)))
        return outcome


def _succeed(outcome: asyncio.Future[Value], value: Value) -> None:
    if not outcome.done():
        outcome.set_result(value)


def _fail(outcome: asyncio.Future[Value], error: BaseException) -> None:
    if not outcome.done():
        if isinstance(error, StopIteration):  # which no future can hold
            error = RuntimeError("the method raised StopIteration")
        outcome.set_exception(error)


def _is_of_the_loop(method: Method) -> bool:
    """Return whether a method belongs into the event loop: it is asynchronous, of this library, or of a replica."""
    if inspect.iscoroutinefunction(method) or inspect.isasyncgenfunction(method):
        return True
    if isinstance(getattr(method, "__self__", None), RemoteCache):
        return True
    while isinstance(method, partial):
        method = method.func
    return str(getattr(method, "__module__", "")).partition(".")[0] == _LIBRARY


def _fits(method: Method, args: Sequence[Value], kwargs: Mapping[str, Value]) -> bool:
    """Return whether a method takes the arguments. If not, calling it in the loop gives the error for that."""
    signature = _signature(method)
    if signature is not None:
        try:
            signature.bind(*args, **kwargs)
        except TypeError:
            return False
    return True


def _signature(method: Method) -> inspect.Signature | None:
    """Return the signature of a method; None if it has none."""
    function = method.__func__ if isinstance(method, MethodType) else None
    if function is not None and function in _signatures:
        return _signatures[function]
    try:
        signature = signature_of(method)
    except (TypeError, ValueError):  # of a method in C
        signature = None
    if function is not None:
        _signatures[function] = signature
    return signature
