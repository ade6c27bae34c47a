"""Array: what it takes, and how its memory is reached."""

from __future__ import annotations

import sys

import numpy
import pytest

import perspective_broker as pb


def test_an_array_shows_its_memory() -> None:
    array = pb.Array("<i2", (2, 2), b"\1\0\2\0\3\0\4\0")
    assert (array.dtype, array.shape, len(array)) == ("<i2", (2, 2), 2)
    assert bytes(array.data) == b"\1\0\2\0\3\0\4\0"
    assert numpy.asarray(array).tolist() == [[1, 2], [3, 4]]
    assert repr(array) == "<Array <i2 (2, 2)>"
    if sys.version_info >= (3, 12):
        assert bytes(memoryview(array)) == bytes(array.data)


def test_arrays_are_compared_by_their_content() -> None:
    one, other = pb.Array("|u1", (2,), b"ab"), pb.Array("|u1", (2,), bytearray(b"ab"))
    assert one == other
    assert hash(one) == hash(other)
    assert one != pb.Array("|i1", (2,), b"ab")
    assert one != b"ab"


def test_its_memory_is_read_only() -> None:
    array = pb.Array("|u1", (2,), bytearray(b"ab"))
    with pytest.raises(TypeError):
        array.data[0] = 1
    assert not numpy.asarray(array).flags.writeable


@pytest.mark.parametrize(
    ("dtype", "shape", "text"),
    [
        ("|O", (1,), "one of the kinds"),
        ("<f8", (2,), "do not fit its dimensions"),
        ("<f8", (-1,), "not negative"),
        ("<f8", (1,) * 33, "at most 32 dimensions"),
        ("<f8", (0, 1 << 62), "too large for its dimensions"),
    ],
)
def test_what_does_not_fit_is_refused(dtype: str, shape: tuple[int, ...], text: str) -> None:
    with pytest.raises(ValueError, match=text):
        pb.Array(dtype, shape, bytes(8))


def test_a_memory_with_gaps_is_copied() -> None:
    assert bytes(pb.Array("|u1", (2,), memoryview(b"abcd")[::2]).data) == b"ac"


def test_an_array_without_dimensions_has_no_length() -> None:
    with pytest.raises(TypeError):
        len(pb.Array("<f8", (), bytes(8)))
