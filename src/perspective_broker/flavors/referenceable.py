"""Referenceable: the object stays here, and the peer gets a reference to it.

An export table keeps a :class:`~.target.Target` for it. :class:`Reference`, at the other end, is the base of the
references of all drivers.
"""

from __future__ import annotations

from collections.abc import Hashable
from typing import TYPE_CHECKING, Protocol

from .exporting import Exportable
from .handle import Name
from .target import Target
from .values import AnyConnection, Perspective, Value

if TYPE_CHECKING:
    from ..ports import ObjectId

__all__ = [
    "AsReferenceable",
    "Exportable",
    "Reference",
    "Referenceable",
    "Root",
    "entry_of",
    "luid_of",
    "perspective_of",
    "receipts_of",
    "session_of",
    "set_entry",
]


class Referenceable(Exportable):
    """An object whose ``remote_*`` methods can be called by every peer that holds a reference to it.

    Methods may be plain or ``async``. The value that they return, or the exception that they raise, is the answer.
    """

    _pb_prefix = "remote_"

    def _pb_export_key(self, perspective: Perspective) -> Hashable:
        return id(self)

    def _pb_export_target(self, perspective: Perspective) -> Target:
        return Target(self, self, "remote_")


class Root(Referenceable):
    """The object that is served: a peer reaches it first, under the name ``root``."""

    def root_object(self, connection: AnyConnection) -> Exportable:
        """Return the root for a new connection; override it to give each connection its own.

        Args:
            connection: the new :class:`perspective_broker.Connection`.
        """
        return self


class AsReferenceable(Exportable):
    """Makes an object of any class referenceable, through methods with a prefix of your choice.

    Args:
        obj: the object that is called.
        prefix: ``AsReferenceable(door, "knock")`` lets a peer call ``door.knock_loudly`` as ``loudly``.

    Raises:
        ValueError: the prefix is empty or not a public identifier, so it would open more than it names.
    """

    def __init__(self, obj: Value, prefix: str = "remote") -> None:
        if not prefix.isidentifier() or prefix.startswith("_"):
            raise ValueError(f"prefix: must be a public identifier, not {prefix!r}")
        self.obj = obj
        self.prefix = prefix

    def _pb_export_key(self, perspective: Perspective) -> Hashable:
        return (id(self.obj), self.prefix)

    def _pb_export_target(self, perspective: Perspective) -> Target:
        return Target(self, self.obj, self.prefix + "_")


class Receipts(Protocol):
    """Counts how often the peer has sent an object."""

    @property
    def count(self) -> int: ...


class Reference(Name):
    """A reference to an object of the peer. Drivers make subclasses that send calls.

    Two references are equal when they stand for the same object of the same connection.

    Attributes:
        _session: the broker whose peer owns the object.
        _luid: the owner's id of the object.
        _perspective: the perspective under which values sent through this reference are encoded.
        _received: the broker's entry that counts receipts; None for an object without a count.
    """

    __slots__ = ("__weakref__", "_luid", "_perspective", "_received", "_session")

    _session: object
    _luid: ObjectId
    _perspective: Perspective
    _received: Receipts | None

    def __init__(self, session: object, luid: ObjectId, perspective: Perspective) -> None:
        self._session = session
        self._luid = luid
        self._perspective = perspective
        self._received = None

    @property
    def _receipts(self) -> int:
        """How often the peer has sent the object; as many are released when the reference is dropped."""
        return 0 if self._received is None else self._received.count

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Reference):
            return NotImplemented
        return self._session is other._session and self._luid == other._luid

    def __hash__(self) -> int:
        return hash((id(self._session), self._luid))


def session_of(reference: Reference) -> object:
    """Return the broker whose peer owns the object."""
    return reference._session


def luid_of(reference: Reference) -> ObjectId:
    """Return the owner's id of the object."""
    return reference._luid


def perspective_of(reference: Reference) -> Perspective:
    """Return the perspective under which values sent through a reference are encoded."""
    return reference._perspective


def receipts_of(reference: Reference) -> int:
    """Return how often the peer has sent the object; as many are released when the reference is dropped."""
    return reference._receipts


def entry_of(reference: Reference) -> Receipts | None:
    """Return the broker's entry that counts receipts; None for an object without a count."""
    return reference._received


def set_entry(reference: Reference, entry: Receipts) -> None:
    """Let ``entry`` count the receipts."""
    reference._received = entry
