"""Offers: the methods that the interfaces of a class declare, as the dispatch and the session see them.

What the annotations of an interface say is known above this room (:mod:`perspective_broker.interfaces`), which makes
the offers. Nothing here is asked of objects whose classes have no interface.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TypeAlias

from ..native import mypyc_attr
from .values import Value

__all__ = ["Arguments", "Offer", "OfferedMethod", "Sender"]


@mypyc_attr(allow_interpreted_subclasses=True)
class Sender:
    """Makes of what a method returned what crosses."""

    def send(self, value: Value) -> Value:
        """Return what crosses.

        Raises:
            SerializationError: the value is not what the interface says.
        """
        raise NotImplementedError


#: Positional and keyword arguments as the method takes them, and what its answer goes through (None: it is sent as
#: it is).
Arguments: TypeAlias = tuple[Sequence[Value], Mapping[str, Value], Sender | None]


@mypyc_attr(allow_interpreted_subclasses=True)
class OfferedMethod:
    """A method of an interface, as it is found in one class.

    Attributes:
        attribute: its name in the class.
        is_sync: whether it was made by ``pb.sync``.
    """

    __slots__ = ("attribute", "is_sync")

    def __init__(self, attribute: str, is_sync: bool) -> None:
        self.attribute: str = attribute
        self.is_sync: bool = is_sync

    def receive(self, args: Sequence[Value], kwargs: Mapping[str, Value], classic: bool) -> Arguments:
        """Check the arguments of a peer, and make of them what the interface says.

        Args:
            args: as the dialect decoded them, like ``kwargs``.
            classic: whether the dialect is a classic one.

        Raises:
            BadArguments: they do not fit the interface.
        """
        raise NotImplementedError


@mypyc_attr(allow_interpreted_subclasses=True)
class Offer:
    """The methods that one class offers by its interfaces."""

    def find(self, name: str) -> OfferedMethod | None:
        """Return the method that callers reach under a name; None when no interface declares one."""
        raise NotImplementedError

    def includes(self, interface: type) -> bool:
        """Return whether an interface is among those that are offered."""
        raise NotImplementedError

    def make_ready(self) -> None:
        """Look the annotations of the interfaces up, when this has not been done.

        Raises:
            TypeError: a name in them is unknown, or values cannot be checked by one of them.
        """
        raise NotImplementedError
