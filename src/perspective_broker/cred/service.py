"""Service: a named collection of state, with perspectives onto it."""

from __future__ import annotations

import asyncio
import inspect
import weakref
from collections.abc import Awaitable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from ..flavors import check_spelling
from ..hooks import contained, finished
from .identity import Identity
from .perspective import Detacher, LoginConnection, Perspective

if TYPE_CHECKING:
    from .application import Application

__all__ = ["Service"]


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

    def __init_subclass__(cls, **kwargs: Any) -> None:
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
        self, perspective: Perspective, client: Any, identity: Identity, connection: LoginConnection
    ) -> tuple[Perspective, Detacher]:
        """Attach a client (called by the application, which has judged that it may).

        Returns:
            What the client gets, and what ends it.
        """
        key = (identity.name, perspective.name)
        if self._replaces:
            self._end_others(key, connection)
        returned = await finished(perspective.broker_attached(client, identity, connection))
        given = self._to_give(key, perspective, returned)
        attachment = _Attachment(perspective, given, connection)
        self._attachments.setdefault(key, []).append(attachment)
        given._clients.append(client)

        def detach() -> Any:
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

    def _to_give(self, key: tuple[str, str], perspective: Perspective, returned: Any) -> Perspective:
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

    def start_service(self) -> Any:
        """The application begins to be served; override it. May be ``async``."""

    def stop_service(self) -> Any:
        """Nobody is connected any more, and nobody will be; override it. May be ``async``."""

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self._name!a}, {self.attached_count} attached>"
