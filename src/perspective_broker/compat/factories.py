"""The two factories, and the login of today's Twisted on either side of them."""

from __future__ import annotations

import hmac
import secrets
from collections.abc import Callable
from functools import partial
from hashlib import md5
from typing import Any

from twisted.cred.credentials import Anonymous, IAnonymous, ICredentials, IUsernameHashedPassword
from twisted.cred.portal import Portal
from twisted.internet import defer, protocol
from twisted.python.components import registerAdapter
from twisted.spread.interfaces import IJellyable
from zope.interface import Interface, implementer

from .. import flavors
from ..limits import Limits
from ..transports.unauthenticated import UnauthenticatedPeers, address_of
from .admission import attempts_at
from .broker import Broker
from .flavors import IPBRoot, Referenceable, _Holder, dispatch
from .jelly import globalSecurity
from .registry import called_as_in_twisted

__all__ = [
    "AsReferenceable",
    "Avatar",
    "IPerspective",
    "IUsernameMD5Password",
    "LogsIn",
    "PBClientFactory",
    "PBServerFactory",
    "challenge",
    "respond",
]


class IPerspective(Interface):
    """An avatar that peers can hold."""

    def perspectiveMessageReceived(broker, message, args, kwargs):  # type: ignore[no-untyped-def]
        """Run a method. Decode its arguments by ``broker.unserialize``; return ``broker.serialize`` of its result."""


@implementer(IPerspective)
class Avatar:
    """A perspective whose ``perspective_*`` methods its owner calls."""

    def perspectiveMessageReceived(self, broker: Any, message: Any, args: Any, kw: Any) -> Any:
        args, kw = broker.unserialize(args, self), broker.unserialize(kw, self)
        method, result = dispatch(broker, self, "perspective_", message, (), args, kw)
        return broker.serialize(result, self, method, args, kw)


class AsReferenceable(Referenceable):
    """A reference to any object that has a ``<messageType>MessageReceived`` of its own."""

    #: The perspective under which arguments are decoded, for messageType "perspective".
    _reads_as: Any = None

    def __init__(self, object: Any, messageType: str = "remote") -> None:
        self.remoteMessageReceived = getattr(object, messageType + "MessageReceived")  # type: ignore[method-assign]
        if messageType == "perspective":
            self._reads_as = object

    def _pb_export_target(self, perspective: Any) -> flavors.Target:
        return flavors.Target(self, _Holder(self), "", (), self._reads_as)


def respond(challenge: bytes, password: bytes) -> bytes:
    """Return the proof of a password for a challenge. (MD5: it is not bound to the connection.)"""
    return _answer(challenge, md5(password).digest())


def _answer(challenge: bytes, digest: bytes) -> bytes:
    return md5(digest + challenge).digest()


def challenge() -> bytes:
    """Return 16 random bytes."""
    return secrets.token_bytes(16)


