"""Handles: objects that mean something outside of this program's memory, so that a copy of one can mean nothing."""

from __future__ import annotations

from typing import NoReturn, Self, SupportsIndex

__all__ = ["Handle", "Name"]


class Handle:
    """Base of what cannot be copied or pickled: what belongs to a connection."""

    __slots__ = ()

    def __reduce_ex__(self, protocol: SupportsIndex) -> NoReturn:
        raise TypeError(
            f"a {type(self).__name__} cannot be copied or pickled: it belongs to a connection of this program"
        )


class Name(Handle):
    """Base of references: a copy means the same object as the original, and so is the original."""

    __slots__ = ()

    def __copy__(self) -> Self:
        return self

    def __deepcopy__(self, memo: dict[int, object]) -> Self:
        return self

    def __reduce_ex__(self, protocol: SupportsIndex) -> NoReturn:
        raise TypeError(
            f"a {type(self).__name__} cannot be pickled: a reference belongs to a connection of this program"
        )
