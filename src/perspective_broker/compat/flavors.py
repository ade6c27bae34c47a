"""The flavors under Twisted's names: each is a flavor of the core, with the hooks that programs override."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from functools import partial
from typing import Any

from twisted.internet import defer
from twisted.python import log
from twisted.python.reflect import qual
from zope.interface import Interface, implementer

from .. import errors, flavors
from ..flavors import export_target
from ..flavors.dispatch import find_method
from ..flavors.message_receiver import MessageReceiver
from ..ports import Method
from .jelly import (
    setUnjellyableFactoryForClass,
    setUnjellyableForClass,
    setUnjellyableForClassTree,
    unjellyableRegistry,
)
from .jellyable import Jellyable, Unjellyable, getInstanceState
from .registry import called_as_in_twisted

__all__ = [
    "Cacheable",
    "Copyable",
    "IPBRoot",
    "Jellyable",
    "NoSuchMethod",
    "Referenceable",
    "RemoteCache",
    "RemoteCacheMethod",
    "RemoteCacheObserver",
    "RemoteCopy",
    "Root",
    "Serializable",
    "Unjellyable",
    "ViewPoint",
    "Viewable",
    "copyTags",
    "setCopierForClass",
    "setCopierForClassTree",
    "setFactoryForClass",
    "setUnjellyableFactoryForClass",
    "setUnjellyableForClass",
    "setUnjellyableForClassTree",
    "unjellyCached",
    "unjellyLCache",
    "unjellyLocal",
]

setCopierForClass = setUnjellyableForClass
setCopierForClassTree = setUnjellyableForClassTree
setFactoryForClass = setUnjellyableFactoryForClass
copyTags = unjellyableRegistry

copy_atom = b"copy"
cache_atom = b"cache"
cached_atom = b"cached"
remote_atom = b"remote"


class NoSuchMethod(AttributeError):
    """The object has no method of that name for its callers."""

    __module__ = "twisted.spread.flavors"


class IPBRoot(Interface):
    """The object from which a server factory makes roots."""

    def rootObject(broker):  # type: ignore[no-untyped-def]
        """Return the root object for one connection."""


class Received:
    """Arguments, or keywords, that the broker has decoded already: ``broker.unserialize`` returns its content."""

    __slots__ = ("value",)

    def __init__(self, value: Any) -> None:
        self.value: Any = value


class Message:
    """One call, on its way to ``remoteMessageReceived`` of its object."""

    __slots__ = ("deliver", "name")

    def __init__(self, deliver: Callable[..., Any], name: str) -> None:
        self.deliver: Callable[..., Any] = deliver
        self.name: str = name

    def __call__(self, broker: Any, args: Any, kwargs: Any) -> Any:
        return self.deliver(broker, self.name, Received(args), Received(kwargs))


class _Holder(MessageReceiver):
    """Passes every message to its object, which looks up the names itself."""

    __slots__ = ("_obj",)

    def __init__(self, obj: Any) -> None:
        self._obj = obj

    def find_message(self, name: str) -> Method:
        return Message(self._obj.remoteMessageReceived, name)


def dispatch(
    broker: Any, holder: Any, prefix: str, message: Any, leading: tuple[Any, ...], args: Any, kw: Any
) -> tuple[Method, Any]:
    """Run the method that a message names; return it and its result.

    Raises:
        NoSuchMethod: there is none.
    """
    name = message.decode() if isinstance(message, bytes) else message
    try:
        method = find_method(holder, prefix, name)
    except errors.NoSuchMethod as error:
        raise NoSuchMethod(f"No such method: {prefix}{name:.64}") from error
    try:
        return method, method(*leading, *args, **kw)
    except TypeError:
        log.msg(f"{method!r:.200} didn't accept its {len(args)} arguments and {len(kw)} keywords")
        raise


class Serializable(Jellyable):
    """Base of objects that can cross a connection; programs derive from a flavor below."""

    def processUniqueID(self) -> Hashable:
        """Return the key by which an object that is sent again is the same object for the peer."""
        return id(self)


class Referenceable(Serializable, flavors.Exportable):
    """Stays here; the peer gets a reference, and calls ``remote_*`` methods."""

    perspective: Any = None

    def remoteMessageReceived(self, broker: Any, message: Any, args: Any, kw: Any) -> Any:
        """Run the method that the peer called, and return the serialized result."""
        _, result = dispatch(
            broker, self, "remote_", message, (), broker.unserialize(args), broker.unserialize(kw)
        )
        return broker.serialize(result, self.perspective)

    def _pb_export_key(self, perspective: Any) -> Hashable:
        return self.processUniqueID()

    def _pb_export_target(self, perspective: Any) -> flavors.Target:
        return flavors.Target(self, _Holder(self), "", (), self.perspective)

    def jellyFor(self, jellier: Any) -> Any:
        return [remote_atom, jellier.invoker.registerReference(self)]


class _Registered(flavors.Exportable):
    """The exported form of an object without a flavor, which gets the peer's messages all the same."""

    def __init__(self, obj: Any) -> None:
        self._obj = obj

    def _pb_export_key(self, perspective: Any) -> Hashable:
        key: Hashable = self._obj.processUniqueID()
        return key

    def _pb_export_target(self, perspective: Any) -> flavors.Target:
        return flavors.Target(self._obj, _Holder(self._obj), "", (), getattr(self._obj, "perspective", None))


