"""Banana: every token, every limit, all sizes of chunks."""

from __future__ import annotations

import math
import struct
from dataclasses import replace
from typing import Any

import pytest

from perspective_broker import Limits, ProtocolError, SerializationError
from perspective_broker.build import COMPILED
from perspective_broker.dialects.classic import NONE, PB
from perspective_broker.dialects.classic.banana import NEED_MORE, Decoder, encode, encode_integer
from perspective_broker.dialects.classic.vocabulary import BY_NUMBER
from perspective_broker.queues import put
from tests.dialects.classic.coding import LIMITS, read

TEXT = b"\x02\x80\x07\x82unicode"

TOKENS: dict[str, tuple[bytes, Any]] = {
    "small int": (b"\x05\x81", 5),
    "int of two digits": (b"\x00\x01\x81", 128),
    "long int": (b"\x00\x00\x00\x00\x08\x85", 2**31),
    "negative int": (b"\x05\x83", -5),
    "negative long int": (b"\x01\x00\x00\x00\x08\x86", -(2**31) - 1),
    "negative zero is zero": (b"\x00\x86", 0),
    "no digits at all": (b"\x81", 0),
    "digits that say nothing": (b"\x05\x00\x00\x81", 5),
    "64 digits": (b"\x00" * 63 + b"\x40\x85", 2**447),
    "string": (b"\x03\x82raw", b"raw"),
    "empty string": (b"\x00\x82", b""),
    "string with a long length": (b"\x00\x02\x82" + b"x" * 256, b"x" * 256),
    "float": (b"\x84" + struct.pack("!d", 2.5), 2.5),
    "infinity": (b"\x84" + struct.pack("!d", -math.inf), -math.inf),
    "word": (b"\x01\x87", b"None"),
    "word with digits that say nothing": (b"\x1f\x00\x87", b"uncache"),
    "empty list": (b"\x00\x80", []),
    "list": (b"\x02\x80\x01\x81\x00\x80", [1, []]),
    "nested": (b"\x01\x80\x01\x80\x01\x80\x07\x81", [[[7]]]),
    "text": (b"\x02\x80" + TEXT + b"\x02\x82hi\x01\x81", [[b"unicode", b"hi"], 1]),
    "text alone": (TEXT + b"\x00\x82", [b"unicode", b""]),
    "text whose length is two digits": (TEXT + b"\x00\x01\x82" + b"x" * 128, [b"unicode", b"x" * 128]),
    "text whose length has no digit": (b"\x02\x80" + TEXT + b"\x82\x82", [[b"unicode", b""], b""]),
    "the word without a text": (TEXT + b"\x09\x81", [b"unicode", 9]),
    "the word before a list": (TEXT + b"\x01\x80\x01\x81", [b"unicode", [1]]),
    "the word before a word": (TEXT + b"\x01\x87", [b"unicode", b"None"]),
    "a longer list that begins like text": (b"\x03" + TEXT[1:] + b"\x01\x82x\x01\x81", [b"unicode", b"x", 1]),
}


@pytest.mark.parametrize(("data", "value"), TOKENS.values(), ids=TOKENS)
def test_token(data: bytes, value: Any) -> None:
    assert read(data) == [value]


@pytest.mark.parametrize(("data", "value"), TOKENS.values(), ids=TOKENS)
def test_token_in_every_cut(data: bytes, value: Any) -> None:
    glued = data + b"\x07\x81"
    assert read(glued) == [value, 7]
    assert read(glued[at : at + 1] for at in range(len(glued))) == [value, 7]
    for cut in range(1, len(glued)):
        assert read([glued[:cut], glued[cut:]]) == [value, 7]


def test_every_word() -> None:
    for number, word in BY_NUMBER.items():
        assert read(bytes((number, 0x87))) == [word]
        assert encode(word, PB) == bytes((number, 0x87))
        assert encode(word, NONE) == bytes((len(word), 0x82)) + word


