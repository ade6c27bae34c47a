"""The law of order: a call starts when it is ready, ready calls start in the order in which they were made."""

from __future__ import annotations

from typing import Any

import pytest

import perspective_broker as pb
from perspective_broker.flavors import Reference
from perspective_broker.ports import LARGE_MESSAGE
from perspective_broker.testing import BrokerPair, Outcome

from .objects import Counter, CounterReplica, Hooked, HookedCopy, Node, Thing, Trap, TrapCopy, make_pair


@pytest.fixture
def node() -> Node:
    return Node()


def sent(pair: BrokerPair) -> Outcome:
    """Return a call that was sent before another call depends on it, so the peer does not keep its answer."""
    outcome = pair.root.call("later")
    pair.run()
    return outcome


def shapes(log: list[Any]) -> list[Any]:
    """Return a log with the types in place of the objects."""
    return [tuple(type(part) for part in mark) if isinstance(mark, tuple) else mark for mark in log]


# -- a call that waits alone


@pytest.mark.parametrize("when", ["before", "at", "after"])
def test_a_call_made_again_under_a_new_id_keeps_its_dependents(node: Node, when: str) -> None:
    with make_pair(node) as pair:
        slow = sent(pair)
        children = [slow.call("child", 1)]
        made: list[Outcome] = []

        def make() -> None:
            grandchild = children[0].call("child", 2)
            made.append(grandchild.call("mark", 3))
            made.append(pair.root.call("same", [grandchild]))
            made.append(pair.root.call("mark", "now"))

        if when == "before":
            make()
        elif when == "at":
            slow.when_done = make
        pair.run()
        node.later[0].answer(node)
        pair.link.deliver(pair.client)
        if when == "after":
            make()
        pair.run()
        assert made[0].result() == 3
        assert isinstance(made[1].result()[0], Reference)
        assert made[2].result() == "now"
        assert [mark for mark in node.log if mark != "now"] == [1, 2, 3]
        slow.when_done = None
        made.clear()
        children.clear()
        del slow


@pytest.mark.parametrize("mention", [False, True])
@pytest.mark.parametrize("limits", [{"calls_in_flight": 2}, {"window_bytes": 1}], ids=str)
def test_a_call_on_a_promise_that_has_left_waits_for_it_also_while_the_window_is_full(
    node: Node, mention: bool, limits: dict[str, Any]
) -> None:
    with make_pair(node, client_limits=pb.Limits(**limits)) as pair:
        slow = sent(pair)
        full = [pair.root.call("later", b"x" * 100) for _ in range(3)]
        pair.run()
        assert pair.client.broker.statistics().calls_held
        outcome = pair.root.call("take", slow) if mention else slow.call("mark", 1)
        pair.run()
        assert node.log == []
        while node.later:
            node.later.pop(0).answer(7 if mention else node)
            pair.run()
        assert outcome.result() == ([7] if mention else 1)
        assert all(other.done for other in full)
        full.clear()
        node.held.clear()
        del slow


def test_a_call_that_waits_alone_gives_back_what_its_first_encoding_introduced(node: Node) -> None:
    with make_pair(node) as pair:
        slow = sent(pair)
        outcome = pair.root.call("take", Thing(), slow)
        assert pair.client.broker.statistics().exported == 0
        outcome.cancel()
        node.later[0].answer(1)
        pair.run()
        assert node.log == []
        del outcome


@pytest.mark.modern
def test_a_call_that_introduces_a_cacheable_and_depends_on_a_promise_waits_alone(node: Node) -> None:
    with make_pair(node) as pair:
        counter = Counter(n=0)
        slow = pair.root.call("later")
        made = [
            slow.call("mark", 1),
            pair.root.call("take", slow, counter),
            slow.call("mark", 3),
            pair.root.call("mark", "now"),
        ]
        pair.run()
        assert node.log == ["now"]
        assert pair.server.broker.statistics().calls_waiting == 1
        assert (
            pair.client.broker.statistics().calls_held == 2
        )  # a later one on the same promise would overtake it
        counter.set("n", 1)
        node.later[0].answer(node)
        pair.run()
        assert shapes(node.log) == ["now", 1, (Node, CounterReplica), 3]
        assert node.held[1].numbers == {"n": 1}
        assert all(outcome.done for outcome in made)
        made.clear()
        node.held.clear()
        node.log.clear()
        del slow


