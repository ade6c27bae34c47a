"""Random classes: an object arrives equal and with its class, or as a reference, or is refused with its path."""

from __future__ import annotations

import collections
import dataclasses
import functools
import types
from collections.abc import Callable
from decimal import Decimal
from typing import Any, ClassVar, Generic, TypeVar

from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

import perspective_broker as pb
from perspective_broker.flavors import Reference
from perspective_broker.testing import BrokerPair
from tests.session.objects import Desk

T = TypeVar("T")

#: Bases with content of their own, and a function that makes an object with content.
BUILTINS: dict[type, tuple[Any, ...]] = {
    list: ([1, 2],),
    dict: ({"k": 1},),
    set: ({1, 2},),
    collections.deque: ([1, 2],),
    str: ("text",),
    int: (7,),
    tuple: ((1, 2),),
    Decimal: ("1.5",),
    Exception: ("text", 7),
    pb.Error: ("text",),
    KeyError: ("key",),
    OSError: (2, "no such file"),
    UnicodeDecodeError: ("utf-8", b"x", 0, 1, "why"),
}

FLAVORS: tuple[type, ...] = (pb.Copyable, pb.Cacheable, pb.Referenceable)

DATACLASSES: list[dict[str, bool]] = [
    {},
    {"slots": True},
    {"frozen": True},
    {"frozen": True, "slots": True},
    {"kw_only": True},
    {"eq": False},
    {"order": True},
]

values = st.one_of(
    st.integers(-5, 5),
    st.text(max_size=3),
    st.none(),
    st.tuples(st.integers(0, 3)),
    st.lists(st.booleans(), max_size=2),
)


@dataclasses.dataclass
class Drawn:
    """A class, an object of it, and its content."""

    cls: type
    value: Any
    flavors: tuple[type, ...]
    builtin: type | None


class Descriptor:
    """A descriptor that keeps values under another name."""

    def __set_name__(self, owner: type, name: str) -> None:
        self.name = f"kept_{name}"

    def __get__(self, obj: Any, owner: type | None = None) -> Any:
        return self if obj is None else vars(obj).get(self.name, 0)

    def __set__(self, obj: Any, value: Any) -> None:
        vars(obj)[self.name] = value


def body(draw: Callable[[Any], Any], fields: list[str], is_dataclass: bool) -> dict[str, Any]:
    """Return the value in the class."""
    own: dict[str, Any] = {"__module__": __name__, "limit": 5}
    annotations: dict[str, Any] = {"limit": ClassVar[int]}
    if is_dataclass or draw(st.booleans()):
        annotations |= dict.fromkeys(fields, Any)
        annotations["tags"] = list[str]
    if is_dataclass:
        own["tags"] = dataclasses.field(default_factory=list, kw_only=True)
    elif draw(st.booleans()):
        own["__slots__"] = (*fields, "tags")
    own["__annotations__"] = annotations
    if draw(st.booleans()):
        own["total"] = functools.cached_property(lambda self: 7)
        own["total"].__set_name__(None, "total")
    if draw(st.booleans()):
        own["half"] = property(lambda self: 3)
    if draw(st.booleans()):
        own["described"] = Descriptor()
        if annotations.keys() > {"limit"}:
            annotations["kept_described"] = int
            if is_dataclass:
                own["kept_described"] = dataclasses.field(default=0, kw_only=True)
    return own


def fill(own: dict[str, Any], namespace: dict[str, Any]) -> None:
    namespace.update(own)


@st.composite
def drawn(draw: Any) -> Drawn:
    flavors = tuple(flavor for flavor in FLAVORS if draw(st.booleans()))
    builtin = draw(st.sampled_from([None, None, None, *BUILTINS]))
    options = draw(st.sampled_from([None, None, *DATACLASSES]))
    bases: list[type] = [*flavors]
    if pb.Cacheable in flavors:
        bases.append(pb.RemoteCache)
        if pb.Copyable in flavors:
            bases.remove(pb.Copyable)
    elif pb.Copyable in flavors:
        bases.append(pb.RemoteCopy)
    if builtin is not None:
        bases.insert(draw(st.integers(0, len(bases))), builtin)
    if draw(st.booleans()):
        generic: Any = Generic
        bases.append(generic[T])
    bases = draw(st.permutations(bases))
    fields = ["a", "b"]
    cls: Any = object
    for level in range(draw(st.integers(1, 2))):
        name = f"Drawn{level}"
        try:
            own = body(draw, fields, options is not None)
            cls = types.new_class(name, tuple(bases), {}, functools.partial(fill, own))
            if options is not None:
                cls = dataclasses.dataclass(**options)(cls)
        except (TypeError, ValueError):  # a class that Python, or this library, refuses
            assume(False)
        bases, fields = [cls], [f"{field}{level + 1}" for field in fields]
    return Drawn(cls, made(draw, cls, builtin), flavors, builtin)


