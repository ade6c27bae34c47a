"""The objects of a login, which are all that an unauthenticated peer can call.

Every connection to an application or a portal has an :class:`AuthServ` as its root. It accepts three kinds of login:

- ours: ``authenticate(mechanism, client_first)`` → (server_first, challenger), ``challenger.respond(client_final)`` →
  (server_final, :class:`IdentityWrapper`). SCRAM-SHA-256, see :mod:`.scram`. A client that has shown a certificate may
  request the mechanism ``EXTERNAL``, which takes one message: → (``b""``, :class:`IdentityWrapper`).
- today's Twisted: ``login(name)`` → (challenge, challenger), ``challenger.respond(response, mind)`` → the avatar;
  ``loginAnonymous(mind)`` → the avatar.
- 2002: ``username(name)`` → (challenge, challenger), ``challenger.respond(response)`` → an :class:`IdentityWrapper` or
  None, ``wrapper.attach(service, perspective, client)`` → the perspective.

The last two are MD5. They are accepted only from this machine, over TLS, or with ``legacy_login=True``.

In all of them an unknown user causes the same messages and the same work as a wrong password. The server of 2002
answered ``username`` of an unknown user with the error ``unauthorized``, and ``respond`` with a wrong password with
None. Its clients treat both as a failure and report for both that the name or the password is wrong; so here
``username`` answers every name with a challenge, and ``respond`` returns None in both cases.

A challenge is valid for one response, and for ``Limits.login_seconds``. A connection whose peer has not logged in and
makes no attempt for as long is closed (``login-timeout``), and so is one with ``Limits.logins`` failures
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
from .admission import UNKNOWN_USER, Admission, AttemptCounter, LoginThrottle, refusal
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
    "share_attempts",
]

log: logging.Logger = logging.getLogger("perspective_broker")


class Anonymous(Enum):
    """The type of :data:`ANONYMOUS`."""

    ANONYMOUS = "anonymous"


#: In place of a name: an anonymous user.
ANONYMOUS: Final = Anonymous.ANONYMOUS

#: The result of a login: the object that the client gets, and its detacher.
Given: TypeAlias = tuple[Exportable, Detacher]

#: Returns the name of the user to whom a verified certificate belongs.
CertificateUser: TypeAlias = Callable[[PeerCertificate], str | Awaitable[str | None] | None]

#: The mechanism of a login by certificate.
EXTERNAL: Final = "EXTERNAL"

#: What the audit trail calls each method.
SCRAM: Final = "SCRAM"
MD5: Final = "MD5"
CERTIFICATE: Final = "certificate"
NOTHING: Final = "no password"
KEY: Final = "key"  # to a perspective, of a user who has logged in

_CHALLENGE_BYTES: Final = 16

#: Perspectives and avatars that one connection may hold by its logins. Each has to be detached when the connection
#: ends.
_MOST_GIVEN: Final = 256

#: Bytes of a name that a peer sends. Valid names have at most 255; a name that is a little longer costs the same work.
_MAX_NAME: Final = 1024


class LoginRoot(ABC):
    """Base of applications and portals: a root that authenticates each client.

    Args:
        authorizer: knows the users. The caller closes it.
        legacy_login: accept the MD5 logins of 2002 and of today's Twisted from everywhere, not only from this machine
            and over TLS. They are bound to no channel: anyone who reads or relays one can log in as well.
        certificate_user: returns the name of the user to whom the
            :class:`~perspective_broker.annotations.PeerCertificate` of a connection belongs, or None; may be ``async``.
            The owner of the certificate then needs no password.

    Raises:
        TypeError: ``authorizer`` is not an Authorizer.
    """

    def __init__(
        self, authorizer: Authorizer, legacy_login: bool, certificate_user: CertificateUser | None = None
    ) -> None:
        if not isinstance(authorizer, Authorizer):
            raise TypeError(f"authorizer: must be an Authorizer, not {type(authorizer).__name__}")
        self.authorizer = authorizer
        self.legacy_login = legacy_login
        self.certificate_user = certificate_user
        self._throttle = LoginThrottle(authorizer)

    def root_object(self, connection: LoginConnection) -> AuthServ:
        """Return the login object of a new connection."""
        return AuthServ(self, connection)

    async def _attach(
        self, identity: Identity, service: str, perspective: str, client: Value, connection: LoginConnection
    ) -> Given:
        """Attach an authenticated user to a perspective of a service.

        Raises:
            LoginFailed: there is no such perspective, or the user has no key to it. The error does not tell which.
        """
        raise refusal()

    def why_refused(self, service: str, perspective: str) -> str:
        """Return, for the log, why a user got no perspective."""
        return "no such service"

    @abstractmethod
    async def _request_avatar(
        self, identity: Identity | None, mind: Value, connection: LoginConnection
    ) -> Given:
        """Attach a user who names no service; None is an anonymous user.

        Raises:
            LoginFailed: the user has no avatar.
        """


def share_attempts(root: LoginRoot, counter: AttemptCounter) -> None:
    """Count the failed logins of an application elsewhere, unless its authorizer counts them in a store of its own."""
    if type(root.authorizer).record_failure is Authorizer.record_failure:
        root._throttle.count_with(counter)


class AuthServ(Referenceable):
    """The root of a connection whose peer has to log in.

    Args:
        root: the application or portal.
        connection: the connection whose root this is.
    """

    advice_to_callers = "; they log in first, as in pb.connect(url, username=..., password=...)"

    def __init__(self, root: LoginRoot, connection: LoginConnection) -> None:
        self.root = root
        self.connection = connection
        self.admission: Admission = Admission(root._throttle, connection)
        self._warned = False
        self._given: list[Detacher] = []
        self._giving = 0  # logins in progress count too

    async def give(self, giving: Awaitable[Given]) -> Given:
        """Return the result of a login, unless this connection holds too many already.

        Raises:
            LimitExceeded: it holds too many.
        """
        if len(self._given) + self._giving >= _MOST_GIVEN:
            self._given = [detacher for detacher in self._given if not detacher.has_ended]
        if len(self._given) + self._giving >= _MOST_GIVEN:
            assert isinstance(giving, Coroutine)
            giving.close()
            raise LimitExceeded(f"logins of one connection: at most {_MOST_GIVEN} at a time (a fixed limit)")
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
            client_first: the client's first message; for ``EXTERNAL`` the name of the user, or empty.

        Returns:
            The server's first message and the challenger for the client's last one (for ``EXTERNAL``: the identity); or
            None and the names of the available mechanisms, when ``mechanism`` is not one of them.

        Raises:
            LoginFailed: the message is malformed, there were too many, or a man in the middle has downgraded the login.
            Unavailable: the attempt was not checked, and a later one may succeed.
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
        expires = self.admission.challenge(SCRAM)
        await self.root._throttle.turns.wait()
        try:
            exchange = ServerExchange(asked, client_first, binding)
        except LoginFailed:
            self.admission.refused("", SCRAM, "malformed, or a name that no user can have")
            raise
        identity, verifier = await self.root._throttle.ask(self.root.authorizer.login_record, exchange.name)
        return exchange.first(verifier), _ScramChallenger(self, expires, exchange, identity)

    async def current(self, name: str) -> Identity:
        """Return the identity of a user who has logged in, as the store has it now.

        Raises:
            LoginFailed: it was removed or disabled.
        """
        identity = await self.root._throttle.ask(self.root.authorizer.get_identity, name)
        if identity is None or identity.disabled:
            raise refusal()
        return identity

    async def _identify(self, certificate: PeerCertificate, name: str) -> IdentityWrapper:
        """Return the identity of the owner of a certificate.

        Args:
            certificate: the verified certificate of the connection.
            name: the user as whom the client wants to log in; empty to let the certificate decide.

        Raises:
            LoginFailed: the certificate belongs to no user, or to another one.
        """
        assert self.root.certificate_user is not None
        with self.admission.attempting():
            with self.root._throttle.hiding_errors():
                user = await maybe_await(self.root.certificate_user(certificate))
            identity = None
            if user is not None:
                identity = await self.root._throttle.ask(self.root.authorizer.get_identity, user)
            if identity is None or identity.disabled or name not in ("", identity.name):
                known = identity is not None and not identity.disabled
                why = "the certificate of another user" if known else UNKNOWN_USER
                self.admission.refused(user or "", CERTIFICATE, why, known=identity is not None)
                raise refusal()
        self.admission.accepted(identity.name, CERTIFICATE)
        return IdentityWrapper(self, identity)

    def remote_username(self, name: object) -> tuple[bytes, Any]:
        """Begin a login of 2002.

        A Python 2 program sends its text as bytes; this side then sends it the types of 2002, too. A program that uses
        the names of 2002 and sends text (one made with ``compat``) is treated like any other.
        """
        if isinstance(name, bytes):
            self.connection.speak_as_in_2002()
        return self._legacy(_Challenger2002, name)

    def remote_login(self, name: object) -> tuple[bytes, Any]:
        """Begin a login of today's Twisted."""
        return self._legacy(_PortalChallenger, name)

    async def remote_loginAnonymous(self, mind: Value = None) -> Exportable:
        """Log in an anonymous user, where that is allowed."""
        try:
            with self.admission.attempting(), self.root._throttle.hiding_errors():
                avatar, _ = await self.give(self.root._request_avatar(None, mind, self.connection))
        except LoginFailed:
            self.admission.refused("", NOTHING, "no anonymous logins")
            raise
        self.admission.accepted("anonymous", NOTHING)
        return avatar

    def _legacy(self, kind: type[_LegacyChallenger], name: object) -> tuple[bytes, _LegacyChallenger]:
        """Begin an MD5 login.

        Raises:
            LoginFailed: MD5 logins are not accepted on this connection.
        """
        connection = self.connection
        if not (connection.is_local or connection.is_secure):
            allowed = self.root.legacy_login
            if not self._warned:
                self._warned = True
                log.warning(
                    "%s an MD5 login over a plain connection from %s: anyone who can read it can log in as well",
                    "accepting" if allowed else "refusing",
                    connection.peer,
                )
            if not allowed:
                raise refusal()
        challenger = kind(self, self.admission.challenge(MD5), _text(name))
        return challenger.challenge, challenger


