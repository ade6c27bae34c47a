"""RemoteReference: what a program holds of an object that lives at the peer."""

from __future__ import annotations

from asyncio import _get_running_loop
from typing import Protocol

from ..flavors import Observer
from ..interfaces import Callee, Form
from ..ports import Perspective, Value
from ..session import Broker
from .affinity import check_loop
from .caller import Caller
from .calls import Promise
from .held import HeldReference, usable
from .pending import begin, begin_update
from .streams import StreamReader
from .write_buffer import Drain

__all__ = ["RemoteCacheObserver", "RemoteMethod", "RemoteReference", "caller_of_observer"]


class RemoteReference(HeldReference, Callee):
    """A reference to an object of the peer. Sent back to it, it arrives as the object itself.

    Made by the library when a peer sends an object; the same object is always the same reference. When the
    last use of it is gone, the peer learns that it may forget the object.
    """

    __slots__ = ()

    def call(self, name: str, /, *args: Value, **kwargs: Value) -> Promise[Value]:
        """Call the object's method ``name``. The call is sent now; await the promise for the answer.

        Raises:
            DeadReferenceError: the connection has ended or the reference was released. (At once.)
            UsageError: from another thread or event loop than the connection's. (At once.)
        """
        caller = self._caller
        loop = _get_running_loop()
        if caller is None or loop is not caller.loop:
            caller = usable(self)  # which raises
        return begin(Promise(loop=loop), caller, self, name, args, kwargs)

    def tell(self, name: str, /, *args: Value, **kwargs: Value) -> Drain:
        """Call the object's method ``name`` and ask for no answer.

        Returns:
            An awaitable that waits until the connection can take more.

        Raises:
            DeadReferenceError: the connection has ended or the reference was released.
            SerializationError: the arguments cannot cross; nothing was sent.
            LimitExceeded: the write buffer is full and no task waits for it to drain.
            UsageError: from another thread or event loop than the connection's.
        """
        caller = self._caller
        if caller is None or _get_running_loop() is not caller.loop:
            caller = usable(self)
        return caller.tell(self, name, args, kwargs)

    def method(self, name: str) -> RemoteMethod:
        """Return the method ``name`` of the object, to be called like a function."""
        return RemoteMethod(self, name)

    def __aiter__(self) -> StreamReader:
        """Read the stream that the object is: what an asynchronous generator of the peer arrives as."""
        return StreamReader(self)

    # -- calls by an interface

    def _pb_call(self, form: Form, args: tuple[Value, ...], kwargs: dict[str, Value]) -> Promise[Value]:
        caller = self._caller
        if caller is None or _get_running_loop() is not caller.loop:
            caller = usable(self)
        return begin(Promise(loop=caller.loop), caller, self, form.name, args, kwargs, False, form)

    def _pb_tell(self, form: Form, args: tuple[Value, ...], kwargs: dict[str, Value]) -> Drain:
        return self.tell(form.name, *args, **kwargs)

    def _pb_read(self, form: Form, args: tuple[Value, ...], kwargs: dict[str, Value]) -> StreamReader:
        return StreamReader(self._pb_call(form, args, kwargs), form)

    def _pb_items(self, form: Form) -> StreamReader:
        return StreamReader(self, form)


class _Callable(Protocol):
    """A reference of any kind."""

    def call(self, name: str, /, *args: Value, **kwargs: Value) -> Promise[Value]: ...


class RemoteMethod:
    """A method of a remote object: ``reference.method("say")("hello")``.

    Two are equal when they mean the same method of the same object.
    """

    __slots__ = ("name", "reference")

    def __init__(self, reference: _Callable, name: str) -> None:
        self.reference: _Callable = reference
        self.name: str = name

    def __call__(self, *args: Value, **kwargs: Value) -> Promise[Value]:
        return self.reference.call(self.name, *args, **kwargs)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, RemoteMethod):
            return NotImplemented
        return self.reference == other.reference and self.name == other.name

    def __hash__(self) -> int:
        return hash((self.reference, self.name))

    def __repr__(self) -> str:
        return f"<RemoteMethod {self.name} of {self.reference!r}>"


class RemoteCacheObserver(Observer):
    """The far end of one replica, to which a cacheable object sends its changes.

    Handed to ``get_state_to_cache_and_observe_for``. The same one is handed to ``stopped_observing``.
    """

    __slots__ = ("_caller",)

    def __init__(self, caller: Caller, broker: Broker, luid: int, perspective: Perspective) -> None:
        super().__init__(broker, luid, perspective)
        self._caller = caller

    def call(self, name: str, /, *args: Value, **kwargs: Value) -> Promise[Value]:
        """Call ``observe_<name>`` of the replica, and promise its answer.

        Raises:
            DeadReferenceError: the replica is gone.
            UsageError: from another thread or event loop than the connection's.
        """
        caller = self._caller
        check_loop(caller.loop)
        return begin_update(Promise(loop=caller.loop), caller, self, name, args, kwargs)

    def tell(self, name: str, /, *args: Value, **kwargs: Value) -> None:
        """Call ``observe_<name>`` of the replica and ask for no answer.

        A peer that leaves too many updates unread (``Limits.observer_backlog_bytes``) loses its connection: a
        replica is either true or gone.

        Raises:
            DeadReferenceError: the replica is gone.
            SerializationError: the arguments cannot cross; nothing was sent.
            UsageError: from another thread or event loop than the connection's.
        """
        check_loop(self._caller.loop)
        self._caller.outgoing.update(self, name, args, kwargs, None)

    def __repr__(self) -> str:
        return f"<RemoteCacheObserver {self._luid} at {self._caller.connection.peer}>"


def caller_of_observer(observer: RemoteCacheObserver) -> Caller:
    """Return what an observer may ask of its connection."""
    return observer._caller
