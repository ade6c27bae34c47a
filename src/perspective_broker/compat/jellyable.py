"""Objects with their own jellyFor and unjellyFor, and the words of jelly, for both directions."""

from __future__ import annotations

from typing import Any

from twisted.spread.interfaces import IJellyable, IUnjellyable
from zope.interface import implementer

from ..flavors import Policy
from .registry import _tag, called_as_in_twisted

__all__ = [
    "Jellyable",
    "TasterPolicy",
    "Unjellyable",
    "Unpersistable",
    "blank",
    "getInstanceState",
    "put_state",
    "setInstanceState",
    "state_of",
]

None_atom = b"None"
class_atom = b"class"
module_atom = b"module"
function_atom = b"function"
dereference_atom = b"dereference"
persistent_atom = b"persistent"
reference_atom = b"reference"
dictionary_atom = b"dictionary"
list_atom = b"list"
set_atom = b"set"
tuple_atom = b"tuple"
frozenset_atom = b"frozenset"
unpersistable_atom = b"unpersistable"


@implementer(IJellyable)
class Jellyable:
    """An object that jellies itself: as its class's name and :meth:`getStateFor`, unless ``jellyFor`` is overridden."""

    def getStateFor(self, jellier: Any) -> Any:
        """Return the state."""
        return self.__dict__

    def jellyFor(self, jellier: Any) -> Any:
        """Return the list for this object; ``jellier.jelly(part)`` makes its parts."""
        sexp = jellier.prepare(self)
        sexp.extend([_tag(self.__class__), jellier.jelly(self.getStateFor(jellier))])
        return jellier.preserve(self, sexp)


@implementer(IUnjellyable)
class Unjellyable:
    """Base of the classes that can be registered for a type tag."""

    def setStateFor(self, unjellier: Any, state: Any) -> None:
        """Set the state."""
        self.__dict__ = state

    def unjellyFor(self, unjellier: Any, jellyList: Any) -> Any:
        """Fill this new object from a list, and return it."""
        return unjellier.fill(self, jellyList)


class Unpersistable:
    """In place of a value that could not be jellied."""

    def __init__(self, reason: Any) -> None:
        self.reason = reason

    def __repr__(self) -> str:
        return f"Unpersistable({self.reason!r:.200})"


def getInstanceState(inst: Any, jellier: Any) -> Any:
    """Return the list for an instance by its ``__getstate__``, or its attributes."""
    sexp = jellier.prepare(inst)
    sexp.extend([_tag(inst.__class__), jellier.jelly(state_of(inst))])
    return jellier.preserve(inst, sexp)


def setInstanceState(inst: Any, unjellier: Any, jellyList: Any) -> Any:
    """Fill an instance by its ``__setstate__``, or set its attributes."""
    put_state(inst, unjellier.unjelly(jellyList[1]))
    return inst


def state_of(inst: Any) -> Any:
    # Every object of Python 3.11 has a __getstate__, which returns None when there is no state.
    return inst.__getstate__()


def blank(cls: Any) -> Any:
    """Return an instance made without ``__init__``."""
    return cls.__new__(cls)


def put_state(inst: Any, state: Any) -> None:
    """Give an instance made without ``__init__`` its state."""
    setter = getattr(inst, "__setstate__", None)
    if setter is not None:
        setter(state)
    elif isinstance(state, dict):
        inst.__dict__ = state


class TasterPolicy(Policy):
    """Security options in the form of the dialect."""

    def __init__(self, taster: Any) -> None:
        super().__init__()
        object.__setattr__(self, "_taster", taster)

    def allows_type(self, name: str) -> bool:
        return bool(self._taster.isTypeAllowed(name.encode()))  # type: ignore[attr-defined]


called_as_in_twisted("jelly", Jellyable, Unjellyable, Unpersistable)
