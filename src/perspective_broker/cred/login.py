"""The objects of a login: what a peer reaches before anybody knows who it is.

Every connection to an application or a portal gets an :class:`AuthServ` as its root. It takes three kinds of login:

- ours: ``authenticate(mechanism, client_first)`` → (server_first, challenger), ``challenger.respond(client_final)`` →
  (server_final, :class:`IdentityWrapper`). SCRAM-SHA-256, see :mod:`.scram`. Who has shown a certificate may ask for
  the mechanism ``EXTERNAL``, which needs no more words: → (``b""``, :class:`IdentityWrapper`).
- today's Twisted: ``login(name)`` → (challenge, challenger), ``challenger.respond(response, mind)`` → the avatar;
  ``loginAnonymous(mind)`` → the avatar.
- that of 2002: ``username(name)`` → (challenge, challenger), ``challenger.respond(response)`` → an
  :class:`IdentityWrapper` or None, ``wrapper.attach(service, perspective, client)`` → the perspective.

The last two are MD5, and are taken only from this machine, over TLS, or where :class:`LoginRoot` was told to.

In all of them an unknown user gets the same messages at the same price as a wrong password. The server of 2002 said
``unauthorized`` (an error) to an unknown user's ``username``, and None to a wrong password's ``respond``. Its clients
take either as a failure and say of both no more than that the name or the password is wrong; so here ``username`` gives
everybody a challenge, and ``respond`` says None to both.

A challenge is good for one response, and for ``Limits.login_seconds``. A peer that has not logged in and tries
nothing for as long is hung up (``login-timeout``), one that has failed ``Limits.logins`` times as well
(``too-many-logins``).
"""

from __future__ import annotations

import asyncio
import logging
import math
import secrets
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable, Coroutine
from enum import Enum
from typing import Any, Final, TypeAlias

from ..certificates import PeerCertificate
from ..errors import BadArguments, Error, LimitExceeded, LoginFailed
from ..flavors import Exportable, Referenceable
from ..flavors.values import Value
from ..hooks import maybe_await
from .admission import Admission, LoginThrottle, refusal
from .authorizer import Authorizer
from .identity import Identity
from .lifetime import Detacher, LoginConnection
from .scram import BOUND, UNBOUND, ServerExchange
from .verifiers import check_legacy

__all__ = [
    "ANONYMOUS",
    "EXTERNAL",
    "Anonymous",
    "AuthServ",
    "CertificateUser",
    "Given",
    "IdentityWrapper",
    "LoginRoot",
]

log = logging.getLogger("perspective_broker")


class Anonymous(Enum):
    """The type of :data:`ANONYMOUS`."""

    ANONYMOUS = "anonymous"


#: In the place of a name: somebody who does not say who he is.
ANONYMOUS: Final = Anonymous.ANONYMOUS

#: What a login gives: the object that the client gets, and what ends it.
Given: TypeAlias = tuple[Exportable, Detacher]

#: From a verified certificate to a user's name.
CertificateUser: TypeAlias = Callable[[PeerCertificate], str | Awaitable[str | None] | None]

#: The mechanism of those who have shown a certificate.
EXTERNAL: Final = "EXTERNAL"

_CHALLENGE_BYTES: Final = 16

#: Perspectives and avatars that one connection holds by its logins: each has to be detached when it ends.
_MOST_GIVEN: Final = 256

#: Of a name that a peer sends. None is longer than 255 bytes; what is not much longer costs what any other costs.
_MAX_NAME: Final = 1024


