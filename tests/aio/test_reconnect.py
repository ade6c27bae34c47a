"""A reference that outlives its connection: nothing is repeated, new calls wait, logins are made again."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import random
import threading
from collections.abc import AsyncIterator
from typing import Any

import pytest

import perspective_broker as pb
from perspective_broker.aio.keeping import _DRAIN_SECONDS
from perspective_broker.cred.scram import Challenge, ClientExchange, ClientKeys
from perspective_broker.cred.verifiers import ScramVerifier
from perspective_broker.testing import ScriptedPeer
from tests.aio.desk import Desk, turns, until
from tests.cred.logins import ITERATIONS, Chat, Mind, application, skip, skipping

URL = "memory:lasting"

#: Waits 4 s, then 5 s each time.
SOON = pb.Backoff(base=8, cap=10, random=lambda: 0.5)

# -- the law


def test_full_jitter() -> None:
    backoff = pb.Backoff(base=2, cap=10, random=lambda: 0.75)
    assert [backoff.delay(attempt) for attempt in range(5)] == [1.5, 3, 6, 7.5, 7.5]
    assert backoff.delay(100_000) == 7.5
    assert pb.Backoff(random=lambda: 0.0).delay(3) == 0.0


@pytest.mark.parametrize(("base", "cap"), [(0, 1), (-1, 1), (2, 1)])
def test_a_backoff_that_makes_no_sense_is_refused(base: float, cap: float) -> None:
    with pytest.raises(ValueError, match="0 < base <= cap"):
        pb.Backoff(base=base, cap=cap)


@pytest.mark.parametrize("away", [0, 1, 3, 5, 7, 8.5, 12, 30, 600])
def test_a_thousand_clients_come_back_at_less_than_two_hundred_a_second(away: float) -> None:
    """All lose the server at 0; it is back at ``away``. Only the law is asked, and the time is added up."""
    backoff = pb.Backoff(random=random.Random(away).random)
    back = []
    for _ in range(1000):
        now, attempt = 0.0, 0
        while now <= away:
            now += backoff.delay(attempt)
            attempt += 1
        back.append(now)
    back.sort()
    first = 0
    for last, when in enumerate(back):
        while back[first] <= when - 1:
            first += 1
        assert last - first + 1 <= 200
    assert back[-1] - away <= backoff.cap


# -- one reference, many connections


@contextlib.asynccontextmanager
async def lasting(**options: Any) -> AsyncIterator[pb.annotations.ReconnectingReference]:
    async with pb.connect(URL, reconnect=SOON, **options) as reference:
        yield reference


async def lost(reference: pb.annotations.ReconnectingReference, server: pb.Server) -> None:
    """End the server, and wait until the client has noticed."""
    await server.close()
    await until(lambda: not reference.connected)


async def back(reference: pb.annotations.ReconnectingReference) -> None:
    """Let time pass until the reference has a connection again."""
    for _ in range(20):
        await skip(1)
        if reference.connected:
            return
    raise AssertionError("it does not come back")


@skipping
async def test_what_was_sent_fails_and_what_was_not_waits() -> None:
    desk = Desk()
    server = await pb.serve(desk, URL)
    async with lasting() as root:
        assert await root.call("echo", 1) == 1
        child = await root.call("new")
        under_way = root.call("wait")
        await until(lambda: desk.waiting)
        await lost(root, server)
        with pytest.raises(pb.ConnectionLost) as caught:
            await under_way
        assert caught.value.code == "closed"
        calls = [root.call("plain", n) for n in range(3)]
        told = root.tell("plain", 3)
        method = root.method("plain")
        calls.append(method(4))
        chained = root.call("new").call("echo", "chained")
        assert (root.waiting, root.connected) == (6, False)
        with pytest.raises(pb.DeadReferenceError):
            _ = root.connection
        await skip(6)  # two attempts have failed by now
        async with pb.serve(desk, URL) as again:
            await back(root)
            await asyncio.gather(*calls)
            await told
            assert await chained == "chained"
            assert desk.log == [0, 1, 2, 3, 4]
            assert desk.cancelled == 1  # and never started again
            assert root.waiting == 0
            with pytest.raises(pb.DeadReferenceError):
                child.call("echo", 1)
            assert root.connection.peer == URL
            assert len(again.connections) == 1


@skipping
async def test_calls_keep_their_order_with_those_made_meanwhile() -> None:
    desk = Desk()
    server = await pb.serve(desk, URL)
    async with lasting() as root:

        async def subscribe(current: pb.RemoteReference) -> None:
            desk.log.append("subscribing")
            await turns(5)
            await current.call("plain", "subscribed")
            await root.call("plain", "by the lasting one")  # which does not wait for its own end

        def unwanted(current: pb.RemoteReference) -> None:
            desk.log.append("unwanted")

        for callback in (unwanted, subscribe):
            root.on_reconnect(callback)
        root.dont_notify_on_reconnect(unwanted)
        with pytest.raises(ValueError, match="not registered"):
            root.dont_notify_on_reconnect(unwanted)
        await lost(root, server)
        first = root.call("plain", "first")
        async with pb.serve(desk, URL):
            await skip(4)
            await until(lambda: "subscribing" in desk.log)
            second = root.call("plain", "second")
            await asyncio.gather(first, second)
            await root.call("plain", "third")
            assert desk.log == ["subscribing", "subscribed", "by the lasting one", "first", "second", "third"]


@skipping
async def test_a_connection_lost_while_callbacks_run_is_made_again(caplog: pytest.LogCaptureFixture) -> None:
    desk, came = Desk(), []
    server = await pb.serve(desk, URL)
    async with lasting() as root:

        async def subscribe(current: pb.RemoteReference) -> None:
            came.append(current)
            if len(came) == 1:
                await current.call("wait")

        root.on_reconnect(subscribe)
        root.on_reconnect(came.append)
        await lost(root, server)
        waiting = root.call("echo", "answer")
        server = await pb.serve(desk, URL)
        await back(root)
        await until(lambda: desk.waiting)
        await lost(root, server)
        async with pb.serve(desk, URL):
            await back(root)
            assert await waiting == "answer"
            assert came == [came[0], came[1], came[1]]
    assert "a callback for a new connection raised" in caplog.text


@skipping
@pytest.mark.parametrize("kind", [RuntimeError, asyncio.CancelledError, SystemExit, GeneratorExit])
async def test_a_connection_whose_callback_raised_is_made_again(
    kind: type[BaseException], caplog: pytest.LogCaptureFixture
) -> None:
    """Without the objects that the callback fetches the client would be connected, silent and idle."""
    desk = Desk()
    came: list[Any] = []
    others: list[Any] = []
    server = await pb.serve(desk, URL)
    async with lasting() as root:

        async def fails_twice(current: pb.RemoteReference) -> None:
            came.append(current)
            if len(came) <= 2:
                raise kind("not yet")

        root.on_reconnect(fails_twice)
        root.on_reconnect(others.append)
        await lost(root, server)
        waiting = root.call("echo", "answer")
        async with pb.serve(desk, URL):
            for _ in range(4):
                await skip(8)
            assert await waiting == "answer"
            assert came == others
            assert len(set(came)) == 3
    assert caplog.text.count("a callback for a new connection raised") == 2


@skipping
async def test_who_asked_is_told_of_every_end() -> None:
    told: list[Any] = []
    server = await pb.serve(Desk(), URL)
    async with lasting() as root:

        def unwanted(reference: object) -> None:
            told.append("unwanted")

        root.on_disconnect(told.append)
        root.on_disconnect(unwanted)
        root.dont_notify_on_disconnect(unwanted)
        with pytest.raises(ValueError, match="not registered"):
            root.dont_notify_on_disconnect(unwanted)
        await lost(root, server)
        assert told == [root]
        async with pb.serve(Desk(), URL):
            await back(root)
            await root.connection.close()
            assert told == [root, root]
            await back(root)
    assert told == [root, root, root]


@skipping
async def test_a_call_waits_as_long_as_connecting_may_take() -> None:
    server = await pb.serve(Desk(), URL)
    async with lasting(timeout=7) as root:
        await lost(root, server)
        call, unseen = root.call("plain", 1), root.call("plain", 2)
        told = root.tell("plain", 3)
        given_up = root.call("plain", 4)
        given_up.cancel()
        await skip(6.9)
        assert not call.done()
        await skip(0.2)
        for waiting in (call, told):
            with pytest.raises(pb.ConnectionLost, match="within 7 s") as caught:
                await waiting
            assert caught.value.code == "not-sent"
        assert unseen.done()
        assert root.waiting == 0
        desk = Desk()
        async with pb.serve(desk, URL):
            await back(root)
            await root.call("plain", "later")
            assert desk.log == ["later"]


@skipping
async def test_a_task_of_a_call_that_waits_gives_it_up_or_gets_its_answer() -> None:
    server = await pb.serve(Desk(), URL)
    async with lasting(timeout=None) as root:
        await lost(root, server)
        given_up, wanted = root.call("echo", 1), root.call("echo", 2)
        chained = wanted.call("echo", 3)
        tasks = [asyncio.create_task(promise) for promise in (given_up, wanted, chained)]
        await until(lambda: root.waiting == 2)
        tasks[0].cancel()
        tasks[1].cancel()
        await asyncio.wait(tasks[:2])
        assert given_up.cancelled()
        assert root.waiting == 1
        assert repr(wanted).startswith("<Promise of echo, pending for ")
        async with pb.serve(Desk(), URL):
            await back(root)
            assert await wanted == 2
            with pytest.raises(TypeError, match="int"):
                await tasks[2]


@skipping
async def test_one_may_wait_for_ever() -> None:
    server = await pb.serve(Desk(), URL)
    async with lasting(timeout=None) as root:
        await lost(root, server)
        call = root.call("echo", "patience")
        for _ in range(100):
            await skip(1000)
        async with pb.serve(Desk(), URL):
            await back(root)
            assert await call == "patience"


@skipping
async def test_what_waits_and_cannot_cross_fails_alone() -> None:
    server = await pb.serve(Desk(), URL)
    async with lasting() as root:
        await lost(root, server)
        bad, told, good = root.call("echo", object()), root.tell("echo", object()), root.call("echo", 1)
        async with pb.serve(Desk(), URL):
            await back(root)
            for waiting in (bad, told):
                with pytest.raises(pb.SerializationError):
                    await waiting
            assert await good == 1


@skipping
async def test_what_was_told_meanwhile_is_sent_at_the_pace_of_the_connection() -> None:
    desk = Desk()
    server = await pb.serve(desk, URL)
    async with lasting(limits=pb.Limits(write_buffer_high=10_000, write_buffer_low=5_000)) as root:
        await lost(root, server)
        told = [root.tell("keep", bytes(4_000)) for _ in range(50)]
        async with pb.serve(desk, URL):
            await back(root)
            await asyncio.gather(*told)
            await root.call("echo", 1)
            assert len(desk.kept) == 50


@skipping
async def test_it_crosses_as_the_reference_that_it_is() -> None:
    desk = Desk()
    async with pb.serve(desk, URL), lasting() as root:
        await root.call("keep", root)
        assert desk.kept == [desk]
        assert "connected" in repr(root)
        desk.kept.clear()


# -- logging in again


@skipping
async def test_it_logs_in_again_as_the_same_with_the_same_client() -> None:
    chat = Chat()
    app = await application(chat)
    server = await pb.serve(app, URL)
    async with lasting(username="alice", password="secret", service="chat", client=Mind("alice's")) as me:
        assert await me.call("name") == "alice"
        await lost(me, server)
        async with pb.serve(app, URL):
            await skip(4)
            while not me.connected:  # SCRAM computes in a thread
                await turns()
            assert await me.call("ask_client") == ["alice's"]
        assert chat.diary == [
            "attached alice as alice",
            "detached alice as alice",
            "attached alice as alice",
        ] + ["detached alice as alice"] * (len(chat.diary) - 3)


@skipping
async def test_a_refused_login_ends_it(caplog: pytest.LogCaptureFixture) -> None:
    app = await application()
    server = await pb.serve(app, URL)
    async with lasting(username="alice", password="secret", service="chat") as me:
        await lost(me, server)
        waiting, told = me.call("name"), me.tell("name")
        await app.authorizer.set_password("alice", "changed")
        async with pb.serve(app, URL) as again:
            await skip(4)
            with pytest.raises(pb.LoginFailed):
                await waiting
            with pytest.raises(pb.LoginFailed):
                await told
            with pytest.raises(pb.DeadReferenceError, match="login was refused"):
                me.call("name")
            with pytest.raises(pb.DeadReferenceError):
                me.on_reconnect(print)
            await skip(1000)
            assert again.statistics().accepted == 1
            assert "ended" in repr(me)
    assert [record.levelname for record in caplog.records if "not made again" in record.getMessage()] == [
        "ERROR"
    ]


@pytest.fixture
def derived(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The rounds of PBKDF2 of each key that a client has derived."""
    rounds: list[int] = []
    derive = ClientExchange.derive

    def noting(exchange: ClientExchange, challenge: Challenge) -> ClientKeys:
        rounds.append(challenge.iterations)
        return derive(exchange, challenge)

    monkeypatch.setattr(ClientExchange, "derive", noting)
    return rounds


