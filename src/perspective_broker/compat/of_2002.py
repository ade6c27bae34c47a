"""The names of 2002: services, perspectives and identities, and the login that goes with them, on Deferreds.

A program of 2002 imported its application from ``twisted.internet.app`` and its users from ``twisted.cred``, which
have gone; :class:`Application`, :class:`Identity` and :class:`DefaultAuthorizer` here are what they were.

The login is MD5 and binds nothing to the connection: for a network that one trusts. A name that is given, or comes, as
bytes means a peer of 2002, which is spoken to as it can read (no text but plain strings); text means one of today.
Where 2002 handed an errback a plain string, it is a Failure here, for Deferreds take nothing else; its text is that
string.
"""

from __future__ import annotations

import sys
import traceback
from collections.abc import Callable
from typing import Any

from twisted.cred.error import UnauthorizedLogin
from twisted.internet import defer
from twisted.python import log
from zope.interface import implementer

from ..cred.verifiers import LegacyDigest, check_legacy
from .admission import refusal
from .factories import (
    AsReferenceable,
    Avatar,
    LogsIn,
    PBClientFactory,
    PBServerFactory,
    _Once,
    challenge,
    respond,
)
from .flavors import IPBRoot, Referenceable

__all__ = [
    "Application",
    "AuthChallenger",
    "AuthRoot",
    "AuthServ",
    "BrokerFactory",
    "DefaultAuthorizer",
    "Identity",
    "IdentityWrapper",
    "Perspective",
    "Service",
    "authIdentity",
    "connect",
    "getObjectAt",
    "logIn",
    "noOperation",
    "printTraceback",
    "print_excFullStack",
]

# -- small things


def noOperation(*args: Any, **kw: Any) -> None:
    """Do nothing."""


def printTraceback(tb: Any) -> None:
    """Write a traceback's text to the log."""
    log.msg("Perspective Broker Traceback:")
    log.msg(tb)


def print_excFullStack(file: Any = None) -> None:
    """Write the exception that is being handled, with the frames that led to where it was caught.

    Args:
        file: where to; standard error when None.
    """
    stack = traceback.format_stack(sys._getframe(1))
    print("".join(stack) + traceback.format_exc(), file=sys.stderr if file is None else file)


def _text(name: Any) -> Any:
    return name.decode("utf-8", "replace") if isinstance(name, bytes) else name


def _reactor() -> Any:
    from twisted.internet import reactor  # installs one, so no module of this face imports it

    return reactor


# -- the client's side


def getObjectAt(host: str, port: int, timeout: float | None = None) -> Any:
    """Connect to a server; return a Deferred of the reference to its root.

    Args:
        timeout: seconds until a connection must be there (the text of 2002 says milliseconds; its code and its callers
            meant seconds); 30 when None.
    """
    factory = PBClientFactory()
    _reactor().connectTCP(host, port, factory, 30 if timeout is None else timeout)
    return factory.getRootObject()


def authIdentity(authServRef: Any, username: Any, password: Any) -> Any:
    """Answer the challenge of an :class:`AuthServ`; return a Deferred of the reference to the identity.

    The Deferred's result is None when the name or the password is wrong.
    """
    if isinstance(username, bytes):
        authServRef.broker.session.dialect.writer.speak_as_in_2002()
    secret = password if isinstance(password, bytes) else password.encode()

    def answer(given: Any) -> Any:
        task, challenger = given
        return challenger.callRemote("respond", respond(task, secret))

    return authServRef.callRemote("username", username).addCallback(answer)


def logIn(
    authServRef: Any, client: Any, service: Any, username: Any, password: Any, perspectiveName: Any = None
) -> Any:
    """Log in on an existing connection; return a Deferred of the reference to the perspective.

    It fails with ``UnauthorizedLogin`` when the name or the password is wrong, which does not say what was.

    Args:
        client: what the server's perspective gets of this side, or None.
        perspectiveName: the name of the user when None.
    """
    perspective = username if perspectiveName is None else perspectiveName

    def attach(identity: Any) -> Any:
        if identity is None:
            raise refusal()
        return identity.callRemote("attach", service, perspective, client)

    return authIdentity(authServRef, username, password).addCallback(attach)


