"""Fields: the attributes that are the state of an object, and those that a peer may set in a copy."""

from __future__ import annotations

import dataclasses
import functools
import inspect
from collections.abc import Callable, Sequence
from functools import lru_cache
from types import BuiltinFunctionType
from typing import Any, Final, Generic

from ..errors import DecodeError, SerializationError, qualified_name
from .annotations import annotations_of, is_class_variable
from .values import Value

__all__ = [
    "Shape",
    "attributes",
    "content_base",
    "field_name",
    "set_fields",
    "slot_names",
]


def set_fields(copy: object, state: Value) -> None:
    """Set the state of a copy that arrived, as :meth:`.copyable.RemoteCopy.set_copyable_state` describes.

    Raises:
        DecodeError: it is not a dictionary, or contains a name that a peer may not set.
    """
    cls: Any = type(copy)
    if type(state) is not dict:
        raise DecodeError(f"the state of a {cls.__name__} must be a dictionary")
    declared, defaults = _receivable(cls)
    for key, value in state.items():
        name = key
        if key not in declared:  # nearly always it is declared, and then the name of an attribute
            name = field_name(key)
            if name == _ARGS and issubclass(cls, BaseException):
                if type(value) is not tuple:
                    raise DecodeError("the args of an exception are a tuple")
            elif declared:
                if name not in declared:
                    continue
            elif name.startswith("_") or name in _not_data(cls):
                raise DecodeError(
                    f"a peer may not set {name[:64]!a} of a {cls.__name__}; annotate the fields that it may"
                )
        object.__setattr__(copy, name, value)
    if defaults and not state.keys() >= defaults.keys():
        for name, default in defaults.items():
            if name not in state and name.encode() not in state:
                object.__setattr__(copy, name, default())


def field_name(key: object) -> str:
    """Return the attribute name for a key of a state.

    Raises:
        DecodeError: it is not the name of an attribute.
    """
    if type(key) is bytes:  # text of a Python 2 peer
        try:
            key = key.decode("ascii")
        except UnicodeDecodeError:
            raise DecodeError("a state's keys must be attribute names") from None
    if type(key) is not str or len(key) > 256 or not key.isidentifier() or key.startswith("__"):
        raise DecodeError("a state's keys must be attribute names")
    return key


@lru_cache(maxsize=1024)
def _receivable(cls: type) -> tuple[frozenset[str], dict[str, Callable[[], Any]]]:
    """Return the fields of ``cls`` that a peer may set, and the factories of those that have a default."""
    return _declared_fields(cls), _defaults(cls)


def _declared_fields(cls: type) -> frozenset[str]:
    """Return the names that the annotations of ``cls`` and its bases declare, without those of this library."""
    names: set[str] = set()
    for base in cls.__mro__:
        if not base.__module__.startswith("perspective_broker.flavors"):
            names.update(
                name for name, annotation in annotations_of(base).items() if not is_class_variable(annotation)
            )
    return frozenset(name for name in names if not name.startswith("__"))


#: The attribute of every exception that is not in its dictionary.
_ARGS: Final = "args"


def _defaults(cls: type) -> dict[str, Callable[[], Any]]:
    """Return the factories of the fields of a dataclass that have a default."""
    if not dataclasses.is_dataclass(cls):
        return {}
    made: dict[str, Callable[[], Any]] = {}
    for field in dataclasses.fields(cls):
        static = inspect.getattr_static(cls, field.name, _UNSET)
        if static is not _UNSET and not hasattr(
            type(static), "__get__"
        ):  # a subclass may have another default
            made[field.name] = _Constant(static)
        elif field.default is not dataclasses.MISSING:
            made[field.name] = _Constant(field.default)
        elif field.default_factory is not dataclasses.MISSING:
            made[field.name] = field.default_factory
    return made


class _Constant:
    def __init__(self, value: Value) -> None:
        self._value = value

    def __call__(self) -> Value:
        return self._value


