"""Fields: which attributes of a copy a peer may set, and setting them."""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from functools import lru_cache
from typing import Any, Final

from ..errors import DecodeError
from .annotations import annotations_of, is_class_variable

__all__ = ["add_slots", "attributes", "field_name", "set_fields", "slot_names"]


def set_fields(copy: Any, state: Any) -> None:
    """Give a copy the state that arrived, as :meth:`.copyable.RemoteCopy.set_copyable_state` says.

    Raises:
        DecodeError: it is no dictionary, or names what no peer may set.
    """
    cls: Any = type(copy)
    if type(state) is not dict:
        raise DecodeError(f"the state of a {cls.__name__} must be a dictionary")
    declared = _declared_fields(cls)
    for key, value in state.items():
        name = key
        if key not in declared:  # nearly always it is: then it is text, and the name of an attribute
            name = field_name(key)
            if declared:
                if name not in declared:
                    continue
            elif name.startswith("_") or name in _not_data(cls):
                raise DecodeError(
                    f"a peer may not set {name[:64]!a} of a {cls.__name__}; annotate the fields that it may"
                )
        object.__setattr__(copy, name, value)


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
def _declared_fields(cls: type) -> frozenset[str]:
    """Return the names that ``cls`` and its bases annotate for a peer to set, leaving out this library's own."""
    names: set[str] = set()
    for base in cls.__mro__:
        if not base.__module__.startswith("perspective_broker.flavors"):
            names.update(
                name for name, annotation in annotations_of(base).items() if not is_class_variable(annotation)
            )
    return frozenset(name for name in names if not name.startswith("__"))


def add_slots(state: dict[str, Any], obj: Any, names: Sequence[str]) -> None:
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


def attributes(obj: Any) -> dict[str, Any]:
    """Return what an object keeps, in its dictionary and in its slots."""
    kind: Any = type(obj)
    found = dict(getattr(obj, "__dict__", {}))
    add_slots(found, obj, slot_names(kind))
    return found


@lru_cache(maxsize=1024)
def _not_data(cls: type) -> frozenset[str]:
    """Return the names under which ``cls`` has code: methods, properties, and other descriptors than slots."""
    attributes: dict[str, Any] = {}
    for base in reversed(cls.__mro__):
        attributes.update(vars(base))
    return frozenset(
        name
        for name, value in attributes.items()
        if callable(value) or (hasattr(type(value), "__get__") and not inspect.ismemberdescriptor(value))
    )