def connect(
    host: str,
    port: int,
    username: Any,
    password: Any,
    serviceName: Any,
    perspectiveName: Any = None,
    client: Any = None,
    timeout: float | None = None,
) -> Any:
    """Connect to a server and log in; return a Deferred of the reference to the perspective.

    Args:
        client: what the server's perspective gets of this side. (Callers of 2002 gave their timeout in this place; it
            goes to the server, as it did.)
        timeout: see :func:`getObjectAt`.
    """
    return getObjectAt(host, port, timeout).addCallback(
        logIn, client, serviceName, username, password, perspectiveName
    )


# -- users


class Identity:
    """A user: a name, a password, and keys to perspectives.

    Args:
        name: what the user is called.
        application: whose user it is.
    """

    def __init__(self, name: str, application: Application) -> None:
        if not isinstance(name, str):
            raise TypeError("an identity's name is text")
        self.name = name
        self.application = application
        self._digest: LegacyDigest | None = None
        self._keys: dict[tuple[str, str], None] = {}

    def setPassword(self, plaintext: str | None) -> None:
        """Set the password; None refuses all logins."""
        if plaintext is not None and not isinstance(plaintext, str):
            raise TypeError("a password is text")
        self._digest = None if plaintext is None else LegacyDigest.from_password(plaintext)

    def addKeyByString(self, serviceName: str, perspectiveName: str) -> None:
        """Allow this user to attach to a perspective of a service."""
        self._keys[serviceName, perspectiveName] = None

    def addKeyForPerspective(self, perspective: Perspective) -> None:
        """Allow this user to attach to that perspective."""
        self.addKeyByString(perspective.service.serviceName, perspective.perspectiveName)

    def getAllKeys(self) -> list[tuple[str, str]]:
        """Return the (service, perspective) pairs to which this user may attach."""
        return list(self._keys)

    def removeKey(self, serviceName: str, perspectiveName: str) -> None:
        """Remove a key; KeyError when it does not exist."""
        del self._keys[serviceName, perspectiveName]

    def requestPerspectiveForKey(self, serviceName: str, perspectiveName: str) -> Any:
        """Return a Deferred of the perspective for a key; it fails with KeyError when there is no such key."""
        if (serviceName, perspectiveName) not in self._keys:
            return defer.fail(KeyError("not allowed, or not there"))
        return self.application.getServiceNamed(serviceName).getPerspectiveRequest(perspectiveName)

    def challenge(self) -> bytes:
        """Return a challenge."""
        return challenge()

    def verifyPassword(self, challenge: bytes, hashedPassword: bytes) -> Any:
        """Return a Deferred that succeeds when that is the right response."""
        return _verdict(check_legacy(self._digest, challenge, hashedPassword))

    def verifyPlainPassword(self, plaintext: str) -> Any:
        """Return a Deferred that succeeds when that is the password."""
        fresh = challenge()
        return self.verifyPassword(fresh, respond(fresh, plaintext.encode()))


def _verdict(right: bool) -> Any:
    return defer.succeed(None) if right else defer.fail(refusal())


class DefaultAuthorizer:
    """The users of an application, in memory."""

    def __init__(self) -> None:
        self.identities: dict[str, Identity] = {}

    def addIdentity(self, identity: Identity) -> None:
        """Add a user; KeyError when there is one of that name."""
        if identity.name in self.identities:
            raise KeyError(f"there is an identity {identity.name!a} already")
        self.identities[identity.name] = identity

    def removeIdentity(self, identityName: str) -> None:
        """Remove a user; KeyError when it does not exist."""
        del self.identities[identityName]

    def getIdentityRequest(self, name: str) -> Any:
        """Return a Deferred of the user of that name; it fails with KeyError when there is no such user."""
        found = self.identities.get(name)
        return defer.fail(KeyError("no such identity")) if found is None else defer.succeed(found)


# -- services and perspectives


class Application:
    """Services, and the users who may log in to them.

    Args:
        name: its name.
        authorizer: knows the users.
    """

    def __init__(self, name: str, authorizer: Any = None) -> None:
        self.name = name
        self.authorizer: Any = DefaultAuthorizer() if authorizer is None else authorizer
        self.services: dict[str, Service] = {}

    def addService(self, service: Service) -> None:
        """Add a service."""
        self.services[service.serviceName] = service

    def getServiceNamed(self, name: str) -> Service:
        """Return a service; KeyError when it does not exist."""
        return self.services[name]

    def listenTCP(self, port: int, factory: Any, backlog: int = 50, interface: str = "") -> Any:
        """Start the services and listen; return the port."""
        for service in self.services.values():
            service.startService()
        return _reactor().listenTCP(port, factory, backlog, interface)

    def run(self) -> None:
        """Run the reactor until it is stopped, then stop the services."""
        _reactor().run()
        for service in self.services.values():
            service.stopService()