class Shape:
    """The state of a class's objects outside of their dictionary, and the names in it that do not cross.

    Args:
        cls: the class.
        sends_its_own: whether it overrides the hooks for its state.
    """

    def __init__(self, cls: type, sends_its_own: bool) -> None:
        base = content_base(cls)
        self._slots = slot_names(cls)
        self._is_exception = issubclass(cls, BaseException)
        self._content = None if base is None or sends_its_own else base.__name__
        self._hidden = _hidden_members(cls) if self._is_exception and not sends_its_own else ()
        self._left_out = _left_out(cls)

    @property
    def is_plain(self) -> bool:
        """Whether the dictionary of an object is its whole state."""
        return not (self._slots or self._content or self._is_exception or self._left_out)

    def complete(self, state: dict[str, Any], obj: Value) -> None:
        """Turn a copy of an object's dictionary into its state.

        Raises:
            SerializationError: the object has content that is not in its attributes.
        """
        if self._content is not None:
            kind: Any = type(obj)
            raise SerializationError(
                f"{qualified_name(kind)} is derived from {self._content}, whose content is not in attributes and would "
                "not cross; override get_state_to_copy and set_copyable_state to send it",
                culprit=obj,
            )
        for name in self._left_out:
            state.pop(name, None)
        _add_slots(state, obj, self._slots)
        if self._is_exception:
            state[_ARGS] = obj.args
            for member in self._hidden:
                if member.__get__(obj) is not None:
                    kind = type(obj)
                    raise SerializationError(
                        f"{qualified_name(kind)} has a {member.__name__} that only Python sees and that would not "
                        "cross; override get_state_to_copy and set_copyable_state to send it",
                        culprit=obj,
                    )


@lru_cache(maxsize=1024)
def content_base(cls: type) -> type | None:
    """Return the base of ``cls`` that is written in C, and so may have content that is not an attribute, or None.

    Exceptions do not count, because their content is known.
    """
    for base in cls.__mro__:
        if base is not object and isinstance(vars(base).get("__new__"), BuiltinFunctionType):
            return None if issubclass(base, BaseException) else base
    return None


def _hidden_members(cls: type) -> tuple[Any, ...]:
    """Return the descriptors of an exception's content in C besides its ``args``."""
    return tuple(
        member
        for base in cls.__mro__
        if issubclass(base, BaseException) and base is not BaseException
        if isinstance(vars(base).get("__new__"), BuiltinFunctionType)
        for name, member in vars(base).items()
        if inspect.ismemberdescriptor(member) or inspect.isgetsetdescriptor(member)
        if not name.startswith("__") and name != "characters_written"
    )


def _left_out(cls: type) -> tuple[str, ...]:
    """Return the names in an object's dictionary that do not cross: those of Python, and cached values."""
    names = [name for name, value in _in_classes(cls).items() if isinstance(value, functools.cached_property)]
    if Generic in cls.__mro__:
        names.append("__orig_class__")
    if issubclass(cls, BaseException):
        names.append("__notes__")
    return tuple(names)


def _add_slots(state: dict[str, Any], obj: Value, names: Sequence[str]) -> None:
    """Add the values in an object's slots to its state, without slots that were never set."""
    for name in names:
        value = getattr(obj, name, _UNSET)
        if value is not _UNSET:
            state[name] = value


_UNSET: Final = object()


@lru_cache(maxsize=1024)
def slot_names(cls: type) -> tuple[str, ...]:
    """Return the names of the slots that ``cls`` and its bases have for data, bases first."""
    names: list[str] = []
    for base in reversed(cls.__mro__):
        own = vars(base)
        if "__slots__" in own:  # exceptions also have members of Python
            names += [name for name, value in own.items() if inspect.ismemberdescriptor(value)]
    return tuple(names)


def attributes(obj: Value) -> dict[str, Any]:
    """Return the attributes of an object, in its dictionary and in its slots."""
    kind: Any = type(obj)
    found = dict(getattr(obj, "__dict__", {}))
    _add_slots(found, obj, slot_names(kind))
    if isinstance(obj, BaseException):
        found[_ARGS] = obj.args
    return found


def _in_classes(cls: type) -> dict[str, Any]:
    """Return the attributes of ``cls``, those of its bases included."""
    found: dict[str, Any] = {}
    for base in reversed(cls.__mro__):
        found.update(vars(base))
    return found


@lru_cache(maxsize=1024)
def _not_data(cls: type) -> frozenset[str]:
    """Return the names of methods, properties, and descriptors other than slots in ``cls``."""
    return frozenset(
        name
        for name, value in _in_classes(cls).items()
        if callable(value) or (hasattr(type(value), "__get__") and not inspect.ismemberdescriptor(value))
    )
