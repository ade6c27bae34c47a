"""The modern dialect: operations as MessagePack arrays. Specified in ``docs/wire/pb7.md``.

The common message, whose values are MessagePack's own, is one call of the codec in C each way and one comparison:
what was read is packed again, and must be the very bytes that came. That refuses in one stroke what the codec lets
pass: bytes behind the end, longer spellings, keys that come twice, nesting beyond its own bound. It costs a third of
a microsecond. Everything else takes the careful way: extensions are read when the perspective is known, and a frame
that is not right is looked at for what it is worth, the call or the connection.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import chain, compress, product
from math import ceil
from typing import Any, Final

from ormsgpack import OPT_NON_STR_KEYS, Ext, packb, unpackb

from ...errors import BadArguments, CallError, DecodeError, ProtocolError, SerializationError
from ...flavors import ALWAYS_SENT, Copyable, Failure, Policy, Registry
from ...limits import Limits
from ...ports import (
    DEADLINES,
    LARGE_MESSAGE,
    PIECES,
    AnswerOf,
    CallTarget,
    Data,
    Exporter,
    Importer,
    InParts,
    Message,
    Rank,
    Receiver,
)
from ..collector import CollectorRests
from ..paths import with_path
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
    MAX_MILLISECONDS,
    PING,
    PONG,
    RELEASE,
    UNCACHE,
    UPDATE,
    VERSION,
    WANTS_ANSWER,
)
from .frames import HEADER_BYTES, PIECE_BYTES, Frame, Frames, frame_header, give_back, piece_header
from .packing import (
    LARGE,
    LARGE_BYTES,
    MAX_PLAIN_DEPTH,
    NOT_PLAIN,
    OPTIONS,
    Packer,
    look_at,
    nested_bytes,
    pieces,
)
from .scanning import check_size, has_no_extension, scan, skip, token
from .unpacking import Unpacker, failure_in, readers_for, refuse_plain, refused_plain_types

__all__ = ["Pb7Dialect"]

#: Bytes of a ping that the peer wants back.
MAX_PING_BYTES: Final = 125

#: Answers that one call may mention.
MAX_HANGS_ON: Final = 1024

#: What begins flags that have a time beside them: an array of two.
_PAIR: Final = 0x92

#: What this side understands beyond what every peer does: a peer's hello says it, and ours.
_OPTIONAL: Final = (DEADLINES, PIECES)

#: What every peer understands, and which of the others it does -> all of it: one set for all connections.
_FEATURES: Final = frozenset({"cancel", "farewell", "ping", "pipelining"})
_WITH_OPTIONAL: Final = {
    known: _FEATURES.union(compress(_OPTIONAL, known))
    for known in product((False, True), repeat=len(_OPTIONAL))
}

#: Pings that may come in one piece of input. An honest peer waits for its pong before it asks again.
MAX_PINGS_AT_ONCE: Final = 16


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


class Pb7Dialect:
    """One connection's pb7; see :class:`perspective_broker.ports.Dialect` for the contract.

    Args:
        receiver: gets the operations.
        exporter: turns our objects into ids.
        importer: turns the peer's ids into objects.
        limits: what the peer may send.
        registry: what type tags mean.
        policy: what may be received.
    """

    name = "pb7"
    features: frozenset[str] = _FEATURES

    def __init__(
        self,
        receiver: Receiver,
        exporter: Exporter,
        importer: Importer,
        limits: Limits,
        registry: Registry,
        policy: Policy,
    ) -> None:
        self._receiver = receiver
        self._exporter = exporter
        self._importer = importer
        self._registry = registry
        self._policy = policy
        self._readers = readers_for(policy)
        self._refused = refused_plain_types(policy)
        self._frames = Frames(limits)
        self.unfinished: Mapping[int, int] = self._frames.unfinished
        self._ready = False
        self._pings = 0
        self.use_limits(limits)

    # -- receiving

    def open(self) -> None:
        self._receiver.send(_framed(packb([HELLO, VERSION, dict.fromkeys(_OPTIONAL, True)])))

    def use_limits(self, limits: Limits) -> None:
        self._limits = self._frames.limits = limits
        #: Frames of this size cannot break a limit on what is in them; nor do they hold what is large.
        self._harmless = min(LARGE, limits.nodes, limits.large_string_bytes, limits.message_bytes)
        if limits.depth < MAX_PLAIN_DEPTH:
            self._harmless = min(self._harmless, limits.depth)

    def receive_data(self, data: Data) -> None:
        self._pings = 0
        self._frames.receive_data(data)

    @property
    def mid_message(self) -> int:
        return self._frames.mid_message

    @property
    def last_size(self) -> int:
        return self._frames.last_size

    def next_message(self) -> bool:
        frame = self._frames.next()
        if frame is None:
            return False
        payload: Any
        if len(frame) <= self._harmless:
            try:
                message = payload = unpackb(frame)
                if packb(message, None, OPTIONS) != frame:
                    message, payload = self._salvage(frame)
            except ValueError:
                message, payload = self._with_extensions(frame)
            except TypeError:  # a key that is no text
                message, payload = self._salvage(frame)
        else:
            with CollectorRests():
                message, payload = self._careful(frame)
            if payload is message:
                give_back(frame)
        if type(message) is not list or not message or type(message[0]) is not int:
            raise ProtocolError("bad-message", "a message is an array that starts with an operation")
        operation, size = message[0], len(message)
        if operation == ANSWER and size == 3 and self._ready:
            self._answer(
                message, payload
            )  # both stand in the table like the others, and are most of what comes
        elif operation == CALL and 6 <= size <= 8 and self._ready:
            self._call(message, payload)
        else:
            self._run(operation, size)(self, message, payload)
        return True

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

    def _careful(self, frame: Frame) -> tuple[Any, Any]:
        """Return a frame's message, and what its values are to be decoded from.

        Raises:
            ProtocolError: it breaks a limit, is no MessagePack, or not in the shortest spelling.
        """
        scanned = check_size(frame, self._limits)
        try:
            message = unpackb(frame)
        except ValueError:
            if has_no_extension(
                frame
            ):  # so it is something else; to find out by reading it again takes longer
                return self._salvage(frame, scanned)
            return self._with_extensions(frame, scanned)
        if not self._is_right(message, frame):
            return self._salvage(frame, scanned)
        return message, message

    def _with_extensions(self, frame: Frame, scanned: bool = False) -> tuple[Any, Any]:
        """The same as :meth:`_careful` for a frame that cannot be read without extensions."""
        try:
            message = unpackb(frame, ext_hook=Ext, option=OPT_NON_STR_KEYS)
        except ValueError:
            return self._salvage(frame, scanned)
        if not self._is_right(message, frame):
            return self._salvage(frame, scanned)
        return message, _Coded(frame)

    def _is_right(self, message: Any, frame: Frame) -> bool:
        """Whether a message is in the one spelling, and not nested too deep."""
        depth = self._limits.depth
        return _is_spelled(message, frame) and not (
            len(frame) > depth < MAX_PLAIN_DEPTH and _is_deeper(message, depth)
        )

    def _salvage(self, frame: Frame, scanned: bool = False) -> tuple[Any, Any]:
        """Return the head of a message whose values cannot be read, although its structure is right.

        Args:
            frame: which holds it.
            scanned: whether the structure is known to be right.

        Raises:
            ProtocolError: it is not, or its head cannot be read either.
        """
        if not scanned:
            scan(frame, self._limits)
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

    def _hello(self, message: list[Any], payload: Any) -> None:
        _, version, features = message
        if self._ready:
            raise ProtocolError("bad-version", "a peer says hello once")
        if type(version) is not int or version != VERSION or type(features) is not dict:
            raise ProtocolError("bad-version", f"this is version {VERSION} of the protocol")
        self._ready = True
        self.features = _WITH_OPTIONAL[tuple(features.get(key) is True for key in _OPTIONAL)]
        self._receiver.on_ready()

    def _call(self, message: list[Any], payload: Any) -> None:
        target = message[2]
        if type(target) is list and len(target) == 1:
            target = AnswerOf(_id(target[0]))
        elif not (type(target) is int and target >= 0) and not (type(target) is str and len(target) <= 256):
            raise ProtocolError(
                "bad-id", "an object id is a positive integer or a name, or a call's in an array"
            )
        seconds = None
        if type(message[4]) is list:
            message[4], seconds = _limited(message[4])
        self._check_call(message)
        flags = message[4]
        if flags not in _CALL_FLAGS:
            raise _no_such_flag()
        hangs_on = _hangs_on(message[7]) if len(message) > 7 else ()
        self._receiver.on_call(
            message[1],
            target,
            message[3],
            flags & WANTS_ANSWER != 0,
            payload,
            flags & KEEP_ANSWER != 0,
            hangs_on,
            seconds,
        )

    def _update(self, message: list[Any], payload: Any) -> None:
        luid = _id(message[2])
        self._check_call(message)
        if message[4] not in _UPDATE_FLAGS:
            raise _no_such_flag()
        self._receiver.on_update(message[1], luid, message[3], message[4] == 1, payload)

    def _check_call(self, message: list[Any]) -> None:
        """Judge the request, the method's name and the flags of a call."""
        request, name, flags = message[1], message[3], message[4]
        if type(request) is not int or request < 0:
            raise ProtocolError("bad-id", "an id is a positive integer")
        if type(name) is not str:
            raise ProtocolError("bad-message", "a method's name is text")
        if self._is_long(name):
            raise ProtocolError(
                "limit-name", f"a method's name may have {self._limits.method_name_bytes} bytes"
            )
        if type(flags) is not int:
            raise _no_such_flag()

    def _is_long(self, name: str) -> bool:
        limit = self._limits.method_name_bytes
        return len(name) * 4 > limit and len(name.encode("utf-8", "replace")) > limit

    def _answer(self, message: list[Any], payload: Any) -> None:
        self._receiver.on_answer(_id(message[1]), payload)

    def _error(self, message: list[Any], payload: Any) -> None:
        self._receiver.on_error(_id(message[1]), payload)

    def _release(self, message: list[Any], payload: Any) -> None:
        if len(message) % 2 == 0:
            raise ProtocolError("bad-message", "a release with an id that has no count")
        for at in range(1, len(message), 2):
            self._receiver.on_release(_id(message[at]), _count(message[at + 1]))

    def _decache(self, message: list[Any], payload: Any) -> None:
        self._receiver.on_decache(_id(message[1]), _count(message[2]))

    def _uncache(self, message: list[Any], payload: Any) -> None:
        self._receiver.on_uncache(_id(message[1]))

    def _forget(self, message: list[Any], payload: Any) -> None:
        self._receiver.on_forget(_id(message[1]))

    def _cancel(self, message: list[Any], payload: Any) -> None:
        self._receiver.on_cancel(_id(message[1]))

    def _ping(self, message: list[Any], payload: Any) -> None:
        self._pings += 1
        if self._pings > MAX_PINGS_AT_ONCE:
            raise ProtocolError("too-many-pings", "a peer waits for its pong before it asks again")
        self._receiver.on_ping(_ping_bytes(message[1]))

    def _pong(self, message: list[Any], payload: Any) -> None:
        self._receiver.on_pong(_ping_bytes(message[1]))

    def _farewell(self, message: list[Any], payload: Any) -> None:
        _, code, reason = message
        if type(code) is not str or type(reason) is not str:
            raise ProtocolError("bad-message", "a farewell has a code and a reason")
        self._receiver.on_farewell(code, reason)

    def _draining(self, message: list[Any], payload: Any) -> None:
        self._receiver.on_draining()

    def _values(self, payload: Any, perspective: Any) -> list[Any]:
        """Return the message whose values are wanted, every one of them built."""
        if type(payload) is list:
            return payload
        unpacker = Unpacker(
            self._importer,
            perspective,
            self._readers,
            self._refused,
            self._registry,
            self._policy,
            self._limits,
        )
        if type(payload) is _Flawed:
            unpacker.give_back(payload.frame)
            raise payload.error
        return unpacker.unpack(payload.frame)

    def decode_arguments(self, arguments: Any, perspective: Any) -> tuple[Sequence[Any], Mapping[str, Any]]:
        message = arguments if type(arguments) is list else self._values(arguments, perspective)
        args = message[5]
        if type(args) is not list:
            raise BadArguments("positional arguments come as an array")
        kwargs = message[6] if len(message) > 6 else _NO_KEYWORDS
        if type(kwargs) is not dict or (kwargs and message is not arguments and not _is_text(kwargs)):
            raise BadArguments("keyword arguments come as a map with text as keys")
        if "self" in kwargs:  # a method has it already
            raise BadArguments("no keyword is called self")
        if self._refused:
            refuse_plain([*args, *kwargs.values()], self._refused)
        return args, kwargs

    def decode_value(self, payload: Any, perspective: Any) -> Any:
        value = self._values(payload, perspective)[2]
        if self._refused:
            refuse_plain([value], self._refused)
        return value

    def decode_error(self, payload: Any, perspective: Any) -> Exception:
        error = None
        with contextlib.suppress(CallError):
            error = self._values(payload, perspective)[2]
        return error if isinstance(error, Exception) else failure_in(None).as_exception(self._registry)

    # -- sending

    def encode_call(
        self,
        request: int,
        target: CallTarget,
        name: str,
        wants_answer: bool,
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
        perspective: Any,
    ) -> Message:
        return self._encode_message(CALL, request, target, name, wants_answer, args, kwargs, perspective)

    def encode_update(
        self,
        request: int,
        luid: int,
        name: str,
        wants_answer: bool,
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
        perspective: Any,
    ) -> Message:
        return self._encode_message(UPDATE, request, luid, name, wants_answer, args, kwargs, perspective)

    def _encode_message(
        self,
        operation: int,
        request: int,
        target: CallTarget,
        name: str,
        wants_answer: bool,
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
        perspective: Any,
    ) -> Message:
        where = [target.request] if type(target) is AnswerOf else target
        message: list[Any] = [
            operation,
            request,
            where,
            name,
            WANTS_ANSWER if wants_answer else 0,
            list(args),
        ]
        if kwargs:
            message.append(kwargs)
        try:
            if self._is_long(name):
                raise SerializationError(f"a method's name may have {self._limits.method_name_bytes} bytes")
            return self._encode(message, args, perspective)
        except SerializationError as error:
            raise with_path(error, args=args, kwargs=kwargs) from None

    def encode_answer(self, request: int, value: Any, perspective: Any) -> Message:
        try:
            return self._encode([ANSWER, request, value], (value,), perspective)
        except SerializationError as error:
            raise with_path(error, answer=value) from None

    def encode_error(self, request: int, error: BaseException, traceback: bool, perspective: Any) -> Message:
        if isinstance(error, Copyable):
            return self._encode([ERROR, request, error], (), perspective)
        failure = Packer(self._exporter, perspective, self._limits).failure(
            Failure.of(error, with_traceback=traceback)
        )
        body = packb([ERROR, request, failure])
        try:
            return self._framed(body)
        except SerializationError:
            if len(body) > ALWAYS_SENT:
                raise
            return _framed(body)

    def encode_releases(self, owed: Mapping[int, int]) -> bytes:
        return _framed(packb([RELEASE, *chain.from_iterable(owed.items())]))

    def encode_decache(self, luid: int, count: int) -> bytes:
        return _framed(packb([DECACHE, luid, count]))

    def encode_uncache(self, luid: int) -> bytes:
        return _framed(packb([UNCACHE, luid]))

    def encode_kept(self, message: Message) -> Message:
        """Return a call of ours with the wish that its answer be kept until :meth:`encode_forget`."""
        head = _head(message)
        pos = self._flags_in(head)
        if head[pos] == _PAIR:
            pos += 1
        return _headed(message, b"".join((head[:pos], bytes((head[pos] | KEEP_ANSWER,)), head[pos + 1 :])))

    def encode_due(self, message: Message, seconds: float) -> Message:
        """Return a call of ours with what its caller leaves it; unchanged when that is too much to be said."""
        milliseconds = seconds * 1000
        if not milliseconds <= MAX_MILLISECONDS:
            return message
        head = _head(message)
        pos = self._flags_in(head)
        left = packb(max(1, ceil(milliseconds)))
        size = len(message) - HEADER_BYTES + 1 + len(left)
        if size > self._limits.message_bytes:  # the call fits, and goes as it is
            return message
        limited = (
            frame_header(size), head[HEADER_BYTES:pos], bytes((_PAIR, head[pos])), left, head[pos + 1 :]
        )  # fmt: skip
        return _headed(message, b"".join(limited))

    def _flags_in(self, head: bytes) -> int:
        """Return where in a call of ours the flags stand: behind operation, request, target and name."""
        pos, _ = token(head, HEADER_BYTES, self._limits)
        return skip(head, pos, 4, self._limits)

    def encode_forget(self, request: int) -> bytes:
        """Return the notice that a kept answer will be mentioned no more."""
        return _framed(packb([FORGET, request]))

    def encode_cancel(self, request: int) -> bytes:
        """Return the wish that a call of ours be given up; its answer comes all the same."""
        return _framed(packb([CANCEL, request]))

    def encode_ping(self, payload: bytes) -> bytes:
        """Return a ping; the peer sends ``payload``, at most 125 bytes, back as a pong."""
        return _framed(packb([PING, payload]))

    def encode_pong(self, payload: bytes) -> bytes:
        """Return what a ping asks for."""
        return _framed(packb([PONG, payload]))

    def encode_farewell(self, code: str, reason: str) -> bytes:
        """Return the last message of a connection that this side ends."""
        return _framed(packb([FAREWELL, code, reason]))

    def encode_draining(self) -> bytes:
        """Return the notice that this side takes no new calls."""
        return _framed(packb([DRAINING]))

    def rank(self, message: Message) -> tuple[Rank, int]:
        """Return what a message of ours may pass on its way out, and the request that it is or is about."""
        head = _head(message)
        operation = head[HEADER_BYTES + 1]
        rank = _RANKS.get(operation, Rank.AT_ONCE)
        if rank is not Rank.CALL and operation != CANCEL:
            return rank, 0
        start = HEADER_BYTES + 2
        end = skip(head, start, 1, self._limits)
        return rank, unpackb(head[start:end])

    def piece(
        self, message: Message, sent: int, number: int, room: int = 0
    ) -> tuple[list[bytes | memoryview], int]:
        """Return the next piece of a message of ours, header and content, and how much of it has left then.

        Args:
            message: of which.
            sent: how much of it has left.
            number: under which its pieces travel.
            room: bytes that may be one piece although it is longer than pieces are.
        """
        start = max(sent, HEADER_BYTES)
        end = len(message)
        most = max(PIECE_BYTES, room)
        if end - start > most + PIECE_BYTES // 4:  # what is hardly more leaves as one, too
            end = start + most
        piece: list[bytes | memoryview] = [piece_header(end - start, number, end == len(message))]
        if isinstance(message, InParts):
            piece += message.cut(start, end)
        else:
            piece.append(memoryview(message)[start:end])
        return piece, end

    def forget_unfinished(self) -> None:
        """Nothing more will come: let go of what is incomplete."""
        self._frames = Frames(self._limits)
        self.unfinished = self._frames.unfinished

    def _encode(self, message: list[Any], values: Sequence[Any], perspective: Any) -> Message:
        """Return a frame; ``values`` are where large bytes, and what is not plain, is looked for."""
        look = look_at(values)
        if look is NOT_PLAIN:
            return self._encode_rich(message, values, perspective)
        try:
            if look is LARGE_BYTES:
                return self._in_parts(list(pieces(message, _pack_plain)))
            body = packb(message, None, OPTIONS)
        except TypeError:
            return self._encode_rich(message, values, perspective)
        if len(body) <= self._harmless:
            return frame_header(len(body)) + body
        return self._framed(body)

    def _encode_rich(self, message: list[Any], values: Sequence[Any], perspective: Any) -> bytes:
        """Return a frame of a message with values that MessagePack does not have by itself."""
        packer = Packer(self._exporter, perspective, self._limits)
        try:
            body = packer.pack(message, type(message[-1]) is not dict and not _has_containers(values))
            if packer.hangs_on:
                if message[0] != CALL or len(packer.hangs_on) > MAX_HANGS_ON:
                    raise SerializationError(
                        f"only a call may mention promises, at most {MAX_HANGS_ON} of them"
                    )
                body = _with_hangs_on(body, len(message), list(packer.hangs_on))
            if packer.nested > nested_bytes(len(body)):
                raise SerializationError("nested too deep for a message of its size")
            return self._framed(body)
        except BaseException:
            packer.rollback()
            raise

    def _in_parts(self, parts: list[tuple[bytes, bool]]) -> Message:
        """Return a frame made of :func:`pieces`; what is large leaves without being copied, if it may.

        Raises:
            SerializationError: the peer will not take it.
        """
        limits = self._limits
        size = sum([len(part) for part, _ in parts])
        large = [len(part) for part, is_large in parts if is_large]
        if (
            size < LARGE_MESSAGE
            or PIECES not in self.features
            # The rest is judged as if every byte of it were a value; what has more is joined and looked at.
            or size - sum(large) > limits.nodes
            or max(large) > limits.large_string_bytes
            or size > limits.message_bytes
            or limits.depth < MAX_PLAIN_DEPTH
        ):
            return self._framed(b"".join([part for part, _ in parts]))
        out: list[bytes] = []
        small = [frame_header(size)]
        for part, is_large in parts:
            if is_large:
                out += (b"".join(small), part)
                small = []
            else:
                small.append(part)
        return InParts([*out, b"".join(small)])

    def _framed(self, body: bytes) -> bytes:
        """Return a frame that a peer with our limits will take: an honest value must not cost the connection.

        Raises:
            SerializationError: it will not.
        """
        frame = _framed(body)
        if len(frame) - HEADER_BYTES > self._harmless:
            self._check(frame)
        return frame

    def _check(self, frame: bytes) -> None:
        limits = self._limits
        if len(frame) - HEADER_BYTES > limits.message_bytes:
            raise SerializationError(f"a message of {len(frame)} bytes; peers read {limits.message_bytes}")
        try:
            check_size(memoryview(frame)[HEADER_BYTES:], limits)
        except ProtocolError as refusal:
            raise SerializationError(refusal.reason) from None
        if limits.depth < MAX_PLAIN_DEPTH and _is_deeper(
            unpackb(frame[HEADER_BYTES:], ext_hook=Ext), limits.depth
        ):
            raise SerializationError(f"nested too deep; a message may have {limits.depth} levels")