def exportable(obj: Any) -> flavors.Exportable:
    """Return the exported form of ``obj``, for a program that makes a reference to it."""
    return obj if isinstance(obj, flavors.Exportable) else _Registered(obj)


@implementer(IPBRoot)
class Root(Referenceable):
    """A referenceable to be served."""

    def rootObject(self, broker: Any) -> Any:
        """Return the root for one connection."""
        return self


class ViewPoint(Referenceable):
    """An object as seen from one perspective: the peer's call of ``x`` runs ``object.view_x(perspective, ...)``."""

    def __init__(self, perspective: Any, object: Any) -> None:
        self.perspective = perspective
        self.object = object

    def processUniqueID(self) -> Hashable:
        return id(self.perspective), id(self.object)

    def remoteMessageReceived(self, broker: Any, message: Any, args: Any, kw: Any) -> Any:
        args = broker.unserialize(args, self.perspective)
        kw = broker.unserialize(kw, self.perspective)
        method, result = dispatch(broker, self.object, "view_", message, (self.perspective,), args, kw)
        return broker.serialize(result, self.perspective, method, args, kw)


class Viewable(Serializable, flavors.Exportable):
    """Crosses as a :class:`ViewPoint` from the perspective under which it is sent."""

    def _pb_export_key(self, perspective: Any) -> Hashable:
        return ViewPoint(perspective, self).processUniqueID()

    def _pb_export_target(self, perspective: Any) -> flavors.Target:
        target = export_target(ViewPoint(perspective, self), perspective)
        # What comes home is the view, as with Twisted; it keeps the perspective and this object alive.
        return target

    def jellyFor(self, jellier: Any) -> Any:
        return ViewPoint(jellier.invoker.serializingPerspective, self).jellyFor(jellier)


class Copyable(Serializable, flavors.Copyable):
    """Crosses as a type tag and a state; arrives as the class that the receiver registered for the tag."""

    def getStateToCopy(self) -> Any:
        """Return the state."""
        return self.__dict__

    def getStateToCopyFor(self, perspective: Any) -> Any:
        """Return the state for one perspective."""
        return self.getStateToCopy()

    def getTypeToCopy(self) -> Any:
        """Return the type tag."""
        return qual(self.__class__).encode()

    def getTypeToCopyFor(self, perspective: Any) -> Any:
        """Return the type tag for one perspective."""
        return self.getTypeToCopy()

    def get_type_to_copy_for(self, perspective: Any) -> str:
        tag = self.getTypeToCopyFor(perspective)
        return tag.decode() if isinstance(tag, bytes) else str(tag)

    def get_state_to_copy_for(self, perspective: Any) -> Any:
        return self.getStateToCopyFor(perspective)

    def jellyFor(self, jellier: Any) -> Any:
        if jellier.invoker is None:
            return getInstanceState(self, jellier)
        perspective = jellier.invoker.serializingPerspective
        tag = self.get_type_to_copy_for(perspective).encode()
        state = self.getStateToCopyFor(perspective)
        sexp = jellier.prepare(self)
        sexp.extend([tag, jellier.jelly(state)])
        return jellier.preserve(self, sexp)


class Cacheable(Copyable, flavors.Cacheable):
    """Crosses once with its state; later calls of the observer reach the peer's replica."""

    def getStateToCacheAndObserveFor(self, perspective: Any, observer: Any) -> Any:
        """Return the current state, and keep ``observer`` to send changes."""
        return self.getStateToCopyFor(perspective)

    def stoppedObserving(self, perspective: Any, observer: Any) -> None:
        """Forget ``observer``: the peer has dropped its replicas."""

    def get_state_to_cache_and_observe_for(self, perspective: Any, observer: Any) -> Any:
        return self.getStateToCacheAndObserveFor(perspective, observer)

    def stopped_observing(self, perspective: Any, observer: Any) -> None:
        self.stoppedObserving(perspective, observer)

    def jellyFor(self, jellier: Any) -> Any:
        if jellier.invoker is None:
            return getInstanceState(self, jellier)
        luid, state = jellier.invoker.cache_for(self)
        if state is None:
            return [cached_atom, luid]
        tag = self.get_type_to_copy_for(jellier.invoker.serializingPerspective).encode()
        sexp = jellier.prepare(self)
        sexp.extend([tag, luid, jellier.jelly(state.value)])
        return jellier.preserve(self, sexp)


