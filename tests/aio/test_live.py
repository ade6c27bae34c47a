"""pb.Live: assignments reach every replica, in order, and a slow one costs no memory."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import Collection
from typing import Any, ClassVar

import pytest

import perspective_broker as pb
from perspective_broker.aio.live import live_fields
from perspective_broker.testing import Pair, assert_no_leaks, memory_pair


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
    """Wait until what was told has been followed: the first update, and all that waited until it was taken."""
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
        assert pair.accepted.statistics().calls_out == before + 1
        await settle(pair)
        assert (replica.points, replica.player) == (1000, "bob")
        # One change as well for who reads slowly, with the last values, in the order of the last assignments.
        change = await anext(changes)
        assert list(change.fields.items()) == [("points", 1000), ("player", "bob")]


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
