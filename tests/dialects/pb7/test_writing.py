"""Writing: messages that refer to earlier ones, large messages in parts, and messages that are refused.

The golden frames and the tests of packing show that the bytes are right and can be decoded.
"""

from __future__ import annotations

from typing import Any

import pytest

import perspective_broker as pb
from perspective_broker import Limits
from perspective_broker.dialects.pb7.large import LARGE
from perspective_broker.ports import LARGE_MESSAGE, InParts, Message, Rank

from .coding import End, whole


def test_a_deadline_that_is_far_away_or_does_not_fit_is_not_sent() -> None:
    end = End()
    call = end.dialect.writer.encode_call(1, "root", "x", True, (), {}, None)
    for seconds in (2**32 / 1000, 1e300, float("inf"), float("nan")):
        assert end.dialect.writer.encode_due(call, seconds) == call
    exact = End()
    exact.dialect.use_limits(Limits(message_bytes=len(call) - 4))
    assert exact.dialect.writer.encode_due(call, 1.0) == call
    assert end.dialect.writer.encode_due(call, 1e-9) == end.dialect.writer.encode_due(call, 0.001)


# -- large messages in parts


def large_call(end: End, *args: Any, **kwargs: Any) -> Message:
    return end.dialect.writer.encode_call(7, "root", "room", True, args, kwargs, None)


BLOB = b"b" * LARGE_MESSAGE


@pytest.mark.parametrize(
    ("args", "kwargs"),
    [
        ((BLOB,), {}),
        ((BLOB, 1, BLOB), {"more": [1, 2]}),
        ((["x", BLOB], "y" * 100_000, b"z" * LARGE), {}),
        ((BLOB, list(range(5000))), {}),
    ],
    ids=["one", "two", "in a list", "beside others"],
)
def test_large_bytes_leave_in_parts_that_are_the_same_message(args: Any, kwargs: Any) -> None:
    message = large_call(End(), *args, **kwargs)
    assert isinstance(message, InParts)
    assert any(part is BLOB for part in message.parts)
    to_peer_without_pieces = End()
    to_peer_without_pieces.dialect.writer.features = frozenset()
    assert whole(message) == large_call(to_peer_without_pieces, *args, **kwargs)
    receiver = End()
    [(*_, (got, named))] = receiver.feed(message)
    assert (list(got), dict(named)) == (list(args), kwargs)


def test_what_is_said_of_a_call_later_is_said_in_its_first_part() -> None:
    end = End()
    message = large_call(end, BLOB)
    plain = whole(message)
    for change in (
        end.dialect.writer.encode_kept,
        lambda call: end.dialect.writer.encode_due(call, 1.5),
        lambda call: end.dialect.writer.encode_kept(end.dialect.writer.encode_due(call, 1.5)),
    ):
        changed = change(message)
        assert isinstance(changed, InParts)
        assert changed.parts[1] is BLOB
        assert whole(changed) == change(plain)
    assert end.dialect.writer.rank(message) == end.dialect.writer.rank(plain) == (Rank.CALL, 7)


@pytest.mark.parametrize(
    ("limits", "args", "text"),
    [
        (Limits(message_bytes=2 * LARGE_MESSAGE), (BLOB, BLOB), "a message of"),
        (Limits(large_string_bytes=LARGE_MESSAGE - 1), (BLOB,), "a string may have"),
        (Limits(nodes=100), (BLOB, list(range(-300, -100))), "may have 100 items"),
        (Limits(depth=5), (BLOB, [[[[[[]]]]]]), "nested too deep"),
    ],
)
def test_what_no_peer_takes_is_refused_in_parts_too(limits: Limits, args: Any, text: str) -> None:
    with pytest.raises(pb.SerializationError, match=text):
        large_call(End(limits=limits), *args)


@pytest.mark.parametrize("size", [1 << 31, 1 << 32])
def test_what_is_longer_than_a_length_can_say_is_refused(size: int) -> None:
    try:
        value = bytes(size)  # the system allocates it only when it is read
    except MemoryError:
        pytest.skip("there is no address space for it")
    end = End(limits=Limits(message_bytes=1 << 40, large_string_bytes=1 << 40))
    with pytest.raises(pb.SerializationError, match=r"at most \d+ bytes"):
        large_call(end, value)


# -- ranks


@pytest.mark.parametrize("count", [1, 7, 8, 127, 128, 255, 256, 32_767, 32_768, 40_000])
def test_a_release_passes_nothing_however_much_it_gives_back(count: int) -> None:
    end = End()
    message = end.dialect.writer.encode_releases(dict.fromkeys(range(1, count + 1), 1))
    assert end.dialect.writer.rank(message) == (Rank.GIVES_BACK, 0)
