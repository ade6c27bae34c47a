"""forward=True: references of one connection cross another, and their calls go through the program in the middle."""

from __future__ import annotations

import asyncio
import gc
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from itertools import product
from typing import Any

import pytest

import perspective_broker as pb
from perspective_broker.dialects.offer import DIALECTS
from perspective_broker.testing import assert_no_leaks
from tests.aio.desk import Desk, until
from tests.aio.distance import far_away


class Middle(pb.Root):
    """Hands out what it is given: a name leads from any peer to any other's object."""

    def __init__(self) -> None:
        self.objects: dict[str, Any] = {}

    def remote_put(self, name: str, obj: Any) -> None:
        self.objects[name] = obj

    def remote_get(self, name: str) -> Any:
        return self.objects[name]

    def remote_is(self, name: str, obj: Any) -> bool:
        return obj is self.objects[name]

    def remote_kind(self, obj: Any) -> str:
        return type(obj).__name__

    def remote_forget(self, name: str) -> None:
        del self.objects[name]


class Ends:
    """The object of one peer, and what the other peer has got of it."""

    def __init__(
        self,
        desk: Desk,
        near: pb.RemoteReference,
        far: pb.RemoteReference,
        server: pb.Server,
        middle: Middle,
    ) -> None:
        self.desk, self.near, self.far, self.server, self.middle = desk, near, far, server, middle

    async def reference(self) -> Any:
        """Return the caller's reference to the object at the other end."""
        return await self.near.call("get", "desk")


#: Of the caller and of the callee.
PAIRS = [pair for pair in product(DIALECTS, DIALECTS) if "pb7" in pair or "none" not in pair]


@pytest.fixture(params=PAIRS, ids="-".join)
def dialects(request: pytest.FixtureRequest) -> tuple[str, str]:
    """The dialect of the caller and that of the callee."""
    return request.param


@asynccontextmanager
async def ends(
    dialects: tuple[str, str], url: str = "tcp://127.0.0.1:0", **options: Any
) -> AsyncIterator[Ends]:
    desk, middle = Desk(), Middle()
    async with (
        pb.serve(middle, url, forward=True, **options) as server,
        pb.connect(server.urls[0], dialects=dialects[:1]) as near,
        pb.connect(server.urls[0], dialects=dialects[1:]) as far,
    ):
        await far.call("put", "desk", desk)
        yield Ends(desk, near, far, server, middle)


async def test_without_it_a_reference_does_not_cross() -> None:
    middle = Middle()
    async with (
        pb.serve(middle, "memory:middle") as server,
        pb.connect(server.urls[0]) as near,
        pb.connect(server.urls[0]) as far,
    ):
        await far.call("put", "desk", Desk())
        with pytest.raises(pb.RemoteError, match="forward=True"):
            await near.call("get", "desk")


async def test_a_call_goes_through(dialects: tuple[str, str]) -> None:
    async with ends(dialects) as there:
        desk = await there.reference()
        assert isinstance(desk, pb.RemoteReference)
        assert await desk.call("echo", 1, "x", [None, {"a": b"b"}]) == (1, "x", [None, {"a": b"b"}])
        assert await desk.call("keywords", a=1) == {"a": 1}
        assert await desk.call("async", "mark") is None


async def test_what_is_equal_stays_equal(dialects: tuple[str, str]) -> None:
    async with ends(dialects) as there:
        desk = await there.reference()
        assert await there.reference() is desk
        assert await there.near.call("is", "desk", desk)
        assert await there.far.call("get", "desk") is there.desk
        assert await there.near.call("kind", desk) == "RemoteReference"


async def test_a_reference_that_is_given_back_while_a_call_waits_with_it_is_given_back_to_its_owner(
    dialects: tuple[str, str],
) -> None:
    near_desk, far_desk, middle = Desk(), Desk(), Middle()
    async with (
        pb.serve(middle, "memory:middle", forward=True) as server,
        pb.connect(server.urls[0], dialects=dialects[:1]) as near,
        pb.connect(server.urls[0], dialects=dialects[1:]) as far,
    ):
        await near.call("put", "near", near_desk)
        await far.call("put", "far", far_desk)
        near_reference, far_reference = middle.objects.pop("near"), middle.objects.pop("far")
        promise = near_reference.call("echo", 1)
        waiting = near_reference.call("echo", promise, far_reference)
        far_reference.release()
        with suppress(pb.SerializationError):  # where the call waits here until the promise has an outcome
            await waiting
        # Both peers gave their objects the same id, so the release of the one must not be taken for the other's.
        assert await near_reference.call("echo", 2) == 2
        await until(lambda: not far.connection.statistics().exported)


