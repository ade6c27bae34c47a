"""Copyable: the state crosses, and the peer builds an object of its own from it.

The sending class says what it is called and what of it crosses; the receiving class is whatever the
receiver's registry holds under that tag. No name that a peer sends is ever imported.
"""

from __future__ import annotations

from typing import Any, ClassVar, TypeGuard

from ..errors import qualified_name
from ..rebuilt import notify_rebuilt
from .fields import Shape, set_fields
from .referenceable import Exportable
from .spelling import check_spelling
from .values import Perspective, Value

__all__ = ["Copyable", "RemoteCopy", "is_copied"]


class Copyable:
    """An object that is sent by value. Every attribute crosses unless a hook below says otherwise."""

    _shape: ClassVar[Shape | None] = None  # None where the dictionary is all

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
        """Return the type tag under which the receiver finds the class to build."""
        return qualified_name(type(self))

    def get_type_to_copy_for(self, perspective: Perspective) -> str:
        """Return the type tag for one perspective (None outside of any)."""
        return self.get_type_to_copy()

    def get_state_to_copy(self) -> Value:
        """Return the state that crosses, usually a dictionary with text keys.

        By default these are the attributes, also those in slots, without what a ``cached_property`` has kept; of an
        exception its ``args`` as well.

        Raises:
            SerializationError: there is more to the object: it is derived from a ``list``, say.
        """
        state = vars(self).copy()
        if self._shape is not None:
            self._shape.complete(state, self)
        return state

    def get_state_to_copy_for(self, perspective: Perspective) -> Value:
        """Return the state that crosses to one perspective (None outside of any)."""
        return self.get_state_to_copy()


class RemoteCopy:
    """What a :class:`Copyable` arrives as, once registered: ``@pb.copier_for("tag")``.

    A class with annotations receives exactly the annotated fields: unknown ones are ignored (so that an older program
    understands a newer one), and one that does not come has the class's default (also that of a dataclass, made by its
    factory), or is not set. Types are not checked: override the method below to do that. A class without annotations
    receives whatever comes; a name that is not public, or hides something of the class, is refused.
    """

    __slots__ = ()

    def __init_subclass__(cls, **kwargs: object) -> None:
        super().__init_subclass__(**kwargs)
        check_spelling(cls)
        notify_rebuilt(cls)

    def set_copyable_state(self, state: Value) -> None:
        """Take the state that arrived. Called on an instance made without ``__init__``.

        Args:
            state: by default a dictionary; its keys are text, or bytes when the peer is a Python 2 program.

        Raises:
            DecodeError: it is no dictionary, or names what no peer may set.
        """
        set_fields(self, state)


def is_copied(value: object) -> TypeGuard[Copyable]:
    """Return whether a value crosses as a copy. What is Exportable as well does not: it crosses as a reference."""
    return isinstance(value, Copyable) and not isinstance(value, Exportable)
