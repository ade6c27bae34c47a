"""Values that are checked and made by annotations, both ways."""

from __future__ import annotations

import collections
import dataclasses
import datetime
import enum
import fractions
import ipaddress
import pathlib
import typing
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping, Sequence
from decimal import Decimal
from typing import Annotated, Any, Generic, Literal, NamedTuple, NewType, Protocol, TypedDict, TypeVar
from uuid import UUID

import attrs
import msgspec
import numpy
import numpy.typing
import pydantic
import pytest
from msgspec import Meta

from perspective_broker.flavors import Referenceable
from perspective_broker.interfaces import Converter, Misfit, converter

T = TypeVar("T")


class Guest(Protocol):
    async def arrived(self) -> None: ...


class Host(Protocol):
    async def left(self) -> None: ...


class Proxy:
    def __init__(self, interface: object, reference: object) -> None:
        self.interface, self.reference = interface, reference


class Reference:
    """Stands for a reference of a driver."""


class TestHooks:
    __test__ = False

    def is_interface(self, annotation: object) -> bool:
        return annotation in (Guest, Host)

    def proxy(self, interface: Any, reference: Any) -> object:
        if not isinstance(reference, Reference):
            raise Misfit(f": expected {interface.__name__}, got {type(reference).__name__}")
        return Proxy(interface, reference)

    def callable(self, annotation: Any, reference: Any) -> object:
        return lambda: reference

    def check_callable(self, annotation: Any) -> None: ...

    def send_callable(self, annotation: Any, function: Callable[..., Any]) -> object:
        return ("callback", function)

    def stream(self, item: Converter, value: Any) -> object:
        return value


HOOKS = TestHooks()


async def never() -> None:
    raise AssertionError("called")


class Color(enum.Enum):
    RED = "red"
    ONE = 1


class Right(enum.Flag):
    READ = 1
    WRITE = 2


@dataclasses.dataclass
class Note:
    title: str
    tags: list[str] = dataclasses.field(default_factory=list)
    color: Color = Color.RED
    seen: bool = dataclasses.field(default=False, init=False)


@dataclasses.dataclass
class Memo(Note):
    more: int = 0


@dataclasses.dataclass(frozen=True, slots=True)
class Point:
    x: int
    y: float = 0.0


@dataclasses.dataclass
class Box(Generic[T]):
    content: T
    others: list[Box[T]] = dataclasses.field(default_factory=list)


@dataclasses.dataclass
class Numbered(Box[int]):
    number: int = 0


@dataclasses.dataclass
class Party:
    guest: Guest | str
    when: Callable[[], Awaitable[None]] | None = None


@dataclasses.dataclass
class Picky:
    size: int

    def __post_init__(self) -> None:
        if self.size < 0:
            raise ValueError(f"a size of {self.size}")


@dataclasses.dataclass
class WithInitVar:
    size: dataclasses.InitVar[int]


@attrs.define
class Shape:
    sides: int = attrs.field(validator=attrs.validators.ge(3))
    _hidden: int = 7


class Item(msgspec.Struct, rename="camel"):
    unit_price: Decimal
    names: list[str] = []


class Cat(msgspec.Struct, tag=True):
    lives: int


class Dog(msgspec.Struct, tag=True):
    tricks: list[str]


class Row(NamedTuple):
    key: str
    size: int = 3


class Options(TypedDict, total=False):
    name: typing.Required[str]
    colors: list[Color]


class Model(pydantic.BaseModel):
    size: int
    color: Color = Color.RED


class Outer(pydantic.BaseModel):
    model: Model
    names: list[str] = []

    @pydantic.field_validator("names")
    @classmethod
    def short(cls, names: list[str]) -> list[str]:
        if any(len(name) > 3 for name in names):
            raise ValueError(f"too long: {names}")
        return names


class NoRoom(Exception):
    code: int


class UserId(str):
    pass


Seconds = NewType("Seconds", int)


def receive(annotation: object, value: object, classic: bool = False) -> Any:
    return converter(annotation, HOOKS).receive(value, classic)


def send(annotation: object, value: object) -> Any:
    return converter(annotation, HOOKS).send(value)


NOTE = {"title": "x", "tags": ["a"], "color": "red", "seen": True}
_note = Note("x", ["a"])
_note.seen = True


