"""Frames: four bytes of length and so many bytes of MessagePack, or a piece of them. Sans-I/O, one per connection.

What is announced is judged before any of it is kept, nothing is allocated ahead of its arrival, and the work is
linear in the bytes however they are chopped.
"""

from __future__ import annotations

import struct
from typing import Final

from ...errors import ProtocolError
from ...limits import Limits
from ...ports import Data
from ...queues import NOTHING, Queue, own, put

__all__ = ["HEADER_BYTES", "PIECE_BYTES", "Frame", "Frames", "frame_header", "give_back", "piece_header"]

#: One frame's body; where pieces were collected in a buffer, that buffer.
Frame = bytes | bytearray

#: Pieces of a frame that are smaller are collected in one buffer, for an object of its own costs more than they do;
#: larger ones are kept as they came, and joined once. (1 MiB in 64 KiB pieces: 0.5 ms, against 1.4 ms in one buffer.)
_SMALL: Final = 4096

HEADER_BYTES: Final = 4

#: Of a length: what follows is a piece of a message, behind a byte that says of which.
_PIECE: Final = 0x8000_0000
#: Of that byte: it is the last piece. The others are the message's number, below:
_LAST: Final = 0x80
#: messages of one side that may be unfinished at once.
MAX_UNFINISHED: Final = 4

#: Content of the pieces that are written here. Small enough for taking turns; its header is lost among it.
PIECE_BYTES: Final = 256 * 1024

#: Return the header of a frame with a body of so many bytes.
frame_header: Final = struct.Struct("!I").pack


def piece_header(size: int, number: int, last: bool) -> bytes:
    """Return the header of a piece with so many bytes of the message ``number``."""
    return frame_header(_PIECE | size) + bytes((number | (_LAST if last else 0),))


#: A buffer that nobody needs, for the next message in pieces: fresh memory for a MiB, which the system clears first,
#: takes longer than everything else that is done with it. One for the process, in whichever thread.
_spare: Final[list[bytearray]] = []
#: Bytes of it, at most.
_MOST_SPARE: Final = 4 * 1024 * 1024


class _Unfinished:
    """A message of which pieces have come, but not the last."""

    __slots__ = ("body", "filled", "serial", "size")

    def __init__(self, serial: int) -> None:
        self.serial = serial
        # One buffer that grows: many pieces, kept apart, would leave the memory in shreds when they are joined.
        self.body = _spare_buffer()
        self.filled = 0  # bytes of it that are the message's
        self.size = 0  # announced so far

    def fill(self, piece: memoryview) -> None:
        """Go on with the message."""
        end = self.filled + len(piece)
        if end <= len(self.body):
            memoryview(self.body)[self.filled : end] = piece
        else:
            del self.body[self.filled :]
            self.body += piece
        self.filled = end

    def whole(self) -> bytearray:
        """Return the message, which is complete."""
        del self.body[self.filled :]
        return self.body