def _with_hangs_on(body: bytes, items: int, hangs_on: list[int]) -> bytes:
    """Return a call with its last field: whose answers its arguments mention, which is known when they are packed."""
    keywords = b"" if items == 7 else packb({})
    return b"".join((bytes((0x98,)), body[1:], keywords, packb(hangs_on)))


def _has_containers(values: Sequence[Any]) -> bool:
    return any(type(value) is list or type(value) is dict for value in values)


def _head(message: Message) -> bytes:
    """Return what a message of ours begins with, its head at least."""
    return message.parts[0] if isinstance(message, InParts) else message


def _headed(message: Message, head: bytes) -> Message:
    """Return a message of ours with another :func:`_head`."""
    return message.headed(head) if isinstance(message, InParts) else head


def _framed(body: bytes) -> bytes:
    return frame_header(len(body)) + body


def _pack_plain(value: Any) -> bytes:
    return packb(value, None, OPTIONS)


def _is_spelled(message: Any, frame: Frame) -> bool:
    """Return whether a frame is the spelling, the only one, of the message that was read from it."""
    try:
        if len(frame) <= LARGE or type(message) is not list:
            return packb(message, None, OPTIONS) == frame
        pos = 0
        for piece, is_large in pieces(message, _pack_plain):
            # A large object was read from where it stands now: behind what has the one spelling so far.
            if not is_large and not frame.startswith(piece, pos):
                return False
            pos += len(piece)
        return pos == len(frame)
    except TypeError:  # a key that is no text, or nested deeper than the codec packs
        return False


