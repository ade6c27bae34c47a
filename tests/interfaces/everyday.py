"""The everyday values: what crosses as what, on which dialect. Tests run this table, and the documentation shows it.

``python -m tests.interfaces.everyday`` prints the tables of ``docs/reference/values.md``.
"""

from __future__ import annotations

import array
import collections
import dataclasses
import datetime
import decimal
import enum
import fractions
import functools
import io
import ipaddress
import itertools
import pathlib
import re
import types
import uuid
import zoneinfo
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping
from typing import Any, Final, NamedTuple, TypedDict

import attrs
import msgspec
import numpy
import pydantic

import perspective_broker as pb
from perspective_broker.registry import Registry

__all__ = ["REGISTRY", "VALUES", "Everyday"]

#: The classes that a program would register.
REGISTRY: Final = Registry(pb.registry.default_registry)


@pb.value("everyday.Note", registry=REGISTRY)
@dataclasses.dataclass
class Note:
    title: str
    tags: list[str] = dataclasses.field(default_factory=list)


@pb.value("everyday.Frozen", registry=REGISTRY)
@dataclasses.dataclass(frozen=True)
class Frozen:
    x: int


@pb.value("everyday.Slotted", registry=REGISTRY)
@dataclasses.dataclass(slots=True)
class Slotted:
    x: int


@pb.value("everyday.Nested", registry=REGISTRY)
@dataclasses.dataclass
class Nested:
    note: Note
    color: Color


@pb.value("everyday.Shape", registry=REGISTRY)
@attrs.define
class Shape:
    sides: int


@pb.value("everyday.Item", registry=REGISTRY)
class Item(msgspec.Struct):
    price: decimal.Decimal


@pb.value("everyday.Model", registry=REGISTRY)
class Model(pydantic.BaseModel):
    size: int


@pb.value("everyday.Row", registry=REGISTRY)
class Row(NamedTuple):
    key: str
    size: int


@pb.value("everyday.Color", registry=REGISTRY)
class Color(enum.Enum):
    RED = "red"


@pb.value("everyday.Number", registry=REGISTRY)
class Number(enum.IntEnum):
    ONE = 1


@pb.value("everyday.Word", registry=REGISTRY)
class Word(enum.StrEnum):
    YES = "yes"


@pb.value("everyday.Right", registry=REGISTRY)
class Right(enum.Flag):
    READ = 1
    WRITE = 2


@pb.value("everyday.NoRoom", registry=REGISTRY)
class NoRoom(Exception):
    code: int = 0


class Options(TypedDict):
    name: str


@pb.value("everyday.UserId", registry=REGISTRY)
class UserId(str):
    pass


pb.value("everyday.OrderedDict", registry=REGISTRY)(collections.OrderedDict)
pb.value("everyday.Counter", registry=REGISTRY)(collections.Counter)


class Plain:
    """A class without annotations."""


class Thing(pb.Referenceable):
    pass


@pb.copier_for("everyday.Copy", registry=REGISTRY)
class Copy(pb.Copyable, pb.RemoteCopy):
    def get_type_to_copy(self) -> str:
        return "everyday.Copy"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Copy) and vars(self) == vars(other)

    __hash__ = None  # type: ignore[assignment]


def function() -> int:
    return 3


async def items() -> AsyncIterator[int]:
    yield 1


#: What a value arrives as: itself, a type that is named, or that it is refused.
ITSELF, REFUSED = "itself", "refused"


@dataclasses.dataclass(frozen=True)
class Everyday:
    """One everyday value.

    Attributes:
        name: in the table.
        make: returns it.
        pb7: what it arrives as in an untyped call on pb7, with its class registered.
        classic: the same on the classic dialect.
        typed: through an interface.
        annotation: by which it crosses there; None when the value's own type is the annotation.
    """

    name: str
    make: Callable[[], Any]
    pb7: str = ITSELF
    classic: str = ITSELF
    typed: str = ITSELF
    annotation: Any = None


def _numbers(kind: str) -> Any:
    return numpy.arange(4, dtype=kind).reshape(2, 2)


def _today() -> datetime.datetime:
    return datetime.datetime(2026, 1, 2, 3, 4, 5)


