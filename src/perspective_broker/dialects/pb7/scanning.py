"""Scanning: MessagePack looked at without building anything.

The codec in C answers two questions too late or not at all: how many values a large frame would make, and what is
wrong with one that cannot be read. Only frames that raise one of these are scanned; but whoever sends them chooses what
is in them, so values whose first byte says how long they are are looked at by the thousand, in C.
"""

from __future__ import annotations

import re
from collections.abc import Generator
from itertools import accumulate
from typing import Final, TypeAlias

from ormsgpack import unpackb

from ...errors import ProtocolError
from ...limits import CONTAINER_NODES, NODE_BYTES, Limits
from .codes import NESTED

__all__ = [
    "PLAIN_VALUES",
    "Buffer",
    "Steps",
    "check_in_steps",
    "check_size",
    "extension",
    "extensions_refused",
    "has_no_extension",
    "most_extensions",
    "only_mention",
    "scan",
    "scan_in_steps",
    "skip",
    "token",
    "too_many_extensions",
    "weight_at_most",
]

#: A frame's body, wherever it lies.
Buffer = bytes | bytearray | memoryview

#: Every byte that begins a value without a body: small integers, nil, booleans.
_LIGHT: Final = bytes(range(0x80))

#: Every byte that begins a container.
_CONTAINERS: Final = bytes((*range(0x80, 0xA0), 0xDC, 0xDD, 0xDE, 0xDF))

#: Stands for a value of more than one byte where values are counted; it begins none.
_BODY_MARK: Final = b"\xc1"

#: Every byte that begins no extension.
_NO_EXTENSION: Final = bytes(set(range(0x100)) - {0xC7, 0xC8, 0xC9, 0xD4, 0xD5, 0xD6, 0xD7, 0xD8})

#: Values in a message that is large because one of them is.
_FEW: Final = 1000

#: First byte -> bytes of the length behind it, and of what stands before the body of that length.
_STRINGS: Final = {0xD9: 1, 0xDA: 2, 0xDB: 4, 0xC4: 1, 0xC5: 2, 0xC6: 4}
_EXTENSIONS: Final = {0xC7: 1, 0xC8: 2, 0xC9: 4}
_FIXED_EXTENSIONS: Final = {0xD4: 1, 0xD5: 2, 0xD6: 4, 0xD7: 8, 0xD8: 16}
#: Where a length's shorter spelling ends: a length up to this must not be spelled so long.
_SHORTER: Final = {
    0xD9: 31,
    0xDA: 0xFF,
    0xDB: 0xFFFF,
    0xC4: -1,
    0xC5: 0xFF,
    0xC6: 0xFFFF,
    0xC7: -1,
    0xC8: 0xFF,
    0xC9: 0xFFFF,
    0xDC: 15,
    0xDD: 0xFFFF,
    0xDE: 15,
    0xDF: 0xFFFF,
}
#: First byte of an integer -> its bytes, whether signed, and the range that has a shorter spelling.
_INTEGERS: Final = {
    0xCC: (1, False, range(0x80)),
    0xCD: (2, False, range(0x100)),
    0xCE: (4, False, range(0x10000)),
    0xCF: (8, False, range(0x1_0000_0000)),
    0xD0: (1, True, range(-0x20, 0x80)),
    0xD1: (2, True, range(-0x80, 0x8000)),
    0xD2: (4, True, range(-0x8000, 0x8000_0000)),
    0xD3: (8, True, range(-0x8000_0000, 0x8000_0000_0000_0000)),
}

#: First byte -> bytes of a whole value that is always as long; 0 for the others.
_WHOLE: Final = [
    1
    if byte < 0x80 or byte >= 0xE0 or byte in (0xC0, 0xC2, 0xC3)
    else 1 + byte - 0xA0
    if 0xA0 <= byte < 0xC0
    else 9
    if byte == 0xCB
    else 0
    for byte in range(0x100)
]


#: Values of several bytes whose first says how many, each in its shortest spelling: short texts, floats, integers.
#: They are tried in order, so what is shortest comes first: a MiB of it has most values. (That order halves the time of
#: integers of two bytes, from 108 ms for each MiB to 45, and takes 10 more for texts of eight.)
_TEXTS: Final = tuple(b"[%c].{%d}" % (0xA0 + size, size) for size in range(1, 32))
_NUMBERS: Final = (
    rb"\xcc[\x80-\xff]",
    rb"\xd0[\x80-\xdf]",
    rb"\xcd[\x01-\xff].",
    rb"\xd1(?!\xff[\x80-\xff])[\x80-\xff].",
    rb"\xce(?!\0\0).{4}",
    rb"\xd2(?!\xff{2}[\x80-\xff])[\x80-\xff].{3}",
    rb"\xcb.{8}",
    rb"\xcf(?!\0{4}).{8}",
    rb"\xd3(?!\xff{4}[\x80-\xff])[\x80-\xff].{7}",
)
_PLAIN_BODIES: Final = b"|".join((*_TEXTS[:3], *_NUMBERS, *_TEXTS[3:]))
#: Values of one byte, and the announcements of containers that have one byte.
_ONE_BYTE: Final = rb"[\x00-\xa0\xc0\xc2\xc3\xe0-\xff]"

