"""Cacheables and their replicas, two brokers apart."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Callable
from typing import Any

import pytest

import perspective_broker as pb
from perspective_broker.flavors import RemoteCache, Target
from perspective_broker.session.caches import Replicas
from perspective_broker.session.releases import Releases
from perspective_broker.testing import BrokerPair, Outcome

from . import objects
from .objects import Counter, CounterReplica, Desk, Node, Unregistered, make_pair, registry


def test_the_state_crosses_once_and_updates_follow_in_order() -> None:
    desk, counter = Desk(), Counter(a=1)
    with make_pair(desk) as pair:
        pair.call("keep", counter)
        pair.root.call("keep", counter)
        for value in range(3):
            counter.set("a", value)
        pair.run(1)
        one, two = desk.kept
        assert one is two
        assert one.history == [("a", 0), ("a", 1), ("a", 2)]
        assert len(counter.asked) == 1
        del one, two
        desk.kept.clear()
        gc.collect()
        pair.run()
        assert len(counter.stopped) == 1


def test_an_update_told_while_the_state_is_handed_out_follows_it() -> None:
    desk, answers = Desk(), []

    def tell(observer: Any) -> None:
        observer.tell("set", "b", 2)
        answers.append(observer.call("set", "c", 3))

    with make_pair(desk) as pair:
        pair.call("keep", Counter(tell, a=1))
        assert desk.kept[0].numbers == {"a": 1, "b": 2, "c": 3}
        assert answers[0].result() == 2
        desk.kept.clear()


def test_an_update_of_a_state_that_was_never_sent_fails() -> None:
    answers: list[Outcome] = []
    counter = Counter(lambda observer: answers.append(observer.call("set", "b", 2)))
    with make_pair() as pair:
        with pytest.raises(pb.SerializationError):
            pair.call("keep", counter, object())
        with pytest.raises(pb.DeadReferenceError):
            answers[0].result()
        assert len(counter.stopped) == 1


def test_a_state_that_cannot_be_handed_out_leaves_nothing() -> None:
    def refuse(observer: Any) -> None:
        raise KeyError("no state")

    counter = Counter(refuse)
    with make_pair() as pair:
        with pytest.raises(KeyError):
            pair.call("keep", counter)
        with pytest.raises(pb.DeadReferenceError):
            counter.observers[0].tell("set", "a", 1)


def test_a_replica_comes_home_as_its_source() -> None:
    counter = Counter(a=1)
    with make_pair() as pair:
        assert pair.call("echo", counter) is counter


def test_a_re_send_that_crosses_the_drop_has_the_state() -> None:
    desk, counter = Desk(), Counter(a=1)
    with make_pair(desk) as pair:
        pair.call("keep", counter)
        desk.kept.clear()
        gc.collect()
        counter.set("a", 2)
        pair.root.call("keep", counter)
        pair.run()
        counter.set("b", 3)
        pair.run()
        assert desk.kept[0].numbers == {"a": 2, "b": 3}
        assert counter.stopped == []
        desk.kept.clear()


def test_two_sides_full_of_calls_that_introduce_replicas_do_not_block_each_other() -> None:
    here, there = Desk(), Desk()
    with make_pair(there, limits=pb.Limits(calls_in_flight=1)) as pair:
        pair.client.broker.tables.exports.name("root", here)
        outcomes = []
        for end in (pair.client, pair.server):
            outcomes += [end.root.call("echo", 1), end.root.call("keep", Counter(a=1))]
        pair.run()
        assert all(outcome.done and outcome.error is None for outcome in outcomes)
        here.kept.clear()
        there.kept.clear()


def test_an_answer_that_mentions_a_replica_still_held_back_comes_after_it() -> None:
    here, there, counter = Desk(), Desk(), Counter(a=1)
    here.kept.append(counter)
    with make_pair(there, client_limits=pb.Limits(calls_in_flight=1)) as pair:
        pair.client.broker.tables.exports.name("root", here)
        pair.root.call("later")
        pair.root.call("keep", counter)  # waits for room
        given = pair.server.root.call("give")
        pair.run()
        assert isinstance(given.result(), CounterReplica)
        assert given.result() is there.kept[0]
        there.later[0].answer()
        there.kept.clear()
        del given


def test_the_end_is_told_once_on_both_sides() -> None:
    desk, counter = Desk(), Counter(a=1)
    with make_pair(desk) as pair:
        pair.call("keep", counter)
        pair.link.cut()
        assert len(counter.stopped) == 1
        assert desk.kept[0].history == [("ended", None)]
        desk.kept.clear()


def test_a_peer_that_reads_no_updates_is_given_up() -> None:
    desk, counter = Desk(), Counter(a=1)
    with make_pair(desk, client_limits=pb.Limits(observer_backlog_bytes=1000)) as pair:
        pair.call("keep", counter)
        for _ in range(3):
            counter.set("a", b"x" * 400)
        assert pair.client.code == "slow-consumer"
        assert len(counter.stopped) == 1
        desk.kept.clear()


def bad_states() -> list[Callable[[], Counter]]:
    return [
        lambda: Counter(a=Unregistered()),  # no class is registered for what is in it
        lambda: Broken(a=1),  # its own class refuses it
        lambda: Nobody(a=1),  # no class is registered for it
    ]


class Broken(Counter):
    def get_state_to_cache_and_observe_for(self, perspective: Any, observer: Any) -> Any:
        super().get_state_to_cache_and_observe_for(perspective, observer)
        return 5


class Nobody(Counter):
    def get_type_to_copy(self) -> str:
        return "test.Nobody"


@pytest.mark.parametrize("make", bad_states())
def test_a_first_state_that_cannot_be_read_makes_no_replica(make: Callable[[], Counter]) -> None:
    desk, counter = Desk(), make()
    with make_pair(desk) as pair:
        first = pair.root.call("keep", counter)
        crossing = pair.root.call("keep", counter)  # only its id: the peer is assumed to have the state
        update = counter.observers[0].call("set", "a", 2)
        pair.run()
        for outcome in (first, crossing, update):
            with pytest.raises(pb.DecodeError):
                outcome.result()
        assert desk.kept == []
        gc.collect()
        pair.run()
        assert len(counter.stopped) == 1
    assert counter.observers == []


def test_an_answer_with_a_replica_that_could_not_be_read_fails_and_the_next_state_is_good() -> None:
    desk, counter = Desk(), Counter(a=Unregistered())
    desk.kept.append(counter)
    with make_pair(desk) as pair:
        answers = [pair.root.call("give"), pair.root.call("give")]
        pair.run()
        for answer in answers:
            with pytest.raises(pb.BadAnswer):
                answer.result()
        del answer, answers
        gc.collect()
        pair.run()
        counter.numbers["a"] = 1
        replica = pair.call("give")
        assert replica.numbers == {"a": 1}
        del replica
        desk.kept.clear()


def test_a_replica_whose_message_could_not_be_read_is_good_when_its_own_state_was() -> None:
    desk, counter = Desk(), Counter(a=1)
    with make_pair(desk) as pair:
        first = pair.root.call("keep", counter, Unregistered())
        pair.root.call("keep", counter)
        pair.run()
        with pytest.raises(pb.InsecureJelly):
            first.result()
        assert desk.kept[0].numbers == {"a": 1}
        desk.kept.clear()


def test_a_replica_that_could_not_be_read_hears_of_no_end(caplog: pytest.LogCaptureFixture) -> None:
    kept: list[Any] = []

    class Keeper(CounterReplica):
        def set_copyable_state(self, state: Any) -> None:
            kept.append(self)
            super().set_copyable_state(5)

    own = pb.registry.Registry(registry)
    own.set_unjellyable_for_class("test.Counter", Keeper)
    with BrokerPair(Desk(), registry=own, dialects=[objects.dialect]) as pair:
        with pytest.raises(pb.DecodeError):
            pair.call("keep", Counter(a=1))
        pair.link.cut()
    assert vars(kept[0]) == {}
    assert not [record for record in caplog.records if "updates_ended" in record.message]


def test_a_replica_that_misses_an_update_is_not_true_any_more_and_hears_of_it() -> None:
    class Unheard(pb.Copyable):
        """No class is registered for it anywhere."""

    counter = Counter(a=1)
    desk = Desk()
    with make_pair(desk) as pair:
        pair.call("keep", counter)
        (replica,) = desk.kept
        counter.observers[0].tell("set", "a", Unheard())
        pair.run()
        assert replica.history == [("ended", None)]
        counter.observers[0].tell("set", "a", 2)  # the owner does not know yet
        pair.run()
        assert replica.history == [("ended", None)]
        with pytest.raises(pb.DecodeError):
            pair.call("keep", counter)
        del replica
        pair.call("drop")
        gc.collect()  # the error's frames
        pair.run()
        assert len(counter.stopped) == 1
        pair.call("keep", counter)
        assert desk.kept.pop().numbers == {"a": 1}


def test_updates_go_on_while_the_other_side_drains() -> None:
    counter = Counter(a=1)
    desk = Desk()
    with make_pair(desk) as pair:
        pair.call("keep", counter)
        pair.server.broker.drain()
        counter.observers[0].tell("set", "a", 2)
        pair.run()
        assert desk.kept.pop().history == [("a", 2)]


class Person(pb.Referenceable):
    """A perspective whose method returns the room's counter, as this person sees it."""

    def __init__(self, name: str, counter: Counter) -> None:
        self.name = name
        self.counter = counter

    def _pb_export_target(self, perspective: Any) -> Target:
        return Target(self, self, "perspective_", perspective=self)

    def perspective_counter(self) -> Counter:
        return self.counter