@skipping
async def test_a_login_that_is_made_again_derives_nothing(derived: list[int]) -> None:
    app = await application()
    async with lasting_login(app) as me:
        for _ in range(3):
            await lose_and_come_back(me)
            assert await me.call("name") == "alice"
        assert derived == [ITERATIONS]
        # A new password, though it is the same, has another salt.
        await app.authorizer.set_password("alice", "secret")
        await lose_and_come_back(me)
        await lose_and_come_back(me)
        assert derived == [ITERATIONS] * 2


@skipping
async def test_a_server_that_asks_for_fewer_rounds_than_before_gets_no_answer(derived: list[int]) -> None:
    app = await application()
    more = ScramVerifier.from_password("secret", iterations=ITERATIONS + 1)
    await app.authorizer.set_secrets("alice", more)
    async with lasting_login(app) as me:
        await app.authorizer.set_password("alice", "secret")
        me.connection.end("closed", "for once")
        await until(lambda: not me.connected)
        waiting = me.call("name")
        await turns()
        await skip(6)
        with pytest.raises(pb.LoginFailed, match=f"at least {ITERATIONS + 1}, as before"):
            await waiting
        assert derived == [ITERATIONS + 1]


@contextlib.asynccontextmanager
async def lasting_login(app: pb.Application) -> AsyncIterator[pb.annotations.ReconnectingReference]:
    login = {"username": "alice", "password": "secret", "service": "chat"}
    async with pb.serve(app, URL), lasting(**login) as me:
        yield me


