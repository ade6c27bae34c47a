"""Queues that are made when something has to wait for the first time.

An empty deque takes 760 bytes, for it has a block of 64 places from the start. A connection has five such queues, in
nearly all connections nearly all of them stay empty for good, and a server has thousands of connections. So an empty
tuple stands where nothing has waited yet: it can be asked and looped over as an empty deque can, and type checkers see
to it that nobody puts something into it but by :func:`put`.
"""

from __future__ import annotations

from collections import deque
from typing import TypeAlias, TypeVar

__all__ = ["Queue", "put"]

_Item = TypeVar("_Item")

#: ``()`` to begin with.
Queue: TypeAlias = deque[_Item] | tuple[()]


def put(queue: Queue[_Item], item: _Item) -> deque[_Item]:
    """Return the queue with ``item`` as its last; a new one where there was none."""
    if isinstance(queue, tuple):
        return deque((item,))
    queue.append(item)
    return queue