class Lobby(Desk):
    def __init__(self, *people: Person) -> None:
        super().__init__()
        self.people = people

    def remote_people(self) -> tuple[Person, ...]:
        return self.people


def test_two_perspectives_on_one_connection_have_replicas_of_their_own() -> None:
    counter = Counter(a=1)
    alice, bob = Person("alice", counter), Person("bob", counter)
    with make_pair(Lobby(alice, bob)) as pair:
        people = pair.call("people")
        answers = [person.call("counter") for person in (*people, people[0])]
        pair.run()
        hers, his, again = [answer.result() for answer in answers]
        assert (hers.seen_by, his.seen_by) == ("alice", "bob")
        assert again is hers
        assert hers is not his
        assert counter.asked == [alice, bob]
        counter.observers[1].tell("set", "a", 2)
        pair.run()
        assert (hers.numbers, his.numbers) == ({"a": 1}, {"a": 2})
        del answers, his
        gc.collect()
        pair.run()
        assert [who for who, _ in counter.stopped] == [bob]
        counter.set("a", 3)
        pair.run()
        assert hers.numbers == {"a": 3}
        del hers, again, people


class Interrupting(Releases):
    """Releases of a loop that runs on while a replica ends, as with threads."""

    def __init__(self) -> None:
        self.replicas = Replicas(pb.Limits(), self, self)
        self.owed: list[int] = []
        self.found: RemoteCache | None = None

    def replica_ended(self, luid: int) -> None:
        if not self.owed:
            self.found = self.replicas.receive(luid)
        self.owed.append(self.replicas.dropped(luid))


