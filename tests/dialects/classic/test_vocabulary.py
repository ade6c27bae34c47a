"""The vocabulary is part of the protocol, so this test has a copy of it."""

from __future__ import annotations

import pytest

from perspective_broker.dialects.classic import NONE, PB
from perspective_broker.dialects.classic.vocabulary import BY_NUMBER, base128
from tests.dialects.classic.coding import read

NUMBERS = {
    1: b"None", 2: b"class", 3: b"dereference", 4: b"reference", 5: b"dictionary", 6: b"function",
    7: b"instance", 8: b"list", 9: b"module", 10: b"persistent", 11: b"tuple", 12: b"unpersistable",
    13: b"copy", 14: b"cache", 15: b"cached", 16: b"remote", 17: b"local", 18: b"lcache", 19: b"version",
    20: b"login", 21: b"password", 22: b"challenge", 23: b"logged_in", 24: b"not_logged_in",
    25: b"cachemessage", 26: b"message", 27: b"answer", 28: b"error", 29: b"decref", 30: b"decache",
    31: b"uncache",
}  # fmt: skip


def test_numbers() -> None:
    assert BY_NUMBER == NUMBERS


@pytest.mark.parametrize("size", [0, 1, 15, 16, 127, 128, 200, 16384])
def test_strings_of_any_length(size: int) -> None:
    for spelling in (PB, NONE):
        assert read(spelling.string(b"s" * size)) == [b"s" * size]


def test_a_spelling_writes_words_or_strings() -> None:
    assert PB.string(b"list") == b"\x08\x87"
    assert NONE.string(b"list") == b"\x04\x82list"
    assert PB.list_of(2, b"remote") == b"\x02\x80\x10\x87"
    assert NONE.list_of(2, b"remote") == b"\x02\x80\x06\x82remote"
    assert (PB.name, PB.has_words, NONE.name, NONE.has_words) == ("pb", True, "none", False)


def test_base128_is_least_significant_first() -> None:
    assert [base128(n) for n in (0, 127, 128, 300)] == [b"\x00", b"\x7f", b"\x00\x01", b"\x2c\x02"]
