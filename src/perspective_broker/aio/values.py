"""Names for what only the application knows the type of; every other value in this room has a type of its own."""

from __future__ import annotations

from typing import Any, TypeAlias

__all__ = ["Perspective", "Value"]

#: An argument, an answer, an item of a stream, the state of an object: anything that can cross.
Value: TypeAlias = Any

#: Under which a value is encoded: what the application's login has given out, or None.
Perspective: TypeAlias = Any
