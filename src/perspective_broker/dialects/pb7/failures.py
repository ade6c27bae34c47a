"""Exceptions as they arrive: type, text, traceback, parents, and the fields of a registered one."""

from __future__ import annotations

from typing import Final

from ...flavors import Failure
from ...ports import Undecoded

__all__ = ["failure_in"]

#: Names of base classes that are kept of a failure.
_MAX_PARENTS: Final = 64


def failure_in(value: object) -> Failure:
    """Return the failure that a value describes; never raise."""
    if type(value) is list and 4 <= len(value) <= 5:
        kind, text, traceback, parents = value[:4]
        fields = _fields_in(value[4]) if len(value) == 5 else None
        if (
            type(kind) is str
            and type(text) is str
            and type(traceback) is str
            and type(parents) is list
            and all(type(name) is str for name in parents)
        ):
            return Failure(kind, text, traceback, tuple(parents[:_MAX_PARENTS]), fields)
    return Failure("malformed", "the peer reported an error in a form that cannot be read")


def _fields_in(value: object) -> tuple[str, Undecoded] | None:
    """Return the tag and the fields of an exception; None when they are malformed."""
    if type(value) is list and len(value) == 2 and type(value[0]) is str:
        return value[0], value[1]
    return None
