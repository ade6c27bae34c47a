"""Policy: the types and registered classes that a connection accepts. An allow-list, and a value."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

__all__ = ["BASIC_TYPES", "Policy"]

#: The types a peer may send besides numbers and bytes, by their name on the wire.
BASIC_TYPES: Final = frozenset(
    {
        "None",
        "boolean",
        "date",
        "datetime",
        "decimal",
        "dictionary",
        "frozenset",
        "list",
        "set",
        "time",
        "timedelta",
        "tuple",
        "unicode",
        "complex",
        "uuid",
        "address",
        "array",
        "deque",
        "fraction",
        "path",
        "range",
        "remote",
        "local",
        "cached",
        "lcache",
        "reference",
        "dereference",
    }
)


@dataclass(frozen=True)
class Policy:
    """The types and classes that may be received. The default allows all basic types and registered classes.

    Attributes:
        types: names from :data:`BASIC_TYPES`; None allows all of them.
        classes: type tags of registered classes; None allows every class in the connection's registry.
    """

    types: frozenset[str] | None = None
    classes: frozenset[str] | None = None

    def __init__(self, types: Iterable[str] | None = None, classes: Iterable[str] | None = None) -> None:
        allowed = None if types is None else frozenset(types)
        if allowed is not None and not allowed <= BASIC_TYPES:
            unknown = ", ".join(sorted(allowed - BASIC_TYPES))
            raise ValueError(
                f"Policy.types: unknown types {unknown}; the known types are {', '.join(sorted(BASIC_TYPES))}"
            )
        object.__setattr__(self, "types", allowed)
        object.__setattr__(self, "classes", None if classes is None else frozenset(classes))

    def allows_type(self, name: str) -> bool:
        """Return whether values of the basic type ``name`` are accepted."""
        return self.types is None or name in self.types

    def allows_class(self, tag: str) -> bool:
        """Return whether objects with the type tag ``tag`` are accepted, if a class is registered for it."""
        return self.classes is None or tag in self.classes
