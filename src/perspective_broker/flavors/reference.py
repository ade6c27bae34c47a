"""Reference: what this side holds of an object of the peer. It is the base of the references of all drivers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from ..native import mypyc_attr
from .handle import Name
from .values import Perspective

if TYPE_CHECKING:
    from ..ports import ObjectId

__all__ = ["Reference", "entry_of", "luid_of", "perspective_of", "receipts_of", "session_of", "set_entry"]


class Receipts(Protocol):
    """Counts how often the peer has sent an object."""

    @property
    def count(self) -> int: ...


@mypyc_attr(allow_interpreted_subclasses=True)
class Reference(Name):
    """A reference to an object of the peer. Drivers make subclasses that send calls.

    Two references are equal when they stand for the same object of the same connection.

    Attributes:
        _session: the broker whose peer owns the object.
        _luid: the owner's id of the object.
        _perspective: the perspective under which values sent through this reference are encoded.
        _received: the broker's entry that counts receipts; None for an object without a count.
    """

    #: Those of drivers have ``__weakref__`` as well: tables hold references weakly.
    __slots__ = ("_luid", "_perspective", "_received", "_session")

    def __init__(self, session: object, luid: ObjectId, perspective: Perspective) -> None:
        self._session: object = session
        self._luid: ObjectId = luid
        self._perspective: Perspective = perspective
        self._received: Receipts | None = None

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