def test_a_replica_that_ends_in_another_thread_is_not_handed_out_again() -> None:
    """Otherwise it would end a second time without a callback, and its counts would never be released."""
    session = Interrupting()
    first = session.replicas.introduce(1, RemoteCache)
    first.set_copyable_state({"n": 1})
    ended = weakref.ref(first)
    del first
    assert ended() is None
    assert vars(session.found) == {"n": 1}  # the state lives on
    assert session.owed == [0]
    session.found = None
    assert session.owed == [0, 2]


@pytest.mark.parametrize("order", ["given back first", "cancelled first"])
def test_a_replica_given_back_while_a_call_that_is_cancelled_mentions_it_is_forgotten(order: str) -> None:
    node = Node()
    with make_pair(node, client_limits=pb.Limits(calls_in_flight=1)) as pair:
        counter = Counter(n=1)
        pair.root.call("take", counter)
        pair.run()
        blocker = pair.root.call("later")
        queued = pair.root.call("take", counter)
        assert pair.client.broker.statistics().calls_held == 1
        if order == "cancelled first":
            queued.cancel()
        node.held.clear()
        node.log.clear()
        gc.collect()
        pair.run()
        queued.cancel()
        pair.run()
        assert counter.observers == []
        assert len(counter.stopped) == 1
        assert pair.server.broker.statistics().replicas == 0
        node.later[0].answer()
        pair.run()
        assert blocker.done
