"""Scanning: check MessagePack without making values.

The codec in C does not answer two questions in time: how many values a large frame would make, and what is wrong with
a frame that cannot be decoded. Only such frames are scanned. But a peer chooses their content, so values whose length
follows from their first byte are matched by the thousand with regular expressions, in C.
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
    "only_reference",
    "scan",
    "scan_in_steps",
    "skip",
    "token",
    "too_many_extensions",
    "weight_at_most",
]

#: The body of a frame, in any type of buffer.
Buffer = bytes | bytearray | memoryview

#: Bytes that are a whole value: small non-negative integers.
_LIGHT: Final = bytes(range(0x80))

#: Bytes that begin a container.
_CONTAINERS: Final = bytes((*range(0x80, 0xA0), 0xDC, 0xDD, 0xDE, 0xDF))

#: Replaces a value of several bytes where values are counted. No value begins with this byte.
_BODY_MARK: Final = b"\xc1"

#: Bytes that do not begin an extension.
_NO_EXTENSION: Final = bytes(set(range(0x100)) - {0xC7, 0xC8, 0xC9, 0xD4, 0xD5, 0xD6, 0xD7, 0xD8})

#: Values in a message that is large because of one large value, at most.
_FEW: Final = 1000

#: First byte -> bytes of the length after it; for fixed extensions, bytes of the payload.
_STRINGS: Final = {0xD9: 1, 0xDA: 2, 0xDB: 4, 0xC4: 1, 0xC5: 2, 0xC6: 4}
_EXTENSIONS: Final = {0xC7: 1, 0xC8: 2, 0xC9: 4}
_FIXED_EXTENSIONS: Final = {0xD4: 1, 0xD5: 2, 0xD6: 4, 0xD7: 8, 0xD8: 16}
#: First byte -> the longest length that has a shorter spelling.
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
#: First byte of an integer -> its bytes, whether it is signed, and the range that has a shorter spelling.
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

#: First byte -> bytes of the whole value, if the first byte alone decides them; otherwise 0.
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


#: Values of several bytes whose length follows from the first byte, in their shortest spelling: short texts, floats,
#: integers. The patterns are tried in order, so the shortest come first, because 1 MiB has most of them. (That order
#: halves the time for integers of two bytes, from 108 ms to 45 for each MiB, and adds 10 ms for texts of eight.)
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
#: Values of one byte, and headers of containers that have one byte.
_ONE_BYTE: Final = rb"[\x00-\xa0\xc0\xc2\xc3\xe0-\xff]"

#: Any number of values other than extensions, and headers of containers.
PLAIN_VALUES: Final = re.compile(rb"(?:%b++|%b)*+" % (_ONE_BYTE, _PLAIN_BODIES), re.DOTALL)

_NOT_NESTED: Final = b"(?![%b])" % bytes(sorted(NESTED))
_FIXED: Final = tuple(
    b"[%c]%b.{%d}" % (first, _NOT_NESTED, 1 + size) for first, size in _FIXED_EXTENSIONS.items()
)
_BODIES: Final = b"|".join((*_TEXTS[:3], *_NUMBERS, *_FIXED, *_TEXTS[3:]))
#: The same, and extensions of a fixed length whose payload does not contain values.
_RUN: Final = re.compile(rb"(?:%b++|%b)*+" % (_ONE_BYTE, _BODIES), re.DOTALL)
_BODY: Final = re.compile(_BODIES, re.DOTALL)

#: Bytes that are matched at a time, so that the copies are small compared with the frame.
_BLOCK: Final = 64 * 1024

#: First byte -> values that follow it as its items, if it is the header of a container,
_ANNOUNCES: Final = bytes(
    2 * (byte - 0x80) if 0x80 <= byte < 0x90 else byte - 0x90 if 0x90 <= byte < 0xA0 else 0
    for byte in range(0x100)
)
#: and the change of the number of values that are still missing.
_CHANGES: Final = [announced - 1 for announced in _ANNOUNCES]


#: Steps of scanning a frame, between which other connections get their turn; the result is the answer.
Steps: TypeAlias = Generator[None, None, bool]

#: Nodes that are scanned in one step: about 2 ms.
_STEP: Final = 20_000

#: Extensions that are scanned in one step: a few microseconds each.
_EXTENSIONS_AT_ONCE: Final = 2_000


def check_size(frame: Buffer, limits: Limits) -> bool:
    """The same as :func:`check_in_steps`, in one step."""
    return _finish(check_in_steps(frame, limits))


def check_in_steps(frame: Buffer, limits: Limits) -> Steps:
    """Check that a frame does not make more values, or longer ones, than the limits allow.

    Returns:
        Whether the whole frame has been scanned.

    Raises:
        ProtocolError: it exceeds a limit, or the scan finds that it is not MessagePack.
    """
    size = len(frame)
    if size > limits.large_string_bytes:
        return (yield from scan_in_steps(frame, limits))
    if size <= limits.nodes // CONTAINER_NODES or scan(frame, limits, _FEW):
        return False
    # Few honest frames are scanned as a whole.
    return nodes_at_most(frame) > limits.nodes and (yield from scan_in_steps(frame, limits))


def weight_at_most(frame: Buffer, limits: Limits) -> int:
    """Return an upper bound of the bytes of memory that the values of a checked frame take."""
    try:
        has_few = len(frame) > _FEW and scan(frame, limits, _FEW)
    except ProtocolError:  # a flaw that fails only the call
        has_few = False
    return len(frame) + NODE_BYTES * (2 * _FEW if has_few else nodes_at_most(frame))


def nodes_at_most(frame: Buffer) -> int:
    """Return an upper bound of the nodes of a frame, as ``Limits.nodes`` counts them; small integers by their memory.

    A byte below 0x80 that is a value costs a pointer, a quarter of a node; one within a string costs less.
    """
    heavy = bytes(frame).translate(None, _LIGHT)
    containers = len(heavy) - len(heavy.translate(None, _CONTAINERS))
    return (len(frame) - len(heavy)) // 4 + 2 * len(heavy) + (CONTAINER_NODES - 2) * containers


def scan(frame: Buffer, limits: Limits, at_most: int | None = None) -> bool:
    """The same as :func:`scan_in_steps`, in one step."""
    return _finish(scan_in_steps(frame, limits, at_most))


def _finish(steps: Steps) -> bool:
    while True:
        try:
            next(steps)
        except StopIteration as done:
            result: bool = done.value
            return result


def scan_in_steps(frame: Buffer, limits: Limits, at_most: int | None = None) -> Steps:
    """Check the structure of a frame: one complete value in the shortest spelling, within the limits.

    Args:
        frame: to scan.
        limits: of its content.
        at_most: nodes to scan before stopping; None for all.

    Returns:
        Whether the frame was scanned to its end.

    Raises:
        ProtocolError: the structure is not valid.
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
            values = _BODY.sub(_BODY_MARK, run.group())  # one byte for each
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
    """Return the end of ``values`` values that begin at ``pos``, with all that they contain.

    Raises:
        ProtocolError: the same as :func:`token`.
    """
    while values:
        pos, inside = token(frame, pos, limits)
        values += inside - 1
    return pos


