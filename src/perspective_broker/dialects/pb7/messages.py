"""The modern dialect: operations as MessagePack arrays. Specified in ``docs/wire/pb7.md``.

Most messages have only values of MessagePack's own types. It takes one call of the codec in C to decode such a message
and one to pack it again: the result must be the bytes that arrived. This comparison refuses everything that the codec
accepts by mistake: bytes after the end, longer spellings, duplicate keys, nesting beyond its own bound. It costs a
third of a microsecond. All other messages take a slower way: extensions are decoded when the perspective is known, and
a flawed frame is scanned to decide whether its call fails or the connection ends.

This module decodes messages; :mod:`.writing` encodes them.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Generator, Mapping, Sequence
from itertools import compress, product
from typing import Final, TypeAlias

from ormsgpack import OPT_NON_STR_KEYS, Ext, packb, unpackb

from ...errors import BadArguments, CallError, DecodeError, ProtocolError
from ...flavors import Policy, Registry
from ...limits import Limits
from ...ports import (
    DELIVERED,
    NEEDS_DATA,
    READING,
    Data,
    Dialect,
    Exporter,
    Feature,
    Importer,
    InParts,
    Message,
    ObjectId,
    Perspective,
    PromisedAnswer,
    Receiver,
    Undecoded,
    Value,
)
from ..collector import gc_paused
from .codes import (
    ADDRESSED,
    ANSWER,
    CALL,
    CANCEL,
    DECACHE,
    DRAINING,
    ERROR,
    FAREWELL,
    FORGET,
    HELLO,
    KEEP_ANSWER,
    LCACHE,
    LOCAL,
    LOCAL_NAMED,
    PING,
    PONG,
    PROMISE,
    RELEASE,
    UNCACHE,
    UPDATE,
    VERSION,
    WANTS_ANSWER,
)
from .failures import failure_in
from .frames import HEADER_BYTES, Frame, FrameReader, recycle
from .large import OPTIONS, cut_arrays, is_spelled
from .operands import (
    are_text,
    count_of,
    dependencies_of,
    id_of,
    limited_flags,
    no_such_flag,
    ping_bytes,
)
from .packing import MAX_PLAIN_DEPTH
from .scanning import (
    check_in_steps,
    has_no_extension,
    only_reference,
    scan,
    scan_in_steps,
    skip,
    token,
    weight_at_most,
)
from .unpacking import (
    Readers,
    Unpacker,
    readers_for,
    readers_of_kept,
    references_in,
    refuse_plain,
    refused_plain_types,
)
from .writing import FEATURES, Pb7Writer, framed, harmless, is_deeper, is_long

__all__ = ["Pb7Dialect"]

#: Optional features that this side understands. The hello of each side announces them.
_OPTIONAL: Final = (Feature.DEADLINES, Feature.PIECES, Feature.MORE_VALUES)

#: These, and those that a side announces only if its driver offers them.
_ANNOUNCED: Final = (*_OPTIONAL, Feature.DESCRIBE)

#: Which of them a peer announces -> all features of that peer. All connections share these sets.
_WITH_ANNOUNCED: Final = {
    known: FEATURES.union(compress(_ANNOUNCED, known))
    for known in product((False, True), repeat=len(_ANNOUNCED))
}

#: Pings that may arrive in one chunk. An honest peer waits for its pong before it sends another ping.
MAX_PINGS_AT_ONCE: Final = 16

#: Bytes from which on a message is decoded in steps, so that other connections get their turn in between. Shorter
#: messages take less than 2 ms, whatever they contain.
_LONG: Final = 64 * 1024

#: Steps of decoding a message. The result is the message, and the payload from which its values are decoded.
_Reading: TypeAlias = Generator[None, None, tuple[Undecoded, Undecoded]]


class _Encoded:
    """Values that contain extensions: decoded when the perspective is known.

    Args:
        frame: the message, without the bytes of large arrays.
        arrays: these bytes.
    """

    __slots__ = ("arrays", "frame")

    def __init__(self, frame: Frame, arrays: list[memoryview]) -> None:
        self.frame = frame
        self.arrays = arrays


class _Undecodable:
    """Values that cannot be decoded, in a message whose head is valid: only the call fails to which they belong."""

    __slots__ = ("error", "frame")

    def __init__(self, error: CallError, frame: Frame) -> None:
        self.error = error
        self.frame = frame


class Pb7Dialect(Dialect):
    """One connection's pb7; see :class:`perspective_broker.ports.Dialect` for the contract.

    Args:
        receiver: gets the operations.
        exporter: turns our objects into ids.
        importer: turns the peer's ids into objects.
        limits: what the peer may send.
        registry: what type tags mean.
        policy: what may be received.
        offers: features that the driver offers; the hello announces them.
    """

    def __init__(
        self,
        receiver: Receiver,
        exporter: Exporter,
        importer: Importer,
        limits: Limits,
        registry: Registry,
        policy: Policy,
        offers: frozenset[Feature] = frozenset(),
    ) -> None:
        super().__init__(Pb7Writer(exporter, limits, registry))
        self._limits = limits
        self._harmless = harmless(limits)
        self._receiver = receiver
        self._importer = importer
        self._registry, self._policy, self._offers = registry, policy, offers
        self._readers = readers_for(policy)
        self._refused = refused_plain_types(policy)
        self._frame_reader = FrameReader(limits)
        self._reading: _Reading | None = None  # the steps of a large message
        self._frame: Frame | None = None  # the message that is being delivered
        self._ready, self._pings = False, 0

    def open(self) -> None:
        self._receiver.send(_hello(self._offers))

    def use_limits(self, limits: Limits) -> None:
        self.writer.use_limits(limits)
        self._limits = limits
        self._harmless = harmless(limits)
        self._frame_reader.limits = limits

    def receive_data(self, data: Data) -> None:
        self._pings = 0
        self._frame_reader.receive_data(data)

    @property
    def mid_message(self) -> int:
        return self._frame_reader.mid_message

    @property
    def last_size(self) -> int:
        return self._frame_reader.last_size

    @property
    def last_weight(self) -> int:
        return 0 if self._frame is None else weight_at_most(self._frame, self._limits)

    def next_message(self) -> int:
        if self._reading is not None:
            return self._continue_reading(self._reading)
        frame = self._frame_reader.next()
        if frame is None:
            return NEEDS_DATA
        self._frame = frame
        if len(frame) > self._harmless:
            reading = self._reading = self._decode_in_steps(frame)
            if len(frame) > _LONG:
                return READING
            while self._continue_reading(reading) == READING:
                pass
            return DELIVERED
        payload: Undecoded
        try:
            message = payload = unpackb(frame)
            if packb(message, None, OPTIONS) != frame:
                message, payload = self._salvage(frame)
        except ValueError:
            message, payload = self._with_extensions(frame)
        except TypeError:  # a key that is not text
            message, payload = self._salvage(frame)
        self._deliver(message, payload)
        return DELIVERED

    def _continue_reading(self, reading: _Reading) -> int:
        """Take the next step of decoding a large message; after the last one, give the operation to the receiver."""
        try:
            with gc_paused():
                next(reading)
        except StopIteration as done:
            self._reading = None
            message, payload = done.value
            try:
                self._deliver(message, payload)
            finally:
                self._frame = None  # it may be large
            return DELIVERED
        return READING

    def _deliver(self, message: Undecoded, payload: Undecoded) -> None:
        """Give the operation of a message to the receiver; its values are decoded from ``payload``."""
        if type(message) is not list or not message or type(message[0]) is not int:
            raise ProtocolError("bad-message", "a message is an array that starts with an operation")
        operation, size = message[0], len(message)
        # These two are in the table too, and most messages are one of them.
        if operation == ANSWER and size == 3 and self._ready:
            self._answer(message, payload)
        elif operation == CALL and 6 <= size <= 8 and self._ready:
            self._call(message, payload)
        else:
            self._handler(operation, size)(self, message, payload)

    def _handler(self, operation: int, size: int) -> _Operation:
        """Return the handler of an operation with ``size`` fields.

        Raises:
            ProtocolError: there is no such operation.
        """
        known = _OPERATIONS.get(operation)
        if known is None:
            raise ProtocolError("bad-message", "an operation that does not exist")
        fewest, most, run = known
        if not fewest <= size <= most:
            raise ProtocolError("bad-message", "an operation with too few or too many fields")
        if not self._ready and run is not _HELLO:
            raise ProtocolError("bad-version", "the first message must be hello")
        return run

    def _decode_in_steps(self, frame: Frame) -> _Reading:
        """Decode the message of a frame in steps of bounded time.

        Returns:
            The message, and the payload from which its values are decoded.

        Raises:
            ProtocolError: the frame exceeds a limit, is not MessagePack, or is not in the shortest spelling.
        """
        scanned = yield from check_in_steps(frame, self._limits)
        yield
        payload: Undecoded = None
        try:
            message = unpackb(frame)
        except ValueError:
            yield
            rest, arrays = cut_arrays(frame, self._limits)
            # A frame without extensions has another flaw, and decoding it again would take longer than this test.
            if not arrays and has_no_extension(frame):
                return (yield from self._salvage_in_steps(frame, scanned))
            try:
                message = unpackb(rest, ext_hook=Ext, option=OPT_NON_STR_KEYS)
            except ValueError:
                return (yield from self._salvage_in_steps(frame, scanned))
            payload = _Encoded(rest, arrays)
            if arrays:
                recycle(frame)
        yield
        is_right = self._is_right(message, frame if payload is None else payload.frame)
        yield
        if not is_right:
            return (yield from self._salvage_in_steps(frame, scanned))
        if payload is None:
            recycle(frame)
            return message, message
        return message, payload

    def _with_extensions(self, frame: Frame) -> tuple[Undecoded, Undecoded]:
        """Return the message of a short frame with extensions, and the payload from which its values are decoded."""
        try:
            message = unpackb(frame, ext_hook=Ext, option=OPT_NON_STR_KEYS)
        except ValueError:
            return self._salvage(frame)
        if not self._is_right(message, frame):
            return self._salvage(frame)
        return message, _Encoded(frame, [])

    def _is_right(self, message: Undecoded, frame: Frame) -> bool:
        """Return whether a message is in the one spelling and not nested too deep."""
        depth = self._limits.depth
        too_deep = len(frame) > depth < MAX_PLAIN_DEPTH and is_deeper(message, depth)
        return not too_deep and is_spelled(message, frame)

    def _salvage_in_steps(self, frame: Frame, scanned: bool) -> _Reading:
        """The same as :meth:`_salvage`, in steps; ``scanned``: the structure has been checked already."""
        if not scanned:
            yield from scan_in_steps(frame, self._limits)
            yield
        return self._head(frame)

    def _salvage(self, frame: Frame) -> tuple[Undecoded, Undecoded]:
        """Return the head of a message whose values cannot be decoded, if its structure is valid.

        Raises:
            ProtocolError: the structure or the head is not valid.
        """
        scan(frame, self._limits)
        return self._head(frame)

    def _head(self, frame: Frame) -> tuple[Undecoded, Undecoded]:
        """Return the head of a message whose structure is valid, and the error of its values.

        Raises:
            ProtocolError: the head is not valid.
        """
        message = []
        pos, _ = token(frame, 0, self._limits)
        wanted = ADDRESSED.get(frame[pos], 0) if frame[0] & 0xF0 == 0x90 else 0
        for _ in range(min(wanted, frame[0] & 0x0F)):
            end = skip(frame, pos, 1, self._limits)
            try:
                message.append(unpackb(frame[pos:end]))
            except ValueError:
                break
            pos = end
        if not wanted or len(message) < wanted:
            raise ProtocolError("bad-message", "a message that cannot be read")
        error = DecodeError(
            "text that is not UTF-8, a key that is not text or is a duplicate, or too deep nesting"
        )
        return [*message, None], _Undecodable(error, frame)

    def _hello(self, message: list[Undecoded], payload: Undecoded) -> None:
        _, version, features = message
        if self._ready:
            raise ProtocolError("bad-version", "hello is sent once")
        if type(version) is not int or version != VERSION or type(features) is not dict:
            raise ProtocolError("bad-version", f"this is version {VERSION} of the protocol")
        self._ready = True
        self.writer.use_features(_announced_in(features))
        self._receiver.on_ready()

    def _call(self, message: list[Undecoded], payload: Undecoded) -> None:
        target = message[2]
        if type(target) is list and len(target) == 1:
            target = PromisedAnswer(id_of(target[0]))
        elif not (type(target) is int and target >= 0) and not (type(target) is str and len(target) <= 256):
            raise ProtocolError(
                "bad-id", "an object id is a positive integer or a name, or a call's in an array"
            )
        seconds = None
        if type(message[4]) is list:
            message[4], seconds = limited_flags(message[4])
        self._check_call(message)
        flags = message[4]
        if flags not in _CALL_FLAGS:
            raise no_such_flag()
        depends_on = dependencies_of(message[7]) if len(message) > 7 else ()
        self._receiver.on_call(
            message[1],
            target,
            message[3],
            flags & WANTS_ANSWER != 0,
            payload,
            flags & KEEP_ANSWER != 0,
            depends_on,
            seconds,
        )

    def _update(self, message: list[Undecoded], payload: Undecoded) -> None:
        luid = id_of(message[2])
        self._check_call(message)
        if message[4] not in _UPDATE_FLAGS:
            raise no_such_flag()
        self._receiver.on_update(message[1], luid, message[3], message[4] == 1, payload)

    def _check_call(self, message: list[Undecoded]) -> None:
        """Check the types of the request, the method's name and the flags of a call."""
        request, name, flags = message[1], message[3], message[4]
        if type(request) is not int or request < 0:
            raise ProtocolError("bad-id", "an id is a positive integer")
        if type(name) is not str:
            raise ProtocolError("bad-message", "a method's name is text")
        if is_long(name, self._limits):
            raise ProtocolError(
                "limit-name",
                f"a method's name may have {self._limits.method_name_bytes} bytes (Limits.method_name_bytes)",
            )
        if type(flags) is not int:
            raise no_such_flag()

    def _answer(self, message: list[Undecoded], payload: Undecoded) -> None:
        self._receiver.on_answer(id_of(message[1]), payload)

    def _error(self, message: list[Undecoded], payload: Undecoded) -> None:
        request = id_of(message[1])
        because = only_reference(payload.frame, PROMISE) if type(payload) is _Encoded else None
        if because is not None:
            self._receiver.on_dropped(request, because)
        else:
            self._receiver.on_error(request, payload)

    def _release(self, message: list[Undecoded], payload: Undecoded) -> None:
        if len(message) % 2 == 0:
            raise ProtocolError("bad-message", "a release with an id that has no count")
        for at in range(1, len(message), 2):
            self._receiver.on_release(id_of(message[at]), count_of(message[at + 1]))

    def _decache(self, message: list[Undecoded], payload: Undecoded) -> None:
        self._receiver.on_decache(id_of(message[1]), count_of(message[2]))

    def _uncache(self, message: list[Undecoded], payload: Undecoded) -> None:
        self._receiver.on_uncache(id_of(message[1]))

    def _forget(self, message: list[Undecoded], payload: Undecoded) -> None:
        self._receiver.on_forget(id_of(message[1]))

    def _cancel(self, message: list[Undecoded], payload: Undecoded) -> None:
        self._receiver.on_cancel(id_of(message[1]))

    def _ping(self, message: list[Undecoded], payload: Undecoded) -> None:
        self._pings += 1
        if self._pings > MAX_PINGS_AT_ONCE:
            raise ProtocolError("too-many-pings", "a peer waits for its pong before it asks again")
        self._receiver.on_ping(ping_bytes(message[1]))

    def _pong(self, message: list[Undecoded], payload: Undecoded) -> None:
        self._receiver.on_pong(ping_bytes(message[1]))

    def _farewell(self, message: list[Undecoded], payload: Undecoded) -> None:
        _, code, reason = message
        if type(code) is not str or type(reason) is not str:
            raise ProtocolError("bad-message", "a farewell has a code and a reason")
        self._receiver.on_farewell(code, reason)

    def _draining(self, message: list[Undecoded], payload: Undecoded) -> None:
        self._receiver.on_draining()

    def _values(self, payload: Undecoded, perspective: Perspective) -> list[Value]:
        """Return the message with all its values decoded."""
        if type(payload) is list:
            return payload
        unpacker = self._unpacker(self._importer, perspective, self._readers)
        if type(payload) is _Undecodable:
            unpacker.release_unread(payload.frame)
            raise payload.error
        return unpacker.unpack(payload.frame, payload.arrays)

    def _unpacker(self, importer: Importer, perspective: Perspective, readers: Readers) -> Unpacker:
        return Unpacker(
            importer, perspective, readers, self._refused, self._registry, self._policy, self._limits
        )

    def decode_arguments(
        self, arguments: Undecoded, perspective: Perspective
    ) -> tuple[Sequence[Value], Mapping[str, Value]]:
        message = arguments if type(arguments) is list else self._values(arguments, perspective)
        args = message[5]
        if type(args) is not list:
            raise BadArguments("positional arguments come as an array")
        kwargs = message[6] if len(message) > 6 else _NO_KEYWORDS
        if type(kwargs) is not dict or (kwargs and message is not arguments and not are_text(kwargs)):
            raise BadArguments("keyword arguments come as a map with text as keys")
        if "self" in kwargs:  # every method has this parameter
            raise BadArguments("no keyword is called self")
        if self._refused:
            refuse_plain([*args, *kwargs.values()], self._refused)
        return args, kwargs

    def decode_value(self, payload: Undecoded, perspective: Perspective) -> Value:
        value = self._values(payload, perspective)[2]
        if self._refused:
            refuse_plain([value], self._refused)
        return value

    def decode_error(self, payload: Undecoded, perspective: Perspective) -> Exception:
        error = None
        with contextlib.suppress(CallError):
            error = self._values(payload, perspective)[2]
        return error if isinstance(error, Exception) else failure_in(None).as_exception(self._registry)

    def decode_kept(self, message: Message, importer: Importer) -> Value:
        body = b"".join(message.parts) if isinstance(message, InParts) else message
        frame = body[HEADER_BYTES:]
        unpacker = self._unpacker(importer, None, readers_of_kept(self._readers))
        value = unpacker.unpack(frame)[2]
        if self._refused:
            refuse_plain([value], self._refused)
        return value

    def home_in(self, arguments: Undecoded) -> tuple[list[ObjectId], list[int]]:
        objects: list[ObjectId] = []
        replicas: list[int] = []
        if type(arguments) is not list:
            for code, luid in references_in(arguments.frame, self._limits):
                if code == LCACHE and isinstance(luid, int):
                    replicas.append(luid)
                elif code in (LOCAL, LOCAL_NAMED):
                    objects.append(luid)
        return objects, replicas

    @property
    def unfinished(self) -> Mapping[int, int]:
        return self._frame_reader.unfinished

    def forget_unfinished(self) -> None:
        self._frame_reader = FrameReader(self._limits)


