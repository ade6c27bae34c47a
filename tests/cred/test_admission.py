"""Admission: the logins that are checked, their order, and the answers to logins that are not checked."""

from __future__ import annotations

import asyncio
import logging
import sqlite3
from pathlib import Path
from typing import Any

import pytest

import perspective_broker as pb
from perspective_broker.cred import saslprep
from perspective_broker.cred import scram as scram_messages
from perspective_broker.cred.admission import _AT_ONCE, _MOST_STEPS, _STEPS_PER_TURN, Gate, Turns
from perspective_broker.cred.login import _MOST_GIVEN, EXTERNAL
from perspective_broker.cred.scram import UNBOUND, ClientExchange
from perspective_broker.cred.verifiers import legacy_response
from tests.cred.logins import ITERATIONS, Chat, application, authorizer, scram, serving, skip, skipping, turns


async def guess(root: pb.RemoteReference, name: str, password: str = "guess") -> Any:
    challenge, challenger = await root.call("login", name)
    return await challenger.call("respond", legacy_response(password, challenge), None)


def from_source(server: pb.Server, source: str) -> None:
    """Let the connection that came last come from elsewhere."""
    server.connections[-1].source = source


def refused(task: asyncio.Future[Any]) -> bool:
    error = task.exception()
    return isinstance(error, pb.RemoteError) and error.check(pb.LoginFailed) is not None


# -- whose login is looked at


@skipping
async def test_a_stranger_does_not_lock_an_owner_out() -> None:
    """Whether the owner comes from an address without failures, or from that of the unauthenticated peer."""
    async with serving(await application()) as (server, connect):
        stranger = [await connect() for _ in range(3)]
        guesses = []
        for root, connection in zip(stranger, server.connections, strict=True):
            connection.source = "192.0.2.1"
            guesses += [asyncio.ensure_future(guess(root, "alice")) for _ in range(5)]
        await turns(100)
        assert sum(task.done() for task in guesses) == 3  # the others wait for a minute

        async with connect() as root:
            from_source(server, "198.51.100.1")
            assert await scram(root, "alice", "secret")  # at once, though the name has failures
        async with connect() as root:
            from_source(server, "192.0.2.1")
            owner = asyncio.ensure_future(scram(root, "alice", "secret"))
            await turns()
            await skip(61)
            await turns(100)
            assert await owner
        assert all(refused(task) for task in guesses if task.done())
        for root in stranger:
            await root.connection.close()
        await asyncio.wait(guesses)


@skipping
async def test_a_wrong_password_from_a_clean_source_makes_it_wait_from_then_on() -> None:
    served = await application()
    async with serving(served) as (server, connect), connect() as root:
        for _ in range(4):
            await served.authorizer.record_failure("alice", asyncio.get_running_loop().time())
        from_source(server, "198.51.100.1")
        tries = [asyncio.ensure_future(guess(root, "alice")) for _ in range(4)]
        await turns(50)
        assert [task.done() for task in tries] == [True, False, False, False]
        await skip(61)
        await turns(50)
        assert all(map(refused, tries))


@skipping
async def test_a_source_with_many_failures_is_told_so_before_anybody_looks_at_a_name() -> None:
    async with serving(await application()) as (server, connect):
        for number in range(7):
            async with connect() as root:
                from_source(server, "192.0.2.1")
                tries = [asyncio.ensure_future(guess(root, f"name {number} {n}")) for n in range(5)]
                await asyncio.wait(tries)
        busy = [task for task in tries if isinstance(task.exception(), pb.Unavailable)]
        assert len(busy) == 3  # 32 of 35 were looked at
        async with connect() as root:
            from_source(server, "192.0.2.1")
            for name in ("alice", "mallory"):
                for method in ("login", "username"):
                    with pytest.raises(pb.Unavailable) as caught:
                        await root.call(method, name)
                    assert caught.value.code == "busy"
                with pytest.raises(pb.Unavailable):
                    await scram(root, name, "secret")
        async with connect() as root:
            from_source(server, "192.0.2.2")
            assert await scram(root, "alice", "secret")
        await skip(31)
        async with connect() as root:
            from_source(server, "192.0.2.1")
            assert await scram(root, "alice", "secret")


async def test_logins_that_succeed_empty_no_bucket() -> None:
    async with serving(await application()) as (server, connect):
        for _ in range(40):
            async with connect() as root:
                from_source(server, "192.0.2.1")
                assert await guess(root, "alice", "secret")


