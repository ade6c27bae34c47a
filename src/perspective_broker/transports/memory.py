"""``memory:``: two protocols of one event loop, joined without a socket. Same order, same flow control."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from typing import Any
from weakref import WeakKeyDictionary

from ..ports import Data
from .listener import Listener
from .urls import Address

__all__ = ["MemoryTransport", "connect", "join", "listen"]

_listeners: WeakKeyDictionary[asyncio.AbstractEventLoop, dict[str, _MemoryListener]] = WeakKeyDictionary()


class MemoryTransport(asyncio.Transport):
    """One end. Bytes written here reach the other end's protocol in a later turn of the loop."""

    def __init__(self, loop: asyncio.AbstractEventLoop, protocol: asyncio.Protocol, name: str) -> None:
        super().__init__({"peername": f"memory:{name}", "sockname": f"memory:{name}"})
        self._loop = loop
        self._protocol = protocol
        self._other: MemoryTransport = self
        self._inbox: list[bytes] = []  # bytes that the other end has written and that are not delivered yet
        self._inbox_bytes = 0
        self._reading = True
        self._scheduled = False
        self._closing = False
        self._lost = False
        self._eof = False  # the other end writes no more
        self._eof_delivered = False  # and eof_received was called
        self._blocked = False  # pause_writing was called
        self._high, self._low = 64 * 1024, 16 * 1024

    def get_write_buffer_size(self) -> int:
        return self._other._inbox_bytes

    def get_write_buffer_limits(self) -> tuple[int, int]:
        return self._low, self._high

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        self._high = 64 * 1024 if high is None else high
        self._low = self._high // 4 if low is None else low
        self._maybe_blocked()

    def write(self, data: Data) -> None:
        if self._closing or not data:
            return
        other = self._other
        other._inbox.append(bytes(data))
        other._inbox_bytes += len(data)
        other._schedule()
        self._maybe_blocked()

    def _maybe_blocked(self) -> None:
        if not self._blocked and self._other._inbox_bytes > self._high:
            self._blocked = True
            self._protocol.pause_writing()

    def writelines(self, list_of_data: Iterable[Any]) -> None:
        self.write(b"".join(list_of_data))

    def is_reading(self) -> bool:
        return self._reading and not self._closing

    def pause_reading(self) -> None:
        self._reading = False

    def resume_reading(self) -> None:
        self._reading = True
        self._schedule()

    def can_write_eof(self) -> bool:
        return True

    def write_eof(self) -> None:
        """End the stream behind the bytes that were written."""
        self._other._eof = True
        self._other._schedule()

    def is_closing(self) -> bool:
        return self._closing

    def close(self) -> None:
        """Deliver the bytes that were written, then close both ends."""
        if self._closing:
            return
        self._closing = True
        self._other._eof = True
        self._other._schedule()
        self._maybe_lost()

    def abort(self) -> None:
        """Close both ends immediately; bytes that were not delivered are lost."""
        self._closing = True
        self._other._inbox.clear()
        self._other._inbox_bytes = 0
        self._other._eof = True
        self._other._schedule()
        self._maybe_lost()

    def _schedule(self) -> None:
        if not self._scheduled and not self._lost:
            self._scheduled = True
            self._loop.call_soon(self._deliver)

    def _deliver(self) -> None:
        self._scheduled = False
        if self._closing or not self._reading:
            return
        if self._inbox:
            data = b"".join(self._inbox)
            self._inbox.clear()
            self._inbox_bytes = 0
            self._other._on_drained()
            self._protocol.data_received(data)
        # The protocol may have paused, or closed, in data_received.
        if self._eof and not self._inbox and self.is_reading():
            if self._eof_delivered:
                return
            self._eof_delivered = True
            if not self._protocol.eof_received():
                self.close()

    def _on_drained(self) -> None:
        if self._blocked:
            self._blocked = False
            self._protocol.resume_writing()
        self._maybe_lost()

    def _maybe_lost(self) -> None:
        """Call connection_lost when all bytes are delivered, or never will be."""
        other = self._other
        if self._closing and not self._lost and (not other._inbox or other._closing):
            self._lost = True
            self._inbox.clear()
            self._inbox_bytes = 0
            self._loop.call_soon(self._protocol.connection_lost, None)
            other._maybe_lost()


def join(loop: asyncio.AbstractEventLoop, one: asyncio.Protocol, two: asyncio.Protocol, name: str) -> None:
    """Connect two protocols of ``loop`` with each other."""
    ends = MemoryTransport(loop, one, name), MemoryTransport(loop, two, name)
    ends[0]._other, ends[1]._other = ends[1], ends[0]
    one.connection_made(ends[0])
    two.connection_made(ends[1])


class _MemoryListener:
    def __init__(self, name: str, factory: Callable[[], asyncio.Protocol], among: dict[str, _MemoryListener]):
        self._name = name
        self._among = among
        self.factory = factory

    @property
    def urls(self) -> list[str]:
        return [f"memory:{self._name}"]

    def close(self) -> None:
        if self._among.get(self._name) is self:
            del self._among[self._name]

    def accept_waiting(self) -> None:
        pass  # a connection never waits

    async def wait_begun(self) -> None:
        pass

    async def wait_closed(self) -> None:
        await asyncio.sleep(0)


async def connect(address: Address, factory: Callable[[], asyncio.Protocol]) -> None:
    """Connect within the running loop. Raises ConnectionRefusedError when no listener has the name."""
    loop = asyncio.get_running_loop()
    listener = _listeners.get(loop, {}).get(address.path)
    if listener is None:
        raise ConnectionRefusedError(f"no server in this event loop listens on {address}")
    join(loop, listener.factory(), factory(), address.path)


async def listen(address: Address, factory: Callable[[], asyncio.Protocol]) -> Listener:
    """Listen within the running loop. Raises OSError when the name is taken."""
    # A listener that was not closed keeps its loop alive, because the value refers to its own weak key.
    for loop in [loop for loop in _listeners if loop.is_closed()]:
        del _listeners[loop]
    among = _listeners.setdefault(asyncio.get_running_loop(), {})
    if address.path in among:
        raise OSError(f"another server listens on {address} already")
    among[address.path] = listener = _MemoryListener(address.path, factory, among)
    return listener
