"""Broadcast: the same items for several readers, each of which may be behind by a bound of its own."""

from __future__ import annotations

import asyncio
import weakref
from collections import deque
from collections.abc import AsyncGenerator
from typing import Generic, TypeVar

from ..errors import Error

__all__ = ["Broadcast"]

_T = TypeVar("_T")


class _Queue(Generic[_T]):
    """The items that one reader has not read yet."""

    def __init__(self, bound: int, lossy: bool) -> None:
        self.items: deque[_T] = deque()
        self.ended: bool = False  # whether no more will come
        self.too_slow: bool = False
        self.waiter: asyncio.Future[None] | None = None
        self.bound: int = bound
        self._lossy = lossy

    def put(self, item: _T) -> None:
        if len(self.items) >= self.bound:
            if not self._lossy:
                self.too_slow = True
                self.end()
                return
            self.items.popleft()
        self.items.append(item)
        self._wake()

    def end(self) -> None:
        self.ended = True
        self._wake()

    def _wake(self) -> None:
        if self.waiter is not None and not self.waiter.done():
            self.waiter.set_result(None)


class Broadcast(Generic[_T]):
    """The same items for several streams.

    ::

        frames = pb.streams.Broadcast()

        def remote_frames(self):
            return frames.read(bound=1, lossy=True)     # only the latest

        frames.send(frame)                              # to all readers, without waiting

    It lives in one event loop.
    """

    def __init__(self) -> None:
        self._queues: weakref.WeakSet[_Queue[_T]] = weakref.WeakSet()
        self._ended = False

    def __len__(self) -> int:
        """Return the number of readers."""
        return len(self._queues)

    def send(self, item: _T) -> None:
        """Give ``item`` to every reader."""
        for queue in list(self._queues):
            queue.put(item)
            if queue.ended:
                self._queues.discard(queue)

    def close(self) -> None:
        """End all streams behind the items that were sent, and those that are asked for later."""
        self._ended = True
        for queue in list(self._queues):
            queue.end()
        self._queues.clear()

    def read(self, bound: int = 64, *, lossy: bool = False) -> AsyncGenerator[_T, None]:
        """Return a stream of the items that are sent from now on: return it from a method.

        Args:
            bound: how many items may wait for the reader, besides those of the stream's window.
            lossy: when there are more, forget the oldest. False ends the stream with an :class:`Error`, behind those
                that wait.

        Raises:
            ValueError: ``bound`` is below 1.
        """
        if bound < 1:
            raise ValueError(f"bound: at least 1, not {bound!r}")
        queue: _Queue[_T] = _Queue(bound, lossy)
        if self._ended:
            queue.end()
        else:
            self._queues.add(queue)
        return _items(queue, weakref.ref(self))


async def _items(queue: _Queue[_T], broadcast: weakref.ref[Broadcast[_T]]) -> AsyncGenerator[_T, None]:
    try:
        while True:
            while queue.items:
                yield queue.items.popleft()
            if queue.too_slow:
                raise Error(f"the reader is more than {queue.bound} items behind")
            if queue.ended:
                return
            queue.waiter = asyncio.get_running_loop().create_future()
            await queue.waiter
    finally:
        found = broadcast()
        if found is not None:
            found._queues.discard(queue)
