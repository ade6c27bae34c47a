"""Watching: what a server was asked to observe of itself, and the monitor that shows it."""

from __future__ import annotations

import asyncio

from ..calls import CallObserver, MethodStatistics
from ..errors import UsageError
from .events import Events

__all__ = ["Watching"]


class Watching:
    """The observation of one server.

    Args:
        statistics: whether calls are counted.
        observer: of the program.
    """

    def __init__(self, statistics: bool, observer: CallObserver | None) -> None:
        self._wanted = statistics or observer is not None
        self._observer = observer
        self.events: Events | None = None  # made with the event loop

    def begin(self, loop: asyncio.AbstractEventLoop) -> Events | None:
        """Return the source of events, or None when nobody listens."""
        if self._wanted:
            self.events = Events(loop.time, self._observer)
        return self.events

    def methods(self) -> list[MethodStatistics]:
        """See :meth:`.Server.methods`."""
        if not self._wanted:
            raise UsageError("methods are not counted here: give serve statistics=True")
        return [] if self.events is None else self.events.methods.statistics()
