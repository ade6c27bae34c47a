"""Conversion: check what arrives against an annotation, and make of it what the annotation says; and the reverse.

The annotation is the contract: no tag crosses and nothing is imported by name. Values are checked by their exact
types, so that text never passes for a date or a list for a tuple. A container whose items are right as they are is
returned as it came, without a copy.
"""

from __future__ import annotations

from typing import Any, Final

from .converters import Converter, Hooks, Misfit
from .reading import Reader

__all__ = ["Converter", "Hooks", "Misfit", "converter"]

#: Hooks and annotation -> its converter. As many as a program has annotations; their classes live as long.
_known: Final[dict[tuple[int, Any], tuple[Hooks, Converter]]] = {}


def converter(annotation: object, hooks: Hooks) -> Converter:
    """Return the converter for an annotation whose names are resolved.

    Args:
        annotation: of a parameter, or of what a method returns.
        hooks: what the caller knows about interfaces and callables.

    Raises:
        TypeError: values cannot be checked by it; the text says what to do.
    """
    try:
        found = _known.get((id(hooks), annotation))
    except TypeError:  # not hashable: Annotated with a list, say
        return Reader(hooks).read(annotation)
    if found is None:
        # Two threads may both read it. Then the first one counts, so that each annotation has one converter.
        found = _known.setdefault((id(hooks), annotation), (hooks, Reader(hooks).read(annotation)))
    return found[1]
