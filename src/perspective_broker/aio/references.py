"""RemoteReference: what a program holds of an object that lives at the peer."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Generator
from typing import TYPE_CHECKING, Any

from ..errors import DeadReferenceError
from ..flavors import Observer, Reference
from .calls import Promise
from .deadlines import current, under
from .endings import Ending
from .places import check_place, misplaced
from .streams import StreamReader

if TYPE_CHECKING:
    from ..ports import ObjectId
    from ..session import Broker
    from .connection import Connection
    from .driver import Driver
    from .reconnect import ReconnectingReference

__all__ = ["RemoteCacheObserver", "RemoteMethod", "RemoteReference", "Room"]


class RemoteReference(Reference):
    """A reference to an object of the peer. Sent back to it, it arrives as the object itself.

    Made by the library when a peer sends an object; the same object is always the same reference. When the
    last use of it is gone, the peer is told that it may forget the object.
    """

    __slots__ = ("_driver", "_endings")

    def __init__(self, driver: Driver, broker: Broker, luid: ObjectId, perspective: Any) -> None:
        # What Reference.__init__ does, without a call: references come by the ten thousand.
        self._session, self._luid, self._perspective, self._received = broker, luid, perspective, None
        self._driver: Driver | None = driver
        self._endings: list[Ending] | None = None  # made with the first, for few references have any

    def call(self, name: str, /, *args: Any, **kwargs: Any) -> Promise:
        """Call the object's method ``name``. The call is sent now; await the promise for the answer.

        Raises:
            DeadReferenceError: the connection has ended or the reference was released. (At once.)
            UsageError: from another thread or event loop than the connection's. (At once.)
        """
        return self._call(name, args, kwargs, False)

    def call_at_once(self, name: str, *args: Any) -> Promise:
        """Send a message of a stream that has an answer: it takes no room, no slot and no place in the queue.

        Raises:
            DeadReferenceError: the connection has ended or the reference was released.
        """
        return self._call(name, args, {}, True)

    def _call(self, name: str, args: tuple[Any, ...], kwargs: dict[str, Any], at_once: bool) -> Promise:
        driver = self._usable()
        promise = Promise(loop=driver.loop)
        promise._driver = None  # until there is something to give up
        promise.deadline = None if under.get() is None else current()
        promise._call = self._session.outgoing.call(self, name, args, kwargs, promise, at_once)
        promise._driver = driver
        return promise

    def tell(self, name: str, /, *args: Any, **kwargs: Any) -> Room:
        """Call the object's method ``name`` and ask for no answer.

        Returns:
            What may be awaited until the connection can take more.

        Raises:
            DeadReferenceError: the connection has ended or the reference was released.
            SerializationError: the arguments cannot cross; nothing was sent.
            LimitExceeded: the write buffer is full and nobody waits for room.
            UsageError: from another thread or event loop than the connection's.
        """
        driver = self._usable()
        driver.check_room()
        self._session.outgoing.tell(self, name, args, kwargs)
        return driver.room

    def method(self, name: str) -> RemoteMethod:
        """Return the method ``name`` of the object, to be called like a function."""
        return RemoteMethod(self, name)

    def __aiter__(self) -> StreamReader:
        """Read the stream that the object is: what an asynchronous generator of the peer arrives as."""
        return StreamReader(self)

    def on_disconnect(self, callback: Callable[[RemoteReference], object]) -> None:
        """Call ``callback(reference)`` once when the connection ends.

        The reference keeps its callbacks: as soon as the program holds the reference no more, they are forgotten with
        it. What must be called in any case is registered by ``reference.connection.on_disconnect``.

        Raises:
            DeadReferenceError: the connection has ended.
        """
        driver = self._usable()
        if self._endings is None:
            self._endings = []
        driver.notify_on_disconnect(self, callback, self._endings)

    def dont_notify_on_disconnect(self, callback: Callable[[RemoteReference], object]) -> None:
        """Undo one :meth:`on_disconnect`.

        Raises:
            ValueError: it was not asked for.
        """
        if self._driver is not None:
            self._driver.dont_notify_on_disconnect(self, callback, self._endings or [])

    @property
    def connection(self) -> Connection:
        """The connection through which the object is reached.

        Raises:
            DeadReferenceError: the reference was released.
        """
        if self._driver is None:
            raise DeadReferenceError("the reference was released")
        return self._driver.connection

    def release(self) -> None:
        """Tell the peer that it may forget the object; the reference is dead from here on.

        The peer is told with what is sent next, and calls that are made right after this one may overtake it.
        """
        if self._driver is not None:
            self._usable()
            self._driver = None
            self._session.importer.release(self)

    def _usable(self) -> Driver:
        driver = self._driver
        if driver is None:
            raise DeadReferenceError("the reference was released")
        try:
            running = asyncio.get_running_loop()
        except RuntimeError:
            running = None
        if running is not driver.loop:
            raise misplaced(driver.loop)
        return driver

    def __repr__(self) -> str:
        if self._driver is None:
            return "<RemoteReference released>"
        return f"<RemoteReference {self._luid!r} at {self._driver.connection.peer}>"


class RemoteMethod:
    """A method of a remote object: ``reference.method("say")("hello")``.

    Two are equal when they mean the same method of the same object.
    """

    __slots__ = ("name", "reference")

    def __init__(self, reference: RemoteReference | ReconnectingReference, name: str) -> None:
        self.reference = reference
        self.name = name

    def __call__(self, *args: Any, **kwargs: Any) -> Promise:
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
    """The far end of one replica: what a cacheable object tells of its changes.

    Handed to ``get_state_to_cache_and_observe_for``. The same one is handed to ``stopped_observing``.
    """

    __slots__ = ("_driver",)

    def __init__(self, driver: Driver, broker: Broker, luid: int, perspective: Any) -> None:
        super().__init__(broker, luid, perspective)
        self._driver = driver

    def call(self, name: str, /, *args: Any, **kwargs: Any) -> Promise:
        """Call ``observe_<name>`` of the replica, and promise its answer.

        Raises:
            DeadReferenceError: the replica is gone.
            UsageError: from another thread or event loop than the connection's.
        """
        self.check_place()
        promise = Promise(loop=self._driver.loop)
        promise._driver, promise.deadline = self._driver, None
        promise._call = self._session.outgoing.update(self, name, args, kwargs, promise)
        return promise

    def tell(self, name: str, /, *args: Any, **kwargs: Any) -> None:
        """Call ``observe_<name>`` of the replica and ask for no answer.

        A peer that leaves too many updates unread (``Limits.observer_backlog_bytes``) loses its connection: a
        replica is either true or gone.

        Raises:
            DeadReferenceError: the replica is gone.
            SerializationError: the arguments cannot cross; nothing was sent.
            UsageError: from another thread or event loop than the connection's.
        """
        self.check_place()
        self._session.outgoing.update(self, name, args, kwargs, None)

    def check_place(self) -> None:
        """Make sure that the observer is told where its connection lives.

        Raises:
            UsageError: it is not.
        """
        check_place(self._driver.loop)

    def __repr__(self) -> str:
        return f"<RemoteCacheObserver {self._luid} at {self._driver.connection.peer}>"


class Room:
    """Awaited, it waits until a connection can take more. One per connection, used again and again."""

    __slots__ = ("_driver",)

    def __init__(self, driver: Driver) -> None:
        self._driver = driver

    def __await__(self) -> Generator[Any, None, None]:
        if self._driver.is_full:
            yield from self._driver.wait_for_room().__await__()
