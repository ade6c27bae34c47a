"""The writing half of the dialect.

What the encoders return is not what leaves: the outbox holds *records*, whose first byte tells their kind, and
:meth:`CapnwebWriter.frame` makes messages of them, and frames of these, when they leave. The ids are given then
(:mod:`.ids`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final, Protocol

from ...errors import SerializationError
from ...flavors.exposing import CALL
from ...limits import Limits
from ...ports import CallTarget, Exporter, Feature, Message, Perspective, PromisedAnswer, Value, Writer
from .encoding import Encoder, mark, to_json
from .failures import error_tree
from .ids import Ids
from .line import Line

__all__ = ["RAW", "CapnwebWriter", "Outcomes", "close_code", "reject", "release", "resolve"]

#: Kinds of records.
RAW: Final = b"r"  #: bytes as they are
_TEXT: Final = b"m"  #: a message
_PUSH: Final = b"p"  #: flags, request, space, expression
_FORGET: Final = b"f"  #: request
_FAREWELL: Final = b"z"  #: code, NUL, reason

_ASKS, _KEEPS = 1, 2  # flags of a push

_FEATURES: Final = frozenset(
    {Feature.FAREWELL, Feature.NO_WINDOW, Feature.PASSES_HOME, Feature.PING, Feature.PIPELINING}
)

#: Codes of ends that are no error; no ``abort`` is sent for them.
_ORDERLY: Final = {"closed": 1000, "drained": 1001, "aged": 1001, "moved": 1001, "refused": 1013}
_BY_LIMIT: Final = ("limit", "login", "slow", "handshake", "message-timeout", "pong", "silent")


def close_code(code: str) -> int:
    """Return WebSocket's number for the code with which a connection ends."""
    if code in _ORDERLY:
        return _ORDERLY[code]
    if code == "limit-message":
        return 1009
    if code == "internal":
        return 1011
    return 1008 if code.startswith(_BY_LIMIT) else 1002


class Outcomes(Protocol):
    """Gets the outcomes of the peer's calls; :class:`.dialect.CapnwebDialect` does."""

    def is_wanted(self, request: int) -> bool:
        """Whether the peer wants to be sent the outcome now."""

    def succeeded(self, request: int, value: Value, perspective: Perspective) -> None:
        """A call has ended with a value."""

    def failed(self, request: int, error: bytes) -> None:
        """A call has ended with an error, as JSON."""