def _is_deeper(value: Any, depth: int) -> bool:
    """Return whether lists and dictionaries are nested more than ``depth`` deep."""
    level = [value]
    for _ in range(depth):
        inner: list[Any] = []
        for container in level:
            if type(container) is list:
                inner += container
            elif type(container) is dict:
                inner += container.values()
        level = [item for item in inner if type(item) is list or type(item) is dict]
        if not level:
            return False
    return True


#: What is kept is an answer that is wanted.
_CALL_FLAGS: Final = (0, WANTS_ANSWER, WANTS_ANSWER | KEEP_ANSWER)
_UPDATE_FLAGS: Final = (0, WANTS_ANSWER)

#: Operation -> what a message may pass; the others pass everything.
_RANKS: Final[dict[int, Rank]] = {
    CALL: Rank.CALL,
    UPDATE: Rank.CALL,
    ANSWER: Rank.ANSWER,
    ERROR: Rank.ANSWER,
    RELEASE: Rank.GIVES_BACK,
    DECACHE: Rank.GIVES_BACK,
    UNCACHE: Rank.GIVES_BACK,
    FORGET: Rank.GIVES_BACK,
    FAREWELL: Rank.GIVES_BACK,
}

_NO_KEYWORDS: Final[dict[str, Any]] = {}

