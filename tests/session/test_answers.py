"""The peer's calls: slots, waiting, and ids that are in use."""

from __future__ import annotations

import pytest

import perspective_broker as pb
from perspective_broker.session.answers import Answers
from perspective_broker.session.incoming_call import LEAST_WAITING, IncomingCall
from perspective_broker.session.memory import Memory


def call(request: int, size: int = 10, *, wants_answer: bool = True) -> IncomingCall:
    made = IncomingCall(request, "x", wants_answer, size)
    made.waiting_size = max(size, LEAST_WAITING)
    return made


def answers_of(limits: pb.Limits) -> Answers:
    return Answers(limits, Memory(limits, None))


def test_an_id_is_free_again_when_its_call_has_ended() -> None:
    answers, first = answers_of(pb.Limits()), call(1)
    answers.arrive(first)
    assert answers.find(1) is first
    with pytest.raises(pb.ProtocolError, match="duplicate-id"):
        answers.arrive(call(1))
    answers.start(first)
    assert answers.end(first)
    assert not answers.end(first)
    answers.arrive(call(1))


def test_an_id_of_a_call_without_an_answer_means_nothing() -> None:
    answers = answers_of(pb.Limits())
    answers.arrive(call(1, wants_answer=False))
    answers.arrive(call(1))
    answers.arrive(call(1, wants_answer=False))


def test_a_slot_is_held_until_the_end() -> None:
    answers = answers_of(pb.Limits(calls_in_flight=1))
    running = call(1)
    assert answers.has_slot(0)
    answers.start(running)
    assert not answers.has_slot(0)
    answers.end(running)
    assert answers.has_slot(0)


def test_each_unanswered_call_of_ours_lends_a_slot() -> None:
    answers = answers_of(pb.Limits(calls_in_flight=1))
    first, lent = call(1), call(2)
    answers.start(first)
    assert answers.has_slot(1)
    answers.start(lent)
    assert not answers.has_slot(1)
    assert answers.has_slot(2)
    answers.end(lent)
    assert answers.has_slot(1)


def test_methods_in_lent_slots_are_bounded() -> None:
    answers = answers_of(pb.Limits(calls_in_flight=1, calls_begun=2))
    answers.start(call(1))
    assert not answers.is_overrun
    answers.start(call(2))
    assert answers.is_overrun


def test_the_bound_follows_from_the_slots_when_it_is_not_given() -> None:
    assert pb.Limits().most_begun == 4096
    assert pb.Limits(calls_in_flight=2000).most_begun == 8000
    assert pb.Limits().before_login().most_begun == 256


def test_a_message_of_a_stream_takes_no_slot() -> None:
    answers = answers_of(pb.Limits(calls_in_flight=1))
    message = call(1)
    answers.start_without_slot(message)
    assert answers.has_slot(0)
    assert len(answers) == 1
    answers.end(message)
    assert answers.has_slot(0)
    assert len(answers) == 0


def test_queued_calls_come_in_order_and_can_be_withdrawn() -> None:
    answers, calls = answers_of(pb.Limits()), [call(request) for request in range(3)]
    for waiting in calls:
        answers.queue(waiting)
    answers.leave_queue(calls[1])
    assert answers.first() is calls[0]
    answers.leave_queue(calls[0])
    assert answers.first() is calls[2]


def test_the_queue_is_full_by_bytes_and_lets_the_last_in_whole() -> None:
    answers = answers_of(pb.Limits(waiting_bytes=1000))
    answers.queue(call(1, 900))
    assert not answers.is_full
    large = call(2, 1_000_000)
    answers.queue(large)
    assert answers.is_full
    answers.leave_queue(large)
    assert not answers.is_full


def test_small_calls_in_the_queue_count_for_what_they_take() -> None:
    answers = answers_of(pb.Limits(waiting_bytes=1024))
    for request in range(4):
        answers.queue(call(request, 1))
        assert not answers.is_full
    answers.queue(call(4, 1))
    assert answers.is_full


def test_the_end_of_the_connection_leaves_nothing_and_tells_what_runs() -> None:
    answers, running = answers_of(pb.Limits()), call(1)
    answers.arrive(running)
    answers.start(running)
    answers.queue(call(2))
    assert answers.abandon(in_order=False) == [running]
    assert running.has_ended
    assert not answers.end(running)
    assert (answers.running, answers.waiting, answers.find(1)) == ({}, 0, None)


def test_methods_whose_answer_nobody_wants_may_end_when_the_connection_ends_in_order() -> None:
    answers, asked, told = answers_of(pb.Limits()), call(1), call(2, wants_answer=False)
    for running in (asked, told):
        answers.arrive(running)
        answers.start(running)
    assert answers.abandon(in_order=True) == [asked]
    assert not told.has_ended


def test_large_calls_run_no_more_at_once_than_a_caller_of_ours_has_open() -> None:
    answers = answers_of(pb.Limits(window_bytes=1024 * 1024))
    large = [call(request, 16 * 1024 * 1024) for request in range(5)]
    for running in large[:4]:
        assert answers.has_slot(0)
        answers.start(running)
    assert not answers.has_slot(0)
    answers.end(large[0])
    assert answers.has_slot(0)
    answers.start(large[4])
    answers.abandon(in_order=False)
    assert answers.has_slot(0)


def test_a_call_is_charged_from_its_arrival_to_its_end() -> None:
    limits = pb.Limits()
    memory = Memory(limits, None)
    answers = Answers(limits, memory)
    heavy = call(1)
    heavy.weight = 5000
    answers.arrive(heavy)
    assert memory.held == 5000
    answers.start(heavy)
    answers.end(heavy)
    answers.end(heavy)
    assert memory.held == 0
