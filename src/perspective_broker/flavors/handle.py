"""Handles: objects that stand for something outside of this program's memory, so that no copy of one is valid."""

from __future__ import annotations

from typing import NoReturn, Self, SupportsIndex

from ..native import mypyc_attr

__all__ = ["Handle", "Name"]


@mypyc_attr(allow_interpreted_subclasses=True)
class Handle:
    """Base of objects that belong to a connection and so cannot be copied or pickled."""

    __slots__ = ()

    def __reduce_ex__(self, protocol: SupportsIndex) -> NoReturn:
        raise TypeError(
            f"a {type(self).__name__} cannot be copied or pickled: it belongs to a connection of this program"
        )


@mypyc_attr(allow_interpreted_subclasses=True)
class Name(Handle):
    """Base of references. A copy would stand for the same object, and so is the original."""

    __slots__ = ()

    def __copy__(self) -> Self:
        return self

    def __deepcopy__(self, memo: dict[int, object]) -> Self:
        return self

    def __reduce_ex__(self, protocol: SupportsIndex) -> NoReturn:
        raise TypeError(
            f"a {type(self).__name__} cannot be pickled: a reference belongs to a connection of this program"
        )
