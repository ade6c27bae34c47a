"""An answer as an argument, as if the caller had sent it back; a waiting call keeps all to which it refers."""

from __future__ import annotations

import gc
from typing import Any

import pytest

import perspective_broker as pb
from perspective_broker.testing import BrokerPair

from .objects import Counter, CounterReplica, Hooked, HookedCopy, Node, Thing, make_pair


class Keeper(Node):
    """A node whose methods return an object of its own."""

    def __init__(self, value: Any = None) -> None:
        super().__init__()
        self.value = value

    def remote_value(self) -> Any:
        return self.value

    def remote_grow(self, things: list[Any]) -> int:
        things.append("grown")
        return len(things)


def kept(pair: BrokerPair) -> int:
    return pair.server.broker.statistics().answers_kept


def settle(pair: BrokerPair, *owners: list[Any]) -> None:
    """Forget what a test has kept, so that the leak check sees only what the library holds."""
    for things in owners:
        things.clear()
    gc.collect()
    pair.run()


# -- an answer as an argument


def test_each_mention_is_a_value_of_its_own() -> None:
    node = Keeper([1, [2]])
    with make_pair(node) as pair:
        value = pair.root.call("value")
        taken = [
            pair.root.call("grow", value),
            pair.root.call("grow", value),
            pair.root.call("take", value, value),
        ]
        pair.run()
        assert [outcome.result() for outcome in taken[:2]] == [3, 3]
        assert node.value == [1, [2]]
        first, second = node.held
        assert first == second == [1, [2]]
        assert first is not node.value
        assert first[1] is not node.value[1]
        if pair.client.broker.dialect.name == "pb7":  # the classic dialect sends one list twice as one list
            assert first is not second
            assert first[1] is not second[1]
        settle(pair, node.log, node.held)


def test_an_answer_is_what_it_was_when_it_was_given() -> None:
    node = Keeper([1])
    with make_pair(node) as pair:
        value, slow = pair.root.call("value"), pair.root.call("later")
        taken = pair.root.call("take", value, slow)
        pair.run()
        node.value.append(2)
        node.later[0].answer(0)
        pair.run()
        assert taken.result() == [[1], 0]
        settle(pair, node.log, node.held)


@pytest.mark.parametrize("value", [None, True, False, 0, 1.5, "text", b"bytes", "", [], {}], ids=repr)
def test_a_plain_answer_is_the_same_value(value: Any) -> None:
    node = Keeper(value)
    with make_pair(node) as pair:
        taken = pair.root.call("take", pair.root.call("value"), [pair.root.call("value")])
        pair.run()
        assert taken.result() == [value, [value]]
        assert type(node.held[0]) is type(value)
        settle(pair, node.log, node.held)


@pytest.mark.modern
def test_a_copyable_shows_its_state_alone_and_only_once() -> None:
    asked: list[int] = []

    def hook() -> int:
        asked.append(1)
        return len(asked)

    node = Keeper(Hooked(hook))
    with make_pair(node) as pair:
        value = pair.root.call("value")
        pair.root.call("take", value)
        pair.root.call("take", [value])
        pair.run()
        first, [second] = node.held
        assert type(first) is type(second) is HookedCopy
        assert first is not second
        assert (first.value, second.value) == (1, 1)
        assert not hasattr(first, "hook")
        settle(pair, node.log, node.held)


def test_the_callees_objects_are_themselves() -> None:
    thing = Thing("mine")
    node = Keeper({"things": [thing, thing]})
    with make_pair(node) as pair:
        pair.root.call("take", pair.root.call("value"))
        pair.run()
        [held] = node.held
        assert held["things"][0] is held["things"][1] is thing
        settle(pair, node.log, node.held)


def test_the_callers_objects_are_references_to_them() -> None:
    node = Node()
    with make_pair(node) as pair:
        mine = Thing("mine")
        same = pair.root.call("same", [mine])
        pair.root.call("take", same, pair.root.call("same", mine))
        pair.run()
        [[reference], other] = node.held
        assert reference is other
        name = reference.call("name")
        pair.run()
        assert name.result() == "mine"
        del reference, other, name
        settle(pair, node.log, node.held)


def test_a_cacheable_of_the_callees_is_the_original() -> None:
    counter = Counter(n=1)
    node = Keeper([counter])
    with make_pair(node) as pair:
        pair.root.call("take", pair.root.call("value"))
        pair.run()
        assert node.held[0][0] is counter
        settle(pair, node.log, node.held)
    assert counter.observers == []


def test_a_replica_at_the_callee_is_that_replica() -> None:
    node = Node()
    with make_pair(node) as pair:
        counter = Counter(n=1)
        pair.root.call("take", counter)
        pair.run()
        pair.root.call("take", pair.root.call("same", [counter]))
        pair.run()
        replica, [again] = node.held
        assert type(replica) is CounterReplica
        assert replica is again
        del replica, again
        settle(pair, node.log, node.held)
    assert counter.observers == []


