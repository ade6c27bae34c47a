"""What a login begins on a connection, and how it ends exactly once."""

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
    """What logins ask of a connection; see :class:`perspective_broker.Connection`."""

    peer: str
    source: str | None
    is_local: bool
    is_secure: bool

    @property
    def limits(self) -> Limits: ...

    def expect_login(self) -> None: ...

    def welcome(self) -> None: ...

    def speak_as_in_2002(self) -> None: ...

    def channel_binding(self) -> bytes | None: ...

    @property
    def peer_certificate(self) -> PeerCertificate | None: ...

    def end(self, code: str, reason: str) -> None: ...

    def end_at_once(self, code: str, reason: str) -> None: ...

    def on_disconnect(self, callback: Callable[[Any], object]) -> None: ...

    def dont_notify_on_disconnect(self, callback: Callable[[Any], object]) -> None: ...


#: Event loops forget tasks that nobody holds; whoever began these may be gone before they end.
_running: set[asyncio.Future[Any]] = set()


class Detacher:
    """Sees to it that what a login began ends exactly once: by logging out, or with the connection.

    What was attached to a connection that has ended meanwhile is detached at once.

    Args:
        connection: whose end it watches.
        detach: called once, without arguments; plain or ``async``.
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
        # The connection waits for what is returned: also for a logout that it has overtaken.
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
        """Whether it was detached, or is being detached."""
        return self._detach is None

    async def log_out(self) -> None:
        """Detach now, if that was not done before, and wait until it is."""
        self._begin()
        if self._running is not None:
            # Goes on to its end, also when the caller's connection is lost meanwhile.
            await asyncio.shield(self._running)
        try:
            self._connection.dont_notify_on_disconnect(self._on_disconnect)
        except ValueError:
            pass  # the connection was lost in between
