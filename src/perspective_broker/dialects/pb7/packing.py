"""Packing: encode Python values as MessagePack. :mod:`.unpacking` decodes them.

ormsgpack encodes the types of MessagePack itself, in C. For all other types it calls :class:`Packer`, which returns an
extension whose payload may contain values. A value that ormsgpack refuses without a call (a dictionary whose keys are
not all text) is put into a form that it accepts, and packed again.
"""

from __future__ import annotations

import datetime
import struct
import zoneinfo
from collections.abc import Callable, Iterable
from decimal import Decimal
from typing import Final
from uuid import UUID

from ormsgpack import Ext, packb

from ...errors import DecodeError, SerializationError
from ...flavors import (
    Cacheable,
    Copyable,
    Exportable,
    Failure,
    Form,
    Graph,
    Reference,
    Registry,
    RemoteCache,
)
from ...flavors.guard import ordinary
from ...limits import Limits
from ...ports import SENT_BEFORE, Exporter, Perspective, PromisedAnswer, Value
from ..arrays import is_array, scalar_of
from ..building import KeyBudget, KeyCheck
from ..paths import no_form
from . import codes, more
from .large import OPTIONS, array_head, array_within
from .scanning import most_extensions, too_many_extensions

__all__ = [
    "MAX_DECIMAL_EXPONENT",
    "MAX_DECIMAL_TEXT",
    "MAX_INT_BITS",
    "MAX_PLAIN_DEPTH",
    "Packer",
    "id_bytes",
    "nested_bytes",
]

#: Bits of an integer, unless Limits.int_bits is more: enough for all keys and signatures in use. Python refuses to
#: print an integer of 14,284 bits or more, so a program that logs one would get an exception.
MAX_INT_BITS: Final = 8192

#: Exponents of decimals: the range of IEEE 754-2008 decimal128. With a forged exponent of a billion, the first
#: ``int(value)`` would use up all memory.
MAX_DECIMAL_EXPONENT: Final = 6176
#: Characters of a decimal: the same as Python's limit on the digits of an integer in text.
MAX_DECIMAL_TEXT: Final = 4300

#: Levels of arrays and maps that ormsgpack packs. Its documentation does not name the number; a test checks it.
MAX_PLAIN_DEPTH: Final = 255

_DOUBLES: Final = struct.Struct("!dd")


def nested_bytes(size: int) -> int:
    """Return how many bytes all payloads of a frame of ``size`` bytes may have, nested ones counted at each level.

    A payload is copied for each extension around it, so a message of a few MiB could cost gigabytes.
    """
    return 32 * size + 64 * 1024


