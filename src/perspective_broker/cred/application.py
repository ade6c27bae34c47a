"""Application: services behind one login."""

from __future__ import annotations

import logging
from typing import Any, TypeVar

from ..hooks import finished, run
from .admission import refusal
from .authorizer import Authorizer
from .identity import Identity
from .login import CertificateUser, Given, LoginRoot
from .memory import MemoryAuthorizer
from .perspective import LoginConnection
from .service import Service

__all__ = ["Application"]

log = logging.getLogger("perspective_broker")

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
        self, identity: Identity, service: str, perspective: str, client: Any, connection: LoginConnection
    ) -> Given:
        if not identity.has_key(service, perspective):
            raise refusal()
        return await self._attach(identity, service, perspective, client, connection)

    async def _attach(
        self, identity: Identity, service: str, perspective: str, client: Any, connection: LoginConnection
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
        self, identity: Identity | None, mind: Any, connection: LoginConnection
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
                await finished(service.start_service())
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
