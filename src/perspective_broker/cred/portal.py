"""Portal: a realm of avatars behind a login, as in today's Twisted."""

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

log: logging.Logger = logging.getLogger("perspective_broker")

#: The user of an avatar: a name, or :data:`ANONYMOUS`.
AvatarId: TypeAlias = str | Literal[Anonymous.ANONYMOUS]

#: An avatar, or a pair of an avatar and its logout function.
Avatar: TypeAlias = Value | tuple[Value, Callable[[], HookResult]]


class Realm(Protocol):
    """Makes the avatars of a portal."""

    def request_avatar(self, avatar_id: AvatarId, mind: Value) -> Avatar | Awaitable[Avatar]:
        """Return the avatar for a user who has logged in; plain or ``async``.

        Args:
            avatar_id: the user's name, or :data:`ANONYMOUS`.
            mind: the reference that the client passed, or None.

        Returns:
            The avatar: a Perspective, or any object with ``perspective_*`` methods; values are encoded under it. (A
            Referenceable is an avatar too, but not a perspective.) Or a pair: the avatar, and a function that is called
            once, without arguments, when the user has logged out or the connection has ended; plain or ``async``.

        Raises:
            LoginFailed: this user has no avatar.
        """


class Portal(LoginRoot):
    """Serves avatars to users who log in: ``pb.serve(pb.Portal(realm, authorizer), ...)``.

    The avatar belongs to the login, not to the client's reference: a client that drops the reference stays logged in.

    Args:
        realm: makes the avatars.
        authorizer: knows the users. The caller closes it.
        anonymous: whether anonymous users may log in.
        legacy_login: see :class:`LoginRoot`; ``certificate_user`` as well.

    Raises:
        TypeError: ``realm`` has no ``request_avatar``, or ``authorizer`` is not an Authorizer.
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
            raise TypeError(
                f"realm needs a method request_avatar(avatar_id, mind), which {type(realm).__name__} does not have"
            )
        super().__init__(authorizer, legacy_login, certificate_user)
        self.realm = realm
        self._anonymous = anonymous

    async def _request_avatar(
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
                "request_avatar returns an avatar, or a pair of an avatar and a logout function; "
                f"not {len(got)} values"
            )
        detacher = Detacher(connection, log_out)
        return avatar if isinstance(avatar, Exportable) else _Plain(avatar), detacher


class _Plain(Exportable):
    """An avatar without a flavor, which is a perspective all the same."""

    def __init__(self, avatar: Value) -> None:
        self._avatar = avatar

    def _pb_export_key(self, perspective: object) -> Hashable:
        return (id(self._avatar), "avatar")

    def _pb_export_target(self, perspective: object) -> Target:
        return Target(self, self._avatar, "perspective_", perspective=self._avatar)


def _nothing() -> None:
    """The logout function of an avatar that has none."""