async def test_an_object_of_the_caller_is_itself_again_at_home(dialects: tuple[str, str]) -> None:
    async with ends(dialects) as there:
        desk, mine = await there.reference(), pb.Referenceable()
        assert await desk.call("echo", mine) is mine
        assert await desk.call("echo", desk) is desk
        await desk.call("keep", mine)
        assert isinstance(there.desk.kept[0], pb.RemoteReference)


async def test_calls_back_go_through(dialects: tuple[str, str]) -> None:
    async with ends(dialects) as there:
        desk, mine = await there.reference(), Desk()
        await desk.call("keep", mine)
        assert await there.desk.kept[0].call("echo", "back") == "back"


async def test_calls_start_in_the_order_in_which_they_were_made(dialects: tuple[str, str]) -> None:
    async with ends(dialects) as there:
        desk = await there.reference()
        promises = []
        for number in range(200):
            kind = ("plain", "async", "async_slow", "awaitable", "wrapped")[number % 5]
            if number % 3:
                promises.append(desk.call(kind, number))
            else:
                desk.tell(kind, number)
        await asyncio.gather(*promises, desk.call("plain", "last"))
        assert there.desk.log == [*range(200), "last"]


async def test_a_cancelled_call_is_cancelled_at_the_other_end() -> None:
    async with ends(("pb7", "pb7")) as there:
        desk = await there.reference()
        promise = desk.call("wait")
        await until(lambda: there.desk.waiting == 1)
        promise.cancel()
        await until(lambda: there.desk.cancelled == 1)


async def test_a_deadline_is_handed_on() -> None:
    async with ends(("pb7", "pb7")) as there:
        desk = await there.reference()
        with pytest.raises(TimeoutError):
            async with pb.deadline(0.2):
                await desk.call("wait")
        await until(lambda: there.desk.cancelled == 1)


async def test_what_cannot_pass_the_middle_is_refused_and_no_defect_of_it(
    dialects: tuple[str, str], caplog: pytest.LogCaptureFixture
) -> None:
    class Score(pb.Live, tag=f"{__name__}.Score"):
        points: int = 0

    registry = pb.registry.Registry()
    registry.set_unjellyable_for_class(f"{__name__}.Score", Score)
    desk, middle = Desk(), Middle()
    async with (
        pb.serve(middle, "memory:middle", forward=True, registry=registry) as server,
        pb.connect(server.urls[0], dialects=dialects[:1]) as near,
        pb.connect(server.urls[0], dialects=dialects[1:]) as far,
    ):
        await far.call("put", "desk", desk)
        reference = await near.call("get", "desk")
        with pytest.raises(pb.RemoteError, match="third program") as refused:
            await reference.call("echo", Score())
        assert refused.value.check(pb.SerializationError)
        assert refused.value.ran is False
        assert not [record for record in caplog.records if record.levelno >= logging.WARNING]
        assert desk.log == []


class Troubled(pb.Root):
    """Raises what it is asked for."""

    def remote_expected(self) -> None:
        raise pb.Error("no such room")

    def remote_defect(self) -> None:
        raise KeyError("a defect")

    def remote_one(self, argument: int) -> None:
        pass


async def test_errors_are_those_of_the_other_end(
    dialects: tuple[str, str], caplog: pytest.LogCaptureFixture
) -> None:
    async with ends(dialects) as there:
        await there.far.call("put", "troubled", Troubled())
        troubled = await there.near.call("get", "troubled")
        with pytest.raises(pb.RemoteError, match="no such room") as expected:
            await troubled.call("expected")
        assert expected.value.check(pb.Error)
        with pytest.raises(pb.NoSuchMethod) as missing:
            await troubled.call("missing")
        assert missing.value.ran is False
        with pytest.raises(pb.BadArguments) as bad:
            await troubled.call("one")
        assert bad.value.ran is False
        caplog.clear()
        with pytest.raises(pb.RemoteError) as defect:
            await troubled.call("defect")
        assert defect.value.check(KeyError)
        assert defect.value.ran is True
        # The end that raised it logs it as its defect; the program in the middle does not.
        assert len([record for record in caplog.records if record.levelno >= logging.ERROR]) == 1


