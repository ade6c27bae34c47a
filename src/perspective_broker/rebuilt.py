"""Classes that are made twice: ``@dataclass(slots=True)`` returns a new class, not the one it was given.

A note about the first class, made by a decorator below it, belongs to the second, the only one that the program can
reach. Such decorators copy what is in the first class, and so also the note that is kept there.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

__all__ = ["notify_rebuilt", "when_rebuilt"]

_NOTED: Final = "_pb_when_rebuilt"


def when_rebuilt(cls: type, callback: Callable[[type], None]) -> None:
    """Call ``callback`` with the class that replaces ``cls``, if one does and calls :func:`notify_rebuilt`."""
    try:
        setattr(cls, _NOTED, (*vars(cls).get(_NOTED, ()), callback))
    except TypeError:  # a class that takes no attributes, which no decorator has made
        pass


def notify_rebuilt(cls: type) -> None:
    """Run the callbacks of the class that ``cls`` replaces, if it replaces one. For ``__init_subclass__``."""
    for callback in vars(cls).get(_NOTED, ()):
        callback(cls)
