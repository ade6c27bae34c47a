"""Remote: an object of the peer, for threads that wait for its answers."""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable, Iterator
from functools import partial
from inspect import iscoroutinefunction
from threading import get_ident
from typing import Any, Final

from ..aio import Promise, ReconnectingReference, RemoteReference, StreamReader
from ..aio.caller import Caller
from ..aio.deadlines import Limit, current, under
from ..aio.describing import describe
from ..aio.held import HeldReference, usable
from ..aio.pending import begin, hasten
from ..interfaces import Callee, Form
from ..ports import ObjectId, Perspective, Value
from ..session import Broker, OutgoingCall
from .answers import Answer, Items, Told
from .running import OF_CONNECT, Running
from .waiting import Waiting, WaitingForFuture

__all__ = ["Method", "Remote", "RemoteAlways", "Shown"]

#: Seconds that ``dir()``, and so completion by Tab, may take.
DIR_SECONDS: Final = 2.0


class Shown(ABC):
    """What stands for something that crosses."""

    @abstractmethod
    def shown(self) -> Value:
        """Return what crosses in its place (called in the event loop)."""


class Method:
    """A method of a remote object: ``remote.greet``. Called, it waits for the answer."""

    __slots__ = ("_call", "_name", "_of")

    def __init__(self, call: Callable[..., Any], name: str, of: object) -> None:
        self._call = call
        self._name = name
        self._of = of

    def __call__(self, *args: Value, **kwargs: Value) -> Any:
        return self._call(self._name, args, kwargs)

    def __repr__(self) -> str:
        return f"<remote method {self._name} of {self._of!r}>"


class Remote(RemoteReference):
    """A reference to an object of the peer, for use in every thread.

    ``remote.greet("x", loud=True)`` calls the object's method ``greet``, waits, and returns its answer, or raises its
    error. A method whose name is one of a reference's own is called by ``remote.call("release")``. References that come
    back, also within lists and other values, are such objects as well.

    In the thread of the event loop, where ``async`` methods run, it is a reference of the asyncio face:
    ``await remote.call("greet", "x")``.
    """

    __slots__ = ("_names", "_running", "_timeout")

    def __init__(
        self,
        caller: Caller,
        broker: Broker,
        luid: ObjectId,
        perspective: Perspective,
        running: Running,
        timeout: float | None,
    ) -> None:
        super().__init__(caller, broker, luid, perspective)
        self._running = running
        self._timeout = timeout
        self._names: list[str] | None = None  # of its methods, once they were asked for

    def call(self, name: str, /, *args: Value, **kwargs: Value) -> Any:
        """Call the object's method ``name``, wait for the answer, and return it.

        Ctrl-C gives the call up: a pb7 peer stops the method, and the connection goes on.

        Raises:
            Exception: of the method, see :class:`~perspective_broker.Promise`.
            DeadlineExceeded: there was no answer within the ``timeout`` of the connection, or the :func:`deadline`.
            UsageError: the connection was made before this process forked, or its event loop thread is closed.
        """
        running = self._running
        if get_ident() == running.ident:
            return super().call(name, *args, **kwargs)
        return running.wait(_Call(self, name, args, kwargs), self._timeout, name, OF_CONNECT)

    def _wait(self, name: str, args: tuple[Value, ...], kwargs: dict[str, Value]) -> Any:
        return self._running.wait(_Call(self, name, args, kwargs), self._timeout, name, OF_CONNECT)

    def tell(self, name: str, /, *args: Value, **kwargs: Value) -> Any:
        """Call the object's method ``name`` and ask for no answer; wait while the peer does not keep up.

        Raises:
            DeadReferenceError: the connection has ended or the reference was released.
            SerializationError: the arguments cannot cross; nothing was sent.
        """
        if self._running.is_here:
            return super().tell(name, *args, **kwargs)
        return self._running.run(_tell(partial(RemoteReference.tell, self, name, *args, **kwargs)), name=name)

    def on_disconnect(self, callback: Callable[[Any], object]) -> None:
        """Call ``callback(remote)`` once when the connection ends: a plain function in a thread of its own.

        The reference keeps its callbacks: they are forgotten with it.

        Raises:
            DeadReferenceError: the connection has ended.
        """
        if not self._running.is_here:
            self._running.run(_do(partial(self.on_disconnect, callback)))
        elif iscoroutinefunction(callback):
            super().on_disconnect(callback)
        else:
            super().on_disconnect(_InWorker(self._running, callback))

    def dont_notify_on_disconnect(self, callback: Callable[[Any], object]) -> None:
        """Undo one :meth:`on_disconnect`.

        Raises:
            ValueError: it was not asked for.
        """
        if not self._running.is_here:
            self._running.run(_do(partial(self.dont_notify_on_disconnect, callback)))
        elif iscoroutinefunction(callback):
            super().dont_notify_on_disconnect(callback)
        else:
            super().dont_notify_on_disconnect(_InWorker(self._running, callback))

    def release(self) -> None:
        """Tell the peer that it may forget the object; the reference is dead from here on."""
        if self._running.is_here:
            super().release()
        else:
            self._running.run(_do(partial(RemoteReference.release, self)))

    def __iter__(self) -> Iterator[Any]:
        """Read the stream that the object is: what a generator of the peer arrives as.

        There is no time limit for an item but that of a :func:`deadline`. Leaving the loop early ends the generator.
        """
        self._running.check()
        return Items(self._running, StreamReader(self))

    def __getattr__(self, name: str) -> Method:
        check_public(self, name)
        return Method(self._wait, name, self)

    def __dir__(self) -> list[str]:
        """Return the names of the reference, and those of the object's methods if the peer describes it."""
        if self._names is None and not self._running.is_here:
            self._names = ask_names(self._running, self)
        return sorted({*object.__dir__(self), *(self._names or ())})

    # -- calls by an interface

    def _pb_call(self, form: Form, args: tuple[Value, ...], kwargs: dict[str, Value]) -> Promise[Value]:
        if self._running.is_here:
            return super()._pb_call(form, args, kwargs)

        def begin_here(answer: Answer[Value]) -> None:
            begin(answer, usable(self), self, form.name, args, kwargs, False, form)

        return Answer.of(self._running, self._timeout, form, begin_here)

    def _pb_tell(self, form: Form, args: tuple[Value, ...], kwargs: dict[str, Value]) -> Any:
        if self._running.is_here:
            return super()._pb_tell(form, args, kwargs)
        self.tell(form.name, *args, **kwargs)
        return Told()


