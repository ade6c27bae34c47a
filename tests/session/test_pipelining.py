"""Calls to promised answers, and promised answers as arguments. Only the test carries bytes."""

from __future__ import annotations

import gc
from collections.abc import Callable
from typing import Any

import pytest
from ormsgpack import Ext, packb

import perspective_broker as pb
from perspective_broker.dialects.pb7 import codes
from perspective_broker.dialects.pb7.frames import frame_header
from perspective_broker.flavors import Referenceable
from perspective_broker.testing import BrokerPair, Outcome

from .objects import Counter, CounterReplica, Desk, Node, Thing, make_pair

pytestmark = pytest.mark.modern


@pytest.fixture
def node() -> Node:
    return Node()


def server_messages(pair: BrokerPair) -> int:
    return pair.server.broker.statistics().messages_received


def sent_unmarked(pair: BrokerPair, *args: Any) -> Outcome:
    """Return a call of ``later`` that was sent before its answer is called."""
    outcome = pair.root.call("later", *args)
    pair.run()
    return outcome


def assert_same_error(outcome: Outcome, of: Outcome) -> None:
    """Assert that a call has failed like the one on which it depends, and that its error shows that it has not run."""
    assert of.error is not None
    assert type(outcome.error) is type(of.error)
    assert outcome.error.args == of.error.args


# -- one round trip


def test_three_dependent_calls_leave_before_the_first_answer_has_come(node: Node) -> None:
    with make_pair(node) as pair:
        one = pair.root.call("child", 1)
        two = one.call("child", 2)
        three = two.call("mark", 3)
        before = server_messages(pair)
        pair.link.deliver(pair.server)
        assert server_messages(pair) == before + 3
        assert node.log == [1, 2, 3]
        assert not any(outcome.done for outcome in (one, two, three))
        pair.link.deliver(pair.client)
        assert three.result() == 3
        assert one.done
        assert two.done
        del one, two


@pytest.mark.parametrize("size", [1, 7, None])
def test_however_the_bytes_are_chopped(node: Node, size: int | None) -> None:
    with make_pair(node) as pair:
        three = pair.root.call("child", 1).call("child", 2).call("mark", 3)
        pair.run(size)
        assert three.result() == 3


@pytest.mark.parametrize(
    ("shape", "expected"),
    [
        (lambda p: (p,), [7]),
        (lambda p: (p, p), [7, 7]),
        (lambda p: ([[p]], {"k": [p]}), [[[7]], {"k": [7]}]),
        (lambda p: ((1, (p,)),), [(1, (7,))]),
        (lambda p: ({1: p},), [{1: 7}]),
        (lambda p: (pb.Graph([p]),), [[7]]),
    ],
)
def test_a_promise_may_stand_anywhere_in_the_arguments(
    node: Node, shape: Callable[[Any], Any], expected: Any
) -> None:
    with make_pair(node) as pair:
        promise = pair.root.call("mark", 7)
        outcome = pair.root.call("take", *shape(promise))
        pair.link.deliver(pair.server)
        assert not promise.done
        pair.run()
        assert outcome.result() == expected
        # The answer is known by now, so the value itself crosses.
        assert pair.call("take", *shape(promise)) == expected
        node.held.clear()


def test_a_promise_as_a_keyword(node: Node) -> None:
    with make_pair(node) as pair:
        outcome = pair.root.call("same", thing=pair.root.call("mark", 7))
        pair.run()
        assert outcome.result() == 7


def test_an_object_mentioned_by_a_promise_is_that_object(node: Node) -> None:
    with make_pair(node) as pair:
        child = pair.root.call("child")
        same = pair.root.call("same", child)
        pair.run()
        assert same.result() is child.result()
        del child, same


def test_both_target_and_argument(node: Node) -> None:
    with make_pair(node) as pair:
        child = pair.root.call("child")
        both = child.call("take", child)
        pair.run()
        [arrived] = both.result()
        assert arrived is child.result()
        node.held.clear()
        del child, both, arrived


