"""Banana: nested lists of bytes, integers and floats as a stream of tokens. Sans-I/O, one decoder per connection.

A token is base-128 digits (bytes below 0x80, least significant first), then a type byte. The digits are a
length, a count or a number; a float does not have digits, and its eight bytes follow the type byte.

The decoder is linear in its input, whatever the sizes of the chunks: an incomplete string is kept as a list of
chunks, and at most 64 digits are read twice per chunk.
"""

from __future__ import annotations

import struct
from typing import Final

from ...errors import ProtocolError, SerializationError
from ...limits import CONTAINER_NODES, Limits
from ...native_path import MOST_BOUND, Bounds, make_bounds, read_banana
from ...ports import Data
from ...queues import Queue, put
from ..collector import LARGE_MESSAGE, MANY_VALUES, pause_gc, resume_gc
from .vocabulary import BY_NUMBER, NONE, Spelling, base128

__all__ = [
    "NEED_MORE",
    "Banana",
    "Decoder",
    "encode",
    "encode_float",
    "encode_integer",
    "encode_list_head",
]

#: A value that banana can encode. (The type is recursive.)
Banana = bytes | int | float | list["Banana"]

LIST, INT, STRING, NEG, FLOAT, LONGINT, LONGNEG, VOCAB = range(0x80, 0x88)
_POSITIVE: Final = (INT, LONGINT)
_INTEGERS: Final = (INT, LONGINT, NEG, LONGNEG)

#: Digits before a type byte: 64 hold 448 bits; no classic peer reads a 65th.
MAX_DIGITS: Final = 64
MAX_BITS: Final = 7 * MAX_DIGITS

#: The word ``unicode``, encoded: the first item of a text's list.
_UNICODE: Final = b"\x07\x82unicode"


class _NeedMore:
    def __repr__(self) -> str:
        return "NEED_MORE"


#: Returned by :meth:`Decoder.next` while the next value is not complete.
NEED_MORE: Final = _NeedMore()

_unpack_float = struct.Struct("!d").unpack_from
_pack_float = struct.Struct("!d").pack