class _Challenger(Referenceable):
    """Accepts one response to one challenge."""

    def __init__(self, auth: AuthServ, expires: float) -> None:
        self._auth = auth
        self._expires: float | None = expires

    def _spend(self) -> float | None:
        """Return when the challenge expires, at the first call; None afterwards."""
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
        """Check the client's last message.

        Returns:
            The server's last message, which proves that the server knows the password too, and the identity.

        Raises:
            LoginFailed: the login has failed.
        """
        final: bytes | None = None

        def check() -> bool:
            nonlocal final
            final = self._exchange.final(client_final)
            return final is not None and self._identity is not None

        await self._auth.admission.attempt(
            self._exchange.name, SCRAM, self._spend(), check, UNKNOWN_USER if self._identity is None else ""
        )
        assert final is not None
        assert self._identity is not None
        return final, IdentityWrapper(self._auth, self._identity)


class _LegacyChallenger(_Challenger):
    """Accepts md5(md5(password) + challenge).

    Attributes:
        challenge: random bytes.
    """

    def __init__(self, auth: AuthServ, expires: float, name: str) -> None:
        super().__init__(auth, expires)
        self.challenge = secrets.token_bytes(_CHALLENGE_BYTES)
        self._name = name

    async def _identity(self, response: object) -> Identity:
        """Return the identity of the user, if the response fits.

        Raises:
            LoginFailed: the response does not fit.
        """
        expires = self._spend()
        root = self._auth.root
        identity, _ = await root._throttle.ask(root.authorizer.login_record, self._name)
        digest = None if identity is None else identity.legacy_digest

        def check() -> bool:
            return check_legacy(digest, self.challenge, response if type(response) is bytes else b"")

        await self._auth.admission.attempt(
            self._name,
            MD5,
            expires,
            check,
            UNKNOWN_USER if identity is None else "made without legacy=True" if digest is None else "",
        )
        assert identity is not None, "an unknown user has no digest"
        return identity


