"""Deadlines of the peer's calls, with time as an argument: which are due, and how a call that is due ends."""

from __future__ import annotations

import random
from typing import Any

import pytest

import perspective_broker as pb
from perspective_broker import Limits
from perspective_broker.errors import DeadlineExceeded
from perspective_broker.session.expiry import Expiry
from perspective_broker.session.incoming_call import IncomingCall
from perspective_broker.testing import BrokerPair, Later, Outcome

from .objects import Desk, Thing, make_pair


class At:
    """A deadline by the clock of a pair."""

    def __init__(self, pair: BrokerPair, seconds: float) -> None:
        self.clock = pair.clock
        self.when = pair.clock.now + seconds

    def left(self) -> float:
        return self.when - self.clock.now


def call_within(pair: BrokerPair, seconds: float, name: str, *args: Any) -> Outcome:
    """Call a method of the server's root with a deadline of that many seconds."""
    pair.client.deadline = At(pair, seconds)
    try:
        return pair.root.call(name, *args)
    finally:
        pair.client.deadline = None


# -- which are due


def test_calls_are_due_in_the_order_of_their_deadlines_whatever_the_order_they_came_in() -> None:
    for seed in range(50):
        rng = random.Random(seed)
        expiry = Expiry()
        times = {IncomingCall(n, "x", True, 1): float(rng.randrange(100)) for n in range(20)}
        for call, due in times.items():
            expiry.add(call, due)
        for ended in rng.sample(list(times), 8):
            expiry.remove(ended)
            del times[ended]
        now = 0.0
        while times:
            look_at = expiry.next()
            assert look_at is not None
            assert look_at <= min(times.values())
            now = max(now + 1, look_at)
            due_now = {call for call, due in times.items() if due <= now}
            assert set(expiry.take(now)) == due_now
            for call in due_now:
                del times[call]
        assert expiry.next() is None
        assert expiry.take(1e9) == []


def test_what_has_ended_twice_or_had_no_deadline_does_not_matter() -> None:
    expiry = Expiry()
    call = IncomingCall(1, "x", True, 1)
    expiry.add(call, 5.0)
    expiry.remove(call)
    expiry.remove(call)
    assert len(expiry) == 0
    expiry.add(call, 9.0)
    assert expiry.next() == 9.0  # not the deadline of the earlier call
    expiry.clear()
    assert expiry.next() is None


# -- how a call ends


@pytest.mark.modern
def test_a_method_is_stopped_when_its_time_has_passed_though_no_cancel_comes() -> None:
    desk = Desk()
    with make_pair(desk) as pair:
        outcome = call_within(pair, 2, "later")
        pair.run()
        (later,) = desk.later
        pair.advance(1.99)
        assert not later.cancelled
        pair.advance(0.01)
        assert later.cancelled
        later.fail(GeneratorExit())  # a BaseException, as when a driver stops a method
        pair.run()
        with pytest.raises(TimeoutError):
            outcome.result()
        with pytest.raises(pb.DeadlineExceeded):
            outcome.result()


@pytest.mark.modern
def test_a_method_that_ends_well_or_badly_all_the_same_is_answered_so() -> None:
    desk = Desk()
    with make_pair(desk) as pair:
        well, badly = call_within(pair, 1, "later"), call_within(pair, 1, "later")
        pair.run()
        pair.advance(1)
        desk.later[0].answer("in the nick of time")
        desk.later[1].fail(pb.Error("while it cleaned up"))
        pair.run()
        assert well.result() == "in the nick of time"
        with pytest.raises(pb.RemoteError, match="while it cleaned up"):
            badly.result()


@pytest.mark.modern
def test_a_method_is_stopped_once_whoever_stops_it_first() -> None:
    class Counted(Later):
        stopped = 0

        def __setattr__(self, name: str, value: Any) -> None:
            if name == "cancelled" and value:
                self.stopped += 1
            super().__setattr__(name, value)

    class Counting(Desk):
        def remote_later(self, *things: Any) -> Later:
            self.later.append(Counted())
            return self.later[-1]

    desk = Counting()
    with make_pair(desk) as pair:
        for cancel_first in (True, False):
            outcome = call_within(pair, 1, "later")
            pair.run()
            later = desk.later.pop()
            assert isinstance(later, Counted)
            steps = [lambda o=outcome: o.cancel(), lambda: pair.advance(1)]  # type: ignore[misc]
            for step in steps if cancel_first else reversed(steps):
                step()
                pair.run()
            outcome.cancel()
            pair.run()
            assert later.stopped == 1
            later.fail(GeneratorExit())
            pair.run()
            assert outcome.done


