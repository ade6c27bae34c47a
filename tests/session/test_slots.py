"""Slots and windows: no deadlock between methods that wait only for calls of their own, and an end to all others."""

from __future__ import annotations

import gc
import logging
from typing import Any

import pytest

import perspective_broker as pb
from perspective_broker.testing import BrokerPair, Later

from .objects import Counter, Node, Thing, ended_by, make_pair


def limits_of(whose: str, limits: pb.Limits) -> dict[str, pb.Limits]:
    """Return the limits of both sides; one of them, "server" or "client", has limits of its own."""
    usual = pb.Limits()
    server, client = (limits, usual) if whose == "server" else (usual, limits)
    return {"limits": server, "client_limits": client}


class Shop(Node):
    """A root whose methods call back, and are called again by those calls."""

    def remote_order(self, customer: Any, number: int) -> Later:
        return ended_by(customer.call("confirm", self, number))

    def remote_price(self, number: int) -> int:
        return number

    def remote_ask(self, customer: Any) -> Later:
        return ended_by(customer.call("later"))

    def remote_down(self, number: int, other: Any) -> Any:
        return number if number == 0 else ended_by(other.call("down", number - 1, self))

    def remote_chain(self, customer: Any, number: int) -> Later:
        """The same by calls that depend on each other."""
        return ended_by(customer.call("child").call("mark", customer.call("confirm", self, number)))

    def remote_spread(self, customer: Any, number: int) -> Later:
        """Wait for many calls at once."""
        outcomes = [customer.call("confirm", self, n) for n in range(number)]
        later = Later()

        def end() -> None:
            if all(outcome.done for outcome in outcomes):
                later.answer([outcome.value for outcome in outcomes])

        for outcome in outcomes:
            outcome.when_done = end
        return later


class Customer(Node):
    def remote_confirm(self, shop: Any, number: int) -> Later:
        return ended_by(shop.call("price", number))

    def remote_down(self, number: int, other: Any) -> Any:
        return number if number == 0 else ended_by(other.call("down", number - 1, self))


def waits(pair: BrokerPair, seconds: float, step: float = 10) -> None:
    """Let time pass in steps, in each of which both ends hear from each other."""
    while seconds > 0:
        pair.advance(min(step, seconds))
        pair.run()
        seconds -= step


SMALL = [(1, 1), (1, 1024), (1024, 1), (4, 1024), (2, 3)]


@pytest.mark.parametrize("limits", SMALL, ids=str)
@pytest.mark.parametrize("method", ["order", "chain"])
@pytest.mark.parametrize("number", [1, 13, 60])
def test_methods_that_call_back_end_whatever_the_limits(
    limits: tuple[int, int], method: str, number: int
) -> None:
    server, client = (pb.Limits(calls_in_flight=calls) for calls in limits)
    with make_pair(Shop(), limits=server, client_limits=client) as pair:
        customer = Customer()
        outcomes = [pair.root.call(method, customer, n) for n in range(number)]
        pair.run()
        assert all(outcome.done for outcome in outcomes)
        if method == "order":
            assert [outcome.result() for outcome in outcomes] == list(range(number))
        outcomes.clear()


@pytest.mark.parametrize("limits", SMALL, ids=str)
def test_one_call_may_go_as_deep_as_it_likes(limits: tuple[int, int]) -> None:
    server, client = (pb.Limits(calls_in_flight=calls) for calls in limits)
    with make_pair(Shop(), limits=server, client_limits=client) as pair:
        outcomes = [pair.root.call("down", 40, Customer()) for _ in range(3)]
        pair.run()
        assert [outcome.result() for outcome in outcomes] == [0, 0, 0]


@pytest.mark.parametrize("limits", SMALL, ids=str)
def test_methods_may_wait_for_many_calls(limits: tuple[int, int]) -> None:
    server, client = (pb.Limits(calls_in_flight=calls) for calls in limits)
    with make_pair(Shop(), limits=server, client_limits=client) as pair:
        outcomes = [pair.root.call("spread", Customer(), 7) for _ in range(5)]
        pair.run()
        assert [outcome.result() for outcome in outcomes] == [list(range(7))] * 5


@pytest.mark.parametrize("size", [100, 5000])
def test_methods_that_call_back_with_more_bytes_than_the_window_end(size: int) -> None:
    limits = pb.Limits(window_bytes=1000)
    with make_pair(Shop(), limits=limits) as pair:
        outcomes = [pair.root.call("order", Customer(), b"x" * size) for _ in range(30)]
        pair.run()
        assert [outcome.result() for outcome in outcomes] == [b"x" * size] * 30