#: Any number of values that are no extensions, and what announces them.
PLAIN_VALUES: Final = re.compile(rb"(?:%b++|%b)*+" % (_ONE_BYTE, _PLAIN_BODIES), re.DOTALL)

_NOT_NESTED: Final = b"(?![%b])" % bytes(sorted(NESTED))
_FIXED: Final = tuple(
    b"[%c]%b.{%d}" % (first, _NOT_NESTED, 1 + size) for first, size in _FIXED_EXTENSIONS.items()
)
_BODIES: Final = b"|".join((*_TEXTS[:3], *_NUMBERS, *_FIXED, *_TEXTS[3:]))
#: The same with extensions of a fixed length whose payload holds no values.
_RUN: Final = re.compile(rb"(?:%b++|%b)*+" % (_ONE_BYTE, _BODIES), re.DOTALL)
_BODY: Final = re.compile(_BODIES, re.DOTALL)

#: Bytes that are looked at in one go: what is copied of a frame is small against the frame.
_BLOCK: Final = 64 * 1024

#: First byte of a value of one byte -> values that it announces,
_ANNOUNCES: Final = bytes(
    2 * (byte - 0x80) if 0x80 <= byte < 0x90 else byte - 0x90 if 0x90 <= byte < 0xA0 else 0
    for byte in range(0x100)
)
#: and by how much that changes the values still to come.
_CHANGES: Final = [announced - 1 for announced in _ANNOUNCES]


#: The steps of looking at a frame, between which others may have their turn, and at the end what was asked.
Steps: TypeAlias = Generator[None, None, bool]

#: Nodes that are looked at in one step: some 2 ms.
_STEP: Final = 20_000

#: Extensions that are looked at in one step: some microseconds each.
_EXTENSIONS_AT_ONCE: Final = 2_000


def check_size(frame: Buffer, limits: Limits) -> bool:
    """The same as :func:`check_in_steps`, in one go."""
    return _finish(check_in_steps(frame, limits))


def check_in_steps(frame: Buffer, limits: Limits) -> Steps:
    """Judge whether a frame would make more values, or longer ones, than the limits allow.

    Returns:
        Whether it took a :func:`scan` of the whole frame to say so.

    Raises:
        ProtocolError: it would. (Or it is no MessagePack, which a frame of this size is told at once.)
    """
    size = len(frame)
    if size > limits.large_string_bytes:
        return (yield from scan_in_steps(frame, limits))
    if size <= limits.nodes // CONTAINER_NODES or scan(frame, limits, _FEW):
        return False
    # Few honest frames are scanned because of this.
    return nodes_at_most(frame) > limits.nodes and (yield from scan_in_steps(frame, limits))


def weight_at_most(frame: Buffer, limits: Limits) -> int:
    """Return no less than the memory, in bytes, that the values of a frame take. The frame has been judged before."""
    try:
        has_few = len(frame) > _FEW and scan(frame, limits, _FEW)
    except ProtocolError:  # its structure is right, but for what costs only the call
        has_few = False
    return len(frame) + NODE_BYTES * (2 * _FEW if has_few else nodes_at_most(frame))


def nodes_at_most(frame: Buffer) -> int:
    """Return no less than what a frame counts of ``Limits.nodes``, small integers by the memory that they take.

    A byte below 0x80 that begins a value costs a pointer, a quarter of a node; one within a string costs less.
    """
    heavy = bytes(frame).translate(None, _LIGHT)
    containers = len(heavy) - len(heavy.translate(None, _CONTAINERS))
    return (len(frame) - len(heavy)) // 4 + 2 * len(heavy) + (CONTAINER_NODES - 2) * containers


def scan(frame: Buffer, limits: Limits, at_most: int | None = None) -> bool:
    """The same as :func:`scan_in_steps`, in one go."""
    return _finish(scan_in_steps(frame, limits, at_most))


def _finish(steps: Steps) -> bool:
    while True:
        try:
            next(steps)
        except StopIteration as done:
            result: bool = done.value
            return result