@pytest.mark.modern
def test_a_call_that_waits_for_a_slot_never_begins_and_what_is_behind_it_does() -> None:
    desk = Desk()
    with make_pair(desk, limits=Limits(calls_in_flight=1), client_limits=Limits()) as pair:
        first = pair.root.call("later")
        waiting = call_within(pair, 1, "keep", Thing())
        behind = pair.root.call("echo", "behind")
        pair.run()
        pair.advance(1)
        pair.run()
        with pytest.raises(pb.DeadlineExceeded, match="before it began"):
            waiting.result()
        desk.later[0].answer(1)
        pair.run()
        assert (first.result(), behind.result()) == (1, "behind")
        assert desk.kept == []


@pytest.mark.modern
def test_calls_that_depend_on_an_answer_never_begin_when_their_time_has_passed() -> None:
    desk = Desk()
    with make_pair(desk) as pair:
        first = pair.root.call("later")
        hanging = call_within(pair, 1, "keep", Thing(), first)
        as_late = call_within(pair, 1, "keep", Thing(), first)
        behind = pair.root.call("echo", "behind")
        pair.run()
        assert behind.result() == "behind"
        pair.advance(1)
        pair.run()
        for late in (hanging, as_late):
            with pytest.raises(pb.DeadlineExceeded):
                late.result()
        desk.later[0].answer(1)
        pair.run()
        assert first.result() == 1
        assert desk.kept == []


@pytest.mark.modern
def test_calls_on_an_answer_take_the_deadline_with_them() -> None:
    class Maker(Desk):
        def remote_make(self) -> Desk:
            return desk

    desk = Desk()
    with make_pair(Maker()) as pair:
        pair.client.deadline = At(pair, 1)
        outcome = pair.root.call("make").call("later")
        pair.client.deadline = None
        pair.run()
        pair.advance(1)
        assert desk.later[0].cancelled
        desk.later[0].fail(GeneratorExit())
        pair.run()
        with pytest.raises(TimeoutError):
            outcome.result()
        del outcome


def test_a_call_that_is_made_too_late_is_not_sent() -> None:
    with make_pair() as pair:
        sent = pair.client.broker.statistics().bytes_sent
        late = call_within(pair, 0, "keep", Thing())
        chained = late.call("anything")
        pair.run()
        for outcome in (late, chained):
            with pytest.raises(DeadlineExceeded, match="before it was made"):
                outcome.result()
        assert pair.client.broker.statistics().bytes_sent == sent


@pytest.mark.classic
def test_a_classic_peer_is_told_nothing() -> None:
    desk = Desk()
    with make_pair(desk) as pair:
        outcome = call_within(pair, 1, "later")
        pair.run()
        pair.advance(5)
        assert not desk.later[0].cancelled
        desk.later[0].answer("late")
        pair.run()
        assert outcome.result() == "late"


@pytest.mark.modern
def test_time_that_a_call_waits_here_is_taken_off() -> None:
    """A call waits for a promise to which it cannot refer; the time that is left is encoded when the call is sent."""
    desk = Desk()
    with make_pair(desk) as pair:
        first = pair.root.call("later")
        pair.run()  # it was sent without KEEP_ANSWER
        outcome = call_within(pair, 3, "later", first)
        pair.run()
        pair.advance(2)
        desk.later[0].answer(1)
        pair.run()
        assert len(desk.later) == 2
        pair.advance(0.99)
        assert not desk.later[1].cancelled
        pair.advance(0.01)
        assert desk.later[1].cancelled
        desk.later[1].fail(GeneratorExit())
        pair.run()
        assert outcome.done


@pytest.mark.modern
def test_the_end_of_the_connection_forgets_deadlines() -> None:
    desk = Desk()
    pair = make_pair(desk)
    call_within(pair, 1, "later")
    pair.run()
    assert pair.server.broker.next_deadline() == pair.clock.now + 1
    pair.link.cut()
    assert pair.server.broker.next_deadline() is None
    assert len(pair.server.broker.answers.expiry) == 0


@pytest.mark.modern
def test_a_call_that_has_ended_leaves_no_deadline() -> None:
    with make_pair() as pair:
        assert [call_within(pair, 1, "echo", n) for n in range(3)]
        pair.run()
        assert len(pair.server.broker.answers.expiry) == 0
