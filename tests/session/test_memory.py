"""Memory: all that this side keeps because of a peer is charged, with a limit for each peer and for a server."""

from __future__ import annotations

from typing import Any

import pytest

import perspective_broker as pb
from perspective_broker.session.memory import UNCHARGED, Memory, SharedMemory, at_most
from perspective_broker.testing import BrokerPair, Later

from .objects import Desk, make_pair

KIB = 1024
LARGE = 100 * KIB

#: Room for two calls of LARGE bytes, or a few more.
TIGHT = pb.Limits(memory_bytes=2 * LARGE)


def held(pair: BrokerPair) -> int:
    return pair.server.broker.memory.held


# -- accounts


def test_what_is_charged_is_charged_to_all_that_share_it() -> None:
    shared = SharedMemory(100)
    one, two = Memory(pb.Limits(), shared), Memory(pb.Limits(), shared)
    one.charge(60)
    two.charge(40)
    assert shared.is_full
    refusal = one.refusal()
    assert refusal is not None
    assert refusal.code == "busy"
    two.clear()
    assert shared.held == 60
    two.charge(-40)  # something ends after the connection
    assert (two.held, shared.held) == (0, 60)


def test_a_connection_has_a_bound_of_its_own() -> None:
    memory = Memory(pb.Limits(memory_bytes=100), None)
    memory.charge(99)
    assert memory.refusal() is None
    memory.charge(1)
    refusal = memory.refusal()
    assert refusal is not None
    assert refusal.code == "slots"
    assert "Limits.memory_bytes" in str(refusal)


def test_calls_leave_room_for_their_answers() -> None:
    memory = Memory(pb.Limits(memory_bytes=100), None)
    memory.charge(90)
    memory.leaves_unread(40)
    assert memory.is_full
    assert not memory.is_full_of_answers
    memory.leaves_unread(50)
    assert memory.is_full_of_answers


def test_what_is_unread_is_counted_once() -> None:
    memory = Memory(pb.Limits(), None)
    memory.charge(10)
    for unread in (100, 50, 0):
        memory.leaves_unread(unread)
        assert memory.held == 10 + unread


def test_short_calls_are_charged_more_than_their_bytes() -> None:
    assert at_most(2 * KIB) == 64 * KIB
    assert at_most(LARGE) == 0  # its weight has to be counted


# -- calls


@pytest.mark.parametrize(
    ("value", "least", "most"),
    [
        (b"x" * LARGE, LARGE, 2 * LARGE),
        ([[] for _ in range(20_000)], 20_000 * 64, 20_000 * 64 * 4),
        (["ab"] * 20_000, 20_000 * 60, 20_000 * 60 * 4),
        ([1.5] * 20_000, 20_000 * 32, 20_000 * 32 * 8),
    ],
    ids=["bytes", "lists", "texts", "numbers"],
)
def test_a_call_is_charged_the_objects_that_it_becomes(value: Any, least: int, most: int) -> None:
    desk = Desk()
    with make_pair(desk) as pair:
        waiting = pair.root.call("later", value)
        pair.run()
        assert least <= held(pair) <= most
        desk.later.pop().answer()
        pair.run()
        assert waiting.done
        assert held(pair) == 0


