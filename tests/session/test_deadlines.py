"""Time as an argument: when a peer is overdue, and that a late timer of ours does not count against it."""

from __future__ import annotations

import pytest

from perspective_broker import Limits
from perspective_broker.session.deadlines import GRACE, LATE, SLOWEST_BYTES_PER_SECOND, Deadlines

LIMITS = Limits(
    handshake_seconds=10, message_seconds=30, slow_consumer_seconds=25, ping_seconds=20, pong_seconds=15
)
START = 1000.0


def established(keepalive: bool = False) -> Deadlines:
    deadlines = Deadlines(LIMITS, START)
    deadlines.established(keepalive)
    return deadlines


def code_at(deadlines: Deadlines, now: float, mid_message: int = 0) -> str | None:
    error = deadlines.overdue(now, mid_message)
    return error.code if error is not None else None


def test_a_silent_handshake_ends() -> None:
    deadlines = Deadlines(LIMITS, START)
    assert deadlines.next(0) == START + 10
    assert code_at(deadlines, START + 9.99) is None
    assert code_at(deadlines, START + 10) == "handshake-timeout"


def test_nothing_is_due_between_messages() -> None:
    deadlines = established()
    assert deadlines.next(0) is None
    assert code_at(deadlines, START + 1e9) is None


def test_a_message_has_its_time_and_more_for_its_size() -> None:
    deadlines = established()
    deadlines.message_began = START
    assert deadlines.next(5) == pytest.approx(START + 30, abs=0.001)
    long_one = 60 * SLOWEST_BYTES_PER_SECOND
    assert deadlines.next(long_one) == START + 90
    assert code_at(deadlines, START + 89, long_one) is None
    assert code_at(deadlines, START + 90, long_one) == "message-timeout"


def test_a_peer_that_does_not_read_is_given_up() -> None:
    deadlines = established()
    deadlines.blocked_since = START
    assert deadlines.next(0) == START + 25
    assert code_at(deadlines, START + 25) == "slow-consumer"


def test_a_silent_peer_is_asked_once_and_then_given_up() -> None:
    deadlines = established(keepalive=True)
    assert deadlines.next(0) == START + 20
    assert not deadlines.wants_ping(START + 19)
    assert deadlines.wants_ping(START + 20)
    assert not deadlines.wants_ping(START + 21)
    assert deadlines.next(0) == START + 35
    assert code_at(deadlines, START + 34.9) is None
    assert code_at(deadlines, START + 35) == "ping-timeout"


def test_any_byte_is_a_sign_of_life() -> None:
    deadlines = established(keepalive=True)
    assert deadlines.wants_ping(START + 20)
    deadlines.heard = START + 30
    assert code_at(deadlines, START + 40) is None
    assert deadlines.next(0) == START + 50
    assert deadlines.wants_ping(START + 50)


def test_who_is_patient_with_an_answer_asks_no_later_again() -> None:
    """The driver checks at the requested time; the answer to the first ping does not make it check again."""
    deadlines = Deadlines(Limits(ping_seconds=5, pong_seconds=60), START)
    deadlines.established(keepalive=True)
    assert deadlines.wants_ping(START + 5)
    look = deadlines.next(0)
    assert look == START + 10
    deadlines.heard = START + 5.5
    assert not deadlines.wants_ping(look)
    assert deadlines.next(0) == START + 10.5
    assert deadlines.wants_ping(START + 10.5)
    # Now it is silent: the timer runs in between, and the connection ends when the time is over.
    for now in range(1015, 1070, 5):
        assert code_at(deadlines, now + 0.5) is None
        assert not deadlines.wants_ping(now + 0.5)
        assert deadlines.next(0) == now + 5.5
    assert code_at(deadlines, START + 70.5) == "ping-timeout"


def test_without_keepalive_silence_is_nothing() -> None:
    deadlines = established(keepalive=False)
    assert not deadlines.wants_ping(START + 1e6)
    assert deadlines.next(0) is None


def test_a_late_timer_first_lets_the_bytes_be_read() -> None:
    """Our own loop stood still for 2.5 s: a peer that is checked too late is checked again after a grace."""
    deadlines = established(keepalive=True)
    deadlines.wants_ping(START + 20)
    late = START + 35 + 2.5
    assert code_at(deadlines, late) is None
    assert deadlines.next(0) == late + GRACE
    healthy = established(keepalive=True)
    healthy.wants_ping(START + 20)
    assert code_at(healthy, late) is None
    healthy.heard = late + 0.01  # the pong had already arrived
    assert code_at(healthy, late + GRACE) is None
    # A peer that really is silent gets the grace once.
    assert code_at(deadlines, late + GRACE - LATE) is None
    assert code_at(deadlines, late + GRACE) == "ping-timeout"


def test_after_the_end_nothing_is_due() -> None:
    deadlines = Deadlines(LIMITS, START)
    deadlines.message_began = deadlines.blocked_since = START
    deadlines.stop()
    assert deadlines.next(0) is None
    assert code_at(deadlines, START + 1e9) is None


def test_each_message_in_pieces_has_its_time_whatever_comes_between() -> None:
    deadlines = established()
    deadlines.pieces_came({1: 10}, START)
    deadlines.pieces_came({1: 10, 2: 5}, START + 20)
    assert code_at(deadlines, START + 29.9) is None
    assert deadlines.next(0) == pytest.approx(START + 30, abs=0.001)
    deadlines.pieces_came({2: 60 * SLOWEST_BYTES_PER_SECOND}, START + 29.9)  # the first one is complete
    assert deadlines.next(0) == START + 20 + 90
    assert code_at(deadlines, START + 109) is None
    assert code_at(deadlines, START + 110) == "message-timeout"
