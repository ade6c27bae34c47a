"""From values to JSON: the expressions that calls and answers are made of.

Ids are not written here, because they are given when a message leaves (:mod:`.ids`). In their place stands a mark, of a
letter and a number between two NUL characters, which JSON text cannot contain.
"""

from __future__ import annotations

import datetime
import math
from array import array
from typing import Any, Final

import msgspec

from ...errors import SerializationError
from ...flavors import Cacheable, Copyable, Exportable, Reference, RemoteCache
from ...ports import Exporter, Perspective, PromisedAnswer, Value
from .containers import bytes_tree
from .failures import error_tree

__all__ = ["DROPPED_KEYS", "Encoder", "to_json"]

#: Integers that JavaScript's numbers hold exactly.
_SAFE: Final = 2**53 - 1

#: Keys that a JavaScript peer drops from objects without a word: names of ``Object.prototype``, and ``toJSON``.
DROPPED_KEYS: Final = frozenset(
    "constructor hasOwnProperty isPrototypeOf propertyIsEnumerable toLocaleString toString valueOf toJSON "
    "__proto__ __defineGetter__ __defineSetter__ __lookupGetter__ __lookupSetter__".split()
)

#: Levels of lists and dictionaries that the package reads.
_DEPTH: Final = 250

_AS_THEY_ARE: Final = frozenset({type(None), bool})
_BASES: Final[tuple[Any, ...]] = (str, int, float, list, dict)
_EPOCH: Final = datetime.datetime(1970, 1, 1, tzinfo=datetime.UTC)
_MICROSECOND: Final = datetime.timedelta(microseconds=1)

to_json = msgspec.json.Encoder().encode


class Encoder:
    """Makes the expressions of one message.

    Args:
        exporter: turns our objects into ids.
        perspective: under which values are encoded.
        of_answer: whether the message is an answer.
    """

    __slots__ = ("_depth", "_exported", "_exporter", "_perspective")

    def __init__(self, exporter: Exporter, perspective: Perspective) -> None:
        self._exporter = exporter
        self._perspective = perspective
        self._exported: list[int] = []
        self._depth = 0

    def encode(self, tree: Value, value: Value, *, bare: bool) -> bytes:
        """Return ``tree``, whose last item the expression of ``value`` becomes, as JSON.

        Args:
            tree: a list.
            value: to be encoded.
            bare: whether it is a list of arguments, which is written without a further list around it.

        Raises:
            SerializationError: a part of it cannot cross; nothing is exported then.
            Exception: of a hook of the application.
        """
        try:
            tree.append([self.tree(item) for item in value] if bare else self.tree(value))
            return to_json(tree)
        except BaseException as error:
            for luid in reversed(self._exported):
                self._exporter.retract(luid)
            if isinstance(error, UnicodeEncodeError):
                raise SerializationError("text with a lone surrogate cannot cross") from None
            raise

    def tree(self, value: Value) -> Value:
        """Return the expression of one value."""
        kind = type(value)
        if kind is str or kind in _AS_THEY_ARE:
            return value
        if kind is int:
            return value if -_SAFE <= value <= _SAFE else ["bigint", _decimal(value)]
        if kind is float:
            return value if math.isfinite(value) else _not_finite(value)
        if kind is list or kind is tuple or kind is dict:
            return self._container(value)
        return self._other(value)

    def _container(self, value: Value) -> Value:
        self._depth += 1
        if self._depth > _DEPTH:
            raise SerializationError(f"lists and dictionaries are nested more than {_DEPTH} levels deep")
        tree: Value
        if type(value) is dict:
            for key in value:
                if type(key) is not str:
                    raise SerializationError(
                        "a dictionary whose keys are not text cannot cross", culprit=value
                    )
                if key in DROPPED_KEYS:
                    raise SerializationError(
                        f"a JavaScript peer drops the key {key!r}; use another", culprit=value
                    )
            tree = {key: self.tree(item) for key, item in value.items()}
        else:
            tree = [[self.tree(item) for item in value]]
        self._depth -= 1
        return tree

    def _other(self, value: Value) -> Value:
        if isinstance(value, (bytes, bytearray, memoryview, array)):
            return bytes_tree(value)
        if isinstance(value, datetime.datetime):
            return _date(value)
        if isinstance(value, PromisedAnswer):
            return ["pipeline", mark("p", value.request)]
        if isinstance(value, Exportable) and not isinstance(value, Cacheable):
            return self._export(value)
        if isinstance(value, Reference):
            return self._home(value)
        if isinstance(value, Copyable):
            state = value.get_state_to_copy_for(self._perspective)
            if type(state) is not dict:
                raise SerializationError(
                    f"the state of a {type(value).__name__} is not a dictionary", culprit=value
                )
            return self._container(state)
        adapted = self._exporter.adapt(value)
        if adapted is not value:
            return self.tree(adapted)
        if isinstance(value, Exception):
            return error_tree(value)
        for base in _BASES:  # subclasses: enumerations, named values
            if issubclass(type(value), base) and not isinstance(value, (RemoteCache, Cacheable)):
                return self.tree(base(value))
        raise SerializationError(_ADVICE.get(type(value), _cannot(value)), culprit=value)

    def _export(self, value: Exportable) -> Value:
        luid = self._exporter.export(value, self._perspective)
        self._exported.append(luid)
        return ["export", mark("e", luid)]

    def _home(self, reference: Reference) -> Value:
        luid = self._exporter.home_id(reference)
        if luid is None:
            return self.tree(self._exporter.adapt(reference))
        return ["import", -luid if isinstance(luid, int) else 0]


