"""Registered values, on both dialects: what crosses, what arrives, and what is refused."""

from __future__ import annotations

import collections
import dataclasses
import enum
from collections.abc import Iterator
from typing import Any, NamedTuple

import attrs
import msgspec
import pydantic
import pytest

import perspective_broker as pb
from perspective_broker.registry import Policy, Registry
from perspective_broker.testing import memory_pair

REGISTRY = Registry(pb.registry.default_registry)


class Level(enum.Enum):
    LOW = 1
    HIGH = "high"


@dataclasses.dataclass
class Step:
    name: str
    level: Level = Level.LOW


@pb.value("test.Job", registry=REGISTRY)
@dataclasses.dataclass
class Job:
    name: str
    steps: list[Step] = dataclasses.field(default_factory=list)
    done: bool = dataclasses.field(default=False, init=False)


@pb.value("test.Point", registry=REGISTRY)
@dataclasses.dataclass(frozen=True, slots=True)
class Point:
    x: int
    y: float = 0.0


@pb.value("test.Shape", registry=REGISTRY)
@attrs.frozen
class Shape:
    sides: int
    _hidden: int = 7


@pb.value("test.Item", registry=REGISTRY)
class Item(msgspec.Struct, frozen=True):
    price: int
    names: tuple[str, ...] = ()


@pb.value("test.Model", registry=REGISTRY)
class Model(pydantic.BaseModel):
    size: int
    level: Level = Level.LOW


@pb.value("test.Row", registry=REGISTRY)
class Row(NamedTuple):
    key: str
    size: int = 3


@pb.value("test.Color", registry=REGISTRY)
class Color(enum.Enum):
    RED = "red"
    BLUE = "blue"


@pb.value("test.Right", registry=REGISTRY)
class Right(enum.IntFlag):
    READ = 1
    WRITE = 2


@pb.value("test.NoRoom", registry=REGISTRY)
class NoRoom(Exception):
    code: int

    def __init__(self, code: int, text: str) -> None:
        super().__init__(text)
        self.code = code


@pb.value("test.Tree", registry=REGISTRY)
@dataclasses.dataclass
class Tree:
    name: str
    children: Any = None


class Other:
    """A class of another package."""


Pair2: Any = pb.value("test.Pair2", registry=REGISTRY)(collections.namedtuple("Pair2", "one two"))


PAIR: Any = Pair2(*(1, "x"))


class Server(pb.Root):
    def __init__(self) -> None:
        self.got: Any = None

    def remote_echo(self, value: Any) -> Any:
        self.got = value
        return value

    def remote_fail(self, code: int) -> None:
        raise NoRoom(code, "full")

    def remote_answer(self) -> Any:
        return Fake()


DIALECTS = pytest.mark.parametrize("dialect", ["pb7", "pb", "none"])

_job = Job("x", [Step("a", Level.HIGH)])
_job.done = True

VALUES: list[Any] = [
    _job,
    Point(1, 2.5),
    Shape(3),
    Item(3, ("x", "y")),
    Model(size=3, level=Level.HIGH),
    Row("x"),
    PAIR,
    Color.BLUE,
    Right.READ | Right.WRITE,
    [Point(1), {"x": Color.RED}, (Row("x"),)],
    {Point(1): Color.RED, Color.RED: 1},
    {Point(1), Point(2)},
    Tree("x", [Tree("y"), Point(1)]),
]


@DIALECTS
@pytest.mark.parametrize("value", VALUES, ids=lambda value: type(value).__name__)
async def test_a_registered_value_arrives_as_itself(dialect: str, value: Any) -> None:
    server = Server()
    async with memory_pair(server, registry=REGISTRY, dialects=[dialect]) as pair:
        answer = await pair.root.call("echo", value)
    for arrived in (server.got, answer):
        assert arrived == value
        assert type(arrived) is type(value)
        assert arrived is not value or isinstance(value, enum.Enum)


@DIALECTS
async def test_an_object_that_is_sent_twice_in_a_message_arrives_as_one(dialect: str) -> None:
    server = Server()
    async with memory_pair(server, registry=REGISTRY, dialects=[dialect]) as pair:
        job = Job("x")
        await pair.root.call("echo", [job, job])
    assert server.got[0] is server.got[1]


