"""Exportable: the base of every flavor that crosses as a reference.

Its machinery has names that begin with ``_pb_``: programs make the subclasses, whose own names must not meet these, and
completion does not show them. Other modules use the functions.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable
from typing import ClassVar, TypeGuard

from ..errors import CallError
from .offer import Offer
from .spelling import check_spelling
from .target import Target
from .values import Perspective

__all__ = [
    "Exportable",
    "carries_on",
    "export_key",
    "export_target",
    "hears_of_errors",
    "make_offers_by",
    "offer_of",
    "offer_of_class",
    "prefix_of",
    "report_unread",
    "takes_perspective",
]


class Exportable:
    """Base of every flavor that crosses as a reference.

    Args:
        offers: the interface, or a tuple of interfaces, whose methods callers reach: ``class RoomServer(pb.Viewable,
            offers=Room)``. The methods of the class have the prefix of its flavor.

    Raises:
        TypeError: (when a subclass is made) a method has the name of a hook of Twisted's; a method that an interface
            declares is missing, or does not fit.
    """

    _pb_carries_on: ClassVar[bool] = False
    #: The prefix of the methods that callers reach; empty where the flavor has none, and so no interfaces.
    _pb_prefix: ClassVar[str] = ""
    #: Whether its methods get the caller's perspective as their first argument.
    _pb_takes_perspective: ClassVar[bool] = False
    #: What interfaces declare; of a class, or of an object alone.
    _pb_offer: Offer | None = None

    def __init_subclass__(cls, *, offers: object = (), **kwargs: object) -> None:
        super().__init_subclass__(**kwargs)
        check_spelling(cls)
        if _make_offer is not None:
            cls._pb_offer = _make_offer(cls, offers)

    def _pb_export_key(self, perspective: Perspective) -> Hashable:
        """Return the key by which an object that is sent again is the same object for the peer.

        Unique among all objects that are alive; an integer has to be the ``id`` of the object.
        """
        raise NotImplementedError

    def _pb_export_target(self, perspective: Perspective) -> Target:
        """Return the target of the peer's calls when this object is sent under ``perspective``."""
        raise NotImplementedError

    def forgotten(self) -> None:
        """Called when a peer does not hold this object any more; override it.

        Called once for each peer, in the event loop's thread, when the peer has released the object, or the connection
        has ended. Methods that run for that peer may not have ended yet.
        """

    def _pb_unread(self, error: CallError) -> None:
        """Called instead of a method when the peer's arguments could not be decoded, if overridden."""


#: Makes the offer of a new class of objects; the room of interfaces sets it.
_make_offer: Callable[[type[Exportable], object], Offer | None] | None = None


def make_offers_by(make: Callable[[type[Exportable], object], Offer | None]) -> None:
    """Let ``make(cls, offers)`` make the offers of new classes: None for a class without interfaces."""
    global _make_offer
    _make_offer = make


def offer_of(holder: object) -> Offer | None:
    """Return the offer of the class of an object, ready for calls.

    Raises:
        TypeError: a name in the annotations of its interfaces is unknown, or values cannot be checked by one of them.
    """
    offer = holder._pb_offer if isinstance(holder, Exportable) else None
    if offer is not None:
        offer.make_ready()
    return offer


def offer_of_class(cls: type[Exportable]) -> Offer | None:
    """Return the offer of a class, whether it is ready for calls or not."""
    return cls._pb_offer


def prefix_of(cls: type[Exportable]) -> str:
    """Return the prefix of the methods that callers reach; empty where the flavor has none."""
    return cls._pb_prefix


def takes_perspective(cls: type[Exportable]) -> bool:
    """Return whether the methods of a class get the caller's perspective as their first argument."""
    return cls._pb_takes_perspective


def export_key(obj: Exportable, perspective: Perspective) -> Hashable:
    """Return the key by which an object that is sent again is the same object for the peer."""
    return obj._pb_export_key(perspective)


def export_target(obj: Exportable, perspective: Perspective) -> Target:
    """Return the target of a peer's calls to an object that is sent under ``perspective``."""
    target = obj._pb_export_target(perspective)
    if (offer := offer_of(target.holder)) is not None:
        target.offer = offer
    return target


def carries_on(holder: object) -> bool:
    """Return whether calls of an object are part of earlier calls.

    A program that is shutting down accepts them until those have ended.
    """
    return isinstance(holder, Exportable) and holder._pb_carries_on


def hears_of_errors(holder: object) -> TypeGuard[Exportable]:
    """Return whether an object takes part when a peer's arguments could not be decoded."""
    return isinstance(holder, Exportable) and type(holder)._pb_unread is not Exportable._pb_unread


def report_unread(holder: Exportable, error: CallError) -> None:
    """Tell an object that a peer has called it with arguments that could not be decoded. It must not raise."""
    holder._pb_unread(error)