class PBClientFactory(protocol.ClientFactory):
    """Makes the client's broker, and returns the server's root or an avatar when there is a connection.

    Args:
        unsafeTracebacks: whether the peer is sent the tracebacks of our exceptions.
        security: what may be received, and sent.
    """

    protocol: Any = Broker
    unsafeTracebacks: Any = False

    def __init__(self, unsafeTracebacks: Any = False, security: Any = globalSecurity) -> None:
        self.unsafeTracebacks = unsafeTracebacks
        self.security = security
        self._reset()

    def buildProtocol(self, addr: Any) -> Any:
        broker = self.protocol(isClient=True, security=self.security)
        broker.factory = self
        return broker

    def _reset(self) -> None:
        self.rootObjectRequests: list[Any] = []
        self._broker: Any = None
        self._root: Any = None

    def _failAll(self, reason: Any) -> None:
        waiting = self.rootObjectRequests
        self._reset()
        for deferred in waiting:
            deferred.errback(reason)

    def clientConnectionFailed(self, connector: Any, reason: Any) -> None:
        self._failAll(reason)

    def clientConnectionLost(self, connector: Any, reason: Any, reconnecting: Any = 0) -> None:
        """Fail the requests for a root, except when ``reconnecting``, because the connection is gone."""
        if reconnecting:
            self._broker = self._root = None
        else:
            self._failAll(reason)

    def clientConnectionMade(self, broker: Any) -> None:
        """Answer the requests for a root, now that calls can be made (called by the broker)."""
        self._broker = broker
        self._root = broker.remoteForName("root")
        waiting, self.rootObjectRequests = self.rootObjectRequests, []
        for deferred in waiting:
            deferred.callback(self._root)

    def getRootObject(self) -> Any:
        """Return a Deferred of the reference to the server's root, before the connection is made or after."""
        if self._broker is not None and not self._broker.disconnected:
            return defer.succeed(self._root)
        deferred: Any = defer.Deferred()
        self.rootObjectRequests.append(deferred)
        return deferred

    def disconnect(self) -> None:
        """End the connection, if there is one."""
        if self._broker is not None:
            self._broker.transport.loseConnection()

    def login(self, credentials: Any, client: Any = None) -> Any:
        """Log in; return a Deferred of the reference to the avatar.

        Args:
            credentials: ``IUsernamePassword`` or ``IAnonymous``.
            client: the mind that the server gets.
        """
        root = self.getRootObject()
        if IAnonymous.providedBy(credentials):
            return root.addCallback(self._cbLoginAnonymous, client)
        return root.addCallback(self._cbSendUsername, credentials.username, credentials.password, client)

    def _cbLoginAnonymous(self, root: Any, client: Any) -> Any:
        return root.callRemote("loginAnonymous", client)

    def _cbSendUsername(self, root: Any, username: Any, password: Any, client: Any) -> Any:
        return root.callRemote("login", username).addCallback(self._cbResponse, password, client)

    def _cbResponse(self, challenges: Any, password: Any, client: Any) -> Any:
        challenge, challenger = challenges
        return challenger.callRemote("respond", respond(challenge, password), client)


class PBServerFactory(protocol.ServerFactory):
    """Makes the server's brokers.

    Args:
        root: an :class:`IPBRoot`, or what can be adapted to it, such as a :class:`twisted.cred.portal.Portal`.
        unsafeTracebacks: whether peers are sent the tracebacks of our exceptions.
        security: what may be received, and sent.
    """

    protocol: Any = Broker
    unsafeTracebacks: Any = False
    _unauthenticated: UnauthenticatedPeers | None = None

    def __init__(self, root: Any, unsafeTracebacks: Any = False, security: Any = globalSecurity) -> None:
        self.root: Any = IPBRoot(root)
        self.unsafeTracebacks = unsafeTracebacks
        self.security = security

    def buildProtocol(self, addr: Any) -> Any:
        """Return the broker of a new connection; None closes it, if its address has too many unauthenticated ones."""
        address = address_of((addr.host,)) if hasattr(addr, "host") else None
        if self._unauthenticated is None:
            self._unauthenticated = UnauthenticatedPeers(Limits().strangers_per_address)
        unauthenticated = self._unauthenticated
        if address is not None and not unauthenticated.arrive(address):
            return None
        broker = self.protocol(isClient=False, security=self.security)
        if address is not None:
            broker.count_until_known(partial(unauthenticated.leave, address))
        broker.factory = self
        root = self.root.rootObject(broker)
        if isinstance(root, LogsIn):
            broker.admission.expect_login()
        broker.setNameForLocal("root", root)
        return broker

    def clientConnectionMade(self, protocol: Any) -> None:
        """Called by the broker when a client has connected."""


class IUsernameMD5Password(ICredentials):
    """A name, and the answer to a challenge, which a checker can judge by the password or by its MD5 digest."""

    def checkPassword(password):  # type: ignore[no-untyped-def]
        """Return whether the answer was made with ``password``."""

    def checkMD5Password(password):  # type: ignore[no-untyped-def]
        """Return whether the answer was made with the password of that MD5 digest."""