def token(frame: Buffer, pos: int, limits: Limits) -> tuple[int, int]:
    """Return the end of the value that begins at ``pos``, and the number of its items.

    Of a container this is the end of its header. An extension is one value.

    Raises:
        ProtocolError: no value begins there, or it is not in its shortest spelling.
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
        raise _not_shortest()  # a float of 32 bits; all floats have 64 here
    raise ProtocolError("bad-token", "a byte that begins no value")


def has_no_extension(frame: bytes | bytearray) -> bool:
    """Return whether a frame cannot contain an extension, because no byte of it begins one."""
    return not frame.translate(None, _NO_EXTENSION)


def extension(frame: Buffer, pos: int, limits: Limits) -> tuple[int, int, int]:
    """Return the type of the extension that begins at ``pos``, and the start and end of its payload.

    For any other value the type is -1, and the payload is empty and after the value.

    Raises:
        ProtocolError: no value begins there, or it is not in its shortest spelling.
    """
    first = frame[pos]
    # Nearly every extension has one of these two forms. (This saves 300 ns for each.)
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


#: Bytes of an answer or an error that is only a reference, at most: array, operation, request, extension.
_LONGEST_REFERENCE: Final = 2 + 9 + 11


def only_reference(frame: Buffer, code: int) -> int | None:
    """Return the id in an answer or an error that is one extension of type ``code``; None when it is another value."""
    if len(frame) > _LONGEST_REFERENCE:
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
    """Count, in steps, the nodes of the payload of an extension, nested extensions included.

    Counting stops at bytes that are not a value: nothing after them is made, and only the call fails.

    Returns:
        The number, or any number above ``most``.

    Raises:
        ProtocolError: the payload has more extensions than a message may have.
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
    """Return the nodes of values, each represented by its first byte or _BODY_MARK."""
    containers = len(values) - len(values.translate(None, _CONTAINERS))
    return len(values) + values.count(_BODY_MARK) + (CONTAINER_NODES - 1) * containers


def most_extensions(limits: Limits) -> int:
    """Return how many extensions a message may have: decoding one takes 0.3 to 1 µs, so all take at most 50 ms."""
    return max(16, limits.nodes // 20)


def too_many_extensions(limits: Limits) -> str:
    """Return the text of the error of a message with more than :func:`most_extensions`."""
    most = most_extensions(limits)
    return f"a message may have {most} extensions (tuples, dates, copyables, references, ...); Limits.nodes decides"


def extensions_refused(limits: Limits) -> ProtocolError:
    """Return the error of a message with more than :func:`most_extensions`."""
    return ProtocolError("limit-extensions", too_many_extensions(limits))


def _nodes(first: int) -> int:
    """Return the nodes of the value that begins with a byte, without its items."""
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
