"""While we do not read, a peer's silence proves nothing, and it must hear of us nevertheless."""

from __future__ import annotations

import pytest

import perspective_broker as pb
from perspective_broker.testing.sansio import BrokerPair, Later

pytestmark = pytest.mark.modern


class Slow(pb.Root):
    def remote_wait(self) -> Later:
        return Later()


def test_a_peer_that_we_do_not_read_is_not_given_up_and_does_not_give_us_up() -> None:
    pair = BrokerPair(
        Slow(), dialects=["pb7"], limits=pb.Limits(calls_in_flight=1), client_limits=pb.Limits()
    )
    outcomes = [pair.root.call("wait") for _ in range(10)]
    pair.run()
    assert not pair.server.broker.wants_data
    for _ in range(12):  # four minutes
        pair.advance(20)
        pair.run()
    assert (pair.server.code, pair.client.code) == ("", "")
    for _ in range(10):
        pair.server.running[0].answer("late")
        pair.run()
    assert [outcome.result() for outcome in outcomes] == ["late"] * 10
    assert pair.server.broker.wants_data
    # From now on silence means what it meant.
    pair.advance(20)
    pair.server.take()  # its ping is lost
    pair.advance(20)
    assert pair.server.code == "ping-timeout"


def test_refusals_that_nobody_reads_stop_the_reading() -> None:
    """They need no method that would wait for room: a peer that reads nothing filled the memory with them."""
    limits = pb.Limits(write_buffer_high=10_000, write_buffer_low=1000)
    pair = BrokerPair(Slow(), dialects=["pb7"], limits=limits, client_limits=pb.Limits())
    outcomes = [pair.root.call("nothing") for _ in range(900)]
    data = b"".join(map(bytes, pair.client.broker.data_to_send()))
    server = pair.server.broker
    server.receive_data(data, pair.clock.now)
    while server.process(64, pair.clock.now):
        pass  # the transport takes nothing meanwhile
    assert not server.wants_data
    assert server.statistics().bytes_buffered < 11_000
    pair.run()
    assert server.wants_data
    assert {type(outcome.error) for outcome in outcomes} == {pb.NoSuchMethod}
