"""Jelly: encode Python values as the bytes of banana's lists. :mod:`.unjelly` decodes them.

Containers that are shared inside one value stay shared, cycles included. When a container is met again, its first
occurrence is wrapped as ``(reference n x)``, and the later ones become ``(dereference n)``. A banana list begins with
its length and does not have an end mark, so wrapping only inserts bytes in front of the first occurrence.
"""

from __future__ import annotations

import datetime
from collections.abc import Callable
from decimal import Decimal
from typing import Final

from ...errors import SerializationError
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
    default_registry,
)
from ...flavors.guard import ordinary
from ...limits import CONTAINER_NODES, Limits
from ...ports import SENT_BEFORE, Exporter, Perspective, Value
from ..arrays import scalar_of
from ..paths import no_form
from .banana import encode_float, encode_integer, encode_list_head
from .failures import FAILURE_TAG, failure_state
from .vocabulary import NONE, OF_2002, PB, Spelling
from .work import COSTLY

__all__ = ["Jellier"]

#: Exponents of decimals: the range of IEEE 754-2008 decimal128. An honest value of 135 digits fits. With a forged
#: exponent of a billion, the first ``int(value)`` would use up all memory.
MAX_EXPONENT: Final = 6176

#: Keys of dictionaries whose encoding is cached: their length, and their number. At most 100 kB in all.
MAX_KEPT_KEY: Final = 32
MAX_KEPT_KEYS: Final = 1024


_NONE_AROUND: Final[frozenset[int]] = frozenset()


