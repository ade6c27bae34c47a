"""The statistics of a connection in every phase."""

from __future__ import annotations

import dataclasses

import pytest

import perspective_broker as pb

from .objects import Counter, Desk, Thing, make_pair


def test_it_is_a_frozen_record_of_one_moment() -> None:
    with make_pair() as pair:
        before = pair.client.broker.statistics()
        with pytest.raises(dataclasses.FrozenInstanceError):
            before.calls_out = 1  # type: ignore[misc]
        pair.root.call("later")
        assert before.calls_out == 0
        assert pair.client.broker.statistics().calls_out == 1
        pair.link.cut()


def test_the_phases_have_their_names(dialect: str) -> None:
    with make_pair(established=False) as pair:
        broker = pair.server.broker
        phases = [broker.statistics().phase]
        assert broker.statistics().dialect == ""
        pair.run()
        phases.append(broker.statistics().phase)
        assert broker.statistics().dialect == dialect
        broker.drain()
        phases.append(broker.statistics().phase)
        broker.close()
        phases.append(broker.statistics().phase)
        assert phases == ["negotiating", "open", "draining", "closed"]


def test_both_sides_count_the_same_things() -> None:
    desk = Desk()
    with make_pair(desk, limits=pb.Limits(calls_in_flight=2)) as pair:
        pair.call("keep", Thing(), Thing(), Counter(a=1))
        outcomes = [pair.root.call("later") for _ in range(3)]
        ours, theirs = pair.client.broker.statistics(), pair.server.broker.statistics()
        assert (ours.calls_out, ours.calls_held) == (3, 1)
        assert ours.bytes_buffered > 0
        pair.run()
        ours, theirs = pair.client.broker.statistics(), pair.server.broker.statistics()
        assert (ours.exported, ours.observed) == (theirs.imported, theirs.replicas) == (2, 1)
        assert theirs.calls_in == 2
        assert ours.bytes_sent == theirs.bytes_received > 0
        assert theirs.bytes_sent == ours.bytes_received > 0
        assert ours.bytes_buffered == theirs.bytes_buffered == 0
        while desk.later:
            desk.later.pop(0).answer()
            pair.run()
        assert all(outcome.done for outcome in outcomes)
        desk.kept.clear()
