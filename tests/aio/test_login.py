"""connect(username=...): the client's steps, and above all its refusals for an untrusted peer."""

from __future__ import annotations

import asyncio
import pickle
from typing import Any

import pytest

import perspective_broker as pb
from perspective_broker.aio import host
from perspective_broker.aio.connection import describe_peer
from perspective_broker.aio.login import KeptKeys, Login
from perspective_broker.cred.scram import UNBOUND, ClientExchange, ServerExchange
from perspective_broker.cred.verifiers import ScramVerifier, legacy_response
from perspective_broker.testing import assert_no_leaks
from tests.cred.logins import Mind, application, serving

CHALLENGE = b"0123456789abcdef"


class Given(pb.Referenceable):
    """The perspective of users that have logged in to the servers below."""

    def __init__(self, *log: Any) -> None:
        self.log = log

    def remote_log(self) -> Any:
        return self.log

    def remote_attach(self, *arguments: Any) -> Given:
        return Given(*self.log, *arguments)


class Challenger(pb.Referenceable):
    def __init__(self, outcome: Any = None) -> None:
        self.outcome = outcome

    def remote_respond(self, response: bytes, *more: Any) -> Any:
        if isinstance(self.outcome, Exception):
            raise self.outcome
        return Given(response, *more) if self.outcome is None else self.outcome


class Today(pb.Root):
    """A portal of today's Twisted."""

    asked = 0

    def remote_login(self, name: Any) -> Any:
        self.asked += 1
        self.name = name
        return CHALLENGE, Challenger()


class OldNames(pb.Root):
    """A server of today that logs in as in 2002: a program on the face of ``compat``."""

    asked = 0

    def remote_username(self, name: Any) -> Any:
        self.asked += 1
        return CHALLENGE, Challenger()


class Of2002(OldNames):
    """A server of 2002, which knows no NoSuchMethod, and no text."""

    def remote_authenticate(self, *_: Any) -> Any:
        raise AttributeError("AuthServ instance has no attribute 'remote_authenticate'")


async def test_a_portal_of_today_gets_an_md5_response() -> None:
    root = Today()
    async with (
        serving(root) as (_, connect),
        connect("alice", "secret", client=Mind(), dialects=["pb"]) as me,
    ):
        response, mind = await me.call("log")
        assert response == legacy_response("secret", CHALLENGE)
        assert isinstance(mind, Mind)
    assert root.name == b"alice"


async def test_a_server_of_2002_gets_plain_strings() -> None:
    async with serving(Of2002()) as (_, connect):
        async with connect("alice", "secret", service="case", client=None, dialects=["pb"]) as me:
            assert await me.call("log") == (legacy_response("secret", CHALLENGE), b"case", b"alice", None)
        async with connect("alice", "secret", service="case", perspective="guest", dialects=["pb"]) as me:
            assert (await me.call("log"))[2] == b"guest"


async def test_a_server_of_today_gets_text_also_when_it_logs_in_as_in_2002() -> None:
    async with (
        serving(OldNames()) as (_, connect),
        connect("alice", "secret", service="case", client=None, dialects=["pb"]) as me,
    ):
        assert await me.call("log") == (legacy_response("secret", CHALLENGE), "case", "alice", None)


