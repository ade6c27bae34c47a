"""Values of more types and arrays on pb7: what is malformed fails its call; what a peer does not know is refused."""

from __future__ import annotations

import collections
import fractions
import gc
import ipaddress
import pathlib
import sys
from typing import Any

import numpy
import pytest
from ormsgpack import Ext, packb

import perspective_broker as pb
from perspective_broker import Limits
from perspective_broker.dialects.pb7 import codes, frames
from perspective_broker.dialects.pb7.large import LARGE, cut_arrays
from perspective_broker.errors import CallError, DecodeError, InsecureJelly, ProtocolError
from perspective_broker.ports import InParts
from perspective_broker.registry import Policy

from .coding import LIMITS, End, across, framed, whole

MORE: list[Any] = [
    fractions.Fraction(-7, 3),
    range(5, -5, -2),
    collections.deque([1, (2,)], 4),
    ipaddress.ip_address("10.0.0.1"),
    ipaddress.ip_address("fe80::1%eth0"),
    ipaddress.ip_network("2001:db8::/32"),
    ipaddress.ip_interface("10.0.0.1/8"),
    pathlib.PurePosixPath("/srv/a b"),
    pathlib.PureWindowsPath("C:\\a"),
    numpy.arange(3),
    pb.Array("<u2", (1,), b"ab"),
]


def arrives(code: int, payload: bytes, **options: Any) -> Any:
    """Return what an answer with one extension is decoded as."""
    [(_, _, value)] = End(**options).feed(framed(b"\x93\x02\x01" + packb(Ext(code, payload))))
    return value


def more(*parts: Any) -> bytes:
    return packb(list(parts))


MALFORMED: list[tuple[int, bytes]] = [
    (codes.MORE, more()),
    (codes.MORE, more(11, "x")),
    (codes.MORE, more(-1, "x")),
    (codes.MORE, more(True, 1, 2, 3)),
    (codes.MORE, more("x")),
    (codes.MORE, b"\xc0"),
    (codes.MORE, more(0, 1)),
    (codes.MORE, more(0, 1, 0)),
    (codes.MORE, more(0, 1, -2)),
    (codes.MORE, more(0, 2, 4)),
    (codes.MORE, more(0, 1.5, 2)),
    (codes.MORE, more(0, True, 2)),
    (codes.MORE, more(1, 0, 10, 0)),
    (codes.MORE, more(1, 0, 1 << 63, 1)),
    (codes.MORE, more(1, 0, 10)),
    (codes.MORE, more(2)),
    (codes.MORE, more(2, 1, "a", "b")),
    (codes.MORE, more(2, -2)),
    (codes.MORE, more(2, None)),
    (codes.MORE, more(2, 1 << 63)),
    (codes.MORE, more(3, "10.0.0.01")),
    (codes.MORE, more(3, "::1")),
    (codes.MORE, more(3, "10.0.0.1", 1)),
    (codes.MORE, more(3, b"10.0.0.1")),
    (codes.MORE, more(4, "0::1")),
    (codes.MORE, more(4, "::1%" + "x" * 100)),
    (codes.MORE, more(5, "10.0.0.1/8")),
    (codes.MORE, more(5, "10.0.0.0/08")),
    (codes.MORE, more(5, "10.0.0.0/255.0.0.0")),
    (codes.MORE, more(7, "10.0.0.1")),
    (codes.MORE, more(9, "a//b")),
    (codes.MORE, more(9, "")),
    (codes.MORE, more(9, "a" * 40_000)),
    (codes.MORE, more(10, "c:/a")),
    (codes.ARRAY, b""),
    (codes.ARRAY, b"\x92"),
    (codes.ARRAY, packb(["<f8", [1]])),
    (codes.ARRAY, packb(["<f8", [1]]) + b"1234567"),
    (codes.ARRAY, packb(["<f8", [1]]) + b"123456789"),
    (codes.ARRAY, packb(["<f8", [-1]])),
    (codes.ARRAY, packb(["<f8", [True]]) + b"12345678"),
    (codes.ARRAY, packb(["<f8", [0, 1 << 62]])),
    (codes.ARRAY, packb(["<f8", [1] * 33]) + b"12345678"),
    (codes.ARRAY, packb(["<f8", 1]) + b"12345678"),
    (codes.ARRAY, packb(["<f8"]) + b"12345678"),
    (codes.ARRAY, packb([8, [1]]) + b"12345678"),
    (codes.ARRAY, packb(["|O", [1]]) + b"12345678"),
    (codes.ARRAY, packb(["|V8", [1]]) + b"12345678"),
    (codes.ARRAY, packb(["f8", [1]]) + b"12345678"),
    (codes.ARRAY, packb(["<f16", [1]]) + b"1234567812345678"),
    (codes.ARRAY, packb(["<U0", [1 << 30]])),
    (codes.ARRAY, packb(["<M8[x]", [1]]) + b"12345678"),
    (codes.ARRAY, packb(["<f8,<f8", [1]]) + b"1234567812345678"),
    (codes.ARRAY, packb(["|b1", [2]]) + b"\1\2"),
    (codes.ARRAY, b"\x92\xd9\x03<f8\x91\x01" + b"12345678"),
]


