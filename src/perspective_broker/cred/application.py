"""An application, its services, and their perspectives: what is served behind one login, and who sees what of it.

The three know each other: a perspective has a service, a service has an application, and both hold what they have. So
they share this file.
"""

from __future__ import annotations

import asyncio
import inspect
import logging
import weakref
from collections.abc import Awaitable, Hashable
from dataclasses import dataclass
from typing import Literal, TypeVar

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

log = logging.getLogger("perspective_broker")


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
        self._clients: list[Value] = []

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
    def clients(self) -> tuple[Value, ...]:
        """What each attached client handed over (a reference, or None), in the order in which they came."""
        return tuple(self._clients)

    @property
    def attached_count(self) -> int:
        """How many clients are attached now."""
        return len(self._clients)

    # -- hooks

    def attached(self, client: Value, identity: Identity) -> HookResult:
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

    def detached(self, client: Value, identity: Identity) -> HookResult:
        """A client that was attached is gone: logged out, hung up, or lost. Called once for each. May be ``async``.

        On the object whose :meth:`attached` was called, also when that returned another.
        """

    def broker_attached(self, client: Value, identity: Identity, connection: AnyConnection) -> HookResult:
        """The same as :meth:`attached`, which it calls, for those who want to know the connection as well."""
        return self.attached(client, identity)

    def broker_detached(self, client: Value, identity: Identity, connection: AnyConnection) -> HookResult:
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

    def export_key(self, perspective: object) -> Hashable:
        return id(self)

    def export_target(self, perspective: object) -> Target:
        return Target(self, self, "perspective_", perspective=self)

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {getattr(self, '_name', '?')!a}>"


@dataclass(eq=False, slots=True)
class _Attachment:
    """One client at one perspective. Keeps both alive."""

    asked_for: Perspective
    perspective: Perspective
    connection: LoginConnection


