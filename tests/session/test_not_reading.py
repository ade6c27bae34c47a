"""While we do not read, a peer's silence is not judged, but we still send pings."""

from __future__ import annotations

from typing import Any

import pytest
from ormsgpack import Ext, packb

import perspective_broker as pb
from bench.hostile import Modern
from perspective_broker.dialects.pb7 import codes
from perspective_broker.dialects.pb7.frames import frame_header
from perspective_broker.testing import BrokerPair, Clock, End, Later

pytestmark = pytest.mark.modern


class Slow(pb.Root):
    def remote_wait(self) -> Later:
        return Later()


def test_a_peer_that_we_do_not_read_is_not_given_up_and_does_not_give_us_up() -> None:
    pair = BrokerPair(
        Slow(),
        dialects=["pb7"],
        limits=pb.Limits(calls_in_flight=1, waiting_bytes=1000, stalled_seconds=None),
        client_limits=pb.Limits(),
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
    # From now on silence is judged again.
    pair.advance(20)
    pair.server.take()  # its ping is lost
    pair.advance(20)
    assert pair.server.code == "ping-timeout"


def test_refusals_that_nobody_reads_stop_the_reading() -> None:
    """They do not wait for the write buffer: a peer that does not read could fill the memory with them."""
    limits = pb.Limits(write_buffer_high=10_000, write_buffer_low=1000)
    pair = BrokerPair(Slow(), dialects=["pb7"], limits=limits, client_limits=pb.Limits())
    outcomes = [pair.root.call("nothing") for _ in range(900)]
    data = b"".join(map(bytes, pair.client.broker.data_to_send()))
    server = pair.server.broker
    server.receive_data(data, pair.clock.now)
    while server.process(64, pair.clock.now):
        pass  # the transport does not accept bytes in the meantime
    assert not server.wants_data
    assert server.statistics().bytes_buffered < 11_000
    pair.run()
    assert server.wants_data
    assert {type(outcome.error) for outcome in outcomes} == {pb.NoSuchMethod}


def _frame(*operation: Any) -> bytes:
    body = packb(list(operation))
    return frame_header(len(body)) + body


def test_what_a_deadline_brings_up_may_end_the_connection_but_not_the_timer() -> None:
    """A waiting call that is not decoded may have too many references; once the error was raised in the timer."""
    arguments = [Ext(codes.REMOTE, bytes([n])) for n in range(1, 30)]
    end = End(Clock(), server=True, root=Slow(), limits=pb.Limits(references_received=20))
    end.receive(Modern.hello)
    end.receive(_frame(codes.CALL, 1, "root", "wait", 3, []))
    end.receive(_frame(codes.CALL, 2, "root", "wait", [1, 50], arguments, {}, [1]))
    assert end.cause is None
    end.clock.now += 1
    end.broker.handle_deadline(end.clock.now)
    assert end.code == "limit-references"
