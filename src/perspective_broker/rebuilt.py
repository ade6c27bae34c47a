"""Classes that are made twice: ``@dataclass(slots=True)`` returns another class than the one it was given.

What was noted of the first, by a decorator below it, is about the second, the only one that the program can reach. Such
decorators hand on what is in the first class, and so also what is put there here.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

__all__ = ["tell_rebuilt", "when_rebuilt"]

_NOTED: Final = "_pb_when_rebuilt"


def when_rebuilt(cls: type, callback: Callable[[type], None]) -> None:
    """Call ``callback`` with the class that takes the place of ``cls``, if one does and :func:`tell_rebuilt` knows."""
    try:
        setattr(cls, _NOTED, (*vars(cls).get(_NOTED, ()), callback))
    except TypeError:  # a class that takes no attributes, which no decorator has made
        pass


def tell_rebuilt(cls: type) -> None:
    """A class is being made: if it takes another's place, tell those who asked. For ``__init_subclass__``."""
    for callback in vars(cls).get(_NOTED, ()):
        callback(cls)
