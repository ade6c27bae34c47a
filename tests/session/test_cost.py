"""The cost of a call, in executed lines, does not grow with the number of calls that wait."""

from __future__ import annotations

import sys
from collections.abc import Callable
from types import FrameType
from typing import Any

import pytest
from ormsgpack import Ext, packb

import perspective_broker as pb
from perspective_broker.dialects.pb7 import codes
from perspective_broker.dialects.pb7.frames import frame_header
from perspective_broker.testing import Outcome

from .objects import Node, Thing, make_pair

pytestmark = pytest.mark.skipif(pb.build.COMPILED, reason="compiled code runs no lines that can be counted")

FEW = 50


def lines(run: Callable[[], object]) -> int:
    """Return how many lines and calls of Python ``run`` takes."""
    count = 0

    def trace(frame: FrameType, event: str, arg: Any) -> Any:
        nonlocal count
        count += 1
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        run()
    finally:
        sys.settrace(before)
    return count


def assert_linear(cost: Callable[[int], int], number: int = FEW) -> None:
    """Assert that four times as much takes about four times as long."""
    few, many = cost(number), cost(4 * number)
    assert many < 5 * few, f"{number}: {few} lines, {4 * number}: {many}"


@pytest.mark.parametrize("in_flight", [1, 10, 1024])
@pytest.mark.parametrize("forward", [True, False])
def test_calls_on_promises_are_made_answered_and_cancelled_in_linear_time(
    in_flight: int, forward: bool
) -> None:
    def cost(number: int) -> int:
        with make_pair(Node(), client_limits=pb.Limits(calls_in_flight=in_flight)) as pair:
            made: list[Outcome] = []

            def make() -> None:
                for _ in range(number):
                    made.append(pair.root.call("child"))
                    made.append(made[-1].call("mark", 1))
                    made.append(pair.root.call("take", made[-2]))

            count = lines(make) + lines(pair.run)
            assert all(outcome.done for outcome in made)
            made.clear()
            count += lines(make)

            def cancel() -> None:
                for outcome in made if forward else reversed(made):
                    outcome.cancel()

            count += lines(cancel) + lines(pair.run)
            pair.server.broker.tables.exports.find("root").obj.held.clear()
            pair.server.broker.tables.exports.find("root").obj.log.clear()
            made.clear()
        return count

    assert_linear(cost)


@pytest.mark.parametrize("end", ["answer", "fail", "cancel"])
def test_one_answer_that_many_wait_for_takes_linear_time(end: str) -> None:
    def cost(number: int) -> int:
        node = Node()
        with make_pair(node) as pair:
            promises = [pair.root.call("later")]
            pair.run()
            made = [promises[0].call("mark", 1) for _ in range(number)]
            chain = [promises[0].call("child")]
            for _ in range(number):
                chain.append(chain[-1].call("child"))

            def finish() -> None:
                if end == "answer":
                    node.later[0].answer(node)
                elif end == "fail":
                    node.later[0].fail(pb.Error("no"))
                else:
                    promises[0].cancel()
                pair.run()

            count = lines(finish)
            if end == "cancel":
                node.later[0].answer()
                pair.run()
            assert all(outcome.done for outcome in (*made, *chain))
            made.clear()
            chain.clear()
            promises.clear()
        return count

    assert_linear(cost)


@pytest.mark.modern
@pytest.mark.parametrize("forward", [True, False])
@pytest.mark.parametrize("end", ["cancel", "answer"])
def test_what_is_given_back_behind_calls_that_wait_takes_linear_time(forward: bool, end: str) -> None:
    def cost(number: int) -> int:
        node = Node()
        pair = make_pair(node)

        def say(*messages: list[Any]) -> None:
            bodies = [packb(message) for message in messages]
            pair.server.receive(b"".join(frame_header(len(body)) + body for body in bodies))

        keep = codes.WANTS_ANSWER | codes.KEEP_ANSWER
        say([codes.CALL, 1, "root", "later", keep, []])
        say(*([codes.CALL, 2 + n, "root", "child", keep, []] for n in range(number)))
        pair.server.take()

        def attack() -> None:
            for n in range(number):
                mention = [Ext(codes.PROMISE, b"\x01")]
                say([codes.CALL, 10_000 + n, "root", "mark", 1, mention, {}, [1]])
            say(*([codes.FORGET, 2 + n] for n in range(number)))
            say(*([codes.RELEASE, 1 + n, 1] for n in range(number)))
            if end == "cancel":
                order = range(number) if forward else reversed(range(number))
                say(*([codes.CANCEL, 10_000 + n] for n in order))
            else:
                node.later[0].answer(1)

        count = lines(attack)
        assert pair.server.code == ""
        assert pair.server.broker.statistics().calls_waiting == 0
        pair.server.take()
        pair.link.cut()
        return count

    assert_linear(cost)


def test_calls_that_wait_at_the_end_of_a_connection_end_in_linear_time() -> None:
    def cost(number: int) -> int:
        node = Node()
        pair = make_pair(node, client_limits=pb.Limits(calls_in_flight=2))
        slow = pair.root.call("later")
        pair.run()
        made = [slow.call("mark", Thing()) for _ in range(number)]
        made += [made[-1].call("mark") for _ in range(number)]
        made += [pair.root.call("later") for _ in range(number)]
        pair.run()
        count = lines(pair.link.cut)
        assert all(outcome.done for outcome in made)
        return count

    assert_linear(cost)


def test_calls_that_wait_for_one_answer_after_another_take_linear_time() -> None:
    def cost(number: int) -> int:
        node = Node()
        with make_pair(node) as pair:
            one, two = pair.root.call("later"), pair.root.call("later")
            pair.run()
            made = [pair.root.call("mark", "both", one, two) for _ in range(number)]
            made += [pair.root.call("mark", "two", two) for _ in range(number)]
            node.later[0].answer(1)
            count = lines(pair.run)
            node.later[1].answer(2)
            count += lines(pair.run)
            assert node.log == ["both"] * number + ["two"] * number
            assert all(outcome.done for outcome in made)
        return count

    assert_linear(cost, 200)