async def lose_and_come_back(me: pb.annotations.ReconnectingReference) -> None:
    me.connection.end("closed", "for once")
    await until(lambda: not me.connected)
    await turns()
    await skip(6)
    while not me.connected:  # SCRAM may compute in a thread
        await turns()


@skipping
async def test_who_was_replaced_does_not_fight_for_the_place() -> None:
    app = await application(Chat(second_login="replace"))
    login: dict[str, Any] = {"username": "alice", "password": "secret", "service": "chat"}
    async with pb.serve(app, URL) as server, lasting(**login) as me, pb.connect(URL, **login) as other:
        await until(lambda: not me.connected)
        await turns()
        with pytest.raises(pb.DeadReferenceError, match="replaced"):
            me.call("name")
        await skip(1000)
        assert await other.call("name") == "alice"
        assert server.statistics().accepted == 2


# -- ends in order


@skipping
async def test_while_the_old_connection_drains_new_calls_wait_for_the_next() -> None:
    desk = Desk()
    server = await pb.serve(desk, URL)
    async with lasting() as root:
        under_way = root.call("wait", "answered")
        await until(lambda: desk.waiting)
        closing = asyncio.ensure_future(server.close(drain=60))
        await until(lambda: root.connection.draining)
        new = root.call("plain", "new")
        await turns()
        other = Desk()
        async with pb.serve(other, URL):
            await skip(4)
            await new
            assert other.log == ["new"]
            assert not under_way.done()
            desk.gate.set()
            assert await under_way == "answered"
            await closing
            await turns()
            assert await root.call("echo", "still here") == "still here"