class RemoteAlways(Shown, Callee):
    """What ``connect(url, reconnect=True)`` gives: a remote object on whatever connection there is.

    ``remote.greet("x")`` waits for a connection, if there is none at the moment. (By an interface, answers of its calls
    do not take :func:`~perspective_broker.pipeline`.)
    """

    def __init__(self, reference: ReconnectingReference, running: Running, timeout: float | None) -> None:
        self._reference = reference
        self._running = running
        self._timeout = timeout

    def call(self, name: str, /, *args: Value, **kwargs: Value) -> Any:
        """Call the object's method ``name``, now or as soon as there is a connection, and return the answer."""
        return self._wait(name, args, kwargs)

    def _wait(self, name: str, args: tuple[Value, ...], kwargs: dict[str, Value]) -> Any:
        waiting = WaitingForFuture(partial(_begin, self._reference, name, args, kwargs))
        return self._running.wait(waiting, self._timeout, name, OF_CONNECT)

    def tell(self, name: str, /, *args: Value, **kwargs: Value) -> None:
        """The same without an answer; wait until it is sent."""
        tell = partial(self._reference.tell, name, *args, **kwargs)
        self._running.run(_tell(tell), self._timeout, name)

    @property
    def connected(self) -> bool:
        """Whether there is a connection at the moment."""
        return self._reference.connected

    @property
    def reference(self) -> ReconnectingReference:
        """The reference of the asyncio face, for coroutines of :meth:`EventLoopThread.run`."""
        return self._reference

    def derive(self, what: str | Callable[[Any], Any], /, *args: Value, **kwargs: Value) -> RemoteAlways:
        """Return an object that is fetched again with each connection: ``room = me.derive("room", "lobby")``.

        Args:
            what: the name of the method that returns it, or a function that gets the remote object of the new
                connection and returns one; a plain function runs in a thread of its own.
            args: of the method.
            kwargs: of the method.

        Raises:
            Exception: see :meth:`ReconnectingReference.derive`.
        """
        if not isinstance(what, str) and callable(what):
            what = _awaited(self._running, what)

        async def derive() -> ReconnectingReference:
            return self._reference.derive(what, *args, **kwargs)

        return RemoteAlways(self._running.run(derive()), self._running, self._timeout)

    def on_reconnect(
        self, callback: Callable[[Any], object], *, first: bool = False, retry: bool = False
    ) -> None:
        """Call ``callback(remote)`` each time that there is a new connection: a plain function in a thread of its own.

        Calls that waited are sent when it has returned. See :meth:`ReconnectingReference.on_reconnect`.

        Raises:
            DeadReferenceError: the reference has ended.
        """
        awaited = _awaited(self._running, callback)
        self._running.run(_do(partial(self._reference.on_reconnect, awaited, first=first, retry=retry)))

    def dont_notify_on_reconnect(self, callback: Callable[[Any], object]) -> None:
        """Undo one :meth:`on_reconnect`.

        Raises:
            ValueError: it was not asked for.
        """
        awaited = _awaited(self._running, callback)
        self._running.run(_do(partial(self._reference.dont_notify_on_reconnect, awaited)))

    def shown(self) -> Value:
        return self._reference

    # -- calls by an interface

    def _pb_call(self, form: Form, args: tuple[Value, ...], kwargs: dict[str, Value]) -> Awaitable[Value]:
        if self._running.is_here:
            return self._reference._pb_call(form, args, kwargs)
        return self._made(form, args, kwargs)

    def _made(self, form: Form, args: tuple[Value, ...], kwargs: dict[str, Value]) -> Promise[Value]:
        """Make a call in the event loop, and return its promise without waiting for the answer."""
        make = partial(self._reference._pb_call, form, args, kwargs)
        (promise,) = self._running.run(_one(make), name=form.name)
        return promise

    def _pb_tell(self, form: Form, args: tuple[Value, ...], kwargs: dict[str, Value]) -> Awaitable[None]:
        if self._running.is_here:
            return self._reference._pb_tell(form, args, kwargs)
        self.tell(form.name, *args, **kwargs)
        return Told()

    def _pb_read(self, form: Form, args: tuple[Value, ...], kwargs: dict[str, Value]) -> StreamReader:
        if self._running.is_here:
            return self._reference._pb_read(form, args, kwargs)
        return StreamReader(self._made(form, args, kwargs), form)

    def __getattr__(self, name: str) -> Method:
        check_public(self, name)
        return Method(self._wait, name, self)

    def __dir__(self) -> list[str]:
        """Return the names of this object, and those of the remote object's methods if the peer describes it."""
        names = None if self._running.is_here else ask_names(self._running, self._reference)
        return sorted({*object.__dir__(self), *(names or ())})

    def __repr__(self) -> str:
        return repr(self._reference).replace("ReconnectingReference", type(self).__name__)