class Decoder:
    """Turn chunks of bytes into complete values.

    Args:
        limits: of depth, items, strings and the whole message.
        has_words: whether vocabulary tokens are legal (dialect ``pb``).
        natively: whether the native path may read what is plain. Tests compare it with the Python alone.
    """

    __slots__ = (
        "_before",
        "_bounds",
        "_bounds_of",
        "_chunks",
        "_data",
        "_error",
        "_gc_paused",
        "_list",
        "_missing",
        "_natively",
        "_nodes",
        "_partial",
        "_pos",
        "_stack",
        "_wanted",
        "_words",
        "last_nodes",
        "last_size",
        "limits",
    )

    def __init__(self, limits: Limits, has_words: bool, natively: bool = True) -> None:
        self.limits: Limits = limits
        self._natively = natively and read_banana is not None
        self._words = BY_NUMBER if has_words else {}
        self._data = b""  # the chunk that is being read,
        self._pos = 0  # and the position in it
        self._chunks: Queue[bytes] = ()  # received, not read yet
        self._partial: list[bytes] = []  # the beginning of an incomplete string,
        self._wanted = 0  # and the bytes that it lacks
        self._list: list[Banana] | None = None  # the innermost open list,
        self._missing = 0  # the items that it lacks,
        self._stack: list[tuple[list[Banana], int]] = []  # and the open lists around it
        self._nodes = 0  # items announced in this message
        self._before = 0  # bytes of this message in earlier chunks
        self._error: ProtocolError | None = None
        self._gc_paused = False  # whether this decoder has paused it
        self._bounds: Bounds = None  # for the native path, made of these limits
        self._bounds_of: Limits | None = None
        self.last_size: int = 0  #: encoded bytes of the value returned last,
        self.last_nodes: int = 0  #: and its nodes, as Limits.nodes counts them

    @property
    def mid_message(self) -> int:
        """Bytes received of a value that is not complete; 0 between values."""
        return self._before + len(self._data) - self._pos + sum(map(len, self._chunks))

    def receive_data(self, data: Data) -> None:
        """Keep ``data`` to be read by :meth:`next`."""
        if data:
            self._chunks = put(self._chunks, bytes(data))

    def take_rest(self) -> bytes:
        """Remove and return the bytes after the last value: they belong to the next dialect."""
        rest = self._data[self._pos :] + b"".join(self._chunks)
        self._data, self._pos = b"", 0
        self._chunks = ()
        return rest

    def next(self) -> Banana | _NeedMore:
        """Return the next complete value, or :data:`NEED_MORE`.

        Raises:
            ProtocolError: the bytes are not banana, or exceed a limit. Every later call raises it again.
        """
        if self._error is not None:
            raise self._error
        if self._nodes > MANY_VALUES:  # of a message that is not complete
            self._gc_paused = pause_gc()
        try:
            while True:
                value = self._read()
                if value is not NEED_MORE or not self._chunks:
                    if self._gc_paused:
                        self._resume_gc()
                    return value
                # The rest of a chunk is shorter than one token, so this copies little.
                self._data = self._data[self._pos :] + self._chunks.popleft()
                self._pos = 0
        except BaseException as error:
            if self._gc_paused:
                self._resume_gc()
            if isinstance(error, ProtocolError):
                self._error = error
            raise

    def _resume_gc(self) -> None:
        self._gc_paused = False
        resume_gc()

    def _read(self) -> Banana | _NeedMore:
        """Read tokens of the current chunk until a value is complete or the chunk is used up."""
        data = self._data
        start = pos = self._pos
        end = len(data)
        limits = self.limits
        words = self._words
        stack = self._stack
        into, missing = self._list, self._missing
        depth = len(stack) + (into is not None)
        value: Banana
        in_string = self._wanted > 0
        if self._natively and into is None and not in_string and pos < end:
            found = self._read_natively(data, pos)
            if found is not None:
                return found
        while True:
            if in_string:  # the next bytes of a string that began in an earlier chunk
                piece = data[pos : pos + self._wanted]
                pos += len(piece)
                self._partial.append(piece)
                self._wanted -= len(piece)
                if self._wanted:
                    break
                value = b"".join(self._partial)
                self._partial = []
                in_string = False
            else:
                # Nearly every token begins with one digit and the type byte; _prefix reads the others.
                after = pos + 2
                if after <= end and (number := data[pos]) < 0x80 and (kind := data[pos + 1]) >= 0x80:
                    pass
                else:
                    number, after = self._prefix(data, pos, end, pos - start)
                    if after < 0:
                        break
                    kind = data[after - 1]
                if kind == STRING:
                    if number > limits.string_bytes:
                        raise self._refusal(
                            pos - start,
                            "limit-size",
                            f"a string may have {limits.string_bytes} bytes (Limits.string_bytes), not {number:.3e}",
                        )
                    pos = after + number
                    if pos > end:
                        self._check_size(self._before + pos - start)
                        self._partial.append(data[after:])
                        self._wanted = pos - end
                        pos = end
                        break
                    value = data[after:pos]
                elif kind == LIST:
                    self._nodes += number + CONTAINER_NODES - 1  # the list itself was counted as an item
                    if depth >= limits.depth or number > limits.list_items or self._nodes > limits.nodes:
                        raise self._too_much(pos - start, depth, number)
                    if number:
                        if self._nodes > MANY_VALUES and not self._gc_paused:
                            self._gc_paused = pause_gc()
                        # Half of all tokens belong to short texts, which have three each: a list, the word, the text.
                        if (
                            number == 2
                            and data.startswith(_UNICODE, after)
                            and after + 11 <= end
                            and data[after + 10] == STRING
                            and (size := data[after + 9]) < 0x80
                            and size <= limits.string_bytes
                            and (pos := after + 11 + size) <= end
                        ):
                            value = [b"unicode", data[after + 11 : pos]]
                        else:
                            pos = after
                            if into is not None:
                                stack.append((into, missing))
                            depth += 1
                            into, missing = [], number
                            continue
                    else:
                        pos = after
                        value = []
                elif kind == VOCAB:
                    word = words.get(number)
                    if word is None:
                        raise self._refusal(pos - start, "bad-token", "a vocabulary word that does not exist")
                    value = word
                    pos = after
                elif kind in _INTEGERS:
                    if number.bit_length() > limits.int_bits:
                        raise self._refusal(
                            pos - start,
                            "limit-int",
                            f"an integer may have {limits.int_bits} bits (Limits.int_bits)",
                        )
                    value = number if kind in _POSITIVE else -number
                    pos = after
                elif kind == FLOAT:
                    if after != pos + 1:
                        raise self._refusal(pos - start, "bad-token", "digits in front of a float")
                    if after + 8 > end:
                        break
                    value = _unpack_float(data, after)[0]
                    pos = after + 8
                else:
                    raise self._refusal(pos - start, "bad-token", f"type byte 0x{kind:02x}")
            # Append the value to its list, and each list that is now complete to the list around it.
            while into is not None:
                into.append(value)
                missing -= 1
                if missing:
                    break
                value = into
                depth -= 1
                if stack:
                    into, missing = stack.pop()
                else:
                    into = None
            if into is None:
                self.last_size = self._before + pos - start
                self._check_size(self.last_size)
                self._pos, self._list, self._missing = pos, None, 0
                self.last_nodes = self._nodes
                self._before = self._nodes = 0
                return value
        self._pos, self._list, self._missing = pos, into, missing
        self._before += pos - start
        self._check_size(self._before)
        return NEED_MORE

    def _read_natively(self, data: bytes, pos: int) -> Banana | None:
        """Read a value that is complete in this chunk, and plain; None leaves everything as it was."""
        assert read_banana is not None
        limits = self.limits
        if limits is not self._bounds_of:
            self._bounds_of = limits
            self._bounds = make_bounds(
                depth=limits.depth,
                list_items=min(limits.list_items, MOST_BOUND),
                string_bytes=min(limits.string_bytes, MOST_BOUND),
                message_bytes=min(limits.message_bytes, MOST_BOUND),
                int_bits=min(limits.int_bits, MAX_BITS),
                nodes=min(limits.nodes, MOST_BOUND),
                container_nodes=CONTAINER_NODES,
                words=tuple(self._words.values()),
            )
        most = MANY_VALUES
        if len(data) - pos >= LARGE_MESSAGE:
            most = MOST_BOUND  # the bounds have their own
            self._gc_paused = self._gc_paused or pause_gc()
        found = read_banana(data, pos, self._bounds, most)
        if found is None:
            return None
        value: Banana = found[0]
        self._pos, self.last_nodes = found[1], found[2]
        self.last_size = found[1] - pos
        return value

    def _prefix(self, data: bytes, pos: int, end: int, read: int) -> tuple[int, int]:
        """Read any number of digits and find the type byte; ``read`` bytes of the message precede them.

        Returns:
            The number and the position after the type byte; the position is -1 if the type byte has not arrived.
        """
        stop = min(end, pos + MAX_DIGITS + 1)
        at = pos
        while at < stop and data[at] < 0x80:
            at += 1
        if at - pos > MAX_DIGITS:
            raise self._refusal(read, "limit-prefix", f"more than {MAX_DIGITS} digits")
        if at == end:
            return 0, -1
        number = 0
        for digit in data[pos:at][::-1]:
            number = number << 7 | digit
        return number, at + 1

    def _too_much(self, read: int, depth: int, items: int) -> ProtocolError:
        """Return the error of a list that exceeds a limit, before the list is made."""
        limits = self.limits
        if depth >= limits.depth:
            return self._refusal(
                read, "limit-depth", f"lists may be nested {limits.depth} deep (Limits.depth)"
            )
        if items > limits.list_items:
            return self._refusal(
                read, "limit-items", f"a list may have {limits.list_items} items (Limits.list_items)"
            )
        return self._refusal(read, "limit-nodes", f"a message may have {limits.nodes} items (Limits.nodes)")

    def _refusal(self, read: int, code: str, reason: str) -> ProtocolError:
        """Return the error of a token that is preceded by ``read`` bytes of the message in this chunk.

        The size of these bytes is checked first, as it is when the token arrives in a chunk of its own.
        """
        try:
            self._check_size(self._before + read)
        except ProtocolError as error:
            return error
        return ProtocolError(code, reason)

    def _check_size(self, size: int) -> None:
        if size > self.limits.message_bytes:
            raise ProtocolError(
                "limit-message",
                f"a message may have {self.limits.message_bytes} bytes (Limits.message_bytes)",
            )