class Perspective(Avatar):
    """One user's view of a service: attached clients call its ``perspective_*`` methods.

    Args:
        perspectiveName: its name within the service.
        identityName: the name of the user who owns it.
    """

    service: Any = None

    def __init__(self, perspectiveName: str, identityName: str = "Nobody") -> None:
        for name in (perspectiveName, identityName):
            if not isinstance(name, str):
                raise TypeError("a perspective's names are text")
        self.perspectiveName = perspectiveName
        self.identityName = identityName

    def setService(self, service: Service) -> None:
        """Belong to a service."""
        self.service = service

    def getService(self) -> Any:
        """Return the service."""
        return self.service

    def setIdentityName(self, name: str) -> None:
        """Make it belong to the user of that name."""
        if not isinstance(name, str):
            raise TypeError("an identity's name is text")
        self.identityName = name

    def setIdentity(self, identity: Identity) -> None:
        """Belong to a user."""
        if not isinstance(identity, Identity):
            raise TypeError("not an identity")
        self.setIdentityName(identity.name)

    def makeIdentity(self, password: str | None) -> Identity:
        """Make a user called like this perspective, with the key to it."""
        application = self.service.application
        identity = Identity(self.perspectiveName, application)
        identity.setPassword(password)
        identity.addKeyForPerspective(self)
        self.setIdentity(identity)
        application.authorizer.addIdentity(identity)
        return identity

    def getIdentityRequest(self) -> Any:
        """Return a Deferred of the user to whom it belongs."""
        return self.service.application.authorizer.getIdentityRequest(self.identityName)

    def attached(self, reference: Any, identity: Identity) -> Any:
        """Called when a client has attached; return the perspective that it gets.

        Args:
            reference: the reference that it passed, or None.
        """
        return self

    def detached(self, reference: Any, identity: Identity) -> None:
        """Called when an attached client is gone."""

    def brokerAttached(self, reference: Any, identity: Identity, broker: Any) -> Any:
        """The same as :meth:`attached`, which it calls, with the connection."""
        return self.attached(reference, identity)

    def brokerDetached(self, reference: Any, identity: Identity, broker: Any) -> None:
        """The same as :meth:`detached`, which it calls, with the connection."""
        self.detached(reference, identity)


class Service:
    """A named collection of state, with perspectives onto it.

    Args:
        serviceName: its name.
        application: what it belongs to.
    """

    perspectiveClass: Callable[[str], Perspective] = Perspective
    application: Any = None
    serviceParent: Any = None

    def __init__(self, serviceName: str, application: Application | None = None) -> None:
        if not isinstance(serviceName, str):
            raise TypeError("a service's name is text")
        self.serviceName = serviceName
        self.perspectives: dict[str, Perspective] = {}
        if application is not None:
            self.setApplication(application)

    def setApplication(self, application: Application) -> None:
        """Belong to an application, once."""
        if self.application is not None:
            raise RuntimeError("this service belongs to an application already")
        if not isinstance(application, Application):
            raise TypeError("not an application")
        self.application = application
        application.addService(self)

    def startService(self) -> None:
        """Called when the application begins to listen."""

    def stopService(self) -> None:
        """Called when the application is shut down."""

    def addPerspective(self, perspective: Perspective) -> None:
        """Add a perspective."""
        if not isinstance(perspective, Perspective):
            raise TypeError("not a perspective")
        perspective.setService(self)
        self.perspectives[perspective.perspectiveName] = perspective

    def createPerspective(self, name: str) -> Perspective:
        """Make a perspective, of this service's class, and add it."""
        perspective = type(self).perspectiveClass(name)
        self.addPerspective(perspective)
        return perspective

    def getPerspectiveNamed(self, name: str) -> Perspective:
        """Return a perspective; KeyError when it does not exist. Override it to make perspectives on demand."""
        return self.perspectives[name]

    def getPerspectiveRequest(self, name: str) -> Any:
        """Return a Deferred of a perspective."""
        return defer.maybeDeferred(self.getPerspectiveNamed, name)

    def getServiceName(self) -> str:
        """Return its name."""
        return self.serviceName

    def getServiceType(self) -> str:
        """Return the name of its kind."""
        return f"{type(self).__module__}.{type(self).__name__}"