def str_of(value: object) -> str:
    """Return a name for a parameter that is the same in every process."""
    return str(value).partition(" at 0x")[0][:60]


#: Annotation, the value of the program, and what crosses.
BOTH_WAYS = [
    (str, "x", "x"),
    (int, 2**100, 2**100),
    (float, 1.5, 1.5),
    (bool, True, True),
    (bytes, b"x", b"x"),
    (None, None, None),
    (Any, object, object),
    (T, 3, 3),
    (object, "x", "x"),
    (str | None, None, None),
    (int | str, "x", "x"),
    (list[int], [1, 2], [1, 2]),
    (list[list[float]], [[1.0], []], [[1.0], []]),
    (list[int | None], [1, None], [1, None]),
    (tuple[int, str], (1, "x"), (1, "x")),
    (tuple[int, ...], (1, 2), (1, 2)),
    (tuple[Color, ...], (Color.ONE,), (1,)),
    (tuple[()], (), ()),
    (set[int], {1}, {1}),
    (set[Color], {Color.RED}, {"red"}),
    (frozenset[str], frozenset({"x"}), frozenset({"x"})),
    (dict[str, int], {"x": 1}, {"x": 1}),
    (dict[Color, Note], {Color.ONE: _note}, {1: NOTE}),
    (Mapping[str, Any], {"x": 1}, {"x": 1}),
    (Sequence[int], (1, 2), (1, 2)),
    (Iterable[Color], [Color.ONE], [1]),
    (collections.deque[int], collections.deque([1]), collections.deque([1])),
    (collections.OrderedDict[str, int], collections.OrderedDict(x=1), {"x": 1}),
    (collections.Counter[str], collections.Counter(x=1), {"x": 1}),
    (datetime.date, datetime.date(2026, 1, 2), datetime.date(2026, 1, 2)),
    (Decimal, Decimal("1.5"), Decimal("1.5")),
    (UUID, UUID(int=3), UUID(int=3)),
    (complex, 1j, 1j),
    (fractions.Fraction, fractions.Fraction(1, 3), fractions.Fraction(1, 3)),
    (range, range(3), range(3)),
    (ipaddress.IPv4Address, ipaddress.IPv4Address("10.0.0.1"), ipaddress.IPv4Address("10.0.0.1")),
    (pathlib.PurePosixPath, pathlib.PurePosixPath("a"), pathlib.PurePosixPath("a")),
    (pathlib.Path, pathlib.Path("a"), pathlib.PurePath("a")),
    (bytearray, bytearray(b"x"), b"x"),
    (Color, Color.RED, "red"),
    (Color, Color.ONE, 1),
    (Right, Right.READ | Right.WRITE, 3),
    (Right, Right(0), 0),
    (Color | None, None, None),
    (Literal["a", 1], "a", "a"),
    (Annotated[int, Meta(ge=0)], 3, 3),
    (Annotated[list[Color], Meta(max_length=2)], [Color.RED], ["red"]),
    (Seconds, 3, 3),
    (UserId, UserId("x"), "x"),
    (Note, _note, NOTE),
    (Note | None, _note, NOTE),
    (list[Note], [_note], [NOTE]),
    (Point, Point(1, 2.5), {"x": 1, "y": 2.5}),
    (Box[Point], Box(Point(1)), {"content": {"x": 1, "y": 0.0}, "others": []}),
    (
        Box[Color],
        Box(Color.ONE, [Box(Color.RED)]),
        {"content": 1, "others": [{"content": "red", "others": []}]},
    ),
    (
        Numbered,
        Numbered(1, [Box(2)], 3),
        {"content": 1, "others": [{"content": 2, "others": []}], "number": 3},
    ),
    (Shape, Shape(3, 4), {"sides": 3, "_hidden": 4}),
    (Item, Item(Decimal(2), ["x"]), {"unitPrice": Decimal(2), "names": ["x"]}),
    (Cat | Dog, Dog(["sit"]), {"type": "Dog", "tricks": ["sit"]}),
    (Row, Row("x"), ["x", 3]),
    (list[Row], [Row("x", 1)], [["x", 1]]),
    (Options, {"name": "x", "colors": [Color.ONE]}, {"name": "x", "colors": [1]}),
    (Model, Model(size=3), {"size": 3, "color": "red"}),
    (Outer, Outer(model=Model(size=3)), {"model": {"size": 3, "color": "red"}, "names": []}),
    (numpy.float64, numpy.float64(1.5), 1.5),
    (numpy.int8, numpy.int8(3), 3),
    # Containers of the same type, which differ in what is in them
    (tuple[list[Color], ...] | tuple[tuple[Color, ...], ...], ((Color.ONE,),), ((1,),)),
    (tuple[list[Color]] | tuple[list[Color], tuple[Color]], ([Color.ONE], (Color.RED,)), ([1], ("red",))),
    (dict[str, list[Color]] | dict[str, tuple[Color, ...]], {"a": (Color.RED,)}, {"a": ("red",)}),
    (
        tuple[Color, tuple[Color, ...]] | tuple[frozenset[str], ...],
        (frozenset(), frozenset()),
        (frozenset(), frozenset()),
    ),
    (tuple[int, Color] | tuple[bool, str], (True, "red"), (True, "red")),
    (tuple[Color] | tuple[str, str], ("red", "x"), ("red", "x")),
    (dict[int, Color] | dict[str, str], {"a": "red"}, {"a": "red"}),
    (list[list[Color] | None] | list[tuple[Color, ...]], [(Color.RED,)], [("red",)]),
]