def made(draw: Callable[[Any], Any], cls: Any, builtin: type | None) -> Any:
    """Return an object of a class, with content in all its parts."""
    arguments = BUILTINS[builtin] if builtin is not None else ()
    mutable = builtin in (list, dict, set, collections.deque)
    value = cls.__new__(cls) if mutable else cls.__new__(cls, *arguments)
    if mutable or (builtin is not None and issubclass(builtin, BaseException)):
        builtin.__init__(value, *arguments)  # type: ignore[misc]
    if isinstance(value, BaseException):
        object.__setattr__(value, "__notes__", ["a note"])
    for name in field_names(cls):
        try:
            object.__setattr__(value, name, draw(values))
        except AttributeError:  # nowhere to keep it
            assert not hasattr(value, "__dict__")
    if hasattr(cls, "__orig_bases__") and draw(st.booleans()):
        try:
            object.__setattr__(value, "__orig_class__", cls[int])
        except (AttributeError, TypeError):
            pass
    if isinstance(vars(cls).get("total"), functools.cached_property) and hasattr(value, "__dict__"):
        value.total  # noqa: B018
    return value


def field_names(cls: type) -> list[str]:
    names: dict[str, None] = {}
    for base in reversed(cls.__mro__):
        if base.__module__ == __name__:
            names |= dict.fromkeys(vars(base).get("__annotations__", ()))
            slots = vars(base).get("__slots__", ())
            names |= dict.fromkeys(slots)
    names |= {"a": None}
    names.pop("limit", None)
    return list(names)


def content(obj: Any, cls: type, builtin: type | None) -> Any:
    """Return all the content of an object."""
    held: dict[str, Any] = {}
    for name in (*field_names(cls), "total", "half", "described", "limit"):
        try:
            held[name] = getattr(obj, name, "unset")
        except TypeError:  # nowhere to keep it
            assert not hasattr(obj, "__dict__")
    if builtin is None:
        return held
    made_of: Any = builtin
    if issubclass(builtin, BaseException):
        return held, obj.args, str(obj), getattr(obj, "errno", None), getattr(obj, "reason", None)
    return held, made_of(obj)


PLACES: list[tuple[Callable[[Any], Any], Callable[[Any], Any], str]] = [
    (lambda value: value, lambda got: got, "args[0]"),
    (lambda value: [1, value], lambda got: got[1], "args[0][1]"),
    (lambda value: {"k": (value,)}, lambda got: got["k"][0], 'args[0]["k"][0]'),
]


@settings(max_examples=150, suppress_health_check=list(HealthCheck))
@given(drawn=drawn(), place=st.sampled_from(PLACES))
def test_what_arrives_is_what_was_sent_or_nothing(dialect: str, drawn: Drawn, place: Any) -> None:
    cls, value = drawn.cls, drawn.value
    registry = pb.registry.Registry()
    if hasattr(cls, "set_copyable_state"):
        registry.set_unjellyable_for_class(cls, cls)
    around, within, path = place
    desk = Desk()
    before = content(value, cls, drawn.builtin)
    with BrokerPair(desk, registry=registry, dialects=[dialect]) as pair:
        refused = None
        try:
            pair.call("keep", around(value))
        except pb.SerializationError as error:
            refused = error.path
        got = within(desk.kept[0]) if refused is None else None
        if pb.Referenceable in drawn.flavors:
            assert isinstance(got, Reference)
        elif refused is not None:
            assert refused.startswith(path)
        elif drawn.flavors:
            assert type(got) is cls
            assert content(got, cls, drawn.builtin) == before
        else:
            assert isinstance(value, BaseException)
            assert isinstance(got, pb.RemoteError)
        del got
        desk.kept.clear()
        assert content(value, cls, drawn.builtin) == before
        assert pair.call("echo", 1) == 1