class LoginRoot(ABC):
    """What an application and a portal have in common: they are served, and ask who comes.

    Args:
        authorizer: knows the users. Whoever made it closes it.
        legacy_login: take the MD5 logins of 2002 and of today's Twisted from everywhere, not from this machine and
            over TLS alone. They bind nothing: whoever reads or relays one can log in as well.
        certificate_user: given the :class:`~perspective_broker.PeerCertificate` of a connection, returns the name of
            the user whom it stands for, or None; may be ``async``. Its owner then needs no password.

    Raises:
        TypeError: ``authorizer`` is none.
    """

    def __init__(
        self, authorizer: Authorizer, legacy_login: bool, certificate_user: CertificateUser | None = None
    ) -> None:
        if not isinstance(authorizer, Authorizer):
            raise TypeError(f"authorizer is an Authorizer, not a {type(authorizer).__name__}")
        self.authorizer = authorizer
        self.legacy_login = legacy_login
        self.certificate_user = certificate_user
        self.throttle = LoginThrottle(authorizer)

    def root_object(self, connection: LoginConnection) -> AuthServ:
        """Return the login object of one new connection."""
        return AuthServ(self, connection)

    async def attach(
        self, identity: Identity, service: str, perspective: str, client: Value, connection: LoginConnection
    ) -> Given:
        """Attach a user who has logged in to a perspective of a service.

        Raises:
            LoginFailed: there is none, or none for this user. It does not say which.
        """
        raise refusal()

    @abstractmethod
    async def request_avatar(
        self, identity: Identity | None, mind: Value, connection: LoginConnection
    ) -> Given:
        """Attach a user who names no service; None is one who does not say who he is.

        Raises:
            LoginFailed: there is nothing for him.
        """


class AuthServ(Referenceable):
    """The root of a connection whose peer has to say who it is.

    Args:
        root: what is served.
        connection: whose root this is.
    """

    advice_to_callers = "; they log in first, as in pb.connect(url, username=..., password=...)"

    def __init__(self, root: LoginRoot, connection: LoginConnection) -> None:
        self.root = root
        self.connection = connection
        self.admission = Admission(root.throttle, connection)
        self._warned = False
        self._given: list[Detacher] = []
        self._giving = 0  # of those under way, which count too

    async def give(self, giving: Awaitable[Given]) -> Given:
        """Return what a login gives, if this connection was not given as much as it may have already.

        Raises:
            LimitExceeded: it was.
        """
        if len(self._given) + self._giving >= _MOST_GIVEN:
            self._given = [detacher for detacher in self._given if not detacher.has_ended]
        if len(self._given) + self._giving >= _MOST_GIVEN:
            assert isinstance(giving, Coroutine)
            giving.close()
            raise LimitExceeded(f"a connection may be logged in {_MOST_GIVEN} times at once")
        self._giving += 1
        try:
            given, detacher = await giving
        finally:
            self._giving -= 1
        self._given.append(detacher)
        return given, detacher

    async def remote_authenticate(self, mechanism: object, client_first: object) -> tuple[Any, Any]:
        """Begin a SCRAM login, or log in by certificate.

        Args:
            mechanism: ``SCRAM-SHA-256-PLUS``, or without channel binding ``SCRAM-SHA-256``; or ``EXTERNAL``.
            client_first: the client's first message; for ``EXTERNAL`` the name of the user, or nothing.

        Returns:
            The server's first message and who takes the client's last one (for ``EXTERNAL`` the identity); or None and
            the names of the mechanisms that there are, when that one is not among them.

        Raises:
            LoginFailed: the message is malformed, or there are too many, or the client was talked down.
            Unavailable: it was not judged, and a later attempt may succeed.
        """
        binding = self.connection.channel_binding()
        known = [UNBOUND.encode()] if binding is None else [BOUND.encode(), UNBOUND.encode()]
        certificate = None if self.root.certificate_user is None else self.connection.peer_certificate
        if certificate is not None:
            known.append(EXTERNAL.encode())
        asked = _text(mechanism)
        if asked.encode("utf-8", "replace") not in known:
            return None, known
        if certificate is not None and asked == EXTERNAL:
            return b"", await self._identify(certificate, _text(client_first))
        expires = self.admission.challenge()
        await self.root.throttle.turns.wait()
        exchange = ServerExchange(asked, client_first, binding)
        with self.root.throttle.hiding_errors():
            identity, verifier = await self.root.authorizer.login_record(exchange.name)
        return exchange.first(verifier), _ScramChallenger(self, expires, exchange, identity)

    async def current(self, name: str) -> Identity:
        """Return the identity of a user who has logged in, as it is now.

        Raises:
            LoginFailed: it is gone, or disabled.
        """
        with self.root.throttle.hiding_errors():
            identity = await self.root.authorizer.get_identity(name)
        if identity is None or identity.disabled:
            raise refusal()
        return identity

    async def _identify(self, certificate: PeerCertificate, name: str) -> IdentityWrapper:
        """Return the identity of the owner of a certificate, who may have said whom he takes himself for.

        Raises:
            LoginFailed: it stands for nobody, or for somebody else.
        """
        assert self.root.certificate_user is not None
        with self.admission.attempting():
            with self.root.throttle.hiding_errors():
                user = await maybe_await(self.root.certificate_user(certificate))
                identity = None if user is None else await self.root.authorizer.get_identity(user)
            if identity is None or identity.disabled or name not in ("", identity.name):
                raise refusal()
            return IdentityWrapper(self, identity)

    def remote_username(self, name: object) -> tuple[bytes, Any]:
        """Begin a login of 2002.

        A program of that time calls text what is bytes today, and is spoken to in kind from now on. One that logs in
        by the old names but knows text (a program on the face of ``compat``) is spoken to as any other.
        """
        if isinstance(name, bytes):
            self.connection.speak_as_in_2002()
        return self._legacy(_Challenger2002, name)

    def remote_login(self, name: object) -> tuple[bytes, Any]:
        """Begin a login of today's Twisted."""
        return self._legacy(_PortalChallenger, name)

    async def remote_loginAnonymous(self, mind: Value = None) -> Exportable:
        """Let in somebody who does not say who he is, where that is allowed."""
        with self.admission.attempting(), self.root.throttle.hiding_errors():
            avatar, _ = await self.give(self.root.request_avatar(None, mind, self.connection))
        return avatar

    def _legacy(self, kind: type[_LegacyChallenger], name: object) -> tuple[bytes, _LegacyChallenger]:
        """Begin a login by MD5.

        Raises:
            LoginFailed: it is not taken here.
        """
        connection = self.connection
        if not (connection.is_local or connection.is_secure):
            allowed = self.root.legacy_login
            if not self._warned:
                self._warned = True
                log.warning(
                    "%s an MD5 login over a plain connection from %s: whoever can read it can log in as well",
                    "taking" if allowed else "refusing",
                    connection.peer,
                )
            if not allowed:
                raise refusal()
        challenger = kind(self, self.admission.challenge(), _text(name))
        return challenger.challenge, challenger


