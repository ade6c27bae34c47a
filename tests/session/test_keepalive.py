"""Pings between two brokers, by the clock of the pair, without sleeping."""

from __future__ import annotations

import pytest

import perspective_broker as pb

from .objects import make_pair

pytestmark = pytest.mark.modern

LIMITS = pb.Limits(ping_seconds=20, pong_seconds=20)


def test_an_idle_peer_is_asked_and_its_pong_is_a_sign_of_life() -> None:
    with make_pair(limits=LIMITS) as pair:
        for _ in range(10):
            pair.advance(20)
            pair.run()
        received = pair.server.broker.statistics().messages_received
        assert received > 10
        assert (pair.server.code, pair.client.code) == ("", "")


def test_a_peer_that_talks_is_not_asked() -> None:
    with make_pair(limits=LIMITS) as pair:
        before = pair.client.broker.statistics().messages_received
        for number in range(5):
            pair.advance(19)
            assert pair.call("echo", number) == number
        assert pair.client.broker.statistics().messages_received == before + 5  # the answers


def test_a_dead_peer_is_given_up_and_calls_fail() -> None:
    pair = make_pair(limits=LIMITS)
    outcome = pair.root.call("later")
    pair.run()
    pair.advance(20)
    pair.client.take()  # the ping is lost
    pair.advance(20)
    assert pair.client.code == "ping-timeout"
    assert isinstance(outcome.error, pb.ConnectionLost)
    assert outcome.error.code == "ping-timeout"


def test_a_loop_that_stood_still_reads_before_it_judges() -> None:
    with make_pair(limits=LIMITS) as pair:
        pair.advance(20)
        pair.link.deliver(pair.server)
        pair.client.take()
        pair.clock.now += 3600  # the timer is late: the pong has not been read
        pair.client.broker.handle_deadline(pair.clock.now)
        assert pair.client.code == ""
        pair.run()
        pair.advance(0.5)
        pair.run()
        assert pair.client.code == ""
