"""The peer's calls: slots, waiting, and ids that are in use."""

from __future__ import annotations

import pytest

import perspective_broker as pb
from perspective_broker.session.memory import Memory
from perspective_broker.session.serving import LEAST_WAITING, IncomingCall, Serving


def call(request: int, size: int = 10, *, wants_answer: bool = True) -> IncomingCall:
    made = IncomingCall(request, "x", wants_answer, size)
    made.waiting_size = max(size, LEAST_WAITING)
    return made


def serving_of(limits: pb.Limits) -> Serving:
    return Serving(limits, Memory(limits, None))


def test_an_id_is_free_again_when_its_call_has_ended() -> None:
    serving, first = serving_of(pb.Limits()), call(1)
    serving.arrive(first)
    assert serving.find(1) is first
    with pytest.raises(pb.ProtocolError, match="duplicate-id"):
        serving.arrive(call(1))
    serving.start(first)
    assert serving.end(first)
    assert not serving.end(first)
    serving.arrive(call(1))


def test_an_id_of_a_call_without_an_answer_means_nothing() -> None:
    serving = serving_of(pb.Limits())
    serving.arrive(call(1, wants_answer=False))
    serving.arrive(call(1))
    serving.arrive(call(1, wants_answer=False))


def test_a_slot_is_held_until_the_end() -> None:
    serving = serving_of(pb.Limits(calls_in_flight=1))
    running = call(1)
    assert serving.has_slot(0)
    serving.start(running)
    assert not serving.has_slot(0)
    serving.end(running)
    assert serving.has_slot(0)


def test_each_unanswered_call_of_ours_lends_a_slot() -> None:
    serving = serving_of(pb.Limits(calls_in_flight=1))
    first, lent = call(1), call(2)
    serving.start(first)
    assert serving.has_slot(1)
    serving.start(lent)
    assert not serving.has_slot(1)
    assert serving.has_slot(2)
    serving.end(lent)
    assert serving.has_slot(1)


def test_methods_in_lent_slots_are_bounded() -> None:
    serving = serving_of(pb.Limits(calls_in_flight=1, calls_begun=2))
    serving.start(call(1))
    assert not serving.is_overrun
    serving.start(call(2))
    assert serving.is_overrun


def test_the_bound_follows_from_the_slots_when_it_is_not_given() -> None:
    assert pb.Limits().most_begun == 4096
    assert pb.Limits(calls_in_flight=2000).most_begun == 8000
    assert pb.Limits().before_login().most_begun == 256


def test_a_message_of_a_stream_takes_no_slot() -> None:
    serving = serving_of(pb.Limits(calls_in_flight=1))
    message = call(1)
    serving.start_without_slot(message)
    assert serving.has_slot(0)
    assert len(serving) == 1
    serving.end(message)
    assert serving.has_slot(0)
    assert len(serving) == 0


def test_those_in_line_come_in_order_and_can_be_withdrawn() -> None:
    serving, calls = serving_of(pb.Limits()), [call(request) for request in range(3)]
    for waiting in calls:
        serving.get_in_line(waiting)
    serving.leave_line(calls[1])
    assert not serving.stands_in_line(calls[1])
    assert serving.first() is calls[0]
    serving.leave_line(calls[0])
    assert serving.first() is calls[2]


def test_the_line_is_full_by_bytes_and_lets_the_last_in_whole() -> None:
    serving = serving_of(pb.Limits(waiting_bytes=1000))
    serving.get_in_line(call(1, 900))
    assert not serving.is_full
    large = call(2, 1_000_000)
    serving.get_in_line(large)
    assert serving.is_full
    serving.leave_line(large)
    assert not serving.is_full


def test_small_calls_in_line_count_for_what_they_take() -> None:
    serving = serving_of(pb.Limits(waiting_bytes=1024))
    for request in range(4):
        serving.get_in_line(call(request, 1))
        assert not serving.is_full
    serving.get_in_line(call(4, 1))
    assert serving.is_full


def test_the_end_of_the_connection_leaves_nothing_and_tells_what_runs() -> None:
    serving, running = serving_of(pb.Limits()), call(1)
    serving.arrive(running)
    serving.start(running)
    serving.get_in_line(call(2))
    assert serving.abandon(in_order=False) == [running]
    assert running.done
    assert not serving.end(running)
    assert (serving.running, serving.waiting, serving.find(1)) == ({}, 0, None)


def test_methods_whose_answer_nobody_wants_may_end_when_the_connection_ends_in_order() -> None:
    serving, asked, told = serving_of(pb.Limits()), call(1), call(2, wants_answer=False)
    for running in (asked, told):
        serving.arrive(running)
        serving.start(running)
    assert serving.abandon(in_order=True) == [asked]
    assert not told.done


def test_large_calls_run_no_more_at_once_than_a_caller_of_ours_has_open() -> None:
    serving = serving_of(pb.Limits(window_bytes=1024 * 1024))
    large = [call(request, 16 * 1024 * 1024) for request in range(5)]
    for running in large[:4]:
        assert serving.has_slot(0)
        serving.start(running)
    assert not serving.has_slot(0)
    serving.end(large[0])
    assert serving.has_slot(0)
    serving.start(large[4])
    serving.abandon(in_order=False)
    assert serving.has_slot(0)


def test_a_call_is_charged_from_its_arrival_to_its_end() -> None:
    limits = pb.Limits()
    memory = Memory(limits, None)
    serving = Serving(limits, memory)
    heavy = call(1)
    heavy.weight = 5000
    serving.arrive(heavy)
    assert memory.held == 5000
    serving.start(heavy)
    serving.end(heavy)
    serving.end(heavy)
    assert memory.held == 0
