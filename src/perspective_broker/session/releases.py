"""References and replicas that are gone, and have not been released yet."""

from __future__ import annotations

from collections.abc import Hashable
from typing import TypeAlias

from ..native import mypyc_attr
from ..ports import ObjectId
from .context import Context
from .weak import Received

__all__ = ["Release", "Releases"]


#: The owner's id, the key of the entry among the imports (None for a replica), and how often it was received.
Release: TypeAlias = tuple[ObjectId, Hashable | None, int]


@mypyc_attr(allow_interpreted_subclasses=True)
class Releases:
    """A queue that is filled where the collector runs (in any thread, in the middle of anything) and emptied in turns.

    Args:
        context: of the connection.
    """

    def __init__(self, context: Context) -> None:
        self._host = context.host
        self._lifecycle = context.lifecycle
        self._waiting: list[Release] = []  # appended to from any thread
        self._is_announced = False

    def __bool__(self) -> bool:
        return bool(self._waiting)

    def reference_ended(self, received: Received) -> None:
        """A reference is gone."""
        if received.count:
            self.add(received.luid, received.key, received.count)

    def replica_ended(self, luid: int) -> None:
        """A replica is gone."""
        self.add(luid, None, 0)

    def add(self, luid: ObjectId, key: Hashable | None, receipts: int) -> None:
        """Queue one release."""
        if self._lifecycle.ended:
            return
        self._waiting.append((luid, key, receipts))
        if not self._is_announced:
            self._is_announced = True
            self._host.wake_from_anywhere()

    def begin_taking(self) -> None:
        """From now on the driver is woken again when something is queued."""
        self._is_announced = False

    def take(self) -> list[Release]:
        """Return, and forget, what is queued; what another thread adds meanwhile stays."""
        taken = self._waiting[:]
        del self._waiting[: len(taken)]
        return taken

    def clear(self) -> None:
        """The connection has ended."""
        self._waiting.clear()
