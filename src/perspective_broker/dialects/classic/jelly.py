"""Jelly: Python values as banana lists, straight to bytes one way, from banana's lists the other.

What is shared inside one value stays shared, cycles included: the second time a container is met, its first
place is wrapped as ``(reference n x)`` and this one becomes ``(dereference n)``. Because a banana list is
announced by its length in front and has no end mark, wrapping is nothing but putting bytes before the first
place's own.
"""

from __future__ import annotations

import datetime
import re
from collections.abc import Callable
from decimal import Decimal
from typing import Any, Final, NoReturn, TypeAlias

from ...errors import DecodeError, InsecureJelly, SerializationError
from ...flavors import Cacheable, Copyable, Exportable, Failure, Policy, Reference, Registry, RemoteCache
from ...limits import Limits
from ...ports import SENT_BEFORE, Exporter, Importer
from .banana import encode_float, encode_integer, encode_list_head
from .failures import FAILURE_TAG, failure_from_state, failure_state
from .vocabulary import Spelling, base128

__all__ = ["Jellier", "Unjellier"]

#: Exponents of decimals: the range of IEEE 754-2008 decimal128. An honest 135-digit value fits; a forged
#: exponent of a billion would make the first ``int(value)`` eat the machine.
MAX_EXPONENT: Final = 6176

#: Integers that may be dictionary keys or in sets: beyond 64 bits one can choose many with the same hash.
MAX_KEY_BITS: Final = 64