class Service:
    """What users log in to. Override :meth:`get_perspective` to load perspectives from elsewhere.

    Args:
        name: its name in the application and in the users' keys.
        perspective_class: what :meth:`create_perspective` makes; called with the perspective's name.
        second_login: what becomes of a connection whose user comes again, as the same perspective, on another one:
            with ``"coexist"`` nothing, with ``"replace"`` it is closed with the code ``"replaced"``, at once: what it
            said and was not acted on is dropped. Its ``detached`` has begun, and has ended unless it is ``async``,
            before the new client is attached.

    Raises:
        TypeError: the name is not text, or ``perspective_class`` is no class of perspectives.
        ValueError: ``second_login`` is something else.
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
            raise TypeError(f"a service's name is text (str), not {type(name).__name__}")
        if not isinstance(perspective_class, type) or not issubclass(perspective_class, Perspective):  # type: ignore[redundant-expr]
            raise TypeError("perspective_class is a subclass of pb.Perspective")
        if second_login not in ("coexist", "replace"):
            raise ValueError(f'second_login is "coexist" or "replace", not {second_login!r}')
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
        """Its name."""
        return self._name

    @property
    def application(self) -> Application:
        """The application that it was added to.

        Raises:
            RuntimeError: there is none.
        """
        if self._application is None:
            raise RuntimeError(f"service {self._name!a} belongs to no application")
        return self._application

    @property
    def attached_count(self) -> int:
        """How many clients are attached now."""
        return sum(map(len, self._attachments.values()))

    def set_application(self, application: Application) -> None:
        """Belong to an application (called by its ``add_service``).

        Raises:
            RuntimeError: it belongs to one already.
        """
        if self._application is not None:
            raise RuntimeError(f"service {self._name!a} belongs to an application already")
        self._application = application

    # -- perspectives

    def create_perspective(self, name: str) -> Perspective:
        """Make a new perspective. As long as somebody keeps it, logins find it; a client that is attached does."""
        return self._adopt(name, self._perspective_class(name))

    def get_perspective(self, name: str) -> Perspective | Awaitable[Perspective | None] | None:
        """Return the perspective called ``name``, for a user who has the key.

        Override it to load them; it may be ``async``. Asked when there is none in memory, and never twice at a time
        for one name.

        Returns:
            By default a new one; None when there is no such perspective.

        Raises:
            KeyError: the same as None.
        """
        return self.create_perspective(name)

    async def request_perspective(self, name: str) -> Perspective:
        """Return the perspective of that name which is in memory, or get it.

        Raises:
            KeyError: there is none.
        """
        found = self._perspectives.get(name)
        if found is not None:
            return found
        loading = self._loading.get(name)
        if loading is None:
            got = self.get_perspective(name)
            if not inspect.isawaitable(got):
                return self._adopt(name, got)
            # A task, for who asked first may give up while others wait.
            loading = self._loading[name] = asyncio.ensure_future(contained(self._load(name, got)))
            loading.add_done_callback(lambda _: self._loading.pop(name))
        return await asyncio.shield(loading)

    async def _load(self, name: str, coming: Awaitable[Perspective | None]) -> Perspective:
        return self._adopt(name, await coming)

    def _adopt(self, name: str, perspective: Perspective | None) -> Perspective:
        if perspective is None:
            raise KeyError(name)
        if not isinstance(perspective, Perspective):
            raise TypeError(f"a service has Perspectives, not a {type(perspective).__name__}")
        perspective._service = self
        self._perspectives[name] = perspective
        return perspective

    # -- logins

    async def attach(
        self, perspective: Perspective, client: Value, identity: Identity, connection: LoginConnection
    ) -> tuple[Perspective, Detacher]:
        """Attach a client (called by the application, which has judged that it may).

        Returns:
            What the client gets, and what ends it.
        """
        key = (identity.name, perspective.name)
        if self._replaces:
            self._end_others(key, connection)
        returned = await maybe_await(perspective.broker_attached(client, identity, connection))
        given = self._to_give(key, perspective, returned)
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
        if self._replaces:  # once more: another may have come while this one was being attached
            self._end_others(key, connection)
        return given, detacher

    def _to_give(self, key: tuple[str, str], perspective: Perspective, returned: object) -> Perspective:
        """Return the perspective that a client gets, given what ``attached`` has returned.

        All clients that a user has at one perspective share what the first of them got, as long as it is of the class
        (and the name) that ``attached`` would have for them now.
        """
        if returned is None or returned is perspective:
            return perspective
        if not isinstance(returned, Perspective):
            raise TypeError(
                f"{type(perspective).__name__}.attached returns the perspective to use, not a {type(returned).__name__}"
            )
        for attachment in self._attachments.get(key, ()):
            shared = attachment.perspective
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
        """The application begins to be served; override it. May be ``async``."""

    def stop_service(self) -> HookResult:
        """Nobody is connected any more, and nobody will be; override it. May be ``async``."""

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self._name!a}, {self.attached_count} attached>"


S = TypeVar("S", bound=Service)


class Application(LoginRoot):
    """Services, and who may use them: ``pb.serve(app, ...)``.

    Users log in as they did in 2002, naming a service and a perspective. Those who log in as at a portal of today's
    Twisted get the perspective that is called like them, of the default service.

    Args:
        name: its name.
        authorizer: knows the users; one in memory when None. Whoever made it closes it.
        legacy_login: see :class:`LoginRoot`; ``certificate_user`` as well.
        default_service: the name of the service for those who name none; the only one there is when None.
        anonymous: the name of the perspective for those who do not say who they are; None lets nobody in like that.

    Raises:
        TypeError: the name is not text, or ``authorizer`` is none.
        ValueError: ``anonymous`` cannot be a name.
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
            raise TypeError(f"an application's name is text (str), not {type(name).__name__}")
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
            TypeError: it is none.
            ValueError: there is one of that name already.
            RuntimeError: it belongs to an application already, or this one is being served.
        """
        if not isinstance(service, Service):
            raise TypeError(f"an application has Services, not a {type(service).__name__}")
        if service.name in self._services:
            raise ValueError(f"there is a service {service.name!a} already")
        if self._servers:
            raise RuntimeError("services are added before the application is served")
        service.set_application(self)
        self._services[service.name] = service
        return service

    def get_service(self, name: str) -> Service:
        """Return the service of that name.

        Raises:
            KeyError: there is none.
        """
        return self._services[name]

    # -- logins

    async def attach(
        self, identity: Identity, service: str, perspective: str, client: Value, connection: LoginConnection
    ) -> Given:
        if not identity.has_key(service, perspective):
            raise refusal()
        return await self._attach(identity, service, perspective, client, connection)

    async def _attach(
        self, identity: Identity, service: str, perspective: str, client: Value, connection: LoginConnection
    ) -> Given:
        found = self._services.get(service)
        if found is None:
            raise refusal()
        try:
            asked_for = await found.request_perspective(perspective)
        except KeyError:
            log.debug("service %.64a has no perspective %.64a", service, perspective)
            raise refusal() from None
        return await found.attach(asked_for, client, identity, connection)

    async def request_avatar(
        self, identity: Identity | None, mind: Value, connection: LoginConnection
    ) -> Given:
        if self._default_service is not None:
            service = self._default_service
        elif len(self._services) == 1:
            (service,) = self._services
        else:
            raise refusal()
        if identity is not None:
            return await self.attach(identity, service, identity.name, mind, connection)
        if self._anonymous is None:
            raise refusal()
        return await self._attach(self._anonymous, service, self._anonymous.name, mind, connection)

    # -- life, told by the servers

    async def begin_serving(self) -> None:
        """Start the services, unless another server did (called by ``serve``)."""
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
