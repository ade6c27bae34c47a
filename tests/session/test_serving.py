"""The peer's calls: slots, waiting, and ids that are in use."""

from __future__ import annotations

import pytest

import perspective_broker as pb
from perspective_broker.session.serving import IncomingCall, Serving


def call(request: int, size: int = 10, *, wants_answer: bool = True) -> IncomingCall:
    return IncomingCall(request, "x", wants_answer, size)


def test_an_id_is_free_again_when_its_call_has_ended() -> None:
    serving, first = Serving(pb.Limits()), call(1)
    serving.arrive(first)
    assert serving.find(1) is first
    with pytest.raises(pb.ProtocolError, match="duplicate-id"):
        serving.arrive(call(1))
    serving.start(first)
    assert serving.end(first)
    assert not serving.end(first)
    serving.arrive(call(1))


def test_an_id_of_a_call_without_an_answer_means_nothing() -> None:
    serving = Serving(pb.Limits())
    serving.arrive(call(1, wants_answer=False))
    serving.arrive(call(1))
    serving.arrive(call(1, wants_answer=False))


def test_a_slot_is_held_until_the_end() -> None:
    serving = Serving(pb.Limits(calls_in_flight=1))
    running = call(1)
    assert serving.has_slot
    serving.start(running)
    assert not serving.has_slot
    serving.end(running)
    assert serving.has_slot


def test_those_that_wait_come_in_order_and_can_be_withdrawn() -> None:
    serving, calls = Serving(pb.Limits()), [call(request) for request in range(3)]
    for waiting in calls:
        serving.wait(waiting)
    assert serving.withdraw(calls[1])
    assert not serving.withdraw(calls[1])
    assert [serving.next_waiting(), serving.next_waiting()] == [calls[0], calls[2]]


@pytest.mark.parametrize(("sizes", "full"), [([10_000], False), ([10, 10_000], False), ([200, 10], True)])
def test_it_is_full_by_bytes_without_the_last(sizes: list[int], full: bool) -> None:
    serving = Serving(pb.Limits(window_bytes=100))
    for request, size in enumerate(sizes):
        serving.wait(call(request, size))
    assert serving.is_full is full
    if full:
        serving.next_waiting()
        assert not serving.is_full


def test_it_is_full_by_number() -> None:
    serving = Serving(pb.Limits(calls_in_flight=2))
    for request in range(5):
        assert not serving.is_full
        serving.wait(call(request))
    assert serving.is_full


def test_the_end_of_the_connection_leaves_nothing_and_tells_what_runs() -> None:
    serving, running = Serving(pb.Limits()), call(1)
    serving.arrive(running)
    serving.start(running)
    serving.wait(call(2))
    assert serving.abandon() == [running]
    assert running.done
    assert not serving.end(running)
    assert (serving.running, len(serving.waiting), serving.find(1)) == ({}, 0, None)


def test_large_calls_run_no_more_at_once_than_a_caller_of_ours_has_open() -> None:
    serving = Serving(pb.Limits(window_bytes=1024 * 1024))
    large = [call(request, 16 * 1024 * 1024) for request in range(5)]
    for running in large[:4]:
        assert serving.has_slot
        serving.start(running)
    assert not serving.has_slot
    serving.end(large[0])
    assert serving.has_slot
    serving.start(large[4])
    serving.abandon()
    assert serving.has_slot
