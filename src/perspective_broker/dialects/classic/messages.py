"""The classic dialects, ``pb`` and ``none``: protocol version 6 of Perspective Broker, as spoken since 2002."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from ...errors import BadArguments, CallError, ProtocolError, SerializationError
from ...flavors import ALWAYS_SENT, Failure, Policy, Registry, is_copied
from ...limits import NODE_BYTES, Limits
from ...ports import (
    DELIVERED,
    NEEDS_DATA,
    CallTarget,
    Data,
    Dialect,
    Exporter,
    Feature,
    Importer,
    ObjectId,
    Perspective,
    PromisedAnswer,
    Receiver,
    Undecoded,
    Value,
)
from ..building import MAX_KEY_BITS
from ..collector import LARGE_MESSAGE, CollectorRests
from ..paths import too_large, with_path
from .banana import NEED_MORE, Decoder, encode, encode_integer, encode_list_head
from .failures import failure_from_payload
from .jelly import Jellier
from .unjelly import Unjellier, readers_for
from .vocabulary import OF_2002, Spelling
from .work import TOO_MUCH_WORK, most_units, units_in

__all__ = ["ClassicDialect"]

VERSION: Final = 6

_FEATURES: Final = frozenset({Feature.OF_2002})

#: Unknown commands that are answered, in a connection's life: an honest peer has a few, and each reply is memory.
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
    ) -> None:
        super().__init__(spelling.name, _FEATURES)
        self._spelling = spelling
        self._receiver = receiver
        self._exporter = exporter
        self._importer = importer
        self._registry = registry
        self._policy = policy
        self._readers = readers_for(policy)
        self._decoder = Decoder(limits, spelling.has_words)
        self._most_units = most_units(limits)
        self._ready = False
        self._complaints = 0
        self._message_head = spelling.list_of(7, b"message")
        self._cachemessage_head = spelling.list_of(7, b"cachemessage")
        self._answer_head = spelling.list_of(3, b"answer")
        self._error_head = spelling.list_of(3, b"error")
        self._no_arguments = encode_list_head(1) + spelling.string(b"tuple")
        self._no_keywords = encode_list_head(1) + spelling.string(b"dictionary")
        self._decref_head = spelling.list_of(2, b"decref")
        self._decache_head = spelling.list_of(2, b"decache")
        self._uncache_head = spelling.list_of(2, b"uncache")

    # -- receiving

    def open(self) -> None:
        self._receiver.send(encode([b"version", VERSION], self._spelling))

    def use_limits(self, limits: Limits) -> None:
        self._decoder.limits = limits
        self._most_units = most_units(limits)

    def speak_as_in_2002(self) -> None:
        """Write from now on nothing that a program of 2002 cannot read; what is read does not change."""
        self._spelling = OF_2002[self.name]

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
            raise ProtocolError("bad-version", "a peer says its version first")
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
        self._receiver.send(encode([b"didNotUnderstand", shown], self._spelling))

    def _version(self, message: list[Any]) -> None:
        if self._ready:
            raise ProtocolError("bad-version", "a peer says its version once")
        if type(message[1]) is not int or message[1] != VERSION:
            raise ProtocolError("bad-version", f"this is version {VERSION} of the protocol")
        self._ready = True
        self._receiver.on_ready()

    def _did_not_understand(self, message: list[Any]) -> None:
        self._receiver.on_complaint("the peer does not know a command of ours")

    def _message(self, message: list[Any]) -> None:
        _, request, target, name, wants_answer, args, kwargs = message
        self._receiver.on_call(
            _request_id(request),
            _object_id(target),
            self._method_name(name),
            _wants_answer(wants_answer),
            (args, kwargs),
        )

    def _cachemessage(self, message: list[Any]) -> None:
        _, request, luid, name, wants_answer, args, kwargs = message
        self._receiver.on_update(
            _request_id(request),
            _cache_id(luid),
            self._method_name(name),
            _wants_answer(wants_answer),
            (args, kwargs),
        )

    def _method_name(self, name: Any) -> str:
        if type(name) is not bytes:
            raise ProtocolError("bad-message", "a method's name is a string")
        limit = self._decoder.limits.method_name_bytes
        if len(name) > limit:
            raise ProtocolError("limit-name", f"a method's name may have {limit} bytes")
        try:
            return name.decode()
        except UnicodeDecodeError:
            raise ProtocolError("bad-message", "a method's name is text") from None

    def _method_bytes(self, name: str) -> bytes:
        data = _text(name, "method name")
        limit = self._decoder.limits.method_name_bytes
        if len(data) > limit:
            raise SerializationError(f"a method's name may have {limit} bytes, not {len(data)}")
        return data

    def _answer(self, message: list[Any]) -> None:
        self._receiver.on_answer(_request_id(message[1]), message[2])

    def _error(self, message: list[Any]) -> None:
        self._receiver.on_error(_request_id(message[1]), message[2])

    def _decref(self, message: list[Any]) -> None:
        self._receiver.on_release(_object_id(message[1]), 1)

    def _decache(self, message: list[Any]) -> None:
        self._receiver.on_decache(_cache_id(message[1]), 1)

    def _uncache(self, message: list[Any]) -> None:
        self._receiver.on_uncache(_cache_id(message[1]))

    def _unjellier(self, perspective: Perspective) -> Unjellier:
        return Unjellier(
            self._importer, perspective, self._readers, self._registry, self._policy, self._most_units
        )

    def _unjelly(self, jelly: Undecoded, perspective: Perspective) -> Value:
        """Return the value that ``jelly`` stands for; see :meth:`Unjellier.unjelly`."""
        if (
            self._decoder.last_size < LARGE_MESSAGE
        ):  # of the message that was read last: nearly always this one
            return self._unjellier(perspective).unjelly(jelly)
        with CollectorRests():
            return self._unjellier(perspective).unjelly(jelly)

    def decode_arguments(
        self, arguments: Undecoded, perspective: Perspective
    ) -> tuple[Sequence[Value], Mapping[str, Value]]:
        net_args, net_kwargs = arguments
        # The two are values of their own on the wire: what is shared between them does not stay shared.
        try:
            args = self._unjelly(net_args, perspective)
            if type(args) is not tuple:
                raise BadArguments("positional arguments come as a tuple")
        except CallError:
            self._unjellier(perspective).give_back(net_kwargs)
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

    # -- sending

    def _jellier(self, perspective: Perspective) -> Jellier:
        return Jellier(self._spelling, self._exporter, perspective, self._decoder.limits)

    def encode_call(
        self,
        request: int,
        target: CallTarget,
        name: str,
        wants_answer: bool,
        args: tuple[Value, ...],
        kwargs: dict[str, Value],
        perspective: Perspective,
    ) -> bytes:
        assert not isinstance(target, PromisedAnswer), "the classic dialects do not pipeline"
        return self._encode_message(
            self._message_head, request, target, name, wants_answer, args, kwargs, perspective
        )

    def encode_update(
        self,
        request: int,
        luid: int,
        name: str,
        wants_answer: bool,
        args: tuple[Value, ...],
        kwargs: dict[str, Value],
        perspective: Perspective,
    ) -> bytes:
        return self._encode_message(
            self._cachemessage_head, request, luid, name, wants_answer, args, kwargs, perspective
        )

    def _encode_message(
        self,
        head: bytes,
        request: int,
        target: ObjectId,
        name: str,
        wants_answer: bool,
        args: tuple[Value, ...],
        kwargs: dict[str, Value],
        perspective: Perspective,
    ) -> bytes:
        spelling = self._spelling
        coded = [
            head,
            encode_integer(request),
            encode_integer(target)
            if isinstance(target, int)
            else spelling.string(_text(target, "object name")),
            spelling.string(self._method_bytes(name)),
            b"\x01\x81" if wants_answer else b"\x00\x81",
        ]
        values: list[Jellier] = []
        try:
            for value, empty in ((args, self._no_arguments), (kwargs, self._no_keywords)):
                if value:
                    jellier = self._jellier(perspective)
                    coded.append(jellier.jelly(value))
                    values.append(jellier)
                else:
                    coded.append(empty)
            return self._checked(b"".join(coded), values)
        except BaseException as error:
            for jellier in reversed(values):
                jellier.rollback()
            if isinstance(error, SerializationError):
                raise with_path(error, args=args, kwargs=kwargs) from None
            raise

    def encode_answer(self, request: int, value: Value, perspective: Perspective) -> bytes:
        jellier = self._jellier(perspective)
        try:
            return self._checked(
                self._answer_head + encode_integer(request) + jellier.jelly(value), [jellier]
            )
        except SerializationError as error:
            jellier.rollback()
            raise with_path(error, answer=value) from None

    def encode_error(
        self, request: int, error: BaseException, traceback: bool, perspective: Perspective
    ) -> bytes:
        head = self._error_head + encode_integer(request)
        jellier = self._jellier(perspective)
        if is_copied(error):
            try:
                return self._checked(head + jellier.jelly(error), [jellier])
            except SerializationError:
                jellier.rollback()
                raise
        failure = Failure.of(error, with_traceback=traceback)
        try:
            return self._checked(head + jellier.jelly_failure(failure), [jellier])
        except SerializationError:
            jellier = Jellier(self._spelling, self._exporter, perspective, Limits())
            message = head + jellier.jelly_failure(failure)
            if len(message) > ALWAYS_SENT:
                raise
            return message

    def encode_releases(self, owed: Mapping[int, int]) -> bytes:
        return b"".join((self._decref_head + encode_integer(luid)) * count for luid, count in owed.items())

    def encode_decache(self, luid: int, count: int) -> bytes:
        return (self._decache_head + encode_integer(luid)) * count

    def encode_uncache(self, luid: int) -> bytes:
        return self._uncache_head + encode_integer(luid)

    def _checked(self, message: bytes, values: list[Jellier]) -> bytes:
        """Return ``message`` when a peer with our limits will take it: an honest value must not cost the connection.

        Raises:
            SerializationError: it will not.
        """
        limits = self._decoder.limits
        if len(message) > limits.message_bytes:
            raise too_large(len(message), limits)
        nodes = depth = 0
        for jellier in values:
            nodes += jellier.nodes_at_most
            depth = max(depth, jellier.depth_at_most)
        if nodes <= self._most_units and depth < limits.depth:  # no value takes more units than nodes
            return message
        units = sum([jellier.units_at_most for jellier in values])
        if nodes > limits.nodes or depth >= limits.depth or units > self._most_units:
            # In doubt, ask the judge itself.
            judge = Decoder(limits, self._spelling.has_words)
            judge.receive_data(message)
            try:
                values_in = judge.next()
            except ProtocolError as refusal:
                raise SerializationError(refusal.reason) from None
            if units_in(values_in) > self._most_units:
                raise SerializationError(TOO_MUCH_WORK)
        return message


_COMMANDS: Final[dict[bytes, tuple[int, Callable[[ClassicDialect, list[Any]], None]]]] = {
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


def _object_id(value: Any) -> ObjectId:
    if type(value) is int and value >= 0:
        return value
    if type(value) is bytes and len(value) <= 256:
        return value.decode("utf-8", "replace")
    raise ProtocolError("bad-id", "an object id is a positive integer or a name")


def _cache_id(value: Any) -> int:
    if type(value) is int and value >= 0:
        return value
    raise ProtocolError("bad-id", "a replica's id is a positive integer")


def _wants_answer(value: Any) -> bool:
    if type(value) is int and value in (0, 1):
        return value == 1
    raise ProtocolError("bad-message", "the wish for an answer is 0 or 1")


def _request_id(value: Any) -> int:
    # They are keys of a table, and larger integers can be chosen to collide there.
    if type(value) is int and 0 <= value < 2**MAX_KEY_BITS:
        return value
    raise ProtocolError("bad-id", "a request id is a positive integer")


def _keyword(key: Any) -> str:
    if type(key) is bytes:  # what a Python 2 peer calls text
        try:
            key = key.decode()
        except UnicodeDecodeError:
            pass
    if type(key) is not str:
        raise BadArguments("keywords are text")
    if key == "self":  # a method has it already
        raise BadArguments("no keyword is called self")
    return key


def _text(name: str, what: str) -> bytes:
    try:
        return name.encode()
    except UnicodeEncodeError:
        raise SerializationError(f"a {what} with a lone surrogate cannot cross") from None