class Jellier:
    """Encode one value. Each value has its own jellier, which records what the value exports, for a rollback.

    Args:
        spelling: of the dialect.
        exporter: turns objects into ids.
        perspective: under which the value is encoded.
        limits: of the connection; the peer is assumed to have the same.
        registry: the classes that cross as values.
    """

    __slots__ = (
        "_cached",
        "_deepest",
        "_depth",
        "_exporter",
        "_forming",
        "_limits",
        "_numbers",
        "_out",
        "_perspective",
        "_registry",
        "_seen",
        "_words",
        "exported",
    )

    def __init__(
        self,
        spelling: Spelling,
        exporter: Exporter,
        perspective: Perspective,
        limits: Limits,
        registry: Registry = default_registry,
    ) -> None:
        self._registry = registry
        self._forming: frozenset[int] = _NONE_AROUND  # ids of the registered values around the present one
        self._words = _WORDS[spelling]
        self._exporter = exporter
        self._perspective = perspective
        self._limits = limits
        self._out: list[bytes] = []
        #: id of a container -> its position in _out, and the container (kept, so that its id stays unique).
        self._seen: dict[int, tuple[int, Value]] = {}
        self._numbers: dict[int, int] = {}  # id of a container that was met again -> its reference number
        self._cached: list[int] = []  # the same for replicas
        self.exported: list[int] = []  #: exported ids, one entry for each count
        self._depth = 1  # the message is one level
        self._deepest = 1

    @property
    def nodes_at_most(self) -> int:
        """An upper bound of the nodes that a decoder will count.

        Each piece is an item of the list around it, and has at most three items of its own in two lists (text as a
        key). A reference around it is a list of three more.
        """
        return (
            (4 + 2 * (CONTAINER_NODES - 1)) * len(self._out) + (2 + CONTAINER_NODES) * len(self._numbers) + 32
        )

    @property
    def units_at_most(self) -> int:
        """An upper bound of the units of work that decoding takes, see :func:`.work.most_units`."""
        return COSTLY * len(self._out) + len(self._numbers)

    @property
    def depth_at_most(self) -> int:
        """An upper bound of the depth of the encoded lists: each reference around a list is one more level."""
        return self._deepest + min(len(self._numbers), self._deepest)

    def jelly(self, value: Value) -> bytes:
        """Return ``value`` as bytes.

        Raises:
            SerializationError: it cannot cross; ``.culprit`` is the part that cannot.
            Exception: a hook of the application raised it. In both cases nothing stays exported.
        """
        try:
            self._jelly(value)
        except RecursionError:
            self.rollback()
            raise SerializationError("nested too deep for this call stack") from None
        except BaseException as error:
            self.rollback()
            raise ordinary(error)  # noqa: B904 # it may be a hook's, and has its own cause
        return b"".join(self._out)

    def rollback(self) -> None:
        """Take back the exports of :meth:`jelly`: the message will not be sent."""
        for luid in reversed(self.exported):
            self._exporter.retract(luid)
        self.exported.clear()
        for luid in reversed(self._cached):
            self._exporter.retract_cache(luid)
        self._cached.clear()

    def _jelly(self, value: Value) -> None:
        _WRITERS.get(type(value), _OBJECT)(self, value)

    def _str(self, value: str) -> None:
        self._out.append(self._text(value))

    def _text(self, value: str) -> bytes:
        try:
            data = value.encode()
        except UnicodeEncodeError:
            raise _cannot(value, "text with a lone surrogate has no UTF-8 form") from None
        if len(data) > self._limits.string_bytes:
            raise self._too_long(value, len(data))
        spelling = self._words.spelling
        if spelling.old and value.isascii():
            return spelling.string(data)
        return spelling.unicode + spelling.string(data)

    def _bytes(self, value: bytes) -> None:
        if len(value) > self._limits.string_bytes:
            raise self._too_long(value, len(value))
        self._out.append(self._words.spelling.string(value))

    def _too_long(self, value: str | bytes, size: int) -> SerializationError:
        limit = self._limits.string_bytes
        return _cannot(
            value, f"{size} bytes in one string; classic peers read at most {limit}, send it in pieces"
        )

    def _int(self, value: int) -> None:
        self._out.append(encode_integer(value, self._limits.int_bits))

    def _float(self, value: float) -> None:
        self._out.append(encode_float(value))

    def _none(self, value: None) -> None:
        self._out.append(self._words.none)

    def _bool(self, value: bool) -> None:
        self._out.append(self._words.true if value else self._words.false)

    def _again(self, value: Value) -> bool:
        """Write a dereference if the container was met before; otherwise record its position and return False."""
        key = id(value)
        first = self._seen.get(key)
        if first is None:
            self._seen[key] = (len(self._out), value)
            return False
        number = self._numbers.get(key)
        if number is None:
            number = self._numbers[key] = len(self._numbers) + 1
            place = first[0]
            self._out[place] = self._words.reference + encode_integer(number) + self._out[place]
        self._out.append(self._words.dereference + encode_integer(number))
        return True

    def _enter(self, value: Value, levels: int = 1) -> None:
        """Enter a container. Each of its banana lists is a level, and a reference around it may be one."""
        self._depth += levels
        if self._depth > self._deepest:
            self._deepest = self._depth
        if self._depth >= self._limits.depth:
            raise _cannot(
                value, f"nested too deep; a message may have {self._limits.depth} levels (Limits.depth)"
            )

    def _items(self, value: Value) -> None:
        """Write a list, a tuple, a set or a frozenset."""
        items = tuple(value)  # a hook of an item may change it, and its length is written first
        size = len(items)
        if size >= self._limits.list_items:
            raise _cannot(
                value, f"{size} items; a list may have {self._limits.list_items} (Limits.list_items)"
            )
        if self._again(value):
            return
        self._enter(value)
        word = self._words.containers.get(type(value))
        if word is None:
            raise _too_new(value)
        self._out.append(encode_list_head(size + 1) + word)
        writers = _WRITERS
        for item in items:
            writers.get(type(item), _OBJECT)(self, item)
        self._depth -= 1

    def _tuple(self, value: tuple[Value, ...]) -> None:
        if value:
            self._items(value)
        else:  # Python has only one, so it is not shared
            self._out.append(self._words.empty_tuple)

    def _dict(self, value: dict[Value, Value]) -> None:
        pairs = tuple(value.items())  # a hook may change it, see _items
        if len(pairs) >= self._limits.list_items:
            raise _cannot(
                value,
                f"{len(pairs)} items; a dictionary may have {self._limits.list_items} (Limits.list_items)",
            )
        if self._again(value):
            return
        self._enter(value, 2)
        out = self._out
        out.append(encode_list_head(len(pairs) + 1) + self._words.containers[dict])
        keys = self._words.keys
        writers = _WRITERS
        for key, item in pairs:
            if type(key) is str:
                out.append(keys.get(key) or self._key(key))
            else:
                out.append(_PAIR)
                writers.get(type(key), _OBJECT)(self, key)
            writers.get(type(item), _OBJECT)(self, item)
        self._depth -= 2

    def _key(self, key: str) -> bytes:
        """Return the start of a pair whose key is text; cached, because the same keys are sent again and again."""
        piece = _PAIR + self._text(key)
        if len(key) <= MAX_KEPT_KEY:
            keys = self._words.keys
            if len(keys) >= MAX_KEPT_KEYS:
                keys.clear()
            keys[key] = piece
        return piece

    def _decimal(self, value: Decimal) -> None:
        sign, digits, exponent = value.as_tuple()
        if sign and not any(digits):
            raise _cannot(value, "a negative zero, whose sign the classic dialect cannot send")
        if not isinstance(exponent, int) or abs(exponent) > MAX_EXPONENT:
            raise _cannot(value, "a decimal that is infinite, not a number, or out of decimal128's range")
        bits = self._limits.int_bits
        # A digit has more than one bit. Very many digits are slow to convert.
        if len(digits) > bits or (number := int("".join(map(str, digits)))).bit_length() > bits:
            raise _cannot(value, f"a decimal of {len(digits)} digits; an integer may have {bits} bits")
        if self._words.spelling.old:
            raise _too_new(value)
        self._out.append(self._words.decimal)
        self._out.append(encode_integer(-number if sign else number, bits))
        self._out.append(encode_integer(exponent))

    def _datetime(self, value: datetime.datetime) -> None:
        if value.tzinfo is not None:
            raise _cannot(
                value, "an aware datetime; the classic dialect has no time zones, send UTC without one"
            )
        _check_fold(value)
        v = value
        self._text_atom(
            value, b"datetime", f"{v.year} {v.month} {v.day} {v.hour} {v.minute} {v.second} {v.microsecond}"
        )

    def _date(self, value: datetime.date) -> None:
        self._text_atom(value, b"date", f"{value.year} {value.month} {value.day}")

    def _time(self, value: datetime.time) -> None:
        if value.tzinfo is not None:
            raise _cannot(value, "an aware time; the classic dialect has no time zones")
        _check_fold(value)
        self._text_atom(value, b"time", f"{value.hour} {value.minute} {value.second} {value.microsecond}")

    def _timedelta(self, value: datetime.timedelta) -> None:
        self._text_atom(value, b"timedelta", f"{value.days} {value.seconds} {value.microseconds}")

    def _text_atom(self, value: Value, word: bytes, text: str) -> None:
        spelling = self._words.spelling
        if spelling.old:
            raise _too_new(value)
        self._out.append(spelling.list_of(2, word) + spelling.string(text.encode()))

    def _exportable(self, value: Exportable) -> None:
        luid = self._exporter.export(value, self._perspective)
        self.exported.append(luid)
        self._out.append(self._words.remote + encode_integer(luid))

    def _object(self, value: Value) -> None:
        """Write an object by its flavor."""
        if isinstance(value, Reference) and (home := self._exporter.home_id(value)) is not None:
            self._out.append(self._words.local)
            self._jelly(home if isinstance(home, int) else home.encode())
        elif isinstance(value, RemoteCache) and (kept := self._exporter.home_cache_id(value)) is not None:
            self._out.append(self._words.lcache + encode_integer(kept))
        elif isinstance(value, Exportable):  # before Copyable: an object that is both stays here
            self._exportable(value)
        elif isinstance(value, Cacheable):
            self._cacheable(value)
        elif isinstance(value, Copyable):
            self._copyable(value)
        elif (form := self._registry.find_form(type(value))) is not None:
            self._formed(value, form)
        elif isinstance(value, BaseException):
            self._failure(Failure.of(value))
        elif isinstance(value, Graph):
            self._jelly(value.value)  # the classic dialects keep shared containers shared anyway
        elif (adapted := self._exporter.adapt(value)) is not value:
            self._jelly(adapted)
        elif (plain := scalar_of(value)) is not value:
            self._jelly(plain)
        else:
            raise _cannot(value, no_form(value, f"the classic dialect {self._words.spelling.name!r}"))

    def _cacheable(self, value: Cacheable) -> None:
        luid, state = self._exporter.export_cache(value, self._perspective)
        self._cached.append(luid)
        if state is SENT_BEFORE:
            self._out.append(self._words.cached + encode_integer(luid))
            return
        self._enter(value)
        tag = value.get_type_to_copy_for(self._perspective)
        self._out.append(
            encode_list_head(3) + self._words.spelling.string(tag.encode()) + encode_integer(luid)
        )
        self._jelly(state)
        self._depth -= 1

    def _copyable(self, value: Copyable) -> None:
        if self._again(value):
            return
        tag = value.get_type_to_copy_for(self._perspective)
        self._tagged(value, tag, value.get_state_to_copy_for(self._perspective))

    def _formed(self, value: Value, form: Form) -> None:
        """Write an object of a class that is registered as a value."""
        if id(value) in self._forming:  # the receiver makes it when all of its fields have been decoded
            raise _cannot(value, f"a {type(value).__name__} that contains itself, which no value can")
        if self._again(value):
            return
        around = self._forming
        self._forming = around | {id(value)}
        self._tagged(value, form.tag, form.state(value))
        self._forming = around

    def _tagged(self, value: Value, tag: str, state: Value) -> None:
        self._enter(value)
        self._out.append(encode_list_head(2) + self._words.spelling.string(tag.encode()))
        self._jelly(state)
        self._depth -= 1

    def jelly_failure(self, failure: Failure) -> bytes:
        """Return an encoded exception, in the form that classic peers know."""
        self._failure(failure)
        return b"".join(self._out)

    def _failure(self, failure: Failure) -> None:
        self._enter(failure)
        self._out.append(encode_list_head(2) + self._words.spelling.string(FAILURE_TAG))
        self._dict(failure_state(failure, old=self._words.spelling.old))
        self._depth -= 1