class _Challenger(Referenceable):
    """Takes the response to one challenge, once."""

    def __init__(self, auth: AuthServ, expires: float) -> None:
        self._auth = auth
        self._expires: float | None = expires

    def _spend(self) -> float | None:
        """Return when the challenge expires, the first time; then None."""
        expires, self._expires = self._expires, None
        return expires


class _ScramChallenger(_Challenger):
    def __init__(
        self, auth: AuthServ, expires: float, exchange: ServerExchange, identity: Identity | None
    ) -> None:
        super().__init__(auth, expires)
        self._exchange = exchange
        self._identity = identity

    async def remote_respond(self, client_final: object) -> tuple[bytes, IdentityWrapper]:
        """Take the client's last message.

        Returns:
            The server's, which proves that it knows the password too, and the identity.

        Raises:
            LoginFailed: the login failed.
        """
        final: bytes | None = None

        def check() -> bool:
            nonlocal final
            final = self._exchange.final(client_final)
            return final is not None and self._identity is not None

        await self._auth.admission.attempt(
            self._exchange.name, self._spend(), check, "no user" if self._identity is None else ""
        )
        assert final is not None
        assert self._identity is not None
        return final, IdentityWrapper(self._auth, self._identity)


class _LegacyChallenger(_Challenger):
    """Takes md5(md5(password) + challenge).

    Attributes:
        challenge: random bytes.
    """

    def __init__(self, auth: AuthServ, expires: float, name: str) -> None:
        super().__init__(auth, expires)
        self.challenge = secrets.token_bytes(_CHALLENGE_BYTES)
        self._name = name

    async def _identity(self, response: object) -> Identity:
        """Return who has logged in.

        Raises:
            LoginFailed: nobody.
        """
        expires = self._spend()
        with self._auth.root.throttle.hiding_errors():
            identity, _ = await self._auth.root.authorizer.login_record(self._name)
        digest = None if identity is None else identity.legacy_digest

        def check() -> bool:
            return check_legacy(digest, self.challenge, response if type(response) is bytes else b"")

        await self._auth.admission.attempt(
            self._name,
            expires,
            check,
            "no user" if identity is None else "made without legacy=True" if digest is None else "",
        )
        assert identity is not None, "nobody has no digest"
        return identity