def test_what_is_told_may_mention_promises(node: Node) -> None:
    with make_pair(node) as pair:
        pair.root.tell("take", pair.root.call("mark", 7))
        pair.root.tell("take", pair.root.call("refuse"))
        pair.run()
        assert node.log == [7, (7,)]
        node.held.clear()


def test_an_argument_of_ours_comes_home(node: Node) -> None:
    with make_pair(node) as pair:
        mine = Thing("mine")
        outcome = pair.root.call("same", pair.root.call("same", mine))
        pair.run()
        assert outcome.result() is mine


# -- order


def test_ready_calls_keep_their_order_and_those_that_wait_hold_up_nobody(node: Node) -> None:
    with make_pair(node) as pair:
        slow = pair.root.call("later")
        made = [
            pair.root.call("mark", 1),
            slow.call("mark", 2),
            pair.root.call("mark", 3),
            slow.call("mark", 4),
        ]
        pair.run()
        assert node.log == [1, 3]
        node.later[0].answer(node)
        pair.run()
        assert node.log == [1, 3, 2, 4]
        assert [outcome.result() for outcome in made] == [1, 2, 3, 4]
        del slow


def test_order_when_the_promise_turns_out_to_be_an_object_of_our_own(node: Node) -> None:
    with make_pair(node) as pair:
        mine = Node()
        home = pair.root.call("same", mine)
        made = [home.call("mark", 1), pair.root.call("mark", 2), home.call("mark", 3), home.call("refuse")]
        pair.run()
        assert mine.log == [1, 3]
        assert node.log == [2]
        assert [outcome.result() for outcome in made[:3]] == [1, 2, 3]
        assert isinstance(made[3].error, pb.Error)


def test_a_call_ends_before_the_promise_that_it_depends_on_comes_home(node: Node) -> None:
    """The draining server refuses it, and then answers the call on which it depends with an object of the client."""
    with make_pair(node) as pair:
        mine = Node()
        pair.root.tell("take", mine)
        home = pair.root.call("later")
        child = home.call("child", 1)
        grandchild = child.call("child", 2)
        pair.run()
        pair.server.broker.drain()
        refused = pair.root.call("take", child)
        pair.run()
        assert isinstance(refused.error, pb.Unavailable)
        node.later[0].answer(node.held[0])
        pair.run()
        assert mine.log == [1, 2]
        assert child.done
        assert grandchild.done
        node.held.clear()
        node.log.clear()
        del home, child, grandchild


def test_order_behind_a_call_that_has_left_unmarked(node: Node) -> None:
    with make_pair(node) as pair:
        slow = sent_unmarked(pair)
        chained = slow.call("child", 1)
        made = [pair.root.call("mark", 2), chained.call("mark", 3), pair.root.call("mark", 4)]
        pair.run()
        assert node.log == [2, 4]
        node.later[0].answer(node)
        pair.run()
        assert node.log == [2, 4, 1, 3]
        assert [outcome.result() for outcome in made] == [2, 3, 4]
        del slow, chained


def test_a_call_that_waits_alone_for_two_promises_holds_up_nobody(node: Node) -> None:
    with make_pair(node) as pair:
        one, two = sent_unmarked(pair), sent_unmarked(pair)
        outcome, after = pair.root.call("take", one, [two]), pair.root.call("mark", "after")
        pair.root.tell("take", two)
        for later in (node.later[0], node.later[1]):
            pair.run()
            assert node.log == ["after"]
            later.answer(5)
        pair.run()
        assert outcome.result() == [5, [5]]
        assert after.result() == "after"
        assert node.log == ["after", (5, [5]), (5,)]
        node.held.clear()


def test_a_promise_told_that_fails_behind_a_barrier_is_not_told(node: Node) -> None:
    with make_pair(node) as pair:
        slow = sent_unmarked(pair)
        pair.root.tell("take", slow)
        after = pair.root.call("mark", "after")
        node.later[0].fail(pb.Error("no"))
        pair.run()
        assert after.result() == "after"
        assert node.log == ["after"]