@pytest.mark.parametrize(("annotation", "value", "crossing"), BOTH_WAYS, ids=str_of)
def test_values_cross_both_ways(annotation: object, value: object, crossing: object) -> None:
    given = send(annotation, value)
    assert given == crossing
    assert type(given) is type(crossing) or isinstance(crossing, pathlib.PurePath)
    if isinstance(crossing, pathlib.PurePath):
        crossing = pathlib.PurePosixPath(crossing)  # as which a path arrives
    made = receive(annotation, crossing)
    assert made == value
    assert type(made) is type(value)


#: Annotation, what arrives, and the rest of the line of the error.
MISFITS = [
    (str, 3, ": expected str, got int"),
    (str, None, ": expected str, got None"),
    (str, b"x", ": expected str, got bytes"),
    (int, True, ": expected int, got bool"),
    (int, 1.0, ": expected int, got float"),
    (float, "1", ": expected float, got str"),
    (float, 10**400, ": expected float, got int beyond its range"),
    (bytes, "eA==", ": expected bytes, got str"),
    (datetime.date, "2026-01-02", ": expected date, got str"),
    (datetime.date, datetime.datetime(2026, 1, 2), ": expected date, got datetime"),
    (UUID, str(UUID(int=3)), ": expected UUID, got str"),
    (str | None, 3, ": expected str or None, got int"),
    (list[str], ("x",), ": expected list, got tuple"),
    (list[str], ["x", 1], "[1]: expected str, got int"),
    (list[list[int]], [[1], [1, "secret"]], "[1][1]: expected int, got str"),
    (list[list[int]], [(1,)], "[0]: expected list, got tuple"),
    (list[int] | None, ["x"], "[0]: expected int, got str"),
    (tuple[int, str], [1, "x"], ": expected tuple, got list"),
    (tuple[int, str], (1,), ": expected a tuple of 2, got one of 1"),
    (tuple[int, str], (1, 2), "[1]: expected str, got int"),
    (set[str], {1}, "{...}: expected str, got int"),
    (dict[str, int], {"secret": "x"}, "[...]: expected int, got str"),
    (dict[str, int], {1: 1}, " key: expected str, got int"),
    (Note, [], ": expected Note, got list"),
    (Note, {}, ".title: missing; a Note needs it"),
    (Note, {"title": 3}, ".title: expected str, got int"),
    (Note, {"title": "x", "tags": ["a", 3]}, ".tags[1]: expected str, got int"),
    (list[Note], [{"title": "x", "tags": 3}], "[0].tags: expected list, got int"),
    (Note, {"title": "x", "color": "secret"}, ".color: the str is not a value of Color"),
    (Color, True, ": expected a value of Color, got bool"),
    (Color, [], ": expected a value of Color, got list"),
    (Right, 8, ": the int is not a value of Right"),
    (Literal["a", 1], True, ": expected 'a' or 1, got bool"),
    (Annotated[int, Meta(ge=0)], -1, ": expected int >= 0"),
    (Annotated[int, Meta(multiple_of=2)], 3, ": expected int that is a multiple of 2"),
    (Annotated[str, Meta(max_length=2)], "secret", ": expected str of at most 2"),
    (Annotated[str, Meta(pattern="^a$")], "secret", ": expected str that matches '^a$'"),
    (
        Annotated[datetime.datetime, Meta(tz=True)],
        datetime.datetime.min,
        ": expected datetime with a time zone",
    ),
    (Annotated[int, Meta(ge=0)] | None, -1, ": expected int >= 0"),
    (Picky, {"size": -1}, ": Picky refuses it (ValueError)"),
    (Shape, {"sides": 1}, ": Shape refuses it (ValueError)"),
    (Row, ["x", 1, 2], ": expected Row of 2, got 3 items"),
    (Row, ["x", "y"], ".size: expected int, got str"),
    (Options, {}, ".name: missing; a Options needs it"),
    (Cat | Dog, {"type": "Cow"}, ": expected Cat or Dog, got dict"),
    (
        Model,
        {"size": "secret"},
        ".size: input should be a valid integer, unable to parse string as an integer",
    ),
    (Outer, {"model": {}}, ".model.size: field required"),
    (Outer, {"model": {"size": 1}, "names": ["secret"]}, ".names: refused by a validator"),
    (Guest, "x", ": expected Guest, got str"),
    (Guest, object(), ": expected Guest, got object"),
    (Guest | str, 3, ": expected Guest or str, got int"),
    (Callable[[], Awaitable[None]], 3, ": expected a callable, got int"),
    (AsyncIterator[int], [1], ": expected a stream, got list"),
    (numpy.int8, 300, ": beyond the range of int8"),
    (numpy.typing.NDArray[numpy.float64], [1.0], ": expected an array of float64, got list"),
    (
        numpy.typing.NDArray[numpy.float64],
        numpy.array([1]),
        ": expected an array of float64, got one of int64",
    ),
    (Referenceable, "x", ": expected Referenceable, got str"),
]