class CapnwebWriter(Writer):
    """See the module.

    Args:
        line: frames the messages.
        ids: the ids that this side gives.
        exporter: turns our objects into ids of the session.

    Attributes:
        outcomes: gets the outcomes of the peer's calls.
    """

    outcomes: Outcomes

    def __init__(self, line: Line, ids: Ids, exporter: Exporter) -> None:
        super().__init__("capnweb", _FEATURES, frames=True)
        self._line = line
        self._ids = ids
        self._exporter = exporter

    def use_limits(self, limits: Limits) -> None:
        """Do nothing: the package has limits of its own."""

    # -- records

    def encode_call(
        self,
        request: int,
        target: CallTarget,
        name: str,
        wants_answer: bool,
        args: tuple[Value, ...],
        kwargs: dict[str, Value],
        perspective: Perspective,
    ) -> Message:
        if kwargs:
            raise SerializationError("a Cap'n Web peer takes no keyword arguments; give them in their order")
        subject: Value
        if isinstance(target, PromisedAnswer):
            subject = mark("p", target.request)
        elif isinstance(target, int):
            subject = -target
        elif target == "root":
            subject = 0
        else:
            raise SerializationError("a Cap'n Web peer serves one object, without a name")
        path = [] if name in ("", CALL) else [name]
        encoder = Encoder(self._exporter, perspective)
        body = encoder.encode(["pipeline", subject, path], args, bare=True)
        return b"%b%d%d %b" % (_PUSH, _ASKS if wants_answer else 0, request, body)

    def encode_kept(self, message: Message) -> Message:
        assert isinstance(message, bytes)
        return b"%b%d%b" % (_PUSH, message[1] - 48 | _KEEPS, message[2:])

    def encode_forget(self, request: int) -> bytes:
        return b"%b%d" % (_FORGET, request)

    def encode_answer(self, request: int, value: Value, perspective: Perspective) -> Message:
        message = b""
        if self.outcomes.is_wanted(request):
            message = resolve(self._exporter, request, value, perspective)
        self.outcomes.succeeded(request, value, perspective)
        return message

    def encode_error(
        self, request: int, error: BaseException, traceback: bool, perspective: Perspective
    ) -> Message:
        body = to_json(error_tree(error, traceback))
        is_wanted = self.outcomes.is_wanted(request)
        self.outcomes.failed(request, body)
        return reject(request, body) if is_wanted else b""

    def encode_releases(self, owed: Mapping[int, int]) -> bytes:
        return _TEXT + b"\n".join(b'["release",%d,%d]' % (-luid, count) for luid, count in owed.items())

    def encode_ping(self, payload: bytes) -> bytes:
        return RAW + self._line.ping(payload)

    def encode_draining(self) -> bytes:
        return b""  # there is no word for it

    def encode_farewell(self, code: str, reason: str) -> bytes:
        return b"%b%b\0%b" % (_FAREWELL, code.encode(), reason.encode())

    # -- frames

    def frame(self, messages: Sequence[bytes | memoryview]) -> list[bytes | memoryview]:
        out: list[bytes | memoryview] = []
        line = self._line
        for record in messages:
            if not record or line.has_closed:
                continue
            assert isinstance(record, bytes)
            kind = record[:1]
            if kind == RAW:
                out.append(record[1:])
            elif kind == _TEXT:
                for message in self._ids.fill_in(record[1:]).split(b"\n"):
                    out += line.text(message)
            elif kind == _PUSH:
                self._push(record, out)
            elif kind == _FORGET:
                wire = self._ids.forget(int(record[1:]))
                if wire is not None:
                    out += line.text(b'["release",%d,1]' % wire)
            else:
                code, _, reason = record[1:].partition(b"\0")
                self._farewell(code.decode(), reason.decode(), out)
        return out

    def _push(self, record: bytes, out: list[bytes | memoryview]) -> None:
        head, _, body = record[2:].partition(b" ")
        flags = record[1] - 48
        line = self._line
        body = self._ids.fill_in(body)
        wire = self._ids.push(int(head), bool(flags & _ASKS), bool(flags & _KEEPS))
        out += line.text(b'["push",%b]' % body)
        if flags & _ASKS:
            out += line.text(b'["pull",%d]' % wire)
        elif not flags & _KEEPS:
            out += line.text(b'["release",%d,1]' % wire)

    def _farewell(self, code: str, reason: str, out: list[bytes | memoryview]) -> None:
        line = self._line
        if code not in _ORDERLY:
            out += line.text(to_json(["abort", ["error", "Error", f"{code}: {reason}"]]))
        out.append(line.close(close_code(code), f"{code}: {reason}"))


def resolve(exporter: Exporter, request: int, value: Value, perspective: Perspective) -> bytes:
    """Return the message with the value of a push of the peer."""
    message = Encoder(exporter, perspective).encode(["resolve", request], value, bare=False)
    if message.startswith(b'["import",', message.index(b",", 11) + 1):
        raise SerializationError(
            "a reference to an object of the peer cannot be the whole answer on this dialect; put it in a list"
        )
    return _TEXT + message


def reject(request: int, error: bytes) -> bytes:
    """Return the message with the error of a push of the peer."""
    return b'%b["reject",%d,%b]' % (_TEXT, request, error)


def release(wire: int) -> bytes:
    """Return what lets go of an answer, or of a promise, of the peer."""
    return b'%b["release",%d,1]' % (_TEXT, wire)