def test_a_target_and_an_argument_that_has_left_unmarked(node: Node) -> None:
    with make_pair(node) as pair:
        slow = sent_unmarked(pair)
        for make in ("child", "same"):
            target = pair.root.call(make, Node() if make == "same" else 0)
            outcome = target.call("mark", "done", slow)
            pair.run()
            assert not outcome.done
            node.later.pop().answer(1)
            pair.run()
            assert outcome.result() == "done"
            slow = sent_unmarked(pair)
        node.later.pop().answer(1)
        del target, slow


def test_calls_that_wait_for_the_window_may_be_built_upon(node: Node) -> None:
    with make_pair(node, client_limits=pb.Limits(calls_in_flight=2)) as pair:
        children = [pair.root.call("child", number) for number in range(50)]
        marks = [child.call("mark", 100 + number) for number, child in enumerate(children)]
        pair.run()
        assert [mark.result() for mark in marks] == list(range(100, 150))
        assert node.log == [*range(50), *range(100, 150)]
        children.clear()


def test_one_slot_is_enough(node: Node) -> None:
    """An answer is forgotten only after the calls that depend on it, also if they wait for a slot."""
    with make_pair(node, limits=pb.Limits(calls_in_flight=1)) as pair:
        child, slow = pair.root.call("child", 1), pair.root.call("later")
        marks = [child.call("mark", 2, slow), child.call("mark", 3), pair.root.call("mark", 4, child)]
        pair.run()
        assert child.done
        assert node.log == [1]
        node.later[0].answer()
        pair.run()
        assert [mark.result() for mark in marks] == [2, 3, 4]
        del child, slow


def test_an_answer_forgotten_while_a_call_waits_for_another(node: Node) -> None:
    with make_pair(node) as pair:
        known, slow = pair.root.call("child", 1), pair.root.call("later")
        outcome = known.call("mark", 2, slow)
        pair.run()
        assert known.done
        assert not outcome.done
        node.later[0].answer()
        pair.run()
        assert outcome.result() == 2
        del known, slow


# -- failure


def test_what_hangs_on_a_failed_promise_fails_with_its_error_once(node: Node) -> None:
    with make_pair(node) as pair:
        broken = pair.root.call("refuse")
        hanging = [
            broken.call("mark", 1),
            broken.call("child").call("mark", 2),
            pair.root.call("take", [broken]),
            pair.root.call("same", broken).call("mark", 3),
            pair.root.call("take", broken, broken.call("mark", 4)),
        ]
        after = pair.root.call("mark", "after")
        pair.run()
        assert after.result() == "after"
        assert node.log == ["after"]
        for outcome in hanging:
            assert_same_error(outcome, broken)


@pytest.mark.parametrize("value", [7, None, [1], Counter(), "text"], ids=lambda value: type(value).__name__)
def test_calls_of_what_is_no_object_fail_here(node: Node, value: Any) -> None:
    with make_pair(node) as pair:
        promise = pair.root.call("later")
        outcome = promise.call("mark", 1)
        below = outcome.call("mark", 2)
        pair.run()
        node.later[0].answer(value)
        pair.run()
        assert isinstance(outcome.error, TypeError)
        assert_same_error(below, outcome)
        del promise
        gc.collect()


def test_a_method_that_is_not_there(node: Node) -> None:
    with make_pair(node) as pair:
        outcome = pair.root.call("child").call("nothing").call("mark")
        pair.run()
        assert isinstance(outcome.error, pb.NoSuchMethod)


def test_arguments_that_cannot_cross_fail_that_call_alone(node: Node) -> None:
    with make_pair(node) as pair:
        child = pair.root.call("child")
        with_flaw, good = child.call("mark", object()), child.call("mark", 1)
        assert isinstance(with_flaw.error, pb.SerializationError)
        pair.run()
        assert good.result() == 1
        del child, with_flaw  # the error knows where it was raised