@pytest.mark.modern
def test_mentions_that_are_larger_than_a_message_together_fail_that_call_alone() -> None:
    node = Keeper(b"x" * 600)
    limits = pb.Limits(message_bytes=1000, large_string_bytes=1000)
    with make_pair(node, limits=limits, client_limits=pb.Limits()) as pair:
        value = pair.root.call("value")
        once, twice = pair.root.call("take", value), pair.root.call("take", value, value)
        after = pair.root.call("mark", "after")
        pair.run()
        assert once.done
        assert isinstance(twice.error, pb.DecodeError)
        assert twice.error.ran is False
        assert after.result() == "after"
        assert node.log == [(b"x" * 600,), "after"]


# -- forgetting


def test_an_answer_is_forgotten_while_a_call_that_mentions_it_waits_for_another() -> None:
    node = Keeper([1])
    with make_pair(node) as pair:
        value, slow = pair.root.call("value"), pair.root.call("later")
        taken = pair.root.call("take", value, slow)
        pair.run()
        assert value.done
        assert not taken.done
        assert kept(pair) <= 1  # the other one
        node.later[0].answer(2)
        pair.run()
        assert taken.result() == [[1], 2]
        assert kept(pair) == 0
        settle(pair, node.log, node.held)


@pytest.mark.modern
def test_an_answer_that_a_queued_call_mentions_is_forgotten_behind_it() -> None:
    node = Keeper([1])
    with make_pair(node, client_limits=pb.Limits(calls_in_flight=1)) as pair:
        blocker, value = pair.root.call("later"), pair.root.call("value")
        taken = pair.root.call("take", value)
        pair.run()
        assert pair.client.broker.statistics().calls_held == 2
        node.later[0].answer()
        pair.run()
        assert taken.result() == [[1]]
        assert blocker.done
        assert kept(pair) == 0
        settle(pair, node.log, node.held)


@pytest.mark.parametrize("how", ["cancel", "fail", "cut"])
def test_nothing_is_kept_of_what_ends_otherwise(how: str) -> None:
    node = Keeper([Thing()])
    with make_pair(node) as pair:
        slow = pair.root.call("later")
        outcomes = [slow.call("child"), pair.root.call("take", slow, pair.root.call("value"))]
        pair.run()
        if how == "cancel":
            slow.cancel()
            pair.run()
            node.later[0].answer(node)
        elif how == "fail":
            node.later[0].fail(pb.Error("no"))
        else:
            pair.link.cut()
        pair.run()
        assert all(outcome.error for outcome in outcomes)
        outcomes.clear()
        del slow
        settle(pair, node.log, node.held)
        assert kept(pair) == 0


# -- a call that waits keeps all to which it refers


def test_a_cacheable_that_a_waiting_call_mentions_is_there_although_its_replica_is_given_back() -> None:
    counter = Counter(n=1)
    node = Keeper(counter)
    with make_pair(node) as pair:
        replica, slow = pair.call("value"), pair.root.call("later")
        assert type(replica) is CounterReplica
        taken = pair.root.call("take", slow, replica)
        pair.run()
        del replica
        gc.collect()
        pair.run()
        node.later[0].answer(0)
        pair.run()
        assert node.held[1] is counter
        assert taken.done
        del taken
        settle(pair, node.log, node.held)
    assert counter.observers == []


@pytest.mark.modern
def test_an_object_that_a_waiting_call_mentions_is_there_although_it_is_released() -> None:
    thing = Thing("mine")
    node = Keeper(thing)
    with make_pair(node) as pair:
        reference, slow = pair.call("value"), pair.root.call("later")
        taken, called = pair.root.call("take", slow, [reference]), reference.call("name", slow)
        named = reference.call("name")
        reference.release()
        pair.run()
        node.later[0].answer(0)
        pair.run()
        assert named.result() == "mine"
        assert node.held[1] == [thing]
        assert taken.done
        assert isinstance(called.error, pb.BadArguments)  # it was called, but takes no argument
        del taken, called, reference
        settle(pair, node.log, node.held)


def test_what_a_cancelled_call_has_pinned_is_let_go() -> None:
    class Told(Thing):
        def forgotten(self) -> None:
            gone.append(self.name)

    gone: list[str] = []
    node = Keeper(Told("mine"))
    with make_pair(node) as pair:
        reference, slow = pair.call("value"), pair.root.call("later")
        taken = pair.root.call("take", slow, reference)
        pair.run()
        del reference
        taken.cancel()
        del taken
        gc.collect()
        pair.run()
        assert gone == ["mine"]
        slow.cancel()
        node.later[0].answer()
        pair.run()
        del slow


def test_a_call_that_waits_alone_keeps_its_target_and_what_it_mentions_although_they_are_released() -> None:
    thing = Thing("mine")
    node = Keeper(thing)
    with make_pair(node) as pair:
        slow = pair.root.call("later")
        reference = pair.call("value")  # the call of the promise has been sent by now
        taken, called = pair.root.call("take", slow, [reference]), reference.call("echo", slow)
        reference.release()
        pair.run()
        node.later[0].answer(0)
        pair.run()
        assert isinstance(called.error, pb.NoSuchMethod)  # it has reached the object
        assert taken.error is None
        assert node.held[1] == [thing]
        del taken, called, reference
        settle(pair, node.log, node.held)