class Jellier:
    """One value to bytes. Made anew for every value; collects what the value exported, for a rollback.

    Args:
        spelling: of the dialect.
        exporter: turns objects into ids.
        perspective: under which the value crosses.
        limits: of the connection; the peer is taken to have the same.
    """

    __slots__ = (
        "_cached",
        "_deepest",
        "_depth",
        "_exporter",
        "_limits",
        "_numbers",
        "_out",
        "_perspective",
        "_seen",
        "_words",
        "exported",
    )

    def __init__(self, spelling: Spelling, exporter: Exporter, perspective: Any, limits: Limits) -> None:
        self._words = _heads(spelling)
        self._exporter = exporter
        self._perspective = perspective
        self._limits = limits
        self._out: list[bytes] = []
        #: id of a container -> its place in _out, and the container, so that the id stays its own.
        self._seen: dict[int, tuple[int, Any]] = {}
        self._numbers: dict[int, int] = {}  # id of a container that was met again -> its reference number
        self._cached: list[int] = []  # the same of replicas
        self.exported: list[int] = []  #: ids that the value counts, one entry for every count
        self._depth = 1  # the message around the value
        self._deepest = 1

    @property
    def nodes_at_most(self) -> int:
        """No fewer than the items that a decoder will charge for: every piece announces three at most."""
        return 3 * len(self._out) + 8

    @property
    def depth_at_most(self) -> int:
        """No less than the depth of the lists written: each one wrapped as a reference is a level more."""
        return self._deepest + min(len(self._numbers), self._deepest)

    def jelly(self, value: Any) -> bytes:
        """Return ``value`` as bytes.

        Raises:
            SerializationError: it cannot cross; ``.culprit`` is the part that cannot.
            Exception: whatever a hook of the application raised. In both cases nothing stays exported.
        """
        try:
            self._jelly(value)
        except RecursionError:
            self.rollback()
            raise SerializationError("nested too deep for this call stack") from None
        except BaseException:
            self.rollback()
            raise
        return b"".join(self._out)

    def rollback(self) -> None:
        """Take back what :meth:`jelly` exported: the message will not be sent."""
        for luid in reversed(self.exported):
            self._exporter.retract(luid)
        self.exported.clear()
        for luid in reversed(self._cached):
            self._exporter.retract_cache(luid)
        self._cached.clear()

    def _jelly(self, value: Any) -> None:
        kind = type(value)
        if kind is str:
            self._str(value)
        elif kind is int:
            self._out.append(encode_integer(value, self._limits.int_bits))
        elif kind is bytes:
            self._bytes(value)
        else:
            write = _WRITERS.get(kind)
            if write is not None:
                write(self, value)
            else:
                self._object(value)

    def _str(self, value: str) -> None:
        try:
            data = value.encode()
        except UnicodeEncodeError:
            raise _cannot(value, "text with a lone surrogate has no UTF-8 form") from None
        self._out.append(self._words.spelling.unicode)
        self._bytes(data)

    def _bytes(self, value: bytes) -> None:
        size = len(value)
        if size > self._limits.string_bytes:
            raise _cannot(
                value,
                f"{size} bytes in one string; classic peers read at most {self._limits.string_bytes}, "
                "send it in pieces",
            )
        # A word costs more to look up than to write when it is long; the longest has 13 letters.
        self._out.append(self._words.spelling.string(value) if size < 16 else base128(size) + b"\x82" + value)

    def _float(self, value: float) -> None:
        self._out.append(encode_float(value))

    def _none(self, value: None) -> None:
        self._out.append(self._words.none)

    def _bool(self, value: bool) -> None:
        self._out.append(self._words.true if value else self._words.false)

    def _again(self, value: Any) -> bool:
        """Write a container that was met before as a dereference; else note its place and return False."""
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

    def _enter(self, value: Any, levels: int = 1) -> None:
        """Go one container down; every list, as banana counts them, is a level, and so may a reference be."""
        self._depth += levels
        if self._depth > self._deepest:
            self._deepest = self._depth
        if self._depth >= self._limits.depth:
            raise _cannot(value, f"nested too deep; a message may have {self._limits.depth} levels")

    def _items(self, value: Any, word: bytes) -> None:
        if len(value) >= self._limits.list_items:
            raise _cannot(value, f"{len(value)} items; a list may have {self._limits.list_items}")
        if self._again(value):
            return
        self._enter(value)
        self._out.append(encode_list_head(len(value) + 1) + word)
        for item in value:
            self._jelly(item)
        self._depth -= 1

    def _list(self, value: list[Any]) -> None:
        self._items(value, self._words.list)

    def _tuple(self, value: tuple[Any, ...]) -> None:
        if value:
            self._items(value, self._words.tuple)
        else:  # there is but one, which is not sharing
            self._out.append(encode_list_head(1) + self._words.tuple)

    def _set(self, value: set[Any]) -> None:
        self._items(value, self._words.set)

    def _frozenset(self, value: frozenset[Any]) -> None:
        self._items(value, self._words.frozenset)

    def _dict(self, value: dict[Any, Any]) -> None:
        if len(value) >= self._limits.list_items:
            raise _cannot(value, f"{len(value)} items; a dictionary may have {self._limits.list_items}")
        if self._again(value):
            return
        self._enter(value, 2)
        out = self._out
        out.append(encode_list_head(len(value) + 1) + self._words.dictionary)
        for key, item in value.items():
            out.append(_PAIR)
            self._jelly(key)
            self._jelly(item)
        self._depth -= 2

    def _decimal(self, value: Decimal) -> None:
        sign, digits, exponent = value.as_tuple()
        if not isinstance(exponent, int) or abs(exponent) > MAX_EXPONENT:
            raise _cannot(value, "a decimal that is infinite, not a number, or out of decimal128's range")
        number = int("".join(map(str, digits)) or "0")
        self._out.append(self._words.decimal)
        self._out.append(encode_integer(-number if sign else number, self._limits.int_bits))
        self._out.append(encode_integer(exponent))

    def _datetime(self, value: datetime.datetime) -> None:
        if value.tzinfo is not None:
            raise _cannot(
                value, "an aware datetime; the classic dialect has no time zones, send UTC without one"
            )
        v = value
        self._text_atom(
            b"datetime", f"{v.year} {v.month} {v.day} {v.hour} {v.minute} {v.second} {v.microsecond}"
        )

    def _date(self, value: datetime.date) -> None:
        self._text_atom(b"date", f"{value.year} {value.month} {value.day}")

    def _time(self, value: datetime.time) -> None:
        if value.tzinfo is not None:
            raise _cannot(value, "an aware time; the classic dialect has no time zones")
        self._text_atom(b"time", f"{value.hour} {value.minute} {value.second} {value.microsecond}")

    def _timedelta(self, value: datetime.timedelta) -> None:
        self._text_atom(b"timedelta", f"{value.days} {value.seconds} {value.microseconds}")

    def _text_atom(self, word: bytes, text: str) -> None:
        spelling = self._words.spelling
        self._out.append(spelling.list_of(2, word) + spelling.string(text.encode()))

    def _object(self, value: Any) -> None:
        """Write an object by its flavor."""
        if isinstance(value, Reference):
            home = self._exporter.home_id(value)
            self._out.append(self._words.local)
            self._jelly(home if isinstance(home, int) else home.encode())
        elif isinstance(value, RemoteCache) and (kept := self._exporter.home_cache_id(value)) is not None:
            self._out.append(self._words.lcache + encode_integer(kept))
        elif isinstance(value, Cacheable):
            self._cacheable(value)
        elif isinstance(value, Copyable):
            self._copyable(value)
        elif isinstance(value, Exportable):
            luid = self._exporter.export(value, self._perspective)
            self.exported.append(luid)
            self._out.append(self._words.remote + encode_integer(luid))
        elif isinstance(value, BaseException):
            self._failure(Failure.of(value))
        else:
            raise _cannot(
                value,
                f"a {type(value).__name__} has no form here; derive it from a flavor (pb.Copyable, "
                "pb.Referenceable) or send plain values",
            )

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
        state = value.get_state_to_copy_for(self._perspective)
        self._enter(value)
        self._out.append(encode_list_head(2) + self._words.spelling.string(tag.encode()))
        self._jelly(state)
        self._depth -= 1

    def jelly_failure(self, failure: Failure) -> bytes:
        """Return an exception in the form that classic peers know."""
        self._failure(failure)
        return b"".join(self._out)

    def _failure(self, failure: Failure) -> None:
        """Write an exception in the form that classic peers know."""
        self._out.append(encode_list_head(2) + self._words.spelling.string(FAILURE_TAG))
        self._jelly(failure_state(failure))


