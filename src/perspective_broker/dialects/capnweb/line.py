"""One WebSocket connection behind its handshake: frames in, whole messages out, and the other way round.

Frames are read by the sans-I/O layer of the package ``websockets``. No extensions are spoken: compression costs memory,
and invites small messages that are large.
"""

from __future__ import annotations

from collections import deque
from typing import Final

from websockets.exceptions import PayloadTooBig
from websockets.frames import Frame, Opcode
from websockets.protocol import Protocol, Side

from ...errors import ProtocolError
from ...ports import Data

__all__ = ["CLOSED", "Line"]

#: In the place of a message: the peer has closed.
CLOSED: Final = b""

#: Bytes of the text of a close frame.
_MOST_REASON: Final = 123


class Line:
    """The frames of one connection.

    Args:
        protocol: has done the handshake, or will.

    Attributes:
        is_client: whether this side masks what it sends.
        closed_with: code and text of the peer's close frame.
        error: why nothing more can be read; None while it can.
        to_send: what has to be sent because of what came: pongs, and the echo of a close frame.
        has_closed: whether this side has sent its close frame.
    """

    def __init__(self, protocol: Protocol) -> None:
        self._protocol = protocol
        self._messages: deque[bytes] = deque()
        self._parts: list[bytes] = []
        self._unread = 0  # bytes of the messages, and of parts
        self.is_client: bool = protocol.side is Side.CLIENT
        self.closed_with: tuple[int, str] | None = None
        self.error: ProtocolError | None = None
        self.to_send: list[bytes] = []
        self.has_closed: bool = False

    def use_limit(self, message_bytes: int) -> None:
        """Read messages of so many bytes at most from now on."""
        self._protocol.max_message_size = message_bytes

    @property
    def unread(self) -> int:
        """Bytes that have come and were not taken."""
        return self._unread + len(self._protocol.reader.buffer)

    def receive(self, data: Data) -> None:
        """Read what has come."""
        if self.error is not None or self.closed_with is not None:
            return
        protocol = self._protocol
        protocol.receive_data(data if not isinstance(data, memoryview) else data.tobytes())
        for event in protocol.events_received():
            if isinstance(event, Frame) and self.error is None:
                self._take(event)
        writes = b"".join(protocol.data_to_send())
        if protocol.parser_exc is not None and self.error is None:
            self.error = _error(protocol.parser_exc)
        elif writes and not self.has_closed:
            self.to_send.append(writes)

    def _take(self, frame: Frame) -> None:
        opcode = frame.opcode
        if opcode is Opcode.TEXT and frame.fin:
            self._add(bytes(frame.data))
        elif opcode is Opcode.TEXT or opcode is Opcode.CONT:
            self._parts.append(bytes(frame.data))
            self._unread += len(frame.data)
            if frame.fin:
                whole, self._parts = b"".join(self._parts), []
                self._unread -= len(whole)
                self._add(whole)
        elif opcode is Opcode.BINARY:
            self.error = ProtocolError("bad-message", "a message is text, not binary data")
        elif opcode is Opcode.CLOSE:
            close = self._protocol.close_rcvd
            self.closed_with = (1005, "") if close is None else (close.code, close.reason)
            self._messages.append(CLOSED)

    def _add(self, message: bytes) -> None:
        if not message:
            self.error = ProtocolError("bad-message", "a message is empty")
            return
        self._unread += len(message)
        self._messages.append(message)

    def peek(self) -> bytes | None:
        """Return the next message without taking it; None when there is none."""
        return self._messages[0] if self._messages else None

    def take(self) -> bytes | None:
        """Return the next message, or :data:`CLOSED`; None when more bytes are needed.

        Raises:
            ProtocolError: there is no further message, because the frames are wrong.
        """
        if self._messages:
            message = self._messages.popleft()
            self._unread -= len(message)
            return message
        if self.error is not None:
            raise self.error
        return None

    # -- out

    def text(self, message: bytes) -> list[bytes]:
        """Return the frame of a message."""
        if self.is_client:
            return [Frame(Opcode.TEXT, message).serialize(mask=True)]
        size = len(message)
        if size < 126:
            return [b"\x81" + bytes((size,)) + message]
        if size < 65536:
            return [b"\x81\x7e" + size.to_bytes(2, "big") + message]
        return [b"\x81\x7f" + size.to_bytes(8, "big"), message]

    def ping(self, payload: bytes) -> bytes:
        """Return a ping."""
        return Frame(Opcode.PING, payload).serialize(mask=self.is_client)

    def close(self, code: int, reason: str) -> bytes:
        """Return this side's close frame, and send nothing behind it."""
        self.has_closed = True
        payload = code.to_bytes(2, "big") + reason.encode()[:_MOST_REASON].decode(errors="ignore").encode()
        return Frame(Opcode.CLOSE, payload).serialize(mask=self.is_client)


def _error(error: Exception) -> ProtocolError:
    if isinstance(error, PayloadTooBig):
        return ProtocolError("limit-message", "a message is larger than Limits.message_bytes")
    return ProtocolError("bad-frame", "the peer sent a frame that is not WebSocket's")