@pytest.mark.parametrize(("annotation", "value", "text"), MISFITS, ids=str_of)
def test_a_misfit_names_the_place_and_both_types(annotation: object, value: object, text: str) -> None:
    with pytest.raises(Misfit) as caught:
        receive(annotation, value)
    assert str(caught.value) == text
    assert "secret" not in str(caught.value)


#: Annotations that cannot be checked, and a part of the advice.
REFUSED = [
    (Note | Point, "cannot be told apart"),
    (Guest | Host, "cannot be told apart"),
    (Note | dict[str, int], "cannot be told apart"),
    (Color | str, "cannot be told apart"),
    (Row | list[int], "cannot be told apart"),
    (list[Row] | list[list[Color]], "cannot be told apart"),
    (list[Color] | list[str], "cannot be told apart"),
    (list[Color | None] | list[int | str], "cannot be told apart"),
    (dict[str, Note] | dict[str, Point], "cannot be told apart"),
    (tuple[int, Color] | tuple[int, str], "cannot be told apart"),
    (tuple[Color, ...] | tuple[str, str], "cannot be told apart"),
    ("Note", "not known when the program runs"),
    (type[int], "classes do not cross"),
    (Awaitable[int], "annotate what it returns"),
    (collections.defaultdict, "annotate dict"),
    (Converter, "@pb.value"),
    (Iterable[Converter], "@pb.value"),
    (typing.SupportsInt, "pb.Interface"),
    (WithInitVar, "make it a field"),
]


@pytest.mark.parametrize(("annotation", "advice"), REFUSED, ids=str_of)
def test_what_cannot_be_checked_is_refused_with_advice(annotation: object, advice: str) -> None:
    with pytest.raises(TypeError, match=advice):
        converter(annotation, HOOKS)


def test_a_field_that_cannot_be_checked_is_named() -> None:
    @dataclasses.dataclass
    class Odd:
        what: Awaitable[int]

    with pytest.raises(TypeError, match=r"Odd\.what: .*annotate what it returns"):
        converter(Odd, HOOKS)


def test_a_name_that_is_not_known_is_named() -> None:
    @dataclasses.dataclass
    class Odd:
        what: Nowhere  # type: ignore[name-defined] # noqa: F821

    with pytest.raises(TypeError, match="Nowhere"):
        converter(Odd, HOOKS)


