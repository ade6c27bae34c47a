"""Portal: a realm of avatars behind a login, as today's Twisted has it."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Hashable
from typing import Literal, Protocol, TypeAlias

from ..flavors import Exportable, Target
from ..flavors.values import Value
from ..hooks import HookResult, maybe_await
from .admission import refusal
from .authorizer import Authorizer
from .identity import Identity
from .lifetime import Detacher, LoginConnection
from .login import ANONYMOUS, Anonymous, CertificateUser, Given, LoginRoot

__all__ = ["AvatarId", "Portal", "Realm"]

log = logging.getLogger("perspective_broker")

#: Whom an avatar is for: a user's name, or :data:`ANONYMOUS`.
AvatarId: TypeAlias = str | Literal[Anonymous.ANONYMOUS]

#: An avatar, or one with what is called when its user has left.
Avatar: TypeAlias = Value | tuple[Value, Callable[[], HookResult]]


class Realm(Protocol):
    """What a portal asks for avatars."""

    def request_avatar(self, avatar_id: AvatarId, mind: Value) -> Avatar | Awaitable[Avatar]:
        """Return the avatar for a user who has logged in; plain or ``async``.

        Args:
            avatar_id: his name, or :data:`ANONYMOUS`.
            mind: the reference that the client handed over, or None.

        Returns:
            The avatar: a Perspective, or any object with ``perspective_*`` methods; either is the perspective under
            which what crosses is judged. (One that can be referenced, but is no Perspective, is not.) Or a pair: the
            avatar, and what is called once, without arguments, plain or ``async``, when the user has logged out or the
            connection has ended.

        Raises:
            LoginFailed: there is none for him.
        """


class Portal(LoginRoot):
    """Serves avatars to who logs in: ``pb.serve(pb.Portal(realm, authorizer), ...)``.

    The avatar belongs to the login, not to the client's reference: dropping that does not log out.

    Args:
        realm: makes the avatars.
        authorizer: knows the users. Whoever made it closes it.
        anonymous: whether users may come who do not say who they are.
        legacy_login: see :class:`LoginRoot`; ``certificate_user`` as well.

    Raises:
        TypeError: ``realm`` has no ``request_avatar``, or ``authorizer`` is none.
    """

    def __init__(
        self,
        realm: Realm,
        authorizer: Authorizer,
        *,
        anonymous: bool = False,
        legacy_login: bool = False,
        certificate_user: CertificateUser | None = None,
    ) -> None:
        if not callable(getattr(realm, "request_avatar", None)):
            raise TypeError(f"a realm has request_avatar(avatar_id, mind); a {type(realm).__name__} has not")
        super().__init__(authorizer, legacy_login, certificate_user)
        self.realm = realm
        self._anonymous = anonymous

    async def request_avatar(
        self, identity: Identity | None, mind: Value, connection: LoginConnection
    ) -> Given:
        if identity is None and not self._anonymous:
            raise refusal()
        got = await maybe_await(
            self.realm.request_avatar(ANONYMOUS if identity is None else identity.name, mind)
        )
        if type(got) is not tuple:
            avatar, log_out = got, _nothing
        elif len(got) == 2:
            avatar, log_out = got
        else:
            raise TypeError(
                "request_avatar returns an avatar, or a pair: the avatar, and what is called when its user has left; "
                f"not {len(got)} values"
            )
        detacher = Detacher(connection, log_out)
        return avatar if isinstance(avatar, Exportable) else _Plain(avatar), detacher


class _Plain(Exportable):
    """An avatar of no flavor: a perspective all the same."""

    def __init__(self, avatar: Value) -> None:
        self._avatar = avatar

    def export_key(self, perspective: object) -> Hashable:
        return (id(self._avatar), "avatar")

    def export_target(self, perspective: object) -> Target:
        return Target(self, self._avatar, "perspective_", perspective=self._avatar)


def _nothing() -> None:
    """What a user's leaving means to a realm that does not want to know."""