# -- releases do not wait


class Lock(Node):
    """A lock that its holder frees by dropping the reference."""

    def __init__(self) -> None:
        super().__init__()
        self.is_held = False
        self.queue: list[Later] = []

    def remote_acquire(self) -> Any:
        if self.is_held:
            self.queue.append(Later())
            return self.queue[-1]
        self.is_held = True
        return Held(self)

    def free(self) -> None:
        self.is_held = False
        if self.queue:
            self.is_held = True
            self.queue.pop(0).answer(Held(self))


class Held(pb.Referenceable):
    def __init__(self, lock: Lock) -> None:
        self.lock = lock

    def remote_mark(self, mark: Any, *things: Any) -> Any:
        self.lock.log.append(mark)
        return mark

    def forgotten(self) -> None:
        self.lock.free()


@pytest.mark.parametrize("calls", [1, 2, 3, 1024])
@pytest.mark.parametrize("whose", ["client", "server"])
def test_a_lock_is_freed_by_dropping_its_reference_behind_calls_that_wait_for_it(
    calls: int, whose: str
) -> None:
    limits = pb.Limits(calls_in_flight=calls, stalled_seconds=None)
    lock = Lock()
    with make_pair(
        lock,
        **limits_of(whose, limits),
    ) as pair:
        held = [pair.call("acquire")]
        second = pair.root.call("acquire")
        called = second.call("mark", 1)
        behind = [pair.root.call("mark", 2), pair.root.call("mark", 3, called)]
        pair.run()
        assert not called.done
        held.clear()
        gc.collect()
        pair.run()
        assert called.result() == 1
        assert [outcome.result() for outcome in behind] == [2, 3]
        del second


@pytest.mark.parametrize("explicit", [False, True])
def test_a_release_behind_a_queue_without_room_leaves_at_once(explicit: bool) -> None:
    lock = Lock()
    with make_pair(lock, client_limits=pb.Limits(calls_in_flight=2, stalled_seconds=None)) as pair:
        held = [pair.call("acquire")]
        waiting = [pair.root.call("acquire"), pair.root.call("later"), pair.root.call("mark", "no room")]
        pair.run()
        assert pair.client.broker.statistics().calls_held == 1
        if explicit:
            held[0].release()
        held.clear()
        gc.collect()
        pair.run()
        assert waiting[0].done
        assert lock.log == ["no room"]
        lock.later[0].answer()
        waiting.clear()


def test_a_release_stays_behind_a_queued_call_that_needs_the_reference() -> None:
    node = Node()
    with make_pair(node, client_limits=pb.Limits(calls_in_flight=1)) as pair:
        child = pair.call("child")
        blocker = pair.root.call("later")
        queued = [child.call("mark", 1), pair.root.call("same", [child])]
        child.release()
        del child
        gc.collect()
        pair.run()
        assert pair.server.broker.statistics().exported == 1
        node.later[0].answer()
        pair.run()
        assert queued[0].result() == 1
        assert queued[1].done
        assert blocker.done
        queued.clear()


# -- bounds


def test_methods_in_lent_slots_are_bounded() -> None:
    customer = Node()
    with make_pair(
        Shop(), limits=pb.Limits(calls_in_flight=1, calls_begun=3), client_limits=pb.Limits()
    ) as pair:
        asked = [pair.root.call("ask", customer) for _ in range(5)]
        pair.run()
        assert len(customer.later) == 3
        for outcome in asked[3:]:
            assert isinstance(outcome.error, pb.Unavailable)
            assert outcome.error.code == "slots"
            assert "Limits.calls_begun" in str(outcome.error)
            assert outcome.error.ran is False
        assert not any(outcome.done for outcome in asked[:3])
        while customer.later:
            customer.later.pop().answer("asked")
        pair.run()
        assert [outcome.result() for outcome in asked[:3]] == ["asked"] * 3
        again = pair.root.call("price", 1)
        pair.run()
        assert again.result() == 1
        asked.clear()


def test_a_recursion_without_an_end_ends() -> None:
    limits = pb.Limits(calls_in_flight=2, calls_begun=20)
    with make_pair(Shop(), limits=limits) as pair:
        outcome = pair.root.call("down", -1, Customer())
        pair.run()
        assert isinstance(outcome.error, pb.RemoteError)
        assert outcome.error.ran is True
        assert outcome.error.check(pb.Unavailable)
        del outcome


