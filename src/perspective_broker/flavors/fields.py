"""Fields: what of an object crosses as its state, which attributes of a copy a peer may set, and setting them."""

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
    """Give a copy the state that arrived, as :meth:`.copyable.RemoteCopy.set_copyable_state` says.

    Raises:
        DecodeError: it is no dictionary, or names what no peer may set.
    """
    cls: Any = type(copy)
    if type(state) is not dict:
        raise DecodeError(f"the state of a {cls.__name__} must be a dictionary")
    declared, defaults = _receivable(cls)
    for key, value in state.items():
        name = key
        if key not in declared:  # nearly always it is: then it is text, and the name of an attribute
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
    """Return the attribute name that a state's key means.

    Raises:
        DecodeError: it is none.
    """
    if type(key) is bytes:  # what a Python 2 peer calls text
        try:
            key = key.decode("ascii")
        except UnicodeDecodeError:
            raise DecodeError("a state's keys must be attribute names") from None
    if type(key) is not str or len(key) > 256 or not key.isidentifier() or key.startswith("__"):
        raise DecodeError("a state's keys must be attribute names")
    return key


@lru_cache(maxsize=1024)
def _receivable(cls: type) -> tuple[frozenset[str], dict[str, Callable[[], Any]]]:
    """Return which fields of ``cls`` a peer may set, and what makes those that an older peer does not know."""
    return _declared_fields(cls), _defaults(cls)


def _declared_fields(cls: type) -> frozenset[str]:
    """Return the names that ``cls`` and its bases annotate for a peer to set, leaving out this library's own."""
    names: set[str] = set()
    for base in cls.__mro__:
        if not base.__module__.startswith("perspective_broker.flavors"):
            names.update(
                name for name, annotation in annotations_of(base).items() if not is_class_variable(annotation)
            )
    return frozenset(name for name in names if not name.startswith("__"))


#: The one thing that every exception keeps where only Python sees it.
_ARGS: Final = "args"


def _defaults(cls: type) -> dict[str, Callable[[], Any]]:
    """Return what makes the fields of a dataclass that have a default."""
    if not dataclasses.is_dataclass(cls):
        return {}
    made: dict[str, Callable[[], Any]] = {}
    for field in dataclasses.fields(cls):
        static = inspect.getattr_static(cls, field.name, _UNSET)
        if static is not _UNSET and not hasattr(type(static), "__get__"):  # a subclass may have another
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
    """What the objects of one class keep elsewhere than in their dictionary, and what is there that does not cross.

    Args:
        cls: the class.
        sends_its_own: whether it has hooks of its own for its state.
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
        """Whether the dictionary of an object is all that crosses of it."""
        return not (self._slots or self._content or self._is_exception or self._left_out)

    def complete(self, state: dict[str, Any], obj: Value) -> None:
        """Make a copy of an object's dictionary the state that crosses.

        Raises:
            SerializationError: there is more to the object than that.
        """
        if self._content is not None:
            kind: Any = type(obj)
            raise SerializationError(
                f"{qualified_name(kind)} is derived from {self._content}, whose content is no attribute and would not "
                "cross; override get_state_to_copy and set_copyable_state to send it",
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
    """Return the base of ``cls`` that is written in C, and so may keep what is no attribute; None without one.

    (Of exceptions it is known what they keep.)
    """
    for base in cls.__mro__:
        if base is not object and isinstance(vars(base).get("__new__"), BuiltinFunctionType):
            return None if issubclass(base, BaseException) else base
    return None


def _hidden_members(cls: type) -> tuple[Any, ...]:
    """Return the descriptors of what Python keeps of an exception besides its ``args``."""
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
    """Return the names in an object's dictionary that do not cross: what Python puts there, and what is derived."""
    names = [name for name, value in _in_classes(cls).items() if isinstance(value, functools.cached_property)]
    if Generic in cls.__mro__:
        names.append("__orig_class__")
    if issubclass(cls, BaseException):
        names.append("__notes__")
    return tuple(names)


def _add_slots(state: dict[str, Any], obj: Value, names: Sequence[str]) -> None:
    """Put what an object keeps in its slots into its state; one that was never set is left out."""
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
        if "__slots__" in own:  # exceptions have members of Python's own besides
            names += [name for name, value in own.items() if inspect.ismemberdescriptor(value)]
    return tuple(names)


def attributes(obj: Value) -> dict[str, Any]:
    """Return what an object keeps, in its dictionary and in its slots."""
    kind: Any = type(obj)
    found = dict(getattr(obj, "__dict__", {}))
    _add_slots(found, obj, slot_names(kind))
    if isinstance(obj, BaseException):
        found[_ARGS] = obj.args
    return found


def _in_classes(cls: type) -> dict[str, Any]:
    """Return what ``cls`` and its bases have under each name."""
    found: dict[str, Any] = {}
    for base in reversed(cls.__mro__):
        found.update(vars(base))
    return found


@lru_cache(maxsize=1024)
def _not_data(cls: type) -> frozenset[str]:
    """Return the names under which ``cls`` has code: methods, properties, and other descriptors than slots."""
    return frozenset(
        name
        for name, value in _in_classes(cls).items()
        if callable(value) or (hasattr(type(value), "__get__") and not inspect.ismemberdescriptor(value))
    )
