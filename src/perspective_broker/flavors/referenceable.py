"""Referenceable: the object stays here, the peer gets a reference to it.

What an export table keeps of it is a :class:`~.target.Target`. :class:`Reference` is the other end, the shape common
to the references of all drivers.
"""

from __future__ import annotations

from collections.abc import Hashable
from typing import TYPE_CHECKING, Any, ClassVar

from ..errors import CallError
from .handle import Name
from .spelling import check_spelling
from .target import Target
from .values import AnyConnection, Perspective, Value

if TYPE_CHECKING:
    from ..ports import ObjectId

__all__ = ["AsReferenceable", "Exportable", "Reference", "Referenceable", "Root"]


class Exportable:
    """Base of every flavor that crosses as a reference.

    Attributes:
        carries_on: whether calls of its methods are part of others that have begun before: a program that is shutting
            down takes them until these have ended.
        hears_of_errors: whether :meth:`unread` is called.
    """

    carries_on: ClassVar[bool] = False
    hears_of_errors: ClassVar[bool] = False

    def __init_subclass__(cls, **kwargs: object) -> None:
        super().__init_subclass__(**kwargs)
        check_spelling(cls)

    def export_key(self, perspective: Perspective) -> Hashable:
        """Return what makes two sendings of this object one object for the peer.

        Unique among all objects alive; an integer is the object's own ``id``.
        """
        raise NotImplementedError

    def export_target(self, perspective: Perspective) -> Target:
        """Return what the peer's calls reach when this object is sent under ``perspective``."""
        raise NotImplementedError

    def forgotten(self) -> None:
        """Called when a peer that held this object does not hold it any more; override it to know.

        Once for each peer, in the event loop's thread: when the peer has released it, or the connection has ended. Then
        methods that run for that peer have not come to their end yet.
        """

    def unread(self, error: CallError) -> None:
        """Called in the place of a method that a peer has called with what could not be read. It must not raise."""


class Referenceable(Exportable):
    """An object whose ``remote_*`` methods can be called by whoever holds a reference to it.

    Methods may be plain or ``async``. What they return, or raise, is the answer.
    """

    def export_key(self, perspective: Perspective) -> Hashable:
        return id(self)

    def export_target(self, perspective: Perspective) -> Target:
        return Target(self, self, "remote_")


class Root(Referenceable):
    """A referenceable to be served: what a peer reaches first, under the name ``root``."""

    def root_object(self, connection: AnyConnection) -> Exportable:
        """Return the root for one new connection; override to give every connection its own.

        Args:
            connection: the :class:`perspective_broker.Connection` that was just made.
        """
        return self


class AsReferenceable(Exportable):
    """A reference to any object, through methods that start with a prefix of one's own choice.

    Args:
        obj: the object that is called.
        prefix: ``AsReferenceable(door, "knock")`` lets a peer call ``door.knock_loudly`` as ``loudly``.

    Raises:
        ValueError: the prefix is empty or no identifier, so it would open more than it names.
    """

    def __init__(self, obj: Value, prefix: str = "remote") -> None:
        if not prefix.isidentifier() or prefix.startswith("_"):
            raise ValueError(f"prefix must be a public identifier, not {prefix!r}")
        self.obj = obj
        self.prefix = prefix

    def export_key(self, perspective: Perspective) -> Hashable:
        return (id(self.obj), self.prefix)

    def export_target(self, perspective: Perspective) -> Target:
        return Target(self, self.obj, self.prefix + "_")


class Reference(Name):
    """An object that lives at the peer. Drivers subclass it with what calling means to them.

    Two references are equal when they mean the same object of the same connection.

    Attributes:
        _session: the broker whose peer owns the object.
        _luid: the owner's id of it.
        _perspective: under which values sent through this reference are coded.
        _received: the session's entry of it, which counts; None for what needs no counting.
    """

    __slots__ = ("__weakref__", "_luid", "_perspective", "_received", "_session")

    _session: Any
    _luid: ObjectId
    _perspective: Perspective
    _received: Any

    def __init__(self, session: Any, luid: ObjectId, perspective: Perspective) -> None:
        self._session = session
        self._luid = luid
        self._perspective = perspective
        self._received = None

    @property
    def _receipts(self) -> int:
        """How often the peer sent it; owed back as releases when the reference is dropped."""
        return 0 if self._received is None else self._received.count

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Reference):
            return NotImplemented
        return self._session is other._session and self._luid == other._luid

    def __hash__(self) -> int:
        return hash((id(self._session), self._luid))
