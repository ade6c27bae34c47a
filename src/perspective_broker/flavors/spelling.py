"""Spelling: refuse hooks with the names of Twisted, which would never be called, so that data could leak."""

from __future__ import annotations

import re
from typing import Final

__all__ = ["check_spelling"]

_HUMP: Final = re.compile(r"(?<=[a-z0-9])[A-Z]")


def check_spelling(cls: type) -> None:
    """Check the names of the methods of a new subclass of one of this library's classes.

    The classes of :mod:`perspective_broker.compat` have Twisted's names, and their subclasses may have them too.

    Raises:
        TypeError: a method has the name of a hook in camel case.
    """
    if cls.__module__.startswith("perspective_broker."):
        return
    own = vars(cls)
    ours = [vars(base) for base in cls.__mro__ if base.__module__.startswith("perspective_broker.")]
    for name, value in own.items():
        if _HUMP.search(name) is None or not callable(value):
            continue
        hook = _HUMP.sub(lambda hump: "_" + hump[0].lower(), name)
        if hook in own or any(hasattr(base, name) for base in cls.__bases__):
            continue
        if any(hook in base for base in ours):
            raise TypeError(
                f"{cls.__qualname__}.{name} is spelled {hook} here; Twisted's names belong to the classes of "
                "perspective_broker.compat.pb"
            )