class _Heads:
    """The constant beginnings of a spelling's lists."""

    __slots__ = (
        "cached",
        "decimal",
        "dereference",
        "dictionary",
        "false",
        "frozenset",
        "lcache",
        "list",
        "local",
        "none",
        "reference",
        "remote",
        "set",
        "spelling",
        "true",
        "tuple",
    )

    def __init__(self, spelling: Spelling) -> None:
        self.spelling = spelling
        self.none = spelling.list_of(1, b"None")
        self.true = spelling.list_of(2, b"boolean") + spelling.string(b"true")
        self.false = spelling.list_of(2, b"boolean") + spelling.string(b"false")
        self.list = spelling.string(b"list")
        self.tuple = spelling.string(b"tuple")
        self.set = spelling.string(b"set")
        self.frozenset = spelling.string(b"frozenset")
        self.dictionary = spelling.string(b"dictionary")
        self.decimal = spelling.list_of(3, b"decimal")
        self.reference = spelling.list_of(3, b"reference")
        self.dereference = spelling.list_of(2, b"dereference")
        self.remote = spelling.list_of(2, b"remote")
        self.local = spelling.list_of(2, b"local")
        self.cached = spelling.list_of(2, b"cached")
        self.lcache = spelling.list_of(2, b"lcache")


_HEADS: Final[dict[str, _Heads]] = {}


def _heads(spelling: Spelling) -> _Heads:
    heads = _HEADS.get(spelling.name)
    if heads is None:
        heads = _HEADS[spelling.name] = _Heads(spelling)
    return heads


_PAIR: Final = encode_list_head(2)

_WRITERS: Final[dict[type, Callable[[Jellier, Any], None]]] = {
    str: Jellier._str,
    bytes: Jellier._bytes,
    float: Jellier._float,
    type(None): Jellier._none,
    bool: Jellier._bool,
    list: Jellier._list,
    tuple: Jellier._tuple,
    set: Jellier._set,
    frozenset: Jellier._frozenset,
    dict: Jellier._dict,
    Decimal: Jellier._decimal,
    datetime.datetime: Jellier._datetime,
    datetime.date: Jellier._date,
    datetime.time: Jellier._time,
    datetime.timedelta: Jellier._timedelta,
}