_UTC: Final = datetime.UTC
_REF: Final = "a reference"
_CALLED: Final = Callable[[], Awaitable[Any]]
_MAP: Final = Mapping[str, int]

#: The table.
VALUES: Final[list[Everyday]] = [
    Everyday("`None`", lambda: None),
    Everyday("`bool`", lambda: True),
    Everyday("`int`", lambda: 7),
    Everyday("`int` of 100 digits", lambda: 10**99),
    Everyday("`float`", lambda: 1.5),
    Everyday("`complex`", lambda: 1j, classic=REFUSED),
    Everyday("`str`", lambda: "grüße"),
    Everyday("`bytes`", lambda: b"raw"),
    Everyday("`bytearray`", lambda: bytearray(b"raw"), "`bytes`", REFUSED),
    Everyday("`memoryview`", lambda: memoryview(b"raw"), "`bytes`", REFUSED),
    Everyday("`array.array`", lambda: array.array("d", [1.0]), REFUSED, REFUSED, REFUSED),
    Everyday("`list`", lambda: [1, "a"]),
    Everyday("`tuple`", lambda: (1, "a"), annotation=tuple[int, str]),
    Everyday("`dict` with text as keys", lambda: {"a": 1}),
    Everyday("`dict` with other keys", lambda: {(1, 2): 3}),
    Everyday("`set`", lambda: {1}),
    Everyday("`frozenset`", lambda: frozenset({1})),
    Everyday("`range`", lambda: range(3), classic=REFUSED),
    Everyday("`slice`", lambda: slice(3), REFUSED, REFUSED, REFUSED),
    Everyday("`collections.deque`", lambda: collections.deque([1]), classic=REFUSED),
    Everyday("`OrderedDict`", lambda: collections.OrderedDict(a=1)),
    Everyday("`Counter`", lambda: collections.Counter("a")),
    Everyday(
        "`defaultdict`", lambda: collections.defaultdict(int), REFUSED, REFUSED, "`dict`", Mapping[str, int]
    ),
    Everyday(
        "`ChainMap`", lambda: collections.ChainMap({"a": 1}), REFUSED, REFUSED, "`dict`", Mapping[str, int]
    ),
    Everyday(
        "`MappingProxyType`",
        lambda: types.MappingProxyType({"a": 1}),
        REFUSED,
        REFUSED,
        "`dict`",
        _MAP,
    ),
    Everyday("`SimpleNamespace`", lambda: types.SimpleNamespace(a=1), REFUSED, REFUSED, REFUSED),
    Everyday("`dict.keys()`", lambda: {"a": 1}.keys(), REFUSED, REFUSED, "`list`", Iterable[str]),
    Everyday("subclass of `str`", lambda: UserId("x")),
    Everyday("`Decimal`", lambda: decimal.Decimal("1.50")),
    Everyday("`Fraction`", lambda: fractions.Fraction(1, 3), classic=REFUSED),
    Everyday("`date`", lambda: datetime.date(2026, 1, 2)),
    Everyday("`time`", lambda: datetime.time(1, 2)),
    Everyday("`datetime`", _today),
    Everyday("`datetime` in UTC", lambda: _today().replace(tzinfo=_UTC), classic=REFUSED),
    Everyday(
        "`datetime` with a zone", lambda: _today().replace(tzinfo=zoneinfo.ZoneInfo("UTC")), classic=REFUSED
    ),
    Everyday("`timedelta`", lambda: datetime.timedelta(1)),
    Everyday("`ZoneInfo`", lambda: zoneinfo.ZoneInfo("UTC"), REFUSED, REFUSED, REFUSED),
    Everyday("`UUID`", lambda: uuid.UUID(int=1), classic=REFUSED),
    Everyday("`IPv4Address`", lambda: ipaddress.ip_address("10.0.0.1"), classic=REFUSED),
    Everyday("`IPv6Address`", lambda: ipaddress.ip_address("::1"), classic=REFUSED),
    Everyday("`IPv4Network`", lambda: ipaddress.ip_network("10.0.0.0/8"), classic=REFUSED),
    Everyday("`IPv6Interface`", lambda: ipaddress.ip_interface("::1/64"), classic=REFUSED),
    Everyday("`PurePosixPath`", lambda: pathlib.PurePosixPath("a/b"), classic=REFUSED),
    Everyday("`PureWindowsPath`", lambda: pathlib.PureWindowsPath("a/b"), classic=REFUSED),
    Everyday("`Path`", lambda: pathlib.Path("a/b"), "its pure path", REFUSED),
    Everyday("`re.Pattern`", lambda: re.compile("a"), REFUSED, REFUSED, REFUSED),
    Everyday("dataclass", lambda: Note("x", ["y"])),
    Everyday("dataclass, frozen", lambda: Frozen(1)),
    Everyday("dataclass with slots", lambda: Slotted(1)),
    Everyday("dataclass within a dataclass", lambda: Nested(Note("x"), Color.RED)),
    Everyday("list of dataclasses", lambda: [Note("x")], annotation=list[Note]),
    Everyday("attrs class", lambda: Shape(3)),
    Everyday("`msgspec.Struct`", lambda: Item(decimal.Decimal(1))),
    Everyday("pydantic model", lambda: Model(size=3)),
    Everyday("`NamedTuple`", lambda: Row("x", 1)),
    Everyday("`TypedDict`", lambda: {"name": "x"}, annotation=Options),
    Everyday("`Enum`", lambda: Color.RED),
    Everyday("`IntEnum`", lambda: Number.ONE),
    Everyday("`StrEnum`", lambda: Word.YES),
    Everyday("`Flag`", lambda: Right.READ | Right.WRITE),
    Everyday("exception of one's own", lambda: NoRoom("full")),
    Everyday("object of another class", Plain, REFUSED, REFUSED, REFUSED),
    Everyday("`pb.Referenceable`", Thing, _REF, _REF, _REF, annotation=Any),
    Everyday("`pb.Copyable`", Copy, annotation=Any),
    Everyday("numpy array of floats", lambda: _numbers("f8"), classic=REFUSED),
    Everyday("numpy array of integers", lambda: _numbers("i4"), classic=REFUSED),
    Everyday("numpy array of text", lambda: numpy.array(["a", "b"]), classic=REFUSED),
    Everyday("numpy array of dates", lambda: numpy.array(["2026-01-02"], dtype="M8[D]"), classic=REFUSED),
    Everyday("numpy array of objects", lambda: numpy.array([Plain()]), REFUSED, REFUSED, REFUSED),
    Everyday("`numpy.float64`", lambda: numpy.float64(1.5), "`float`", "`float`"),
    Everyday("`numpy.int32`", lambda: numpy.int32(3), "`int`", "`int`"),
    Everyday("`numpy.bool_`", lambda: numpy.bool_(True), "`bool`", "`bool`"),
    Everyday(
        "`pb.Array`",
        lambda: pb.Array("|u1", (1,), b"x"),
        "a numpy array",
        REFUSED,
        "a numpy array",
        Any,
    ),
    Everyday("function", lambda: function, REFUSED, REFUSED, _REF, _CALLED),
    Everyday(
        "bound method", lambda: Note("x").__repr__, REFUSED, REFUSED, _REF, Callable[[], Awaitable[str]]
    ),
    Everyday(
        "`functools.partial`",
        lambda: functools.partial(function),
        REFUSED,
        REFUSED,
        _REF,
        _CALLED,
    ),
    Everyday("lambda", lambda: lambda: 3, REFUSED, REFUSED, _REF, _CALLED),
    Everyday("async generator", items, "a stream", "a stream", "a stream", AsyncIterator[int]),
    Everyday("generator", lambda: (n for n in range(3)), REFUSED, REFUSED, REFUSED),
    Everyday("`zip`, `map` and other iterators", lambda: itertools.count(), REFUSED, REFUSED, REFUSED),
    Everyday("open file", lambda: io.BytesIO(b"x"), REFUSED, REFUSED, REFUSED),
    Everyday("class", lambda: Note, REFUSED, REFUSED, REFUSED),
    Everyday("module", lambda: re, REFUSED, REFUSED, REFUSED),
]


def table() -> str:
    """Return the table of the page, as Markdown."""
    lines = ["| value | on pb7 | on the classic dialects | through an interface |", "|---|---|---|---|"]
    lines += [f"| {each.name} | {each.pb7} | {each.classic} | {each.typed} |" for each in VALUES]
    return "\n".join(lines)


if __name__ == "__main__":
    print(table())