def test_interfaces_callables_and_functions_go_through_the_hooks() -> None:
    reference = Reference()
    assert receive(Guest, reference).reference is reference
    assert receive(Guest | str, reference).interface is Guest
    assert receive(Guest | str, "x") == "x"
    assert receive(Guest | None, None) is None
    party = receive(Party, {"guest": reference, "when": reference})
    assert party.guest.reference is reference
    assert party.when() is reference
    assert send(Party, Party("x", never)) == {"guest": "x", "when": ("callback", never)}
    assert send(list[Callable[[], Awaitable[None]]], [never]) == [("callback", never)]


def test_a_classic_peer_sends_text_as_bytes_and_tuples_as_lists() -> None:
    assert receive(str, "é".encode(), classic=True) == "é"
    assert receive(tuple[int, str], [1, b"x"], classic=True) == (1, "x")
    assert receive(tuple[int, ...], [1, 2], classic=True) == (1, 2)
    assert receive(str | None, b"x", classic=True) == "x"
    assert receive(str | bytes, b"x", classic=True) == b"x"
    assert receive(Note, {b"title": b"x", b"tags": [b"y"]}, classic=True) == Note("x", ["y"])
    assert receive(Color, b"red", classic=True) is Color.RED
    assert receive(dict[str, int], {b"x": 1}, classic=True) == {"x": 1}
    assert receive(Model, {b"size": 3}, classic=True) == Model(size=3)
    with pytest.raises(Misfit, match=": expected str, got bytes that are not UTF-8"):
        receive(str, b"\xff", classic=True)
    with pytest.raises(Misfit, match=": expected list, got tuple"):
        receive(list[int], (1,), classic=True)


def test_unknown_fields_are_ignored_and_missing_ones_have_defaults() -> None:
    assert receive(Note, {"title": "x", "new": 3, 4: 5}) == Note("x")
    assert receive(Row, ["x"]) == Row("x")
    assert receive(Options, {"name": "x", "new": 3}) == {"name": "x"}


def test_an_int_passes_for_a_float() -> None:
    assert type(receive(float, 1)) is float
    assert receive(list[float], [1.0, 2]) == [1.0, 2.0]
    assert receive(int | float, 1) == 1
    assert type(receive(float | int, 1)) is int


def test_a_container_whose_items_are_right_is_not_copied() -> None:
    numbers = [[1.0], [2.0]]
    assert receive(list[list[float]], numbers) is numbers


def test_an_object_that_a_subclass_extends_is_not_cut() -> None:
    with pytest.raises(Misfit, match=r"^\[0\]: expected Note, got Memo, which has more fields$"):
        send(list[Note], [Memo("x")])


def test_an_exception_crosses_with_its_fields() -> None:
    error = NoRoom("full", 2)
    error.code = 7
    assert send(NoRoom, error) == {"args": ("full", 2), "code": 7}
    made = receive(NoRoom, {"args": ("full", 2), "code": 7})
    assert (type(made), made.args, made.code) == (NoRoom, ("full", 2), 7)
    with pytest.raises(Misfit, match=r"^\.args: expected tuple, got list$"):
        receive(NoRoom, {"args": []})


def test_cycles_and_shared_lists_end() -> None:
    cycle: dict[str, Any] = {"content": 1}
    cycle["others"] = [cycle]
    with pytest.raises(Misfit, match="nested too deep, or contains itself"):
        receive(Box[int], cycle)
    box = Box(1)
    box.others.append(box)
    with pytest.raises(Misfit, match="nested too deep, or contains itself"):
        send(Box[Color], box)
    shared: list[Any] = [1.0] * 1000
    for _ in range(3):
        shared = [shared] * 1000
    with pytest.raises(Misfit, match="more than 1000000 values"):
        receive(list[list[list[list[float]]]], shared)
    with pytest.raises(Misfit, match="more than 1000000 values"):
        receive(list[list[list[list[Color]]]], shared)


def test_what_fast_paths_need_to_know() -> None:
    assert converter(str, HOOKS).exact is str
    assert converter(int | None, HOOKS).exact is None
    assert not converter(Any, HOOKS).checks
    assert not converter(int | Any, HOOKS).checks
    assert converter(list[str], HOOKS).sends_as_is
    assert converter(Guest, HOOKS).sends_as_is
    assert not converter(list[Note], HOOKS).sends_as_is
    assert converter(list[Note], HOOKS) is converter(list[Note], HOOKS)