def _cannot(culprit: Any, why: str) -> SerializationError:
    """Return the error that ``culprit``, some part of a value, cannot cross; its path is found later."""
    return SerializationError(why, culprit=culprit)


class _Pending:
    """A value that is still being built and that something inside of it already mentions.

    Only what cannot be made before its parts needs one: tuples, frozensets, products of factories.
    """

    __slots__ = ("_waiting",)

    def __init__(self) -> None:
        self._waiting: list[Callable[[Any], None]] = []

    def when_known(self, callback: Callable[[Any], None]) -> None:
        self._waiting.append(callback)

    def resolve(self, value: Any) -> None:
        waiting, self._waiting = self._waiting, []
        for callback in waiting:
            if isinstance(value, _Pending):
                value.when_known(callback)
            else:
                callback(value)


class Unjellier:
    """One value from banana's lists. Made anew for every value.

    Args:
        importer: turns ids into objects.
        perspective: which the references in the value will remember.
        readers: what may be read, see :func:`readers_for`.
        registry: what type tags mean.
        policy: which of them may be used.
    """

    __slots__ = (
        "_importer",
        "_known",
        "_late",
        "_perspective",
        "_policy",
        "_readers",
        "_registry",
        "_unresolved",
    )

    def __init__(
        self,
        importer: Importer,
        perspective: Any,
        readers: Readers,
        registry: Registry,
        policy: Policy,
    ) -> None:
        self._importer = importer
        self._perspective = perspective
        self._readers = readers
        self._registry = registry
        self._policy = policy
        self._known: dict[int, Any] = {}  # reference number -> value or _Pending
        self._unresolved = 0  # _Pendings that are not resolved
        self._late: list[Callable[[], None]] = []  # states that could not be set yet

    def unjelly(self, jelly: Any) -> Any:
        """Return the value that ``jelly`` stands for.

        Raises:
            DecodeError: it stands for none. (Or another :class:`CallError`: the id of an object of ours that
                the peer does not hold.)
        """
        try:
            value = self._value(jelly)
            if self._unresolved or type(value) is _Pending:
                raise DecodeError("a value that contains itself in a way that cannot be built")
            for late in self._late:
                late()
        except (TypeError, ValueError, OverflowError, IndexError, KeyError) as error:
            raise DecodeError(f"malformed value ({type(error).__name__})") from None
        except RecursionError:
            raise DecodeError("nested too deep for this call stack") from None
        return value

    def _value(self, jelly: Any) -> Any:
        if type(jelly) is not list:
            return jelly
        if not jelly or type(jelly[0]) is not bytes:
            raise DecodeError("a list must start with a type's name")
        read = self._readers.get(jelly[0])
        if read is not None:
            return read(self, jelly)
        return self._copy(jelly)

    # -- values that hold no others

    def _none(self, jelly: list[Any]) -> None:
        _fields(jelly, 1)

    def _boolean(self, jelly: list[Any]) -> bool:
        _fields(jelly, 2)
        if jelly[1] == b"true":
            return True
        if jelly[1] == b"false":
            return False
        raise DecodeError("a boolean is true or false")

    def _unicode(self, jelly: list[Any]) -> str:
        text = jelly[1]
        if type(text) is not bytes or len(jelly) != 2:
            raise DecodeError("text must be one string")
        return text.decode()  # a UnicodeDecodeError is a ValueError

    def _decimal(self, jelly: list[Any]) -> Decimal:
        _fields(jelly, 3)
        number, exponent = jelly[1], jelly[2]
        if type(number) is not int or type(exponent) is not int or abs(exponent) > MAX_EXPONENT:
            raise DecodeError("a decimal is an integer and an exponent within decimal128's range")
        digits = tuple(map(int, str(abs(number))))
        return Decimal((int(number < 0), digits, exponent))

    def _datetime(self, jelly: list[Any]) -> datetime.datetime:
        year, month, day, hour, minute, second, microsecond = _numbers(jelly, _DATETIME)
        return datetime.datetime(year, month, day, hour, minute, second, microsecond)

    def _date(self, jelly: list[Any]) -> datetime.date:
        year, month, day = _numbers(jelly, _DATE)
        return datetime.date(year, month, day)

    def _time(self, jelly: list[Any]) -> datetime.time:
        hour, minute, second, microsecond = _numbers(jelly, _TIME)
        return datetime.time(hour, minute, second, microsecond)

    def _timedelta(self, jelly: list[Any]) -> datetime.timedelta:
        days, seconds, microseconds = _numbers(jelly, _TIMEDELTA)
        return datetime.timedelta(days, seconds, microseconds)

    # -- containers: those that can change are made first and filled then, so that they may hold themselves

    def _list(self, jelly: list[Any]) -> list[Any]:
        return self._fill_list([], jelly)

    def _fill_list(self, into: list[Any], jelly: list[Any]) -> list[Any]:
        value = self._value
        into.extend([item if type(item) is not list else value(item) for item in jelly[1:]])
        if self._unresolved:
            for index, item in enumerate(into):
                if type(item) is _Pending:
                    item.when_known(lambda known, index=index: into.__setitem__(index, known))  # type: ignore[misc]
        return into

    def _dictionary(self, jelly: list[Any]) -> dict[Any, Any]:
        return self._fill_dictionary({}, jelly)

    def _fill_dictionary(self, into: dict[Any, Any], jelly: list[Any]) -> dict[Any, Any]:
        value = self._value
        pairs = iter(jelly)
        next(pairs)
        for pair in pairs:
            if type(pair) is not list:
                raise DecodeError("a dictionary is made of pairs")
            key, item = pair
            if type(key) is list:
                key = value(key)
            if type(item) is list:
                item = value(item)
            if type(key) is not str:
                if type(key) is _Pending or type(item) is _Pending:
                    self._pair_when_known(into, key, item)
                    continue
                _check_key(key)
            elif type(item) is _Pending:
                item.when_known(lambda known, key=key: into.__setitem__(key, known))  # type: ignore[misc]
            into[key] = item  # of duplicate keys the last wins, as with every classic peer
        return into

    def _pair_when_known(self, into: dict[Any, Any], key: Any, item: Any) -> None:
        def put(pair: tuple[Any, Any]) -> None:
            _check_key(pair[0])
            into[pair[0]] = pair[1]

        self._gather([key, item], lambda parts: (parts[0], parts[1])).when_known(put)

    def _set(self, jelly: list[Any]) -> set[Any]:
        return self._fill_set(set(), jelly)

    def _fill_set(self, into: set[Any], jelly: list[Any]) -> set[Any]:
        def put(item: Any) -> None:
            _check_key(item)
            into.add(item)

        for part in jelly[1:]:
            item = self._value(part)
            if type(item) is _Pending:
                item.when_known(put)
            else:
                put(item)
        return into

    def _tuple(self, jelly: list[Any]) -> Any:
        value = self._value
        parts = [item if type(item) is not list else value(item) for item in jelly[1:]]
        if self._unresolved and any(type(part) is _Pending for part in parts):
            return self._gather(parts, tuple)
        return tuple(parts)

    def _frozenset(self, jelly: list[Any]) -> Any:
        def make(parts: list[Any]) -> frozenset[Any]:
            for part in parts:
                _check_key(part)
            return frozenset(parts)

        parts = [self._value(item) for item in jelly[1:]]
        if self._unresolved and any(type(part) is _Pending for part in parts):
            return self._gather(parts, make)
        return make(parts)

    def _gather(self, parts: list[Any], make: Callable[[list[Any]], Any]) -> _Pending:
        """Return the promise of ``make(parts)``, kept when the last of the pending parts is known."""
        whole = _Pending()
        self._unresolved += 1
        missing = sum(type(part) is _Pending for part in parts)

        def put(index: int, known: Any) -> None:
            nonlocal missing
            parts[index] = known
            missing -= 1
            if not missing:
                self._unresolved -= 1
                whole.resolve(make(parts))

        for index, part in enumerate(parts):
            if type(part) is _Pending:
                part.when_known(lambda known, index=index: put(index, known))  # type: ignore[misc]
        return whole

    # -- sharing

    def _reference(self, jelly: list[Any]) -> Any:
        _fields(jelly, 3)
        number, inner = jelly[1], jelly[2]
        if type(number) is not int or number in self._known:
            raise DecodeError("a reference number must be an integer, used once")
        if type(inner) is not list or not inner or type(inner[0]) is not bytes:
            raise DecodeError("a reference must stand before a list")
        read = self._readers.get(inner[0])
        fill = _FILLERS.get(inner[0]) if read is not None else None
        if fill is not None:
            container, fill_it = fill
            self._known[number] = value = container()
            fill_it(self, value, inner)
        elif read is None and len(inner) == 2 and (cls := self._class(inner)) is not None:
            self._known[number] = value = _instance(cls)
            self._set_state(value, inner)
        else:
            pending = self._known[number] = _Pending()
            self._unresolved += 1
            value = self._known[number] = self._value(inner)
            self._unresolved -= 1
            pending.resolve(value)
        return value

    def _dereference(self, jelly: list[Any]) -> Any:
        _fields(jelly, 2)
        number = jelly[1]
        if type(number) is not int or number not in self._known:
            raise DecodeError("a reference number that was never defined")
        return self._known[number]

    # -- flavors

    def _remote(self, jelly: list[Any]) -> Any:
        _fields(jelly, 2)
        luid = jelly[1]
        if type(luid) is not int or luid < 0:
            raise DecodeError("an object id is a positive integer")
        return self._importer.import_reference(luid, self._perspective)

    def _local(self, jelly: list[Any]) -> Any:
        _fields(jelly, 2)
        luid = jelly[1]
        if type(luid) is bytes:
            luid = luid.decode()
        if type(luid) is not int and type(luid) is not str:
            raise DecodeError("an object id is an integer or a name")
        return self._importer.local_object(luid)

    def _cached(self, jelly: list[Any]) -> Any:
        return self._importer.import_cache(_cache_id(jelly, 1))

    def _lcache(self, jelly: list[Any]) -> Any:
        return self._importer.local_cache(_cache_id(jelly, 1))

    def _failure(self, jelly: list[Any]) -> Exception:
        _fields(jelly, 2)
        return failure_from_state(self._value(jelly[1])).as_exception(self._registry)

    def _class(self, jelly: list[Any]) -> type | None:
        """Return the class registered under the list's tag; None when a factory is.

        Raises:
            InsecureJelly: neither is, or this connection may not use it.
        """
        tag = jelly[0].decode()
        if self._policy.allows_class(tag):
            found = self._registry.find_class(tag)
            if found is not None or self._registry.find_factory(tag) is not None:
                return found
        shown = tag if len(tag) <= 64 else tag[:61] + "..."
        raise InsecureJelly(f"{shown!a} is not allowed here: no class or factory is registered for it")

    def _copy(self, jelly: list[Any]) -> Any:
        cls = self._class(jelly)
        if len(jelly) == 3:
            return self._introduce(cls, jelly)
        if cls is not None:
            value = _instance(cls)
            self._set_state(value, jelly)
            return value
        factory = self._registry.find_factory(jelly[0].decode())
        assert factory is not None
        _fields(jelly, 2)
        state = self._value(jelly[1])
        if type(state) is _Pending:
            raise DecodeError("a state that contains its own object in a way that cannot be built")
        return _guarded(factory, state)

    def _introduce(self, cls: type | None, jelly: list[Any]) -> Any:
        """Read a cacheable that is sent for the first time: tag, id, state."""
        luid = _cache_id(jelly, 1)
        if cls is None or not issubclass(cls, RemoteCache):
            # It is ours to give back all the same: a replica made and dropped does that.
            self._importer.introduce_cache(luid, RemoteCache)
            raise InsecureJelly("a cacheable needs a class registered that is a RemoteCache")
        value = self._importer.introduce_cache(luid, cls)
        self._set_state(value, jelly, 3)
        return value

    def _set_state(self, value: Any, jelly: list[Any], fields: int = 2) -> None:
        _fields(jelly, fields)
        state = self._value(jelly[-1])
        if type(state) is _Pending:
            raise DecodeError("a state that contains its own object in a way that cannot be built")
        if self._unresolved:
            self._late.append(lambda: _guarded(value.set_copyable_state, state))
        else:
            _guarded(value.set_copyable_state, state)


