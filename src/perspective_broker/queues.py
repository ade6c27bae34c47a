"""Queues and lines that are made when the first item has to wait.

An empty deque takes 760 bytes, because it allocates a block of 64 items at the start. A connection has five such
queues, which nearly always stay empty, and a server has thousands of connections. So an empty tuple takes the place of
a queue until an item waits: its length and its items can be read like those of an empty deque, and type checkers ensure
that items are added only by :func:`put`.

A line is a queue that an item can leave from any position. An empty one takes 200 bytes, so all lines are
:data:`NO_LINE` until an item waits.
"""

from __future__ import annotations

from collections import OrderedDict, deque
from typing import Any, Final, TypeAlias, TypeVar

__all__ = ["NO_LINE", "Line", "Queue", "first_in", "get_in", "put"]

_Item = TypeVar("_Item")

#: ``()`` at first.
Queue: TypeAlias = deque[_Item] | tuple[()]

#: :data:`NO_LINE` at first. An item leaves it by ``del line[item]``.
Line: TypeAlias = OrderedDict[_Item, None]

#: The line in which no item has waited yet. It stays empty.
NO_LINE: Final[Line[Any]] = OrderedDict()


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
