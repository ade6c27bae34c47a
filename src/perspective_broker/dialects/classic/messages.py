"""The classic dialects, ``pb`` and ``none``: protocol version 6 of Perspective Broker, in use since 2002."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Final

from ...errors import BadArguments, CallError, ProtocolError
from ...flavors import Policy, Registry
from ...limits import NODE_BYTES, Limits
from ...native_path import unjelly_plain
from ...ports import (
    DELIVERED,
    NEEDS_DATA,
    Data,
    Dialect,
    Exporter,
    Importer,
    ObjectId,
    Perspective,
    Receiver,
    Undecoded,
    Value,
)
from ..building import MAX_KEY_BITS
from ..collector import LARGE_MESSAGE, gc_paused
from .banana import NEED_MORE, Decoder, encode
from .failures import failure_from_payload
from .unjelly import Unjellier, allows_plain, readers_for
from .vocabulary import Spelling
from .work import most_units
from .writing import ClassicWriter

__all__ = ["ClassicDialect"]

VERSION: Final = 6


#: Unknown commands of one connection that are answered. An honest peer sends a few, and each reply takes memory.
MAX_COMPLAINTS: Final = 256


class ClassicDialect(Dialect):
    """One connection's classic dialect; see :class:`perspective_broker.ports.Dialect` for the contract.

    Args:
        spelling: which of the two dialects.
        receiver: gets the operations.
        exporter: turns our objects into ids.
        importer: turns the peer's ids into objects.
        limits: what the peer may send.
        registry: what type tags mean.
        policy: what may be received.
        writer: encodes the operations of this side; None for the usual one.
        natively: whether the native path may decode plain values; not where a subclass has an unjellier of its own.
    """

    def __init__(
        self,
        spelling: Spelling,
        receiver: Receiver,
        exporter: Exporter,
        importer: Importer,
        limits: Limits,
        registry: Registry,
        policy: Policy,
        writer: ClassicWriter | None = None,
        natively: bool = True,
    ) -> None:
        if writer is None:
            writer = ClassicWriter(spelling, exporter, limits, registry)
        super().__init__(writer)
        self._writer = writer
        self._receiver = receiver
        self._importer = importer
        self._registry = registry
        self._policy = policy
        self._readers = readers_for(policy)
        self._natively = natively and unjelly_plain is not None and allows_plain(policy)
        self._decoder = Decoder(limits, spelling.has_words)
        self._most_units = most_units(limits)
        self._ready = False
        self._complaints = 0

    def open(self) -> None:
        self._receiver.send(encode([b"version", VERSION], self._writer.spelling))

    def use_limits(self, limits: Limits) -> None:
        self._writer.use_limits(limits)
        self._decoder.limits = limits
        self._most_units = most_units(limits)

    def receive_data(self, data: Data) -> None:
        self._decoder.receive_data(data)

    @property
    def mid_message(self) -> int:
        return self._decoder.mid_message

    @property
    def last_size(self) -> int:
        return self._decoder.last_size

    @property
    def last_weight(self) -> int:
        return self._decoder.last_size + NODE_BYTES * self._decoder.last_nodes

    def next_message(self) -> int:
        message = self._decoder.next()
        if message is NEED_MORE:
            return NEEDS_DATA
        if type(message) is not list or not message or type(message[0]) is not bytes:
            raise ProtocolError("bad-message", "a message is a list that starts with a command")
        command = _COMMANDS.get(message[0])
        if command is None:
            self._not_understood(message[0])
            return DELIVERED
        fields, run = command
        if len(message) != fields:
            raise ProtocolError("bad-message", f"{message[0].decode()} has {fields - 1} fields")
        if not self._ready and message[0] != b"version":
            raise ProtocolError("bad-version", "the first message must be version")
        run(self, message)
        return DELIVERED

    def _not_understood(self, command: bytes) -> None:
        try:
            name = command.decode()
        except UnicodeDecodeError:
            raise ProtocolError("bad-message", "a command is text") from None
        self._complaints += 1
        if self._complaints > MAX_COMPLAINTS:
            raise ProtocolError("bad-message", "too many commands that are not known")
        shown = name[:32].encode("ascii", "replace")
        self._receiver.send(encode([b"didNotUnderstand", shown], self._writer.spelling))

    def _version(self, message: list[Undecoded]) -> None:
        if self._ready:
            raise ProtocolError("bad-version", "version is sent once")
        if type(message[1]) is not int or message[1] != VERSION:
            raise ProtocolError("bad-version", f"this is version {VERSION} of the protocol")
        self._ready = True
        self._receiver.on_ready()

    def _did_not_understand(self, message: list[Undecoded]) -> None:
        self._receiver.on_complaint("the peer does not know a command of ours")

    def _message(self, message: list[Undecoded]) -> None:
        _, request, target, name, wants_answer, args, kwargs = message
        self._receiver.on_call(
            _request_id(request),
            _object_id(target),
            self._method_name(name),
            _wants_answer(wants_answer),
            (args, kwargs),
        )

    def _cachemessage(self, message: list[Undecoded]) -> None:
        _, request, luid, name, wants_answer, args, kwargs = message
        self._receiver.on_update(
            _request_id(request),
            _cache_id(luid),
            self._method_name(name),
            _wants_answer(wants_answer),
            (args, kwargs),
        )

    def _method_name(self, name: object) -> str:
        if type(name) is not bytes:
            raise ProtocolError("bad-message", "a method's name is a string")
        limit = self._decoder.limits.method_name_bytes
        if len(name) > limit:
            raise ProtocolError(
                "limit-name", f"a method's name may have {limit} bytes (Limits.method_name_bytes)"
            )
        try:
            return name.decode()
        except UnicodeDecodeError:
            raise ProtocolError("bad-message", "a method's name is text") from None

    def _answer(self, message: list[Undecoded]) -> None:
        self._receiver.on_answer(_request_id(message[1]), message[2])

    def _error(self, message: list[Undecoded]) -> None:
        self._receiver.on_error(_request_id(message[1]), message[2])

    def _decref(self, message: list[Undecoded]) -> None:
        self._receiver.on_release(_object_id(message[1]), 1)

    def _decache(self, message: list[Undecoded]) -> None:
        self._receiver.on_decache(_cache_id(message[1]), 1)

    def _uncache(self, message: list[Undecoded]) -> None:
        self._receiver.on_uncache(_cache_id(message[1]))

    def _unjellier(self, perspective: Perspective) -> Unjellier:
        return Unjellier(
            self._importer, perspective, self._readers, self._registry, self._policy, self._most_units
        )

    def _unjelly(self, jelly: Undecoded, perspective: Perspective) -> Value:
        """Return the value that ``jelly`` represents, see :meth:`Unjellier.unjelly`."""
        # This is the size of the message that was read last, which is nearly always this one.
        if self._decoder.last_size < LARGE_MESSAGE:
            return self._unjelly_now(jelly, perspective)
        with gc_paused():
            return self._unjelly_now(jelly, perspective)

    def _unjelly_now(self, jelly: Undecoded, perspective: Perspective) -> Value:
        if self._natively and type(jelly) is list:
            assert unjelly_plain is not None
            found = unjelly_plain(jelly, self._most_units)
            if found is not None:
                return found[0]
        return self._unjellier(perspective).unjelly(jelly)

    def decode_arguments(
        self, arguments: Undecoded, perspective: Perspective
    ) -> tuple[Sequence[Value], Mapping[str, Value]]:
        net_args, net_kwargs = arguments
        # These are two values on the wire: an object that is in both does not stay shared.
        try:
            args = self._unjelly(net_args, perspective)
            if type(args) is not tuple:
                raise BadArguments("positional arguments come as a tuple")
        except CallError:
            self._unjellier(perspective).release_unread(net_kwargs)
            raise
        if type(net_kwargs) is list and len(net_kwargs) == 1 and net_kwargs[0] == b"dictionary":
            return args, {}
        kwargs = self._unjelly(net_kwargs, perspective)
        if type(kwargs) is not dict:
            raise BadArguments("keyword arguments come as a dictionary")
        return args, {_keyword(key): value for key, value in kwargs.items()}

    def decode_value(self, payload: Undecoded, perspective: Perspective) -> Value:
        return self._unjelly(payload, perspective)

    def decode_error(self, payload: Undecoded, perspective: Perspective) -> Exception:
        try:
            error = self._unjelly(payload, perspective)
        except CallError:
            error = None
        if isinstance(error, Exception):
            return error
        return failure_from_payload(error).as_exception(self._registry)


_COMMANDS: Final[dict[bytes, tuple[int, Callable[[ClassicDialect, list[Undecoded]], None]]]] = {
    b"version": (2, ClassicDialect._version),
    b"didNotUnderstand": (2, ClassicDialect._did_not_understand),
    b"message": (7, ClassicDialect._message),
    b"cachemessage": (7, ClassicDialect._cachemessage),
    b"answer": (3, ClassicDialect._answer),
    b"error": (3, ClassicDialect._error),
    b"decref": (2, ClassicDialect._decref),
    b"decache": (2, ClassicDialect._decache),
    b"uncache": (2, ClassicDialect._uncache),
}


def _object_id(value: object) -> ObjectId:
    if type(value) is int and value >= 0:
        return value
    if type(value) is bytes and len(value) <= 256:
        return value.decode("utf-8", "replace")
    raise ProtocolError("bad-id", "an object id is a positive integer or a name")


def _cache_id(value: object) -> int:
    if type(value) is int and value >= 0:
        return value
    raise ProtocolError("bad-id", "a replica's id is a positive integer")


def _wants_answer(value: object) -> bool:
    if type(value) is int and value in (0, 1):
        return value == 1
    raise ProtocolError("bad-message", "the wish for an answer is 0 or 1")


def _request_id(value: object) -> int:
    # Request ids are keys of a table, and a peer can choose larger integers that collide there.
    if type(value) is int and 0 <= value < 2**MAX_KEY_BITS:
        return value
    raise ProtocolError("bad-id", "a request id is a positive integer")


def _keyword(key: object) -> str:
    if type(key) is bytes:  # a Python 2 peer sends these for text
        try:
            key = key.decode()
        except UnicodeDecodeError:
            pass
    if type(key) is not str:
        raise BadArguments("keywords are text")
    if key == "self":  # a method has it already
        raise BadArguments("no keyword is called self")
    return key