@DIALECTS
async def test_a_value_that_contains_itself_is_refused_by_its_sender(dialect: str) -> None:
    tree = Tree("x")
    tree.children = [tree]
    async with memory_pair(Server(), registry=REGISTRY, dialects=[dialect]) as pair:
        with pytest.raises(pb.SerializationError, match="a Tree that contains itself") as caught:
            await pair.root.call("echo", tree)
        assert caught.value.path == "args[0]"


class Fake(pb.Copyable):
    """Sends whatever state under the tag of another class."""

    def __init__(self, tag: str = "test.Job", state: Any = None) -> None:
        self.tag, self.state = tag, {"name": 3} if state is None else state

    def get_type_to_copy(self) -> str:
        return self.tag

    def get_state_to_copy(self) -> Any:
        return self.state


WRONG: list[tuple[str, Any, str]] = [
    ("test.Job", {"name": "x", "steps": "secret"}, "Job.steps: expected list, got str"),
    ("test.Job", {"name": "x", "steps": [{"name": 3}]}, "Job.steps[0].name: expected str, got int"),
    ("test.Job", {}, "Job.name: missing; a Job needs it"),
    ("test.Job", [], "Job: its fields come in a map"),
    ("test.Color", {"value": "secret"}, "Color: the str is not a value of Color"),
    ("test.Color", {}, "Color.value: missing"),
    ("test.Model", {"size": "secret"}, "Model.size: input should be a valid integer"),
    ("test.Row", {"key": 3}, "Row.key: expected str, got int"),
]


@DIALECTS
@pytest.mark.parametrize(("tag", "state", "text"), WRONG)
async def test_fields_that_do_not_fit_refuse_the_call(dialect: str, tag: str, state: Any, text: str) -> None:
    server = Server()
    async with memory_pair(server, registry=REGISTRY, dialects=[dialect]) as pair:
        with pytest.raises(pb.BadArguments) as caught:
            await pair.root.call("echo", Fake(tag, state))
        assert text in str(caught.value)
        assert "secret" not in str(caught.value)
        assert caught.value.ran is False
        assert server.got is None
        assert await pair.root.call("echo", 3) == 3


@DIALECTS
async def test_fields_that_do_not_fit_in_an_answer_are_a_bad_answer(dialect: str) -> None:
    async with memory_pair(Server(), registry=REGISTRY, dialects=[dialect]) as pair:
        with pytest.raises(pb.BadAnswer, match=r"Job\.name: expected str, got int") as caught:
            await pair.root.call("answer")
        assert caught.value.ran is True


@DIALECTS
async def test_unknown_fields_are_ignored_and_missing_ones_have_defaults(dialect: str) -> None:
    server = Server()
    async with memory_pair(server, registry=REGISTRY, dialects=[dialect]) as pair:
        await pair.root.call("echo", Fake("test.Job", {"name": "x", "new": 3}))
    assert server.got == Job("x")


@DIALECTS
async def test_a_raised_exception_arrives_with_its_fields(dialect: str) -> None:
    async with memory_pair(Server(), registry=REGISTRY, dialects=[dialect]) as pair:
        with pytest.raises(NoRoom) as caught:
            await pair.root.call("fail", 7)
    assert caught.value.code == 7
    assert caught.value.args == ("full",)
    assert caught.value.ran is True  # type: ignore[attr-defined]


@DIALECTS
async def test_a_peer_that_has_not_registered_an_exception_gets_its_name_and_text(dialect: str) -> None:
    async with (
        pb.serve(Server(), f"memory:no-room-{dialect}", registry=REGISTRY, dialects=[dialect]) as server,
        pb.connect(server.urls[0], dialects=[dialect]) as root,
    ):
        with pytest.raises(pb.RemoteError, match="full") as caught:
            await root.call("fail", 7)
        assert caught.value.check(NoRoom)


