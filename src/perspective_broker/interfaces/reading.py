"""Reading: from an annotation to its converter."""

from __future__ import annotations

import collections
import collections.abc as abc
import dataclasses
import datetime
import fractions
import inspect
import ipaddress
import pathlib
import sys
import types
import typing
from collections.abc import Callable, Sequence
from decimal import Decimal
from enum import Enum, Flag
from itertools import combinations
from typing import Annotated, Any, Final, Literal, NewType, NoReturn, TypeVar, get_args, get_origin
from uuid import UUID

from ..flavors import Copyable, Exportable, Reference, RemoteCache, RemoteCopy
from ..flavors.annotations import is_class_variable
from ..flavors.values import Value
from .converters import Hooks, Node, Work
from .hints import UnknownName, hints_of, named
from .hooked import CallableNode, InterfaceNode, StreamNode
from .plain import Anything, Bounded, Derived, Exact, FixedTuple, Instance, Items, OneOf, Pairs, Union
from .records import DictRecord, Field, NamedTupleRecord, Pydantic, Record

__all__ = ["Reader", "is_record"]

_NUMPY: Final = "numpy"

#: Types that cross as themselves, without subclasses.
_EXACT: Final = frozenset(
    {
        *(str, int, bool, float, bytes, complex, types.NoneType, Decimal, UUID),
        *(datetime.date, datetime.time, datetime.datetime, datetime.timedelta),
        *(fractions.Fraction, range),
        *(ipaddress.IPv4Address, ipaddress.IPv6Address, ipaddress.IPv4Network, ipaddress.IPv6Network),
        *(ipaddress.IPv4Interface, ipaddress.IPv6Interface, pathlib.PurePosixPath, pathlib.PureWindowsPath),
    }
)
#: Bases of classes that are made of what crosses for their base.
_BASES: Final = (str, int, float, bytes, list, dict, set, frozenset, tuple, collections.deque)

#: Containers: the annotation -> the type that is made (None: the one that arrived), and the types that are taken.
_CONTAINERS: Final[dict[Any, tuple[Any, tuple[type, ...]]]] = {
    list: (list, (list,)),
    set: (set, (set,)),
    frozenset: (frozenset, (frozenset,)),
    collections.deque: (collections.deque, (collections.deque,)),
    abc.Sequence: (None, (list, tuple)),
    abc.MutableSequence: (None, (list,)),
    abc.Iterable: (None, (list, tuple, set, frozenset, collections.deque)),
    abc.Collection: (None, (list, tuple, set, frozenset, collections.deque)),
    abc.Set: (None, (set, frozenset)),
    abc.MutableSet: (None, (set,)),
}
_MAPPINGS: Final = (dict, abc.Mapping, abc.MutableMapping)
_STREAMS: Final = (abc.AsyncIterator, abc.AsyncIterable, abc.AsyncGenerator)

#: What has no values that cross -> what to write instead.
_NO_VALUES: Final[dict[Any, str]] = {
    abc.Iterator: "annotate AsyncIterator, and write an async generator",
    abc.Generator: "annotate AsyncIterator, and write an async generator",
    abc.Awaitable: "annotate what it returns",
    abc.Coroutine: "annotate what it returns",
    type: "classes do not cross; send a name",
    collections.defaultdict: "its factory does not cross; annotate dict",
}


class _Later(Node):
    """Stands for the converter of an annotation that contains itself."""

    sends_as_is: bool = False
    made: bool = True
    node: Node

    def take(self, value: Value, work: Work) -> Value:
        return self.node.take(value, work)

    def give(self, value: Value) -> Value:
        return self.node.give(value)

    def fits(self, value: Value, work: Work) -> bool:
        return self.node.fits(value, work)

    def gives(self, value: Value) -> bool:
        return self.node.gives(value)

    def holds(self, value: Value) -> bool:
        return self.node.holds(value)