Readers: TypeAlias = dict[bytes, Callable[[Unjellier, list[Any]], Any]]

_READERS: Final[Readers] = {
    b"None": Unjellier._none,
    b"boolean": Unjellier._boolean,
    b"unicode": Unjellier._unicode,
    b"decimal": Unjellier._decimal,
    b"datetime": Unjellier._datetime,
    b"date": Unjellier._date,
    b"time": Unjellier._time,
    b"timedelta": Unjellier._timedelta,
    b"list": Unjellier._list,
    b"dictionary": Unjellier._dictionary,
    b"set": Unjellier._set,
    b"tuple": Unjellier._tuple,
    b"frozenset": Unjellier._frozenset,
    b"reference": Unjellier._reference,
    b"dereference": Unjellier._dereference,
    b"remote": Unjellier._remote,
    b"local": Unjellier._local,
    b"cached": Unjellier._cached,
    b"lcache": Unjellier._lcache,
    FAILURE_TAG: Unjellier._failure,
}

_FILLERS: Final[dict[bytes, tuple[type, Callable[..., Any]]]] = {
    b"list": (list, Unjellier._fill_list),
    b"dictionary": (dict, Unjellier._fill_dictionary),
    b"set": (set, Unjellier._fill_set),
}


def readers_for(policy: Policy) -> Readers:
    """Return the readers of the types that ``policy`` allows; made once per connection."""

    def refuse(unjellier: Unjellier, jelly: list[Any]) -> NoReturn:
        raise InsecureJelly(f"values of type {jelly[0].decode()} are not allowed here")

    return {
        word: read if word == FAILURE_TAG or policy.allows_type(word.decode()) else refuse
        for word, read in _READERS.items()
    }