def test_not_a_number_keeps_its_bits() -> None:
    data = b"\x84" + bytes.fromhex("7ff8000000000123")
    [value] = read(data)
    assert struct.pack("!d", value) == data[1:]
    assert encode(value) == data


REFUSED: dict[str, tuple[bytes, str]] = {
    "an unknown type byte": (b"\x01\x88", "bad-token"),
    "another one": (b"\xff", "bad-token"),
    "65 digits": (b"\x00" * 65, "limit-prefix"),
    "65 digits and their type": (b"\x00" * 65 + b"\x81", "limit-prefix"),
    "word 0": (b"\x00\x87", "bad-token"),
    "word 99": (b"\x63\x87", "bad-token"),
    "a very large word": (b"\x7f" * 64 + b"\x87", "bad-token"),
    "digits before a float": (b"\x01\x84", "bad-token"),
    "a string one byte too long": (encode_integer(640 * 1024 + 1)[:-1] + b"\x82", "limit-size"),
    "a very long string": (b"\x7f" * 64 + b"\x82", "limit-size"),
    "a list one item too long": (encode_integer(640 * 1024 + 1)[:-1] + b"\x80", "limit-items"),
    "a very long list": (b"\x7f" * 64 + b"\x80", "limit-items"),
    "257 levels": (b"\x01\x80" * 257, "limit-depth"),
    "257 levels, none of them with more in it": (b"\x01\x80" * 256 + b"\x00\x80", "limit-depth"),
    "a million levels": (b"\x01\x80" * 1_000_000, "limit-depth"),
}


@pytest.mark.parametrize("bytewise", [False, True])
@pytest.mark.parametrize(("data", "code"), REFUSED.values(), ids=REFUSED)
def test_refused(data: bytes, code: str, bytewise: bool) -> None:
    chunks = (data[at : at + 1] for at in range(len(data))) if bytewise else [data]
    with pytest.raises(ProtocolError) as refusal:
        read(chunks)
    assert refusal.value.code == code
    assert len(refusal.value.reason) < 100


def test_a_refusal_is_final() -> None:
    decoder = Decoder(LIMITS, has_words=True)
    decoder.receive_data(b"\x88\x01\x81")
    for _ in range(2):
        with pytest.raises(ProtocolError):
            decoder.next()


def test_words_need_the_dialect_that_has_them() -> None:
    with pytest.raises(ProtocolError) as refusal:
        read(b"\x01\x87", words=False)
    assert refusal.value.code == "bad-token"


def test_exactly_the_limits_are_let_in() -> None:
    longest = encode_integer(LIMITS.string_bytes)[:-1] + b"\x82" + b"x" * LIMITS.string_bytes
    assert read(longest) == [b"x" * LIMITS.string_bytes]
    [deepest] = read(b"\x01\x80" * 256 + b"\x07\x81")
    for _ in range(256):
        [deepest] = deepest
    assert deepest == 7
    [widest] = read(encode_integer(LIMITS.list_items)[:-1] + b"\x80" + b"\x00\x81" * LIMITS.list_items)
    assert widest == [0] * LIMITS.list_items


def test_a_string_is_refused_before_its_body() -> None:
    small = replace(LIMITS, string_bytes=10)
    assert read(TEXT + b"\x0a\x82" + b"x" * 10, small) == [[b"unicode", b"x" * 10]]
    for head in (b"\x0b\x82", TEXT + b"\x0b\x82", TEXT + b"\x0b\x82" + b"x" * 11):
        with pytest.raises(ProtocolError) as refusal:
            read(head, small)
        assert refusal.value.code == "limit-size"


def test_every_item_is_charged_when_it_is_announced() -> None:
    """Each list, also an empty one, counts three in addition to itself and its items."""
    small = replace(LIMITS, nodes=11 * 3 + 10)
    assert (
        read((b"\x05\x80" + b"\x01\x80\x00\x80" * 5) * 2, small) == [[[[]]] * 5] * 2
    )  # anew for each message
    for data in (
        b"\x29\x80",
        b"\x05\x80" + b"\x01\x80\x00\x80" * 4 + b"\x02\x80\x00\x80",
        b"\x25\x80" + TEXT,
        b"\x0b\x80" + b"\x00\x80" * 10,
    ):
        with pytest.raises(ProtocolError) as refusal:
            read(data, small)
        assert refusal.value.code == "limit-nodes"