@pytest.mark.parametrize(
    ("local", "verified", "asked", "answered"),
    [
        (True, False, False, True),
        (False, True, False, True),
        (False, False, True, True),
        (False, False, False, False),
    ],
)
@pytest.mark.parametrize("kind", [Today, Of2002])
async def test_md5_is_answered_where_it_is_safe_or_asked_for(
    kind: Any, local: bool, verified: bool, asked: bool, answered: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    def described(connection: pb.Connection, transport: Any, proxied: Any) -> None:
        describe_peer(connection, transport, proxied)
        connection.is_local, connection.is_verified = local, verified

    monkeypatch.setattr(host, "describe_peer", described)
    root = kind()
    service = "case" if kind is Of2002 else None
    async with serving(root) as (_, connect):
        connecting = connect("alice", "secret", service=service, legacy_login=asked)
        if answered:
            async with connecting:
                pass
        else:
            with pytest.raises(pb.LoginFailed, match="legacy_login=True"):
                await connecting
    assert root.asked == answered  # otherwise it does not even hear the name


@pytest.mark.parametrize("kind", [Today, Of2002])
async def test_md5_has_no_rounds(kind: Any) -> None:
    """A false server would ask for MD5 where it may not ask for few rounds."""
    root = kind()
    service = "case" if kind is Of2002 else None
    async with serving(root) as (_, connect):
        with pytest.raises(pb.LoginFailed, match=r"no rounds .*min_iterations.*legacy_login=True"):
            await connect("alice", "secret", service=service, min_iterations=5000)
        assert not root.asked
        async with connect("alice", "secret", service=service, min_iterations=5000, legacy_login=True):
            assert root.asked


class Forger(pb.Root):
    """Takes anybody's SCRAM, without knowing the password."""

    def __init__(self, verifier: ScramVerifier) -> None:
        self.verifier = verifier
        self.known: Given | None = None

    def remote_authenticate(self, mechanism: Any, client_first: Any) -> Any:
        exchange = ServerExchange(UNBOUND, client_first, None)
        return exchange.first(self.verifier), Challenger((b"v=" + b"A" * 43 + b"=", Given()))


async def test_a_server_that_does_not_know_the_password() -> None:
    async with serving(Forger(ScramVerifier.from_password("guess", iterations=4096))) as (_, connect):
        with pytest.raises(pb.LoginFailed, match="did not prove"):
            await connect("alice", "secret", service="case", client=Mind())


class Odd(pb.Root):
    """Answers nonsense."""

    def __init__(self, **answers: Any) -> None:
        self.answers = answers

    def remote_authenticate(self, mechanism: Any, client_first: Any) -> Any:
        return self.answers["authenticate"]


@pytest.mark.parametrize(
    "answer",
    [
        None,
        (),
        (None, None),
        (None, [b"SCRAM-SHA-512"]),
        (b"r=x,s=y,i=1", None),
        (b"r=x,s=y,i=1", Challenger()),
        (None, Challenger()),
        b"ab",
    ],
)
async def test_answers_that_make_no_sense(answer: Any) -> None:
    async with serving(Odd(authenticate=answer)) as (_, connect):
        with pytest.raises(pb.LoginFailed):
            await connect("alice", "secret")


@pytest.mark.parametrize("outcome", ["text", pb.LoginFailed("no"), [], 7])
async def test_md5_answers_that_make_no_sense(outcome: Any) -> None:
    class Strange(pb.Root):
        def remote_login(self, name: Any) -> Any:
            return CHALLENGE, Challenger(outcome)

        def remote_username(self, name: Any) -> Any:
            return CHALLENGE, Challenger(outcome)

    async with serving(Strange()) as (_, connect):
        for service in (None, "case"):
            with pytest.raises(pb.LoginFailed):
                await connect("alice", "secret", service=service)


async def test_a_root_that_knows_no_logins() -> None:
    async with serving(pb.Root()) as (_, connect):
        for service in (None, "case"):
            with pytest.raises(pb.LoginFailed, match="does not know"):
                await connect("alice", "secret", service=service)
        with pytest.raises(pb.LoginFailed, match="does not know"):
            await connect(pb.ANONYMOUS)


async def test_a_server_that_hangs_up_in_between() -> None:
    class Leaving(pb.Root):
        def root_object(self, connection: Any) -> Leaving:
            self.connection = connection
            return self

        def remote_authenticate(self, mechanism: Any, client_first: Any) -> Any:
            asyncio.get_running_loop().call_soon(self.connection.end, "bye", "going")
            return Forger(ScramVerifier.from_password("x", iterations=4096)).remote_authenticate(
                mechanism, client_first
            )

    async with serving(Leaving()) as (_, connect):
        with pytest.raises(pb.ConnectionLost):
            await connect("alice", "secret")


async def test_the_time_of_a_login_is_bounded() -> None:
    class Silent(pb.Root):
        async def remote_authenticate(self, *_: Any) -> Any:
            await asyncio.get_running_loop().create_future()

    async with serving(Silent()) as (server, connect):
        with pytest.raises(TimeoutError, match=r"no login at memory:logins within 0\.5 s"):
            await connect("alice", "secret", timeout=0.5)
        connecting = asyncio.ensure_future(_awaited(connect("alice", "secret")))
        while not server.connections or not server.connections[0].statistics().calls_in:
            await asyncio.sleep(0)
        (accepted,) = server.connections
        connecting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await connecting
        await accepted.wait_closed()
        await assert_no_leaks(accepted)


async def _awaited(connecting: Any) -> Any:
    return await connecting


@pytest.mark.parametrize(
    "arguments",
    [
        {"password": "secret"},
        {"service": "chat"},
        {"perspective": "guest"},
        {"client": 7},
        {"username": "alice"},
        {"username": "alice", "password": ""},
        {"username": "alice", "password": "secret", "perspective": "guest"},
        {"username": pb.ANONYMOUS, "password": "secret"},
        {"username": pb.ANONYMOUS, "service": "chat"},
    ],
)
def test_arguments_that_do_not_belong_together(arguments: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"username|anonymous|service"):
        pb.connect("memory:nobody", **arguments)


def test_names_and_passwords_are_text() -> None:
    with pytest.raises(TypeError, match=r"password is text \(str\), not int"):
        pb.connect("memory:nobody", username="alice", password=12)  # type: ignore[call-overload]
    with pytest.raises(TypeError, match=r"username is text \(str\), not bytes"):
        pb.connect("memory:nobody", username=b"alice", password="secret")  # type: ignore[call-overload]


async def test_who_has_not_logged_in_is_told_to() -> None:
    async with serving(await application()) as (_, connect), connect() as root:
        with pytest.raises(pb.NoSuchMethod, match="they log in first"):
            await root.call("say", "hi")


async def test_a_failed_login_leaves_nothing() -> None:
    async with serving(await application()) as (server, connect):
        for _ in range(3):
            with pytest.raises(pb.LoginFailed):
                await connect("alice", "wrong", service="chat")
        for connection in server.connections:
            await connection.wait_closed()
        assert server.connections == []


def test_a_password_is_not_shown() -> None:
    assert "secret" not in repr(Login.of("alice", "secret", None, None, None, False))


async def test_a_client_says_how_many_rounds_a_challenge_must_ask_for() -> None:
    async with serving(await application()) as (_, connect):
        with pytest.raises(pb.LoginFailed, match="at least 5000 are required"):
            await connect("alice", min_iterations=5000)
        async with connect("alice", min_iterations=4096) as me:
            assert await me.call("name") == "alice"
    for wrong, error in ((4095, ValueError), ("4096", TypeError)):
        with pytest.raises(error, match="iterations"):
            pb.connect("memory:x", username="alice", password="secret", min_iterations=wrong)  # type: ignore[arg-type]


@pytest.mark.parametrize("rounds", ["+600000", "6_00000", "", "x", "9" * 30])
def test_rounds_that_are_no_number_are_not_answered(rounds: str) -> None:
    exchange = ClientExchange("alice", "secret", None)
    nonce = exchange.first.decode().rpartition("r=")[2]
    with pytest.raises(pb.LoginFailed):
        exchange.final(f"r={nonce}more,s=c2FsdHNhbHRzYWx0,i={rounds}", 500_000)


# -- keys that are kept for the next login


def challenge_of(iterations: int, salt: bytes = b"sixteen of salt!") -> tuple[ClientExchange, Any]:
    exchange = ClientExchange("alice", "secret", None)
    verifier = ScramVerifier.from_password("secret", iterations=iterations, salt=salt)
    return exchange, exchange.read(ServerExchange(UNBOUND, exchange.first, None).first(verifier))


def test_keys_are_found_for_the_same_server_user_salt_and_rounds_alone() -> None:
    kept = KeptKeys()
    exchange, challenge = challenge_of(4100)
    assert kept.find("tcp://a:1", "alice", challenge) is None
    keys = exchange.derive(challenge)
    kept.keep("tcp://a:1", "alice", challenge, keys)
    assert kept.find("tcp://a:1", "alice", challenge_of(4100)[1]) is keys
    assert kept.find("tcp://b:1", "alice", challenge) is None
    assert kept.find("tcp://a:1", "bob", challenge) is None
    assert kept.find("tcp://a:1", "alice", challenge_of(4100, b"another sixteen!")[1]) is None
    assert kept.find("tcp://a:1", "alice", challenge_of(4101)[1]) is None


def test_fewer_rounds_than_before_are_refused_also_after_a_refused_login() -> None:
    kept = KeptKeys()
    exchange, challenge = challenge_of(4100)
    kept.keep("tcp://a:1", "alice", challenge, exchange.derive(challenge))
    for _ in range(2):
        with pytest.raises(pb.LoginFailed, match="at least 4100, as before, are required"):
            kept.find("tcp://a:1", "alice", challenge_of(4099)[1])
        kept.drop("tcp://a:1", "alice")
        assert kept.find("tcp://a:1", "alice", challenge) is None
    kept.drop("tcp://b:1", "alice")  # of which there is none


def test_kept_keys_do_not_show_and_stay_here() -> None:
    login = Login.of("alice", "secret", None, None, None, False, again=True)
    assert login is not None
    assert login.kept is not None
    assert repr(login.kept) == "<KeptKeys, hidden>"
    assert "Kept" not in repr(login)
    for it in (login, login.kept):
        with pytest.raises(TypeError, match="stay in the memory of this process"):
            pickle.dumps(it)
    once = Login.of("alice", "secret", None, None, None, False)
    assert once is not None
    assert once.kept is None  # nothing is kept for a login that is not made again