def test_an_answer_that_cannot_cross_fails_what_hangs_on_it(node: Node) -> None:
    with make_pair(node) as pair:
        broken = pair.root.call("later")
        outcome = broken.call("mark", 1)
        pair.run()
        node.later[0].answer(object())
        pair.run()
        assert_same_error(outcome, broken)
        assert node.log == []


def test_an_answer_cannot_mention_a_promise_that_is_not_kept(node: Node) -> None:
    with make_pair(node) as pair:
        pair.client.broker.tables.exports.name("root", Node())
        promise = pair.server.root.call("later")
        outcome = pair.root.call("later")
        pair.run()
        node.later[0].answer([promise])
        pair.run()
        assert isinstance(outcome.error, pb.SerializationError | pb.RemoteError)
        assert "promise" in str(outcome.error)
        pair.link.cut()


# -- nothing is left


@pytest.mark.parametrize("phase", range(5))
def test_a_connection_that_is_lost_ends_everything_once(node: Node, phase: int) -> None:
    pair = make_pair(node)
    outcomes = [sent_unmarked(pair)] if phase == 4 else []
    child = pair.root.call("later")
    outcomes += [
        child,
        child.call("mark", 1),
        pair.root.call("take", child),
        child.call("child").call("mark", 2),
    ]
    if phase == 4:
        held = outcomes[0].call("child", child)
        outcomes += [held, held.call("mark", 1), pair.root.call("mark", 2, held)]
        pair.root.tell("mark", held)
    if phase >= 1:
        pair.link.deliver(pair.server)
    if phase >= 2:
        node.later[-1].answer(node)
    if phase == 3:
        pair.link.deliver(pair.client, 3)
    pair.link.cut()
    for outcome in outcomes:
        assert isinstance(outcome.error, pb.ConnectionLost), outcome
    del child, outcomes
    node.held.clear()
    pair.assert_no_leaks()


def test_promises_that_nobody_looks_at_leave_nothing(node: Node) -> None:
    with make_pair(node) as pair:
        for _ in range(100):
            pair.root.call("child").call("child").call("mark", 1)
            pair.root.call("take", pair.root.call("child"), pair.root.call("refuse"))
        pair.run()
        assert pair.server.broker.statistics().answers_kept == 0


def test_arguments_of_calls_that_were_dropped_are_given_back(node: Node) -> None:
    with make_pair(node) as pair:
        broken = pair.root.call("refuse")
        outcomes = [broken.call("take", Thing()), pair.root.call("take", broken, Thing())]
        pair.run()
        for outcome in outcomes:
            assert_same_error(outcome, broken)


def test_what_is_given_back_behind_a_call_that_waits_is_still_there_for_it(node: Node) -> None:
    with make_pair(node) as pair:
        child = pair.call("child")
        slow = pair.root.call("later")
        outcome = pair.root.call("same", [slow, child])
        target = child.call("mark", "it lives", slow)
        del child
        gc.collect()
        pair.run()
        assert pair.server.broker.statistics().exported == 1
        node.later[0].answer(1)
        pair.run()
        assert target.result() == "it lives"
        assert outcome.result()[0] == 1
        del outcome


def test_releases_go_on_under_a_steady_load_of_pipelined_calls(node: Node) -> None:
    with make_pair(node) as pair:
        pair.root.call("later").call("name")
        for _ in range(50):
            pair.root.call("later").call("name")
            pair.run()
            node.later.pop().answer(Thing())
            pair.run()
            statistics = pair.server.broker.statistics()
            assert statistics.calls_waiting == 1
            assert statistics.exported <= 2
            assert statistics.answers_kept <= 3
        node.later.pop().answer(Thing())


