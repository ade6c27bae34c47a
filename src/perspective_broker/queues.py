"""Queues and lines that are made when something has to wait for the first time.

An empty deque takes 760 bytes, for it has a block of 64 places from the start. A connection has five such queues, in
nearly all connections nearly all of them stay empty for good, and a server has thousands of connections. So an empty
tuple stands where nothing has waited yet: it can be asked and looped over as an empty deque can, and type checkers see
to it that nobody puts something into it but by :func:`put`.

A line is a queue that can be left from anywhere. An empty one takes 200 bytes, so all of them are :data:`NO_LINE` until
something waits.
"""

from __future__ import annotations

from collections import OrderedDict, deque
from typing import Any, Final, TypeAlias, TypeVar

__all__ = ["NO_LINE", "Line", "Queue", "first_in", "get_in", "put"]

_Item = TypeVar("_Item")

#: ``()`` to begin with.
Queue: TypeAlias = deque[_Item] | tuple[()]

#: :data:`NO_LINE` to begin with. An item leaves it by ``del line[item]``.
Line: TypeAlias = OrderedDict[_Item, None]

#: Where nothing has waited so far. Nothing is put in.
NO_LINE: Final[Line[Any]] = OrderedDict()


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
