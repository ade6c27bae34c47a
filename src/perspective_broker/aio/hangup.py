"""Noticing that a peer has hung up while nothing of it is read.

An event loop sees the end of a connection by reading. A connection whose peer has asked for more than it may is not
read, for as long as its calls run; a peer that then goes away would be noticed only when they end, if they ever do.
So as long as it is not read, the system is asked now and then.
"""

from __future__ import annotations

import asyncio
import select
from collections.abc import Callable
from typing import Any, Final

__all__ = ["HangUpWatch"]

#: Seconds between two looks, at 2 µs of work a look; a peer that is gone costs something until the next look.
LOOK_EVERY: Final = 0.1

#: That the peer will send nothing more, where the system tells it apart from the end of the connection.
_SAYS_NO_MORE: Final = getattr(select, "POLLRDHUP", 0)


class HangUpWatch:
    """Looks whether the peer of one transport is still there, between :meth:`start` and :meth:`stop`.

    Args:
        loop: whose timer is used.
        transport: of the connection; one without a socket is not watched.
        hung_up: called when the peer has ended its bytes, with False; and with True when the connection is gone, and
            the watch has stopped.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        transport: asyncio.BaseTransport,
        hung_up: Callable[[bool], object],
    ) -> None:
        self._loop = loop
        self._hung_up = hung_up
        self._timer: asyncio.TimerHandle | None = None
        self._socket: Any = transport.get_extra_info("socket") if hasattr(select, "poll") else None

    def start(self) -> None:
        """Watch from now on."""
        if self._socket is not None and self._timer is None:
            self._timer = self._loop.call_later(LOOK_EVERY, self._look)

    def stop(self) -> None:
        """Watch no more."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _look(self) -> None:
        self._timer = None
        descriptor = self._socket.fileno()
        if descriptor < 0:
            return  # closed, and so noticed
        poll = select.poll()
        poll.register(descriptor, _SAYS_NO_MORE)  # the end itself is always reported
        events = poll.poll(0)
        if events and events[0][1] & ~_SAYS_NO_MORE:
            self._hung_up(True)
            return
        self.start()
        if events:
            self._hung_up(False)