def test_a_cacheable_is_introduced_before_its_updates(node: Node) -> None:
    with make_pair(node) as pair:
        counter = Counter(n=0)
        slow = pair.root.call("later")
        outcomes = [pair.root.call("take", slow, counter), slow.call("take", counter)]
        counter.set("n", 1)
        pair.run()
        counter.set("n", 2)
        node.later[0].answer(node)
        pair.run()
        counter.set("n", 3)
        pair.run()
        replicas = [thing for thing in node.held if isinstance(thing, CounterReplica)]
        assert len(replicas) == 2
        assert replicas[0] is replicas[1]
        assert replicas[0].numbers == {"n": 3}
        assert outcomes[0].done
        for things in (node.held, node.log, replicas):
            things.clear()
        outcomes.clear()
        del slow


# -- cancellation


def test_a_cancelled_promise_stops_what_hangs_on_it(node: Node) -> None:
    with make_pair(node) as pair:
        slow = pair.root.call("later")
        outcome, after = slow.call("mark", 1), pair.root.call("mark", 2)
        pair.run()
        slow.cancel()
        assert outcome.cancelled
        pair.run()
        assert node.later[0].cancelled
        node.later[0].fail(pb.Error("cancelled"))
        pair.run()
        assert after.result() == 2
        assert node.log == [2]


def test_a_call_that_waits_for_an_answer_can_be_cancelled_and_nothing_waits_for_it(node: Node) -> None:
    with make_pair(node) as pair:
        slow = pair.root.call("later")
        outcome, after = slow.call("take", Thing()), pair.root.call("mark", 2)
        pair.run()
        outcome.cancel()
        pair.run()
        assert pair.server.broker.statistics().calls_waiting == 0
        assert after.result() == 2
        node.later[0].answer(node)
        pair.run()
        assert node.log == [2]
        del slow


def test_a_call_that_waits_alone_is_given_up_with_the_promise_that_it_waits_for(node: Node) -> None:
    with make_pair(node) as pair:
        slow = sent_unmarked(pair)
        held = slow.call("mark", 1)
        slow.cancel()
        assert held.cancelled
        pair.run()
        assert node.later[0].cancelled
        node.later[0].fail(pb.Error("cancelled"))
        pair.run()
        assert node.log == []


@pytest.mark.parametrize("backwards", [False, True])
def test_calls_that_wait_for_room_are_given_up_where_they_are(node: Node, backwards: bool) -> None:
    with make_pair(node, client_limits=pb.Limits(calls_in_flight=2)) as pair:
        outcomes = [pair.root.call("later", Thing()) for _ in range(10)]
        pair.run()
        assert pair.client.broker.statistics().calls_held == 8
        for outcome in reversed(outcomes) if backwards else outcomes:
            outcome.cancel()
        assert pair.client.broker.statistics().calls_held == 0
        pair.run()
        assert len(node.later) == 2  # the others were never sent
        assert all(later.cancelled for later in node.later)
        while node.later:
            node.later.pop().fail(pb.Error("cancelled"))


# -- hostile peers

KEEP = codes.WANTS_ANSWER | codes.KEEP_ANSWER


def said(pair: BrokerPair, *messages: list[Any]) -> str:
    """Let the server receive raw messages; return the reason why it ended the connection."""
    for message in messages:
        body = packb(message)
        pair.server.receive(frame_header(len(body)) + body)
    return pair.server.code


def call(
    request: int, target: Any, name: str, flags: int, *args: Any, on: list[int] | None = None
) -> list[Any]:
    return [codes.CALL, request, target, name, flags, list(args), *([{}, on] if on else [])]


