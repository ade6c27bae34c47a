"""Referenceable: the object stays here, and the peer gets a reference to it.

An export table keeps a :class:`~.target.Target` for it. A :class:`~.reference.Reference` is at the other end.
"""

from __future__ import annotations

from collections.abc import Hashable

from .exporting import Exportable
from .target import Target
from .values import AnyConnection, Perspective, Value

__all__ = ["AsReferenceable", "Exportable", "Referenceable", "Root"]


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