@skipping
async def test_from_an_aged_connection_it_changes_to_a_new_one_at_once() -> None:
    limits = pb.Limits(connection_seconds=100)
    async with (
        pb.serve(Desk(), URL, limits=limits) as server,
        pb.connect(URL, reconnect=pb.Backoff(base=50, cap=50, random=lambda: 1.0)) as root,
    ):
        for connections in range(2, 5):
            first = root.connection
            await skip(100)
            assert await root.call("echo", "no wait") == "no wait"
            assert root.connection is not first
            assert server.statistics().accepted == connections


@skipping
async def test_a_server_whose_connections_are_aged_at_once_is_not_connected_to_at_once() -> None:
    """Three times it is, because processes of a server may be replaced one after the other; then the bound has grown
    as if no connection had been made, and starts anew after one that has lived for a while."""
    waits = pb.Backoff(base=4, cap=60, random=lambda: 1.0)
    async with pb.serve(Desk(), URL) as server, pb.connect(URL, reconnect=waits) as root:
        for _ in range(3):
            first = root.connection
            server.connections[0].end("aged", "at once")
            await until(lambda: root.connected and root.connection is not first)  # noqa: B023
        for code, seconds in (("aged", 32), ("lost", 60), ("aged", 60)):
            accepted = server.statistics().accepted
            server.connections[0].end(code, "at once")
            await until(lambda: not root.connected)
            await turns()
            await skip(seconds - 0.5)
            assert server.statistics().accepted == accepted
            await skip(0.6)
            await until(lambda: root.connected)
        await skip(61)
        server.connections[0].end("lost", "after a while")
        await until(lambda: not root.connected)
        await turns()
        await skip(4.1)
        await until(lambda: root.connected)