@pytest.mark.parametrize(
    ("messages", "code"),
    [
        ([[codes.FORGET, 7]], ""),
        ([call(1, [7], "mark", 1)], "bad-id"),
        ([call(1, "root", "mark", 1, on=[7])], "bad-id"),
        ([call(1, "root", "mark", 1, 1), call(2, [1], "mark", 1)], "bad-id"),
        ([call(1, [1], "mark", KEEP)], "bad-id"),
        ([call(1, "root", "mark", KEEP, on=[1])], "bad-id"),
        ([call(1, [2], "mark", KEEP), call(2, [1], "mark", KEEP)], "bad-id"),
        ([call(1, "root", "child", KEEP), [codes.FORGET, 1], call(2, [1], "mark", 1)], "bad-id"),
        ([call(1, "root", "child", KEEP), call(1, "root", "child", KEEP)], "duplicate-id"),
        ([call(1, "root", "child", KEEP), [codes.FORGET, 1], [codes.FORGET, 1]], ""),
        ([call(1, "root", "mark", 1, Ext(codes.PROMISE, b"\x07"))], ""),
        (
            [call(1, "root", "later", KEEP), call(2, "root", "mark", 1, on=[1]), [codes.RELEASE, 99, 1]],
            "refcount",
        ),
    ],
    ids=[
        "forgets what was never kept",
        "calls what is not there",
        "hangs on what is not there",
        "calls an answer that is not kept",
        "calls itself",
        "hangs on itself",
        "a cycle",
        "calls what was forgotten",
        "uses an id again",
        "forgets twice",
        "mentions what it does not say it hangs on",
        "gives back what it never had, behind a call that waits",
    ],
)
def test_a_hostile_peer_hurts_itself_alone(node: Node, messages: list[list[Any]], code: str) -> None:
    pair = make_pair(node)
    assert said(pair, *messages) == code


def test_references_beyond_the_limit_in_a_call_that_waited_end_the_connection(node: Node) -> None:
    pair = make_pair(node, limits=pb.Limits(references_received=1))
    mine = [Ext(codes.REMOTE, b"\x05"), Ext(codes.REMOTE, b"\x06")]
    said(pair, call(1, "root", "later", KEEP), call(2, "root", "take", 1, *mine, on=[1]))
    node.later[0].answer(1)
    assert pair.server.code == "limit-references"


def test_too_many_kept_answers(node: Node) -> None:
    pair = make_pair(node, limits=pb.Limits(references_exported=5))
    for request in range(1, 6):
        assert said(pair, call(request, "root", "mark", KEEP, 1)) == ""
    assert said(pair, call(6, "root", "mark", KEEP, 1)) == "limit-kept"


def test_kept_answers_that_are_too_large(node: Node) -> None:
    pair = make_pair(node, limits=pb.Limits(message_bytes=1000, large_string_bytes=1000))
    kept = [said(pair, call(request, "root", "same", KEEP, b"x" * 900)) for request in range(1, 7)]
    assert not any(kept)
    said(pair, call(7, "root", "take", 1, Ext(codes.PROMISE, b"\x04"), on=[4]))
    assert node.log == [(b"x" * 900,)]
    pair.server.take()
    said(pair, call(8, "root", "take", 1, Ext(codes.PROMISE, b"\x06"), on=[6]))
    assert b"LimitExceeded" in pair.server.take()
    assert len(node.log) == 1
    assert pair.server.code == ""


def test_a_call_that_the_peer_answers_and_drops_is_settled_once(node: Node) -> None:
    """A late answer to a call that has ended here is ignored."""
    with make_pair(node) as pair:
        broken = pair.root.call("refuse")
        outcome = broken.call("mark", 1)
        pair.run()
        assert type(outcome.error) is type(broken.error)
        assert isinstance(outcome.error, pb.RemoteError)
        assert outcome.error.ran is False
        assert isinstance(broken.error, pb.RemoteError)
        assert broken.error.ran is True
        assert outcome._call is not None
        body = packb([codes.ANSWER, outcome._call.request, 5])
        pair.client.receive(frame_header(len(body)) + body)
        assert pair.client.code == ""
        assert pair.client.broker.receiver.ignored == 1


@pytest.mark.parametrize("held", [Desk, Referenceable])
def test_a_kept_answer_keeps_its_object_until_it_is_forgotten(node: Node, held: type[Referenceable]) -> None:
    with make_pair(node) as pair:
        said(pair, call(1000, "root", "later", KEEP))
        node.later[0].answer(held())
        assert pair.server.broker.statistics().answers_kept == 1
        said(pair, [codes.FORGET, 1000], [codes.RELEASE, 1, 1])
        assert pair.server.broker.statistics().answers_kept == 0
        pair.server.take()