def encode(
    value: object,
    spelling: Spelling = NONE,
    limits: Limits = Limits(),  # noqa: B008 (frozen)
    *,
    most_bits: int = MAX_BITS,
) -> bytes:
    """Return ``value``, made of bytes, ints, floats, lists and tuples, as banana.

    Args:
        value: to encode.
        spelling: of strings.
        limits: of the reader.
        most_bits: of an integer, whatever the limits are; by default a peer reads no more than this.

    Raises:
        SerializationError: it contains a value of another type, or one that exceeds a limit of the peer.
    """
    out: list[bytes] = []
    _encode(value, spelling, limits, min(limits.int_bits, most_bits), out, 0)
    return b"".join(out)


def _encode(
    value: object, spelling: Spelling, limits: Limits, bits: int, out: list[bytes], depth: int
) -> None:
    if isinstance(value, bytes):
        if len(value) > limits.string_bytes:
            raise SerializationError(
                f"a string may have {limits.string_bytes} bytes (Limits.string_bytes), not {len(value)}"
            )
        out.append(spelling.string(value))
    elif isinstance(value, int):
        out.append(_encode_integer(value, bits))
    elif isinstance(value, float):
        out.append(encode_float(value))
    elif isinstance(value, (list, tuple)):
        if depth >= limits.depth:
            raise SerializationError(f"lists may be nested {limits.depth} deep (Limits.depth)")
        out.append(encode_list_head(len(value)))
        for item in value:
            _encode(item, spelling, limits, bits, out, depth + 1)
    else:
        raise SerializationError(f"banana has no form for {type(value).__name__}", culprit=value)