def test_text_is_charged_like_any_list() -> None:
    assert read(b"\x01\x80" + TEXT + b"\x00\x82", replace(LIMITS, depth=2, nodes=9)) == [[[b"unicode", b""]]]
    for limits, code in (
        (replace(LIMITS, depth=1), "limit-depth"),
        (replace(LIMITS, nodes=8), "limit-nodes"),
    ):
        with pytest.raises(ProtocolError) as refusal:
            read(b"\x01\x80" + TEXT + b"\x00\x82", limits)
        assert refusal.value.code == code


@pytest.mark.parametrize("size", [1, 3, 1000])
def test_a_message_is_bounded_as_a_whole(size: int) -> None:
    small = replace(LIMITS, message_bytes=100)
    fits = b"\x02\x80" + b"\x2d\x82" + b"x" * 45 + b"\x31\x82" + b"x" * 49
    assert len(fits) == 100
    assert read((fits[at : at + size] for at in range(0, 100, size)), small) == [[b"x" * 45, b"x" * 49]]
    over = b"\x03\x80" + b"\x2d\x82" + b"x" * 45 + b"\x32\x82" + b"x" * 50
    with pytest.raises(ProtocolError) as refusal:
        read((over[at : at + size] for at in range(0, len(over), size)), small)
    assert refusal.value.code == "limit-message"


def test_a_message_is_bounded_before_its_strings_have_come() -> None:
    decoder = Decoder(replace(LIMITS, message_bytes=100), has_words=True)
    decoder.receive_data(b"\x02\x80\x00\x01\x82")
    with pytest.raises(ProtocolError) as refusal:
        decoder.next()
    assert refusal.value.code == "limit-message"


def test_messages_glued_together_are_bounded_one_by_one() -> None:
    small = replace(LIMITS, message_bytes=10)
    assert read(b"\x07\x82letters" * 50, small) == [b"letters"] * 50


def test_integers_are_bounded() -> None:
    small = replace(LIMITS, int_bits=64)
    for bits, sign in ((64, 1), (64, -1)):
        assert read(encode_integer(sign * (2**bits - 1)), small) == [sign * (2**bits - 1)]
        with pytest.raises(ProtocolError) as refusal:
            read(encode_integer(sign * 2**bits), small)
        assert refusal.value.code == "limit-int"


def test_limits_can_be_changed_between_messages() -> None:
    decoder = Decoder(replace(LIMITS, string_bytes=1), has_words=True)
    decoder.limits = LIMITS
    decoder.receive_data(b"\x02\x82ab")
    assert decoder.next() == b"ab"


def test_mid_message_and_last_size() -> None:
    decoder = Decoder(LIMITS, has_words=True)
    message = b"\x03\x80\x05\x82hello\x00\x01\x81\x84" + struct.pack("!d", 1.5)
    for count, byte in enumerate(message[:-1], 1):
        decoder.receive_data(bytes([byte]))
        assert decoder.mid_message == count
        assert decoder.next() is NEED_MORE
        assert decoder.mid_message == count
    decoder.receive_data(message[-1:] + b"\x01")
    assert decoder.next() == [b"hello", 128, 1.5]
    assert decoder.last_size == len(message)
    assert decoder.mid_message == 1
    decoder.receive_data(b"\x81")
    assert (decoder.next(), decoder.last_size, decoder.mid_message) == (1, 2, 0)


def test_take_rest_leaves_nothing() -> None:
    decoder = Decoder(LIMITS, has_words=False)
    decoder.receive_data(b"\x02\x82pb\x02\x80")
    decoder.receive_data(b"\x13\x87")
    assert decoder.next() == b"pb"
    assert decoder.take_rest() == b"\x02\x80\x13\x87"
    assert decoder.mid_message == 0
    assert decoder.next() is NEED_MORE


