"""BrokerPair: two brokers, no event loop, every byte under the test's control."""

from __future__ import annotations

import pytest

import perspective_broker as pb
from perspective_broker.testing import BrokerPair, Later


class Desk(pb.Root):
    def __init__(self) -> None:
        self.later: list[Later] = []
        self.kept: list[object] = []

    def remote_echo(self, *args: object) -> tuple[object, ...]:
        return args

    def remote_later(self) -> Later:
        self.later.append(Later())
        return self.later[-1]

    def remote_keep(self, thing: object) -> None:
        self.kept.append(thing)

    def remote_raise(self) -> None:
        raise pb.Error("as expected")


def test_a_call_is_answered_when_the_link_has_carried_it() -> None:
    with BrokerPair(Desk()) as pair:
        outcome = pair.root.call("echo", 1, "two")
        assert not outcome.done
        pair.link.deliver(pair.server)
        assert not outcome.done
        pair.link.deliver(pair.client)
        assert outcome.result() == (1, "two")


@pytest.mark.parametrize("size", [1, 2, 7, None])
def test_pieces_of_any_size_give_the_same_answers(size: int | None) -> None:
    with BrokerPair(Desk(), established=False) as pair:
        pair.run(size)
        outcomes = [pair.root.call("echo", n) for n in range(5)]
        pair.run(size)
        assert [outcome.result() for outcome in outcomes] == [(n,) for n in range(5)]


def test_a_later_answer_comes_when_it_is_resolved_and_may_be_an_error() -> None:
    desk = Desk()
    with BrokerPair(desk) as pair:
        one, two = pair.root.call("later"), pair.root.call("later")
        pair.run()
        assert (one.done, two.done) == (False, False)
        desk.later[1].answer("second")
        desk.later[0].fail(pb.Error("first"))
        pair.run()
        assert two.result() == "second"
        with pytest.raises(pb.RemoteError, match="first"):
            one.result()


def test_a_cut_fails_pending_calls_and_cancels_methods() -> None:
    desk = Desk()
    with BrokerPair(desk) as pair:
        outcome = pair.root.call("later")
        pair.run()
        pair.link.cut()
        with pytest.raises(pb.ConnectionLost, match="cut"):
            outcome.result()
        assert desk.later[0].cancelled
        assert pair.server.code == "lost"


def test_what_was_sent_before_a_close_still_arrives() -> None:
    desk = Desk()
    with BrokerPair(desk) as pair:
        pair.root.tell("keep", "last words")
        pair.client.broker.close()
        pair.run()
        assert desk.kept == ["last words"]
        assert pair.server.code != ""


def test_time_passes_only_when_told() -> None:
    pair = BrokerPair(established=False, limits=pb.Limits(handshake_seconds=10))
    pair.advance(9)
    assert pair.server.code == ""
    pair.advance(1)
    assert pair.server.code == "handshake-timeout"


def test_a_reference_that_is_kept_is_a_leak_and_says_so() -> None:
    desk = Desk()
    pair = BrokerPair(desk)
    pair.call("keep", pb.Referenceable())
    with pytest.raises(AssertionError, match="server: 1 references imported; client: 1 objects exported"):
        pair.assert_no_leaks()
    desk.kept.clear()
    pair.assert_no_leaks()


def test_a_blocked_end_says_nothing_until_it_can_again() -> None:
    with BrokerPair(Desk()) as pair:
        pair.server.set_blocked(True)
        outcome = pair.root.call("echo")
        pair.run()
        assert not outcome.done
        pair.server.set_blocked(False)
        pair.run()
        assert outcome.result() == ()


def test_a_remote_error_arrives() -> None:
    with BrokerPair(Desk()) as pair, pytest.raises(pb.RemoteError, match="as expected"):
        pair.call("raise")


def test_a_call_on_a_call_that_was_never_made_fails_like_it() -> None:
    with BrokerPair() as pair:
        first = pair.root.call("nothing")
        pair.run()
        second = first.call("more").call("still more")
        with pytest.raises(pb.NoSuchMethod):
            second.result()


@pytest.mark.parametrize("dialect", ["pb7", "pb"])
def test_carrying_ends_while_a_method_runs_behind_the_peers_end(dialect: str) -> None:
    desk = Desk()
    pair = BrokerPair(desk, dialects=[dialect], limits=pb.Limits(calls_in_flight=1))
    pair.root.tell("later")
    pair.root.tell("echo")
    pair.client.broker.finish("closed", "the program closed it", 0.0)
    pair.run()
    assert pair.server.code == ""
    desk.later[0].answer()
    pair.run()
    assert "echo" in pair.server.invoked


def test_a_call_that_was_never_made_can_be_cancelled() -> None:
    with BrokerPair(Desk()) as pair:
        first = pair.root.call("later")
        first.cancel()
        never_made = first.call("echo", 1)
        never_made.cancel()
        assert isinstance(never_made.error, type(first.error))
        pair.run()
        pair.server.running[0].answer()
        pair.run()