async def test_sources_are_addresses() -> None:
    app = await application()
    async with serving(app, "tcp://127.0.0.1:0") as (server, connect), connect():
        assert [connection.source for connection in server.connections] == ["127.0.0.1"]
    async with serving(app) as (server, connect), connect():
        assert [connection.source for connection in server.connections] == [None]


# -- in which turn


async def test_steps_are_few_in_each_turn_of_the_loop() -> None:
    line = Turns()
    order: list[tuple[int, int]] = []
    turn = 0

    async def step(number: int) -> None:
        await line.wait()
        order.append((turn, number))

    steps = [asyncio.create_task(step(number)) for number in range(5 * _STEPS_PER_TURN)]
    given_up = steps.pop(_STEPS_PER_TURN + 3)
    while not all(task.done() for task in steps):
        before = len(order)
        await asyncio.sleep(0)
        assert len(order) - before <= _STEPS_PER_TURN
        if not turn:
            given_up.cancel()
        turn += 1
    assert [number for _, number in order] == [
        number for number in range(5 * _STEPS_PER_TURN) if number != _STEPS_PER_TURN + 3
    ]
    await turns(3)
    await asyncio.wait_for(line.wait(), 1)  # no login waits: at once
    await turns(3)


def test_a_line_goes_on_in_another_event_loop() -> None:
    """The logins that were under way when the first one stopped."""
    line = Turns()

    async def steps(count: int) -> None:
        await asyncio.gather(*(line.wait() for _ in range(count)))

    loop = asyncio.new_event_loop()
    stopped = loop.create_task(steps(5 * _STEPS_PER_TURN))
    loop.run_until_complete(asyncio.sleep(0))
    stopped.cancel()
    loop.run_until_complete(asyncio.wait([stopped]))
    loop.close()
    asyncio.run(steps(5 * _STEPS_PER_TURN))


async def test_a_line_that_is_too_long_is_told_so() -> None:
    line = Turns()
    waiting = [asyncio.ensure_future(line.wait()) for _ in range(_MOST_STEPS + _STEPS_PER_TURN + 1)]
    await asyncio.wait(waiting)
    assert [type(task.exception()) for task in waiting].count(pb.Unavailable) == 1


# -- how many at a time


async def test_questions_to_the_store_are_few_at_a_time_and_in_order() -> None:
    gate = Gate()
    order: list[int] = []
    running = 0

    async def ask(number: int) -> None:
        nonlocal running
        await gate.enter()
        running += 1
        assert running <= _AT_ONCE
        await asyncio.sleep(0)
        order.append(number)
        running -= 1
        gate.leave()

    tasks = [asyncio.create_task(ask(number)) for number in range(5 * _AT_ONCE)]
    await turns(1)
    tasks[_AT_ONCE + 3].cancel()  # while it waits
    await turns(1)
    tasks[_AT_ONCE + 1].cancel()  # when it was let in, and has not run
    await asyncio.wait(tasks)
    gone = {_AT_ONCE + 3} | ({_AT_ONCE + 1} - set(order))
    assert order == [number for number in range(5 * _AT_ONCE) if number not in gone]
    for _ in range(_AT_ONCE):  # none of them is lost
        await asyncio.wait_for(gate.enter(), 1)


async def test_too_many_questions_are_busy() -> None:
    gate = Gate()
    tasks = [asyncio.ensure_future(gate.enter()) for _ in range(_AT_ONCE + _MOST_STEPS + 2)]
    await turns(1)
    busy = [task.exception() for task in tasks if task.done() and task.exception()]
    assert [type(error) for error in busy] == [pb.Unavailable] * 2
    for task in tasks:
        task.cancel()
    await asyncio.wait(tasks)


def test_a_gate_opens_in_another_event_loop() -> None:
    gate = Gate()

    async def enter(count: int) -> None:
        await asyncio.gather(*(gate.enter() for _ in range(count)))

    asyncio.run(enter(_AT_ONCE))  # of which none has left when the loop stops
    asyncio.run(asyncio.wait_for(enter(_AT_ONCE), 1))
    for _ in range(2 * _AT_ONCE):
        gate.leave()
    asyncio.run(asyncio.wait_for(enter(_AT_ONCE), 1))


async def test_a_busy_store_is_no_defect(caplog: pytest.LogCaptureFixture) -> None:
    known = Failing("login_record", pb.cred.StoreBusy("the store: locked"))
    app = pb.Application("test", known)
    async with serving(app) as (_, connect), connect() as root:
        known.method = "login_record"
        with pytest.raises(pb.Unavailable, match="busy: no login is possible at the moment"):
            await scram(root, "alice", "secret")
    (record,) = [record for record in caplog.records if record.levelno >= logging.WARNING]
    assert record.getMessage() == "logins are refused as busy: the store: locked"
    assert record.exc_info is None