@skipping
async def test_a_server_that_drains_each_connection_and_ends_none_keeps_few() -> None:
    async with pb.serve(Desk(), URL) as server, pb.connect(URL, reconnect=SOON) as root:
        held: list[pb.Connection] = []
        for _ in range(6):
            held.append(root.connection)
            server.connections[-1]._driver.broker.drain()
            await until(lambda: root.connection.draining)
            await turns()
            await skip(5.1)
            await until(lambda: root.connected and root.connection is not held[-1])
            assert await root.call("echo", "served") == "served"
        await turns()
        assert [connection.close_cause is None for connection in held] == [False] * 4 + [True] * 2
        assert len(server.connections) == 3


@skipping
async def test_a_server_that_drains_each_connection_at_once_is_not_connected_to_at_once() -> None:
    waits = pb.Backoff(base=8, cap=30, random=lambda: 1.0)
    async with pb.serve(Desk(), URL) as server, pb.connect(URL, reconnect=waits) as root:
        for seconds in (8, 16, 30, 30):
            accepted = server.statistics().accepted
            server.connections[-1]._driver.broker.drain()
            await until(lambda: root.connection.draining)
            await turns()
            await skip(seconds - 0.5)
            assert server.statistics().accepted == accepted
            await skip(0.6)
            await until(lambda: not root.connection.draining)


@skipping
async def test_a_connection_that_drains_and_never_ends_is_ended_in_the_end() -> None:
    desk = Desk()
    async with pb.serve(desk, URL) as server, pb.connect(URL, reconnect=SOON) as root:
        old = root.connection
        under_way = root.call("wait")
        await until(lambda: desk.waiting)
        server.connections[0]._driver.broker.drain()
        await until(lambda: old.draining)
        await turns()
        await skip(5.1)
        await until(lambda: root.connection is not old)
        for _ in range(10):
            await skip(_DRAIN_SECONDS / 10 - 1)
        assert old.close_cause is None
        await skip(10)
        assert under_way.done()
        with pytest.raises(pb.ConnectionLost, match="drained for too long"):
            await under_way
        await old.wait_closed()
        assert await root.call("echo", "the new one lives") == "the new one lives"