@implementer(IPBRoot)
class _PortalRoot:
    """A portal, served: every connection gets a root of its own."""

    def __init__(self, portal: Any) -> None:
        self.portal = portal

    def rootObject(self, broker: Any) -> Any:
        return _PortalWrapper(self.portal, broker)


registerAdapter(_PortalRoot, Portal, IPBRoot)


class LogsIn:
    """Base of objects that log peers in. With such a root, the peer is unauthenticated until it has logged in."""

    broker: Any
    #: Whether a login through this object has succeeded.
    _fits = False

    def _admit(self) -> None:
        self._fits = True
        self.broker.admission.admit()

    def _attempt(self, at: Any, username: Any, expires: float | None, check: Callable[[], Any]) -> Any:
        name = username.decode("utf-8", "surrogateescape") if isinstance(username, bytes) else username
        if not isinstance(name, str):
            name = ""
        return self.broker.admission.attempt(attempts_at(at), name, expires, check, lambda: self._fits)


class _JellyableAvatarMixin(LogsIn):
    """For objects that log peers in at a portal: call :meth:`_cbLogin` with the portal's result.

    Attributes:
        broker: the broker of the connection.
    """

    def _cbLogin(self, result: Any) -> Any:
        """Return the avatar as it crosses; it is logged out once, on release or with the connection."""
        _, avatar, logout = result
        if not IJellyable.providedBy(avatar):
            avatar = AsReferenceable(avatar, "perspective")
        once = _Once(logout)
        if self.broker.disconnected:  # while the portal made the avatar
            once()
        else:
            self._admit()
            self.broker._localCleanup[avatar.processUniqueID()] = once
            self.broker.notifyOnDisconnect(once)
        return avatar


class _Once:
    """Calls a function at its first call, and then drops it."""

    def __init__(self, function: Callable[[], object]) -> None:
        self._function: Callable[[], object] | None = function

    def __call__(self) -> None:
        function, self._function = self._function, None
        if function is not None:
            function()


class _PortalWrapper(Referenceable, _JellyableAvatarMixin):
    """The root of a connection to a portal."""

    def __init__(self, portal: Any, broker: Any) -> None:
        self.portal = portal
        self.broker = broker

    def remote_login(self, username: Any) -> Any:
        """Return a challenge and its challenger."""
        fresh = challenge()
        return fresh, _PortalAuthChallenger(self.portal, self.broker, username, fresh)

    def remote_loginAnonymous(self, mind: Any) -> Any:
        """Return an avatar for an anonymous user."""
        return self.portal.login(Anonymous(), mind, IPerspective).addCallback(self._cbLogin)


@implementer(IUsernameHashedPassword, IUsernameMD5Password)
class _PortalAuthChallenger(Referenceable, _JellyableAvatarMixin):
    """Accepts one answer to one challenge."""

    def __init__(self, portal: Any, broker: Any, username: Any, challenge: bytes) -> None:
        self.portal = portal
        self.broker = broker
        self.username = username
        self.challenge = challenge
        self.response: Any = None
        self._expires: float | None = broker.admission.challenge()

    def remoteMessageReceived(self, broker: Any, message: Any, args: Any, kw: Any) -> Any:
        """Answer after the delay of this name, whatever a subclass does with the message."""
        expires, self._expires = self._expires, None
        answer = partial(super().remoteMessageReceived, broker, message, args, kw)
        return self._attempt(self.portal, self.username, expires, answer)

    def remote_respond(self, response: Any, mind: Any) -> Any:
        """Return the avatar."""
        self.response = response
        return self.portal.login(self, mind, IPerspective).addCallback(self._cbLogin)

    def checkPassword(self, password: Any) -> bool:
        return self.checkMD5Password(md5(password).digest())

    def checkMD5Password(self, md5Password: bytes) -> bool:
        return isinstance(self.response, bytes) and hmac.compare_digest(
            self.response, _answer(self.challenge, md5Password)
        )


called_as_in_twisted(
    "pb",
    AsReferenceable,
    Avatar,
    PBClientFactory,
    PBServerFactory,
    _JellyableAvatarMixin,
    _PortalAuthChallenger,
    _PortalRoot,
    _PortalWrapper,
)
