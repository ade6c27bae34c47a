"""Events of a server: one source, which statistics, observers and the monitor read.

A server has one only where it was asked for; without it nothing of this runs. Calls come by the broker's listener
(:mod:`perspective_broker.session.listening`), connections and logins by their keeper (:mod:`.accepting`)::

    broker.answers.listener ──▶ Counting ─┬▶ MethodTable ──▶ server.methods(), the monitor
                                           └▶ _Watcher ──▶ CallObserver of the program
    accepting ──▶ Events.opened, closed, logged_in ──▶ the same, and the list of closed connections
"""

from __future__ import annotations

import logging
import time
from collections import Counter, deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from ..calls import CallInfo, CallObserver
from ..session import IncomingCall
from .connection import Connection, driver_of
from .counting import CallWatcher, Counting, MethodTable, name_of

__all__ = ["ClosedConnection", "Events"]

log: logging.Logger = logging.getLogger("perspective_broker")

#: Ended connections that are remembered.
_MOST_CLOSED: Final = 100

#: Codes of closed connections that are counted one by one; a peer can choose the code of its farewell.
_MOST_CODES: Final = 64


@dataclass(frozen=True, slots=True)
class ClosedConnection:
    """A connection that has ended; times as of :func:`time.time`."""

    peer: str
    user: str | None
    since: float
    ended: float
    code: str
    reason: str


class Events:
    """The events of one server.

    Args:
        observer: of the program; None when it has none.

    Attributes:
        methods: the counts of each method.
        closed: the last connections that have ended, oldest first.
        closed_by: how many have ended, by code.
        logins: how many logins there were, by method.
        bytes_received: by connections that have ended.
        bytes_sent: likewise.
    """

    def __init__(self, observer: CallObserver | None = None) -> None:
        self.methods: MethodTable = MethodTable()
        self.closed: deque[ClosedConnection] = deque(maxlen=_MOST_CLOSED)
        self.closed_by: Counter[str] = Counter()
        self.logins: Counter[str] = Counter()
        self.bytes_received: int = 0
        self.bytes_sent: int = 0
        self._observer = observer
        self._has_failed = False

    def listen(self, connection: Connection) -> None:
        """Listen to the calls of a connection; called before its first byte."""
        watcher = None if self._observer is None else _Watcher(self, self._observer, connection)
        driver_of(connection).broker.answers.listener = Counting(self.methods, time.monotonic, watcher)

    def opened(self, connection: Connection) -> None:
        """A connection was let in."""
        if self._observer is not None:
            self.tell(self._observer.connection_opened, connection)

    def closed_one(self, connection: Connection) -> None:
        """A connection that was let in has ended."""
        cause = connection.close_cause
        code, reason = ("", "") if cause is None else (cause.code, cause.reason)
        statistics = connection.statistics()
        self.bytes_received += statistics.bytes_received
        self.bytes_sent += statistics.bytes_sent
        self.closed_by[code if code in self.closed_by or len(self.closed_by) < _MOST_CODES else "others"] += 1
        self.closed.append(
            ClosedConnection(
                connection.peer, connection.user, connection.since, time.time(), code[:64], reason[:512]
            )
        )
        if self._observer is not None:
            self.tell(self._observer.connection_closed, connection)

    def logged_in(self, connection: Connection, user: str, method: str) -> None:
        """A peer has logged in."""
        self.logins[method] += 1
        if self._observer is not None:
            self.tell(self._observer.logged_in, connection, user, method)

    def tell(self, hear: Callable[..., None], *arguments: object) -> None:
        """Call a method of the observer. Its first exception is logged."""
        try:
            hear(*arguments)
        except Exception as error:
            if not self._has_failed:
                self._has_failed = True
                log.error(
                    "an observer of calls raised; further exceptions of it are not logged", exc_info=error
                )


class _Watcher(CallWatcher):
    """Tells the observer of the program of the calls of one connection."""

    def __init__(self, events: Events, observer: CallObserver, connection: Connection) -> None:
        self._events = events
        self._observer = observer
        self._connection = connection
        self._running: dict[IncomingCall, CallInfo] = {}

    def began(self, call: IncomingCall, began: float) -> None:
        connection = self._connection
        info = self._running[call] = CallInfo(
            name_of(call), call.name, connection.peer, connection.user, call.request, call.size, began
        )
        self._events.tell(self._observer.call_began, info)

    def ended(self, call: IncomingCall, error: BaseException | None) -> None:
        self._events.tell(self._observer.call_ended, self._running.pop(call), error)
