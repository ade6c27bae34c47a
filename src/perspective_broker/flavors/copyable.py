"""Copyable: the state crosses, and the peer builds an object of its own from it.

The sending class determines the type tag and the state; the receiver's registry maps the tag to the receiving class.
A name that a peer sends is never imported.
"""

from __future__ import annotations

from typing import Any, ClassVar, TypeGuard

from ..errors import qualified_name
from ..rebuilt import notify_rebuilt
from .exporting import Exportable
from .fields import Shape, set_fields
from .spelling import check_spelling
from .values import Perspective, Value

__all__ = ["Copyable", "RemoteCopy", "is_copied"]


class Copyable:
    """An object that is sent by value. All attributes cross, unless one of its hooks is overridden."""

    _shape: ClassVar[Shape | None] = None  # None when the dictionary is the whole state

    def __init_subclass__(cls, **kwargs: object) -> None:
        super().__init_subclass__(**kwargs)
        check_spelling(cls)
        kind: Any = cls
        shape = Shape(kind, cls._sends_its_own())
        cls._shape = None if shape.is_plain else shape

    @classmethod
    def _sends_its_own(cls) -> bool:
        return (
            cls.get_state_to_copy is not Copyable.get_state_to_copy
            or cls.get_state_to_copy_for is not Copyable.get_state_to_copy_for
        )

    def get_type_to_copy(self) -> str:
        """Return the type tag by which the receiver finds the class to build."""
        return qualified_name(type(self))

    def get_type_to_copy_for(self, perspective: Perspective) -> str:
        """Return the type tag for one perspective (None outside of any)."""
        return self.get_type_to_copy()

    def get_state_to_copy(self) -> Value:
        """Return the state that crosses, usually a dictionary with text keys.

        By default these are the attributes, those in slots included, without the values of each ``cached_property``;
        for an exception its ``args`` as well.

        Raises:
            SerializationError: the object has other content, because its class is derived from ``list``, say.
        """
        state = vars(self).copy()
        if self._shape is not None:
            self._shape.complete(state, self)
        return state

    def get_state_to_copy_for(self, perspective: Perspective) -> Value:
        """Return the state that crosses to one perspective (None outside of any)."""
        return self.get_state_to_copy()


class RemoteCopy:
    """Base of the classes as which a :class:`Copyable` arrives: ``@pb.copier_for("tag")`` registers one.

    A class with annotations receives exactly the annotated fields: unknown ones are ignored (so that an older program
    understands a newer one), and a missing one has the class's default (of a dataclass also that of its factory), or is
    not set. Types are not checked: override :meth:`set_copyable_state` to check them. A class without annotations
    receives every field, except that a name which is not public, or hides an attribute of the class, is refused.
    """

    __slots__ = ()

    def __init_subclass__(cls, **kwargs: object) -> None:
        super().__init_subclass__(**kwargs)
        check_spelling(cls)
        notify_rebuilt(cls)

    def set_copyable_state(self, state: Value) -> None:
        """Set the state that arrived. Called on an instance made without ``__init__``.

        Args:
            state: by default a dictionary; its keys are text, or bytes when the peer is a Python 2 program.

        Raises:
            DecodeError: it is not a dictionary, or contains a name that a peer may not set.
        """
        set_fields(self, state)


def is_copied(value: object) -> TypeGuard[Copyable]:
    """Return whether a value crosses as a copy. A value that is Exportable as well crosses as a reference."""
    return isinstance(value, Copyable) and not isinstance(value, Exportable)
