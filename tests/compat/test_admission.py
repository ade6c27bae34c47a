"""Peers that have not logged in, and those that guess: the same rules for every object that logs peers in."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from twisted.cred.checkers import AllowAnonymousAccess, InMemoryUsernamePasswordDatabaseDontUse
from twisted.cred.credentials import Anonymous, UsernamePassword
from twisted.cred.error import UnauthorizedLogin
from twisted.cred.portal import Portal
from twisted.internet import defer, task
from twisted.internet.address import IPv4Address

from perspective_broker import Limits
from perspective_broker.compat import of_2002, pb
from tests.compat.pumping import Pump


class Avatar(pb.Avatar):
    def perspective_length(self, text: str) -> int:
        return len(text)

    def perspective_refuse(self) -> None:
        raise UnauthorizedLogin("of the program, which is no login")


class Realm:
    def requestAvatar(self, name: Any, mind: Any, *interfaces: Any) -> Any:
        return interfaces[0], Avatar(), lambda: None


def portal() -> Any:
    realm: Any = Realm()
    checker: Any = InMemoryUsernamePasswordDatabaseDontUse(user=b"pass", other=b"pass")
    anonymous: Any = AllowAnonymousAccess()
    return Portal(realm, [checker, anonymous])


class OwnChallenger(pb._PortalAuthChallenger):
    """Checks the login by itself, and returns None for a wrong one."""

    def remote_respond(self, response: Any, mind: Any) -> Any:
        return super().remote_respond(response, mind).addErrback(lambda failure: None)


class OwnWrapper(pb._PortalWrapper):
    def remote_login(self, username: Any) -> Any:
        fresh = pb.challenge()
        return fresh, OwnChallenger(self.portal, self.broker, username, fresh)


class OwnRoot(pb._PortalRoot):
    def rootObject(self, broker: Any) -> Any:
        return OwnWrapper(self.portal, broker)


class Plain(pb.Referenceable, pb._JellyableAvatarMixin):
    """A root without challenges, for a network that one trusts."""

    def __init__(self, portal: Any, broker: Any) -> None:
        self.portal = portal
        self.broker = broker

    def remote_login(self, username: bytes) -> Any:
        fresh = pb.challenge()
        return fresh, self

    def remote_respond(self, response: bytes, mind: Any) -> Any:
        right = UsernamePassword(b"user", b"pass" if len(response) == 16 and self.right(response) else b"")
        return self.portal.login(right, mind, pb.IPerspective).addCallback(self._cbLogin)

    @staticmethod
    def right(response: bytes) -> bool:
        return response == b"p" * 16


class PlainRoot(pb._PortalRoot):
    def rootObject(self, broker: Any) -> Any:
        return Plain(self.portal, broker)


def app() -> Any:
    found = of_2002.Application("app")
    of_2002.Service("service", found).createPerspective("user").makeIdentity("pass")
    return found


class Timed:
    """A server whose clock the test moves.

    Args:
        root: for its factory.
    """

    def __init__(self, root: Any) -> None:
        self.clock = clock = task.Clock()

        class Broker(pb.Broker):
            def connectionMade(self) -> None:
                self.admission.clock = clock.seconds
                super().connectionMade()

            def call_later(self, seconds: float, function: Callable[[], object]) -> Any:
                return clock.callLater(seconds, function)

        self.factory: Any = pb.PBServerFactory(root)
        self.factory.protocol = Broker

    def connect(self) -> Pump:
        return Pump(self.factory)


ROOTS: dict[str, Callable[[], Any]] = {
    "portal": portal,
    "own": lambda: OwnRoot(portal()),
    "2002": lambda: of_2002.AuthRoot(app()),
}


@pytest.fixture(params=ROOTS)
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def server(kind: str) -> Timed:
    return Timed(ROOTS[kind]())


def log_in(pump: Pump, kind: str, password: bytes, user: bytes = b"user") -> Any:
    """Return the Deferred of a login; its result for a wrong password depends on the kind."""
    if kind == "2002":
        root = pump.client.remoteForName("root")
        return pb.authIdentity(root, user.decode(), password.decode())
    return pump.factory.login(UsernamePassword(user, password))


def is_refused(pump: Pump, login: Any) -> bool:
    """Return whether the server has refused the login; a login that has not ended is not refused."""
    outcome: list[Any] = []
    login.addBoth(outcome.append)
    pump.run()
    return bool(outcome) and (outcome[0] is None or outcome[0].check(UnauthorizedLogin) is not None)


def test_who_logs_in_is_admitted(server: Timed, kind: str) -> None:
    pump = server.connect()
    assert pump.server.limits == Limits().before_login()
    assert pump.result(log_in(pump, kind, b"pass")) is not None
    server.clock.advance(1000)
    assert pump.server.limits == Limits() == pump.server.session.limits
    assert not pump.client.disconnected


def test_a_peer_that_tries_nothing_is_hung_up(server: Timed) -> None:
    pump = server.connect()
    server.clock.advance(Limits().login_seconds - 1)
    pump.run()
    assert not pump.client.disconnected
    server.clock.advance(1)
    pump.run()
    assert pump.client.disconnected
    assert server.clock.getDelayedCalls() == []


def test_an_attempt_gives_more_time(server: Timed, kind: str) -> None:
    pump = server.connect()
    server.clock.advance(Limits().login_seconds - 1)
    assert is_refused(pump, log_in(pump, kind, b"wrong"))
    server.clock.advance(2)
    assert pump.result(log_in(pump, kind, b"pass")) is not None


def test_a_peer_that_guesses_is_told_and_then_hung_up(server: Timed, kind: str) -> None:
    pump = server.connect()
    for number in range(Limits().logins):
        assert not pump.client.disconnected
        assert is_refused(pump, log_in(pump, kind, b"wrong", b"user%d" % number))
    assert pump.client.disconnected


def test_a_name_that_is_guessed_at_has_to_wait(server: Timed, kind: str) -> None:
    for _ in range(4):
        pump = server.connect()
        login = log_in(pump, kind, b"wrong")
        assert is_refused(pump, login) or server.clock.getDelayedCalls()
    pump = server.connect()
    login = log_in(pump, kind, b"pass")
    outcome: list[Any] = []
    login.addBoth(outcome.append)
    pump.run()
    assert outcome == []
    server.clock.advance(2)
    pump.run()
    assert isinstance(outcome[0], pb.RemoteReference)


def test_a_waiting_attempt_ends_with_its_connection(server: Timed, kind: str) -> None:
    for _ in range(5):
        pump = server.connect()
        is_refused(pump, log_in(pump, kind, b"wrong"))
        pump.cut()
    assert server.clock.getDelayedCalls() == []


def test_a_challenge_expires(server: Timed, kind: str) -> None:
    pump = server.connect()
    root = pump.client.remoteForName("root")
    challenge, challenger = pump.result(root.callRemote("username" if kind == "2002" else "login", "user"))
    server.clock.advance(Limits().login_seconds - 1)
    pump.result(
        root.callRemote("username" if kind == "2002" else "login", "user")
    )  # more time for the connection
    server.clock.advance(1)
    arguments = [] if kind == "2002" else [None]
    answer = challenger.callRemote("respond", pb.respond(challenge, b"pass"), *arguments)
    assert is_refused(pump, answer)


def test_a_challenge_is_answered_once(server: Timed, kind: str) -> None:
    pump = server.connect()
    root = pump.client.remoteForName("root")
    challenge, challenger = pump.result(root.callRemote("username" if kind == "2002" else "login", "user"))
    arguments = [] if kind == "2002" else [None]
    assert is_refused(pump, challenger.callRemote("respond", b"wrong", *arguments))
    right = pb.respond(challenge, b"pass")
    assert is_refused(pump, challenger.callRemote("respond", right, *arguments))


def test_too_many_challenges_end_the_connection(server: Timed, kind: str) -> None:
    pump = server.connect()
    for _ in range(Limits().logins + 5):
        pump.call("username" if kind == "2002" else "login", "user")
    assert not pump.client.disconnected
    pump.client.remoteForName("root").callRemote(
        "username" if kind == "2002" else "login", "user"
    ).addErrback(lambda _: None)
    pump.run()
    assert pump.client.disconnected


def test_an_object_of_the_program_that_refuses_counts_too() -> None:
    pump = Timed(PlainRoot(portal())).connect()
    assert pump.server.limits == Limits().before_login()
    for _ in range(Limits().logins):
        assert not pump.client.disconnected
        assert is_refused(pump, pump.client.remoteForName("root").callRemote("respond", b"wrong", None))
    assert pump.client.disconnected


def test_an_object_of_the_program_admits_too() -> None:
    server = Timed(PlainRoot(portal()))
    pump = server.connect()
    avatar = pump.call("respond", b"p" * 16, None)
    server.clock.advance(1000)
    assert pump.result(avatar.callRemote("length", "x" * 100_000)) == 100_000


def test_what_a_program_refuses_after_the_login_is_no_guess() -> None:
    pump = Timed(portal()).connect()
    avatar = pump.result(log_in(pump, "portal", b"pass"))
    for _ in range(2 * Limits().logins):
        assert is_refused(pump, avatar.callRemote("refuse"))
    assert not pump.client.disconnected


def test_nobody_in_particular_is_admitted() -> None:
    pump = Timed(portal()).connect()
    assert pump.result(pump.factory.login(Anonymous())) is not None
    assert pump.server.limits == Limits()


def test_limits_of_a_program_are_reduced_until_the_login() -> None:
    limits = Limits(string_bytes=1600)
    factory: Any = pb.PBServerFactory(portal())
    factory.protocol = lambda **kw: pb.Broker(limits=limits, **kw)
    pump = Pump(factory)
    assert pump.server.session.limits.string_bytes == 100
    pump.result(pump.factory.login(UsernamePassword(b"user", b"pass")))
    assert pump.server.session.limits == limits


def test_strangers_from_one_address_are_counted() -> None:
    most = Limits().strangers_per_address
    factory: Any = pb.PBServerFactory(portal())
    here, there = IPv4Address("TCP", "192.0.2.1", 1), IPv4Address("TCP", "192.0.2.2", 1)

    class From:
        """The factory, as connections from ``here`` find it."""

        def buildProtocol(self, _: Any) -> Any:
            return factory.buildProtocol(here)

    pumps = [Pump(From()) for _ in range(3)]
    brokers = [factory.buildProtocol(here) for _ in range(most - 3)]
    assert None not in brokers
    assert factory.buildProtocol(here) is None
    assert factory.buildProtocol(there) is not None
    pumps[0].cut()
    pumps[1].result(pumps[1].factory.login(UsernamePassword(b"user", b"pass")))
    assert factory.buildProtocol(here) is not None
    assert factory.buildProtocol(here) is not None
    assert factory.buildProtocol(here) is None


def test_where_nobody_logs_in_a_greeting_is_enough() -> None:
    factory: Any = pb.PBServerFactory(pb.Root())
    here = IPv4Address("TCP", "192.0.2.1", 1)

    class From:
        def buildProtocol(self, _: Any) -> Any:
            return factory.buildProtocol(here)

    pumps = [Pump(From()) for _ in range(3)]
    assert len(factory._unauthenticated) == 0
    assert not any(pump.client.disconnected for pump in pumps)


def test_a_portal_that_answers_later() -> None:
    """The connection is not hung up while it is judged."""
    verdict: Any = defer.Deferred()

    class Slow:
        credentialInterfaces = (pb.IUsernameMD5Password,)

        def requestAvatarId(self, credentials: Any) -> Any:
            return verdict

    realm: Any = Realm()
    checker: Any = Slow()
    server = Timed(Portal(realm, [checker]))
    pump = server.connect()
    login = log_in(pump, "portal", b"pass")
    pump.run()
    server.clock.advance(2 * Limits().login_seconds)
    assert not pump.client.disconnected
    verdict.callback(b"user")
    assert pump.result(login) is not None