class Reader:
    """Reads one annotation, with those that it contains.

    Args:
        hooks: what the caller knows about interfaces and callables; None where these cannot cross.
    """

    def __init__(self, hooks: Hooks | None) -> None:
        self._hooks = hooks
        self._records: dict[Any, Node] = {}  # by annotation, because a class may contain itself

    def read(self, annotation: Any) -> Node:
        """Return the converter. Raises TypeError with what to do."""
        if annotation is None:
            return Exact(types.NoneType)
        if annotation in (Any, object, inspect.Parameter.empty) or isinstance(annotation, TypeVar):
            return Anything()
        if isinstance(annotation, (str, typing.ForwardRef)):
            _refuse(annotation, "it is a name that is not known when the program runs")
        if self._hooks is not None and self._hooks.is_interface(annotation):
            return InterfaceNode(annotation, self._hooks, _short(annotation))
        if isinstance(annotation, NewType):
            return self.read(annotation.__supertype__)
        if type(annotation).__name__ == "TypeAliasType":
            return self._once(annotation, lambda: self.read(annotation.__value__))
        origin = get_origin(annotation)
        if (
            type(origin).__name__ == "TypeAliasType"
        ):  # an alias with parameters, as numpy.typing.NDArray[...] can be
            return self._once(annotation, lambda: self.read(origin.__value__[get_args(annotation)]))
        if origin is Annotated:
            return self._annotated(annotation)
        if origin in (typing.Union, types.UnionType):
            return self._union(annotation)
        if origin is Literal:
            return OneOf(_literal(annotation), [(_crossing(value), value) for value in get_args(annotation)])
        return self._container(annotation, origin or annotation)

    def _once(self, annotation: Any, read: Callable[[], Node]) -> Node:
        """Return what ``read`` returns; a node that stands for it while it is being read."""
        known = self._records.get(annotation)
        if known is None:
            later = self._records[annotation] = _Later()
            known = later.node = self._records[annotation] = read()
        return known

    def _annotated(self, annotation: Any) -> Node:
        base, *metadata = get_args(annotation)
        node = self.read(base)
        for meta in metadata:
            if (msgspec := _msgspec()) is not None and isinstance(meta, msgspec.Meta):
                node = Bounded(node, meta)
        return node

    def _union(self, annotation: Any) -> Node:
        members = [self.read(member) for member in get_args(annotation)]
        if not all(member.checks for member in members):
            return Anything()
        for one, other in combinations(members, 2):
            if not _told_apart(one, other):
                _refuse(
                    annotation,
                    f"{one.expected} and {other.expected} cannot be told apart when they arrive; give the method one "
                    "parameter for each, register the classes with @pb.value and annotate Any, or use "
                    "msgspec.Struct with tags",
                )
        return Union(members)

    def _container(self, annotation: Any, origin: Any) -> Node:
        arguments = get_args(annotation)
        if origin in _EXACT:
            return Exact(origin)
        if origin in _CONTAINERS:
            kind, shapes = _CONTAINERS[origin]
            return Items(kind, shapes, self.read(arguments[0]) if arguments else Anything())
        if origin in _MAPPINGS:
            return Pairs(*self._pair(arguments), dict if origin is dict else abc.Mapping)
        if origin is tuple:
            return self._tuple(annotation, arguments)
        if origin is abc.Callable or origin in _STREAMS:
            return self._called(annotation, origin, arguments)
        if origin is bytearray or origin is memoryview:
            return Derived(origin, Exact(bytes), bytes)
        if origin is collections.OrderedDict:
            return Derived(origin, Pairs(*self._pair(arguments)), dict)
        if origin is collections.Counter:
            return Derived(origin, Pairs(self.read(arguments[0] if arguments else Any), Exact(int)), dict)
        if origin in _NO_VALUES:
            _refuse(annotation, _NO_VALUES[origin])
        if not isinstance(origin, type):
            _refuse(annotation, "annotate a class, or Any")
        return self._class(annotation, origin)

    def _pair(self, arguments: Sequence[Any]) -> tuple[Node, Node]:
        """Return the converters of a mapping's keys and items."""
        key, item = arguments or (Any, Any)
        return self.read(key), self.read(item)

    def _called(self, annotation: Any, origin: Any, arguments: Sequence[Any]) -> Node:
        if self._hooks is None:
            _refuse(
                annotation, "it crosses as an argument or answer of an interface's method, not within a value"
            )
        if origin is abc.Callable:
            return CallableNode(annotation, self._hooks, "a callable")
        return StreamNode(self.read(arguments[0] if arguments else Any), self._hooks, "a stream")

    def _tuple(self, annotation: Any, arguments: Sequence[Any]) -> Node:
        if not arguments and annotation in (tuple, typing.Tuple):  # noqa: UP006 # what an older program says
            return Items(tuple, (tuple,), Anything())
        if len(arguments) == 2 and arguments[1] is Ellipsis:
            return Items(tuple, (tuple,), self.read(arguments[0]))
        return FixedTuple(list(map(self.read, arguments)))

    def _class(self, annotation: Any, cls: Any) -> Node:
        if issubclass(cls, (Reference, Exportable)):
            return Instance(cls) if issubclass(cls, Reference) else Instance(cls, Reference)
        if issubclass(cls, (Copyable, RemoteCopy, RemoteCache)) or hasattr(cls, "set_copyable_state"):
            return Instance(cls)
        if issubclass(cls, pathlib.PurePath):
            return self._path(cls)
        if issubclass(cls, Enum):
            return _enumeration(cls)
        if cls.__module__.partition(".")[0] == _NUMPY:
            return self._numpy(annotation, cls)
        if is_record(cls):
            return self._record(annotation, cls)
        for base in _BASES:
            if issubclass(cls, base):
                return Derived(cls, self.read(base), base)
        if getattr(cls, "_is_protocol", False):
            _refuse(annotation, "derive it from pb.Interface, too, or annotate Any")
        _refuse(
            annotation,
            "make it a dataclass, derive it from a flavor or pb.Interface, or annotate Any and register it with "
            "@pb.value",
        )

    def _path(self, cls: Any) -> Node:
        """A path arrives as its pure one, and becomes a path of this system where it is annotated."""
        pure: Any = (
            pathlib.PurePosixPath
            if isinstance(pathlib.Path(), pathlib.PosixPath)
            else pathlib.PureWindowsPath
        )
        if cls is pathlib.PurePath:
            return Union([Exact(pathlib.PurePosixPath), Exact(pathlib.PureWindowsPath)])
        return Derived(cls, Exact(pure), pure)

    def _numpy(self, annotation: Any, cls: Any) -> Node:
        from .arrays import array_node  # only for programs that have imported numpy

        node = array_node(annotation, cls)
        if node is None:
            _refuse(annotation, "annotate numpy.ndarray, numpy.typing.NDArray[...] or a scalar type")
        return node

    def _record(self, annotation: Any, cls: Any) -> Node:
        def read() -> Node:
            record = _record_of(cls)
            self._records[annotation] = record
            if not isinstance(record, Pydantic):
                record.fields = self._fields(annotation, cls, hints_of(annotation))
            return record

        return self._once(annotation, read)

    def _fields(self, annotation: Any, cls: Any, hints: dict[str, Any]) -> list[Field]:
        found = []
        for name, wire, required, parameter in _layout(cls, hints):
            hint = tuple if name == "args" and issubclass(cls, BaseException) else hints.get(name, Any)
            while get_origin(hint) in _QUALIFIERS:
                hint = get_args(hint)[0]
            try:
                node = self.read(hint)
            except UnknownName:
                raise
            except TypeError as error:
                raise TypeError(f"{named(cls)}.{name}: {error}") from None
            found.append(Field(name, wire, node, required, parameter))
        return found