@pytest.mark.parametrize(("code", "payload"), MALFORMED, ids=lambda value: str(value)[:60])
def test_what_is_malformed_fails_its_call(code: int, payload: bytes) -> None:
    value = arrives(code, payload)
    assert isinstance(value, DecodeError)
    assert "a" * 9 not in str(value)


def test_the_policy_decides_about_each_type() -> None:
    for name, value in (("fraction", MORE[0]), ("deque", MORE[2]), ("address", MORE[4]), ("path", MORE[7])):
        body = whole(End().dialect.writer.encode_answer(1, value, None))
        [(_, _, arrived)] = End(policy=Policy(types=[name, "tuple", "list"])).feed(body)
        assert arrived == value
        [(_, _, arrived)] = End(policy=Policy(types=["array", "list", "tuple"])).feed(body)
        assert isinstance(arrived, InsecureJelly)
    body = whole(End().dialect.writer.encode_answer(1, numpy.arange(3), None))
    [(_, _, arrived)] = End(policy=Policy(types=["list"])).feed(body)
    assert isinstance(arrived, InsecureJelly)


@pytest.mark.parametrize("value", MORE, ids=lambda value: type(value).__name__)
def test_a_peer_that_has_not_announced_them_is_not_sent_any(value: Any) -> None:
    end = End(greeted=False)
    end.feed(framed(packb([codes.HELLO, codes.VERSION, {"pieces": True}])))
    with pytest.raises(
        pb.SerializationError, match=r"^args\[0\]: .* has no form in the pb7 of this older peer"
    ):
        end.dialect.writer.encode_call(1, "root", "x", True, (value,), {}, None)


def test_a_concrete_path_arrives_as_its_pure_one() -> None:
    assert across(pathlib.Path("a/b")) == pathlib.PurePath("a/b")
    assert type(across(pathlib.Path("a"))) in (pathlib.PurePosixPath, pathlib.PureWindowsPath)


def test_scalars_of_numpy_cross_as_numbers() -> None:
    for value, plain in ((numpy.float64(1.5), 1.5), (numpy.int8(3), 3), (numpy.bool_(True), True)):
        arrived = across([value])
        assert arrived == [plain]
        assert type(arrived[0]) is type(plain)
    with pytest.raises(pb.SerializationError, match="item"):
        across(numpy.datetime64("2020-01-01"))
    with pytest.raises(pb.SerializationError, match="item"):
        across(numpy.longdouble(1))


class Special(numpy.ndarray):
    pass


def test_arrays_that_cannot_cross_say_what_can() -> None:
    for array, text in (
        (numpy.array([object()]), "tolist()"),
        (numpy.zeros(2, dtype="i4,f8"), "send its columns"),
        (numpy.zeros(2, dtype=numpy.longdouble), "astype(float)"),
        (numpy.zeros(2).view(Special), "numpy.asarray"),
        (numpy.zeros(LARGE, dtype="i4,f8"), "send its columns"),
    ):
        with pytest.raises(pb.SerializationError) as caught:
            End().dialect.writer.encode_call(1, "root", "x", True, ([array],), {}, None)
        assert text in str(caught.value)
        assert caught.value.path == "args[0][0]"


LAYOUTS = {
    "in C order": numpy.arange(12.0).reshape(3, 4),
    "in Fortran's order": numpy.asfortranarray(numpy.arange(12.0).reshape(3, 4)),
    "with gaps": numpy.arange(24.0)[::2],
    "without dimensions": numpy.array(3),
    "without items": numpy.zeros((0, 3)),
    "of the other byte order": numpy.arange(4, dtype=">i4"),
}