STALLED = pb.Limits(calls_in_flight=1, stalled_seconds=60)


def test_a_call_that_stands_first_in_line_while_nothing_moves_is_refused() -> None:
    node = Node()
    with make_pair(node, limits=STALLED, client_limits=pb.Limits()) as pair:
        runs = pair.root.call("later")
        outcomes = [pair.root.call("mark", 1), pair.root.call("mark", 2)]
        pair.run()
        waits(pair, 50)
        assert not any(outcome.done for outcome in outcomes)
        waits(pair, 40)
        error = outcomes[0].error
        assert isinstance(error, pb.Unavailable)
        assert error.code == "slots"
        assert error.ran is False
        assert "calls_in_flight: 1 calls are under way" in str(error)
        assert not outcomes[1].done
        assert not runs.done
        node.later[0].answer("late")
        pair.run()
        assert runs.result() == "late"
        assert outcomes[1].result() == 2
        assert node.log == [2]
        del error
        outcomes.clear()


def test_a_line_that_moves_is_no_standstill() -> None:
    node = Node()
    with make_pair(node, limits=STALLED, client_limits=pb.Limits()) as pair:
        outcomes = [pair.root.call("later") for _ in range(6)]
        for _ in outcomes:
            pair.run()
            waits(pair, 50)
            node.later.pop().answer("ok")
        pair.run()
        assert [outcome.result() for outcome in outcomes] == ["ok"] * 6


def test_a_call_that_stands_first_in_the_queue_while_nothing_moves_ends_unsent() -> None:
    node = Node()
    with make_pair(node, client_limits=STALLED, limits=pb.Limits()) as pair:
        runs, first = pair.root.call("later"), pair.root.call("child", 1)
        below = [first.call("mark", 2), pair.root.call("take", [first], Thing())]
        second = pair.root.call("mark", 3)
        pair.run()
        waits(pair, 50)
        assert not first.done
        waits(pair, 40)
        for outcome in (first, *below):
            assert isinstance(outcome.error, pb.LimitExceeded)
            assert "Limits.stalled_seconds" in str(outcome.error)
            assert outcome.error.ran is False
        assert not second.done
        node.later[0].answer("late")
        pair.run()
        assert runs.result() == "late"
        assert second.result() == 3
        assert node.log == [3]
        below.clear()
        del first, outcome


def test_one_way_calls_in_the_queue_are_ended_with_what_they_depend_on() -> None:
    node = Node()
    with make_pair(node, client_limits=STALLED, limits=pb.Limits()) as pair:
        runs, first = pair.root.call("later"), pair.root.call("child", 1)
        first.tell("mark", 2)
        pair.root.tell("mark", 3)
        pair.run()
        waits(pair, 90)
        assert isinstance(first.error, pb.LimitExceeded)
        assert node.log == [3]
        node.later[0].answer()
        pair.run()
        assert runs.done
        del first


@pytest.mark.parametrize("whose", ["client", "server"])
def test_without_stalled_seconds_calls_wait_for_ever(whose: str) -> None:
    never = pb.Limits(calls_in_flight=1, stalled_seconds=None)
    node = Node()
    with make_pair(
        node,
        **limits_of(whose, never),
    ) as pair:
        runs, outcome = pair.root.call("later"), pair.root.call("mark", 1)
        pair.run()
        waits(pair, 2000)
        assert not outcome.done
        node.later[0].answer()
        pair.run()
        assert outcome.result() == 1
        assert runs.done


def test_that_calls_wait_is_logged_once(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "perspective_broker")
    node = Node()
    with make_pair(node, client_limits=pb.Limits(calls_in_flight=1)) as pair:

        def lines() -> int:
            return sum("calls wait here until others are answered" in line.message for line in caplog.records)

        pair.root.call("mark", 1)
        pair.run()
        assert lines() == 0
        for _ in range(3):
            outcomes = [pair.root.call("mark", n) for n in range(5)]
            assert lines() == 1
            pair.run()
            assert all(outcome.done for outcome in outcomes)


def test_messages_and_updates_take_no_slot() -> None:
    node = Node()
    with make_pair(node, limits=pb.Limits(calls_in_flight=1), client_limits=pb.Limits()) as pair:
        counter = Counter(n=0)
        pair.root.call("take", counter)
        blocker = pair.root.call("later")
        counter.set("n", 1)
        pair.run()
        assert node.held[0].numbers == {"n": 1}
        node.later[0].answer()
        pair.run()
        assert blocker.done
        node.held.clear()
        node.log.clear()
