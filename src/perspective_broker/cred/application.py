"""Application, Service, Perspective: services behind one login, and the views that users have of them.

The three share a file because their types refer to each other: an application has services, a service has perspectives,
and each of these knows to what it belongs.
"""

from __future__ import annotations

import asyncio
import inspect
import logging
import weakref
from collections.abc import Awaitable, Hashable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Generic, Literal, TypeVar, cast

from ..flavors import Exportable, Target, check_spelling
from ..flavors.values import AnyConnection, Value
from ..hooks import HookResult, contained, maybe_await, run
from .admission import refusal
from .authorizer import Authorizer
from .identity import Identity, checked_key
from .lifetime import Detacher, LoginConnection
from .login import CertificateUser, Given, LoginRoot
from .memory import MemoryAuthorizer
from .verifiers import make_secrets

__all__ = ["Application", "Perspective", "Service"]

log: logging.Logger = logging.getLogger("perspective_broker")


if TYPE_CHECKING:  # the default of a type variable is known to type checkers alone, before Python 3.13
    from typing_extensions import TypeVar as _TypeVar

    _Service_co = _TypeVar("_Service_co", bound="Service", default="Service", covariant=True)
else:
    _Service_co = TypeVar("_Service_co", covariant=True)


class Perspective(Exportable, Generic[_Service_co]):
    """A user's view of a service. Its holder calls the ``perspective_*`` methods, plain or ``async``.

    A service makes one for each name and keeps it as long as a client is attached to it; several clients may be
    attached at a time. A subclass with an ``__init__`` of its own takes a name and calls this one.
    ``class Player(pb.Perspective["Cards"])`` says of which class its ``service`` is; that concerns type checkers alone.

    Args:
        name: its name within the service.

    Raises:
        TypeError: the name is not text.
    """

    _pb_prefix = "perspective_"

    def __init__(self, name: str) -> None:
        if not isinstance(name, str):
            raise TypeError(f"perspective name: must be a str, not {type(name).__name__}")
        self._name = name
        self._service: Service | None = None
        self._clients: list[Value] = []

    @property
    def name(self) -> str:
        """Its name within the service."""
        return self._name

    @property
    def service(self) -> _Service_co:
        """The service to which it belongs.

        Raises:
            RuntimeError: no service has made or loaded it.
        """
        if self._service is None:
            raise RuntimeError(f"perspective {self._name!a} belongs to no service")
        return cast(_Service_co, self._service)

    @property
    def clients(self) -> tuple[Value, ...]:
        """The ``client`` of each attached client (a reference, or None), oldest first."""
        return tuple(self._clients)

    @property
    def attached_count(self) -> int:
        """The number of clients that are attached now."""
        return len(self._clients)

    # -- hooks

    def attached(self, client: Value, identity: Identity) -> HookResult:
        """Called when a client has logged in; override it. May be ``async``.

        Args:
            client: the reference that the client passed, or None.
            identity: the user.

        Returns:
            The perspective that the client gets: this one (None means the same) or another, which then belongs to the
            same service. While a client of the same user is attached, the next one gets the same object, if the one
            returned for it has the same class and name.

        Raises:
            Exception: the client receives it like the error of any method, and is not attached.
        """
        return self

    def detached(self, client: Value, identity: Identity) -> HookResult:
        """Called once when an attached client has logged out, closed or lost its connection. May be ``async``.

        It is called on the object whose :meth:`attached` was called, even if that returned another one.
        """

    def broker_attached(self, client: Value, identity: Identity, connection: AnyConnection) -> HookResult:
        """Called like :meth:`attached`, with the connection as well; by default it calls :meth:`attached`."""
        return self.attached(client, identity)

    def broker_detached(self, client: Value, identity: Identity, connection: AnyConnection) -> HookResult:
        """Called like :meth:`detached`, with the connection as well; by default it calls :meth:`detached`.

        The connection has ended, unless the client has logged out.
        """
        return self.detached(client, identity)

    # -- convenience

    async def make_identity(
        self, password: str, *, name: str | None = None, legacy: bool = False
    ) -> Identity:
        """Make a user who may attach to this perspective, and add it to the application's authorizer.

        Args:
            password: the user's password.
            name: the user's name; the perspective's own name when None.
            legacy: allow the MD5 logins of 2002 and of today's Twisted for this user.

        Raises:
            IdentityExists: a user of that name exists already.
            RuntimeError: this perspective belongs to no service, or its service to no application.
            TypeError, ValueError: the name or the password is not valid.
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

    def _pb_export_key(self, perspective: object) -> Hashable:
        return id(self)

    def _pb_export_target(self, perspective: object) -> Target:
        return Target(self, self, "perspective_", perspective=self)

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {getattr(self, '_name', '?')!a}>"


@dataclass(eq=False, slots=True)
class _Attachment:
    """One client of one perspective. Keeps both perspectives alive."""

    requested: Perspective
    given: Perspective
    connection: LoginConnection


class Service:
    """A set of perspectives to which users log in. Override :meth:`get_perspective` to load perspectives.

    Args:
        name: its name in the application and in the keys of users.
        perspective_class: the class that :meth:`create_perspective` calls with the perspective's name.
        second_login: what happens to a connection whose user logs in again, as the same perspective, on another one.
            ``"coexist"``: nothing. ``"replace"``: it is closed immediately with the code ``"replaced"``, and calls that
            it has sent and that have not begun are dropped. Its ``detached`` has begun, and has ended unless it is
            ``async``, before the new client is attached.

    Raises:
        TypeError: the name is not text, or ``perspective_class`` is not a subclass of Perspective.
        ValueError: ``second_login`` has another value.
    """

    def __init_subclass__(cls, **kwargs: object) -> None:
        super().__init_subclass__(**kwargs)
        check_spelling(cls)

    def __init__(
        self,
        name: str,
        perspective_class: type[Perspective] = Perspective,
        *,
        second_login: Literal["coexist", "replace"] = "coexist",
    ) -> None:
        if not isinstance(name, str):
            raise TypeError(f"service name: must be a str, not {type(name).__name__}")
        if not isinstance(perspective_class, type) or not issubclass(perspective_class, Perspective):  # type: ignore[redundant-expr]
            raise TypeError("perspective_class: must be a subclass of pb.Perspective")
        if second_login not in ("coexist", "replace"):
            raise ValueError(f'second_login: must be "coexist" or "replace", not {second_login!r}')
        self._name = name
        self._perspective_class = perspective_class
        self._replaces = second_login == "replace"
        self._application: Application | None = None
        self._perspectives: weakref.WeakValueDictionary[str, Perspective] = weakref.WeakValueDictionary()
        self._loading: dict[str, asyncio.Task[Perspective]] = {}
        #: (identity's name, perspective's name) -> clients, oldest first
        self._attachments: dict[tuple[str, str], list[_Attachment]] = {}

    @property
    def name(self) -> str:
        """Its name in the application."""
        return self._name

    @property
    def application(self) -> Application:
        """The application to which it was added.

        Raises:
            RuntimeError: it was not added to one.
        """
        if self._application is None:
            raise RuntimeError(f"service {self._name!a} belongs to no application")
        return self._application

    @property
    def attached_count(self) -> int:
        """The number of clients that are attached now."""
        return sum(map(len, self._attachments.values()))

    # -- perspectives

    def create_perspective(self, name: str) -> Perspective:
        """Make a new perspective. Logins find it as long as it is alive; an attached client keeps it alive."""
        return self._adopt(name, self._perspective_class(name))

    def get_perspective(self, name: str) -> Perspective | Awaitable[Perspective | None] | None:
        """Return the perspective called ``name``, for a user who has the key.

        Override it to load perspectives; it may be ``async``. It is called when no perspective of that name is in
        memory, and for each name only once at a time.

        Returns:
            By default a new perspective; None when there is no such perspective.

        Raises:
            KeyError: the same as None.
        """
        return self.create_perspective(name)

    async def request_perspective(self, name: str) -> Perspective:
        """Return the perspective of that name from memory, or from :meth:`get_perspective`.

        Raises:
            KeyError: there is no such perspective.
        """
        found = self._perspectives.get(name)
        if found is not None:
            return found
        loading = self._loading.get(name)
        if loading is None:
            got = self.get_perspective(name)
            if not inspect.isawaitable(got):
                return self._adopt(name, got)
            # A task, because the first caller may be cancelled while others wait.
            loading = self._loading[name] = asyncio.ensure_future(contained(self._load(name, got)))
            loading.add_done_callback(lambda _: self._loading.pop(name))
        return await asyncio.shield(loading)

    async def _load(self, name: str, coming: Awaitable[Perspective | None]) -> Perspective:
        return self._adopt(name, await coming)

    def _adopt(self, name: str, perspective: Perspective | None) -> Perspective:
        if perspective is None:
            raise KeyError(name)
        if not isinstance(perspective, Perspective):
            raise TypeError(
                f"get_perspective: must return a Perspective or None, not {type(perspective).__name__}"
            )
        perspective._service = self
        self._perspectives[name] = perspective
        return perspective

    # -- logins

    async def _attach(
        self, perspective: Perspective, client: Value, identity: Identity, connection: LoginConnection
    ) -> Given:
        """Attach a client. The application has checked that its user may.

        Returns:
            The perspective that the client gets, and its detacher.
        """
        key = (identity.name, perspective.name)
        if self._replaces:
            self._end_others(key, connection)
        returned = await maybe_await(perspective.broker_attached(client, identity, connection))
        given = self._select(key, perspective, returned)
        attachment = _Attachment(perspective, given, connection)
        self._attachments.setdefault(key, []).append(attachment)
        given._clients.append(client)

        def detach() -> HookResult:
            clients = given._clients
            del clients[next(i for i, other in enumerate(clients) if other is client)]
            self._attachments[key].remove(attachment)
            if not self._attachments[key]:
                del self._attachments[key]
            return perspective.broker_detached(client, identity, connection)

        detacher = Detacher(connection, detach)
        if self._replaces:  # again, because another login may have come while this one was being attached
            self._end_others(key, connection)
        return given, detacher

    def _select(self, key: tuple[str, str], perspective: Perspective, returned: object) -> Perspective:
        """Return the perspective that a client gets, from what its ``attached`` has returned.

        All clients of a user at one perspective share the object that the first of them got, as long as it has the
        class and the name of the one that ``attached`` returns for them now.
        """
        if returned is None or returned is perspective:
            return perspective
        if not isinstance(returned, Perspective):
            raise TypeError(
                f"{type(perspective).__name__}.attached: must return a Perspective or None, "
                f"not {type(returned).__name__}"
            )
        for attachment in self._attachments.get(key, ()):
            shared = attachment.given
            if type(shared) is type(returned) and shared.name == returned.name:
                return shared
        if returned._service is None:
            returned._service = self
        return returned

    def _end_others(self, key: tuple[str, str], connection: LoginConnection) -> None:
        for attachment in list(self._attachments.get(key, ())):
            if attachment.connection is not connection:
                attachment.connection.end_at_once("replaced", "the same user has logged in again")

    # -- life

    def start_service(self) -> HookResult:
        """Called before the application is served for the first time; override it. May be ``async``."""

    def stop_service(self) -> HookResult:
        """Called when the last server of the application has closed; override it. May be ``async``."""

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self._name!a}, {self.attached_count} attached>"


S = TypeVar("S", bound=Service)


class Application(LoginRoot):
    """Services behind one login: ``pb.serve(app, ...)``.

    Users log in as in 2002, with the names of a service and a perspective. A user who logs in without the name of a
    service, as at a portal of today's Twisted, gets the perspective of their own name, of the default service.

    Args:
        name: its name.
        authorizer: knows the users; a new MemoryAuthorizer when None. The caller closes it.
        legacy_login: see :class:`LoginRoot`; ``certificate_user`` as well.
        default_service: the name of the service for users who name none; the only service when None.
        anonymous: the name of the perspective for anonymous users; None refuses them.

    Raises:
        TypeError: the name is not text, or ``authorizer`` is not an Authorizer.
        ValueError: ``anonymous`` is not a valid name.
    """

    def __init__(
        self,
        name: str,
        authorizer: Authorizer | None = None,
        *,
        legacy_login: bool = False,
        certificate_user: CertificateUser | None = None,
        default_service: str | None = None,
        anonymous: str | None = None,
    ) -> None:
        if not isinstance(name, str):
            raise TypeError(f"application name: must be a str, not {type(name).__name__}")
        super().__init__(
            MemoryAuthorizer() if authorizer is None else authorizer, legacy_login, certificate_user
        )
        self._name = name
        self._default_service = default_service
        self._anonymous = None if anonymous is None else Identity(anonymous)
        self._services: dict[str, Service] = {}
        self._started: list[Service] = []
        self._servers = 0

    @property
    def name(self) -> str:
        """Its name."""
        return self._name

    @property
    def services(self) -> tuple[Service, ...]:
        """All services, in the order in which they were added."""
        return tuple(self._services.values())

    def add_service(self, service: S) -> S:
        """Add a service, before the application is served, and return it.

        Raises:
            TypeError: it is not a Service.
            ValueError: a service of that name was added already.
            RuntimeError: it belongs to an application already, or this one is being served.
        """
        if not isinstance(service, Service):
            raise TypeError(f"add_service: must be a Service, not {type(service).__name__}")
        if service.name in self._services:
            raise ValueError(f"there is a service {service.name!a} already")
        if self._servers:
            raise RuntimeError("services are added before the application is served")
        if service._application is not None:
            raise RuntimeError(f"service {service.name!a} belongs to an application already")
        service._application = self
        self._services[service.name] = service
        return service

    def get_service(self, name: str) -> Service:
        """Return the service of that name.

        Raises:
            KeyError: there is no such service.
        """
        return self._services[name]

    # -- logins

    async def _attach(
        self, identity: Identity, service: str, perspective: str, client: Value, connection: LoginConnection
    ) -> Given:
        if not identity.has_key(service, perspective):
            raise refusal()
        return await self._attach_without_key(identity, service, perspective, client, connection)

    def why_refused(self, service: str, perspective: str) -> str:
        return "no key" if service in self._services else "no such service"

    async def _attach_without_key(
        self, identity: Identity, service: str, perspective: str, client: Value, connection: LoginConnection
    ) -> Given:
        found = self._services.get(service)
        if found is None:
            raise refusal()
        try:
            requested = await found.request_perspective(perspective)
        except KeyError:
            log.debug("service %.64a has no perspective %.64a", service, perspective)
            raise refusal() from None
        return await found._attach(requested, client, identity, connection)

    async def _request_avatar(
        self, identity: Identity | None, mind: Value, connection: LoginConnection
    ) -> Given:
        if self._default_service is not None:
            service = self._default_service
        elif len(self._services) == 1:
            (service,) = self._services
        else:
            raise refusal()
        if identity is not None:
            return await self._attach(identity, service, identity.name, mind, connection)
        if self._anonymous is None:
            raise refusal()
        name = self._anonymous.name
        return await self._attach_without_key(self._anonymous, service, name, mind, connection)

    # -- life

    async def begin_serving(self) -> None:
        """Start the services, unless another server has (called by ``serve``)."""
        self._servers += 1
        if self._servers > 1:
            return
        try:
            for service in self.services:
                await maybe_await(service.start_service())
                self._started.append(service)
        except BaseException:
            await self.end_serving()
            raise

    async def end_serving(self) -> None:
        """Stop the services, last one first, when no other server is left (called by the server)."""
        self._servers -= 1
        while not self._servers and self._started:
            service = self._started.pop()
            await run(service.stop_service, "stop_service of %r raised", service)

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self._name!a}, {len(self._services)} services>"