@pytest.mark.parametrize("array", LAYOUTS.values(), ids=LAYOUTS.keys())
def test_an_array_arrives_read_only(array: Any) -> None:
    arrived = across(array)
    assert (arrived.dtype, arrived.shape) == (array.dtype, array.shape)
    assert (arrived == array).all()
    assert not arrived.flags.writeable


BIG = numpy.arange(LARGE, dtype="<f8")


@pytest.mark.parametrize(
    "args",
    [
        (BIG,),
        (1, BIG, {"a": BIG}),
        ([BIG, BIG[::2]],),
        ((BIG,),),
        (BIG, numpy.arange(3), pb.Array("|u1", (LARGE,), bytes(LARGE))),
    ],
    ids=["alone", "among others", "in a list", "in a tuple", "several"],
)
@pytest.mark.parametrize("cut", [1, 1 << 16, 1 << 30])
def test_large_arrays_cross_in_any_place(args: tuple[Any, ...], cut: int) -> None:
    sent = whole(End().dialect.writer.encode_call(1, "root", "x", True, args, {"k": BIG}, None))
    cuts = (
        [sent[at : at + cut] for at in range(0, len(sent), cut)]
        if cut > 1
        else [sent[:9], *(sent[9:99]), sent[99:]]
    )
    [(*_, (got, kwargs))] = End().feed(*[bytes([part]) if isinstance(part, int) else part for part in cuts])
    assert str(got[:2]) == str(list(args[:2]))
    assert len(got) == len(args)
    assert (kwargs["k"] == BIG).all()
    assert not kwargs["k"].flags.writeable


def test_a_large_array_is_not_copied_but_when_the_message_is_made() -> None:
    array = numpy.arange(200_000.0)
    message = End().dialect.writer.encode_call(1, "root", "x", True, (array,), {}, None)
    assert isinstance(message, InParts)
    assert max(map(len, message.parts)) == array.nbytes
    array[0] = 7  # the message has its own copy
    frame = bytearray(whole(message)[4:])
    rest, [data] = cut_arrays(frame, LIMITS)
    assert len(rest) < 100
    assert data.obj is frame
    assert data.readonly


def read_only(array: Any) -> Any:
    array.flags.writeable = False
    return array


@pytest.mark.parametrize(
    ("array", "copied"),
    [
        (read_only(numpy.arange(200_000.0)), False),
        (read_only(numpy.arange(200_000.0)).reshape(2, 100_000), False),
        (numpy.frombuffer(bytes(1_600_000), "<f4"), False),
        (pb.Array("|u1", (1_600_000,), bytes(1_600_000)), False),
        (read_only(numpy.arange(200_000.0).reshape(2, 100_000)), True),  # its base can be written
        (numpy.frombuffer(memoryview(bytearray(1_600_000)).toreadonly(), "|u1"), True),
        (pb.Array("|u1", (1_600_000,), bytearray(1_600_000)), True),
        (read_only(numpy.arange(200_000.0))[::2], True),  # not in order
        (read_only(numpy.zeros(200_000, "datetime64[s]")), True),  # which has no buffer
    ],
)
def test_a_large_array_that_nothing_can_change_is_not_copied(array: Any, copied: bool) -> None:
    message = End().dialect.writer.encode_call(1, "root", "x", True, (array,), {}, None)
    assert isinstance(message, InParts)
    assert (type(max(message.parts, key=len)) is bytes) is copied
    [(*_, (got, _))] = End().feed(whole(message))
    assert (numpy.asarray(got[0]) == numpy.asarray(array)).all()


def test_the_buffer_of_a_frame_is_reused_when_no_array_is_over_it() -> None:
    frames._spare.clear()
    frame = bytearray(b"x" * 100)
    array = numpy.frombuffer(memoryview(frame).toreadonly(), "|u1")
    frames.recycle(frame)
    assert frames._spare_buffer() is not frame
    frames.recycle(frame)
    del array
    gc.collect()
    assert frames._spare_buffer() is frame
    frames._spare.clear()