_QUALIFIERS: Final = tuple(
    getattr(typing, name)
    for name in ("Required", "NotRequired", "Final", "ReadOnly")
    if hasattr(typing, name)
)


def is_record(cls: Any) -> bool:
    """Return whether a class has fields that can be read from its annotations."""
    return (
        dataclasses.is_dataclass(cls)
        or typing.is_typeddict(cls)
        or "__attrs_attrs__" in dir(cls)
        or _is_pydantic(cls)
        or issubclass(cls, BaseException)
        or _is_struct(cls)
        or _is_named_tuple(cls)
    )


def _is_named_tuple(cls: Any) -> bool:
    return issubclass(cls, tuple) and hasattr(cls, "_fields")


def _msgspec() -> Any:
    """Return the package if the program has imported it: otherwise no annotation is of it. It takes long to import."""
    return sys.modules.get("msgspec")


def _is_struct(cls: Any) -> bool:
    msgspec = _msgspec()
    return msgspec is not None and issubclass(cls, msgspec.Struct)


def _is_pydantic(cls: Any) -> bool:
    return callable(getattr(cls, "model_validate", None)) and hasattr(cls, "model_fields")


def _record_of(cls: Any) -> Record:
    if typing.is_typeddict(cls):
        return DictRecord(cls)
    if _is_named_tuple(cls):
        return NamedTupleRecord(cls)
    if _is_pydantic(cls):
        return Pydantic(cls)
    if issubclass(cls, BaseException):
        return Record(cls, lambda made: _exception(cls, made))
    if _is_struct(cls):
        config = cls.__struct_config__
        tag = None if config.tag_field is None else (config.tag_field, config.tag)
        return Record(cls, lambda made: cls(**made), tag)
    return Record(cls, lambda made: cls(**made))


def _exception(cls: Any, made: dict[str, Value]) -> BaseException:
    """Return an exception, made without its constructor, whose parameters are unknown."""
    args = made.pop("args", ())
    error: BaseException = cls.__new__(cls, *args)
    error.args = args
    for name, value in made.items():
        setattr(error, name, value)
    return error