async def test_a_connection_that_ends_behind_the_middle_fails_what_waits(
    dialects: tuple[str, str], caplog: pytest.LogCaptureFixture
) -> None:
    async with ends(dialects) as there:
        desk = await there.reference()
        waiting = [desk.call("wait") for _ in range(3)]
        await until(lambda: there.desk.waiting == 3)
        there.far.connection.end()
        for promise in waiting:
            with pytest.raises(pb.RemoteError) as lost:
                await promise
            assert lost.value.check(pb.ConnectionLost)
            assert lost.value.ran is None
        with pytest.raises(pb.RemoteError) as dead:
            await desk.call("echo", 1)
        assert dead.value.check(pb.DeadReferenceError)
        assert dead.value.ran is False
        desk.tell("echo", 1)
        await there.near.call("kind", 1)
        assert not [record for record in caplog.records if record.levelno >= logging.WARNING]


async def test_a_stream_goes_through_at_the_readers_pace(dialects: tuple[str, str]) -> None:
    class Source(pb.Root):
        made = 0
        closed = False

        async def remote_count(self, most: int) -> AsyncIterator[bytes]:
            try:
                for self.made in range(1, most + 1):
                    yield self.made.to_bytes(4, "big") + b"x" * 1000
            finally:
                self.closed = True

    async with ends(dialects) as there:
        source = Source()
        await there.far.call("put", "source", source)
        reference = await there.near.call("get", "source")
        got = [int.from_bytes(item[:4], "big") async for item in reference.call("count", 500)]
        assert got == list(range(1, 501))
        stream = aiter(reference.call("count", 100_000))
        assert (await anext(stream))[:4] == b"\0\0\0\1"
        made = -1
        while made != source.made:  # until it waits for credit
            made = source.made
            for _ in range(50):
                await there.near.connection.ping()
        assert made < 5_000
        await stream.aclose()
        await until(lambda: source.closed)


async def test_promises_can_be_called_and_passed(dialects: tuple[str, str]) -> None:
    async with ends(dialects) as there:
        desk = await there.reference()
        new = desk.call("new")
        assert await new.call("echo", "on a promise") == "on a promise"
        first = desk.call("echo", 1)
        assert await desk.call("echo", [first, 2]) == [1, 2]
        assert await desk.call("echo", there.near.call("get", "desk")) is desk


async def test_a_promise_of_the_other_connection_crosses_when_it_is_settled() -> None:
    class Impatient(Middle):
        def remote_relay(self, name: str) -> Any:
            return self.objects[name].call("wait", 7)

        async def remote_pass(self, name: str, to: str) -> Any:
            """Call one peer with what another has not answered yet."""
            return await self.objects[to].call("echo", self.objects[name].call("wait", 8))

    middle = Impatient()
    async with (
        pb.serve(middle, "memory:middle", forward=True) as server,
        pb.connect(server.urls[0]) as near,
        pb.connect(server.urls[0]) as far,
    ):
        here, there = Desk(), Desk()
        await near.call("put", "here", here)
        await far.call("put", "there", there)
        answers = near.call("relay", "there"), near.call("pass", "there", "here")
        await until(lambda: there.waiting == 2)
        there.gate.set()
        assert await answers[0] == 7
        assert await answers[1] == 8


async def test_a_call_on_a_promise_that_turns_out_to_be_the_other_peers_is_made_there(dialect: str) -> None:
    class Matchmaker(Middle):
        async def remote_match(self) -> Any:
            """Call what one peer answers with, before it has: an object of the other peer."""
            answer = self.objects["there"].call("echo", self.objects["here"])
            on_promise = answer.call("echo", "on a promise")
            with_promise = self.objects["there"].call("echo", answer)
            assert await with_promise is self.objects["here"]
            return await on_promise

    middle, here = Matchmaker(), Desk()
    async with (
        pb.serve(middle, "memory:middle", forward=True, dialects=[dialect]) as server,
        pb.connect(server.urls[0]) as near,
        pb.connect(server.urls[0]) as far,
    ):
        await near.call("put", "here", here)
        await far.call("put", "there", Desk())
        assert await near.call("match") == "on a promise"


