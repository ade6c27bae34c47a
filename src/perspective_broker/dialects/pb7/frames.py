"""Frames: a length of four bytes and that many bytes of MessagePack, or a piece of them. Sans-I/O, one per connection.

A length is checked before any byte of the body is kept, memory is allocated only for bytes that have arrived, and the
work is linear in the number of bytes, whatever the sizes of the chunks.
"""

from __future__ import annotations

import struct
from typing import Final

from ...errors import ProtocolError
from ...limits import Limits
from ...ports import Data
from ...queues import NOTHING, Queue, own, put

__all__ = ["HEADER_BYTES", "PIECE_BYTES", "Frame", "FrameReader", "frame_header", "piece_header", "recycle"]

#: The body of one frame; a bytearray if pieces were collected in a buffer.
Frame = bytes | bytearray

#: Chunks of a frame that are smaller are collected in one buffer, because an object for each costs more than a copy;
#: larger ones are kept as they are and joined once. (1 MiB in chunks of 64 KiB: 0.5 ms, against 1.4 ms in one buffer.)
_SMALL: Final = 4096

HEADER_BYTES: Final = 4

#: Bit of a length: a piece of a message follows, after a byte with the number of the message.
_PIECE: Final = 0x8000_0000
#: Bit of that byte: this is the last piece of the message.
_LAST: Final = 0x80
#: Messages of one side that may be unfinished at once.
MAX_UNFINISHED: Final = 4

#: Bytes in each piece that this side sends: small enough for messages to take turns, large compared with the header.
PIECE_BYTES: Final = 256 * 1024

#: Return the header of a frame whose body has that many bytes.
frame_header: Final = struct.Struct("!I").pack


def piece_header(size: int, number: int, last: bool) -> bytes:
    """Return the header of a piece with ``size`` bytes of the message ``number``."""
    return frame_header(_PIECE | size) + bytes((number | (_LAST if last else 0),))


#: An unused buffer for the next message in pieces. New memory for 1 MiB, which the system clears first, takes longer
#: than all other work with it. One for the process, for all threads.
_spare: Final[list[bytearray]] = []
#: Most bytes of that buffer.
_MOST_SPARE: Final = 4 * 1024 * 1024


class _Unfinished:
    """A message of which pieces have arrived, but not the last one."""

    __slots__ = ("body", "filled", "serial", "size")

    def __init__(self, serial: int) -> None:
        self.serial = serial
        # One buffer that grows. Many separate pieces would fragment the memory when they are joined.
        self.body = _spare_buffer()
        self.filled = 0  # bytes of the message in it
        self.size = 0  # announced so far, the present piece included

    def fill(self, piece: memoryview) -> None:
        """Append the bytes of a piece."""
        end = self.filled + len(piece)
        if end <= len(self.body):
            memoryview(self.body)[self.filled : end] = piece
        else:
            del self.body[self.filled :]
            self.body += piece
        self.filled = end

    def whole(self) -> bytearray:
        """Return the complete message."""
        del self.body[self.filled :]
        return self.body


class FrameReader:
    """Turn chunks of bytes into the bodies of frames.

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
        self.limits: Limits = limits
        self._data = b""  # the chunk that is being read,
        self._pos = 0  # and the position in it
        self._chunks: Queue[bytes] = ()  # received, not read yet
        self._header = b""  # the beginning of an incomplete header
        self._body: list[bytes | bytearray] | None = None  # the beginning of an incomplete body,
        self._size = 0  # the size that its header announced,
        self._missing = 0  # and the bytes that it lacks
        self._pieces: dict[int, _Unfinished] = NOTHING  # unfinished messages, by number
        self._piece_of: _Unfinished | None = None  # the one whose present piece is incomplete,
        self._number = 0  # its number,
        self._last = False  # and whether that piece is its last
        self._serial = 0
        #: bytes of the unfinished messages, by a number that is used once
        self.unfinished: dict[int, int] = NOTHING
        self.last_size: int = 0  #: bytes of the frame returned last, its header included

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
                # Nearly every frame is complete within one chunk.
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
                        continue  # a piece, whose header has one more byte
                    self._check(size)
                    self._header = b""
                    self._begin(size)

    def _begin(self, size: int) -> None:
        self._size = self._missing = size
        self._body = []

    def _begin_piece(self, size: int, about: int) -> None:
        """Begin a piece of ``size`` bytes, and its message if this is the first one.

        Raises:
            ProtocolError: too many messages are unfinished, the message becomes too long, or the piece is empty.
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
        """Append a chunk to the body."""
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
        buffer = _spare.pop()
        del buffer[-1:]  # an array of the program may still be over it
    except (IndexError, BufferError):
        return bytearray()
    return buffer


def recycle(frame: Frame) -> None:
    """Reuse the buffer of a frame that has been decoded, once no decoded array refers to it any more."""
    if type(frame) is bytearray and len(frame) <= _MOST_SPARE and not _spare:
        _spare.append(frame)
