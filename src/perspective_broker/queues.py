"""Queues, lines and tables that are made when the first item is put into them.

An empty deque takes 760 bytes, for it has a block of 64 places from the start. A connection has five such queues, in
nearly all connections nearly all of them stay empty for good, and a server has thousands of connections. So an empty
tuple stands where nothing has waited yet: it can be asked and looped over as an empty deque can, and type checkers see
to it that nobody puts something into it but by :func:`put`.

An empty dictionary takes 80 bytes, and a connection has a dozen tables that stay empty for good: :data:`NOTHING` stands
in their place, and :func:`own` makes one.

A line is a queue that can be left from anywhere. An empty one takes 200 bytes, so all of them are :data:`NO_LINE` until
something waits.
"""

from __future__ import annotations

from collections import OrderedDict, deque
from typing import Any, Final, TypeAlias, TypeVar

__all__ = ["NOTHING", "NO_LINE", "Line", "Queue", "first_in", "get_in", "own", "put"]

_Item = TypeVar("_Item")
_Key = TypeVar("_Key")
_Value = TypeVar("_Value")

#: ``()`` to begin with.
Queue: TypeAlias = deque[_Item] | tuple[()]

#: :data:`NO_LINE` to begin with. An item leaves it by ``del line[item]``.
Line: TypeAlias = OrderedDict[_Item, None]

#: Where nothing has waited so far. Nothing is put in.
NO_LINE: Final[Line[Any]] = OrderedDict()

#: In the place of a table into which nothing was put so far. It stays empty.
NOTHING: Final[dict[Any, Any]] = {}


def own(table: dict[_Key, _Value]) -> dict[_Key, _Value]:
    """Return the table itself, into which something is about to be put; a new one in the place of :data:`NOTHING`."""
    return {} if table is NOTHING else table


def put(queue: Queue[_Item], item: _Item) -> deque[_Item]:
    """Return the queue with ``item`` as its last; a new one where there was none."""
    if isinstance(queue, tuple):
        return deque((item,))
    queue.append(item)
    return queue


def get_in(line: Line[_Item], item: _Item) -> Line[_Item]:
    """Return the line with ``item`` as its last; a new one where there was none."""
    if line is NO_LINE:
        line = OrderedDict()
    line[item] = None
    return line


def first_in(line: Line[_Item]) -> _Item | None:
    """Return what has been in the line longest, or None."""
    return next(iter(line), None)
