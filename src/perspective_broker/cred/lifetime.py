"""The lifetime of a login: what logins need of a connection, and the helper that detaches exactly once."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Callable
from typing import Any, Protocol

from ..certificates import PeerCertificate
from ..errors import DeadReferenceError
from ..hooks import contained
from ..limits import Limits

__all__ = ["Detacher", "LoginConnection"]


class LoginConnection(Protocol):
    """What logins need of a connection; see :class:`perspective_broker.Connection`."""

    peer: str
    source: str | None
    is_local: bool
    is_secure: bool

    @property
    def limits(self) -> Limits: ...

    def expect_login(self) -> None: ...

    def welcome(self) -> None: ...

    def logged_in(self, user: str, method: str) -> None: ...

    def speak_as_in_2002(self) -> None: ...

    def channel_binding(self) -> bytes | None: ...

    @property
    def peer_certificate(self) -> PeerCertificate | None: ...

    def end(self, code: str, reason: str) -> None: ...

    def end_at_once(self, code: str, reason: str) -> None: ...

    def on_disconnect(self, callback: Callable[[Any], object]) -> None: ...

    def dont_notify_on_disconnect(self, callback: Callable[[Any], object]) -> None: ...


#: Event loops hold tasks weakly, and the object that began one of these may be gone before the task ends.
_running: set[asyncio.Future[Any]] = set()


class Detacher:
    """Calls ``detach`` exactly once: at the logout, or when the connection ends.

    If the connection has ended already, it calls ``detach`` immediately.

    Args:
        connection: the connection whose end it watches.
        detach: called without arguments; plain or ``async``.
    """

    def __init__(self, connection: LoginConnection, detach: Callable[[], Any]) -> None:
        self._connection = connection
        self._detach: Callable[[], Any] | None = detach
        self._running: asyncio.Future[Any] | None = None
        try:
            connection.on_disconnect(self._on_disconnect)
        except DeadReferenceError:
            self._begin()

    def _on_disconnect(self, connection: object) -> asyncio.Future[Any] | None:
        # The connection waits for the future that is returned, also for that of a logout which began before.
        self._begin()
        return self._running

    def _begin(self) -> None:
        detach, self._detach = self._detach, None
        if detach is not None:
            result = detach()
            if inspect.isawaitable(result):
                self._running = asyncio.ensure_future(contained(result))
                _running.add(self._running)
                self._running.add_done_callback(_running.discard)

    @property
    def has_ended(self) -> bool:
        """Whether ``detach`` was called."""
        return self._detach is None

    async def log_out(self) -> None:
        """Call ``detach`` if that was not done before, and wait until it has ended."""
        self._begin()
        if self._running is not None:
            # It runs to its end, even if the caller's connection is lost meanwhile.
            await asyncio.shield(self._running)
        try:
            self._connection.dont_notify_on_disconnect(self._on_disconnect)
        except ValueError:
            pass  # the connection was lost in between