def encode_integer(number: int, bits: int = MAX_BITS) -> bytes:
    """Return one encoded integer; it may have ``bits``, and never more than a peer can read.

    Raises:
        SerializationError: it has more bits.
    """
    if -0x80 < number < 0x80:
        return _SMALL[number]
    return _encode_integer(number, min(bits, MAX_BITS))


def _encode_integer(number: int, bits: int) -> bytes:
    if number.bit_length() > bits:
        raise SerializationError(
            f"an integer may have {bits} bits, not {number.bit_length()}", culprit=number
        )
    # Peers use other type bytes for numbers longer than 32 bits; -2**31 is one of the short ones.
    if number >= 0:
        return base128(number) + (b"\x81" if number < 2**31 else b"\x85")
    return base128(-number) + (b"\x83" if number >= -(2**31) else b"\x86")


def encode_float(number: float) -> bytes:
    """Return one encoded float: eight bytes, big-endian IEEE 754."""
    return b"\x84" + _pack_float(number)


def encode_list_head(items: int) -> bytes:
    """Return the token that opens a list of ``items``."""
    return _LIST_HEADS[items] if items < 0x80 else base128(items) + b"\x80"


_SMALL: Final = {n: base128(abs(n)) + (b"\x81" if n >= 0 else b"\x83") for n in range(-0x7F, 0x80)}
_LIST_HEADS: Final = [base128(n) + b"\x80" for n in range(0x80)]
