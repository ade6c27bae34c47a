"""Held references: their connection, and their end. The calls on them are in :mod:`.references`."""

from __future__ import annotations

from asyncio import _get_running_loop
from collections.abc import Callable
from typing import Self

from ..errors import DeadReferenceError
from ..flavors import Reference
from ..ports import ObjectId, Perspective
from ..session import Broker
from .affinity import wrong_loop
from .caller import Caller
from .connection import Connection, dont_notify_at_end, notify_at_end
from .endings import Ending

__all__ = ["HeldReference", "caller_of", "usable"]


class HeldReference(Reference):
    """A reference to an object of the peer, as far as its connection is concerned."""

    __slots__ = ("__weakref__", "_caller", "_endings")

    def __init__(self, caller: Caller, broker: Broker, luid: ObjectId, perspective: Perspective) -> None:
        # The same as Reference.__init__, without a call, because references come by the ten thousand.
        self._session, self._luid, self._perspective, self._received = broker, luid, perspective, None
        self._caller: Caller | None = caller  # None when the reference was released
        self._endings: list[Ending] | None = None  # made with the first, because few references have any

    def on_disconnect(self, callback: Callable[[Self], object]) -> None:
        """Call ``callback(reference)`` once when the connection ends.

        The reference keeps its callbacks: as soon as the program holds the reference no more, they are forgotten with
        it. Register a callback that must be called in any case with ``reference.connection.on_disconnect``.

        Raises:
            DeadReferenceError: the connection has ended.
        """
        caller = usable(self)
        if self._endings is None:
            self._endings = []
        notify_at_end(caller.connection, self, callback, self._endings)

    def dont_notify_on_disconnect(self, callback: Callable[[Self], object]) -> None:
        """Undo one :meth:`on_disconnect`.

        Raises:
            ValueError: it was not asked for.
        """
        if self._caller is not None:
            dont_notify_at_end(self._caller.connection, self, callback, self._endings or [])

    @property
    def connection(self) -> Connection:
        """The connection through which the object is reached.

        Raises:
            DeadReferenceError: the reference was released.
        """
        if self._caller is None:
            raise DeadReferenceError("the reference was released")
        return self._caller.connection

    def release(self) -> None:
        """Tell the peer that it may forget the object; the reference is dead from here on.

        The release leaves with what is sent next, and calls that are made right after this one may overtake it.
        """
        if self._caller is not None:
            caller = usable(self)
            self._caller = None
            caller.release(self)

    def __repr__(self) -> str:
        if self._caller is None:
            return f"<{type(self).__name__} released>"
        return f"<{type(self).__name__} {self._luid!r} at {self._caller.connection.peer}>"


def caller_of(reference: HeldReference) -> Caller | None:
    """Return what a reference may ask of its connection; None when the reference was released."""
    return reference._caller


def usable(reference: HeldReference) -> Caller:
    """Return what a reference may ask of its connection, here and now.

    Raises:
        DeadReferenceError: the reference was released.
        UsageError: the event loop of its connection does not run here.
    """
    caller = reference._caller
    if caller is None:
        raise DeadReferenceError("the reference was released")
    if _get_running_loop() is not caller.loop:
        raise wrong_loop(caller.loop)
    return caller