def scan_in_steps(frame: Buffer, limits: Limits, at_most: int | None = None) -> Steps:
    """Judge a frame's structure: one value, whole, in the shortest spelling, within the limits.

    Args:
        frame: what to scan.
        limits: what it may hold.
        at_most: values to look at before giving up; None for all.

    Returns:
        Whether it was scanned to its end.

    Raises:
        ProtocolError: it is not.
    """
    pos, missing, nodes, extensions = 0, 1, 0, 0
    end = len(frame)
    most = limits.nodes if at_most is None else at_most
    step = _STEP
    while missing:
        if nodes > step:
            step = nodes + _STEP
            yield
        if pos >= end:
            raise _truncated()
        run = _RUN.match(frame, pos, min(end, pos + (_BLOCK if at_most is None else at_most)))
        assert run is not None  # it may be empty
        if run.end() > pos:
            values = _BODY.sub(_BODY_MARK, run.group())  # a byte for each
            if len(values) > missing:
                left = accumulate(map(_CHANGES.__getitem__, values), initial=missing)
                if 0 in left and next(left, None) is not None:
                    raise ProtocolError("bad-message", "bytes behind the end of a message")
            nodes += _nodes_of(values)
            missing += sum(values.translate(_ANNOUNCES)) - len(values)
            pos = run.end()
            if nodes + missing > limits.nodes:
                raise _too_many_nodes(limits)
            if at_most is not None and nodes > at_most:
                return False
            continue
        start = pos
        nodes += _nodes(frame[pos])
        missing -= 1
        pos, items = token(frame, pos, limits)
        missing += items
        if pos <= end and (frame[start] in _EXTENSIONS or frame[start] in _FIXED_EXTENSIONS):
            nodes += yield from _count_within(frame, start, pos, limits, most)
            extensions += 1
            if extensions > most_extensions(limits):
                raise extensions_refused(limits)
        if nodes + missing > limits.nodes:
            raise _too_many_nodes(limits)
        if at_most is not None and nodes > at_most:
            return False
    if pos > end:
        raise _truncated()
    if pos < end:
        raise ProtocolError("bad-message", "bytes behind the end of a message")
    return True


def skip(frame: Buffer, pos: int, values: int, limits: Limits) -> int:
    """Return where so many values from ``pos`` on end, with everything in them.

    Raises:
        ProtocolError: the same as :func:`token`.
    """
    while values:
        pos, inside = token(frame, pos, limits)
        values += inside - 1
    return pos


def token(frame: Buffer, pos: int, limits: Limits) -> tuple[int, int]:
    """Return where the value that begins at ``pos`` ends, and how many values it announces as its own.

    A container ends behind its announcement; an extension is one value.

    Raises:
        ProtocolError: none begins there, or not in its shortest spelling.
    """
    first = frame[pos]
    whole = _WHOLE[first]
    if whole:
        return pos + whole, 0
    pos += 1
    if first < 0x90:
        return pos, 2 * (first - 0x80)
    if first < 0xA0:
        return pos, first - 0x90
    if first in _INTEGERS:
        width, signed, shorter = _INTEGERS[first]
        if int.from_bytes(_take(frame, pos, width), "big", signed=signed) in shorter:
            raise _not_shortest()
        return pos + width, 0
    if first in _STRINGS or first in _EXTENSIONS:
        width = _STRINGS.get(first) or _EXTENSIONS[first]
        size = _length(frame, pos, width, first)
        if first in _EXTENSIONS:
            if size in (1, 2, 4, 8, 16):
                raise _not_shortest()
            width += 1
        if size > limits.large_string_bytes:
            raise ProtocolError(
                "limit-size",
                f"a string may have {limits.large_string_bytes} bytes (Limits.large_string_bytes)",
            )
        return pos + width + size, 0
    if first in _FIXED_EXTENSIONS:
        return pos + 1 + _FIXED_EXTENSIONS[first], 0
    if first in (0xDC, 0xDD):
        width = 2 if first == 0xDC else 4
        return pos + width, _length(frame, pos, width, first)
    if first in (0xDE, 0xDF):
        width = 2 if first == 0xDE else 4
        return pos + width, 2 * _length(frame, pos, width, first)
    if first == 0xCA:
        raise _not_shortest()  # a float of 32 bits: every float here has 64
    raise ProtocolError("bad-token", "a byte that begins no value")


def has_no_extension(frame: bytes | bytearray) -> bool:
    """Return whether no extension can be in a frame, because no byte in it begins one."""
    return not frame.translate(None, _NO_EXTENSION)


