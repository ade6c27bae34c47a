"""Calls of the peer that have a deadline: which are due, and when to look again.

Nearly every call ends long before, so that is what has to be cheap: a call is added and taken off by its id alone, and
only when a deadline may have passed are all of them looked at. The time to look is kept too early rather than exact.
"""

from __future__ import annotations

from typing import Final

from ..queues import NOTHING, own
from .incoming_call import IncomingCall

__all__ = ["NOTHING_DUE", "Expiry"]


class Expiry:
    """The calls of one peer that have a deadline and have not ended. Times are of the driver's clock."""

    __slots__ = ("_calls", "_look_at")

    def __init__(self) -> None:
        self._calls: dict[IncomingCall, float] = NOTHING
        self._look_at = 0.0  # no call is due before

    def __len__(self) -> int:
        return len(self._calls)

    def add(self, call: IncomingCall, due: float) -> None:
        """A call with the deadline ``due`` has arrived."""
        self._look_at = min(self._look_at, due) if self._calls else due
        self._calls = own(self._calls)
        self._calls[call] = due

    def remove(self, call: IncomingCall) -> None:
        """The call has ended, or was withdrawn."""
        self._calls.pop(call, None)

    def next(self) -> float | None:
        """Return when :meth:`take` has to be asked next, or None."""
        return self._look_at if self._calls else None

    def take(self, now: float) -> list[IncomingCall]:
        """Return, and forget, the calls that are due at ``now``, oldest first."""
        if not self._calls or now < self._look_at:
            return []
        due = [call for call, when in self._calls.items() if when <= now]
        for call in due:
            del self._calls[call]
        self._look_at = min(self._calls.values(), default=0.0)
        return due

    def clear(self) -> None:
        """The connection has ended."""
        self._calls.clear()


#: Of every connection on which no call has had a deadline so far. Nothing is put in.
NOTHING_DUE: Final = Expiry()
