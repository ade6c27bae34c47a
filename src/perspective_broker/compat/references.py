"""References to the peer's objects, and the view of our own objects that the peer holds."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any

from twisted.python import log
from twisted.spread.interfaces import IUnjellyable
from zope.interface import implementer

from .. import flavors
from ..dialects.building import MAX_KEY_BITS
from ..errors import DecodeError, SerializationError
from .flavors import Serializable
from .registry import called_as_in_twisted

if TYPE_CHECKING:
    from .broker import Broker

__all__ = ["Local", "RemoteMethod", "RemoteReference"]


class RemoteMethod:
    """A method of a peer's object, to be called like a function. Two are equal when they stand for the same method."""

    def __init__(self, obj: RemoteReference, name: Any) -> None:
        self.obj = obj
        self.name = name

    def __call__(self, *args: Any, **kw: Any) -> Any:
        return self.obj.callRemote(self.name, *args, **kw)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, RemoteMethod):
            return NotImplemented
        return (self.obj, self.name) == (other.obj, other.name)

    def __hash__(self) -> int:
        return hash((self.obj, self.name))


@implementer(IUnjellyable)
class RemoteReference(flavors.Reference, Serializable):
    """A reference to an object of the peer.

    Attributes:
        broker: of the connection.
        luid: the peer's id of the object.
        perspective: under which values sent through this reference cross.
        disconnectCallbacks: what :meth:`notifyOnDisconnect` was given; None when it was called.
    """

    #: The reference of the core that counts, if this is another one: released when its last holder is gone.
    counted: Any = None

    def __init__(self, perspective: Any, broker: Broker, luid: Any, doRefCount: Any = 1) -> None:
        super().__init__(broker.session, luid.decode() if isinstance(luid, bytes) else luid, perspective)
        self.broker = broker
        self.disconnectCallbacks: Any = []

    @property
    def luid(self) -> Any:
        return self._luid.encode() if isinstance(self._luid, str) else self._luid

    @property
    def perspective(self) -> Any:
        return self._perspective

    def unjellyFor(self, unjellier: Any, unjellyList: Any) -> Any:
        """Become the reference for a list of the peer, in classes registered for a type tag of their own."""
        _, luid = unjellyList
        if type(luid) is not int or luid < 0 or luid.bit_length() > MAX_KEY_BITS:
            raise DecodeError("an object id is a small integer")
        broker = unjellier.invoker
        self.counted = broker.importer.import_reference(luid, broker.unserializingPerspective)
        self.__init__(broker.unserializingPerspective, broker, luid)  # type: ignore[misc] # as Twisted does
        return self

    def callRemote(self, _name: Any, *args: Any, **kw: Any) -> Any:
        """Call the object's method ``_name``; return a Deferred of its answer.

        Some keywords are not the method's: ``pbanswer=0`` asks for no answer (and returns None); ``pbcallback`` and
        ``pberrback`` are added to the Deferred.

        Raises:
            DeadReferenceError: the connection has ended.
        """
        return self.broker.send_call(partial(self.broker.send_to, self), _name, args, kw)

    def remoteMethod(self, key: Any) -> RemoteMethod:
        """Return the object's method ``key``."""
        return RemoteMethod(self, key)

    def notifyOnDisconnect(self, callback: Callable[[Any], object]) -> None:
        """Call ``callback(reference)`` when the connection ends."""
        assert callable(callback)
        self.disconnectCallbacks.append(callback)
        if len(self.disconnectCallbacks) == 1:
            self.broker.notifyOnDisconnect(self._disconnected)

    def dontNotifyOnDisconnect(self, callback: Callable[[Any], object]) -> None:
        """Undo one :meth:`notifyOnDisconnect`."""
        self.disconnectCallbacks.remove(callback)
        if not self.disconnectCallbacks:
            self.broker.dontNotifyOnDisconnect(self._disconnected)

    def _disconnected(self) -> None:
        callbacks, self.disconnectCallbacks = self.disconnectCallbacks, None
        for callback in callbacks:
            try:
                callback(self)
            except Exception:
                log.err(None, "A callback for the end of a connection raised")

    def jellyFor(self, jellier: Any) -> Any:
        if jellier.invoker is None:
            return jellier.unpersistable("References cannot be serialized")
        if jellier.invoker is not self.broker:
            raise SerializationError("a reference cannot cross another connection than its own", culprit=self)
        return [b"local", self.luid]


class Local:
    """One object of ours that the peer holds, as :attr:`Broker.localObjects` shows it."""

    def __init__(self, object: Any, perspective: Any = None, refcount: int = 1) -> None:
        self.object = object
        self.perspective = perspective
        self.refcount = refcount

    def __repr__(self) -> str:
        return f"<pb.Local {type(self.object).__name__} ref:{self.refcount}>"


called_as_in_twisted("pb", Local, RemoteMethod, RemoteReference)