class _PortalChallenger(_LegacyChallenger):
    async def remote_respond(self, response: object, mind: Value = None) -> Exportable:
        """Return the avatar, if the response fits. Raises LoginFailed."""
        identity = await self._auth.current((await self._identity(response)).name)
        avatar, _ = await self._auth.give(
            self._auth.root.request_avatar(identity, mind, self._auth.connection)
        )
        return avatar


class _Challenger2002(_LegacyChallenger):
    async def remote_respond(self, response: object) -> IdentityWrapper | None:
        """Return the identity, if the response fits."""
        try:
            return _IdentityWrapper2002(self._auth, await self._identity(response))
        except LoginFailed:
            return None


class IdentityWrapper(Referenceable):
    """What a user holds who has logged in, and has not said to what.

    Args:
        auth: where he did.
        identity: who it is.
    """

    def __init__(self, auth: AuthServ, identity: Identity) -> None:
        self._auth = auth
        self._identity = identity
        self._loop = asyncio.get_running_loop()
        self._known_since = -math.inf  # the keys were not read yet
        self._given: list[Detacher] = []

    async def remote_attach(
        self, service: object, perspective: object = None, client: Value = None
    ) -> Exportable:
        """Attach to a perspective.

        Args:
            service: the service's name.
            perspective: the perspective's; None for one that is called like the user.
            client: a reference that the service may call, or None.

        Raises:
            LoginFailed: there is no such service or perspective, or no key to it.
        """
        names = _text(service), self._identity.name if perspective is None else _text(perspective)
        try:
            identity = await self._current()
            self._auth.admission.check_failures()
            attaching = self._auth.root.attach(identity, *names, client, self._auth.connection)
            given, detacher = await self._auth.give(attaching)
        except LoginFailed:
            self._auth.admission.failed()
            raise self._no_key(*names) from None
        self._given.append(detacher)
        return given

    async def remote_request_avatar(self, mind: Value = None) -> Exportable:
        """Return the avatar of the user: what a login at a portal of today's Twisted gives. Raises LoginFailed."""
        identity = await self._current()
        asking = self._auth.root.request_avatar(identity, mind, self._auth.connection)
        given, detacher = await self._auth.give(asking)
        self._given.append(detacher)
        return given

    async def remote_logout(self) -> None:
        """End what was attached through this object; the connection lives on."""
        given, self._given = self._given, []
        for detacher in given:
            await detacher.log_out()

    async def _current(self) -> Identity:
        """Return the identity as it is now: a login may have been long ago.

        Raises:
            LoginFailed: it is gone, or disabled.
        """
        now = self._loop.time()
        if now - self._known_since > self._auth.connection.limits.login_seconds:
            self._identity, self._known_since = await self._auth.current(self._identity.name), now
        return self._identity

    def _no_key(self, service: str, perspective: str) -> Exception:
        return refusal()


class _IdentityWrapper2002(IdentityWrapper):
    def _no_key(self, service: str, perspective: str) -> Exception:
        return _KeyError2002((service, perspective))


class _KeyError2002(Error, KeyError):
    """What a service without a key was in 2002. An expected condition here, a KeyError there."""

    __module__ = "builtins"
    __qualname__ = "KeyError"


def _text(value: object) -> str:
    """Return a name that a peer sent. Python 2 programs and today's Twisted send bytes.

    Raises:
        BadArguments: it is none.
    """
    if type(value) is bytes and len(value) <= _MAX_NAME:
        return value.decode("utf-8", "surrogateescape")  # what is no text is nobody's name
    if type(value) is str and len(value) <= _MAX_NAME:
        return value
    raise BadArguments("a name is a short text")
