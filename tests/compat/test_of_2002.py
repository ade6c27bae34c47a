"""2002: a program in the style of its examples, an echo service with perspectives, and its own assertions."""

from __future__ import annotations

import io
from typing import Any

import pytest
from twisted.cred.error import UnauthorizedLogin
from twisted.internet import reactor

from perspective_broker.compat import of_2002, pb
from tests.compat.pumping import Pump

# -- the program


class DefinedError(pb.Error):
    """An error that the client knows as well."""


class EchoPerspective(pb.Perspective):
    client: Any = None

    def attached(self, reference: Any, identity: Any) -> Any:
        self.client = reference
        self.service.present.append(identity.name)
        return self

    def detached(self, reference: Any, identity: Any) -> None:
        self.service.present.remove(identity.name)

    def perspective_echo(self, text: Any) -> Any:
        return text

    def perspective_error(self) -> None:
        raise DefinedError("exception!")

    def perspective_room(self) -> Room:
        return Room()

    def perspective_ask_me(self, question: str) -> Any:
        return self.client.callRemote("answer", question)


class Room(pb.Viewable):
    def view_who(self, perspective: EchoPerspective) -> str:
        return perspective.perspectiveName


class EchoService(pb.Service):
    perspectiveClass = EchoPerspective

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self.present: list[str] = []


class Client(pb.Referenceable):
    def remote_answer(self, question: str) -> str:
        return question.upper()


def application() -> Any:
    app = of_2002.Application("pbecho")
    service = EchoService("pbecho", app)
    for name in ("guest", "alice"):
        service.createPerspective(name).makeIdentity(name)
    return app


@pytest.fixture
def app() -> Any:
    return application()


@pytest.fixture
def pump(app: Any) -> Pump:
    return Pump(pb.BrokerFactory(pb.AuthRoot(app)))


def root(pump: Pump) -> Any:
    return pump.client.remoteForName("root")


def log_in(pump: Pump, name: str = "guest", client: Any = None) -> Any:
    return pump.result(pb.logIn(root(pump), client, "pbecho", name, name))


# -- its behaviour


def test_a_user_logs_in_and_calls(pump: Pump) -> None:
    perspective = log_in(pump)
    assert pump.result(perspective.callRemote("echo", "hello")) == "hello"
    failure = pump.failure(perspective.callRemote("error"))
    assert failure.check(DefinedError) is DefinedError
    assert failure.value == "exception!"


def test_viewables_tell_users_apart(app: Any) -> None:
    factory = pb.BrokerFactory(pb.AuthRoot(app))
    for name in ("guest", "alice"):
        pump = Pump(factory)
        room = pump.result(log_in(pump, name).callRemote("room"))
        assert pump.result(room.callRemote("who")) == name


def test_the_server_calls_the_client_back(pump: Pump) -> None:
    perspective = log_in(pump, client=Client())
    assert pump.result(perspective.callRemote("ask_me", "why")) == "WHY"


def test_a_perspective_hears_of_the_end(app: Any, pump: Pump) -> None:
    present = app.getServiceNamed("pbecho").present
    log_in(pump)
    assert present == ["guest"]
    pump.cut()
    assert present == []


@pytest.mark.parametrize(("name", "password"), [("guest", "wrong"), ("nobody", "guest")])
def test_a_refusal_does_not_say_what_was_wrong(pump: Pump, name: str, password: str) -> None:
    assert pump.result(pb.authIdentity(root(pump), name, password)) is None
    failure = pump.failure(pb.logIn(root(pump), None, "pbecho", name, password))
    assert failure.check(UnauthorizedLogin)
    assert str(failure.value) == "invalid username or password"


def test_a_perspective_without_a_key_is_refused(pump: Pump) -> None:
    failure = pump.failure(pb.logIn(root(pump), None, "pbecho", "guest", "guest", "alice"))
    assert failure.check(KeyError)


