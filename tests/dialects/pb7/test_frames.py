"""Frames and pieces: the same messages however they are cut and mixed; lengths are checked before the bytes arrive."""

from __future__ import annotations

import tracemalloc

import pytest
from hypothesis import given
from hypothesis import strategies as st

from perspective_broker import Limits, ProtocolError
from perspective_broker.dialects.pb7.frames import (
    MAX_UNFINISHED,
    Frame,
    FrameReader,
    frame_header,
    piece_header,
    recycle,
)

from .coding import chopped

LIMITS = Limits(message_bytes=1000)


def framed(body: bytes) -> bytes:
    return frame_header(len(body)) + body


def piece(content: bytes, number: int, last: bool = False) -> bytes:
    return piece_header(len(content), number, last) + content


def read(data: bytes, size: int, limits: Limits = LIMITS) -> list[Frame]:
    frames = FrameReader(limits)
    got: list[Frame] = []
    for chunk in chopped(data, size):
        frames.receive_data(chunk)
        while (body := frames.next()) is not None:
            assert frames.last_size == 4 + len(body)
            got.append(bytes(body))
            recycle(body)
    assert frames.mid_message == 0
    assert frames.unfinished == {}
    return got


@given(
    messages=st.lists(
        st.tuples(
            st.integers(0, MAX_UNFINISHED - 1),
            st.lists(st.binary(min_size=1, max_size=9), min_size=1, max_size=6),
        ),
        max_size=8,
    ),
    mix=st.randoms(use_true_random=False),
    size=st.integers(1, 40),
)
def test_messages_in_pieces_are_put_together_however_they_are_mixed_and_cut(
    messages: list[tuple[int, list[bytes]]], mix: object, size: int
) -> None:
    queues: dict[int, list[list[bytes]]] = {}
    for number, parts in messages:
        queues.setdefault(number, []).append(list(parts))
    data, expected, begun = b"", [], dict.fromkeys(range(MAX_UNFINISHED), b"")
    while queues:
        number = mix.choice(sorted(queues))  # type: ignore[attr-defined]
        parts = queues[number][0]
        part = parts.pop(0)
        data += piece(part, number, not parts)
        begun[number] += part
        if not parts:
            expected.append(begun[number])
            begun[number] = b""
            queues[number].pop(0)
            if not queues[number]:
                del queues[number]
        if mix.random() < 0.3:  # type: ignore[attr-defined]
            data += framed(b"whole")
            expected.append(b"whole")
    assert read(data, size) == expected


@pytest.mark.parametrize("at", range(1, 40))
def test_a_message_in_pieces_survives_every_cut(at: int) -> None:
    data = piece(b"ab" * 5, 1) + framed(b"between") + piece(b"c", 1, last=True) + framed(b"behind")
    frames = FrameReader(LIMITS)
    got = []
    for chunk in (data[:at], data[at:]):
        frames.receive_data(chunk)
        while (body := frames.next()) is not None:
            got.append(body)
    assert got == [b"between", b"ab" * 5 + b"c", b"behind"]


BAD = {
    "an empty piece": (piece(b"", 0), "bad-message"),
    "an empty last piece": (piece(b"x", 0) + piece(b"", 0, last=True), "bad-message"),
    "a fifth message": (piece(b"x", MAX_UNFINISHED), "limit-pieces"),
    "a number with unknown bits": (piece(b"x", 0x40), "limit-pieces"),
    "a piece beyond the limit": (piece_header(1001, 0, False), "limit-message"),
    "a piece of two gigabytes": (b"\xff\xff\xff\xff\x00", "limit-message"),
    "pieces that are together beyond the limit": (piece(b"x" * 600, 0) + piece_header(401, 0, True), "limit-message"),
    "a frame beyond the limit": (frame_header(1001), "limit-message"),
    "an empty frame": (frame_header(0), "bad-message"),
}  # fmt: skip


@pytest.mark.parametrize("flaw", BAD)
@pytest.mark.parametrize("size", [1, 4, 10_000])
def test_what_is_wrong_with_a_piece_is_judged_by_its_header(flaw: str, size: int) -> None:
    data, code = BAD[flaw]
    with pytest.raises(ProtocolError) as caught:
        read(data, size)
    assert caught.value.code == code


def test_each_of_the_unfinished_messages_may_be_as_long_as_a_frame() -> None:
    data = b"".join(piece(b"x" * 500, n) for n in range(MAX_UNFINISHED))
    data += b"".join(piece(b"y" * 500, n, last=True) for n in range(MAX_UNFINISHED))
    assert read(data, 64) == [b"x" * 500 + b"y" * 500] * MAX_UNFINISHED


def test_what_is_unfinished_is_told_by_the_piece() -> None:
    frames = FrameReader(LIMITS)
    frames.receive_data(piece(b"abc", 2) + piece(b"d", 0) + piece(b"ef", 2)[:6])
    assert frames.next() is None
    assert sorted(frames.unfinished.values()) == [1, 3]
    assert frames.mid_message == 4 + 3 + 1  # the unfinished message, with the bytes that have arrived
    first, second = frames.unfinished
    frames.receive_data(b"f" + piece(b"g", 2, last=True) + piece(b"h", 2))
    assert frames.next() == b"abcefg"
    assert frames.next() is None
    assert second in frames.unfinished
    assert first not in frames.unfinished  # a number that is used again stands for another message
    assert len(frames.unfinished) == 2


def test_nothing_is_allocated_ahead_of_its_arrival() -> None:
    frames = FrameReader(Limits())
    tracemalloc.start()
    try:
        for number in range(MAX_UNFINISHED):
            frames.receive_data(piece(b"x", number) + piece_header(8 * 1024 * 1024, number, last=True)[:5])
            assert frames.next() is None
            if number < MAX_UNFINISHED - 1:
                frames.receive_data(b"y" * (8 * 1024 * 1024))
                assert frames.next() is not None
        assert tracemalloc.get_traced_memory()[0] < 10 * 1024 * 1024
    finally:
        tracemalloc.stop()


def test_what_was_given_back_is_filled_again() -> None:
    frames = FrameReader(LIMITS)
    sizes = (100, 100, 90, 130, 30)
    before = None
    for number, size in enumerate(sizes):
        body = bytes((number,)) * size
        frames.receive_data(piece(body[:20], 0) + piece(body[20:], 0, last=True))
        got = frames.next()
        assert got == body
        assert before is None or got is before
        assert frames.next() is None
        recycle(got)
        before = got


def test_what_is_not_given_back_stays_as_it_is() -> None:
    frames = FrameReader(LIMITS)
    data = piece(b"one", 0, last=True) + piece(b"two", 0, last=True) + piece(b"six", 0, last=True)
    frames.receive_data(data)
    first, second = frames.next(), frames.next()
    assert first is not None
    recycle(first)
    assert frames.next() == b"six"
    assert second == b"two"
    recycle(second)
