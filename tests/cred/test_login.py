"""Logins of all three kinds at an application: successes, and that failures reveal nothing."""

from __future__ import annotations

import asyncio
import logging
from pathlib import Path
from typing import Any

import pytest

import perspective_broker as pb
from perspective_broker.cred.attempts import AttemptTable
from perspective_broker.cred.scram import BOUND, UNBOUND, ClientExchange
from perspective_broker.cred.verifiers import legacy_response
from perspective_broker.testing import ScriptedPeer
from tests.cred.logins import (
    USERS,
    Chat,
    Mind,
    application,
    authorizer,
    scram,
    serving,
    skip,
    skipping,
    turns,
)


@pytest.fixture(params=["memory", "tcp", "unix"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    return {"memory": "memory:login", "tcp": "tcp://127.0.0.1:0", "unix": f"unix://{tmp_path}/pb"}[
        request.param
    ]


async def legacy(root: pb.RemoteReference, method: str, name: Any, password: str, *mind: Any) -> Any:
    """Log in by MD5, step by step: return the answer of ``respond``."""
    challenge, challenger = await root.call(method, name)
    return await challenger.call("respond", legacy_response(password, challenge), *mind)


# -- getting in


@pytest.mark.parametrize("dialect", ["pb7", "pb", "none"])
async def test_a_service(url: str, dialect: str) -> None:
    service = Chat()
    async with (
        serving(await application(service), url) as (_, connect),
        connect("alice", service="chat", client=Mind("alice's"), dialects=[dialect]) as me,
    ):
        assert await me.call("name") == "alice"
        assert await me.call("ask_client") == ["alice's"]
        assert service.attached_count == 1
        await me.connection.close()
    assert service.diary == ["attached alice as alice", "detached alice as alice"]
    assert service.attached_count == 0


async def test_no_service_is_the_default_one() -> None:
    async with serving(await application()) as (_, connect), connect("bob", client=Mind()) as me:
        assert await me.call("name") == "bob"
        assert await me.call("ask_client") == ["mind"]


async def test_another_perspective_than_ones_own() -> None:
    service = Chat()
    app = await application(service)
    await app.authorizer.grant("alice", "chat", "moderator")
    async with serving(app) as (_, connect), connect("alice", service="chat", perspective="moderator") as me:
        assert await me.call("name") == "moderator"
    assert service.diary[0] == "attached alice as moderator"


async def test_step_by_step() -> None:
    async with serving(await application()) as (_, connect), connect() as root:
        wrapper = await scram(root, "alice", "secret")
        me = await wrapper.call("attach", "chat")
        assert await me.call("name") == "alice"
        assert await wrapper.call("request_avatar") == me  # one perspective, attached twice


@pytest.mark.parametrize("name", ["alice", b"alice"])
async def test_the_login_of_2002(name: str | bytes) -> None:
    async with serving(await application()) as (_, connect), connect(dialects=["pb"]) as root:
        wrapper = await legacy(root, "username", name, "secret")
        me = await wrapper.call("attach", "chat", name, None)
        assert await me.call("name") == name  # whose text is plain strings hears plain strings


@pytest.mark.parametrize("name", ["alice", b"alice"])
async def test_the_login_of_todays_twisted(name: str | bytes) -> None:
    async with serving(await application()) as (_, connect), connect() as root:
        me = await legacy(root, "login", name, "secret", Mind())
        assert await me.call("name") == "alice"
        assert await me.call("ask_client") == ["mind"]


async def test_somebody_who_does_not_say_who() -> None:
    service = Chat()
    async with (
        serving(await application(service, anonymous="guest")) as (_, connect),
        connect(pb.ANONYMOUS, client=Mind()) as me,
    ):
        assert await me.call("name") == "guest"
        assert await me.call("ask_client") == ["mind"]
    assert service.diary == ["attached guest as guest", "detached guest as guest"]
    async with serving(await application()) as (_, connect):
        with pytest.raises(pb.LoginFailed):
            await connect(pb.ANONYMOUS)


# -- and not


WRONG = {
    "password": {"username": "alice", "password": "wrong"},
    "user": {"username": "mallory", "password": "secret"},
    "impossible user": {"username": "x" * 300, "password": "secret"},
    "service": {"username": "alice", "service": "nochat"},
    "perspective": {"username": "alice", "service": "chat", "perspective": "bob"},
    "perspective without a service": {"username": "alice", "service": "chat", "perspective": "\u2603"},
}


@pytest.mark.parametrize("wrong", WRONG)
async def test_every_refusal_is_the_same(wrong: str, caplog: pytest.LogCaptureFixture) -> None:
    service = Chat()
    async with serving(await application(service)) as (_, connect):
        with pytest.raises(pb.LoginFailed) as caught:
            await connect(**WRONG[wrong])
    assert str(caught.value) == "the login was refused"
    assert service.diary == []
    await turns()
    # Unauthenticated peers fail all day: that is a line of the audit trail, and no traceback.
    [said] = [record for record in caplog.records if record.levelno >= logging.WARNING]
    assert said.getMessage().startswith("login refused: ")
    assert said.exc_info is None


@pytest.mark.parametrize("state", ["disabled", "without a password", "gone"])
async def test_an_identity_that_may_not_log_in(state: str) -> None:
    app = await application()
    if state == "disabled":
        await app.authorizer.disable("alice")
    elif state == "gone":
        await app.authorizer.remove_identity("alice")
    else:
        await app.authorizer.set_password("alice", None)
    async with serving(app) as (_, connect):
        with pytest.raises(pb.LoginFailed, match=r"^the login was refused$"):
            await connect("alice", service="chat")
        async with connect(dialects=["pb"]) as root:
            assert await legacy(root, "username", "alice", "secret") is None


async def test_md5_needs_a_digest() -> None:
    app = await application()
    await app.authorizer.set_password("alice", "secret")  # without one
    async with serving(app) as (_, connect):
        async with connect() as root:
            with pytest.raises(pb.RemoteError) as caught:
                await legacy(root, "login", "alice", "secret", None)
            assert caught.value.check(pb.LoginFailed)
            assert await legacy(root, "username", "alice", "secret") is None
        async with connect("alice"):
            pass


async def said(peer: ScriptedPeer, method: str, name: str, respond: Any) -> list[Any]:
    """Return the shape of a server's answer to a failed login."""
    request = peer.call("root", method, name)
    answer = await peer.read()
    assert answer[:2] == [b"answer", request]
    _, challenge, (_, challenger) = answer[2]
    request = peer.call(challenger, "respond", *respond(challenge))
    reply = await peer.read()
    assert reply[1] == request
    return [len(challenge), reply[0], reply[2]]


@pytest.mark.parametrize(("method", "more"), [("username", []), ("login", [["None"]])])
async def test_unknown_users_hear_what_wrong_passwords_hear(method: str, more: list[Any]) -> None:
    def wrong(challenge: bytes) -> list[Any]:
        return [legacy_response("wrong", challenge), *more]

    async with serving(await application()) as (server, _):
        heard = []
        for name in ("alice", "mallory"):
            async with ScriptedPeer.connect(server.urls[0], dialect="pb") as peer:
                heard.append(await said(peer, method, name, wrong))
    assert heard[0] == heard[1]
    assert heard[0][1:] == [b"answer", [b"None"]] if method == "username" else heard[0][1] == b"error"


async def test_unknown_users_hear_the_same_salt_again_and_as_many_rounds() -> None:
    async with serving(await application()) as (_, connect), connect() as root:
        heard = []
        for name in ("mallory", "mallory", "alice"):
            server_first, _ = await root.call("authenticate", UNBOUND, ClientExchange(name, "x", None).first)
            heard.append(dict(part.split(b"=", 1) for part in server_first.split(b",")))
    assert heard[0][b"s"] == heard[1][b"s"]
    assert [len(one[b"s"]) for one in heard] == [len(heard[2][b"s"])] * 3
    assert [one[b"i"] for one in heard] == [b"4096"] * 3
    assert len({one[b"r"] for one in heard}) == 3


@pytest.mark.parametrize(
    "arguments",
    [
        (UNBOUND, b""),
        (UNBOUND, b"\xff"),
        (UNBOUND, "n,,n=alice"),
        (UNBOUND, "n,,n=,r=abc"),
        (UNBOUND, "n,,n=alice,r=" + "a" * 2000),
        (UNBOUND, 7),
        (UNBOUND, None),
        (UNBOUND, "p=tls-unique,,n=alice,r=abc"),
        (UNBOUND, "n,a=bob,n=alice,r=abc"),
    ],
)
async def test_malformed_scram_is_a_failed_login(arguments: tuple[Any, ...]) -> None:
    async with serving(await application()) as (_, connect), connect() as root:
        with pytest.raises(pb.RemoteError) as caught:
            await root.call("authenticate", *arguments)
        assert caught.value.check(pb.LoginFailed)
        assert await scram(root, "alice", "secret")


@pytest.mark.parametrize("name", [None, 7, [], b"x" * 30_000, "x" * 2000])
async def test_names_that_are_none(name: Any, caplog: pytest.LogCaptureFixture) -> None:
    async with serving(await application()) as (_, connect), connect() as root:
        for method in ("login", "username"):
            with pytest.raises(pb.BadArguments):
                await root.call(method, name)
    assert [record for record in caplog.records if record.levelno >= logging.WARNING] == []


@pytest.mark.parametrize("response", [None, "text", 7, [], b"", b"x" * 16, b"x" * 1000])
async def test_responses_that_are_none(response: Any) -> None:
    async with serving(await application()) as (_, connect), connect() as root:
        _, challenger = await root.call("username", "alice")
        assert await challenger.call("respond", response) is None
        _, challenger = await root.call("authenticate", UNBOUND, ClientExchange("alice", "x", None).first)
        with pytest.raises(pb.RemoteError) as caught:
            await challenger.call("respond", response)
        assert caught.value.check(pb.LoginFailed)


async def test_unknown_mechanisms_are_answered_with_the_known_ones() -> None:
    async with serving(await application()) as (_, connect), connect() as root:
        for mechanism in ("SCRAM-SHA-1", BOUND, "", b"\xff"):
            assert await root.call("authenticate", mechanism, b"") == (None, [UNBOUND.encode()])


# -- challenges and attempts


async def test_a_challenge_is_good_once() -> None:
    async with serving(await application()) as (_, connect), connect() as root:
        challenge, challenger = await root.call("login", "alice")
        response = legacy_response("secret", challenge)
        me = await challenger.call("respond", response, None)
        assert await me.call("name") == "alice"
        with pytest.raises(pb.RemoteError) as caught:
            await challenger.call("respond", response, None)
        assert caught.value.check(pb.LoginFailed)

        exchange = ClientExchange("alice", "secret", None)
        server_first, challenger = await root.call("authenticate", UNBOUND, exchange.first)
        final = exchange.final(server_first)
        await challenger.call("respond", final)
        with pytest.raises(pb.RemoteError):
            await challenger.call("respond", final)


@skipping
async def test_a_challenge_is_good_for_half_a_minute() -> None:
    async with serving(await application()) as (_, connect), connect() as root:
        for seconds, good in ((29, True), (31, False)):
            challenge, challenger = await root.call("username", "alice")
            await skip(seconds)
            wrapper = await challenger.call("respond", legacy_response("secret", challenge))
            assert (wrapper is not None) is good


async def test_five_failures_end_the_connection() -> None:
    async with serving(await application()) as (server, connect), connect() as root:
        (accepted,) = server.connections
        for guess in range(5):
            # Other names, for one alone would have to wait. The last one is answered, too.
            assert await legacy(root, "username", f"mallory {guess}", "guess") is None
        await root.connection.wait_closed()
    assert accepted.close_cause is not None
    assert accepted.close_cause.code == "too-many-logins"


async def test_failures_side_by_side_count_as_well() -> None:
    app = await application()
    async with serving(app) as (_, connect), connect() as root:
        names = [*(f"mallory {guess}" for guess in range(7)), "alice"]
        begun = await asyncio.gather(*(root.call("username", name) for name in names))
        tries = [challenger.call("respond", b"guess") for _, challenger in begun[:-1]]
        challenge, challenger = begun[-1]
        last = challenger.call("respond", legacy_response("secret", challenge))
        results = await asyncio.gather(*tries, last, return_exceptions=True)
        assert not any(isinstance(result, pb.RemoteReference) for result in results)
        await root.connection.wait_closed()


async def test_challenges_that_nobody_answers_end_the_connection() -> None:
    async with serving(await application()) as (_, connect), connect() as root:
        for _ in range(10):
            await root.call("username", "alice")
        with pytest.raises(pb.RemoteError):
            await root.call("username", "alice")
        await root.connection.wait_closed()


async def test_keys_are_not_guessed_either() -> None:
    async with serving(await application()) as (_, connect), connect() as root:
        wrapper = await scram(root, "alice", "secret")
        for guess in range(5):
            with pytest.raises(pb.RemoteError) as caught:
                await wrapper.call("attach", f"service {guess}")
            assert caught.value.check(pb.LoginFailed)
            assert caught.value.value == "the login was refused"
        await root.connection.wait_closed()


async def test_keys_are_not_guessed_side_by_side_either() -> None:
    service = Chat()
    async with serving(await application(service)) as (_, connect), connect() as root:
        wrapper = await scram(root, "alice", "secret")
        names = [*(f"service {guess}" for guess in range(5)), "chat"]
        guesses = [asyncio.create_task(wrapper.call("attach", name)) for name in names]
        await asyncio.wait(guesses)
        assert all(guess.exception() is not None for guess in guesses)
        await root.connection.wait_closed()
    assert service.diary == []


@skipping
async def test_the_fourth_failure_of_a_name_makes_the_next_wait() -> None:
    service = Chat()
    async with serving(await application(service)) as (_, connect):
        for _ in range(4):
            async with connect() as root:
                answer = asyncio.ensure_future(legacy(root, "username", "alice", "guess"))
                await turns()
                if not answer.done():
                    await skip(1)
                assert await answer is None
        async with connect() as root, connect() as other:
            answer = asyncio.ensure_future(legacy(root, "username", "alice", "secret"))
            await turns()
            assert not answer.done()
            # No other login waits for that, also not on the same connection.
            assert await legacy(root, "username", "bob", "sesame") is not None
            assert await legacy(other, "username", "bob", "sesame") is not None
            await skip(1.9)
            assert not answer.done()
            await skip(0.2)
            assert await answer is not None
        async with connect() as root:  # forgiven
            answer = asyncio.ensure_future(legacy(root, "username", "alice", "secret"))
            await turns()
            assert answer.done()
            assert await answer is not None


@skipping
async def test_unknown_names_wait_as_long() -> None:
    async with serving(await application()) as (_, connect):
        for name in ("alice", "mallory"):
            waited = []
            for _ in range(6):
                async with connect() as root:
                    answer = asyncio.ensure_future(legacy(root, "username", name, "guess"))
                    await turns()
                    seconds = 0
                    while not answer.done():
                        await skip(1)
                        seconds += 1
                    waited.append(seconds)
            assert waited == [0, 0, 0, 1, 2, 4]


@skipping
async def test_few_attempts_wait_for_one_name_where_sources_cannot_be_told_apart() -> None:
    # Any number of connections: excess attempts are not checked, and not called wrong either.
    known = await authorizer(attempts=AttemptTable())
    app = pb.Application("test", known)
    app.add_service(Chat())
    loop = asyncio.get_running_loop()
    for _ in range(3):
        await known.record_failure("alice", loop.time())
    async with serving(app) as (_, connect):
        roots = [await connect() for _ in range(9)]
        answers = [asyncio.ensure_future(legacy(root, "username", "alice", "guess")) for root in roots[:-1]]
        await turns()
        with pytest.raises(pb.Unavailable):
            await legacy(roots[-1], "username", "alice", "secret")
        await skip(61)
        assert [await answer for answer in answers] == [None] * 8
        async with connect() as root:
            again = asyncio.ensure_future(legacy(root, "username", "alice", "secret"))
            await turns()
            await skip(61)
            assert await again is not None
        for root in roots:
            await root.connection.close()


# -- before the login


@skipping
async def test_who_does_not_log_in_is_hung_up() -> None:
    async with serving(await application()) as (server, connect), connect() as root:
        (accepted,) = server.connections
        await skip(29)
        assert accepted.close_cause is None
        await root.call("username", "alice")
        await skip(29)  # a step gives another half minute
        assert accepted.close_cause is None
        await skip(2)
        assert accepted.close_cause is not None
        assert accepted.close_cause.code == "login-timeout"
        await root.connection.wait_closed()


@skipping
async def test_who_waits_for_an_answer_is_not_hung_up() -> None:
    app = await application()
    loop = asyncio.get_running_loop()
    for _ in range(20):
        await app.authorizer.record_failure("alice", loop.time())
    async with serving(app) as (_, connect), connect() as root:
        answer = asyncio.ensure_future(legacy(root, "username", "alice", "secret"))
        await turns()
        await skip(31)
        assert not answer.done()
        await skip(31)
        assert await answer is not None
        await skip(100)  # users that have logged in, stay
        assert root.connection.close_cause is None


async def test_limits_are_raised_by_the_login() -> None:
    async with serving(await application()) as (server, connect):
        async with connect() as root:
            (accepted,) = server.connections
            broker = accepted._driver.broker
            assert broker.limits == accepted.limits.before_login()
            await legacy(root, "username", "alice", "guess")
            assert broker.limits == accepted.limits.before_login()
            await scram(root, "alice", "secret")
            assert broker.limits == accepted.limits
            await legacy(root, "username", "alice", "guess")
            assert broker.limits == accepted.limits
        async with connect(dialects=["pb"]) as root:
            with pytest.raises((pb.ConnectionLost, pb.DeadReferenceError)):
                await root.call("login", b"x" * 50_000)  # more than a sixteenth of 640 KiB


async def test_nothing_but_the_login_is_reached() -> None:
    async with serving(await application()) as (_, connect), connect() as root:
        for name in ("name", "attach", "root_object", "logout", "respond"):
            with pytest.raises(pb.NoSuchMethod):
                await root.call(name)


# -- where MD5 is taken


@pytest.mark.parametrize("method", ["username", "login"])
@pytest.mark.parametrize(
    ("where", "switch", "taken"),
    [("local", False, True), ("tls", False, True), ("far", False, False), ("far", True, True)],
)
async def test_md5_is_taken_where_it_is_safe_or_allowed(
    method: str, where: str, switch: bool, taken: bool, caplog: pytest.LogCaptureFixture
) -> None:
    app = await application(legacy_login=switch)
    async with serving(app) as (server, connect), connect() as root:
        (accepted,) = server.connections
        accepted.is_local, accepted.is_secure = where == "local", where == "tls"
        if taken:
            for _ in range(2):
                assert await legacy(root, method, "alice", "secret") is not None
        else:
            for name in ("alice", "mallory"):
                with pytest.raises(pb.RemoteError) as caught:
                    await root.call(method, name)
                assert caught.value.check(pb.LoginFailed)
            assert await scram(root, "alice", "secret")  # ours is always taken
    warnings = [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]
    assert len(warnings) == (where == "far")  # once a connection
    if warnings:
        assert warnings[0].startswith("accepting" if switch else "refusing")


# -- secrets


async def test_no_secret_is_logged_at_any_level(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    secrets: list[bytes] = [password.encode() for password in USERS.values()] + [b"wrong guess"]
    app = await application(legacy_login=True)
    async with serving(app, "tcp://127.0.0.1:0") as (_, connect):
        for dialect in ("pb7", "pb"):
            for password in ("secret", "wrong guess"):
                for method in ("username", "login"):
                    async with connect(dialects=[dialect]) as root:
                        challenge, challenger = await root.call(method, "alice")
                        response = legacy_response(password, challenge)
                        secrets += [challenge, response]
                        more = [None] if method == "login" else []
                        await asyncio.gather(
                            challenger.call("respond", response, *more), return_exceptions=True
                        )
                async with connect(dialects=[dialect]) as root:
                    exchange = ClientExchange("alice", password, None)
                    server_first, challenger = await root.call("authenticate", UNBOUND, exchange.first)
                    final = exchange.final(server_first)
                    secrets += [exchange.first, server_first, final, *final.split(b",p=")]
                    await asyncio.gather(challenger.call("respond", final), return_exceptions=True)
                    await asyncio.gather(
                        challenger.call("respond", final, "too", "many"), return_exceptions=True
                    )
                await app.authorizer.record_success("alice")  # or the next would have to wait
                try:
                    async with connect("alice", password, service="chat"):
                        pass
                except pb.LoginFailed:
                    pass
    identity = await (await authorizer()).get_identity("alice")
    assert identity is not None
    assert identity.legacy_digest is not None
    secrets.append(identity.legacy_digest.digest)
    logged = "\n".join(
        f"{record.getMessage()} {record.args!r} {logging.Formatter().format(record)}"
        for record in caplog.records
    )
    assert "LoginFailed" in logged  # there is something to look at
    for secret in secrets:
        for form in (secret.hex(), repr(secret)[2:-1], secret.decode("latin-1")):
            assert form not in logged
