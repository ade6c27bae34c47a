"""Questions: the window, the order of what waits, and that each call is settled once."""

from __future__ import annotations

import pytest

from perspective_broker import Limits, ProtocolError
from perspective_broker.ports import Message
from perspective_broker.session.questions import Questions
from perspective_broker.testing import Outcome


def make(**limits: int) -> tuple[Questions, list[Message]]:
    sent: list[Message] = []
    return Questions(Limits(**limits), sent.append), sent


def ask(questions: Questions, message: bytes) -> int:
    request = questions.next_request()
    questions.ask(request, message, Outcome(), None)
    return request


def test_calls_beyond_the_number_wait_for_an_answer() -> None:
    questions, sent = make(calls_in_flight=2)
    first, *_ = [ask(questions, b"%d" % n) for n in range(4)]
    assert (sent, questions.held, len(questions)) == ([b"0", b"1"], 2, 4)
    questions.settle(first)
    assert (sent, questions.held_bytes) == ([b"0", b"1", b"2"], 1)


def test_calls_beyond_the_bytes_wait_but_one_of_any_size_goes() -> None:
    questions, sent = make(window_bytes=10)
    first = ask(questions, b"x" * 100)
    ask(questions, b"y")
    assert sent == [b"x" * 100]
    questions.settle(first)
    assert sent[1:] == [b"y"]


def test_what_is_told_keeps_its_place_among_the_calls_that_wait() -> None:
    questions, sent = make(calls_in_flight=1)
    questions.tell(b"at once")
    requests = [ask(questions, b"one"), ask(questions, b"two")]
    questions.tell(b"told")
    requests.append(ask(questions, b"three"))
    assert sent == [b"at once", b"one"]
    assert questions.told_bytes == 4
    for request in requests:
        questions.settle(request)
    assert sent[2:] == [b"two", b"told", b"three"]
    assert (questions.told_bytes, questions.held_bytes, len(questions)) == (0, 0, 0)


def test_what_an_answer_builds_on_is_sent_before_there_is_room_and_no_more() -> None:
    questions, sent = make(calls_in_flight=1)
    first = ask(questions, b"one")
    assert questions.last_place == 0
    ask(questions, b"two")
    place = questions.last_place
    ask(questions, b"three")
    questions.send_until(place)
    questions.send_until(place)
    assert sent == [b"one", b"two"]
    questions.settle(first)
    assert sent == [b"one", b"two"]  # two are on their way, where one may be


def test_a_call_is_settled_once_and_only_when_it_was_made() -> None:
    questions, _ = make()
    request = ask(questions, b"one")
    assert questions.settle(request) is not None
    assert questions.settle(request) is None
    for never in (0, request + 1):
        with pytest.raises(ProtocolError, match="bad-id"):
            questions.settle(never)


def test_the_end_names_everybody_who_waits() -> None:
    questions, sent = make(calls_in_flight=1)
    for message in (b"one", b"two"):
        ask(questions, message)
    assert len(questions.abandon()) == 2
    assert (len(questions), questions.held, questions.held_bytes, sent) == (0, 0, 0, [b"one"])