def test_what_is_received_is_kept_by_value() -> None:
    buffer = bytearray(b"\x04\x82abcd")
    decoder = Decoder(LIMITS, has_words=True)
    decoder.receive_data(memoryview(buffer))
    buffer[:] = b"\x04\x82wxyz"
    assert decoder.next() == b"abcd"


class CountedBytes(bytes):
    """Bytes that count the reads: each byte that is inspected, sliced or joined."""

    work = 0

    def __getitem__(self, at: Any) -> Any:
        found = super().__getitem__(at)
        if isinstance(at, slice):
            CountedBytes.work += len(found)
            return CountedBytes(found)
        CountedBytes.work += 1
        return found

    def __add__(self, other: Any) -> CountedBytes:
        CountedBytes.work += len(self) + len(other)
        return CountedBytes(super().__add__(other))


def _work(data: bytes, size: int) -> int:
    """Return the bytes touched to read ``data`` in pieces of ``size``."""
    decoder = Decoder(LIMITS, has_words=True)
    CountedBytes.work = 0
    decoder._data = CountedBytes()
    values = 0
    for at in range(0, len(data), size):
        decoder._chunks = put(decoder._chunks, CountedBytes(data[at : at + size]))
        values += decoder.next() is not NEED_MORE
    assert values == 1
    return CountedBytes.work


@pytest.mark.skipif(COMPILED, reason="compiled code reads bytes without asking them")
@pytest.mark.parametrize("size", [1, 7, 64, 100_000])
@pytest.mark.parametrize("kind", ["one string", "texts", "long integers"])
def test_reading_is_linear_however_it_is_chopped(kind: str, size: int) -> None:
    def message(length: int) -> bytes:
        if kind == "one string":
            return encode([b"x" * length])
        if kind == "texts":
            return encode([[b"unicode", b"some text"]] * (length // 20))
        return encode([2**440] * (length // 64))

    small, large = _work(message(5_000), size), _work(message(20_000), size)
    assert large < 5 * small, "four times the bytes, four times the work"
    per_byte = large / len(message(20_000))
    assert per_byte < (2.2 * 64 if kind == "long integers" else 12)


ENCODABLE = [0, 1, -1, 127, -127, 128, -128, 2**31 - 1, 2**31, -(2**31), -(2**31) - 1, 2**448 - 1, 1 - 2**448]


@pytest.mark.parametrize("number", ENCODABLE)
def test_integers_round_trip(number: int) -> None:
    assert read(encode(number)) == [number]


def test_what_banana_has_no_form_for() -> None:
    values: list[object] = [None, "text", {}, [object()]]
    for value in values:
        with pytest.raises(SerializationError):
            encode(value)
    with pytest.raises(SerializationError, match="448 bits"):
        encode_integer(2**448)
    with pytest.raises(SerializationError, match="448 bits"):
        encode_integer(2**448, bits=1000)
    with pytest.raises(SerializationError, match="64 bits"):
        encode_integer(2**64, bits=64)
    tight = Limits(string_bytes=3, depth=2)
    assert read(encode([[b"abc"]], limits=tight)) == [[[b"abc"]]]
    with pytest.raises(SerializationError, match="3 bytes"):
        encode(b"abcd", limits=tight)
    with pytest.raises(SerializationError, match="2 deep"):
        encode([[[]]], limits=tight)


def test_the_marker_says_what_it_is() -> None:
    assert repr(NEED_MORE) == "NEED_MORE"


def test_a_writer_may_be_allowed_integers_that_only_a_warned_peer_reads() -> None:
    wide = replace(Limits(), int_bits=896)
    with pytest.raises(SerializationError, match="448 bits"):
        encode(2**448, NONE, wide)
    assert encode([2**448], NONE, wide, most_bits=896) == b"\x01\x80" + bytes(64) + b"\x01\x85"


def test_what_has_no_form_is_named_as_the_culprit() -> None:
    part = object()
    with pytest.raises(SerializationError) as caught:
        encode([1, [part]])
    assert caught.value.culprit is part
