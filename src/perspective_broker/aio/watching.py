"""Watching: what a server was asked to observe of itself, and the monitor that shows it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Protocol

from ..calls import CallObserver, MethodStatistics
from ..errors import UsageError
from .events import Events

if TYPE_CHECKING:
    from ..monitor import Monitor

__all__ = ["Watching"]


class Showable(Protocol):
    """A server."""

    @property
    def connections(self) -> Sequence[Any]: ...

    def statistics(self) -> Any: ...


class Draining(Protocol):
    """What knows whether a server drains."""

    @property
    def is_draining(self) -> bool: ...


class _Seen:
    """A server, as the monitor sees it."""

    def __init__(self, server: Showable, accepting: Draining, events: Events) -> None:
        self._server = server
        self._accepting = accepting
        self.events = events

    @property
    def connections(self) -> Sequence[Any]:
        return self._server.connections

    @property
    def is_draining(self) -> bool:
        return self._accepting.is_draining

    def statistics(self) -> Any:
        return self._server.statistics()

    def methods(self) -> list[MethodStatistics]:
        return self.events.methods.statistics()


class Watching:
    """The observation of one server.

    Args:
        statistics: whether calls are counted.
        observer: of the program.
        monitor: the url of the monitor; None for none.

    Raises:
        ImportError: the extra ``monitor`` is not installed.
        ValueError: it is not such a url.
    """

    def __init__(self, statistics: bool, observer: CallObserver | None, monitor: str | None = None) -> None:
        self._wanted = statistics or observer is not None or monitor is not None
        self._observer = observer
        self.events: Events | None = None  # made with the event loop
        self._url = monitor
        self._monitor: Monitor | None = None
        if monitor is not None:
            _monitor_class()  # an extra that is missing is told of now

    def begin(self) -> Events | None:
        """Return the source of events, or None when nobody listens."""
        if self._wanted:
            self.events = Events(self._observer)
        return self.events

    async def listen(self, server: Showable, accepting: Draining) -> None:
        """Begin to show a server, if it has a monitor."""
        if self._url is not None:
            assert self.events is not None
            self._monitor = _monitor_class()(self._url, _Seen(server, accepting, self.events))
            await self._monitor.listen()

    @property
    def monitor_url(self) -> str | None:
        """See :attr:`.Server.monitor_url`."""
        return None if self._monitor is None else self._monitor.url

    async def close(self) -> None:
        """Show it no more."""
        if self._monitor is not None:
            await self._monitor.close()

    def methods(self) -> list[MethodStatistics]:
        """See :meth:`.Server.methods`."""
        if not self._wanted:
            raise UsageError("methods are not counted here: give serve statistics=True")
        return [] if self.events is None else self.events.methods.statistics()


def _monitor_class() -> type[Monitor]:
    try:
        from ..monitor import Monitor
    except ImportError as error:
        if error.name != "h11":
            raise
        raise ImportError("a monitor needs the extra of that name: perspective-broker[monitor]") from None
    return Monitor