def test_calls_that_wait_alone_and_calls_that_were_sent_keep_their_order(node: Node) -> None:
    with make_pair(node) as pair:
        kept, left = pair.root.call("later"), None
        made = [kept.call("mark", 1)]
        pair.run()
        left = sent(pair)
        made += [kept.call("mark", 2, left), kept.call("mark", 3), pair.root.call("mark", 4, [kept])]
        pair.run()
        assert node.log == []
        node.later[0].answer(node)
        pair.run()
        assert node.log == [1, 3, 4]
        node.later[1].answer(1)
        pair.run()
        assert node.log == [1, 3, 4, 2]
        assert [outcome.result() for outcome in made] == [1, 2, 3, 4]
        made.clear()
        del kept, left


def test_calls_that_depend_on_two_answers_start_when_the_later_one_comes_in_the_order_made(
    node: Node,
) -> None:
    with make_pair(node) as pair:
        one, two = sent(pair), sent(pair)
        made = [
            pair.root.call("mark", "both", one, two),
            pair.root.call("mark", "one", one),
            pair.root.call("mark", "other way round", two, one),
            pair.root.call("mark", "two", two),
        ]
        for number, log in ((1, ["two"]), (0, ["two", "both", "one", "other way round"])):
            node.later[number].answer(number)
            pair.run()
            assert node.log == log
        assert all(outcome.done for outcome in made)


# -- one answer, decoded differently by the two sides


def unreadable_here(monkeypatch: pytest.MonkeyPatch, pair: BrokerPair) -> None:
    """Make decoding a :class:`Trap` fail, only at the caller."""
    reading: list[bool] = []
    receive = pair.client.broker.process

    def process(messages: int, now: float) -> bool:
        reading.append(True)
        try:
            return receive(messages, now)
        finally:
            reading.pop()

    def sprung() -> None:
        if reading:
            raise ValueError("not here")

    monkeypatch.setattr(TrapCopy, "sprung", staticmethod(sprung))
    monkeypatch.setattr(pair.client, "turn", lambda: _turn(pair, process))


def _turn(pair: BrokerPair, process: Any) -> None:
    pair.client.woken = False
    while process(64, pair.clock.now):
        pass


@pytest.mark.modern
def test_an_answer_that_the_caller_cannot_read_is_the_callees_to_use(
    node: Node, monkeypatch: pytest.MonkeyPatch
) -> None:
    with make_pair(node) as pair:
        unreadable_here(monkeypatch, pair)
        promise = pair.root.call("later")
        argument, called = pair.root.call("mark", "ran", promise), promise.call("mark", "never")
        below, behind = called.call("mark", "nor this"), pair.root.call("mark", "after", argument)
        pair.run()
        node.later[0].answer(Trap())
        pair.run()
        assert isinstance(promise.error, pb.BadAnswer)
        assert promise.error.ran is True
        assert argument.result() == "ran"
        assert behind.result() == "after"
        for outcome in (called, below):
            assert isinstance(outcome.error, pb.BadAnswer)
            assert outcome.error.ran is False
        assert node.log == ["ran", "after"]
        del promise, argument, called, below, behind


def test_what_waits_alone_for_an_answer_that_cannot_be_read_does_not_run(
    node: Node, monkeypatch: pytest.MonkeyPatch
) -> None:
    with make_pair(node) as pair:
        unreadable_here(monkeypatch, pair)
        promise = sent(pair)
        outcomes = [pair.root.call("mark", 1, promise), promise.call("mark", 2)]
        node.later[0].answer(Trap())
        pair.run()
        for outcome in outcomes:
            assert isinstance(outcome.error, pb.BadAnswer)
        assert node.log == []
        outcomes.clear()
        del promise, outcome