@DIALECTS
async def test_the_policy_and_the_registry_decide_per_connection(dialect: str) -> None:
    policy = Policy(classes=["test.Point"])
    server = Server()
    async with memory_pair(server, registry=REGISTRY, policy=policy, dialects=[dialect]) as pair:
        await pair.root.call("echo", Point(1))
        with pytest.raises(pb.InsecureJelly, match=r"'test\.Job' is not allowed here"):
            await pair.root.call("echo", Job("x"))
    async with memory_pair(server, dialects=[dialect]) as pair:
        with pytest.raises(pb.SerializationError, match=r"args\[0\]: .*Job has no form here") as refused:
            await pair.root.call("echo", Job("x"))
        assert "register it with @pb.value" in str(refused.value)


@pb.value("test.Numbers", registry=REGISTRY)
@dataclasses.dataclass
class Numbers:
    values: list[int]


async def test_what_many_values_share_is_checked_so_often_and_no_more() -> None:
    """On the classic dialects a list may be shared, and each value that refers to it checks it again."""
    shared = [1] * 60_000
    async with memory_pair(Server(), registry=REGISTRY, dialects=["pb"]) as pair:
        with pytest.raises(pb.BadArguments, match="more than 1000000 values, shared ones counted each time"):
            await pair.root.call("echo", [Fake("test.Numbers", {"values": shared}) for _ in range(20)])


def test_registering_twice_is_an_error() -> None:
    registry = Registry()
    pb.value("test.Job", registry=registry)(Job)
    with pytest.raises(ValueError, match="registered already"):
        pb.value("test.Job", registry=registry)(Point)
    with pytest.raises(ValueError, match="registered already"):
        pb.value("test.Job", registry=registry)(Job)
    with pytest.raises(ValueError, match="registered already"):
        pb.value("test.Other", registry=registry)(Job)
    with pytest.raises(ValueError, match="registered already"):
        pb.copier_for("test.Job", registry=registry)(Copy)
    with pytest.raises(ValueError, match="registered already"):
        registry.set_unjellyable_factory_for_class("test.Job", Fake)
    pb.copier_for("test.Copy", registry=registry)(Copy)
    with pytest.raises(ValueError, match="registered already"):
        pb.value("test.Copy", registry=registry)(Point)


class Copy(pb.RemoteCopy):
    pass


def test_a_class_that_is_defined_again_replaces_the_old_one() -> None:
    registry = Registry()

    def define() -> type:
        @pb.value("test.Again", registry=registry)
        @dataclasses.dataclass
        class Again:
            name: str

        return Again

    old, new = define(), define()
    assert registry.find_form(old) is None
    assert registry.find_form(new) is registry.find_factory("test.Again")


def refused() -> Iterator[tuple[Any, type[Exception], str]]:
    yield Other, TypeError, "make it a dataclass"
    yield Copy, TypeError, "has a flavor already"
    yield int, TypeError, "has no fields"
    yield 3, TypeError, "a class is registered"


@pytest.mark.parametrize(("cls", "kind", "text"), list(refused()))
def test_what_cannot_be_registered_is_refused(cls: Any, kind: type[Exception], text: str) -> None:
    with pytest.raises(kind, match=text):
        pb.value("test.Refused", registry=Registry())(cls)


def test_a_decorator_without_a_tag_is_refused() -> None:
    with pytest.raises(TypeError, match="written without a tag"):
        pb.value(Other)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="1 to 255 bytes"):
        pb.value("x" * 256)


@pb.value("test.Late", registry=REGISTRY)
@dataclasses.dataclass
class Late:
    next: Later | None = None


@dataclasses.dataclass
class Later:
    number: int


@DIALECTS
async def test_annotations_may_name_classes_that_are_defined_later(dialect: str) -> None:
    async with memory_pair(Server(), registry=REGISTRY, dialects=[dialect]) as pair:
        assert await pair.root.call("echo", Late(Later(3))) == Late(Later(3))


@DIALECTS
async def test_the_state_of_a_subclass_is_not_cut(dialect: str) -> None:
    @dataclasses.dataclass
    class Longer(Step):
        more: int = 0

    async with memory_pair(Server(), registry=REGISTRY, dialects=[dialect]) as pair:
        with pytest.raises(pb.SerializationError, match=r"Job\.steps\[0\]: expected Step, got Longer"):
            await pair.root.call("echo", Job("x", [Longer("y")]))