def test_a_name_in_bytes_means_a_program_of_2002(pump: Pump) -> None:
    """Its text is plain strings, both ways: so they arrive as bytes here."""
    perspective = pump.result(pb.logIn(root(pump), None, b"pbecho", b"guest", b"guest"))
    assert pump.result(perspective.callRemote("echo", "hello")) == b"hello"


def test_connect_over_tcp(app: Any) -> None:
    """The whole of it, with the reactor: 2002's clients gave their timeout where the client's reference belongs."""
    found: list[Any] = []
    server: Any = reactor
    port = app.listenTCP(0, pb.BrokerFactory(pb.AuthRoot(app)), interface="127.0.0.1")

    def connected(perspective: Any) -> Any:
        return (
            perspective.callRemote("echo", "over tcp").addCallback(found.append).addBoth(hang_up, perspective)
        )

    def hang_up(result: Any, perspective: Any) -> Any:
        perspective.broker.notifyOnDisconnect(lambda: server.callLater(0, end))
        perspective.broker.transport.loseConnection()
        return result

    def end(failure: Any = None) -> None:
        if failure is not None:
            found.append(failure)
        port.stopListening().addBoth(lambda _: server.stop())

    pb.connect("127.0.0.1", port.getHost().port, "guest", "guest", "pbecho", "guest", 30).addCallbacks(
        connected, end
    )
    server.run(installSignalHandlers=False)
    assert found == ["over tcp"]


# -- users and services


@pytest.mark.parametrize(
    ("password", "tried", "right"),
    [(None, "", False), ("secret", "secret", True), ("secret", "other", False)],
)
def test_an_identity_verifies_its_password(app: Any, password: str | None, tried: str, right: bool) -> None:
    identity = of_2002.Identity("bob", app)
    identity.setPassword(password)
    task = identity.challenge()
    outcome: list[bool] = []
    for verdict in (
        identity.verifyPlainPassword(tried),
        identity.verifyPassword(task, pb.respond(task, tried.encode())),
    ):
        verdict.addCallbacks(lambda _: outcome.append(True), lambda _: outcome.append(False))
    assert outcome == [right, right]


def test_keys_are_given_and_taken(app: Any) -> None:
    identity = of_2002.Identity("bob", app)
    identity.addKeyByString("pbecho", "guest")
    assert identity.getAllKeys() == [("pbecho", "guest")]
    identity.removeKey("pbecho", "guest")
    assert identity.getAllKeys() == []
    with pytest.raises(KeyError):
        identity.removeKey("pbecho", "guest")


def test_an_authorizer_keeps_each_name_once(app: Any) -> None:
    with pytest.raises(KeyError):
        app.authorizer.addIdentity(of_2002.Identity("guest", app))
    app.authorizer.removeIdentity("guest")
    with pytest.raises(KeyError):
        app.authorizer.removeIdentity("guest")


ANY: Any = of_2002  # so that wrong arguments can be given


@pytest.mark.parametrize(
    "make",
    [
        lambda: ANY.Service(5),
        lambda: ANY.Service("x", "no application"),
        lambda: ANY.Service("x").addPerspective("none"),
        lambda: ANY.Perspective(5),
        lambda: ANY.Perspective("x", 5),
        lambda: ANY.Perspective("x").setIdentity("none"),
        lambda: ANY.Perspective("x").setIdentityName(5),
        lambda: ANY.Identity(5, None),
        lambda: ANY.Identity("x", None).setPassword(b"bytes"),
    ],
)
def test_what_is_not_text_or_not_one_of_them_is_refused(make: Any) -> None:
    with pytest.raises(TypeError):
        make()


def test_a_service_has_one_application(app: Any) -> None:
    with pytest.raises(RuntimeError):
        app.getServiceNamed("pbecho").setApplication(of_2002.Application("other"))


def test_the_small_things() -> None:
    pb.noOperation(1, two=2)
    out = io.StringIO()
    try:
        raise ValueError("caught here")
    except ValueError:
        pb.print_excFullStack(out)
    assert "test_the_small_things" in out.getvalue()
    assert out.getvalue().endswith("ValueError: caught here\n\n")
