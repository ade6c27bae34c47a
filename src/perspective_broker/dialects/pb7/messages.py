"""The modern dialect: operations as MessagePack arrays. Specified in ``docs/wire/pb7.md``.

The common message, whose values are MessagePack's own, is one call of the codec in C each way and one comparison:
what was read is packed again, and must be the very bytes that came. That refuses in one stroke what the codec lets
pass: bytes behind the end, longer spellings, keys that come twice, nesting beyond its own bound. It costs a third of
a microsecond. Everything else takes the careful way: extensions are read when the perspective is known, and a frame
that is not right is looked at for what it is worth, the call or the connection.

What comes is read here; what leaves is written in :mod:`.writing`.
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
from ..collector import CollectorRests
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
from .frames import HEADER_BYTES, Frame, Frames, give_back
from .operands import (
    are_text,
    count_of,
    dependencies_of,
    id_of,
    limited_flags,
    no_such_flag,
    ping_bytes,
)
from .packing import (
    LARGE,
    MAX_PLAIN_DEPTH,
    OPTIONS,
    pieces,
)
from .scanning import (
    check_in_steps,
    has_no_extension,
    only_mention,
    scan,
    scan_in_steps,
    skip,
    token,
    weight_at_most,
)
from .unpacking import (
    Readers,
    Unpacker,
    failure_in,
    mentioned,
    readers_for,
    readers_of_kept,
    refuse_plain,
    refused_plain_types,
)
from .writing import FEATURES, Pb7Writer, framed, harmless, is_deeper, is_long, pack_plain

__all__ = ["Pb7Dialect"]

#: What this side understands beyond what every peer does: a peer's hello says it, and ours.
_OPTIONAL: Final = (Feature.DEADLINES, Feature.PIECES)

#: Which of them a peer understands -> all that it does: one set for all connections.
_WITH_OPTIONAL: Final = {
    known: FEATURES.union(compress(_OPTIONAL, known))
    for known in product((False, True), repeat=len(_OPTIONAL))
}

#: Pings that may come in one piece of input. An honest peer waits for its pong before it asks again.
MAX_PINGS_AT_ONCE: Final = 16


#: Bytes of a message from which on it is read in steps, between which others have their turn. A step takes less than
#: 2 ms below that, whatever the message is made of.
_LONG: Final = 64 * 1024

#: Steps of reading a message; at the end come the message, and what its values are to be decoded from.
_Reading: TypeAlias = Generator[None, None, tuple[Undecoded, Undecoded]]


class _Coded:
    """Values behind a head that mention objects: read when it is known who they are for."""

    __slots__ = ("frame",)

    def __init__(self, frame: Frame) -> None:
        self.frame = frame


class _Flawed:
    """Values behind a head that cannot be read, for a reason that costs only what they belong to."""

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
    """

    def __init__(
        self,
        receiver: Receiver,
        exporter: Exporter,
        importer: Importer,
        limits: Limits,
        registry: Registry,
        policy: Policy,
    ) -> None:
        super().__init__(Pb7Writer(exporter, limits))
        self._limits = limits
        self._harmless = harmless(limits)
        self._receiver = receiver
        self._importer = importer
        self._registry = registry
        self._policy = policy
        self._readers = readers_for(policy)
        self._refused = refused_plain_types(policy)
        self._frames = Frames(limits)
        self._reading: _Reading | None = None  # of a large message
        self._frame: Frame | None = None  # of the message that is being delivered
        self._ready = False
        self._pings = 0

    def open(self) -> None:
        self._receiver.send(framed(packb([HELLO, VERSION, {feature.value: True for feature in _OPTIONAL}])))

    def use_limits(self, limits: Limits) -> None:
        self.writer.use_limits(limits)
        self._limits = limits
        self._harmless = harmless(limits)
        self._frames.limits = limits

    def receive_data(self, data: Data) -> None:
        self._pings = 0
        self._frames.receive_data(data)

    @property
    def mid_message(self) -> int:
        return self._frames.mid_message

    @property
    def last_size(self) -> int:
        return self._frames.last_size

    @property
    def last_weight(self) -> int:
        return 0 if self._frame is None else weight_at_most(self._frame, self._limits)

    def next_message(self) -> int:
        if self._reading is not None:
            return self._go_on(self._reading)
        frame = self._frames.next()
        if frame is None:
            return NEEDS_DATA
        self._frame = frame
        if len(frame) > self._harmless:
            reading = self._reading = self._careful(frame)
            if len(frame) > _LONG:
                return READING
            while self._go_on(reading) == READING:
                pass
            return DELIVERED
        payload: Undecoded
        try:
            message = payload = unpackb(frame)
            if packb(message, None, OPTIONS) != frame:
                message, payload = self._salvage(frame)
        except ValueError:
            message, payload = self._with_extensions(frame)
        except TypeError:  # a key that is no text
            message, payload = self._salvage(frame)
        self._act(message, payload)
        return DELIVERED

    def _go_on(self, reading: _Reading) -> int:
        """Take the next step of reading a large message; behind the last one the receiver is given the operation."""
        try:
            with CollectorRests():
                next(reading)
        except StopIteration as done:
            self._reading = None
            message, payload = done.value
            try:
                self._act(message, payload)
            finally:
                self._frame = None  # which may be large
            return DELIVERED
        return READING

    def _act(self, message: Undecoded, payload: Undecoded) -> None:
        """Give the receiver the operation of a message, whose values are to be decoded from ``payload``."""
        if type(message) is not list or not message or type(message[0]) is not int:
            raise ProtocolError("bad-message", "a message is an array that starts with an operation")
        operation, size = message[0], len(message)
        # These two stand in the table like the others, and are most of what comes.
        if operation == ANSWER and size == 3 and self._ready:
            self._answer(message, payload)
        elif operation == CALL and 6 <= size <= 8 and self._ready:
            self._call(message, payload)
        else:
            self._run(operation, size)(self, message, payload)

    def _run(self, operation: int, size: int) -> _Operation:
        """Return what acts on an operation of ``size`` fields.

        Raises:
            ProtocolError: none does.
        """
        known = _OPERATIONS.get(operation)
        if known is None:
            raise ProtocolError("bad-message", "an operation that does not exist")
        fewest, most, run = known
        if not fewest <= size <= most:
            raise ProtocolError("bad-message", "an operation with too few or too many fields")
        if not self._ready and run is not _HELLO:
            raise ProtocolError("bad-version", "a peer says hello first")
        return run

    def _careful(self, frame: Frame) -> _Reading:
        """Read a frame's message step by step, each of which takes as long as its size allows.

        Returns:
            The message, and what its values are to be decoded from.

        Raises:
            ProtocolError: it breaks a limit, is no MessagePack, or not in the shortest spelling.
        """
        scanned = yield from check_in_steps(frame, self._limits)
        yield
        payload: Undecoded = None
        try:
            message = unpackb(frame)
        except ValueError:
            yield
            # What has none fails for another reason, which takes longer to find out by reading it again.
            if has_no_extension(frame):
                return (yield from self._salvage_in_steps(frame, scanned))
            try:
                message = unpackb(frame, ext_hook=Ext, option=OPT_NON_STR_KEYS)
            except ValueError:
                return (yield from self._salvage_in_steps(frame, scanned))
            payload = _Coded(frame)
        yield
        is_right = self._is_right(message, frame)
        yield
        if not is_right:
            return (yield from self._salvage_in_steps(frame, scanned))
        if payload is None:
            give_back(frame)
            return message, message
        return message, payload

    def _with_extensions(self, frame: Frame) -> tuple[Undecoded, Undecoded]:
        """Return the message of a short frame with extensions, and what its values are to be decoded from."""
        try:
            message = unpackb(frame, ext_hook=Ext, option=OPT_NON_STR_KEYS)
        except ValueError:
            return self._salvage(frame)
        if not self._is_right(message, frame):
            return self._salvage(frame)
        return message, _Coded(frame)

    def _is_right(self, message: Undecoded, frame: Frame) -> bool:
        """Whether a message is in the one spelling, and not nested too deep."""
        depth = self._limits.depth
        return _is_spelled(message, frame) and not (
            len(frame) > depth < MAX_PLAIN_DEPTH and is_deeper(message, depth)
        )

    def _salvage_in_steps(self, frame: Frame, scanned: bool) -> _Reading:
        """The same as :meth:`_salvage` for a long frame; ``scanned``: its structure is known to be right."""
        if not scanned:
            yield from scan_in_steps(frame, self._limits)
            yield
        return self._head(frame)

    def _salvage(self, frame: Frame) -> tuple[Undecoded, Undecoded]:
        """Return the head of a message whose values cannot be read, although its structure is right.

        Raises:
            ProtocolError: it is not, or its head cannot be read either.
        """
        scan(frame, self._limits)
        return self._head(frame)

    def _head(self, frame: Frame) -> tuple[Undecoded, Undecoded]:
        """Return the head of a message whose structure is right, and that its values cannot be read.

        Raises:
            ProtocolError: the head cannot be read, either.
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
            "text that is no UTF-8, a key that is no text or comes twice, or too deep nesting"
        )
        return [*message, None], _Flawed(error, frame)

    def _hello(self, message: list[Undecoded], payload: Undecoded) -> None:
        _, version, features = message
        if self._ready:
            raise ProtocolError("bad-version", "a peer says hello once")
        if type(version) is not int or version != VERSION or type(features) is not dict:
            raise ProtocolError("bad-version", f"this is version {VERSION} of the protocol")
        self._ready = True
        self.writer.use_features(
            _WITH_OPTIONAL[tuple(features.get(feature.value) is True for feature in _OPTIONAL)]
        )
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
        """Judge the request, the method's name and the flags of a call."""
        request, name, flags = message[1], message[3], message[4]
        if type(request) is not int or request < 0:
            raise ProtocolError("bad-id", "an id is a positive integer")
        if type(name) is not str:
            raise ProtocolError("bad-message", "a method's name is text")
        if is_long(name, self._limits):
            raise ProtocolError(
                "limit-name", f"a method's name may have {self._limits.method_name_bytes} bytes"
            )
        if type(flags) is not int:
            raise no_such_flag()

    def _answer(self, message: list[Undecoded], payload: Undecoded) -> None:
        self._receiver.on_answer(id_of(message[1]), payload)

    def _error(self, message: list[Undecoded], payload: Undecoded) -> None:
        request = id_of(message[1])
        because = only_mention(payload.frame, PROMISE) if type(payload) is _Coded else None
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
        """Return the message whose values are wanted, every one of them built."""
        if type(payload) is list:
            return payload
        unpacker = self._unpacker(self._importer, perspective, self._readers)
        if type(payload) is _Flawed:
            unpacker.give_back(payload.frame)
            raise payload.error
        return unpacker.unpack(payload.frame)

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
        if "self" in kwargs:  # a method has it already
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
            for code, luid in mentioned(arguments.frame, self._limits):
                if code == LCACHE and isinstance(luid, int):
                    replicas.append(luid)
                elif code in (LOCAL, LOCAL_NAMED):
                    objects.append(luid)
        return objects, replicas

    @property
    def unfinished(self) -> Mapping[int, int]:
        return self._frames.unfinished

    def forget_unfinished(self) -> None:
        self._frames = Frames(self._limits)


def _is_spelled(message: Undecoded, frame: Frame) -> bool:
    """Return whether a frame is the spelling, the only one, of the message that was read from it."""
    try:
        if len(frame) <= LARGE or type(message) is not list:
            return packb(message, None, OPTIONS) == frame
        pos = 0
        for piece, is_large in pieces(message, pack_plain):
            # A large object was read from where it stands now: behind what has the one spelling so far.
            if not is_large and not frame.startswith(piece, pos):
                return False
            pos += len(piece)
        return pos == len(frame)
    except TypeError:  # a key that is no text, or nested deeper than the codec packs
        return False


#: What is kept is an answer that is wanted.
_CALL_FLAGS: Final = (0, WANTS_ANSWER, WANTS_ANSWER | KEEP_ANSWER)
_UPDATE_FLAGS: Final = (0, WANTS_ANSWER)

_NO_KEYWORDS: Final[dict[str, Value]] = {}

_Operation = Callable[[Pb7Dialect, list[Undecoded], Undecoded], None]

_HELLO: Final = Pb7Dialect._hello

#: Of fields: only the limit on a message's items bounds them.
_ANY_NUMBER: Final = 1 << 30

#: Operation -> the fewest and the most items of its array, and what acts on it.
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
