"""Stand in for ``twisted.spread``: programs that import it get this face, without a change."""

from __future__ import annotations

import importlib
import sys

__all__ = ["stand_in"]

#: In the order in which they need each other.
_MODULES = ("banana", "jelly", "flavors", "pb", "util", "publish")


def stand_in() -> None:
    """Let ``import twisted.spread.pb``, and its five siblings, find this face's modules.

    Called before anything imports them, by whoever starts the program::

        python -c "from perspective_broker.compat.standing_in import stand_in; stand_in(); import program"

    Raises:
        RuntimeError: Twisted's own are imported already, so that a program would have some of each.
    """
    import twisted.spread

    for name in _MODULES:
        module = importlib.import_module(f"{__package__}.{name}")
        found = sys.modules.get(f"twisted.spread.{name}")
        if found is not None and found is not module:
            raise RuntimeError(f"twisted.spread.{name} is imported already")
        sys.modules[f"twisted.spread.{name}"] = module
        setattr(twisted.spread, name, module)