class _InWorker:
    """A plain callback that the event loop calls, and a worker runs. Two of the same are equal."""

    def __init__(self, running: Running, callback: Callable[[Any], object]) -> None:
        self._running = running
        self._callback = callback

    def __call__(self, subject: object) -> None:
        self._running.workers.run(partial(self._run, subject))

    def _run(self, subject: object) -> None:
        try:
            self._callback(subject)
        except Exception as error:
            self._running.report("a callback for the end of a connection raised", error)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _InWorker) and self._callback == other._callback

    def __hash__(self) -> int:
        return hash(self._callback)


class _Awaited:
    """A plain function that the event loop calls and awaits, and a worker runs. Two of the same are equal."""

    def __init__(self, running: Running, function: Callable[[Any], Any]) -> None:
        self._running = running
        self._function = function

    def __call__(self, subject: object) -> Awaitable[Any]:
        return self._running.in_worker(partial(self._function, subject))

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Awaited) and self._function == other._function

    def __hash__(self) -> int:
        return hash(self._function)


def _awaited(running: Running, function: Callable[[Any], Any]) -> Callable[[Any], Any]:
    return function if iscoroutinefunction(function) else _Awaited(running, function)


class _Call(Waiting):
    """A thread that waits for the answer of a call (:class:`perspective_broker.ports.Answerable`)."""

    __slots__ = ("_args", "_call", "_caller", "_kwargs", "_name", "_reference", "deadline")

    def __init__(
        self, reference: HeldReference, name: str, args: tuple[Value, ...], kwargs: dict[str, Value]
    ) -> None:
        super().__init__()
        self._reference = reference
        self._name = name
        self._args = args
        self._kwargs = kwargs
        self._caller: Caller | None = None
        self._call: OutgoingCall | None = None
        self.deadline: Limit | None = None

    def begin(self) -> None:
        if self.given_up:
            return
        try:
            caller = self._caller = usable(self._reference)
            self.deadline = None if under.get() is None else current()
            self._call = caller.outgoing.call(self._reference, self._name, self._args, self._kwargs, self)
            if caller.buffer.idle:
                caller.buffer.flush_early()
        except BaseException as error:
            self.fail(error)

    def cancel(self) -> None:
        if self._caller is not None and self._call is not None:
            self._caller.outgoing.cancel(self._call)


def _begin(
    reference: ReconnectingReference, name: str, args: tuple[Value, ...], kwargs: dict[str, Value]
) -> asyncio.Future[Any]:
    promise = reference.call(name, *args, **kwargs)
    hasten(promise)
    return promise


async def _tell(tell: Callable[[], Any]) -> None:
    await tell()


async def _one(make: Callable[[], Promise[Value]]) -> tuple[Promise[Value]]:
    return (make(),)


async def _do(function: Callable[[], object]) -> None:
    function()


def check_public(of: object, name: str) -> None:
    """Raise AttributeError for a name that no remote method has: tools ask every object for such names."""
    if name.startswith("_"):
        raise AttributeError(f"{type(of).__name__} has no attribute {name!r}")


def ask_names(running: Running, reference: RemoteReference | ReconnectingReference) -> list[str] | None:
    """Return the names of the methods of an object; None if the peer does not tell them, or not soon."""
    try:
        description = running.run(describe(reference), DIR_SECONDS, "describe")
    except Exception:  # whoever asks for names has not asked for a call
        return None
    return [method.name for method in description.methods if method.name.isidentifier()]