def id_bytes(number: int) -> bytes:
    """Return an id as a payload: unsigned, big-endian, as short as possible."""
    return number.to_bytes((number.bit_length() + 7) // 8 or 1, "big")


class _Pairs:
    """Wrapper of a dictionary whose keys are not all text, so that ormsgpack calls the packer for it."""

    __slots__ = ("of",)

    def __init__(self, of: dict[Value, Value]) -> None:
        self.of = of


class _Node:
    """A reference to one container of a graph."""

    __slots__ = ("number",)

    def __init__(self, number: int) -> None:
        self.number = number


class Packer:
    """Encode the values of one message. Each message with other types than MessagePack's own has its own packer.

    Args:
        exporter: turns objects into ids.
        perspective: under which the values are encoded.
        limits: of the connection; the peer is assumed to have the same.
        registry: the classes that cross as values.
        has_more: whether the peer knows values of more types.
    """

    __slots__ = (
        "_active",
        "_cached",
        "_copies",
        "_done",
        "_error",
        "_exported",
        "_exporter",
        "_extensions_left",
        "_has_more",
        "_kept",
        "_level",
        "_limits",
        "_perspective",
        "_private",
        "_registry",
        "_tags",
        "depends_on",
        "nested",
    )

    def __init__(
        self,
        exporter: Exporter,
        perspective: Perspective,
        limits: Limits,
        registry: Registry,
        has_more: bool,
    ) -> None:
        self._has_more = has_more
        self._exporter = exporter
        self._registry = registry
        self._perspective = perspective
        self._limits = limits
        self._level = 0  # extensions around the present value
        self._private = False  # whether no hook can change what ormsgpack is packing
        self._active: set[int] = set()  # ids of the containers around it
        # id -> number, and the object (kept, so that its id stays unique)
        self._copies: dict[int, tuple[int, Value]] = {}
        self._extensions_left = most_extensions(limits)
        self._tags: dict[str, bytes] = {}  # packed type tags of the message so far
        self._error: BaseException | None = None  # the reason of a TypeError of ormsgpack
        self._done: list[tuple[Value, Ext]] = []  # values written in the present call of ormsgpack
        self._kept: dict[int, list[tuple[Value, Ext]]] = {}  # values written in calls that failed
        self._cached: list[int] = []  # replicas that the message counts
        self._exported: list[int] = []  # ids that the message counts, one entry for every count
        self.depends_on: dict[int, None] = {}  #: calls of ours to whose answers the message refers
        self.nested: int = 0  #: bytes of payloads so far

    def rollback(self) -> None:
        """Take back the exports of the message: it will not be sent."""
        for luid in reversed(self._exported):
            self._exporter.retract(luid)
        self._exported.clear()
        for luid in reversed(self._cached):
            self._exporter.retract_cache(luid)
        self._cached.clear()

    def pack(self, value: Value, private: bool = False) -> bytes:
        """Return ``value`` as bytes.

        Args:
            value: to pack.
            private: whether no other code has its lists and dictionaries.

        Raises:
            SerializationError: it cannot cross; ``.culprit`` is the part that cannot.
            Exception: a hook of the application raised it.
        """
        before, self._done = self._done, []
        around, self._private = self._private, private
        try:
            try:
                return packb(value, self._default, OPTIONS)
            except TypeError as refusal:
                self._raise_error()
                # No hook of the application is called twice for one occurrence: the values written so far are reused.
                for done in self._done:
                    self._kept.setdefault(id(done[0]), []).append(done)
                self._done = []
                converted = _Converter().convert(value, 0)
                self._private = True
                try:
                    return packb(converted, self._default, OPTIONS)
                except TypeError:
                    self._raise_error()
                    raise _cannot(value, f"it has no form here ({refusal})") from None
        finally:
            self._done = before
            self._private = around

    def _raise_error(self) -> None:
        """Raise the error of a value that ormsgpack did not know, if there is one."""
        error, self._error = self._error, None  # or the two would refer to each other
        if error is not None:
            try:
                raise error from error.__cause__
            finally:
                del error

    def failure(self, failure: Failure) -> Ext:
        """Return an exception as an extension."""
        fields: list[Value] = [failure.type, failure.value, failure.traceback, list(failure.parents)]
        if failure.fields is None:
            return self._nested(codes.FAILURE, packb(fields))
        return self._nested(codes.FAILURE, self._within(failure, [*fields, list(failure.fields)]))

    def _default(self, value: Value) -> Ext:
        """Return the extension of a value that ormsgpack does not know."""
        if self._error is not None:
            raise TypeError
        if self._kept and (kept := self._kept.get(id(value))):
            return kept.pop(0)[1]
        if not self._private and self._is_hooked(value):
            # ormsgpack crashes if a hook changes a list while it is being packed: try again with copies.
            raise TypeError
        try:
            written = _WRITERS.get(type(value), _OBJECT)(self, value)
        except BaseException as error:
            self._error = ordinary(error)  # it may be a hook's
            raise TypeError from None
        self._done.append((value, written))
        self._extensions_left -= 1
        if self._extensions_left < 0:
            self._error = _cannot(value, too_many_extensions(self._limits))
            raise TypeError
        return written

    def _is_hooked(self, value: Value) -> bool:
        """Return whether code of the application may run when a value is written."""
        kind = type(value)
        return kind not in _WRITERS and (
            isinstance(value, _HOOKED) or self._registry.find_form(kind) is not None
        )

    def _nested(self, code: int, payload: bytes) -> Ext:
        self.nested += len(payload)
        return Ext(code, payload)

    def _within(self, around: object, value: Value) -> bytes:
        """Pack ``value``, which is the content of ``around``."""
        if id(around) in self._active:
            raise _contains_itself(around)
        if self._level >= self._limits.depth // 2:
            raise _cannot(
                around,
                f"nested too deep; there may be {self._limits.depth // 2} levels of its kind (half of Limits.depth)",
            )
        self._active.add(id(around))
        self._level += 1
        try:
            return self.pack(value)
        except RecursionError:
            raise _cannot(around, "nested too deep for this call stack") from None
        finally:
            self._level -= 1
            self._active.discard(id(around))

    # -- values

    def _tuple(self, value: tuple[Value, ...]) -> Ext:
        return self._nested(codes.TUPLE, self._within(value, list(value)))

    def _set(self, value: set[Value] | frozenset[Value]) -> Ext:
        _check_keys(value, value)
        code = codes.SET if type(value) is set else codes.FROZENSET
        return self._nested(code, self._within(value, list(value)))

    def _pairs(self, value: _Pairs) -> Ext:
        _check_keys(value.of, value.of)
        flat = [part for pair in value.of.items() for part in pair]
        return self._nested(codes.DICTIONARY, self._within(value.of, flat))

    def _int(self, value: int) -> Ext:
        limit = max(MAX_INT_BITS, self._limits.int_bits)
        if value.bit_length() > limit:
            raise _cannot(value, f"an integer may have {limit} bits, not {value.bit_length()}")
        return Ext(codes.INTEGER, value.to_bytes(value.bit_length() // 8 + 1, "big", signed=True))

    def _decimal(self, value: Decimal) -> Ext:
        exponent = value.as_tuple().exponent
        text = str(value).encode()
        if len(text) > MAX_DECIMAL_TEXT or (type(exponent) is int and abs(exponent) > MAX_DECIMAL_EXPONENT):
            raise _cannot(value, "a decimal out of decimal128's range of exponents, or too long")
        return Ext(codes.DECIMAL, text)

    def _date(self, value: datetime.date) -> Ext:
        return Ext(codes.DATE, packb([value.year, value.month, value.day]))

    def _time(self, value: datetime.time) -> Ext:
        fields = [value.hour, value.minute, value.second, value.microsecond]
        return Ext(codes.TIME, self._in_zone(value, fields))

    def _datetime(self, value: datetime.datetime) -> Ext:
        v = value
        fields = [v.year, v.month, v.day, v.hour, v.minute, v.second, v.microsecond]
        return Ext(codes.DATETIME, self._in_zone(value, fields))

    def _in_zone(self, value: datetime.datetime | datetime.time, fields: list[int]) -> bytes:
        """Return the payload of a time: its fields, then fold and zone if it has them."""
        zone = value.tzinfo
        if zone is None:
            return packb([*fields, value.fold] if value.fold else fields)
        if type(zone) is datetime.timezone:
            offset = zone.utcoffset(None) // _MICROSECOND
            name = zone.__getinitargs__()[1:]  # type: ignore[attr-defined] # how a timezone is pickled
            return self.pack([*fields, value.fold, offset, *name])
        if type(zone) is zoneinfo.ZoneInfo and zone.key is not None:
            return self.pack([*fields, value.fold, zone.key])
        raise _cannot(
            value,
            f"a time zone that is a {type(zone).__name__}; datetime.timezone and zoneinfo.ZoneInfo cross",
        )

    def _timedelta(self, value: datetime.timedelta) -> Ext:
        return Ext(codes.TIMEDELTA, packb([value.days, value.seconds, value.microseconds]))

    def _uuid(self, value: UUID) -> Ext:
        return Ext(codes.UUID, value.bytes)

    def _complex(self, value: complex) -> Ext:
        return Ext(codes.COMPLEX, _DOUBLES.pack(value.real, value.imag))

    # -- graphs

    def _graph(self, value: Graph) -> Ext:
        """Write each container of the graph once, flat, with references to the others in it."""
        numbers: dict[int, int] = {}
        found: list[Value] = []

        def refer(item: Value) -> Value:
            if type(item) not in _KINDS:
                return item
            number = numbers.get(id(item))
            if number is None:
                number = numbers[id(item)] = len(found)
                found.append(item)
            return _Node(number)

        rows = [refer(value.value)]
        for container in found:  # the list grows while it is read
            kind = _KINDS[type(container)]
            if type(container) is dict:
                _check_keys(container, container)
                row = [kind, *(refer(part) for pair in container.items() for part in pair)]
            else:
                if kind in _HASHED_KINDS:
                    _check_keys(container, container)
                row = [kind, *map(refer, container)]
            rows.append(row)
        self._extensions_left -= len(found)  # the receiver makes each of them after all have been decoded
        return self._nested(codes.GRAPH, self._within(value, rows))

    def _node(self, value: _Node) -> Ext:
        return Ext(codes.NODE, id_bytes(value.number))

    # -- flavors

    def _object(self, value: Value) -> Value:
        """Write an object according to its flavor."""
        if isinstance(value, Reference) and (home := self._exporter.home_id(value)) is not None:
            if isinstance(home, int):
                return Ext(codes.LOCAL, id_bytes(home))
            return Ext(codes.LOCAL_NAMED, home.encode())
        if isinstance(value, RemoteCache) and (kept := self._exporter.home_cache_id(value)) is not None:
            return Ext(codes.LCACHE, id_bytes(kept))
        if isinstance(value, Exportable):  # before Copyable: an object that is both stays here
            luid = self._exporter.export(value, self._perspective)
            self._exported.append(luid)
            return Ext(codes.REMOTE, id_bytes(luid))
        if isinstance(value, Cacheable):
            return self._cacheable(value)
        if isinstance(value, Copyable):
            return self._copyable(value)
        form = self._registry.find_form(type(value))
        if form is not None:
            return self._formed(value, form)
        if isinstance(value, BaseException):
            return self.failure(Failure.of(value))
        adapted = self._exporter.adapt(value)
        if type(adapted) is PromisedAnswer:
            self.depends_on[adapted.request] = None
            return Ext(codes.PROMISE, id_bytes(adapted.request))
        if adapted is not value:
            return self._object(adapted) if isinstance(adapted, Exportable) else adapted
        plain = scalar_of(value)
        return self._more(value) if plain is value else plain

    def _more(self, value: Value) -> Ext:
        """Write a value of one of the types that older peers do not know."""
        if self._has_more:
            try:
                parts = more.parts_of(value)
            except ValueError as error:
                raise _cannot(value, str(error)) from None
            if parts is not None:
                self._extensions_left -= more.COST.get(parts[0], 0)
                return self._nested(codes.MORE, self._within(value, parts))
            if is_array(value):
                raw = array_within(value, self._limits.large_string_bytes)
                return Ext(codes.ARRAY, array_head(raw) + raw.data)
        raise _cannot(value, no_form(value, "" if self._has_more else "the pb7 of this older peer"))

    def _cacheable(self, value: Cacheable) -> Ext:
        luid, state = self._exporter.export_cache(value, self._perspective)
        self._cached.append(luid)
        if state is SENT_BEFORE:
            return Ext(codes.CACHED, id_bytes(luid))
        tag = self._tag(value)
        return self._nested(codes.CACHEABLE, tag + packb(luid) + self._within(value, state))

    def _copyable(self, value: Copyable) -> Ext:
        before = self._copies.get(id(value))
        if before is not None:
            return Ext(codes.AGAIN, id_bytes(before[0]))
        self._copies[id(value)] = (len(self._copies), value)
        return self._copy(value, self._tag(value), value.get_state_to_copy_for(self._perspective))

    def _formed(self, value: Value, form: Form) -> Ext:
        """Write an object of a class that is registered as a value."""
        before = self._copies.get(id(value))
        if before is not None:
            if id(value) in self._active:  # the receiver makes it when all of its fields have been decoded
                raise _cannot(value, f"a {type(value).__name__} that contains itself, which no value can")
            return Ext(codes.AGAIN, id_bytes(before[0]))
        self._copies[id(value)] = (len(self._copies), value)
        return self._copy(value, self._packed_tag(value, form.tag), form.state(value))

    def _copy(self, value: Value, tag: bytes, state: Value) -> Ext:
        if self._level < self._limits.depth // 2:
            try:
                # Most states are plain: they cannot contain themselves, and no hook is called for their values.
                return self._nested(codes.COPY, tag + packb(state, None, OPTIONS))
            except TypeError:
                pass
        return self._nested(codes.COPY, tag + self._within(value, state))

    def _tag(self, value: Copyable) -> bytes:
        return self._packed_tag(value, value.get_type_to_copy_for(self._perspective))

    def _packed_tag(self, value: Value, tag: str) -> bytes:
        if type(tag) is not str:
            raise _cannot(value, "a type tag is text of at most 255 bytes")
        packed = self._tags.get(tag)
        if packed is None:
            packed = packb(tag)
            if len(packed) > 2 + 0xFF:
                raise _cannot(value, "a type tag is text of at most 255 bytes")
            self._tags[tag] = packed
        return packed


_Writer = Callable[[Packer, Value], Ext]

_WRITERS: Final[dict[type, _Writer]] = {
    tuple: Packer._tuple,
    set: Packer._set,
    frozenset: Packer._set,
    _Pairs: Packer._pairs,
    int: Packer._int,
    Decimal: Packer._decimal,
    datetime.date: Packer._date,
    datetime.time: Packer._time,
    datetime.datetime: Packer._datetime,
    datetime.timedelta: Packer._timedelta,
    UUID: Packer._uuid,
    complex: Packer._complex,
    Failure: Packer.failure,
    Graph: Packer._graph,
    _Node: Packer._node,
}

#: Writes values of all other types.
_OBJECT: Final[_Writer] = Packer._object

#: Types whose hooks the application may have defined.
_HOOKED: Final = (Copyable, BaseException)

#: Types of a graph's containers -> their numbers on the wire.
_KINDS: Final[dict[type, int]] = {list: 0, dict: 1, tuple: 2, set: 3, frozenset: 4}
_HASHED_KINDS: Final = (_KINDS[set], _KINDS[frozenset])

_MICROSECOND: Final = datetime.timedelta(microseconds=1)


class _Converter:
    """Find out why ormsgpack refused a value, and make one that it accepts, if possible."""

    def __init__(self) -> None:
        self._around: set[int] = set()

    def convert(self, value: Value, depth: int) -> Value:
        """Return a copy of ``value`` in which each dictionary whose keys are not all text is wrapped in ``_Pairs``.

        Raises:
            SerializationError: a list or dictionary contains itself or is nested too deep, or a text does not have
                a UTF-8 form.
        """
        kind = type(value)
        if kind is str:
            _check_text(value)
            return value
        if kind is not list and kind is not dict:
            if kind is memoryview and not value.c_contiguous:
                raise _cannot(
                    value, "a memoryview whose bytes are not in C order does not cross; send bytes(...)"
                )
            return value
        if id(value) in self._around:
            raise _contains_itself(value)
        if depth >= MAX_PLAIN_DEPTH:
            raise _cannot(
                value, f"nested too deep; there may be {MAX_PLAIN_DEPTH} levels of lists and dictionaries"
            )
        if kind is dict and any(type(key) is not str for key in value):
            return _Pairs(value)  # its items are packed later, and treated in the same way
        self._around.add(id(value))
        converted: Value
        if kind is list:
            converted = [self.convert(item, depth + 1) for item in value]
        else:
            converted = {
                self.convert(key, depth): self.convert(item, depth + 1) for key, item in value.items()
            }
        self._around.discard(id(value))
        return converted


def _check_text(text: str) -> None:
    try:
        text.encode()
    except UnicodeEncodeError:
        raise _cannot(text, "text with a lone surrogate has no UTF-8 form") from None


def _check_keys(keys: Iterable[Value], culprit: object) -> None:
    """Raise an error for keys that the peer would refuse."""
    check = KeyCheck(KeyBudget())
    for key in keys:
        try:
            check(key)
        except DecodeError as error:
            raise _cannot(culprit, str(error)) from None


def _contains_itself(value: object) -> SerializationError:
    return _cannot(value, f"a {type(value).__name__} that contains itself; pb.Graph(value) keeps cycles")


def _cannot(culprit: object, why: str) -> SerializationError:
    """Return the error of a ``culprit``, a part of a value that cannot cross. Its path is found later."""
    return SerializationError(why, culprit=culprit)
