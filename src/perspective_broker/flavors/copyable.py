"""Copyable: the state crosses, and the peer builds an object of its own from it.

The sending class says what it is called and what of it crosses; the receiving class is whatever the
receiver's registry holds under that tag. No name that a peer sends is ever imported.
"""

from __future__ import annotations

import inspect
from functools import lru_cache
from typing import Any

from ..errors import DecodeError, qualified_name

__all__ = ["Copyable", "RemoteCopy"]


class Copyable:
    """An object that is sent by value. Every attribute crosses unless a hook below says otherwise."""

    def get_type_to_copy(self) -> str:
        """Return the type tag under which the receiver finds the class to build."""
        return qualified_name(type(self))

    def get_type_to_copy_for(self, perspective: Any) -> str:
        """Return the type tag for one perspective (None outside of any)."""
        return self.get_type_to_copy()

    def get_state_to_copy(self) -> Any:
        """Return the state that crosses, usually a dictionary with text keys."""
        return vars(self).copy()

    def get_state_to_copy_for(self, perspective: Any) -> Any:
        """Return the state that crosses to one perspective (None outside of any)."""
        return self.get_state_to_copy()


class RemoteCopy:
    """What a :class:`Copyable` arrives as, once registered: ``@pb.copier_for("tag")``.

    A class with annotations receives exactly the annotated fields, unknown ones are ignored (so that an
    older program understands a newer one). A class without any receives every public name that hides
    nothing of the class.
    """

    __slots__ = ()

    def set_copyable_state(self, state: Any) -> None:
        """Take the state that arrived. Called on an instance made without ``__init__``.

        Args:
            state: by default a dictionary; its keys are text, or bytes when the peer is a Python 2 program.

        Raises:
            DecodeError: it is no dictionary, or names what no peer may set.
        """
        if type(state) is not dict:
            raise DecodeError(f"the state of a {type(self).__name__} must be a dictionary")
        declared = _declared_fields(type(self))  # type: ignore[arg-type] # mypy: a class is hashable
        for key, value in state.items():
            name = field_name(key)
            if declared:
                if name not in declared:
                    continue
            elif name.startswith("_") or name in _not_data(type(self)):  # type: ignore[arg-type]
                raise DecodeError(f"a peer may not set {name[:64]!a} of a {type(self).__name__}")
            object.__setattr__(self, name, value)


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
    """Return the names that ``cls`` and its bases annotate, leaving out this library's own."""
    names: set[str] = set()
    for base in cls.__mro__:
        if not base.__module__.startswith("perspective_broker.flavors"):
            names.update(inspect.get_annotations(base))
    return frozenset(names)


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
