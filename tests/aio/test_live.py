"""pb.Live: assignments reach every replica, in order, and a slow one costs no memory."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import AsyncIterator, Callable, Collection, Hashable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import field
from typing import Any, ClassVar

import pytest

import perspective_broker as pb
from perspective_broker.aio.live import WINDOW, live_fields
from perspective_broker.ports import SharedArguments
from perspective_broker.testing import Pair, assert_no_leaks, memory_pair
from tests.aio.distance import far_away


@pb.copier_for("tests.Score")
class Score(pb.Live, tag="tests.Score"):
    limit: ClassVar[int] = 10
    points: int = 0
    player: str
    _note: str = "stays here"


class Court(pb.Root):
    def __init__(self, score: pb.Live) -> None:
        self.score = score

    def remote_score(self) -> pb.Live:
        return self.score

    def remote_is_original(self, score: pb.Live) -> bool:
        return score is self.score


async def settle(pair: Pair) -> None:
    """Wait until the updates have been applied: the first one, and those that waited for its confirmation."""
    await pair.root.call("is_original", None)
    await pair.root.call("is_original", None)


async def test_an_assignment_reaches_every_replica() -> None:
    score = Score(player="alice")
    async with memory_pair(Court(score)) as pair:
        replica = await pair.root.call("score")
        assert replica is not score
        assert (replica.points, replica.player) == (0, "alice")
        score.points = 3
        score.player = "bob"
        await settle(pair)
        assert (replica.points, replica.player) == (3, "bob")
        assert await pair.root.call("score") is replica
        assert await pair.root.call("is_original", replica)


async def test_only_public_annotated_fields_cross() -> None:
    assert live_fields(Score) == {"points", "player"}
    score = Score(player="alice")
    score._note = "private"
    with pytest.raises(AttributeError, match="no field 'other'"):
        score.other = "no field"
    async with memory_pair(Court(score)) as pair:
        replica = await pair.root.call("score")
        assert not hasattr(replica, "other")
        assert replica._note == "stays here"


async def test_changes_are_iterated_in_order_and_end_with_the_connection() -> None:
    score = Score(player="alice")
    async with memory_pair(Court(score)) as pair:
        replica = await pair.root.call("score")
        seen: list[dict[str, Any]] = []

        async def watch() -> None:
            async for change in replica.changes():
                seen.append(dict(change.fields))

        watching = asyncio.create_task(watch())
        await asyncio.sleep(0)
        for points in (1, 2, 3):
            score.points = points
            await settle(pair)
    await watching
    assert seen == [{"points": 1}, {"points": 2}, {"points": 3}]


async def test_what_changes_while_an_update_is_on_its_way_is_merged() -> None:
    score = Score(player="alice")
    async with memory_pair(Court(score)) as pair:
        replica = await pair.root.call("score")
        changes = replica.changes()
        before = pair.accepted.statistics().calls_out
        for points in range(1, 1001):
            score.points = points
        score.player = "bob"
        await asyncio.sleep(0)
        assert pair.accepted.statistics().calls_out == before + 1
        await settle(pair)
        assert (replica.points, replica.player) == (1000, "bob")
        # A slow reader gets one change as well, with the last values, in the order of the last assignments.
        change = await anext(changes)
        assert list(change.fields.items()) == [("points", 1000), ("player", "bob")]


async def test_an_update_is_encoded_once_for_all_observers_that_get_the_same(
    dialect: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    encoded: list[object] = []
    encode = SharedArguments.encode

    def count(self: SharedArguments, key: Hashable, make: Callable[[], bytes]) -> bytes:
        encoded.append(key)
        return encode(self, key, make)

    monkeypatch.setattr(SharedArguments, "encode", count)
    score = Score(player="alice")
    async with pb.serve(Court(score), "memory:court"), AsyncExitStack() as stack:
        roots = [
            await stack.enter_async_context(pb.connect("memory:court", dialects=[dialect])) for _ in range(5)
        ]
        replicas = [await root.call("score") for root in roots]
        for points in (1, 2, 3):
            score.points = points
            for root in roots:
                await root.call("is_original", None)
            assert [replica.points for replica in replicas] == [points] * 5
            assert len(encoded) == points
        score.player = ["not plain"]  # type: ignore[assignment]
        for root in roots:
            await root.call("is_original", None)
        assert [replica.player for replica in replicas] == [["not plain"]] * 5
        assert len(encoded) == 3


@asynccontextmanager
async def watched(replica: Score) -> AsyncIterator[list[int]]:
    """Collect the values that the field ``points`` of a replica gets within the block."""
    seen: list[int] = []

    async def watch() -> None:
        async for change in replica.changes():
            seen.append(change.fields["points"])

    watching = asyncio.create_task(watch())
    try:
        yield seen
    finally:
        watching.cancel()
        await asyncio.wait([watching])


@pytest.mark.parametrize("loop_name", ["virtual"], indirect=True)
@pytest.mark.parametrize("seconds", [0, 0.1, 0.2])
async def test_a_replica_far_away_gets_every_update(dialect: str, seconds: float) -> None:
    score = Score(player="alice")
    async with (
        pb.serve(Court(score), "memory:near"),
        far_away("memory:near", "memory:far", seconds),
        pb.connect("memory:far", dialects=[dialect]) as root,
    ):
        replica = await root.call("score")
        async with watched(replica) as seen:
            for points in range(1, 150):
                score.points = points
                await asyncio.sleep(1 / 30)
            await asyncio.sleep(seconds + 0.01)
            assert seen == list(range(1, 150))


@pytest.mark.parametrize("loop_name", ["virtual"], indirect=True)
async def test_what_a_replica_cannot_follow_is_merged(dialect: str) -> None:
    score = Score(player="alice")
    async with (
        pb.serve(Court(score), "memory:near") as server,
        far_away("memory:near", "memory:far", 2),
        pb.connect("memory:far", dialects=[dialect]) as root,
        watched(await root.call("score")) as seen,
    ):
        for points in range(1, 1001):
            score.points = points
            await asyncio.sleep(0.001)
        assert server.connections[0].statistics().calls_out == WINDOW
        await asyncio.sleep(8)
        assert seen == [*range(1, WINDOW + 1), 1000]


async def test_a_dropped_replica_is_told_no_more() -> None:
    score = Score(player="alice")
    async with memory_pair(Court(score)) as pair:
        replica = await pair.root.call("score")
        assert len(score._feeds) == 1
        del replica
        gc.collect()
        await settle(pair)
        assert not score._feeds
        score.points = 1


async def test_a_lost_connection_ends_the_feed() -> None:
    score = Score(player="alice")
    async with memory_pair(Court(score)) as pair:
        replica = await pair.root.call("score")
    assert not score._feeds
    score.points = 5
    assert replica.points == 0
    with pytest.raises(StopAsyncIteration):
        await anext(replica.changes())


async def test_a_replica_refuses_assignments() -> None:
    async with memory_pair(Court(Score(player="alice"))) as pair:
        replica = await pair.root.call("score")
        with pytest.raises(AttributeError, match="follows its original"):
            replica.points = 1
        with pytest.raises(TypeError, match="only a replica"):
            Score(player="x").changes()


async def test_a_perspective_may_see_fewer_fields() -> None:
    class Hand(pb.Live, tag="tests.Score"):
        points: int = 1
        player: str = "hidden"

        def fields_for(self, perspective: Any) -> Collection[str]:
            return {"points"}

    hand = Hand()
    async with memory_pair(Court(hand)) as pair:
        replica = await pair.root.call("score")
        hand.player = "still hidden"
        hand.points = 2
        await settle(pair)
        assert replica.points == 2
        assert not hasattr(replica, "player")


class Unheard(pb.Copyable):
    """No class is registered for it anywhere."""


@pytest.mark.parametrize("value", [object(), Unheard()])
async def test_a_value_that_cannot_cross_ends_the_replicas(
    value: Any, dialect: str, caplog: pytest.LogCaptureFixture
) -> None:
    """A replica is either true or gone."""
    score = Score(player="alice")
    async with memory_pair(Court(score), dialects=[dialect]) as pair:
        replica = await pair.root.call("score")
        changes = replica.changes()
        score.points = value
        assert [change.fields async for change in changes] == []
        await settle(pair)
        assert "is given up: an update of its live object cannot cross" in caplog.text
        score.points = 7
        anew = await pair.root.call("score")
        assert anew is not replica
        assert (replica.points, anew.points) == (0, 7)
        score.points = 8
        await settle(pair)
        assert anew.points == 8
        assert [change.fields async for change in replica.changes()] == []  # begun when it is over already
        del replica, anew, changes
        await assert_no_leaks(pair.client, pair.accepted)


class Waiting(pb.Referenceable):
    async def remote_wait(self) -> None:
        await asyncio.Event().wait()


class Counter(Court):
    holder: pb.RemoteReference

    def remote_hold(self, holder: pb.RemoteReference) -> None:
        self.holder = holder


async def test_a_promise_that_is_given_up_ends_the_replicas_that_wait_for_it(
    dialect: str, caplog: pytest.LogCaptureFixture
) -> None:
    score: Any = Score(player="alice")
    counter = Counter(score)
    async with memory_pair(counter, dialects=[dialect]) as pair:
        replica = await pair.root.call("score")
        changes = replica.changes()
        await pair.root.call("hold", Waiting())
        score.points = promise = counter.holder.call("wait")
        await settle(pair)
        promise.cancel()
        assert [change.fields async for change in changes] == []
        assert "is given up: an update of its live object cannot cross" in caplog.text
        score.points = 7
        assert (await pair.root.call("score")).points == 7


def test_a_field_hides_nothing_that_live_objects_have() -> None:
    with pytest.raises(TypeError, match="Log cannot have a field 'changes'"):

        class Log(pb.Live):
            changes: int = 0  # type: ignore[assignment]


def test_fields_are_given_by_name() -> None:
    with pytest.raises(TypeError, match="no field 'size'"):
        Score(size=3)  # type: ignore[call-arg]
    score = Score(player="alice", points=2)
    with pytest.raises(AttributeError, match="cannot be deleted"):
        del score.points


# -- as strict as a dataclass


def test_a_mutable_default_is_refused() -> None:
    with pytest.raises(ValueError, match="mutable default <class 'list'> for field names is not allowed"):

        class Shared(pb.Live):
            names: list[str] = []

    with pytest.raises(ValueError, match="mutable default"):

        class SharedInAField(pb.Live):
            names: dict[str, int] = field(default={})


class Team(pb.Live):
    names: list[str] = field(default_factory=list)
    city: str = field(default="here")
    size: int

    @property
    def first(self) -> str:
        return self.names[0]

    @first.setter
    def first(self, name: str) -> None:
        self.names = [name, *self.names[1:]]


class Duo(Team):
    names: tuple[str, ...] = ()  # type: ignore[assignment]


class Trio(Duo):
    names: list[str] = field(default_factory=lambda: ["a", "b", "c"])  # type: ignore[assignment]


def test_defaults_are_made_for_each() -> None:
    one, two = Team(size=1), Team(size=2)
    one.names.append("ada")
    assert (one.names, two.names, two.city) == (["ada"], [], "here")
    assert not hasattr(Team, "names")
    assert Duo(size=2).names == ()
    assert Trio(size=3).names == ["a", "b", "c"]


def test_a_field_that_is_missing_is_refused() -> None:
    with pytest.raises(TypeError, match="Team needs the field 'size', which has no default"):
        Team()  # type: ignore[call-arg]
    with pytest.raises(TypeError, match="Score needs the field 'player'"):
        Score(points=3)  # type: ignore[call-arg]


def test_only_fields_are_assigned() -> None:
    team = Team(size=1)
    for name in ("sise", "changes", "get_state_to_copy"):
        with pytest.raises(AttributeError, match=f"Team has no field '{name}'"):
            setattr(team, name, 3)
    with pytest.raises(AttributeError, match="Score has no field 'limit'"):
        Score(player="x").limit = 3  # type: ignore[misc] # of the class
    team.first = "ada"
    team._private = 3
    assert (team.names, vars(team)["_private"]) == (["ada"], 3)


def test_what_is_no_field_is_no_base() -> None:
    with pytest.raises(TypeError, match="conflict"):
        type("Rows", (pb.Live, list), {})


def test_a_subclass_crosses_under_its_own_name() -> None:
    class Long(Score):
        length: int = 0

    assert Score(player="x").get_type_to_copy() == "tests.Score"
    assert Long(player="x").get_type_to_copy().endswith("Long")


async def test_what_is_assigned_in_a_row_arrives_at_once(dialect: str) -> None:
    score = Score(player="alice")
    async with memory_pair(Court(score), dialects=[dialect]) as pair:
        replica = await pair.root.call("score")
        seen: list[tuple[int, str]] = []

        async def watch() -> None:
            async for _ in replica.changes():
                seen.append((replica.points, replica.player))

        watching = asyncio.create_task(watch())
        await asyncio.sleep(0)
        for points, player in ((1, "bob"), (2, "carol")):
            score.points = points
            score.player = player
            await settle(pair)
        score.points = 3
        score.player = "dan"  # is still sent when the connection ends in order
        pair.accepted.end()
        await pair.client.wait_closed()
        await watching
    assert seen == [(1, "bob"), (2, "carol"), (3, "dan")]


class Referee(pb.Referenceable):
    def __init__(self) -> None:
        self.heard: list[Any] = []

    def remote_hear(self, score: Score) -> None:
        self.heard.append((score.points, score.player))


class Field(Court):
    def remote_play(self, referee: pb.RemoteReference) -> int:
        self.score.points = 1
        referee.tell("hear", self.score)
        self.score.player = "bob"
        self.score.points = 2
        return 7


async def test_what_is_sent_after_an_assignment_arrives_after_it(dialect: str) -> None:
    async with memory_pair(Field(Score(player="alice")), dialects=[dialect]) as pair:
        replica = await pair.root.call("score")
        referee = Referee()
        answer = pair.root.call("play", referee)
        states: list[Any] = []
        answer.add_done_callback(lambda _: states.append((replica.points, replica.player)))
        assert await answer == 7
        assert referee.heard == [(1, "alice")]
        await settle(pair)
        assert (replica.points, replica.player) == (2, "bob")


@pb.copier_for("tests.Roster")
class Roster(pb.Live, tag="tests.Roster"):
    names: list[str] = field(default_factory=list)


class Older(pb.Live, tag="tests.Roster"):
    """As an older program has it."""


async def test_a_field_that_an_older_original_lacks_has_its_default(dialect: str) -> None:
    async with memory_pair(Court(Older()), dialects=[dialect]) as pair:
        replica = await pair.root.call("score")
        assert replica.names == []


async def test_a_replica_is_not_passed_on() -> None:
    """Its updates would not reach a third program."""
    async with (
        memory_pair(Court(Score(player="alice"))) as pair,
        memory_pair(Court(Score(player="x"))) as third,
    ):
        replica = await pair.root.call("score")
        with pytest.raises(pb.SerializationError, match=r"^args\[0\]: a replica of a third program's object"):
            await third.root.call("is_original", replica)