def test_small_calls_are_not_charged() -> None:
    desk = Desk()
    with make_pair(desk) as pair:
        pair.root.call("later", b"x" * (UNCHARGED // 2))
        pair.run()
        assert held(pair) == 0
        desk.later.pop().answer()
        pair.run()


def test_beyond_the_bound_large_calls_are_refused_and_small_ones_go_on() -> None:
    desk = Desk()
    with make_pair(desk, limits=TIGHT) as pair:
        large = [pair.root.call("later", b"x" * LARGE) for _ in range(5)]
        small = pair.root.call("echo", 1)
        pair.run()
        assert small.result() == 1
        refused = [outcome.error for outcome in large if outcome.done]
        assert refused
        for error in refused:
            assert isinstance(error, pb.Unavailable)
            assert (error.code, error.ran) == ("slots", False)
        while desk.later:
            desk.later.pop().answer()
        pair.run()
        assert held(pair) == 0
        again = pair.root.call("echo", b"x" * LARGE)
        pair.run()
        assert again.result() == b"x" * LARGE


def test_a_call_that_is_refused_gives_back_what_it_mentions() -> None:
    desk = Desk()
    with make_pair(desk, limits=TIGHT) as pair:
        for _ in range(5):
            pair.root.call("later", b"x" * LARGE, pb.Referenceable())
        pair.run()
        while desk.later:
            desk.later.pop().answer()
        pair.run()  # and make_pair checks the tables


def test_the_end_of_a_connection_gives_everything_back() -> None:
    shared = SharedMemory(1 << 40)
    desk = Desk()
    pair = make_pair(desk)
    with pair:
        pair.server.broker.memory._shared = shared
        pair.root.call("later", b"x" * LARGE)
        pair.run()
        assert shared.held >= LARGE
        pair.client.broker.close()
        pair.run()
        assert shared.held == 0
        desk.later.clear()


# -- answers that the peer does not read


class Source(pb.Root):
    """A root whose method answers large values when a test makes it."""

    def __init__(self) -> None:
        self.later: list[Later] = []

    def remote_much(self) -> Later:
        self.later.append(Later())
        return self.later[-1]


def test_answers_that_nobody_reads_are_kept_up_to_the_bound() -> None:
    source = Source()
    limits = pb.Limits(memory_bytes=5 * LARGE, write_buffer_high=KIB, write_buffer_low=KIB)
    with make_pair(source, limits=limits) as pair:
        outcomes = [pair.root.call("much") for _ in range(50)]
        pair.run()
        pair.server.set_blocked(True)
        for later in source.later:
            later.answer(b"x" * LARGE)
        assert pair.server.broker.statistics().bytes_buffered < 7 * LARGE
        pair.server.set_blocked(False)
        pair.run()
        answered = [outcome for outcome in outcomes if outcome.error is None]
        assert 5 <= len(answered) <= 7
        for outcome in outcomes:
            assert outcome.done
            if outcome.error is not None:
                assert isinstance(outcome.error, pb.RemoteError)
                assert outcome.error.ran is True
                assert "Limits.memory_bytes" in str(outcome.error)
        assert held(pair) == 0
        source.later.clear()


def test_the_more_is_unread_the_sooner_a_peer_that_reads_nothing_is_given_up() -> None:
    source = Source()
    with make_pair(source) as pair:
        for _ in range(64):
            pair.root.call("much")
        pair.run()
        pair.server.set_blocked(True)
        began = pair.clock.now
        for later in source.later:
            later.answer(b"x" * (512 * KIB - 100))
        due = pair.server.broker.next_deadline()
        assert due is not None
        assert due - began == pytest.approx(30 / 4, rel=0.1)  # 32 MiB instead of 8
        pair.server.set_blocked(False)
        pair.run()
        source.later.clear()


# -- our own calls


def test_calls_that_wait_for_a_peer_that_never_answers_are_bounded() -> None:
    desk = Desk()
    limits = pb.Limits(calls_in_flight=1, memory_bytes=10 * LARGE)
    with make_pair(desk, client_limits=limits) as pair:
        outcomes = [pair.root.call("later", b"x" * LARGE) for _ in range(20)]
        pair.run()
        refused = [outcome for outcome in outcomes if outcome.done]
        assert len(refused) in (8, 9)
        for outcome in refused:
            assert isinstance(outcome.error, pb.LimitExceeded)
            assert outcome.error.ran is False
            assert "Limits.memory_bytes" in str(outcome.error)
        while not all(outcome.done for outcome in outcomes):
            desk.later.pop().answer()
            pair.run()