# -- the server's side of a login


class BrokerFactory(PBServerFactory):
    """Makes the brokers of a server.

    Args:
        objectToBroker: what has ``rootObject(broker)``: an :class:`AuthRoot`, or a :class:`~.pb.Root`.
    """

    def __init__(self, objectToBroker: Any, unsafeTracebacks: Any = False) -> None:
        super().__init__(IPBRoot(objectToBroker), unsafeTracebacks)


@implementer(IPBRoot)
class AuthRoot:
    """Gives every connection to an application a login object of its own."""

    def __init__(self, app: Any) -> None:
        self.app = app

    def rootObject(self, broker: Any) -> AuthServ:
        return AuthServ(self.app, broker)


class AuthServ(Referenceable, LogsIn):
    """The root of a connection whose peer has to log in."""

    def __init__(self, app: Any, broker: Any) -> None:
        self.app = app
        self.broker = broker

    def remote_username(self, username: Any) -> Any:
        """Return a challenge and its challenger, for unknown names, too."""
        if isinstance(username, bytes):
            self.broker.session.dialect.writer.speak_as_in_2002()
        found = self.app.authorizer.getIdentityRequest(_text(username))
        return found.addErrback(_nobody).addCallback(self._challenge, username)

    def _challenge(self, identity: Any, username: Any) -> Any:
        challenger = AuthChallenger(identity, self, username)
        return challenger.challenge, challenger


def _nobody(failure: Any) -> None:
    failure.trap(KeyError)


class AuthChallenger(Referenceable, LogsIn):
    """Accepts one response to one challenge.

    Args:
        identity: whose password it takes; None for an unknown name.
        authserv: the login object of the connection.
        username: as whom the peer wants to log in.
    """

    def __init__(self, identity: Any, authserv: AuthServ, username: Any = "") -> None:
        self.identity = identity
        self.authserv = authserv
        self.broker = authserv.broker
        self.username = username
        self.challenge: bytes = challenge()
        self._expires: float | None = self.broker.admission.challenge()

    def remote_respond(self, password: Any) -> Any:
        """Return the :class:`IdentityWrapper`, or None when the response is wrong."""
        expires, self._expires = self._expires, None
        attempt = self._attempt(self.authserv.app, self.username, expires, lambda: self._judge(password))
        return attempt.addErrback(_refused)

    def _judge(self, password: Any) -> Any:
        if not isinstance(password, bytes):
            return None
        if self.identity is None:
            check_legacy(None, self.challenge, password)  # for the same price
            return None
        verdict = self.identity.verifyPassword(self.challenge, password)
        return verdict.addCallbacks(lambda _: self._wrap(), lambda _: None)

    def _wrap(self) -> IdentityWrapper:
        self._admit()
        return IdentityWrapper(self.identity, self.broker)


def _refused(failure: Any) -> None:
    failure.trap(UnauthorizedLogin)


class IdentityWrapper(Referenceable):
    """A user who has logged in, on one connection."""

    def __init__(self, identity: Any, broker: Any) -> None:
        self.identity = identity
        self.broker = broker

    def remote_attach(self, serviceName: Any, perspectiveName: Any, remote: Any) -> Any:
        """Attach to a perspective; return it."""
        found = self.identity.requestPerspectiveForKey(_text(serviceName), _text(perspectiveName))
        return found.addCallback(self._attach, remote)

    def _attach(self, perspective: Any, remote: Any) -> Any:
        given = perspective.brokerAttached(remote, self.identity, self.broker)
        detach = _Detacher(given, remote, self.identity, self.broker)
        if self.broker.disconnected:
            detach()
        else:
            self.broker.notifyOnDisconnect(detach)
        return AsReferenceable(given, "perspective")


class _Detacher(_Once):
    """Ends an attachment once, when the connection ends."""

    def __init__(self, perspective: Any, remote: Any, identity: Any, broker: Any) -> None:
        super().__init__(lambda: perspective.brokerDetached(remote, identity, broker))