def test_limits_judge_an_array_by_its_bytes() -> None:
    limits = Limits(large_string_bytes=100_000)
    with pytest.raises(pb.SerializationError, match="large_string_bytes"):
        End(limits=limits).dialect.writer.encode_answer(1, BIG, None)
    with pytest.raises(ProtocolError, match="large_string_bytes"):
        End(limits=limits).feed(whole(End().dialect.writer.encode_answer(1, BIG, None)))
    endless = numpy.broadcast_to(numpy.zeros(1), (1 << 40,))  # it has no memory of its own
    for args in ((endless,), ([endless],), ((endless,),)):
        with pytest.raises(pb.SerializationError, match="large_string_bytes"):
            End().dialect.writer.encode_call(1, "root", "x", True, args, {}, None)
    with pytest.raises(pb.SerializationError, match="message_bytes"):
        End(limits=Limits(message_bytes=100_000)).dialect.writer.encode_answer(1, BIG, None)


def test_bytes_that_only_look_like_a_large_array_are_read_as_they_are() -> None:
    head = packb(["<f8", [1]])
    nearly = bytes((codes.ARRAY,)) + head
    text = [b"\xc9\x00\x01\x00\x00" + nearly + bytes(LARGE), "x" * LARGE, (1,)]
    assert across(text) == text
    for payload in (
        head + bytes(LARGE),
        b"\x92" + bytes(LARGE),
        b"\x92\xa3<f8\xdd\xff\xff\xff\xff" + bytes(LARGE),
    ):
        assert isinstance(arrives(codes.ARRAY, payload), CallError)
    # An array without its bytes does not get those of another one.
    whole_one = packb(["|u1", [LARGE]]) + bytes(LARGE)
    both = packb(Ext(codes.ARRAY, head)) + packb(Ext(codes.ARRAY, whole_one))
    body = b"\x93\x02\x01\x92" + both
    [(_, _, value)] = End().feed(framed(body))
    assert isinstance(value, DecodeError)


def test_without_numpy_an_array_arrives_as_one_of_the_library(monkeypatch: pytest.MonkeyPatch) -> None:
    sent = whole(End().dialect.writer.encode_answer(1, numpy.arange(6, dtype="<i4").reshape(2, 3), None))
    large = whole(End().dialect.writer.encode_answer(1, BIG, None))
    with monkeypatch.context() as patch:
        patch.delitem(sys.modules, "numpy")
        [(_, _, small)] = End().feed(sent)
        [(_, _, big)] = End().feed(large)
        again = whole(End().dialect.writer.encode_answer(1, small, None))
        assert across(3) == 3
        with pytest.raises(pb.SerializationError):
            across(numpy.arange(3))
    assert (type(small), small.dtype, small.shape) == (pb.Array, "<i4", (2, 3))
    assert (numpy.asarray(small) == numpy.arange(6).reshape(2, 3)).all()
    assert (numpy.asarray(big) == BIG).all()
    assert again == sent


def test_a_deque_counts_as_several_extensions() -> None:
    limits = Limits(nodes=2000)  # 100 extensions
    for count, refused in ((20, False), (21, True)):
        deques: list[Any] = [collections.deque() for _ in range(count)]
        sent = whole(End().dialect.writer.encode_answer(1, deques, None))
        if refused:
            with pytest.raises(pb.SerializationError, match="extensions"):
                End(limits=limits).dialect.writer.encode_answer(1, deques, None)
            with pytest.raises(ProtocolError, match="extensions"):
                End(limits=limits).feed(sent)
        else:
            End(limits=limits).dialect.writer.encode_answer(1, deques, None)
            [(_, _, got)] = End(limits=limits).feed(sent)
            assert got == deques


def test_values_of_this_side_beyond_a_bound_are_refused_with_their_path() -> None:
    for value, text in (
        (range(1 << 63), "63 bits"),
        (pathlib.PurePosixPath("a" * 40_000), "32767 characters"),
        (ipaddress.ip_address("::1%" + "ü"), "a short ASCII name"),
        (pathlib.PurePosixPath("\udcff"), "surrogate"),
        (collections.deque([object()]), "object has no form"),
        (numpy.arange(6).reshape(2, 3).T.data, r"in C order does not cross; send bytes\(...\)"),
    ):
        with pytest.raises(pb.SerializationError, match=text) as caught:
            End().dialect.writer.encode_call(1, "root", "x", True, ((value,),), {}, None)
        assert caught.value.path.startswith("args[0][0]"), caught.value.path


def test_a_deque_that_contains_itself_names_its_place() -> None:
    cycle: collections.deque[Any] = collections.deque()
    cycle.append(cycle)
    with pytest.raises(pb.SerializationError, match="contains itself") as caught:
        End().dialect.writer.encode_answer(1, [cycle], None)
    assert caught.value.path == "answer[0]"