@pytest.mark.modern
@pytest.mark.parametrize("piece", [1000, 40_000, None])
def test_a_call_not_run_because_of_a_large_answer_ends_when_that_has_come(
    node: Node, piece: int | None
) -> None:
    with make_pair(node) as pair:
        large = pair.root.call("later")
        called, after = large.call("mark", 1), pair.root.call("mark", "after")
        below = called.call("mark", 2)
        pair.run()
        node.later[0].answer(b"x" * (4 * LARGE_MESSAGE))
        while not large.done:
            assert not called.done
            assert not below.done
            pair.link.deliver(pair.client, piece)
        pair.run()
        assert large.result() == b"x" * (4 * LARGE_MESSAGE)
        for outcome in (called, below):
            assert isinstance(outcome.error, TypeError)
            assert outcome.error.ran is False  # type: ignore[attr-defined]
        assert after.result() == "after"
        del called, below, outcome


@pytest.mark.modern
def test_a_word_about_a_large_answer_that_has_not_come_does_not_end_a_call_twice(node: Node) -> None:
    with make_pair(node) as pair:
        large = pair.root.call("later")
        called = large.call("mark", 1)
        pair.run()
        node.later[0].answer(b"x" * (4 * LARGE_MESSAGE))
        for _ in range(20):
            pair.link.deliver(pair.client, 1000)
        called.cancel()
        large.cancel()
        pair.run()
        assert node.log == []
        del called, large


# -- an object of the caller's own


def test_home_calls_run_in_order_and_so_does_what_depends_on_them(node: Node) -> None:
    with make_pair(node) as pair:
        mine = Node()
        home = pair.root.call("same", mine)
        child = home.call("child", 1)
        made = [
            home.call("mark", 2),
            child.call("mark", 3),
            child.call("child", 4).call("mark", 5),
            pair.root.call("mark", "there", child),
            home.call("mark", 6),
        ]
        pair.run()
        assert mine.log == [1, 2, 6, 3, 4, 5]
        assert node.log == ["there"]
        assert [outcome.result() for outcome in made] == [2, 3, 5, "there", 6]
        made.clear()
        del home, child


def test_one_way_calls_of_an_object_that_comes_home_run_once(node: Node) -> None:
    with make_pair(node) as pair:
        mine = Node()
        home = pair.root.call("same", mine)
        home.tell("mark", 1)
        made = home.call("mark", 2)
        home.tell("mark", 3)
        home.call("child", 4).tell("mark", 5)
        pair.run()
        assert mine.log == [1, 2, 3, 4, 5]
        assert made.result() == 2
        assert node.log == []
        del home


@pytest.mark.parametrize("value", [None, 7, "text", [1]], ids=repr)
def test_one_way_calls_of_what_is_no_object_come_to_nothing(node: Node, value: Any) -> None:
    with make_pair(node) as pair:
        slow = pair.root.call("later")
        slow.tell("mark", 1)
        pair.root.tell("mark", 2, slow)
        pair.run()
        node.later[0].answer(value)
        pair.run()
        assert node.log == [2]
        del slow


def test_a_home_call_gets_the_answers_that_its_arguments_are_promised(node: Node) -> None:
    with make_pair(node) as pair:
        mine = Node()
        home, slow = pair.root.call("same", mine), pair.root.call("later")
        made = [
            home.call("take", slow, pair.root.call("mark", 7)),
            home.call("mark", "first"),
            home.call("mark", 1, pair.root.call("refuse")),
        ]
        below = made[0].call("mark", 1)
        pair.run()
        assert mine.log == ["first"]
        node.later[0].answer(5)
        pair.run()
        assert mine.log == ["first", (5, 7)]
        assert made[0].result() == [5, 7]
        assert isinstance(below.error, TypeError)
        assert isinstance(made[2].error, pb.RemoteError)
        assert node.log == [7]
        made.clear()
        del home, slow, below


def test_home_calls_end_with_a_promise_that_they_wait_for(node: Node) -> None:
    with make_pair(node) as pair:
        mine = Node()
        home, slow = pair.root.call("same", mine), pair.root.call("later")
        outcome = home.call("mark", 1, slow)
        below = outcome.call("mark", 2)
        pair.run()
        slow.cancel()
        assert outcome.cancelled
        assert below.cancelled
        pair.run()
        node.later[0].fail(pb.Error("cancelled"))
        pair.run()
        assert mine.log == []
        del home, slow, outcome, below


