"""The messages that a hostile side sends and receives: a class for each dialect, with the same methods.

A :class:`Words` makes bytes and reads bytes, and keeps no tables. Values have the form of the dialect: jelly for
the classic one, MessagePack's own (with :class:`ormsgpack.Ext`) for pb7. They are not checked here.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from itertools import count
from typing import Any, NamedTuple

from ormsgpack import OPT_NON_STR_KEYS, Ext, packb, unpackb

from perspective_broker.dialects.classic.banana import NEED_MORE, Decoder, encode, encode_list_head
from perspective_broker.dialects.classic.vocabulary import NONE, PB, Spelling
from perspective_broker.dialects.pb7 import codes
from perspective_broker.dialects.pb7.frames import HEADER_BYTES, frame_header
from perspective_broker.errors import RemoteError
from perspective_broker.flavors import default_registry
from perspective_broker.limits import Limits
from tests.dialects.classic.coding import from_lists

__all__ = ["Classic", "Heard", "Modern", "Words", "framed", "words_of"]

_LENIENT = Limits(message_bytes=2**40, string_bytes=2**40, nodes=2**40, list_items=2**40, int_bits=2**20)


class Heard(NamedTuple):
    """One message of the other side.

    Attributes:
        kind: ``call``, ``answer``, ``error``, ``farewell``, or the dialect's name of another message.
        number: the request; 0 in messages without one.
        what: of a call the method's name, of an answer the value as the dialect has it, of an error the type's name
            without its module, of a farewell the code.
        size: encoded bytes.
    """

    kind: str
    number: int
    what: Any
    size: int


class Words(ABC):
    """The messages of one dialect.

    Attributes:
        name: the dialect's.
        target: the object that is called by default.
        greeting: the message after the choice of the dialect.
    """

    name: str
    greeting: bytes

    def __init__(self, target: int | str = "root") -> None:
        self.target: Any = target
        self._requests = count(1)
        self.last_request = 0  #: of the last call
        self.pending = 0  #: the id of the other side's call that waits for an answer from here

    @property
    def next_luid(self) -> int:
        """The id under which the other side will send its next object: our client sends its desk first."""
        return 1 if self.target == "root" else 2

    @abstractmethod
    def say(self, *items: Any) -> bytes:
        """Return one message of any items."""

    @abstractmethod
    def call(self, method: Any, *args: Any, **options: Any) -> bytes:
        """Return a call whose arguments are encoded already.

        Args:
            method: its name.
            args: its arguments.
            options: these replace parts of an honest call: ``to``, ``request``, ``answer``, ``args`` (all at once, of
                any type) and ``kwargs``.
        """

    @abstractmethod
    def answer(self, request: Any, value: Any) -> bytes:
        """Return an answer."""

    @abstractmethod
    def error(self, request: Any, payload: Any) -> bytes:
        """Return an error."""

    @abstractmethod
    def reference(self, luid: Any) -> Any:
        """Return the value that is an object of this side."""

    @abstractmethod
    def hear(self, data: bytearray) -> Heard | None:
        """Remove and return the first message of ``data``; return None while it is not complete."""

    def _request(self, options: dict[str, Any]) -> Any:
        request = options.get("request")
        if request is None:
            request = next(self._requests)
        self.last_request = request if type(request) is int else 0
        return request


class Classic(Words):
    """The dialects ``pb`` and ``none``."""

    def __init__(self, target: int | str = "root", spelling: Spelling = PB) -> None:
        super().__init__(target)
        self.spelling = spelling
        self.name = spelling.name
        self.greeting = self.say(b"version", 6)

    def say(self, *items: Any) -> bytes:
        return self.spell(list(items))

    def spell(self, value: Any) -> bytes:
        """Return a value's bytes."""
        return encode(_plain(value), self.spelling, _LENIENT, most_bits=2**20)

    def call(self, method: Any, *args: Any, **options: Any) -> bytes:
        return self.say(
            b"message",
            self._request(options),
            options.get("to", self.target),
            method,
            options.get("answer", 1),
            options.get("args", [b"tuple", *args]),
            options.get("kwargs", [b"dictionary"]),
        )

    def spelled_call(self, method: str, *args: bytes) -> bytes:
        """Return a call whose arguments are spelled byte for byte."""
        head = (b"message", self._request({}), self.target, method, 1)
        return b"".join(
            (
                encode_list_head(7),
                *map(self.spell, head),
                encode_list_head(1 + len(args)),
                self.spell(b"tuple"),
                *args,
                self.spell([b"dictionary"]),
            )
        )

    def update(self, replica: Any, method: Any, *args: Any) -> bytes:
        """Return the update of a replica."""
        return self.say(
            b"cachemessage", self._request({}), replica, method, 1, [b"tuple", *args], [b"dictionary"]
        )

    def answer(self, request: Any, value: Any) -> bytes:
        return self.say(b"answer", request, value)

    def error(self, request: Any, payload: Any) -> bytes:
        return self.say(b"error", request, payload)

    def reference(self, luid: Any) -> Any:
        return [b"remote", luid]

    def hear(self, data: bytearray) -> Heard | None:
        decoder = Decoder(_LENIENT, self.spelling.has_words)
        decoder.receive_data(bytes(data))
        message = decoder.next()
        if message is NEED_MORE:
            return None
        del data[: decoder.last_size]
        assert isinstance(message, list)
        match message:
            case [b"message" | b"cachemessage", int(request), _, bytes(name), *_]:
                return Heard("call", request, name.decode(), decoder.last_size)
            case [b"answer", int(request), value]:
                return Heard("answer", request, value, decoder.last_size)
            case [b"error", int(request), failure]:
                error = from_lists(failure, registry=default_registry)
                kind = error.type if isinstance(error, RemoteError) else type(error).__name__
                return Heard("error", request, kind.rpartition(".")[2], decoder.last_size)
            case [bytes(command), *rest]:
                return Heard(command.decode(), 0, rest, decoder.last_size)
        raise AssertionError(f"heard no message: {message!r:.200}")


