"""Perspective: the object that stands for who is calling, and the helper that ends what an attachment began."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Callable, Hashable
from typing import TYPE_CHECKING, Any, Protocol

from ..errors import DeadReferenceError
from ..flavors import Exportable, Target
from ..hooks import contained
from .identity import Identity, checked_key
from .verifiers import make_secrets

if TYPE_CHECKING:
    from ..limits import Limits
    from .service import Service

__all__ = ["Detacher", "LoginConnection", "Perspective"]


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
    def peer_certificate(self) -> Any: ...

    def end(self, code: str, reason: str) -> None: ...

    def end_at_once(self, code: str, reason: str) -> None: ...

    def on_disconnect(self, callback: Callable[[Any], object]) -> None: ...

    def dont_notify_on_disconnect(self, callback: Callable[[Any], object]) -> None: ...


class Perspective(Exportable):
    """One user's view of a service. Its holder calls the ``perspective_*`` methods, plain or ``async``.

    A service makes one per name and keeps it as long as somebody is attached; several clients may be at the same time.
    A subclass with an ``__init__`` of its own takes a name and calls this one.

    Args:
        name: its name within the service.

    Raises:
        TypeError: the name is not text.
    """

    def __init__(self, name: str) -> None:
        if not isinstance(name, str):
            raise TypeError(f"a perspective's name is text (str), not {type(name).__name__}")
        self._name = name
        self._service: Service | None = None
        self._clients: list[Any] = []

    @property
    def name(self) -> str:
        """Its name within the service."""
        return self._name

    @property
    def service(self) -> Service:
        """The service that it is a perspective of.

        Raises:
            RuntimeError: no service has made or loaded it.
        """
        if self._service is None:
            raise RuntimeError(f"perspective {self._name!a} belongs to no service")
        return self._service

    @property
    def clients(self) -> tuple[Any, ...]:
        """What each attached client handed over (a reference, or None), in the order in which they came."""
        return tuple(self._clients)

    @property
    def attached_count(self) -> int:
        """How many clients are attached now."""
        return len(self._clients)

    # -- hooks

    def attached(self, client: Any, identity: Identity) -> Any:
        """A client has logged in; override it to know. May be ``async``.

        Args:
            client: the reference that the client handed over, or None.
            identity: who it is.

        Returns:
            The perspective that the client gets: this one, or another, which belongs to the same service from then on.
            None stands for this one. While a client of the same user is attached, the next one gets the same object as
            that, if what is returned for it is of the same class and name.

        Raises:
            Exception: the client is told of it as of any method's, and is not attached.
        """
        return self

    def detached(self, client: Any, identity: Identity) -> Any:
        """A client that was attached is gone: logged out, hung up, or lost. Called once for each. May be ``async``.

        On the object whose :meth:`attached` was called, also when that returned another.
        """

    def broker_attached(self, client: Any, identity: Identity, connection: Any) -> Any:
        """The same as :meth:`attached`, which it calls, for those who want to know the connection as well."""
        return self.attached(client, identity)

    def broker_detached(self, client: Any, identity: Identity, connection: Any) -> Any:
        """The same as :meth:`detached`, which it calls. The connection has ended, unless the client logged out."""
        return self.detached(client, identity)

    # -- convenience

    async def make_identity(
        self, password: str, *, name: str | None = None, legacy: bool = False
    ) -> Identity:
        """Make a user who may attach to this perspective, and keep it in the application's authorizer.

        Args:
            password: the user's.
            name: the user's; the perspective's own name when None.
            legacy: allow the MD5 logins of 2002 and of today's Twisted for it.

        Raises:
            IdentityExists: there is such a user already.
            RuntimeError: this perspective, or its service, belongs to nobody.
            TypeError, ValueError: the name or the password cannot be one.
        """
        authorizer = self.service.application.authorizer
        key = checked_key(self.service.name, self._name)
        identity = Identity(self._name if name is None else name, keys=[key])
        identity.verifier, identity.legacy_digest = await make_secrets(
            password, legacy=legacy, iterations=await authorizer.iterations()
        )
        await authorizer.add_identity(identity)
        return identity

    # -- Exportable

    def export_key(self, perspective: Any) -> Hashable:
        return id(self)

    def export_target(self, perspective: Any) -> Target:
        return Target(self, self, "perspective_", perspective=self)

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {getattr(self, '_name', '?')!a}>"


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

    def _on_disconnect(self, connection: Any) -> asyncio.Future[Any] | None:
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