class _Words:
    """The beginnings of lists in one spelling, encoded once."""

    __slots__ = (
        "cached",
        "containers",
        "decimal",
        "dereference",
        "empty_tuple",
        "false",
        "keys",
        "lcache",
        "local",
        "none",
        "reference",
        "remote",
        "spelling",
        "true",
    )

    def __init__(self, spelling: Spelling) -> None:
        self.spelling = spelling
        self.keys: dict[str, bytes] = {}  # see Jellier._key
        self.containers: dict[type, bytes] = {
            list: spelling.string(b"list"),
            tuple: spelling.string(b"tuple"),
            dict: spelling.string(b"dictionary"),
        }
        if not spelling.old:
            self.containers[set] = spelling.string(b"set")
            self.containers[frozenset] = spelling.string(b"frozenset")
        self.empty_tuple = spelling.list_of(1, b"tuple")
        self.none = spelling.list_of(1, b"None")
        boolean = spelling.list_of(2, b"boolean")
        self.true = encode_integer(1) if spelling.old else boolean + spelling.string(b"true")
        self.false = encode_integer(0) if spelling.old else boolean + spelling.string(b"false")
        self.decimal = spelling.list_of(3, b"decimal")
        self.reference = spelling.list_of(3, b"reference")
        self.dereference = spelling.list_of(2, b"dereference")
        self.remote = spelling.list_of(2, b"remote")
        self.local = spelling.list_of(2, b"local")
        self.cached = spelling.list_of(2, b"cached")
        self.lcache = spelling.list_of(2, b"lcache")


