"""Copyable: the state crosses, and the peer builds an object of its own from it.

The sending class says what it is called and what of it crosses; the receiving class is whatever the
receiver's registry holds under that tag. No name that a peer sends is ever imported.
"""

from __future__ import annotations

from typing import Any, ClassVar

from ..errors import qualified_name
from .fields import add_slots, set_fields, slot_names
from .spelling import check_spelling

__all__ = ["Copyable", "RemoteCopy"]


class Copyable:
    """An object that is sent by value. Every attribute crosses unless a hook below says otherwise."""

    _slot_names: ClassVar[tuple[str, ...]] = ()

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        check_spelling(cls)
        kind: Any = cls
        cls._slot_names = slot_names(kind)

    def get_type_to_copy(self) -> str:
        """Return the type tag under which the receiver finds the class to build."""
        return qualified_name(type(self))

    def get_type_to_copy_for(self, perspective: Any) -> str:
        """Return the type tag for one perspective (None outside of any)."""
        return self.get_type_to_copy()

    def get_state_to_copy(self) -> Any:
        """Return the state that crosses, usually a dictionary with text keys."""
        state = vars(self).copy()
        if self._slot_names:
            add_slots(state, self, self._slot_names)
        return state

    def get_state_to_copy_for(self, perspective: Any) -> Any:
        """Return the state that crosses to one perspective (None outside of any)."""
        return self.get_state_to_copy()


class RemoteCopy:
    """What a :class:`Copyable` arrives as, once registered: ``@pb.copier_for("tag")``.

    A class with annotations receives exactly the annotated fields: unknown ones are ignored (so that an older program
    understands a newer one), and one that does not come is not set, so give it a default in the class. Types are not
    checked: override the method below to do that. A class without annotations receives whatever comes; a name that is
    not public, or hides something of the class, is refused.
    """

    __slots__ = ()

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        check_spelling(cls)

    def set_copyable_state(self, state: Any) -> None:
        """Take the state that arrived. Called on an instance made without ``__init__``.

        Args:
            state: by default a dictionary; its keys are text, or bytes when the peer is a Python 2 program.

        Raises:
            DecodeError: it is no dictionary, or names what no peer may set.
        """
        set_fields(self, state)