@pytest.mark.parametrize("name", ["alice", "mallory"])
async def test_a_refusal_that_cannot_be_counted_is_no_refusal(name: str) -> None:
    known = Failing("record_refusal", pb.cred.StoreError("gone"))
    await known.create("alice", "secret", legacy=True)
    async with serving(pb.Application("test", known)) as (_, connect), connect() as root:
        known.method = "record_refusal"
        with pytest.raises(pb.Unavailable, match="busy"):
            await scram(root, name, "wrong")


async def test_names_that_expand_are_refused_before_they_are_prepared(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """U+FDFA is 18 characters after NFKC, and SASLprep looks at each of them in Python."""
    looked_at: list[str] = []
    original = saslprep.normalize

    def counting(text: str) -> str:
        looked_at.append(text)
        return original(text)

    app = await application()
    monkeypatch.setattr(scram_messages, "normalize", counting)
    async with serving(app) as (_, connect), connect() as root:
        for name in ("\ufdfa" * 16, "\ufdfa" * 300, "\u3300" * 60, "é" * 128, "a" * 256):
            with pytest.raises(pb.RemoteError) as caught:
                await root.call("authenticate", UNBOUND, f"n,,n={name},r=abcdefghijklmnop".encode())
            assert caught.value.check(pb.LoginFailed)
        assert not looked_at
        await root.call("authenticate", UNBOUND, ("n,,n=" + "é" * 127 + ",r=abcdefghijklmnop").encode())
        assert looked_at


# -- answers to unauthenticated peers when a part fails


class Failing(pb.MemoryAuthorizer):
    def __init__(self, method: str, error: Exception) -> None:
        super().__init__(iterations=ITERATIONS)
        self._error = error
        self.method = ""
        self.wanted = method

    async def _fail(self, *args: Any) -> Any:
        raise self._error

    def __getattribute__(self, name: str) -> Any:
        if name == object.__getattribute__(self, "__dict__").get("method"):
            return object.__getattribute__(self, "_fail")
        return object.__getattribute__(self, name)


@pytest.mark.parametrize(
    "error",
    [pb.cred.StoreError("/secret/place: gone"), OSError("/secret/place"), ValueError("/secret/place")],
)
@pytest.mark.parametrize(
    "method",
    ["get_identity", "fake_verifier", "login_record", "record_failure", "delay_for", "record_success"],
)
async def test_a_store_that_fails_tells_strangers_nothing(
    method: str, error: Exception, caplog: pytest.LogCaptureFixture
) -> None:
    known = Failing(method, error)
    await known.create("alice", "secret", legacy=True)
    app = pb.Application("test", known)
    app.add_service(Chat())
    async with serving(app) as (_, connect):
        known.method = method
        heard = set()
        for name in ("alice", "mallory"):
            for login in (guess, scram):
                async with connect() as root:
                    with pytest.raises((pb.Unavailable, pb.RemoteError)) as caught:
                        await login(root, name, "secret")
                    heard.add(str(caught.value))
    assert not any("secret" in text for text in heard)
    assert "busy: no login is possible at the moment" in heard
    assert "/secret/place" in caplog.text  # the operator is told
    assert sum("logins fail" in record.message for record in caplog.records) == 1  # once a second


async def test_a_certificate_that_cannot_be_judged_and_a_guest_who_cannot_be_served() -> None:
    class Broken(Chat):
        def get_perspective(self, name: str) -> Any:
            raise OSError("/secret/place")

    app = pb.Application("test", await authorizer(), anonymous="guest")
    app.add_service(Broken())
    async with serving(app) as (_, connect):
        with pytest.raises(pb.Unavailable, match=r"^busy: no login is possible at the moment$"):
            await connect(pb.ANONYMOUS)


async def test_a_user_whose_row_is_damaged_is_told_what_a_user_is_told_that_does_not_exist(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with pb.SQLAuthorizer(f"sqlite:///{tmp_path}/users.db", iterations=ITERATIONS) as known:
        await known.create("alice", "secret")
        with sqlite3.connect(tmp_path / "users.db") as database:
            database.execute("update pb_identity set verifier = 'rubbish'")
        database.close()
        app = pb.Application("test", known)
        app.add_service(Chat())
        async with serving(app) as (_, connect), connect() as root:
            for name in ("alice", "mallory"):
                exchange = ClientExchange(name, "secret", None)
                server_first, challenger = await root.call("authenticate", UNBOUND, exchange.first)
                with pytest.raises(pb.RemoteError) as caught:
                    await challenger.call("respond", exchange.final(server_first))
                assert caught.value.check(pb.LoginFailed)
    assert [record.levelno for record in caplog.records if "damaged" in record.message] == [logging.ERROR]


# -- the log


@pytest.mark.parametrize("login", [guess, scram])
async def test_the_log_says_why_and_calls_no_name_that_may_be_a_password(
    login: Any, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    app = await application()
    await app.authorizer.set_password("bob", "sesame")  # no MD5 any more
    async with serving(app) as (_, connect), connect() as root:
        for name in ("alice", "hunter2", "hunter2", "bob"):
            with pytest.raises(pb.RemoteError):
                await login(root, name, "wrong")
        await turns()
    said = [record.getMessage() for record in caplog.records if "refused:" in record.message]
    method = "MD5" if login is guess else "SCRAM"
    assert said[0] == f"login refused: 'alice' by {method} from memory:logins: wrong password"
    assert "hunter2" not in caplog.text
    assert said[1] == said[2]  # the same name can be seen to come again
    assert said[1].endswith(": unknown user")
    assert said[3].endswith("made without legacy=True" if login is guess else "wrong password")


# -- the logins of one connection


async def test_attachments_under_way_count() -> None:
    go = asyncio.Event()

    class Slow(Chat):
        async def get_perspective(self, name: str) -> Any:
            await go.wait()
            return self.create_perspective(name)

    async with serving(await application(Slow())) as (_, connect), connect() as root:
        wrapper = await scram(root, "alice", "secret")
        asked = [asyncio.create_task(wrapper.call("attach", "chat")) for _ in range(_MOST_GIVEN + 10)]
        await turns(50)
        go.set()
        await asyncio.wait(asked)
        refusals = [task.exception() for task in asked if task.exception() is not None]
        assert len(refusals) == 10
        assert all(isinstance(error, pb.RemoteError) and error.check(pb.LimitExceeded) for error in refusals)
        await wrapper.call("logout")
        assert await wrapper.call("attach", "chat")


class Hesitating:
    """Refuses everybody after a while: a realm, and a ``certificate_user``."""

    def __init__(self) -> None:
        self.asked = 0
        self.go = asyncio.Event()

    async def request_avatar(self, avatar_id: Any, mind: Any) -> Any:
        await self.user_of(None)
        raise pb.LoginFailed("not today")

    async def user_of(self, certificate: Any) -> None:
        self.asked += 1
        await self.go.wait()


@pytest.mark.parametrize("how", ["anonymous", "by certificate"])
async def test_attempts_under_way_that_need_no_challenge_count(
    how: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pb.Connection, "peer_certificate", object())
    who = Hesitating()
    portal = pb.Portal(who, await authorizer(), anonymous=True, certificate_user=who.user_of)
    async with serving(portal) as (server, connect), connect() as root:
        (accepted,) = server.connections
        attempt = ("loginAnonymous", None) if how == "anonymous" else ("authenticate", EXTERNAL, "")
        asked = [asyncio.create_task(root.call(*attempt)) for _ in range(20)]
        await turns(50)
        assert who.asked == accepted.limits.logins
        assert accepted.close_cause is None
        who.go.set()
        await asyncio.wait(asked)
        await root.connection.wait_closed()
        assert accepted.close_cause is not None
        assert accepted.close_cause.code == "too-many-logins"
        assert who.asked == accepted.limits.logins
    assert any(map(refused, asked))
    assert all(task.exception() is not None for task in asked)


@skipping
async def test_a_guest_whom_the_realm_lets_wait_is_not_hung_up() -> None:
    who = Hesitating()
    async with (
        serving(pb.Portal(who, await authorizer(), anonymous=True)) as (_, connect),
        connect() as root,
    ):
        answer = asyncio.create_task(root.call("loginAnonymous", None))
        await turns()
        await skip(31)
        assert root.connection.close_cause is None
        who.go.set()
        await asyncio.wait([answer])
        assert refused(answer)


async def test_what_the_program_says_of_a_guest_is_no_failed_login() -> None:
    class Picky:
        def request_avatar(self, avatar_id: Any, mind: Any) -> Any:
            raise pb.Error("bring an object that can be called back")

    async with (
        serving(pb.Portal(Picky(), await authorizer(), anonymous=True)) as (_, connect),
        connect() as root,
    ):
        for _ in range(10):
            with pytest.raises(pb.RemoteError, match="bring an object"):
                await root.call("loginAnonymous", None)