def _hello(offers: frozenset[Feature]) -> bytes:
    """Return the first message of this side."""
    return framed(packb([HELLO, VERSION, {feature.value: True for feature in (*_OPTIONAL, *offers)}]))


def _announced_in(features: Mapping[str, Undecoded]) -> frozenset[Feature]:
    """Return the features of a peer that sends these in its hello."""
    return _WITH_ANNOUNCED[tuple(features.get(feature.value) is True for feature in _ANNOUNCED)]


#: Flags that may be combined: KEEP_ANSWER requires WANTS_ANSWER.
_CALL_FLAGS: Final = (0, WANTS_ANSWER, WANTS_ANSWER | KEEP_ANSWER)
_UPDATE_FLAGS: Final = (0, WANTS_ANSWER)

_NO_KEYWORDS: Final[dict[str, Value]] = {}

_Operation = Callable[[Pb7Dialect, list[Undecoded], Undecoded], None]

_HELLO: Final = Pb7Dialect._hello

#: No bound of its own on the number of fields, only that of Limits.nodes.
_ANY_NUMBER: Final = 1 << 30

#: Operation -> the fewest and the most items of its array, and its handler.
_OPERATIONS: Final[dict[int, tuple[int, int, _Operation]]] = {
    HELLO: (3, 3, _HELLO),
    CALL: (6, 8, Pb7Dialect._call),
    UPDATE: (6, 7, Pb7Dialect._update),
    ANSWER: (3, 3, Pb7Dialect._answer),
    ERROR: (3, 3, Pb7Dialect._error),
    RELEASE: (3, _ANY_NUMBER, Pb7Dialect._release),
    DECACHE: (3, 3, Pb7Dialect._decache),
    UNCACHE: (2, 2, Pb7Dialect._uncache),
    CANCEL: (2, 2, Pb7Dialect._cancel),
    FORGET: (2, 2, Pb7Dialect._forget),
    PING: (2, 2, Pb7Dialect._ping),
    PONG: (2, 2, Pb7Dialect._pong),
    FAREWELL: (3, 3, Pb7Dialect._farewell),
    DRAINING: (1, 1, Pb7Dialect._draining),
}