_WORDS: Final = {spelling: _Words(spelling) for spelling in (PB, NONE, *OF_2002.values())}

_PAIR: Final = encode_list_head(2)

_WRITERS: Final[dict[type, Callable[[Jellier, Value], None]]] = {
    str: Jellier._str,
    int: Jellier._int,
    bytes: Jellier._bytes,
    float: Jellier._float,
    type(None): Jellier._none,
    bool: Jellier._bool,
    list: Jellier._items,
    tuple: Jellier._tuple,
    set: Jellier._items,
    frozenset: Jellier._items,
    dict: Jellier._dict,
    Decimal: Jellier._decimal,
    datetime.datetime: Jellier._datetime,
    datetime.date: Jellier._date,
    datetime.time: Jellier._time,
    datetime.timedelta: Jellier._timedelta,
}


def _OBJECT(jellier: Jellier, value: Value) -> None:
    """Write a value whose type is not plain; a subclass may know more types."""
    jellier._object(value)


def _cannot(culprit: object, why: str) -> SerializationError:
    """Return the error of a ``culprit``, a part of a value that cannot cross. Its path is found later."""
    return SerializationError(why, culprit=culprit)


def _check_fold(value: datetime.datetime | datetime.time) -> None:
    if value.fold:
        raise _cannot(
            value, "a time of the second of two equal hours (fold=1), which the classic dialect cannot send"
        )


def _too_new(culprit: object) -> SerializationError:
    return _cannot(
        culprit, f"the peer is a program of 2002, to which a {type(culprit).__name__} cannot cross"
    )