_Operation = Callable[[Pb7Dialect, list[Any], Any], None]

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


def _id(value: Any) -> int:
    # More than 64 bits do not arrive as an integer, so an id is always a harmless key.
    if type(value) is int and value >= 0:
        return value
    raise ProtocolError("bad-id", "an id is a positive integer")


def _no_such_flag() -> ProtocolError:
    return ProtocolError("bad-message", "flags that do not exist")


def _limited(value: list[Any]) -> tuple[int, float]:
    """Return the flags of a call, and the seconds that its caller leaves it."""
    if len(value) == 2:
        flags, milliseconds = value
        if (
            type(flags) is int
            and flags & WANTS_ANSWER
            and type(milliseconds) is int
            and 0 < milliseconds <= MAX_MILLISECONDS
        ):
            return flags, milliseconds / 1000
    raise ProtocolError("bad-message", "a time that a call cannot have")


def _hangs_on(value: Any) -> list[int]:
    if type(value) is not list or not 0 < len(value) <= MAX_HANGS_ON:
        raise ProtocolError("bad-message", "what a call hangs on is an array of ids")
    return [_id(request) for request in value]


def _count(value: Any) -> int:
    if type(value) is int and value > 0:
        return value
    raise ProtocolError("refcount", "a count is a positive integer")


def _is_text(keys: Iterable[Any]) -> bool:
    return all(type(key) is str for key in keys)


def _ping_bytes(data: Any) -> bytes:
    if type(data) is bytes and len(data) <= MAX_PING_BYTES:
        return data
    raise ProtocolError("bad-message", f"a ping carries at most {MAX_PING_BYTES} bytes")
