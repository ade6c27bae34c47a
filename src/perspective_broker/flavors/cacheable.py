"""Cacheable: the state crosses once, and then only changes.

The owner returns the state and keeps an observer. Updates that it sends through the observer reach the ``observe_*``
methods of the peer's replica, in order, beginning right after the state. When the peer has dropped its replica, or the
connection has ended, ``stopped_observing`` of the owner is called once.
"""

from __future__ import annotations

from typing import Any, SupportsIndex

from .copyable import Copyable, RemoteCopy
from .handle import Handle
from .values import AnyObserver, Perspective, Value

__all__ = [
    "Cacheable",
    "Observer",
    "RemoteCache",
    "observer_luid",
    "observer_perspective",
    "replica_luid",
    "replica_session",
]


class Cacheable(Copyable):
    """An object of which peers keep up-to-date replicas. It arrives as a :class:`RemoteCache`."""

    def get_state_to_cache_and_observe_for(self, perspective: Perspective, observer: AnyObserver) -> Value:
        """Return the current state, and keep ``observer`` to send changes through it.

        Args:
            perspective: the perspective of the peer (None outside of any).
            observer: a :class:`perspective_broker.annotations.RemoteCacheObserver`; ``observer.tell("moved", 3)`` calls
                ``observe_moved(3)`` of the replica. An update sent before this method returns follows the state, too.
        """
        return self.get_state_to_copy_for(perspective)

    def stopped_observing(self, perspective: Perspective, observer: AnyObserver) -> None:
        """Called once for each observer, when its replica is gone: drop ``observer``."""


class RemoteCache(RemoteCopy):
    """A replica of a peer's :class:`Cacheable`. The owner's updates call its ``observe_*`` methods.

    The same object of the peer is always the same replica. Sent back to its owner, it arrives as the original.
    """

    __slots__ = ("__dict__", "__weakref__", "_pb_luid", "_pb_session")

    _pb_session: object
    _pb_luid: int

    def __reduce_ex__(self, protocol: SupportsIndex) -> str | tuple[Any, ...]:
        if getattr(self, "_pb_session", None) is None:
            return super().__reduce_ex__(protocol)
        raise TypeError(f"a replica ({type(self).__name__}) cannot be copied or pickled; copy its attributes")

    def updates_ended(self) -> None:
        """Called once after the last update: the connection has ended, or an update could not cross."""


class Observer(Handle):
    """A replica at a peer, as its owner sees it. Drivers make subclasses that send updates.

    Attributes:
        _session: the broker whose peer holds the replica.
        _luid: the replica's id.
        _perspective: the perspective under which updates are encoded.
    """

    __slots__ = ("__weakref__", "_luid", "_perspective", "_session")

    def __init__(self, session: object, luid: int, perspective: Perspective) -> None:
        self._session = session
        self._luid = luid
        self._perspective = perspective


def replica_session(replica: RemoteCache) -> object | None:
    """Return the broker whose peer owns the object; None for an object that has not come from a peer."""
    return getattr(replica, "_pb_session", None)


def replica_luid(replica: RemoteCache) -> int:
    """Return the owner's id of a replica."""
    return replica._pb_luid


def observer_luid(observer: Observer) -> int:
    """Return the id of the replica at the peer."""
    return observer._luid


def observer_perspective(observer: Observer) -> Perspective:
    """Return the perspective under which updates are encoded."""
    return observer._perspective