@skipping
async def test_a_callback_does_not_wait_for_ever_for_a_server_that_drains(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """All other calls wait for the callback."""
    desk, came = Desk(), []
    server = await pb.serve(desk, URL)
    async with lasting(timeout=None) as root:

        async def subscribe(current: pb.RemoteReference) -> None:
            came.append(current.connection)
            if len(came) == 1:
                await current.call("wait")

        root.on_reconnect(subscribe)
        await lost(root, server)
        waiting = root.call("echo", "answer")
        async with pb.serve(desk, URL) as server:
            await back(root)
            await until(lambda: desk.waiting)
            server.connections[0]._driver.broker.drain()
            await until(lambda: root.connection.draining)
            await turns()
            await skip(SOON.cap + 1)
            assert came[0].close_cause is not None
            await skip(10)
            assert await waiting == "answer"
            assert len(came) == 2
    assert "a callback for a new connection raised" in caplog.text


# -- its own end


@pytest.mark.parametrize("moment", ["connected", "waiting", "connecting", "after the block"])
async def test_close_ends_it(moment: str) -> None:
    async def close() -> None:
        await asyncio.gather(root.close(), root.close())
        await root.close()
        with pytest.raises(pb.DeadReferenceError, match="the program closed it"):
            root.call("echo", 1)
        assert [task for task in asyncio.all_tasks() if task is not asyncio.current_task()] == []

    async with pb.serve(Desk(), URL) as server:
        if moment == "after the block":
            async with pb.connect(URL, reconnect=True) as root:
                pass
            await close()
            return
        random = {"waiting": 1.0}.get(moment, 0.0)
        root = await pb.connect(URL, reconnect=pb.Backoff(random=lambda: random))
        if moment == "connected":
            under_way = root.call("wait")
            await close()
            with pytest.raises(pb.ConnectionLost):
                await under_way
            return
        await lost(root, server)
        waiting = root.call("echo", 1)
        if moment == "waiting":
            await close()
        else:
            async with ScriptedPeer.listen(URL) as listener:
                await listener.accept()  # and sends nothing
                await close()
        with pytest.raises(pb.ConnectionLost):
            await waiting


@skipping
async def test_a_callback_may_close_it() -> None:
    server = await pb.serve(Desk(), URL)
    root = await pb.connect(URL, reconnect=SOON)

    async def enough(current: pb.RemoteReference) -> None:
        await root.close()

    root.on_reconnect(enough)
    await lost(root, server)
    async with pb.serve(Desk(), URL):
        waiting = root.call("echo", 1)
        await skip(4)
        with pytest.raises(pb.ConnectionLost):
            await waiting


@skipping
async def test_a_defect_ends_it_and_says_so(caplog: pytest.LogCaptureFixture) -> None:
    class Odd(Exception):
        pass

    def throws() -> float:
        raise Odd("no dice")

    server = await pb.serve(Desk(), URL)
    async with pb.connect(URL, reconnect=pb.Backoff(random=throws)) as root:
        await lost(root, server)
        await turns()
        with pytest.raises(pb.DeadReferenceError, match="no dice"):
            root.call("echo", 1)
    assert "is not made again" in caplog.text


async def test_the_first_connection_is_made_as_any() -> None:
    with pytest.raises(ConnectionRefusedError):
        await pb.connect(URL, reconnect=True)
    with pytest.raises(ConnectionRefusedError):
        async with pb.connect(URL, reconnect=True):
            raise AssertionError("nobody is there")
    with pytest.raises(TypeError, match="Backoff"):
        pb.connect(URL, reconnect=5)  # type: ignore[call-overload]


async def test_another_thread_is_told_so() -> None:
    async with pb.serve(Desk(), URL), pb.connect(URL, reconnect=True) as root:
        caught: list[BaseException] = []

        def use() -> None:
            for use in (root.call, root.tell):
                try:
                    use("echo", 1)
                except pb.UsageError as error:
                    caught.append(error)

        thread = threading.Thread(target=use)
        thread.start()
        thread.join()
        assert len(caught) == 2


@skipping
async def test_an_outage_is_one_warning(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "perspective_broker")
    server = await pb.serve(Desk(), URL)
    async with lasting() as root:
        await lost(root, server)
        for _ in range(60):
            await skip(1)
        about = [record for record in caplog.records if "no connection to" in record.getMessage()]
        assert [record.levelname for record in about[:3]] == ["WARNING", "INFO", "INFO"]
        assert len(about) == 12  # 4 s, and 5 s each
        async with pb.serve(Desk(), URL):
            await back(root)
        assert f"connected to {URL} again" in caplog.text
