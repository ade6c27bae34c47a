"""Exportable: the base of every flavor that crosses as a reference.

Its machinery has names that begin with ``_pb_``: programs make the subclasses, whose own names must not meet these, and
completion does not show them. Other modules use the functions.
"""

from __future__ import annotations

from collections.abc import Hashable
from typing import ClassVar, TypeGuard

from ..errors import CallError
from .spelling import check_spelling
from .target import Target
from .values import Perspective

__all__ = ["Exportable", "carries_on", "export_key", "export_target", "hears_of_errors", "report_unread"]


class Exportable:
    """Base of every flavor that crosses as a reference."""

    _pb_carries_on: ClassVar[bool] = False

    def __init_subclass__(cls, **kwargs: object) -> None:
        super().__init_subclass__(**kwargs)
        check_spelling(cls)

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


def export_key(obj: Exportable, perspective: Perspective) -> Hashable:
    """Return the key by which an object that is sent again is the same object for the peer."""
    return obj._pb_export_key(perspective)


def export_target(obj: Exportable, perspective: Perspective) -> Target:
    """Return the target of a peer's calls to an object that is sent under ``perspective``."""
    return obj._pb_export_target(perspective)


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
