"""The messages that two brokers send each other: recorded, digested, and as readable text."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from typing import Any, NamedTuple

from ormsgpack import packb, unpackb

from perspective_broker import Limits
from perspective_broker.dialects.classic.banana import NEED_MORE, Decoder
from perspective_broker.dialects.pb7 import codes
from perspective_broker.dialects.pb7.frames import HEADER_BYTES
from perspective_broker.testing import BrokerPair, End, Link

__all__ = ["Message", "RecordingLink", "Summary", "summary_of"]

_LENIENT = Limits(message_bytes=2**40, string_bytes=2**40, nodes=2**40, list_items=2**40)
#: Hexadecimal digits of a life's digest, and of the digest of all messages up to one.
_DIGEST, _MARK = 16, 2
#: Longer strings are cut in readable transcripts.
_SHOWN = 60


class Message(NamedTuple):
    """One message, or one piece of a large one, in the order of sending."""

    sender: str
    data: bytes
    text: str

    def __str__(self) -> str:
        return f"{self.sender}  {self.text}"


class RecordingLink(Link):
    """A link that keeps the messages of both ends. They do not depend on how many bytes leave at once.

    Attributes:
        messages: all of them, in the order in which their last bytes left.
    """

    def __init__(self, pair: BrokerPair, dialect: str) -> None:
        super().__init__(pair.server, pair.client)
        self.messages: list[Message] = []
        self._splitters = {pair.server: Splitter("server", dialect), pair.client: Splitter("client", dialect)}

    def pull(self) -> None:
        """Carry and record the bytes that both ends have to send."""
        before = {end: len(transit) for end, transit in self.transit.items()}
        super().pull()
        for end in self._ends:
            self._record(end, bytes(self.transit[self.other(end)][before[self.other(end)] :]))

    def _record(self, sender: End, data: bytes) -> None:
        self.messages += self._splitters[sender].split(data)

    @property
    def has_whole_messages(self) -> bool:
        """Return whether all recorded bytes belong to complete messages."""
        return not any(splitter.rest for splitter in self._splitters.values())


class Splitter:
    """Divide the bytes of one side into messages.

    Attributes:
        rest: bytes of an incomplete message.
    """

    def __init__(self, sender: str, dialect: str) -> None:
        self.rest = b""
        self._sender = sender
        self._dialect = dialect
        self._greeted = False

    def split(self, data: bytes) -> Iterator[Message]:
        """Yield the messages that are complete now."""
        self.rest += data
        while self.rest:
            read = self._read_frame if self._greeted and self._dialect == "pb7" else self._read_expression
            size, text = read()
            if not size:
                return
            data, self.rest = self.rest[:size], self.rest[size:]
            self._greeted = True
            yield Message(self._sender, data, text)

    def _read_expression(self) -> tuple[int, str]:
        decoder = Decoder(_LENIENT, self._greeted and self._dialect == "pb")
        decoder.receive_data(self.rest)
        expression = decoder.next()
        return (0, "") if expression is NEED_MORE else (decoder.last_size, readable(expression))

    def _read_frame(self) -> tuple[int, str]:
        if len(self.rest) < HEADER_BYTES:
            return 0, ""
        size = int.from_bytes(self.rest[:HEADER_BYTES], "big")
        is_piece = size >> 31
        end = HEADER_BYTES + (size & 0x7FFF_FFFF) + is_piece
        if len(self.rest) < end:
            return 0, ""
        body = self.rest[HEADER_BYTES:end]
        if is_piece:
            return (
                end,
                f"piece of message {body[0] & 0x7F}, {len(body) - 1} bytes{', the last' * (body[0] >> 7)}",
            )
        operation, *items = unpackb(body, ext_hook=Extension)
        return end, f"{_OPERATIONS[operation]} {readable(items)}"


class Extension:
    """An extension value of pb7, for its text."""

    def __init__(self, code: int, payload: bytes) -> None:
        self.code = code
        self.payload = payload

    def __str__(self) -> str:
        inner = (
            ", ".join(map(readable, self._values())) if self.code in codes.NESTED else readable(self.payload)
        )
        return f"{_EXTENSIONS[self.code]}({inner})"

    def _values(self) -> Iterator[Any]:
        """Yield the values of the payload: one value, or a type tag, sometimes an id, and a state."""
        rest = self.payload
        while rest:
            value = unpackb(rest, ext_hook=Extension)
            yield value
            # Each value has one spelling; only the last is a container, and its end is the payload's.
            rest = rest[len(packb(value)) :] if isinstance(value, (str, int)) else b""


def _names(*names: str) -> dict[int, str]:
    return {getattr(codes, name): name for name in names}


_OPERATIONS = _names(
    *"HELLO CALL ANSWER ERROR RELEASE CANCEL FORGET PING PONG FAREWELL UPDATE DECACHE UNCACHE DRAINING".split()
)
_EXTENSIONS = _names(
    *"TUPLE SET FROZENSET DICTIONARY INTEGER DECIMAL DATE TIME DATETIME TIMEDELTA UUID COMPLEX".split(),
    *"REMOTE LOCAL LOCAL_NAMED COPY AGAIN FAILURE GRAPH NODE CACHEABLE CACHED LCACHE PROMISE".split(),
)


def readable(value: Any) -> str:
    """Return a decoded value as a line of text. Bytes are shown as they are, long ones cut."""
    match value:
        case list():
            return f"[{', '.join(map(readable, value))}]"
        case dict():
            return f"{{{', '.join(f'{readable(key)}: {readable(item)}' for key, item in value.items())}}}"
        case str() | bytes() if len(value) > _SHOWN:
            return f"{value[:20]!r} and {len(value) - 20} more"
        case Extension():
            return str(value)
    return repr(value)


class Summary(NamedTuple):
    """The record of one life in a golden file.

    Attributes:
        digest: of all messages, with their senders.
        size: bytes that both sides sent.
        marks: for each message the first digits of the digest of all messages up to it, so that the first one that
            differs can be found without its bytes.
    """

    digest: str
    size: int
    marks: str

    def first_difference(self, other: Summary) -> int:
        """Return the index of the first message that differs from ``other``'s."""
        pairs = zip(self._marks(), other._marks(), strict=False)
        return next(
            (index for index, (one, two) in enumerate(pairs) if one != two),
            min(len(self.marks), len(other.marks)) // _MARK,
        )

    def _marks(self) -> list[str]:
        return [self.marks[at : at + _MARK] for at in range(0, len(self.marks), _MARK)]


def summary_of(messages: list[Message]) -> Summary:
    """Return the record of a life."""
    so_far = hashlib.sha256()
    marks = []
    for message in messages:
        so_far.update(f"{message.sender} {len(message.data)} ".encode() + message.data)
        marks.append(so_far.hexdigest()[:_MARK])
    return Summary(
        so_far.hexdigest()[:_DIGEST], sum(len(message.data) for message in messages), "".join(marks)
    )