class Modern(Words):
    """The dialect ``pb7``."""

    name = "pb7"

    def __init__(self, target: int | str = "root") -> None:
        super().__init__(target)
        self.greeting = self.say(codes.HELLO, codes.VERSION, {})

    def say(self, *items: Any) -> bytes:
        return framed(packb(list(items), None, OPT_NON_STR_KEYS))

    def call(self, method: Any, *args: Any, **options: Any) -> bytes:
        message = [
            codes.CALL,
            self._request(options),
            options.get("to", self.target),
            method,
            options.get("answer", 1),
            options.get("args", list(args)),
        ]
        return self.say(*message, *([options["kwargs"]] if "kwargs" in options else []))

    def spelled_call(self, method: str, args: bytes) -> bytes:
        """Return a call whose arguments, an array, are spelled byte for byte."""
        head = b"".join(map(packb, (codes.CALL, self._request({}), self.target, method, 1)))
        return framed(b"\x96" + head + args)

    def update(self, replica: Any, method: Any, *args: Any) -> bytes:
        """Return the update of a replica."""
        return self.say(codes.UPDATE, self._request({}), replica, method, 1, list(args))

    def answer(self, request: Any, value: Any) -> bytes:
        return self.say(codes.ANSWER, request, value)

    def error(self, request: Any, payload: Any) -> bytes:
        return self.say(codes.ERROR, request, payload)

    def reference(self, luid: Any) -> Any:
        return Ext(codes.REMOTE, luid.to_bytes(max(1, (luid.bit_length() + 7) // 8), "big"))

    def hear(self, data: bytearray) -> Heard | None:
        if len(data) < HEADER_BYTES:
            return None
        end = HEADER_BYTES + int.from_bytes(data[:HEADER_BYTES], "big")
        if len(data) < end:
            return None
        message = unpackb(bytes(data[HEADER_BYTES:end]), ext_hook=lambda code, payload: (code, payload))
        del data[:end]
        match message:
            case [codes.CALL | codes.UPDATE, request, _, name, *_]:
                return Heard("call", request, name, end)
            case [codes.ANSWER, request, value]:
                return Heard("answer", request, value, end)
            case [codes.ERROR, request, (codes.FAILURE, failure)]:
                kind = unpackb(failure)[0]
                return Heard("error", request, kind.rpartition(".")[2], end)
            case [codes.FAREWELL, code, _]:
                return Heard("farewell", 0, code, end)
            case [operation, *rest]:
                return Heard(_NAMES.get(operation, str(operation)), 0, rest, end)
        raise AssertionError(f"heard no message: {message!r:.200}")


_NAMES = {
    codes.HELLO: "hello",
    codes.RELEASE: "release",
    codes.CANCEL: "cancel",
    codes.FORGET: "forget",
    codes.PING: "ping",
    codes.PONG: "pong",
    codes.DECACHE: "decache",
    codes.UNCACHE: "uncache",
}


def words_of(dialect: str, target: int | str = "root") -> Any:
    """Return the messages of a dialect."""
    if dialect == "pb7":
        return Modern(target)
    return Classic(target, {"pb": PB, "none": NONE}[dialect])


def framed(body: bytes) -> bytes:
    """Return a frame of pb7."""
    return frame_header(len(body)) + body


def _plain(expression: Any) -> Any:
    """Return an expression with its texts as bytes."""
    if isinstance(expression, str):
        return expression.encode()
    if isinstance(expression, (list, tuple)):
        return [_plain(item) for item in expression]
    return expression
