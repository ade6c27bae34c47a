"""The native path: functions of the package ``perspective-broker-native``, if it is installed and of our version.

They take only plain cases, and return None for all others before anything was done; then the Python beside the call
decides. So the Python is complete, and is the specification. ``PERSPECTIVE_BROKER_NATIVE=0`` switches them off.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from importlib import import_module
from types import ModuleType
from typing import Any, Final

__all__ = ["MOST_BOUND", "NATIVE", "VERSION", "Bounds", "make_bounds", "read_banana", "unjelly_plain"]

#: The version of the package that is used; the same as that of this library.
VERSION: Final = "0.1.0"

#: The largest bound that the native functions take; larger ones mean the same.
MOST_BOUND: Final = 1 << 31

#: Bounds of a message, in the form that the native functions take.
Bounds = Any


def _load() -> ModuleType | None:
    if os.environ.get("PERSPECTIVE_BROKER_NATIVE") == "0":
        return None
    try:
        module = import_module("perspective_broker_native")
    except ImportError:  # it is not installed, or not for this interpreter (a sub-interpreter refuses it)
        return None
    return module if getattr(module, "__version__", None) == VERSION else None


_module: Final = _load()

#: Whether the native path is there.
NATIVE: Final[bool] = _module is not None

#: Read one complete banana value; None where there is no native path. See ``native/src/banana.rs``.
read_banana: Final[Callable[[bytes, int, Bounds, int], tuple[Any, int, int] | None] | None] = (
    None if _module is None else _module.read_banana
)
#: Make the bounds of :data:`read_banana`.
make_bounds: Final[Callable[..., Bounds]] = dict if _module is None else _module.Bounds

#: Return, in a tuple, the value that a classic peer's list represents, in at most so many units of work.
unjelly_plain: Final[Callable[[list[Any], int], tuple[Any] | None] | None] = (
    None if _module is None else _module.unjelly_plain
)