class RemoteCopy(Unjellyable, flavors.RemoteCopy):
    """The form in which a peer's :class:`Copyable` arrives, if :func:`setUnjellyableForClass` has registered it."""

    def setCopyableState(self, state: Any) -> None:
        """Set the state that arrived: by default, every entry as an attribute.

        Raises:
            DecodeError: it would replace a method, or a special attribute, which no honest peer does.
        """
        taken = {}
        for key, value in (state or {}).items():
            name = key.decode() if isinstance(key, bytes) else key
            if isinstance(name, str) and (
                (name.startswith("__") and name.endswith("__"))
                or name == "postUnjelly"
                or callable(getattr(type(self), name, None))
            ):
                raise errors.DecodeError(f"a peer may not set {name[:64]!a} of a {type(self).__name__}")
            taken[name] = value
        self.__dict__ = taken

    def set_copyable_state(self, state: Any) -> None:
        self.setCopyableState(state)


class RemoteCache(RemoteCopy, flavors.RemoteCache, Serializable):
    """A replica of a peer's :class:`Cacheable`; the owner's updates call its ``observe_*`` methods.

    Attributes:
        broker: of the connection it came through; None when it did not.
        luid: its id there.
    """

    @property
    def broker(self) -> Any:
        session = getattr(self, "_pb_session", None)
        return None if session is None else session.host

    @property
    def luid(self) -> Any:
        return getattr(self, "_pb_luid", None)

    def remoteMessageReceived(self, broker: Any, message: Any, args: Any, kw: Any) -> Any:
        """Run the method that the owner called, and return the serialized result."""
        args, kw = broker.unserialize(args), broker.unserialize(kw)
        method, result = dispatch(broker, self, "observe_", message, (), args, kw)
        return broker.serialize(result, None, method, args, kw)

    def jellyFor(self, jellier: Any) -> Any:
        if jellier.invoker is None:
            return getInstanceState(self, jellier)
        if jellier.invoker is not self.broker:
            raise errors.SerializationError("a replica cannot cross another connection", culprit=self)
        return [b"lcache", self.luid]


class RemoteCacheObserver(flavors.Observer):
    """A replica at a peer, as its owner sees it.

    Attributes:
        broker: of its connection.
        perspective: who keeps the replica.
    """

    def __init__(self, broker: Any, session: Any, luid: int, perspective: Any) -> None:
        super().__init__(session, luid, perspective)
        self.broker = broker

    @property
    def perspective(self) -> Any:
        return self._perspective

    def callRemote(self, _name: Any, *args: Any, **kw: Any) -> Any:
        """Call ``observe_<name>`` of the replica; the same keywords are special as with a reference.

        Once the peer has dropped the replica there is nobody to be told, and the Deferred has fired with None.

        Raises:
            DeadReferenceError: the connection has ended.
        """
        session = self.broker.session
        if not self.broker.disconnected and session.tables.observers.find(self._luid) is None:
            return defer.succeed(None)
        return self.broker.send_call(partial(session.outgoing.update, self), _name, args, kw)

    def remoteMethod(self, key: Any) -> RemoteCacheMethod:
        """Return the replica's method, to be called like a function."""
        return RemoteCacheMethod(key, self)

    def __repr__(self) -> str:
        return f"<RemoteCacheObserver {self._luid} of {self.broker!r}>"


class RemoteCacheMethod:
    """A method of a peer's replica. Two are equal when they stand for the same method."""

    def __init__(self, name: Any, observer: RemoteCacheObserver) -> None:
        self.name = name
        self.observer = observer

    def __call__(self, *args: Any, **kw: Any) -> Any:
        return self.observer.callRemote(self.name, *args, **kw)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, RemoteCacheMethod):
            return NotImplemented
        return (self.name, self.observer) == (other.name, other.observer)

    def __hash__(self) -> int:
        return hash((self.name, self.observer))


def _read(unjellier: Any, unjellyList: Any) -> Any:
    """Return the value of a list on the unjellier's connection."""
    return unjellier.unjelly(unjellyList)


#: For ``cached``, ``lcache`` and ``local`` lists: a replica kept here, our own object whose replica comes back, our own
#: object. The codec reads these words itself, so the three are the same.
unjellyCached = unjellyLCache = unjellyLocal = _read


called_as_in_twisted(
    "flavors",
    Cacheable,
    Copyable,
    Referenceable,
    RemoteCache,
    RemoteCacheMethod,
    RemoteCacheObserver,
    RemoteCopy,
    Root,
    Serializable,
    Viewable,
    ViewPoint,
)