class Frames:
    """Bytes in, one frame's body after the other out.

    Args:
        limits: ``message_bytes`` bounds a frame.
    """

    __slots__ = (
        "_body",
        "_chunks",
        "_data",
        "_header",
        "_last",
        "_missing",
        "_number",
        "_piece_of",
        "_pieces",
        "_pos",
        "_serial",
        "_size",
        "last_size",
        "limits",
        "unfinished",
    )

    def __init__(self, limits: Limits) -> None:
        self.limits = limits
        self._data = b""  # the chunk being read,
        self._pos = 0  # and how far
        self._chunks: Queue[bytes] = ()  # received, not yet looked at
        self._header = b""  # the beginning of a header whose end has not come
        self._body: list[bytes | bytearray] | None = None  # the beginning of a body whose end has not come,
        self._size = 0  # what it was announced as,
        self._missing = 0  # and the bytes it still lacks
        self._pieces: dict[int, _Unfinished] = NOTHING  # messages of which pieces have come, by their numbers
        self._piece_of: _Unfinished | None = None  # the one of them whose piece has not come to its end,
        self._number = 0  # its number,
        self._last = False  # and whether it is its last piece
        self._serial = 0
        self.unfinished: dict[int, int] = NOTHING  #: bytes of these messages, by a number that is used once
        self.last_size = 0  #: bytes of the frame returned last, its header included

    @property
    def mid_message(self) -> int:
        """Bytes received of a frame that is not complete; 0 between frames."""
        begun = len(self._header)
        if self._body is not None or self._piece_of is not None:
            begun += HEADER_BYTES + self._size - self._missing
        return begun + len(self._data) - self._pos + sum(map(len, self._chunks))

    def receive_data(self, data: Data) -> None:
        """Keep ``data`` to be read by :meth:`next`."""
        if self._chunks or self._pos < len(self._data):
            self._chunks = put(self._chunks, bytes(data))
        else:
            self._data, self._pos = bytes(data), 0

    def next(self) -> Frame | None:
        """Return the next complete body, or None while it is not complete.

        Raises:
            ProtocolError: a frame is announced that is empty or goes beyond the limit.
        """
        while True:
            data, pos = self._data, self._pos
            if pos >= len(data):
                if not self._chunks:
                    return None
                self._data, self._pos = self._chunks.popleft(), 0
            elif self._body is not None:
                end = min(pos + self._missing, len(data))
                self._keep(data[pos:end] if pos or end < len(data) else data)
                self._pos = end
                if not self._missing:
                    body, self._body = self._body, None
                    self.last_size = HEADER_BYTES + self._size
                    return body[0] if len(body) == 1 else b"".join(body)
            elif self._piece_of is not None:
                message = self._piece_of
                end = min(pos + self._missing, len(data))
                message.fill(memoryview(data)[pos:end])
                self._missing -= end - pos
                self._pos = end
                if not self._missing:
                    self._piece_of = None
                    self.unfinished[message.serial] = message.size
                    if self._last:
                        del self._pieces[self._number], self.unfinished[message.serial]
                        self.last_size = HEADER_BYTES + message.size
                        return message.whole()
            elif not self._header and pos + HEADER_BYTES <= len(data):
                # Nearly every frame is whole within one chunk.
                size = data[pos] << 24 | data[pos + 1] << 16 | data[pos + 2] << 8 | data[pos + 3]
                if size >= _PIECE:
                    self._header = data[pos : pos + HEADER_BYTES]
                    self._pos = pos + HEADER_BYTES
                    continue
                self._check(size)
                start = pos + HEADER_BYTES
                end = start + size
                if end <= len(data):
                    self._pos = end
                    self.last_size = HEADER_BYTES + size
                    return data[start:end]
                self._begin(size)
                self._pos = start
            elif len(self._header) == HEADER_BYTES:
                self._begin_piece(int.from_bytes(self._header, "big") - _PIECE, data[pos])
                self._header = b""
                self._pos = pos + 1
            else:
                end = pos + HEADER_BYTES - len(self._header)
                self._header += data[pos:end]
                self._pos = min(end, len(data))
                if len(self._header) == HEADER_BYTES:
                    size = int.from_bytes(self._header, "big")
                    if size >= _PIECE:
                        continue  # one byte more
                    self._check(size)
                    self._header = b""
                    self._begin(size)

    def _begin(self, size: int) -> None:
        self._size = self._missing = size
        self._body = []

    def _begin_piece(self, size: int, about: int) -> None:
        """Go on with a message, or begin it, by a piece of ``size`` bytes.

        Raises:
            ProtocolError: too many messages are unfinished, or this one grows too long; or it is an empty piece.
        """
        number = about & ~_LAST
        if number >= MAX_UNFINISHED:
            raise ProtocolError("limit-pieces", f"{MAX_UNFINISHED} messages may be unfinished at once")
        if not size:
            raise ProtocolError("bad-message", "a piece without anything in it")
        message = self._pieces.get(number)
        if message is None:
            self._serial += 1
            self._pieces = own(self._pieces)
            message = self._pieces[number] = _Unfinished(self._serial)
            self.unfinished = own(self.unfinished)
            self.unfinished[self._serial] = 0
        self._check(message.size + size)
        message.size += size
        self._size, self._missing = message.size, size
        self._piece_of, self._number, self._last = message, number, about != number

    def _keep(self, piece: bytes) -> None:
        """Keep a piece of the body."""
        body = self._body
        assert body is not None
        self._missing -= len(piece)
        if len(piece) >= _SMALL:
            body.append(piece)
        elif body and type(body[-1]) is bytearray:
            body[-1] += piece
        else:
            body.append(bytearray(piece))

    def _check(self, size: int) -> None:
        if size > self.limits.message_bytes:
            raise ProtocolError(
                "limit-message",
                f"a message may have {self.limits.message_bytes} bytes (Limits.message_bytes)",
            )
        if not size:
            raise ProtocolError("bad-message", "a frame without anything in it")


def _spare_buffer() -> bytearray:
    try:
        return _spare.pop()
    except IndexError:
        return bytearray()


def give_back(frame: Frame) -> None:
    """Take a frame of which nothing is needed any more: what was read of it is a copy."""
    if type(frame) is bytearray and len(frame) <= _MOST_SPARE and not _spare:
        _spare.append(frame)