def _layout(cls: Any, hints: dict[str, Any]) -> list[tuple[str, str, bool, str | None]]:
    """Return name, key, whether it is required, and parameter of each field of a class."""
    if typing.is_typeddict(cls):
        return [(name, name, _is_required(cls, name, hint), name) for name, hint in hints.items()]
    if issubclass(cls, BaseException):
        fields = [name for name in hints if not name.startswith("__") and not is_class_variable(hints[name])]
        return [(name, name, False, name) for name in dict.fromkeys(["args", *fields])]
    if _is_struct(cls):
        return [
            (field.name, field.encode_name, field.required, field.name)
            for field in sys.modules["msgspec"].structs.fields(cls)
        ]
    if _is_named_tuple(cls):
        return [(name, name, name not in cls._field_defaults, name) for name in cls._fields]
    if dataclasses.is_dataclass(cls):
        return _dataclass_layout(cls)
    return [
        (field.name, field.name, field.init and _nothing(field.default), field.alias if field.init else None)
        for field in cls.__attrs_attrs__
    ]


def _is_required(cls: Any, name: str, hint: Any) -> bool:
    """Return whether a TypedDict needs a key. (Its own list is wrong where annotations are text.)"""
    while (origin := get_origin(hint)) in _QUALIFIERS:
        if origin in (typing.Required, typing.NotRequired):
            return origin is typing.Required
        hint = get_args(hint)[0]
    return name in cls.__required_keys__


def _nothing(default: object) -> bool:
    """Return whether a field of attrs has no default."""
    return type(default).__name__ == "_Nothing"


def _dataclass_layout(cls: Any) -> list[tuple[str, str, bool, str | None]]:
    for parameter in inspect.signature(cls).parameters:
        if parameter not in {field.name for field in dataclasses.fields(cls)}:
            raise TypeError(
                f"{named(cls)}: its constructor has a parameter {parameter} that is not a field; make it a field, or "
                "derive the class from pb.Copyable"
            )
    missing = dataclasses.MISSING
    return [
        (
            field.name,
            field.name,
            field.init and field.default is missing and field.default_factory is missing,
            field.name if field.init else None,
        )
        for field in dataclasses.fields(cls)
    ]


def _enumeration(cls: Any) -> Node:
    members = [(member.value, member) for member in cls]
    if issubclass(cls, Flag):
        members.append((0, cls(0)))
    return OneOf(f"a value of {cls.__name__}", members, cls)


def _crossing(value: Value) -> Value:
    return value.value if isinstance(value, Enum) else value


def _literal(annotation: Any) -> str:
    return " or ".join(repr(_crossing(value)) for value in get_args(annotation))


def _meet(one: Node, other: Node) -> bool:
    """Return whether something that arrives could be both."""
    tags = [node.tag for node in (one, other) if isinstance(node, Record) and node.tag is not None]
    if len(tags) == 2:
        return tags[0][0] != tags[1][0] or tags[0] == tags[1]
    return bool(one.shapes & other.shapes) or (isinstance(one, _Later) or isinstance(other, _Later))


def _told_apart(one: Node, other: Node) -> bool:
    """Return whether all that arrives becomes the same by both, or can be one of them only.

    Of containers this is asked of what is in them. (Nothing is in an empty one, which is the same by both.)
    """
    if isinstance(one, Union) or isinstance(other, Union):
        return all(_told_apart(a, b) for a in _members(one) for b in _members(other))
    if not _meet(one, other):
        return True
    if one.made or other.made:
        return False
    if isinstance(one, FixedTuple) or isinstance(other, FixedTuple):
        length = max(len(node.parts) for node in (one, other) if isinstance(node, FixedTuple))
        rows = [
            node.parts if isinstance(node, FixedTuple) else [*node.parts] * length for node in (one, other)
        ]
        if len(rows[0]) != len(rows[1]):
            return True
        pairs = list(zip(*rows, strict=True))
    else:
        pairs = list(zip(one.parts, other.parts, strict=False))
        if not isinstance(one, Pairs):
            return all(_told_apart(a, b) for a, b in pairs)
    return any(not _overlap(a, b) for a, b in pairs) or all(_told_apart(a, b) for a, b in pairs)


def _members(node: Node) -> Sequence[Node]:
    return node.parts if isinstance(node, Union) else (node,)


def _overlap(one: Node, other: Node) -> bool:
    return any(_meet(a, b) for a in _members(one) for b in _members(other))


def _short(annotation: Any) -> str:
    return str(getattr(get_origin(annotation) or annotation, "__name__", annotation))


def _refuse(annotation: Any, advice: str) -> NoReturn:
    raise TypeError(f"{named(annotation)} cannot be checked: {advice}")