def extension(frame: Buffer, pos: int, limits: Limits) -> tuple[int, int, int]:
    """Return the type of the extension that begins at ``pos``, and where its payload begins and ends.

    For any other value the type is -1, and the payload empty, behind the value.

    Raises:
        ProtocolError: no value begins there, or not in its shortest spelling.
    """
    first = frame[pos]
    # Nearly every extension is one of these two, as it should be. (300 ns less for each.)
    if 0xD4 <= first <= 0xD8 and pos + 1 < len(frame):
        return frame[pos + 1], pos + 2, pos + 2 + (1 << (first - 0xD4))
    if first == 0xC7 and pos + 2 < len(frame) and (size := frame[pos + 1]) not in (1, 2, 4, 8, 16):
        return frame[pos + 2], pos + 3, pos + 3 + size
    end, _ = token(frame, pos, limits)
    if first not in _EXTENSIONS and first not in _FIXED_EXTENSIONS:
        return -1, end, end
    code_at = pos + 1 + _EXTENSIONS.get(first, 0)
    if code_at >= len(frame):
        raise _truncated()
    return frame[code_at], code_at + 1, end


#: Bytes of an answer or an error that is nothing but a mention, at most: array, operation, request, extension.
_LONGEST_MENTION: Final = 2 + 9 + 11


def only_mention(frame: Buffer, code: int) -> int | None:
    """Return the id that an answer or an error mentions in an extension ``code``; None when it is anything else."""
    if len(frame) > _LONGEST_MENTION:
        return None
    value = unpackb(frame, ext_hook=_extension_of)[2]
    if type(value) is not tuple or value[0] != code or not 0 < len(value[1]) <= 8:
        return None
    return int.from_bytes(value[1], "big")


def _extension_of(code: int, payload: bytes) -> tuple[int, bytes]:
    return code, payload


def _count_within(
    frame: Buffer, start: int, stop: int, limits: Limits, most: int
) -> Generator[None, None, int]:
    """Look, in steps, how many nodes an extension's payload makes, extensions in it included.

    What is no value ends it: nothing behind that is made, and it costs only what the extension belongs to.

    Returns:
        The number, or some number above ``most``.

    Raises:
        ProtocolError: it holds more extensions than a message may have.
    """
    pos, nodes, extensions = start, -_nodes(frame[start]), 0  # the extension itself is counted by the caller
    while pos < stop and nodes <= most:
        run = _RUN.match(frame, pos, min(stop, pos + _BLOCK))
        assert run is not None  # it may be empty
        if run.end() > pos:
            nodes += _nodes_of(_BODY.sub(_BODY_MARK, run.group()))
            pos = run.end()
            continue
        nodes += _nodes(frame[pos])
        try:
            code, inside, end = extension(frame, pos, limits)
        except ProtocolError:
            break
        if code >= 0:
            extensions += 1
            if extensions > most_extensions(limits):
                raise extensions_refused(limits)
            if not extensions % _EXTENSIONS_AT_ONCE:
                yield
        pos = inside if code in NESTED and inside <= stop else end
    return nodes


def _nodes_of(values: bytes) -> int:
    """Return what values count of ``Limits.nodes``, of each of which there is the first byte, or _BODY_MARK."""
    containers = len(values) - len(values.translate(None, _CONTAINERS))
    return len(values) + values.count(_BODY_MARK) + (CONTAINER_NODES - 1) * containers


def most_extensions(limits: Limits) -> int:
    """Return how many extensions a message may have: to read one costs 0.3 to 1 µs, so they are read within 50 ms."""
    return max(16, limits.nodes // 20)


def too_many_extensions(limits: Limits) -> str:
    """Return what to say of a message with more than :func:`most_extensions`."""
    most = most_extensions(limits)
    return f"a message may have {most} extensions (tuples, dates, copyables, references, ...); Limits.nodes decides"


def extensions_refused(limits: Limits) -> ProtocolError:
    """Return the error of a message with more than :func:`most_extensions`."""
    return ProtocolError("limit-extensions", too_many_extensions(limits))


def _nodes(first: int) -> int:
    """Return what the value that begins with a byte counts of ``Limits.nodes``, without what is in it."""
    if _WHOLE[first] == 1:
        return 1
    return CONTAINER_NODES if first in _CONTAINERS else 2


def _too_many_nodes(limits: Limits) -> ProtocolError:
    return ProtocolError("limit-nodes", f"a message may have {limits.nodes} items (Limits.nodes)")


def _length(frame: Buffer, pos: int, width: int, first: int) -> int:
    size = int.from_bytes(_take(frame, pos, width), "big")
    if size <= _SHORTER[first]:
        raise _not_shortest()
    return size


def _take(frame: Buffer, pos: int, width: int) -> Buffer:
    taken = frame[pos : pos + width]
    if len(taken) < width:
        raise _truncated()
    return taken


def _truncated() -> ProtocolError:
    return ProtocolError("bad-message", "a message that ends too early")


def _not_shortest() -> ProtocolError:
    return ProtocolError("bad-message", "a value that is not in its shortest spelling")
