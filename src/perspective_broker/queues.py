"""Queues, lines and tables that are made when the first item is added.

An empty deque takes 760 bytes, because it allocates a block of 64 items at the start. A connection has five such
queues, which nearly always stay empty, and a server has thousands of connections. So an empty tuple takes the place of
a queue until an item waits: its length and its items can be read like those of an empty deque, and type checkers ensure
that items are added only by :func:`put`.

An empty dictionary takes 80 bytes, and a connection has a dozen tables that stay empty. :data:`NOTHING` takes their
place, and :func:`own` makes one.

A line is a queue that an item can leave from any position. An empty one takes 200 bytes, so all lines are
:data:`NO_LINE` until an item waits.
"""

from __future__ import annotations

from collections import OrderedDict, deque
from typing import Any, Final, TypeAlias, TypeVar

__all__ = ["NOTHING", "NO_LINE", "Line", "Queue", "first_in", "get_in", "own", "put"]

_Item = TypeVar("_Item")
_Key = TypeVar("_Key")
_Value = TypeVar("_Value")

#: ``()`` at first.
Queue: TypeAlias = deque[_Item] | tuple[()]

#: :data:`NO_LINE` at first. An item leaves it by ``del line[item]``.
Line: TypeAlias = OrderedDict[_Item, None]

#: The line in which no item has waited yet. It stays empty.
NO_LINE: Final[Line[Any]] = OrderedDict()

#: In place of a table to which no item was added yet. It stays empty.
NOTHING: Final[dict[Any, Any]] = {}


def own(table: dict[_Key, _Value]) -> dict[_Key, _Value]:
    """Return the table to which an item will be added: a new one in place of :data:`NOTHING`."""
    return {} if table is NOTHING else table


def put(queue: Queue[_Item], item: _Item) -> deque[_Item]:
    """Return the queue with ``item`` at its end; a new queue if there was none."""
    if isinstance(queue, tuple):
        return deque((item,))
    queue.append(item)
    return queue


def get_in(line: Line[_Item], item: _Item) -> Line[_Item]:
    """Return the line with ``item`` at its end; a new line if there was none."""
    if line is NO_LINE:
        line = OrderedDict()
    line[item] = None
    return line


def first_in(line: Line[_Item]) -> _Item | None:
    """Return the oldest item of the line, or None."""
    return next(iter(line), None)
