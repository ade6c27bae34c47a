"""Copyable: the state crosses, and the peer builds an object of its own from it.

The sending class says what it is called and what of it crosses; the receiving class is whatever the
receiver's registry holds under that tag. No name that a peer sends is ever imported.
"""

from __future__ import annotations

from typing import Any

from ..errors import qualified_name
from .fields import set_fields

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
        set_fields(self, state)
