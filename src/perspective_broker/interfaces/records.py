"""Converters of classes with fields: a map crosses, or for a NamedTuple a list."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Any, Final, TypeVar

from ..flavors.values import Value
from .converters import Misfit, Node, Work, misfit

__all__ = ["Field", "NamedTupleRecord", "Pydantic", "Record", "field_names"]

_MISSING: Final = object()
_Made = TypeVar("_Made")


@dataclass(frozen=True, slots=True)
class Field:
    """A field of a record.

    Attributes:
        name: the attribute.
        wire: the key under which it crosses.
        node: the converter of its value.
        required: whether it has no default.
        parameter: of the constructor; None when it is set afterwards.
    """

    name: str
    wire: str
    node: Node
    required: bool
    parameter: str | None


class Record(Node):
    """A class with fields: a dataclass, an attrs class, a Struct, a TypedDict, an exception.

    Args:
        cls: the class.
        make: makes the object of values by parameter.
        tag: the key and text by which a tagged Struct is known.
    """

    sends_as_is = False
    made = True

    def __init__(
        self, cls: type, make: Callable[[dict[str, Any]], Any], tag: tuple[str, Value] | None = None
    ) -> None:
        self.cls = cls
        self.fields: Sequence[Field] = ()  # set once, when the converters of recursive classes are known
        self.tag = tag
        self._make = make
        self.expected = cls.__name__
        self.shapes = frozenset({dict, cls})

    def take(self, value: Value, work: Work) -> Value:
        if type(value) is dict:
            return self.build(value, work)
        if type(value) is self.cls:  # it came as a registered value
            return value
        raise misfit(self.expected, value)

    def build(self, state: Mapping[Any, Value], work: Work) -> Value:
        """Return the object for fields that arrived. Raises Misfit."""
        if work.classic and bytes in map(type, state):
            state = {_text(key): item for key, item in state.items()}
        if self.tag is not None and state.get(self.tag[0], self.tag[1]) != self.tag[1]:
            raise Misfit(f": expected {self.expected}, got a Struct with another tag")
        work.spend(len(self.fields))
        made: dict[str, Value] = {}
        later: list[tuple[str, Value]] = []
        for field in self.fields:
            item = state.get(field.wire, _MISSING)
            if item is _MISSING:
                if field.required:
                    raise Misfit(f".{field.wire}: missing; a {self.expected} needs it")
                continue
            node = field.node
            if type(item) is not node.exact:
                try:
                    item = node.take(item, work)
                except Misfit as error:
                    raise error.within(f".{field.wire}") from None
            if field.parameter is None:
                later.append((field.name, item))
            else:
                made[field.parameter] = item
        obj = _guarded(self.expected, lambda: self._make(made))
        for name, item in later:
            object.__setattr__(obj, name, item)
        return obj

    def give(self, value: Value) -> Value:
        return self.state(value) if self.gives(value) else value

    def state(self, value: Value) -> dict[str, Value]:
        """Return the fields of an object as they cross. Raises Misfit."""
        kind = type(value)
        if kind is not self.cls and len(field_names(kind)) > len(field_names(self.cls)):
            raise Misfit(f": expected {self.expected}, got {kind.__name__}, which has more fields")
        given = {} if self.tag is None else {self.tag[0]: self.tag[1]}
        for field in self.fields:
            item = self.get(value, field.name)
            if item is _MISSING:  # not set, and the default at the peer
                continue
            node = field.node
            if not node.sends_as_is:
                try:
                    item = node.give(item)
                except Misfit as error:
                    raise error.within(f".{field.wire}") from None
            given[field.wire] = item
        return given

    def get(self, value: Value, name: str) -> Value:
        """Return a field of an object."""
        return getattr(value, name, _MISSING)

    def gives(self, value: Value) -> bool:
        return isinstance(value, self.cls)

    def fits(self, value: Value, work: Work) -> bool:
        if type(value) is dict:
            return self.tag is None or value.get(self.tag[0], self.tag[1]) == self.tag[1]
        return type(value) is self.cls


class DictRecord(Record):
    """A TypedDict."""

    def __init__(self, cls: type) -> None:
        super().__init__(cls, dict)
        self.shapes = frozenset({dict})
        self.sends_as_is = False

    def get(self, value: Value, name: str) -> Value:
        return value.get(name, _MISSING)

    def state(self, value: Value) -> dict[str, Value]:
        known = {field.name for field in self.fields}
        if not known.issuperset(value):
            raise Misfit(f": expected {self.expected}, got a dict with other keys")
        return super().state(value)

    def gives(self, value: Value) -> bool:
        return isinstance(value, dict)


class NamedTupleRecord(Record):
    """A NamedTuple, which crosses as a list."""

    def __init__(self, cls: type) -> None:
        super().__init__(cls, lambda made: cls(**made))
        self.shapes = frozenset({list, tuple, cls})

    def take(self, value: Value, work: Work) -> Value:
        if type(value) is self.cls:
            return value
        if type(value) is not list and type(value) is not tuple:
            raise misfit(self.expected, value)
        if len(value) > len(self.fields):
            raise Misfit(f": expected {self.expected} of {len(self.fields)}, got {len(value)} items")
        return self.build(dict(zip((field.wire for field in self.fields), value, strict=False)), work)

    def give(self, value: Value) -> Value:
        return list(self.state(value).values()) if self.gives(value) else value

    def fits(self, value: Value, work: Work) -> bool:
        return type(value) in self.shapes


class Pydantic(Record):
    """A pydantic model, which checks by its own rules."""

    def __init__(self, cls: Any) -> None:
        super().__init__(cls, cls.model_validate)

    def build(self, state: Mapping[Any, Value], work: Work) -> Value:
        if work.classic and bytes in map(type, state):
            state = {_text(key): item for key, item in state.items()}
        try:
            return self._make(dict(state))
        except KeyboardInterrupt:
            raise
        except BaseException as error:
            raise Misfit(self._refusal(error)) from error

    def _refusal(self, error: BaseException) -> str:
        """Return what an error of the model says, without what arrived."""
        errors: Any = getattr(error, "errors", None)
        if errors is None:
            return f": {self.expected} refuses it ({type(error).__name__})"
        first = errors(include_url=False, include_context=False, include_input=False)[0]
        text = first["msg"]
        if first["type"] in ("value_error", "assertion_error"):  # the program's text may quote
            text = "refused by a validator"
        return f"{_place(self.cls, first['loc'])}: {text[:1].lower()}{text[1:]}"

    def state(self, value: Value) -> dict[str, Value]:
        return _plain(value.model_dump(by_alias=True))  # type: ignore[no-any-return]


def _place(cls: Any, parts: Sequence[int | str]) -> str:
    """Return the position of an error. Keys that the peer has chosen are not shown."""
    path = ""
    for part in parts:
        fields = getattr(cls, "model_fields", {})
        if isinstance(part, int):
            path += f"[{part}]"
        else:
            name = next((name for name, field in fields.items() if part in (name, field.alias)), None)
            path += f".{part}" if name is not None else "[...]"
            cls = fields[name].annotation if name is not None else None
    return path


def _plain(value: Value) -> Value:
    """Return what a model dumps, with the values of enumerations."""
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, dict):
        return {_plain(key): _plain(item) for key, item in value.items()}
    if isinstance(value, (list, set, frozenset)) or type(value) is tuple:
        return type(value)(map(_plain, value))
    if isinstance(value, tuple):  # a NamedTuple
        return list(map(_plain, value))
    return value


def _guarded(expected: str, make: Callable[[], _Made]) -> _Made:
    """Return what the program's own constructor makes. Raises Misfit when that raises."""
    try:
        return make()
    except KeyboardInterrupt:
        raise
    except BaseException as error:
        raise Misfit(f": {expected} refuses it ({type(error).__name__})") from error


def _text(key: Value) -> Value:
    """Return the name of a field of a Python 2 peer."""
    return key.decode("ascii", "replace") if type(key) is bytes else key


def field_names(cls: Any) -> Sequence[str]:
    """Return the names of the fields that objects of ``cls`` have."""
    if dataclasses.is_dataclass(cls):
        return [field.name for field in dataclasses.fields(cls)]
    if "__attrs_attrs__" in dir(cls):
        return [field.name for field in cls.__attrs_attrs__]
    names: Sequence[str] = getattr(cls, "__struct_fields__", getattr(cls, "_fields", ()))
    return names