async def test_releases_go_all_the_way(dialects: tuple[str, str]) -> None:
    async with ends(dialects) as there:
        desk = await there.reference()
        await there.near.call("forget", "desk")
        gc.collect()
        assert await desk.call("echo", 1) == 1
        assert there.far.connection.statistics().exported == 1
        del desk
        gc.collect()
        await there.near.connection.ping()
        await until(lambda: there.far.connection.statistics().exported == 0)


async def test_the_middle_closes_with_references_held_on_both_sides(dialects: tuple[str, str]) -> None:
    held: list[Any] = []
    async with ends(dialects) as there:
        desk, mine = await there.reference(), Desk()
        await desk.call("keep", mine)
        held += [desk, *there.desk.kept]
        await there.server.close()
    for reference in held:
        with pytest.raises(pb.DeadReferenceError):
            reference.call("echo", 1)
    held.clear()


async def test_one_way_calls_wait_in_the_sender_when_the_other_end_does_not_read() -> None:
    desk, middle = Desk(), Middle()
    limits = pb.Limits(slow_consumer_seconds=1000)
    async with (
        pb.serve(middle, "memory:middle", forward=True, limits=limits) as server,
        far_away("memory:middle", "memory:far", 0) as relay,
        pb.connect("memory:far") as far,
        pb.connect("memory:middle", limits=limits) as near,
    ):
        await far.call("put", "desk", desk)
        reference = await near.call("get", "desk")
        relay.pause()
        sent = 0
        while near.connection.statistics().bytes_buffered < 100_000:
            reference.tell("plain", (sent, b"x" * 1000))
            sent += 1
            assert sent < 10_000
            await asyncio.sleep(0)
        held = sum(connection.statistics().bytes_buffered for connection in server.connections)
        assert held < 4_000_000
        relay.resume()
        await until(lambda: len(desk.log) == sent)
        assert [number for number, _ in desk.log] == list(range(sent))


async def test_two_floods_that_meet_in_the_middle_do_not_stop_each_other() -> None:
    async with ends(("pb7", "pb7"), "memory:middle") as there:
        mine = Desk()
        desk = await there.reference()
        await there.near.call("put", "mine", mine)
        back = await there.far.call("get", "mine")

        async def flood(reference: Any) -> None:
            for number in range(3000):
                await reference.tell("plain", (number, b"x" * 1000))

        await asyncio.gather(flood(desk), flood(back))
        await until(lambda: len(mine.log) == len(there.desk.log) == 3000)


async def test_calls_in_both_directions_never_wait_for_each_other() -> None:
    """Calls that call back, with as few slots as there may be at each of the three programs."""

    class Player(pb.Referenceable):
        def __init__(self) -> None:
            self.other: Any = None

        def remote_meet(self, other: Any) -> None:
            self.other = other

        async def remote_play(self, rounds: int) -> int:
            return 0 if rounds == 0 else 1 + await self.other.call("play", rounds - 1)

    limits = pb.Limits(calls_in_flight=2)
    middle = Middle()
    async with (
        pb.serve(middle, "memory:middle", forward=True, limits=limits) as server,
        pb.connect(server.urls[0], limits=limits) as near,
        pb.connect(server.urls[0], limits=limits) as far,
    ):
        one, two = Player(), Player()
        await near.call("put", "one", one)
        await far.call("put", "two", two)
        one.other = await near.call("get", "two")
        two.other = await far.call("get", "one")
        assert await asyncio.gather(*(one.other.call("play", 12) for _ in range(5))) == [12] * 5
        one.other = two.other = None


async def test_nothing_is_left(dialects: tuple[str, str]) -> None:
    async with ends(dialects) as there:
        desk = await there.reference()
        for _ in range(10):
            await desk.call("echo", pb.Referenceable())
        del desk
        there.middle.objects.clear()
        await assert_no_leaks(there.near.connection, there.far.connection, *there.server.connections)
