"""How a compiled class says that interpreted ones may derive from it.

Compiled modules call the methods of such a class through its table of methods, and look first whether the object is of
an interpreted class. In plain Python the decorator does nothing.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:  # only compiling needs the package
    from mypy_extensions import mypyc_attr
else:
    _Class = TypeVar("_Class", bound=type)

    def mypyc_attr(**_: bool) -> Callable[[_Class], _Class]:
        return lambda cls: cls


__all__ = ["mypyc_attr"]
