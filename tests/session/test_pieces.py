"""Messages that may be sent before a large one; pieces as the transport takes them; joining pieces."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

import perspective_broker as pb
from perspective_broker import Limits
from perspective_broker.dialects.pb7.frames import PIECE_BYTES
from perspective_broker.ports import LARGE_MESSAGE, Feature, Rank
from perspective_broker.session import Capacity
from perspective_broker.session.pieces import MESSAGES_AT_ONCE, PieceQueue, weight
from perspective_broker.testing import BrokerPair, Later
from tests.dialects.pb7.coding import End

from . import objects
from .objects import CounterReplica, Desk, Thing, make_pair

BLOB = bytes(LARGE_MESSAGE)

#: Message of a test -> its rank, and its encoder, which takes a number and a payload.
KINDS: dict[str, tuple[Rank, Any]] = {
    "call": (Rank.CALL, lambda d, n, data: d.encode_call(n, "root", "x", True, (data,), {}, None)),
    "tell": (Rank.CALL, lambda d, n, data: d.encode_call(n, "root", "x", False, (data,), {}, None)),
    "update": (Rank.CALL, lambda d, n, data: d.encode_update(n, 1, "x", False, (data,), {}, None)),
    "answer": (Rank.ANSWER, lambda d, n, data: d.encode_answer(n, data, None)),
    "error": (Rank.ANSWER, lambda d, n, data: d.encode_error(n, KeyError(n), False, None)),
    "release": (Rank.GIVES_BACK, lambda d, n, data: d.encode_releases({n: 1})),
    "decache": (Rank.GIVES_BACK, lambda d, n, data: d.encode_decache(n, 1)),
    "uncache": (Rank.GIVES_BACK, lambda d, n, data: d.encode_uncache(n)),
    "forget": (Rank.GIVES_BACK, lambda d, n, data: d.encode_forget(n)),
    "ping": (Rank.AT_ONCE, lambda d, n, data: d.encode_ping(str(n).encode())),
    "cancel": (Rank.AT_ONCE, lambda d, n, data: d.encode_cancel(1000 + n)),
}

MESSAGES = st.lists(
    st.tuples(st.sampled_from(sorted(KINDS)), st.booleans(), st.booleans(), st.integers(0, 200_000)),
    min_size=1,
    max_size=12,
)


class Takes(Capacity):
    """A transport that accepts that many bytes."""

    def __init__(self, size: int) -> None:
        self.size = size

    def capacity(self) -> int:
        return self.size


class Sender:
    """A real dialect, and the bytes of its messages that have been sent."""

    def __init__(self) -> None:
        self.end = End()
        self.outgoing = PieceQueue()
        self.strict: set[int] = set()
        self.kept: list[bytes] = []  # kept, so that ids stay unique

    def make(self, kind: str, number: int, data: Any = b"", strict: bool = False) -> bytes:
        message: bytes = KINDS[kind][1](self.end.dialect.writer, number, data)
        self.kept.append(message)
        if strict:
            self.strict.add(id(message))
        return message

    def take(self, *messages: bytes, room: int | None = None) -> bytes:
        taken = self.outgoing.take(
            list(messages),
            self.end.dialect.writer,
            lambda message, rank: id(message) in self.strict,
            None if room is None else Takes(room),
        )
        return b"".join(taken)


def number_of(got: tuple[Any, ...]) -> int:
    """Return the number with which a message was made, decoded at the peer."""
    if got[0] == "ping":
        return int(got[1])
    return int(got[1]) - (1000 if got[0] == "cancel" else 0)


def may_pass(later: tuple[str, bool], earlier: tuple[str, bool]) -> bool:
    """The table of the specification, word for word."""
    rank, strict = KINDS[later[0]][0], later[1]
    if rank is Rank.AT_ONCE:
        return True
    if rank is Rank.GIVES_BACK or strict:
        return KINDS[earlier[0]][0] is Rank.AT_ONCE
    if rank is Rank.ANSWER:
        return True
    return KINDS[earlier[0]][0] is not Rank.CALL


@settings(max_examples=60)
@given(
    messages=MESSAGES,
    rooms=st.lists(st.integers(-100_000, 1_500_000), min_size=1, max_size=5),
    at_once=st.integers(1, 12),
)
@example(
    messages=[("answer", True, False, 0)] * 6 + [("call", True, False, 0), ("release", False, False, 0)],
    rooms=[1],
    at_once=12,
)
@example(
    messages=[("call", True, False, 0), ("answer", True, True, 0), ("update", True, True, 0)],
    rooms=[1],
    at_once=1,
)
def test_everything_arrives_and_nothing_passes_what_it_may_not(
    messages: list[tuple[str, bool, bool, int]], rooms: list[int], at_once: int
) -> None:
    sender, far = Sender(), End(limits=Limits(references_received=1))
    made: list[tuple[str, bool]] = []
    waiting = []
    for number, (kind, large, strict, more) in enumerate(messages, 1):
        made.append((kind, strict))
        waiting.append(sender.make(kind, number, bytes(LARGE_MESSAGE + more) if large else b"", strict))
    got = []
    turn = 0
    while waiting or sender.outgoing:
        now, waiting = waiting[:at_once], waiting[at_once:]
        data = sender.take(*now, room=rooms[turn % len(rooms)])
        assert data or not now, "at least one piece leaves each time"
        got += far.feed(data)
        far.got.clear()
        turn += 1
    order = [number_of(message) for message in got]
    assert sorted(order) == list(range(1, len(messages) + 1))
    for place, later in enumerate(order):
        for earlier in order[place + 1 :]:
            if earlier < later:
                assert may_pass(made[later - 1], made[earlier - 1]), (made[later - 1], made[earlier - 1])
    assert far.dialect.unfinished == {}
    assert far.dialect.mid_message == 0
    assert (sender.outgoing.bytes, sender.outgoing.weight, sender.outgoing.small_bytes) == (0, 0, 0)


def names(data: bytes, far: End) -> list[str]:
    got = [f"{message[0]} {number_of(message)}" for message in far.feed(data)]
    far.got.clear()
    return got


def test_what_passes_a_large_call_and_what_waits() -> None:
    sender, far = Sender(), End()
    data = sender.take(
        sender.make("call", 1, BLOB),
        sender.make("answer", 2),
        sender.make("call", 3),
        sender.make("release", 4),
        sender.make("error", 5),
        sender.make("ping", 6),
        sender.make("answer", 7, strict=True),
        sender.make("cancel", 8),
        room=1,
    )
    assert names(data, far) == ["answer 2", "error 5", "ping 6", "cancel 8"]
    assert names(sender.take(), far) == ["call 1", "call 3", "release 4", "answer 7"]


@pytest.mark.parametrize("count", [8, 128, 256, 40_000])
def test_what_gives_back_many_objects_passes_nothing_either(count: int) -> None:
    sender, far = Sender(), End()
    releases = sender.end.dialect.writer.encode_releases(dict.fromkeys(range(1, count + 1), 1))
    data = sender.take(sender.make("call", 1, BLOB), sender.make("call", 2), releases, room=1)
    assert far.feed(data) == []
    got = [message[0] for message in far.feed(sender.take())]
    assert got == ["call", "call", *["release"] * count]


def test_what_passes_a_large_answer_and_what_waits() -> None:
    sender, far = Sender(), End()
    data = sender.take(
        sender.make("answer", 1, BLOB),
        sender.make("call", 2),
        sender.make("release", 3),
        sender.make("call", 4, strict=True),
        sender.make("call", 5),
        sender.make("answer", 6),
        room=1,
    )
    assert names(data, far) == ["call 2", "answer 6"]
    assert names(sender.take(), far) == ["answer 1", "release 3", "call 4", "call 5"]


def test_the_cancellation_of_a_call_that_has_not_left_follows_it() -> None:
    sender, far = Sender(), End()
    data = sender.take(sender.make("call", 1001, BLOB), sender.make("cancel", 1), room=1)
    assert names(data, far) == []
    assert [message[0] for message in far.feed(sender.take())] == ["call", "cancel"]


def test_large_messages_take_turns_and_a_call_always_has_one() -> None:
    sender, far = Sender(), End()
    large = bytes(16 * PIECE_BYTES)
    data = sender.take(*(sender.make("answer", n, large) for n in range(1, 7)), room=1)
    data += sender.take(sender.make("call", 7, large), room=1)
    for _ in range(20):
        data += sender.take(room=1)
    turns = Counter(data[at + 4] & 0x7F for at in piece_starts(data))
    assert len(turns) == MESSAGES_AT_ONCE
    assert max(turns.values()) - min(turns.values()) <= 1
    assert len(names(data + sender.take(), far)) == 7


def piece_starts(data: bytes) -> list[int]:
    starts, at = [], 0
    while at < len(data):
        starts.append(at)
        at += 5 + int.from_bytes(data[at : at + 4], "big") - 0x80000000
    return starts


def test_no_more_leaves_than_there_is_room_for_and_one_piece() -> None:
    sender = Sender()
    message = sender.make("call", 1, bytes(32 * PIECE_BYTES))
    for room in (0, 1, PIECE_BYTES, 10 * PIECE_BYTES):
        data = sender.take(message, room=room) if room == 0 else sender.take(room=room)
        assert room <= len(data) + 1
        assert len(data) <= room + PIECE_BYTES + 5  # the last one may be longer
    assert sender.outgoing.bytes < len(message)


def test_a_message_that_is_in_one_leaves_without_being_copied() -> None:
    sender = Sender()
    message = sender.make("call", 1, "x" * LARGE_MESSAGE)
    parts = sender.outgoing.take([message], sender.end.dialect.writer, lambda *_: False, None)
    assert all(part.obj is message for part in parts if isinstance(part, memoryview))
    assert sum(len(part) for part in parts if isinstance(part, memoryview)) == len(message) - 4


@pytest.mark.modern
def test_a_large_bytes_object_leaves_without_being_copied_at_all() -> None:
    with make_pair() as pair:
        call = pair.root.call("echo", BLOB)
        out = pair.client.broker.data_to_send(None)
        copied = [part for part in out if not (isinstance(part, memoryview) and part.obj is BLOB)]
        assert sum(map(len, copied)) < 100
        pair.server.receive(b"".join(out))
        pair.run()
        assert call.result() == BLOB


def test_a_large_message_counts_as_a_few_small_ones() -> None:
    assert [weight(bytes(size)) for size in (0, 10, LARGE_MESSAGE, 2 * LARGE_MESSAGE)] == [
        0,
        10,
        LARGE_MESSAGE,
        LARGE_MESSAGE,
    ]


# -- in a broker

MIB = 1024 * 1024
WIDE = Limits(message_bytes=80 * MIB, large_string_bytes=80 * MIB)


def trickle(pair: BrokerPair, end: Any, room: int = 1) -> int:
    """Carry the bytes of one end, as many as there is room for; return them."""
    data = b"".join(end.broker.data_to_send(Takes(room)))
    pair.link.other(end).receive(data)
    return len(data)


@pytest.mark.modern
def test_calls_of_both_sides_are_answered_while_a_large_argument_is_on_its_way() -> None:
    desk = Desk()
    with make_pair(desk, limits=WIDE) as pair:
        pair.call("keep", Thing("theirs"))
        (theirs,) = desk.kept
        large = pair.root.call("echo", bytes(4 * MIB))
        small = pair.root.call("echo", 1)
        answered = 0
        while not pair.server.invoked.count("echo"):
            name = theirs.call("name")
            pair.client.receive(pair.server.take())
            trickle(pair, pair.client)
            answered += name.done
        assert answered > 10
        assert not small.done
        pair.run()
        assert (large.result(), small.result()) == (bytes(4 * MIB), 1)
        desk.kept.clear()
        del theirs


@pytest.mark.modern
def test_calls_of_both_sides_are_answered_while_a_large_answer_is_on_its_way() -> None:
    class Source(Desk):
        def remote_large(self) -> bytes:
            return bytes(4 * MIB)

    desk = Source()
    with make_pair(desk, limits=WIDE) as pair:
        pair.call("keep", Thing("theirs"))
        (theirs,) = desk.kept
        large = pair.root.call("large")
        pair.server.receive(pair.client.take())
        there = back = 0
        while not large.done:
            echo, name = pair.root.call("echo", 1), theirs.call("name")
            pair.server.receive(pair.client.take())
            trickle(pair, pair.server)
            pair.server.receive(pair.client.take())
            there += echo.done
            back += name.done
        assert there > 10
        assert back > 10
        assert len(large.result()) == 4 * MIB
        desk.kept.clear()
        del theirs


@pytest.mark.modern
def test_small_calls_behind_a_large_one_leave_before_it_is_answered() -> None:
    desk = Desk()
    with make_pair(desk, limits=WIDE) as pair:
        large = pair.root.call("later", bytes(4 * MIB))
        small = [pair.root.call("echo", n) for n in range(10)]
        pair.run()
        assert [outcome.result() for outcome in small] == list(range(10))
        desk.later[0].answer(1)
        pair.run()
        assert large.result() == 1


@pytest.mark.modern
def test_a_promise_of_a_large_call_that_has_begun_to_leave_is_waited_for() -> None:
    desk = Desk()
    with make_pair(desk, limits=WIDE) as pair:
        large = pair.root.call("later", bytes(MIB))
        trickle(pair, pair.client)
        chained = pair.root.call("echo", large)
        pair.run()
        desk.later[0].answer("kept")
        pair.run()
        assert chained.result() == "kept"


@pytest.mark.modern
def test_an_update_and_what_mentions_a_replica_do_not_pass_what_introduces_it() -> None:
    desk = Desk()
    with make_pair(desk, limits=WIDE) as pair:
        counter = objects.Counter(a=1)
        kept = pair.root.call("keep", counter, bytes(MIB))
        trickle(pair, pair.client)
        counter.set("a", 2)
        pair.run()
        kept.result()
        replica = desk.kept[0]
        assert isinstance(replica, CounterReplica)
        assert replica.numbers == {"a": 2}
        del replica
        desk.kept.clear()


@pytest.mark.modern
def test_a_large_message_is_no_backlog_of_updates() -> None:
    desk = Desk()
    limits = Limits(message_bytes=80 * MIB, large_string_bytes=80 * MIB, observer_backlog_bytes=256 * 1024)
    with make_pair(desk, limits=limits) as pair:
        counter = objects.Counter(a=1)
        pair.call("keep", counter)
        outcome = pair.root.call("echo", bytes(4 * MIB))
        counter.set("a", 2)
        trickle(pair, pair.client)
        counter.set("a", 3)
        pair.run()
        assert len(outcome.result()) == 4 * MIB
        assert desk.kept[0].numbers == {"a": 3}
        desk.kept.clear()


@pytest.mark.modern
def test_the_statistics_say_what_has_not_left_to_the_byte() -> None:
    with make_pair(limits=WIDE) as pair:
        pair.root.call("echo", bytes(MIB))
        broker = pair.client.broker
        before = broker.statistics()
        sent = trickle(pair, pair.client)
        after = broker.statistics()
        pieces = -(-sent // (PIECE_BYTES + 5))
        assert after.bytes_sent - before.bytes_sent == sent
        assert before.bytes_buffered - after.bytes_buffered == sent - 5 * pieces + 4
        assert not broker.is_idle
        pair.run()
        assert broker.is_idle
        assert broker.statistics().bytes_buffered == 0


@pytest.mark.modern
def test_the_last_word_comes_behind_what_was_said_and_nothing_is_left() -> None:
    pair = make_pair(limits=WIDE)
    pair.root.call("echo", bytes(MIB))
    trickle(pair, pair.client)
    assert pair.server.broker.statistics().bytes_received > 0
    assert pair.server.broker.dialect.unfinished
    pair.client.broker.close("tired", "of this")
    assert not pair.client.broker.outbox.large
    pair.run()
    assert pair.server.code == "tired"
    assert pair.server.broker.dialect.unfinished == {}


@pytest.mark.modern
def test_a_message_whose_pieces_stop_coming_ends_the_connection_whatever_else_comes() -> None:
    pair = make_pair(limits=WIDE)
    pair.root.call("echo", bytes(MIB))
    trickle(pair, pair.client)
    for _ in range(20):
        pair.advance(5)
        pair.server.receive(pair.client.broker.dialect.writer.encode_ping(b""))
        pair.server.take()
    assert pair.server.code == "message-timeout"


@pytest.mark.modern
def test_a_peer_that_knows_of_no_pieces_gets_whole_messages() -> None:
    with make_pair(limits=WIDE) as pair:
        dialect = pair.client.broker.dialect
        dialect.writer.features = dialect.writer.features - {Feature.PIECES}
        outcome = pair.root.call("echo", bytes(MIB))
        assert trickle(pair, pair.client) > MIB
        pair.run()
        assert len(outcome.result()) == MIB


@pytest.mark.modern
def test_methods_go_on_being_started_beside_a_few_large_answers_not_beside_many() -> None:
    class Source(Desk):
        def remote_large(self) -> bytes:
            return BLOB

    with make_pair(Source()) as pair:
        calls = [pair.root.call("large") for _ in range(8)]
        pair.server.receive(pair.client.take())
        assert 1 < pair.server.invoked.count("large") < 8
        pair.run()
        assert all(len(call.result()) == len(BLOB) for call in calls)


@pytest.mark.modern
def test_a_method_that_is_called_by_a_large_message_may_be_cancelled() -> None:
    desk = Desk()
    with make_pair(desk, limits=WIDE) as pair:
        outcome = pair.root.call("later", bytes(MIB))
        trickle(pair, pair.client)
        outcome.cancel()
        pair.run()
        (later,) = desk.later
        assert isinstance(later, Later)
        assert later.cancelled
        later.fail(pb.Error("stopped"))
        pair.run()
        assert outcome.done