# -- calls that hooks make


def test_a_call_made_by_a_hook_follows_the_call_that_is_encoded(node: Node) -> None:
    with make_pair(node) as pair:
        made: list[Outcome] = []

        def hook() -> int:
            made.append(pair.root.call("mark", "hook"))
            pair.root.tell("mark", "told")
            return 1

        made.append(pair.root.call("take", Hooked(hook)))
        made.append(pair.root.call("mark", "after"))
        pair.run()
        assert shapes(node.log) == [(HookedCopy,), "hook", "told", "after"]
        assert all(outcome.done for outcome in made)


@pytest.mark.modern
def test_a_call_made_by_a_hook_depends_on_promises_as_any_other(node: Node) -> None:
    with make_pair(node) as pair:
        promises = [pair.root.call("later")]
        made: list[Outcome] = []

        def hook() -> int:
            made.append(promises[0].call("mark", "hook"))
            return 1

        made += [promises[0].call("take", Hooked(hook)), promises[0].call("mark", 2)]
        pair.run()
        node.later[0].answer(node)
        pair.run()
        assert shapes(node.log) == [(HookedCopy,), "hook", 2]
        assert all(outcome.done for outcome in made)
        made.clear()
        promises.clear()


def test_a_call_made_by_a_hook_of_a_call_that_waited_follows_all_that_waited_with_it(node: Node) -> None:
    with make_pair(node) as pair:
        slow = sent(pair)
        made: list[Outcome] = []

        def hook() -> int:
            made.append(pair.root.call("mark", "hook"))
            return 1

        made += [slow.call("take", Hooked(hook)), slow.call("mark", 2)]
        made += [pair.root.call("mark", 3, slow)]
        pair.run()
        node.later[0].answer(node)
        pair.run()
        assert shapes(node.log) == [(HookedCopy,), 2, 3, "hook"]
        assert all(outcome.done for outcome in made)
        made.clear()
        del slow


def test_a_call_made_by_a_method_that_runs_here_follows_all_that_waited_with_it(node: Node) -> None:
    class Calls(Node):
        def remote_call(self) -> None:
            self.log.append("call")
            made.append(pair.root.call("mark", "made here"))

    with make_pair(node) as pair:
        mine = Calls()
        home = pair.root.call("same", mine)
        made = [home.call("call"), home.call("mark", 1), pair.root.call("mark", 2, [home])]
        pair.run()
        assert mine.log == ["call", 1]
        assert node.log == [2, "made here"]
        assert all(outcome.done for outcome in made)
        made.clear()
        del home


def test_a_call_made_while_a_call_fails_to_be_encoded_is_made_all_the_same(node: Node) -> None:
    with make_pair(node) as pair:
        made: list[Outcome] = []

        def hook() -> object:
            made.append(pair.root.call("mark", "hook"))
            return object()

        broken = pair.root.call("take", Hooked(hook))
        assert isinstance(broken.error, pb.SerializationError)
        pair.run()
        assert made[0].result() == "hook"
        assert node.log == ["hook"]
        del broken


@pytest.mark.parametrize("ends", ["failed", "cancelled"])
def test_a_call_on_a_promise_that_ends_while_it_is_encoded_ends_too(node: Node, ends: str) -> None:
    """A hook makes the call while that message is encoded; it is deferred until then, and does not wait afterwards."""
    made: list[Outcome] = []
    with make_pair(node) as pair:

        def hook() -> None:
            if taken:
                made.append(taken[0].call("mark", 1))
                if ends == "cancelled":
                    taken[0].cancel()
                raise KeyError("state")

        taken: list[Outcome] = []
        slow = sent(pair)
        taken.append(pair.root.call("take", slow, Hooked(hook)))
        node.later[0].answer(0)
        pair.run()
        if ends == "failed":
            assert isinstance(taken[0].error, KeyError)
            assert isinstance(made[0].error, KeyError)
        else:
            assert made[0].cancelled
        assert made[0].done
        assert node.log == []
