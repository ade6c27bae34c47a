"""Encode the operations of this side as frames, and change or divide a frame before it is sent.

Most messages take one call of the codec in C. Values that are not plain go through a :class:`~.packing.Packer`. Large
bytes objects are not joined, and are sent in pieces.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from itertools import chain
from math import ceil
from typing import Final

from ormsgpack import Ext, packb, unpackb

from ...errors import ProtocolError, SerializationError
from ...flavors import ALWAYS_SENT, Failure, Registry, is_copied
from ...limits import CONTAINER_NODES, Limits
from ...ports import (
    LARGE_MESSAGE,
    CallTarget,
    Exporter,
    Feature,
    InParts,
    Message,
    Perspective,
    PromisedAnswer,
    Rank,
    SharedArguments,
    SharedExporter,
    Value,
    Writer,
)
from ..paths import too_large, with_path
from .codes import (
    ANSWER,
    CALL,
    CANCEL,
    DECACHE,
    DRAINING,
    ERROR,
    FAREWELL,
    FORGET,
    KEEP_ANSWER,
    MAX_MILLISECONDS,
    PING,
    PONG,
    PROMISE,
    RELEASE,
    REMOTE,
    UNCACHE,
    UPDATE,
    WANTS_ANSWER,
)
from .frames import HEADER_BYTES, PIECE_BYTES, frame_header, piece_header
from .large import LARGE, LARGE_BYTES, NOT_PLAIN, OPTIONS, has_large, look_at, pack_plain, pieces
from .packing import MAX_PLAIN_DEPTH, Packer, id_bytes, nested_bytes
from .scanning import check_size, only_reference, skip, token

__all__ = [
    "FEATURES",
    "MAX_DEPENDS_ON",
    "Pb7Writer",
    "framed",
    "harmless",
    "is_deeper",
    "is_long",
]

#: Answers to which one call may refer.
MAX_DEPENDS_ON: Final = 1024

#: Bytes of one message: the length of a frame has 31 bits. (A peer may send a longer message in pieces.)
_MOST_BYTES: Final = 0x7FFF_FFFF

#: First byte of flags with a deadline: an array of two.
_PAIR: Final = 0x92

#: Features that every peer understands.
FEATURES: Final = frozenset({Feature.CANCEL, Feature.FAREWELL, Feature.PING, Feature.PIPELINING})


class Pb7Writer(Writer):
    """Encode the operations of one connection in pb7.

    Args:
        exporter: turns our objects into ids.
        limits: of the connection; the peer is assumed to have the same.
        registry: the classes that cross as values.
    """

    def __init__(self, exporter: Exporter, limits: Limits, registry: Registry) -> None:
        super().__init__("pb7", FEATURES)
        self._exporter = exporter
        self._registry = registry
        self._limits = limits
        #: Frames up to this size are not checked any further.
        self._harmless = harmless(limits)

    def use_limits(self, limits: Limits) -> None:
        self._limits = limits
        self._harmless = harmless(limits)

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
        return self._encode_message(CALL, request, target, name, wants_answer, args, kwargs, perspective)

    def encode_update(
        self,
        request: int,
        luid: int,
        name: str,
        wants_answer: bool,
        args: tuple[Value, ...],
        kwargs: dict[str, Value],
        perspective: Perspective,
    ) -> Message:
        return self._encode_message(UPDATE, request, luid, name, wants_answer, args, kwargs, perspective)

    def _encode_message(
        self,
        operation: int,
        request: int,
        target: CallTarget,
        name: str,
        wants_answer: bool,
        args: tuple[Value, ...],
        kwargs: dict[str, Value],
        perspective: Perspective,
    ) -> Message:
        where = [target.request] if type(target) is PromisedAnswer else target
        if type(args) is not tuple and isinstance(args, SharedArguments):  # nearly always it is a tuple
            return self._encode_shared(operation, request, where, name, wants_answer, args, kwargs)
        message: list[Value] = [
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
            if is_long(name, self._limits):
                raise SerializationError(
                    f"a method's name may have {self._limits.method_name_bytes} bytes (Limits.method_name_bytes)"
                )
            return self._encode(message, args, perspective)
        except SerializationError as error:
            raise with_path(error, args=args, kwargs=kwargs) from None

    def _encode_shared(
        self,
        operation: int,
        request: int,
        where: Value,
        name: str,
        wants_answer: bool,
        args: SharedArguments,
        kwargs: dict[str, Value],
    ) -> Message:
        """Return the message of one of many calls that differ in request and target alone."""
        key = (wants_answer, self.features, self._registry)
        fields = args.find(key)
        if fields is None:
            fields = args.encode(key, partial(self._encode_fields, name, wants_answer, args, kwargs))
        head = packb([operation, request, where])
        size = len(head) + len(fields)
        self._check_bytes(size)
        return b"".join((frame_header(size), bytes((0x97 if kwargs else 0x96,)), head[1:], fields))

    def _encode_fields(
        self, name: str, wants_answer: bool, args: SharedArguments, kwargs: dict[str, Value]
    ) -> bytes:
        """Return the fields of a call from its name on.

        Raises:
            SerializationError: the arguments cannot cross, or contain a reference.
        """
        alone = Pb7Writer(SharedExporter(), self._limits, self._registry)
        alone.use_features(self.features - {Feature.PIECES})
        message = alone._encode_message(CALL, 0, 0, name, wants_answer, tuple(args), kwargs, None)
        assert isinstance(message, bytes)
        return message[HEADER_BYTES + len(packb([CALL, 0, 0])) :]

    def encode_answer(self, request: int, value: Value, perspective: Perspective) -> Message:
        try:
            return self._encode([ANSWER, request, value], (value,), perspective)
        except SerializationError as error:
            raise with_path(error, answer=value) from None

    def encode_error(
        self, request: int, error: BaseException, traceback: bool, perspective: Perspective
    ) -> Message:
        if is_copied(error):
            return self._encode([ERROR, request, error], (), perspective)
        registry = self._registry if Feature.MORE_VALUES in self.features else None
        failure = Failure.of(error, with_traceback=traceback, registry=registry)
        if failure.fields is not None:
            return self._encode([ERROR, request, failure], (failure,), perspective)
        body = packb([ERROR, request, self._packer(perspective).failure(failure)])
        try:
            return self._framed(body)
        except SerializationError:
            if len(body) > ALWAYS_SENT:
                raise
            return framed(body)

    def encode_dropped(self, request: int, because: int) -> bytes:
        return framed(packb([ERROR, request, Ext(PROMISE, id_bytes(because))]))

    def object_answered(self, message: Message) -> int | None:
        return None if isinstance(message, InParts) else only_reference(message[HEADER_BYTES:], REMOTE)

    def encode_releases(self, owed: Mapping[int, int]) -> bytes:
        return framed(packb([RELEASE, *chain.from_iterable(owed.items())]))

    def encode_decache(self, luid: int, count: int) -> bytes:
        return framed(packb([DECACHE, luid, count]))

    def encode_uncache(self, luid: int) -> bytes:
        return framed(packb([UNCACHE, luid]))

    def encode_kept(self, message: Message) -> Message:
        head = _head(message)
        pos = self._flags_in(head)
        if head[pos] == _PAIR:
            pos += 1
        return _headed(message, b"".join((head[:pos], bytes((head[pos] | KEEP_ANSWER,)), head[pos + 1 :])))

    def encode_due(self, message: Message, seconds: float) -> Message:
        milliseconds = seconds * 1000
        if not milliseconds <= MAX_MILLISECONDS:
            return message
        head = _head(message)
        pos = self._flags_in(head)
        left = packb(max(1, ceil(milliseconds)))
        size = len(message) - HEADER_BYTES + 1 + len(left)
        if size > self._limits.message_bytes:  # the call itself fits, so it is sent without the deadline
            return message
        limited = (
            frame_header(size), head[HEADER_BYTES:pos], bytes((_PAIR, head[pos])), left, head[pos + 1 :]
        )  # fmt: skip
        return _headed(message, b"".join(limited))

    def _flags_in(self, head: bytes) -> int:
        """Return the position of the flags in a call: after operation, request, target and name."""
        pos, _ = token(head, HEADER_BYTES, self._limits)
        return skip(head, pos, 4, self._limits)

    def encode_forget(self, request: int) -> bytes:
        return framed(packb([FORGET, request]))

    def encode_cancel(self, request: int) -> bytes:
        return framed(packb([CANCEL, request]))

    def encode_ping(self, payload: bytes) -> bytes:
        return framed(packb([PING, payload]))

    def encode_pong(self, payload: bytes) -> bytes:
        return framed(packb([PONG, payload]))

    def encode_farewell(self, code: str, reason: str) -> bytes:
        return framed(packb([FAREWELL, code, reason]))

    def encode_draining(self) -> bytes:
        return framed(packb([DRAINING]))

    def rank(self, message: Message) -> tuple[Rank, int]:
        head = _head(message)
        # The array of a release may have so many fields that its header is longer than one byte.
        pos, _ = token(head, HEADER_BYTES, self._limits)
        operation = head[pos]
        rank = _RANKS.get(operation, Rank.AT_ONCE)
        if rank is not Rank.CALL and operation != CANCEL:
            return rank, 0
        end = skip(head, pos + 1, 1, self._limits)
        return rank, unpackb(head[pos + 1 : end])

    def piece(
        self, message: Message, sent: int, number: int, room: int = 0
    ) -> tuple[list[bytes | memoryview], int]:
        start = max(sent, HEADER_BYTES)
        end = len(message)
        most = max(PIECE_BYTES, room)
        if end - start > most + PIECE_BYTES // 4:  # a rest that is only slightly longer is sent as one piece
            end = start + most
        piece: list[bytes | memoryview] = [piece_header(end - start, number, end == len(message))]
        if isinstance(message, InParts):
            piece += message.cut(start, end)
        else:
            piece.append(memoryview(message)[start:end])
        return piece, end

    def _encode(self, message: list[Value], values: Sequence[Value], perspective: Perspective) -> Message:
        """Return a frame; ``values`` are searched for large bytes and for types that are not plain."""
        look = look_at(values)
        if look is NOT_PLAIN:
            return self._encode_rich(message, values, perspective)
        try:
            if look is LARGE_BYTES:
                return self._in_parts(list(pieces(message, pack_plain)))
            body: bytes = packb(message, None, OPTIONS)  # which the compiler does not know
        except TypeError:
            return self._encode_rich(message, values, perspective)
        if len(body) <= self._harmless:
            return frame_header(len(body)) + body
        return self._framed(body)

    def _encode_rich(
        self, message: list[Value], values: Sequence[Value], perspective: Perspective
    ) -> Message:
        """Return the frame of a message with types that MessagePack does not have."""
        packer = self._packer(perspective)
        try:
            if has_large(values) and Feature.MORE_VALUES in self.features:
                parts = list(pieces(message, packer.pack, self._limits.large_string_bytes))
                if not packer.depends_on and packer.nested <= nested_bytes(
                    sum(len(part) for part, _ in parts)
                ):
                    return self._in_parts(parts)
                body = b"".join([part for part, _ in parts])
            else:
                body = packer.pack(message, type(message[-1]) is not dict and not _has_containers(values))
            if packer.depends_on:
                if message[0] != CALL or len(packer.depends_on) > MAX_DEPENDS_ON:
                    raise SerializationError(
                        f"only a call may contain promises, at most {MAX_DEPENDS_ON} of them"
                    )
                body = _with_dependencies(body, len(message), list(packer.depends_on))
            if packer.nested > nested_bytes(len(body)):
                raise SerializationError("nested too deep for a message of its size")
            return self._framed(body)
        except BaseException:
            packer.rollback()
            raise

    def _packer(self, perspective: Perspective) -> Packer:
        has_more = Feature.MORE_VALUES in self.features
        return Packer(self._exporter, perspective, self._limits, self._registry, has_more)

    def _in_parts(self, parts: list[tuple[bytes | memoryview, bool]]) -> Message:
        """Return a frame made from :func:`pieces`; large bytes objects are sent without a copy, if possible.

        Raises:
            SerializationError: the peer would not accept it.
        """
        limits = self._limits
        size = sum([len(part) for part, _ in parts])
        self._check_bytes(size)
        large = [len(part) for part, is_large in parts if is_large]
        if (
            size < LARGE_MESSAGE
            or Feature.PIECES not in self.features
            # Without a scan, each byte of the rest counts as a container. If that is too much, join and scan it.
            or size - sum(large) > limits.nodes // CONTAINER_NODES
            or max(large) > limits.large_string_bytes
            or limits.depth < MAX_PLAIN_DEPTH
        ):
            return self._framed(b"".join([part for part, _ in parts]))
        out: list[bytes | memoryview] = []
        small: list[bytes | memoryview] = [frame_header(size)]
        for part, is_large in parts:
            if is_large:
                out += (b"".join(small), part)
                small = []
            else:
                small.append(part)
        return InParts([*out, b"".join(small)])

    def _framed(self, body: bytes) -> bytes:
        """Return a frame that a peer with our limits accepts: an honest value must not end the connection.

        Raises:
            SerializationError: it exceeds a limit.
        """
        if len(body) <= self._harmless:
            return framed(body)
        self._check_bytes(len(body))
        frame = framed(body)
        self._check(frame)
        return frame

    def _check_bytes(self, size: int) -> None:
        """Raise an error if the peer, or a frame, does not allow a body of ``size`` bytes."""
        if size > self._limits.message_bytes:
            raise too_large(HEADER_BYTES + size, self._limits)
        if size > _MOST_BYTES:
            raise SerializationError(f"a message may have at most {_MOST_BYTES} bytes")

    def _check(self, frame: bytes) -> None:
        limits = self._limits
        try:
            check_size(memoryview(frame)[HEADER_BYTES:], limits)
        except ProtocolError as refusal:
            raise SerializationError(refusal.reason) from None
        if limits.depth < MAX_PLAIN_DEPTH and is_deeper(
            unpackb(frame[HEADER_BYTES:], ext_hook=Ext), limits.depth
        ):
            raise SerializationError(
                f"nested too deep; a message may have {limits.depth} levels (Limits.depth)"
            )


def harmless(limits: Limits) -> int:
    """Return the size up to which a frame cannot exceed a limit, and cannot contain a large value."""
    most = min(LARGE, limits.nodes // CONTAINER_NODES, limits.large_string_bytes, limits.message_bytes)
    return min(most, limits.depth) if limits.depth < MAX_PLAIN_DEPTH else most


def _with_dependencies(body: bytes, items: int, depends_on: list[int]) -> bytes:
    """Return a call with its last field, the calls to whose answers it refers: known after its arguments are packed."""
    keywords = b"" if items == 7 else packb({})
    return b"".join((bytes((0x98,)), body[1:], keywords, packb(depends_on)))


def _has_containers(values: Sequence[Value]) -> bool:
    return any(type(value) is list or type(value) is dict for value in values)


def _head(message: Message) -> bytes:
    """Return the first part of a message, which contains its head."""
    head = message.parts[0] if isinstance(message, InParts) else message
    assert isinstance(head, bytes)
    return head


def _headed(message: Message, head: bytes) -> Message:
    """Return a message with another :func:`_head`."""
    return message.headed(head) if isinstance(message, InParts) else head


def is_long(name: str, limits: Limits) -> bool:
    """Return whether a method's name is longer than it may be."""
    limit = limits.method_name_bytes
    return len(name) * 4 > limit and len(name.encode("utf-8", "replace")) > limit


def framed(body: bytes) -> bytes:
    return frame_header(len(body)) + body


def is_deeper(value: Value, depth: int) -> bool:
    """Return whether lists and dictionaries are nested more than ``depth`` deep."""
    level = [value]
    for _ in range(depth):
        inner: list[Value] = []
        for container in level:
            if type(container) is list:
                inner += container
            elif type(container) is dict:
                inner += container.values()
        level = [item for item in inner if type(item) is list or type(item) is dict]
        if not level:
            return False
    return True


#: Operation -> rank of its messages; the others are sent at once.
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