def mark(kind: str, number: int) -> msgspec.Raw:
    """Return what stands for an id until the message leaves."""
    return msgspec.Raw(b"\0%b%d\0" % (kind.encode(), number))


def _decimal(value: int) -> str:
    if value.bit_length() > 48_000:
        raise SerializationError("an integer has more digits than the peer reads (16,384)")
    return msgspec.json.encode(value).decode() if value.bit_length() < 64 else _digits(value)


def _digits(value: int) -> str:
    """Return the digits of a large integer, whatever ``sys.set_int_max_str_digits`` allows."""
    if value < 0:
        return "-" + _digits(-value)
    parts = []
    while value >= 10**4000:
        value, part = divmod(value, 10**4000)
        parts.append(f"{part:04000d}")
    return "".join([str(value), *reversed(parts)])


def _not_finite(value: float) -> list[str]:
    return ["nan" if math.isnan(value) else "inf" if value > 0 else "-inf"]


def _date(value: datetime.datetime) -> list[Value]:
    if value.tzinfo is None:
        raise SerializationError(
            "a datetime without a time zone cannot cross; give it one, such as datetime.UTC"
        )
    microseconds = (value - _EPOCH) // _MICROSECOND
    return ["date", microseconds // 1000 if microseconds % 1000 == 0 else microseconds / 1000]


def _cannot(value: Value) -> str:
    if isinstance(value, (Cacheable, RemoteCache)):
        return f"a {type(value).__name__} cannot cross: this dialect has no replicas; send a Referenceable"
    if callable(value):
        return "a function cannot cross by itself; send pb.callback(function)"
    return (
        f"a {type(value).__name__} cannot cross; send text, numbers, lists and dictionaries of what is in it"
    )


_ADVICE: Final = {
    set: "a set cannot cross; send sorted(...), a list",
    frozenset: "a frozenset cannot cross; send sorted(...), a list",
    complex: "a complex number cannot cross; send its two parts",
    datetime.date: "a date cannot cross; send its isoformat(), or a datetime",
    datetime.time: "a time cannot cross; send its isoformat()",
    datetime.timedelta: "a timedelta cannot cross; send its total_seconds()",
}
