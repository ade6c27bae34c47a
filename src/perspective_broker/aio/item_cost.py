"""item_cost: about how much memory an item of a stream takes."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from ..flavors import Copyable, RemoteCopy
from ..flavors.fields import attributes
from ..ports import Value

__all__ = ["ITEM_COST", "item_cost"]

#: The cost of an item besides the bytes in it: a node's memory, see Limits.nodes.
ITEM_COST: Final = 64


def item_cost(item: Value) -> int:
    """Return about how many bytes an item takes."""
    kind = type(item)
    if kind is bytes or kind is str:
        return ITEM_COST + len(item)
    parts = _parts(item)
    if parts is None:
        return ITEM_COST
    cost, todo, seen = ITEM_COST, [parts], {id(item)}  # on a classic connection an item may contain itself
    while todo:
        for part in todo.pop():
            kind = type(part)
            if kind is bytes or kind is str:
                cost += len(part)
            elif (parts := _parts(part)) is not None and id(part) not in seen:
                seen.add(id(part))
                todo.append(parts)
            cost += ITEM_COST
    return cost


def _parts(item: Value) -> Iterable[Value] | None:
    """Return what a container or a copied object holds; None for anything else."""
    kind = type(item)
    if kind in (list, tuple, set, frozenset):
        return item  # type: ignore[no-any-return]
    if kind is dict:
        return [*item, *item.values()]
    if isinstance(item, (Copyable, RemoteCopy)):
        return attributes(item).values()
    return None
