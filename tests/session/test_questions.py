"""Questions: the window, the queue in front of it, and that each call is settled once."""

from __future__ import annotations

import pytest

from perspective_broker import Limits, ProtocolError
from perspective_broker.ports import Message
from perspective_broker.session.outgoing_call import QUEUED, SENT, OutgoingCall
from perspective_broker.session.questions import Questions, WayOut
from perspective_broker.testing import Outcome


class Table(WayOut):
    """A table of questions, the messages it has sent, and the calls that have left its queue."""

    def __init__(self, **limits: int) -> None:
        self.sent: list[Message] = []
        self.left: list[OutgoingCall] = []
        self.lent = 0
        self.questions = Questions(Limits(**limits), self)

    def send_message(self, call: OutgoingCall, message: Message) -> None:
        self.sent.append(message)

    def has_left(self, call: OutgoingCall) -> None:
        self.left.append(call)

    def ask(self, message: bytes) -> OutgoingCall:
        call = OutgoingCall(Outcome(), None)
        call.request = self.questions.next_request()
        self.questions.ask(call, message, self.lent)
        return call

    def tell(self, message: bytes) -> OutgoingCall:
        call = OutgoingCall(None, None)
        self.questions.tell(call, message)
        return call

    def settle(self, call: OutgoingCall) -> None:
        assert self.questions.settle(call.request) is call
        self.questions.pump(self.lent)


def test_calls_beyond_the_number_wait_for_an_answer() -> None:
    table = Table(calls_in_flight=2)
    first, *_ = [table.ask(b"%d" % n) for n in range(4)]
    assert (table.sent, table.questions.queued, len(table.questions)) == ([b"0", b"1"], 2, 4)
    table.settle(first)
    assert (table.sent, table.questions.held_bytes) == ([b"0", b"1", b"2"], 1)


def test_calls_beyond_the_bytes_wait_but_one_of_any_size_goes() -> None:
    table = Table(window_bytes=10)
    first = table.ask(b"x" * 100)
    table.ask(b"y")
    assert table.sent == [b"x" * 100]
    table.settle(first)
    assert table.sent[1:] == [b"y"]


@pytest.mark.parametrize("limits", [{"calls_in_flight": 1}, {"window_bytes": 1}], ids=str)
def test_each_call_of_the_peer_lends_a_place_for_one_call_of_any_size(limits: dict[str, int]) -> None:
    table = Table(**limits)
    for message in (b"one", b"x" * 1000, b"three", b"four"):
        table.ask(message)
    assert table.sent == [b"one"]
    table.questions.pump(2)
    assert table.sent == [b"one", b"x" * 1000, b"three"]
    table.questions.pump(2)
    assert table.questions.queued == 1


def test_a_place_that_was_lent_is_given_back_with_the_answer() -> None:
    table = Table(calls_in_flight=1)
    table.lent = 1
    _, lent, third = (table.ask(message) for message in (b"one", b"two", b"three"))
    assert third.stage == QUEUED
    table.settle(lent)
    assert third.stage == SENT


def test_a_call_without_an_answer_keeps_its_place_among_the_calls_that_wait() -> None:
    table = Table(calls_in_flight=1)
    calls = [table.ask(b"one"), table.ask(b"two")]
    table.tell(b"told")
    calls.append(table.ask(b"three"))
    assert table.sent == [b"one"]
    assert table.questions.told_bytes == 4
    for call in calls:
        table.settle(call)
    assert table.sent == [b"one", b"two", b"told", b"three"]
    assert (table.questions.told_bytes, table.questions.held_bytes, len(table.questions)) == (0, 0, 0)
    assert len(table.left) == 3


def test_what_is_withdrawn_from_the_queue_is_not_sent() -> None:
    table = Table(calls_in_flight=1)
    first, second, third = (table.ask(message) for message in (b"one", b"two", b"three"))
    table.questions.withdraw(second)
    table.settle(first)
    assert table.sent == [b"one", b"three"]
    table.settle(third)
    assert (table.questions.held_bytes, len(table.questions)) == (0, 0)


def test_a_flushed_queue_leaves_room_or_not() -> None:
    table = Table(calls_in_flight=1)
    first, *_ = [table.ask(b"%d" % n) for n in range(3)]
    table.questions.flush()
    assert table.sent == [b"0", b"1", b"2"]
    table.settle(first)
    table.ask(b"3")
    assert table.questions.queued == 1  # two are unanswered, where one is allowed


def test_a_call_is_settled_once_and_only_when_it_was_made() -> None:
    table = Table()
    call = table.ask(b"one")
    assert table.questions.settle(call.request) is not None
    assert table.questions.settle(call.request) is None
    for never in (0, call.request + 1):
        with pytest.raises(ProtocolError, match="bad-id"):
            table.questions.settle(never)


def test_an_answer_to_a_call_that_is_still_in_the_queue_is_fatal() -> None:
    table = Table(calls_in_flight=1)
    table.ask(b"one")
    waiting = table.ask(b"two")
    with pytest.raises(ProtocolError, match="bad-id"):
        table.questions.settle(waiting.request)
    assert waiting in table.questions.abandon()


def test_the_end_names_every_call_whose_program_waits() -> None:
    table = Table(calls_in_flight=1)
    calls = [table.ask(message) for message in (b"one", b"two")]
    table.tell(b"told")
    assert table.questions.undelivered == 1
    assert table.questions.abandon() == calls
    assert (len(table.questions), table.questions.queued, table.questions.held_bytes) == (0, 0, 0)
    assert table.sent == [b"one"]