class _PortalChallenger(_LegacyChallenger):
    async def remote_respond(self, response: object, mind: Value = None) -> Exportable:
        """Return the avatar, if the response fits. Raises LoginFailed."""
        identity = await self._auth.current((await self._identity(response)).name)
        avatar, _ = await self._auth.give(
            self._auth.root._request_avatar(identity, mind, self._auth.connection)
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
    """The identity of an authenticated user, who may attach to perspectives with it.

    Args:
        auth: the object at which the user has logged in.
        identity: the user.
    """

    def __init__(self, auth: AuthServ, identity: Identity) -> None:
        self._auth = auth
        self._identity = identity
        self._loop = asyncio.get_running_loop()
        self._read_at = -math.inf  # the keys were not read yet
        self._given: list[Detacher] = []

    async def remote_attach(
        self, service: object, perspective: object = None, client: Value = None
    ) -> Exportable:
        """Attach to a perspective.

        Args:
            service: the service's name.
            perspective: the perspective's name; the user's own name when None.
            client: a reference that the service may call, or None.

        Raises:
            LoginFailed: there is no such service or perspective, or the user has no key to it.
        """
        names = _text(service), self._identity.name if perspective is None else _text(perspective)
        try:
            identity = await self._current()
            self._auth.admission.check_failures()
            attaching = self._auth.root._attach(identity, *names, client, self._auth.connection)
            given, detacher = await self._auth.give(attaching)
        except LoginFailed:
            self._auth.admission.failed()
            self._auth.admission.refused(self._identity.name, KEY, self._auth.root.why_refused(*names))
            raise self._no_key(*names) from None
        self._given.append(detacher)
        return given

    async def remote_request_avatar(self, mind: Value = None) -> Exportable:
        """Return the avatar of the user, as a login at a portal of today's Twisted does. Raises LoginFailed."""
        identity = await self._current()
        asking = self._auth.root._request_avatar(identity, mind, self._auth.connection)
        given, detacher = await self._auth.give(asking)
        self._given.append(detacher)
        return given

    async def remote_logout(self) -> None:
        """Detach everything that was attached through this object; the connection stays open."""
        given, self._given = self._given, []
        for detacher in given:
            await detacher.log_out()

    async def _current(self) -> Identity:
        """Return the identity as the store has it now, because the login may have been long ago.

        Raises:
            LoginFailed: it was removed or disabled.
        """
        now = self._loop.time()
        if now - self._read_at > self._auth.connection.limits.login_seconds:
            self._identity, self._read_at = await self._auth.current(self._identity.name), now
        return self._identity

    def _no_key(self, service: str, perspective: str) -> Exception:
        return refusal()


class _IdentityWrapper2002(IdentityWrapper):
    def _no_key(self, service: str, perspective: str) -> Exception:
        return _KeyError2002((service, perspective))


class _KeyError2002(Error, KeyError):
    """The error of 2002 for a service without a key. An expected condition here, a KeyError there."""

    __module__ = "builtins"
    __qualname__ = "KeyError"


def _text(value: object) -> str:
    """Return a name that a peer sent. Python 2 programs and today's Twisted send bytes.

    Raises:
        BadArguments: it is not text or bytes, or is too long.
    """
    if type(value) is bytes and len(value) <= _MAX_NAME:
        return value.decode("utf-8", "surrogateescape")  # no user has a name with surrogates
    if type(value) is str and len(value) <= _MAX_NAME:
        return value
    raise BadArguments(f"name: must be text of at most {_MAX_NAME} bytes")
