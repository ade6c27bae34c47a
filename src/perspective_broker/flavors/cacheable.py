"""Cacheable: the state crosses once, then only what changes.

The owner is asked for the state together with an observer; what it tells the observer from then on reaches the
``observe_*`` methods of the peer's replica, in order, beginning right after the state. When the peer has dropped
its replica, or the connection has ended, the owner hears of it once.
"""

from __future__ import annotations

from typing import Any, SupportsIndex

from .copyable import Copyable, RemoteCopy
from .handle import Handle
from .values import AnyObserver, Perspective, Value

__all__ = ["Cacheable", "Observer", "RemoteCache"]


class Cacheable(Copyable):
    """An object that peers keep up-to-date replicas of. A :class:`RemoteCache` is what it arrives as."""

    def get_state_to_cache_and_observe_for(self, perspective: Perspective, observer: AnyObserver) -> Value:
        """Return the state as it is now, and keep ``observer`` to tell it what changes.

        Args:
            perspective: who will see it (None outside of any).
            observer: a :class:`perspective_broker.RemoteCacheObserver`; ``observer.tell("moved", 3)`` calls
                ``observe_moved(3)`` of the replica. Told before this method returns, it still comes after the state.
        """
        return self.get_state_to_copy_for(perspective)

    def stopped_observing(self, perspective: Perspective, observer: AnyObserver) -> None:
        """Forget ``observer``: its replica is gone. Called once for each that was handed in."""


class RemoteCache(RemoteCopy):
    """A replica of a peer's :class:`Cacheable`. Its ``observe_*`` methods are called with what changes.

    The same object of the peer is always the same replica. Sent back home it arrives as the original.
    """

    __slots__ = ("__dict__", "__weakref__", "_pb_luid", "_pb_session")

    _pb_session: Any
    _pb_luid: int

    def __reduce_ex__(self, protocol: SupportsIndex) -> str | tuple[Any, ...]:
        if getattr(self, "_pb_session", None) is None:
            return super().__reduce_ex__(protocol)
        raise TypeError(f"a replica ({type(self).__name__}) cannot be copied or pickled; copy what it holds")

    def updates_ended(self) -> None:
        """Called once when no update can come any more: the connection has ended, or an update could not cross."""


class Observer(Handle):
    """The far end of one replica, as its owner sees it. Drivers subclass it with what telling means to them.

    Attributes:
        _session: the broker whose peer holds the replica.
        _luid: the replica's id.
        _perspective: under which updates are coded.
    """

    __slots__ = ("__weakref__", "_luid", "_perspective", "_session")

    def __init__(self, session: Any, luid: int, perspective: Perspective) -> None:
        self._session = session
        self._luid = luid
        self._perspective = perspective
