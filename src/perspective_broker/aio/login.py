"""Logging in, as the client: the peer's login objects, from the best kind of login to the oldest that is allowed.

SCRAM-SHA-256 is tried first, bound to the channel over TLS. Only when the peer does not know it is the MD5 login of
its time used, and only where no third party can have made it look old: on this machine, or over TLS whose
certificate was verified; elsewhere the caller has to ask for it.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import NoReturn, TypeGuard

from ..cred.login import ANONYMOUS, EXTERNAL, Anonymous
from ..cred.scram import Challenge, ClientExchange, ClientKeys
from ..cred.verifiers import MIN_ITERATIONS, checked_iterations, legacy_response
from ..errors import LoginFailed, NoSuchMethod, RemoteError
from ..ports import Value
from .accepted import speak_as_in_2002
from .references import RemoteReference

__all__ = ["Login"]


@dataclass(slots=True)
class _Kept:
    """What was derived for a user of one server."""

    salt: bytes
    iterations: int
    keys: ClientKeys | None


class KeptKeys:
    """The keys of a password, which a client that reconnects derives once: they cost 0.2 to 0.5 s of a core.

    They are as good as the password, which the client holds as well, and stay in the memory of this process. A server
    that asks for fewer rounds than before may be a false one, and want an answer from which guessing is cheap.
    """

    __slots__ = ("_kept",)

    def __init__(self) -> None:
        self._kept: dict[tuple[str, str], _Kept] = {}

    def find(self, server: str, user: str, challenge: Challenge) -> ClientKeys | None:
        """Return the keys for a challenge; None where they have to be derived.

        Raises:
            LoginFailed: the challenge demands fewer rounds than that of the login before.
        """
        kept = self._kept.get((server, user))
        if kept is None:
            return None
        if challenge.iterations < kept.iterations:
            raise LoginFailed(
                f"PBKDF2 rounds of the server: at least {kept.iterations}, as before, are required"
            )
        fits = (challenge.salt, challenge.iterations) == (kept.salt, kept.iterations)
        return kept.keys if fits else None

    def keep(self, server: str, user: str, challenge: Challenge, keys: ClientKeys) -> None:
        """Keep the keys with which a login has succeeded; the server has proved that it knows them."""
        self._kept[server, user] = _Kept(challenge.salt, challenge.iterations, keys)

    def drop(self, server: str, user: str) -> None:
        """Forget the keys of a login that was refused; its rounds stay known."""
        kept = self._kept.get((server, user))
        if kept is not None:
            kept.keys = None

    def __repr__(self) -> str:
        return "<KeptKeys, hidden>"

    def __reduce__(self) -> NoReturn:
        raise TypeError("the keys of a password stay in the memory of this process")


@dataclass(frozen=True, slots=True)
class Login:
    """Which user logs in, and to what, as ``connect`` was told.

    Attributes:
        username: the user's name, or :data:`ANONYMOUS`.
        password: the user's; ``""`` without one: for ANONYMOUS, or with a certificate instead.
        service: the name of a service; None for the avatar.
        perspective: of the service; the username when None.
        client: what the peer may call.
        legacy: whether an MD5 challenge is answered everywhere.
        min_iterations: rounds of PBKDF2 that a challenge must ask for to be answered; MD5 has none.
        kept: the keys of logins before; None where there will be no other.
    """

    username: str | Anonymous
    password: str = field(repr=False)
    service: str | None
    perspective: str | None
    client: Value
    legacy: bool
    min_iterations: int
    kept: KeptKeys | None = field(default=None, repr=False)

    @classmethod
    def of(
        cls,
        username: str | Anonymous | None,
        password: str | None,
        service: str | None,
        perspective: str | None,
        client: Value,
        legacy: bool,
        tls: bool = False,
        min_iterations: int = MIN_ITERATIONS,
        again: bool = False,
    ) -> Login | None:
        """Return the login that ``connect`` was asked for; None when it was asked for none.

        Args:
            tls: whether a certificate may stand in for a password.
            again: whether it will be made again, for a connection that was lost.

        Raises:
            ValueError: the arguments do not belong together.
        """
        for what, value in (("username", username), ("password", password)):
            if value is not None and value is not ANONYMOUS and not isinstance(value, str):
                raise TypeError(f"{what} is text (str), not {type(value).__name__}")
        if username is None:
            if not (password is service is perspective is client is None):
                raise ValueError("password, service, perspective and client belong to a username")
            return None
        if username is ANONYMOUS:
            if not (password is service is perspective is None):
                raise ValueError("an anonymous login has no password, service or perspective")
        elif not password and (password is not None or not tls):
            raise ValueError("a username needs a password, or over tls:// a certificate")
        if perspective is not None and service is None:
            raise ValueError("a perspective belongs to a service")
        checked_iterations(min_iterations)
        kept = KeptKeys() if again else None
        return cls(username, password or "", service, perspective, client, legacy, min_iterations, kept)

    async def run(self, root: RemoteReference) -> RemoteReference:
        """Log in at the peer's root; return the perspective, or the avatar.

        Raises:
            LoginFailed: the peer, or this side, refused.
            RemoteError: the peer let us in, and what it then ran raised.
        """
        try:
            given = await self._log_in(root)
        except NoSuchMethod:
            raise LoginFailed("the peer does not know this kind of login") from None
        except RemoteError as error:
            if _is_refusal(error):
                raise LoginFailed("the login was refused") from None
            raise
        if not isinstance(given, RemoteReference):
            raise LoginFailed("the peer gave no reference")
        return given

    async def _log_in(self, root: RemoteReference) -> Value:
        if isinstance(self.username, Anonymous):
            return await root.call("loginAnonymous", self.client)
        old = False
        if not self.password:
            user: RemoteReference | None = await self._by_certificate(root, self.username)
        else:
            user, old = await self._scram(root, self.username)
        if user is None:
            return await self._legacy(root, self.username, old)
        if self.service is None:
            return await user.call("request_avatar", self.client)
        return await user.call("attach", self.service, self.perspective, self.client)

    async def _by_certificate(self, root: RemoteReference, username: str) -> RemoteReference:
        """Return our identity at the peer, which knows our certificate from TLS."""
        _, user = _pair(await root.call("authenticate", EXTERNAL.encode(), username.encode()))
        if not _is_reference(user):
            raise LoginFailed("no password was given, and the peer takes no certificate of ours in its place")
        return user

    async def _scram(self, root: RemoteReference, username: str) -> tuple[RemoteReference | None, bool]:
        """Return our identity at the peer, or None when it does not know SCRAM; and whether it is a program of 2002."""
        binding = root.connection.channel_binding()
        exchange = ClientExchange(username, self.password, binding)
        try:
            server_first, challenger = await _begin(root, exchange)
            if server_first is None and binding is not None:
                # The peer does not see our TLS, or has a certificate that it does not know. The exchange proves that
                # the peer itself has stated this.
                exchange = ClientExchange(username, self.password, binding, server_binds=False)
                server_first, challenger = await _begin(root, exchange)
        except RemoteError as error:
            if not error.check("AttributeError"):  # the NoSuchMethod of 2002
                raise
            return None, True
        except NoSuchMethod:
            return None, False
        if not _is_reference(challenger):
            raise LoginFailed("the peer knows no kind of login that we do")
        user = await self._answer(exchange, server_first, challenger, root.connection.peer, username)
        return user, False

    async def _answer(
        self,
        exchange: ClientExchange,
        server_first: Value,
        challenger: RemoteReference,
        server: str,
        username: str,
    ) -> RemoteReference:
        """Answer a challenge of SCRAM; return our identity at the peer."""
        kept = self.kept
        challenge = exchange.read(server_first, self.min_iterations)
        keys = None if kept is None else kept.find(server, username, challenge)
        if keys is None:
            # PBKDF2 takes its time, and lets go of the interpreter's lock meanwhile.
            keys = await asyncio.to_thread(exchange.derive, challenge)
        try:
            server_final, user = _pair(await challenger.call("respond", exchange.answer(challenge, keys)))
            exchange.verify(server_final)
        except (LoginFailed, RemoteError):
            if kept is not None:
                kept.drop(server, username)
            raise
        if kept is not None:
            kept.keep(server, username, challenge, keys)
        if not _is_reference(user):
            raise LoginFailed("the peer gave no identity")
        return user

    async def _legacy(self, root: RemoteReference, username: str, old: bool) -> Value:
        connection = root.connection
        if not (self.legacy or connection.is_local or connection.is_verified):
            raise LoginFailed(
                "the peer knows MD5 logins only, which are not safe on this connection; legacy_login=True allows it"
            )
        if self.min_iterations > MIN_ITERATIONS and not self.legacy:
            raise LoginFailed(
                "the peer knows MD5 logins only, which have no rounds of PBKDF2 (min_iterations);"
                " legacy_login=True allows it"
            )
        name = username.encode()  # what today's Twisted keys its users by, and Python 2 calls text
        if self.service is None:
            challenge, challenger = _pair(await root.call("login", name))
            return await self._respond(challenger, challenge, self.client)
        if old:
            speak_as_in_2002(connection)
        # A peer that gets text concludes that this side is of today, too, see AuthServ.remote_username.
        challenge, challenger = _pair(await root.call("username", name if old else username))
        user = await self._respond(challenger, challenge)
        if not _is_reference(user):
            raise LoginFailed("the login was refused")
        return await user.call("attach", self.service, self.perspective or username, self.client)

    async def _respond(self, challenger: Value, challenge: Value, *more: Value) -> Value:
        if not _is_reference(challenger) or type(challenge) is not bytes or len(challenge) > 64:
            raise LoginFailed("the peer's challenge cannot be answered")
        return await challenger.call("respond", legacy_response(self.password, challenge), *more)


async def _begin(root: RemoteReference, exchange: ClientExchange) -> tuple[Value, Value]:
    # In bytes: what every peer reads, whatever it calls text.
    return _pair(await root.call("authenticate", exchange.mechanism.encode(), exchange.first))


def _pair(value: Value) -> tuple[Value, Value]:
    if type(value) not in (tuple, list) or len(value) != 2:  # capnweb has no tuples
        raise LoginFailed("the peer's answer makes no sense")
    first, second = value
    return first, second


def _is_reference(value: Value) -> TypeGuard[RemoteReference]:
    return isinstance(value, RemoteReference)


def _is_refusal(error: RemoteError) -> bool:
    """Whether it is a login's end: ours, that of today's Twisted, or one of 2002."""
    return (
        error.check(LoginFailed) is not None
        or error.type.startswith("twisted.cred.error.")
        or (error.type, error.value) == ("twisted.spread.pb.Error", "unauthorized")
    )
