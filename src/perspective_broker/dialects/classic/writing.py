"""Encode the operations of this side as banana lists, the messages of the classic dialects."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Final

from ...errors import ProtocolError, SerializationError
from ...flavors import ALWAYS_SENT, Failure, Registry, default_registry, is_copied
from ...limits import Limits
from ...ports import (
    CallTarget,
    Exporter,
    Feature,
    ObjectId,
    Perspective,
    PromisedAnswer,
    SharedArguments,
    SharedExporter,
    Value,
    Writer,
)
from ..paths import too_large, with_path
from .banana import Decoder, encode_integer, encode_list_head
from .jelly import Jellier
from .vocabulary import OF_2002, Spelling
from .work import TOO_MUCH_WORK, most_units, units_in

__all__ = ["ClassicWriter"]

_FEATURES: Final = frozenset({Feature.OF_2002})


class ClassicWriter(Writer):
    """Encode the operations of one connection in a classic dialect.

    Args:
        spelling: which of the two dialects.
        exporter: turns our objects into ids.
        limits: that the peer is assumed to have.
        registry: the classes that cross as values.

    Attributes:
        spelling: the current one; it changes for a peer of 2002.
    """

    def __init__(
        self, spelling: Spelling, exporter: Exporter, limits: Limits, registry: Registry = default_registry
    ) -> None:
        super().__init__(spelling.name, _FEATURES)
        self._registry = registry
        self.spelling: Spelling = spelling
        self._exporter = exporter
        self._limits = limits
        self._most_units = most_units(limits)
        self._message_head = spelling.list_of(7, b"message")
        self._cachemessage_head = spelling.list_of(7, b"cachemessage")
        self._answer_head = spelling.list_of(3, b"answer")
        self._error_head = spelling.list_of(3, b"error")
        self._no_arguments = encode_list_head(1) + spelling.string(b"tuple")
        self._no_keywords = encode_list_head(1) + spelling.string(b"dictionary")
        self._decref_head = spelling.list_of(2, b"decref")
        self._decache_head = spelling.list_of(2, b"decache")
        self._uncache_head = spelling.list_of(2, b"uncache")

    def use_limits(self, limits: Limits) -> None:
        self._limits = limits
        self._most_units = most_units(limits)

    def speak_as_in_2002(self) -> None:
        self.spelling = OF_2002[self.name]

    def _method_bytes(self, name: str) -> bytes:
        data = _text(name, "method name")
        limit = self._limits.method_name_bytes
        if len(data) > limit:
            raise SerializationError(
                f"a method's name may have {limit} bytes (Limits.method_name_bytes), not {len(data)}"
            )
        return data

    def _jellier(self, perspective: Perspective) -> Jellier:
        return Jellier(self.spelling, self._exporter, perspective, self._limits, self._registry)

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
        spelling = self.spelling
        if type(args) is not tuple and isinstance(args, SharedArguments):  # nearly always it is a tuple
            return self._encode_shared(head, request, target, name, wants_answer, args, kwargs)
        coded = [
            head,
            encode_integer(request),
            self._target_bytes(target),
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

    def _target_bytes(self, target: ObjectId) -> bytes:
        return (
            encode_integer(target)
            if isinstance(target, int)
            else self.spelling.string(_text(target, "object name"))
        )

    def _encode_shared(
        self,
        head: bytes,
        request: int,
        target: ObjectId,
        name: str,
        wants_answer: bool,
        args: SharedArguments,
        kwargs: dict[str, Value],
    ) -> bytes:
        """Return the message of one of many calls that differ in request and target alone."""
        key = (wants_answer, self.spelling, self._registry)
        fields = args.find(key)
        if fields is None:
            fields = args.encode(key, partial(self._encode_fields, name, wants_answer, args, kwargs))
        return self._checked(
            b"".join((head, encode_integer(request), self._target_bytes(target), fields)), []
        )

    def _encode_fields(
        self, name: str, wants_answer: bool, args: SharedArguments, kwargs: dict[str, Value]
    ) -> bytes:
        """Return the fields of a call from its name on.

        Raises:
            SerializationError: the arguments cannot cross, or contain a reference.
        """
        alone = ClassicWriter(self.spelling, SharedExporter(), self._limits, self._registry)
        message = alone._encode_message(b"", 0, 0, name, wants_answer, tuple(args), kwargs, None)
        return message[2 * len(encode_integer(0)) :]

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
        failure = Failure.of(error, with_traceback=traceback, registry=self._registry)
        try:
            return self._checked(head + jellier.jelly_failure(failure), [jellier])
        except SerializationError:
            jellier = Jellier(self.spelling, self._exporter, perspective, Limits())
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
        """Return ``message`` if a peer with our limits accepts it: an honest value must not end the connection.

        Raises:
            SerializationError: it exceeds a limit.
        """
        limits = self._limits
        if len(message) > limits.message_bytes:
            raise too_large(len(message), limits)
        nodes = depth = 0
        for jellier in values:
            nodes += jellier.nodes_at_most
            depth = max(depth, jellier.depth_at_most)
        if nodes <= self._most_units and depth < limits.depth:  # a value never has more units than nodes
            return message
        units = sum([jellier.units_at_most for jellier in values])
        if nodes > limits.nodes or depth >= limits.depth or units > self._most_units:
            # The bounds are not exact, so let a decoder decide.
            judge = Decoder(limits, self.spelling.has_words)
            judge.receive_data(message)
            try:
                values_in = judge.next()
            except ProtocolError as refusal:
                raise SerializationError(refusal.reason) from None
            if units_in(values_in) > self._most_units:
                raise SerializationError(TOO_MUCH_WORK)
        return message


def _text(name: str, what: str) -> bytes:
    try:
        return name.encode()
    except UnicodeEncodeError:
        raise SerializationError(f"a {what} with a lone surrogate cannot cross") from None