def _instance(cls: Any) -> Any:
    """Return an instance that has no state yet."""
    return cls.__new__(cls)


def _guarded(take: Callable[[Any], Any], state: Any) -> Any:
    """Let an application's class take a state; whatever it raises, the state was not good for it."""
    try:
        return take(state)
    except DecodeError:
        raise
    except Exception as error:
        raise DecodeError(f"a state was refused by its class ({type(error).__name__})") from error


def _fields(jelly: list[Any], count: int) -> None:
    if len(jelly) != count:
        raise DecodeError(
            f"{jelly[0].decode('ascii', 'replace')[:32]} takes {count - 1} fields, not {len(jelly) - 1}"
        )


def _cache_id(jelly: list[Any], index: int) -> int:
    """Return the id of a replica."""
    luid = jelly[index]
    if type(luid) is not int or luid < 0:
        raise DecodeError("a replica's id is a positive integer")
    return luid


def _check_key(key: Any) -> None:
    """Refuse keys that cannot be found again, or of which many with one hash are easily made."""
    kind = type(key)
    if kind is int:
        if key.bit_length() > MAX_KEY_BITS:
            raise DecodeError(f"an integer key may have {MAX_KEY_BITS} bits")
    elif kind is float and key != key:
        raise DecodeError("not-a-number cannot be a key")
    hash(key)


# Digits only: int() would take underscores and signs as well.
_DATETIME: Final = re.compile(rb"(\d{1,4}) (\d{1,2}) (\d{1,2}) (\d{1,2}) (\d{1,2}) (\d{1,2}) (\d{1,6})")
_DATE: Final = re.compile(rb"(\d{1,4}) (\d{1,2}) (\d{1,2})")
_TIME: Final = re.compile(rb"(\d{1,2}) (\d{1,2}) (\d{1,2}) (\d{1,6})")
_TIMEDELTA: Final = re.compile(rb"(-?\d{1,9}) (\d{1,5}) (\d{1,6})")


def _numbers(jelly: list[Any], form: re.Pattern[bytes]) -> tuple[int, ...]:
    _fields(jelly, 2)
    text = jelly[1]
    match = form.fullmatch(text) if type(text) is bytes else None
    if match is None:
        raise DecodeError(f"not a {jelly[0].decode()}")
    return tuple(map(int, match.groups()))
