"""Derived references: what came over the old connection is fetched again, and calls on it wait for that."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import logging
from collections.abc import AsyncIterator
from typing import Any, Protocol

import pytest

import perspective_broker as pb
from perspective_broker.aio.retrying import may_be_made_again
from tests.aio.desk import turns, until
from tests.cred.logins import skip, skipping

URL = "memory:derived"

SOON = pb.Backoff(base=8, cap=10, random=lambda: 0.5)

Reconnecting = pb.annotations.ReconnectingReference


class Chair(pb.Referenceable):
    def __init__(self, house: House, name: str) -> None:
        self.house, self.name = house, name

    def remote_sit(self, mark: Any = None) -> str:
        self.house.log.append(("sit", self.name, mark))
        return self.name


class SpokenRoom(pb.Interface, Protocol):
    async def say(self, text: str) -> str: ...


class Room(pb.Referenceable):
    def __init__(self, house: House, name: str) -> None:
        self.house, self.name = house, name

    def remote_say(self, text: str) -> str:
        self.house.log.append(("say", self.name, text))
        return f"{self.house.edition} {self.name}: {text}"

    def remote_chair(self, name: str) -> Chair:
        self.house.fetched.append(f"{self.name}/{name}")
        return Chair(self.house, f"{self.name}/{name}")

    def remote_owner(self) -> House:
        return self.house


class House(pb.Root):
    def __init__(self, edition: int) -> None:
        self.edition = edition
        self.log: list[Any] = []
        self.fetched: list[str] = []
        self.locked = False
        self.gate: asyncio.Event | None = None

    async def remote_room(self, name: str) -> Room:
        self.fetched.append(name)
        if self.gate is not None:
            await self.gate.wait()
        if self.locked:
            raise pb.Error("locked")
        return Room(self, name)

    def remote_say(self, text: str) -> None:
        self.log.append(("say", "house", text))

    def remote_number(self) -> int:
        return 7


@contextlib.asynccontextmanager
async def lasting() -> AsyncIterator[Reconnecting]:
    async with pb.connect(URL, reconnect=SOON) as reference:
        yield reference


async def end(reference: Reconnecting, server: pb.Server) -> None:
    await server.close()
    await until(lambda: not reference.connected)


async def back(reference: Reconnecting) -> None:
    for _ in range(20):
        await skip(1)
        if reference.connected:
            return
    raise AssertionError("it does not come back")


@skipping
async def test_what_is_derived_is_fetched_now_and_with_each_connection() -> None:
    house = House(1)
    server = await pb.serve(house, URL)
    async with lasting() as me:
        room = me.derive("room", "lobby")
        assert isinstance(room, Reconnecting)
        assert await room.call("say", "hi") == "1 lobby: hi"
        assert (room.connected, room.waiting) == (True, 0)
        assert room.connection is me.connection
        assert repr(room) == f"<ReconnectingReference to room of {URL}, connected>"
        before = room.current
        await end(me, server)
        with pytest.raises(pb.DeadReferenceError, match="no reference to room"):
            _ = room.current
        calls = [me.call("say", "1"), room.call("say", "2"), me.call("say", "3")]
        told = room.tell("say", "4")
        assert (me.waiting, room.waiting) == (2, 2)
        house = House(2)
        async with pb.serve(house, URL):
            await back(me)
            assert (await asyncio.gather(*calls))[1] == "2 lobby: 2"
            await told
            await room.call("say", "5")
            assert [text for _, _, text in house.log] == ["1", "2", "3", "4", "5"]
            assert house.fetched == ["lobby"]
            assert room.current != before


@skipping
async def test_derived_of_derived_is_fetched_once_each_by_name_and_by_function() -> None:
    house = House(1)
    server = await pb.serve(house, URL)
    async with lasting() as me:
        room = me.derive("room", name="a")
        chair = room.derive("chair", "x")

        async def fetch(current: pb.RemoteReference) -> pb.RemoteReference:
            other = await me.call("room", "b")  # passes, though all other calls wait for this
            assert isinstance(other, pb.RemoteReference)
            return other

        other = me.derive(fetch)
        assert await chair.call("sit") == "a/x"
        assert await other.call("say", "hi") == "1 b: hi"
        assert house.fetched == ["a", "b", "a/x"]
        await end(me, server)
        async with pb.serve(house, URL):
            late = chair.call("sit", "late")
            await back(me)
            assert await late == "a/x"
            assert sorted(house.fetched[3:]) == ["a", "a/x", "b"]
            assert await other.call("say", "hi") == "1 b: hi"


@skipping
async def test_by_an_interface() -> None:
    server = await pb.serve(House(1), URL)
    async with lasting() as me:
        room = SpokenRoom.of(me.derive("room", "lobby"))
        assert await room.say("hi") == "1 lobby: hi"
        typed = me.derive(lambda current: SpokenRoom.of(current))  # a proxy is the reference that it calls
        await end(me, server)
        late = room.say("late")
        async with pb.serve(House(2), URL):
            await back(me)
            assert await late == "2 lobby: late"
            assert await typed.call("number") == 7
            assert pb.reference(room).connection is me.connection


@skipping
async def test_a_fetch_that_fails_fails_its_calls_and_the_next_call_fetches_again() -> None:
    house = House(1)
    house.locked = True
    server = await pb.serve(house, URL)
    async with lasting() as me:
        room = me.derive("room", "lobby")
        chair = room.derive("chair", "x")
        for reference in (room, chair):
            with pytest.raises((pb.RemoteError, pb.DeadReferenceError)) as caught:
                await reference.call("say", "hi")
            assert caught.value.ran is False
        house.locked = False
        assert await chair.call("sit") == "lobby/x"
        house.locked = True
        await end(me, server)
        late, other = room.call("say", "late"), me.call("number")
        async with pb.serve(house, URL):
            await back(me)
            assert await other == 7
            with pytest.raises(pb.RemoteError, match="locked"):
                await late
            house.locked = False
            assert await room.call("say", "hi") == "1 lobby: hi"
        for wrong in (me.derive("number"), me.derive(lambda current: 7)):
            assert wrong.waiting == 0


@skipping
async def test_what_is_no_object_of_this_connection_is_refused() -> None:
    async with pb.serve(House(1), URL), lasting() as me, lasting() as other:
        for wrong in (
            me.derive("number"),
            me.derive(lambda current: 7),
            me.derive(lambda current: other.current),
        ):
            with pytest.raises(TypeError, match="is fetched as an object of the peer") as caught:
                await wrong.call("say", "hi")
            assert getattr(caught.value, "ran", None) is False
        with pytest.raises(TypeError, match="derive: takes the name"):
            me.derive(len, 1)  # type: ignore[call-overload]


@skipping
async def test_a_slow_fetch_holds_up_nobody_at_first_and_ends_with_its_connection() -> None:
    house = House(1)
    house.gate = asyncio.Event()
    server = await pb.serve(house, URL)
    async with lasting() as me:
        room = me.derive("room", "lobby")
        late = room.call("say", "late")
        given_up = room.call("say", "never")
        assert await me.call("number") == 7
        assert room.waiting == 2
        given_up.cancel()
        await end(me, server)
        house = House(2)
        async with pb.serve(house, URL):
            await back(me)
            assert await late == "2 lobby: late"
            assert house.log == [("say", "lobby", "late")]


@skipping
async def test_what_the_program_dropped_or_closed_is_fetched_no_more() -> None:
    house = House(1)
    server = await pb.serve(house, URL)
    async with lasting() as me:
        kept, dropped, closed = (me.derive("room", name) for name in ("kept", "dropped", "closed"))
        await asyncio.gather(*(room.call("say", "hi") for room in (kept, dropped, closed)))
        await end(me, server)
        late = closed.call("say", "late")
        await closed.close()
        await closed.close()
        with pytest.raises(pb.ConnectionLost) as lost:
            await late
        assert (lost.value.code, lost.value.ran) == ("closed", False)
        with pytest.raises(pb.DeadReferenceError) as dead:
            closed.call("say", "later")
        assert dead.value.ran is False
        assert "ended" in repr(closed)
        del dropped
        gc.collect()
        house.fetched.clear()
        async with pb.serve(house, URL):
            await back(me)
            await kept.call("say", "hi")
            assert house.fetched == ["kept"]
        await me.close()
        with pytest.raises(pb.DeadReferenceError):
            kept.call("say", "hi")


@skipping
async def test_callbacks_of_a_derived_reference_get_it() -> None:
    came: list[Any] = []
    server = await pb.serve(House(1), URL)
    async with lasting() as me:
        room = me.derive("room", "lobby")

        async def enter(current: pb.RemoteReference) -> None:
            came.append((await current.call("say", "here"), await room.call("say", "again")))

        await room.call("say", "hi")
        room.on_reconnect(enter, first=True)
        room.on_disconnect(came.append)
        assert await room.call("say", "behind") == "1 lobby: behind"
        assert came == [("1 lobby: here", "1 lobby: again")]
        await end(me, server)
        assert came.pop() is room
        house = House(2)
        late = me.call("say", "late")
        async with pb.serve(house, URL):
            await back(me)
            await late
            assert [text for _, _, text in house.log] == ["here", "again", "late"]
            room.dont_notify_on_reconnect(enter)
            room.dont_notify_on_disconnect(came.append)
            with pytest.raises(ValueError, match="not registered"):
                room.dont_notify_on_reconnect(enter)


# -- callbacks for the first connection, and those that are tried again


@skipping
async def test_a_callback_is_called_for_the_first_connection_and_later_calls_wait_for_it() -> None:
    house = House(1)
    server = await pb.serve(house, URL)
    async with lasting() as me:
        earlier = me.call("say", "earlier")

        async def greet(current: pb.RemoteReference) -> None:
            await turns(3)
            await current.call("say", "greeting")

        me.on_reconnect(greet, first=True)
        await asyncio.gather(me.call("say", "later"), earlier)
        assert [text for _, _, text in house.log] == ["earlier", "greeting", "later"]
        await end(me, server)
        async with pb.serve(house, URL):
            await back(me)
            await until(lambda: len(house.log) == 4)
            assert house.log[-1][2] == "greeting"


@skipping
async def test_a_callback_that_raises_is_tried_again_on_the_same_connection(
    caplog: pytest.LogCaptureFixture,
) -> None:
    came: list[Any] = []
    async with pb.serve(House(1), URL), lasting() as me:

        def fails_twice(current: pb.RemoteReference) -> None:
            came.append(current)
            if len(came) <= 2:
                raise RuntimeError("not yet")

        others: list[Any] = []
        me.on_reconnect(fails_twice, first=True, retry=True)
        me.on_reconnect(others.append, first=True)
        late = me.call("number")
        await turns()
        assert (len(came), others) == (1, [])
        for _ in range(4):
            await skip(4)
        assert await late == 7
        assert came == [me.current] * 3
        assert others == [me.current]
    assert caplog.text.count("a callback for a new connection raised") == 2


@skipping
async def test_it_is_not_tried_again_on_a_connection_that_has_ended(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.CRITICAL)
    came: list[Any] = []
    server = await pb.serve(House(1), URL)
    async with lasting() as me:

        def fails_once(current: pb.RemoteReference) -> None:
            came.append(current)
            if len(came) == 1:
                raise RuntimeError("not yet")

        me.on_reconnect(fails_once, first=True, retry=True)
        await until(lambda: came)
        late = me.call("number")
        await end(me, server)
        async with pb.serve(House(2), URL):
            await back(me)
            assert await late == 7
            assert len({*came}) == len(came) == 2


@skipping
async def test_without_retry_the_first_connection_is_ended(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.CRITICAL)
    came: list[Any] = []
    async with pb.serve(House(1), URL), lasting() as me:

        def fails_once(current: pb.RemoteReference) -> None:
            came.append(current)
            if len(came) == 1:
                raise RuntimeError("not yet")

        me.on_reconnect(fails_once, first=True)
        late = me.call("number")
        await until(lambda: not me.connected)
        await back(me)
        assert await late == 7
        assert len({*came}) == 2


# -- retry


class Flaky:
    """Raises what it is given, one error for each call, and then answers."""

    def __init__(self, *errors: Exception) -> None:
        self.errors = list(errors)

    async def __call__(self) -> int:
        if self.errors:
            raise self.errors.pop(0)
        return 1


def lost(ran: bool | None) -> pb.ConnectionLost:
    error = pb.ConnectionLost("lost", "the peer went away")
    error.ran = ran
    return error


AT_ONCE = pb.Backoff(base=0.001, random=lambda: 0.0)


async def test_what_has_not_run_is_made_again_and_what_is_unknown_only_as_asked() -> None:
    refused = pb.Unavailable("busy", "too much")
    assert await pb.retry(Flaky(lost(False), refused), backoff=AT_ONCE) == 1
    assert await pb.retry(Flaky(lost(None)), repeatable=True, backoff=AT_ONCE) == 1
    for flaky, options in (
        (Flaky(lost(None)), {}),
        (Flaky(lost(True)), {"repeatable": True}),
        (Flaky(pb.NoSuchMethod("no")), {"repeatable": True}),
        (Flaky(pb.DeadReferenceError("gone")), {}),
        (Flaky(*[lost(False)] * 3), {"attempts": 3}),
        (Flaky(KeyError()), {}),
    ):
        with pytest.raises((pb.BrokerError, KeyError)):
            await pb.retry(flaky, backoff=AT_ONCE, **options)
        assert not flaky.errors
    with pytest.raises(ValueError, match="attempts"):
        await pb.retry(Flaky(), attempts=0)


async def test_a_deadline_ends_the_attempts() -> None:
    slow = pb.Backoff(base=50, cap=50, random=lambda: 1.0)
    with pytest.raises(pb.ConnectionLost):
        async with pb.deadline(10):
            await pb.retry(Flaky(lost(False)), backoff=slow)
    assert not may_be_made_again(lost(False), False, 1.0, 1.0)
    assert may_be_made_again(lost(False), False, 1.0, 1.1)


@skipping
async def test_a_call_that_was_lost_is_made_again_on_the_next_connection() -> None:
    house = House(1)
    house.gate = asyncio.Event()
    server = await pb.serve(house, URL)
    async with lasting() as me:
        asking = asyncio.ensure_future(
            pb.retry(lambda: me.call("room", "lobby"), repeatable=True, backoff=AT_ONCE)
        )
        await until(lambda: house.fetched)
        await end(me, server)
        async with pb.serve(House(2), URL):
            await back(me)
            room = await asking
            assert isinstance(room, pb.RemoteReference)
            assert await room.call("say", "hi") == "2 lobby: hi"
