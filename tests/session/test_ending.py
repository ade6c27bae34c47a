"""The orderly end in the session: both ends reach it, and no method of the host is called after it."""

from __future__ import annotations

from typing import Any

import pytest

import perspective_broker as pb

from .objects import Node, make_pair


@pytest.mark.modern
@pytest.mark.parametrize("value", [None, pb.Error("no")], ids=["no object", "an error"])
def test_the_end_comes_when_a_one_way_call_that_waited_for_an_answer_does_not_run(value: Any) -> None:
    node = Node()
    pair = make_pair(node)
    slow = pair.root.call("later")
    slow.tell("mark", 1)
    pair.run()
    pair.client.broker.finish("closed", "the program closed it", 0.0)
    pair.run()
    assert pair.server.cause is None
    assert not node.later[0].cancelled  # the one-way call needs its answer
    if value is None:
        node.later[0].answer(None)
    else:
        node.later[0].fail(value)
    pair.run()
    assert (pair.client.code, pair.server.code) == ("closed", "closed")


@pytest.mark.modern
def test_no_method_is_stopped_behind_the_end() -> None:
    """A call that is withdrawn may end the connection while calls that cannot be answered are being ended."""
    node = Node()
    pair = make_pair(node, limits=pb.Limits(calls_in_flight=2), client_limits=pb.Limits())
    slow = pair.root.call("later")
    child = slow.call("child")
    outcomes = [slow, child, child.call("mark"), pair.root.call("later"), pair.root.call("mark", "in line")]
    pair.run()
    assert len(node.later) == 2
    pair.client.broker.finish("closed", "the program closed it", 0.0)
    pair.run()
    assert all(later.cancelled for later in node.later)
    assert all(isinstance(outcome.error, pb.ConnectionLost) for outcome in outcomes)
    assert node.log == []
    assert (pair.client.code, pair.server.code) == ("closed", "closed")


@pytest.mark.parametrize("first", ["client", "server"])
def test_queued_one_way_calls_run_also_when_both_ends_finish_at_once(first: str) -> None:
    node = Node()
    pair = make_pair(node, client_limits=pb.Limits(calls_in_flight=1), limits=pb.Limits())
    outcomes = [pair.root.call("later"), pair.root.call("mark", "wants an answer")]
    pair.root.tell("mark", 1)
    assert pair.client.broker.statistics().calls_held == 2
    for end in (pair.client, pair.server) if first == "client" else (pair.server, pair.client):
        end.broker.finish("closed", "the program closed it", 0.0)
    pair.run()
    assert 1 in node.log
    assert all(outcome.error is not None for outcome in outcomes)
    assert pair.client.cause is not None
    assert pair.server.cause is not None
    assert pair.client.cause.undelivered == 0


@pytest.mark.parametrize("finishing", ["both", "server"])
def test_queued_one_way_calls_leave_when_the_peers_farewell_comes_first(finishing: str) -> None:
    """The peer reads until our end, so only calls that wait for an answer cannot be sent any more."""
    node = Node()
    pair = make_pair(node, client_limits=pb.Limits(calls_in_flight=1), limits=pb.Limits())
    slow = pair.root.call("later")
    pair.run()
    outcomes = [slow, pair.root.call("mark", "wants an answer")]
    pair.root.tell("mark", 1)
    pair.root.tell("mark", 2, slow)
    if finishing == "both":
        pair.client.broker.finish("closed", "the program closed it", 0.0)
    pair.server.broker.finish("closed", "the program closed it", 0.0)
    pair.run()
    assert all(outcome.error is not None for outcome in outcomes)
    assert node.log == [1]
    assert pair.client.cause is not None
    assert pair.client.cause.undelivered == 1
