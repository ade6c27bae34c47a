"""Leftovers: what still runs when a connection has ended, and when nothing of it is left.

Methods that the peer called are cancelled, and asynchronous callbacks for the end go on. A program that closes a
connection waits for both; what has not ended ``Limits.close_seconds`` later is logged, and left behind.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from functools import partial
from typing import Final

from ..flavors.guard import call_back
from ..hooks import finish
from ..limits import Limits
from ..ports import Value
from .endings import Endings
from .methods import Methods
from .write_buffer import WriteBuffer

__all__ = ["Leftovers"]

log: logging.Logger = logging.getLogger("perspective_broker")

_AT_THE_END: Final = "a callback for the end of a connection raised"


class Leftovers:
    """The methods and callbacks that one connection leaves behind. Made when it has ended.

    Args:
        loop: the event loop of the connection.
        methods: those that run for the peer.
        buffer: has the transport.
        limits: how long to wait.
        endings: the callbacks for the end.
        when_gone: called once when nothing is left of the connection.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        methods: Methods,
        buffer: WriteBuffer,
        limits: Limits,
        endings: Endings,
        when_gone: Callable[[], None] | None,
    ) -> None:
        self._loop = loop
        self._methods = methods
        self._buffer = buffer
        self._limits = limits
        self._endings = endings
        self._when_gone = when_gone
        self._callbacks: dict[asyncio.Task[bool], None] = {}  # asynchronous ones that run
        self._left_behind = False  # whether nothing more is waited for,
        self._is_gone = False  # and whether nothing is left of the connection
        self._timer: asyncio.TimerHandle | None = None

    def call_back(self) -> None:
        """Run the callbacks for the end of the connection, in order."""
        for subject, callback in self._endings.take():
            result: Value = call_back(partial(callback, subject), _AT_THE_END)
            if hasattr(type(result), "__await__"):
                task = self._loop.create_task(finish(result, _AT_THE_END))
                self._callbacks[task] = None
                task.add_done_callback(self._on_callback_done)

    def give_time(self, peer: str) -> None:
        """Give what runs ``Limits.close_seconds`` from now on.

        Args:
            peer: what the log calls the other side.
        """
        self._timer = self._loop.call_later(self._limits.close_seconds, self._leave_behind, peer)

    def look(self) -> None:
        """Look whether nothing is left: a method has ended, or the transport is gone."""
        if self._is_gone or self._buffer.transport is not None:
            return
        if self._left_behind or not (self._methods or self._callbacks):
            if self._timer is not None:
                self._timer.cancel()
                self._timer = None
            self._is_gone = True
            self._endings.set_gone()
            if self._when_gone is not None:
                self._when_gone()

    def _on_callback_done(self, task: asyncio.Task[bool]) -> None:
        self._callbacks.pop(task, None)
        self.look()

    def _leave_behind(self, peer: str) -> None:
        """Wait no longer for a peer that does not read, and for methods that go on although they were cancelled.

        Methods of calls without an answer were left to end by themselves, and are cancelled before.
        """
        self._timer = None
        if self._methods.stop():
            self._abort()
            self.give_time(peer)
            return
        if self._methods or self._callbacks:
            log.warning(
                "%d methods and %d callbacks of the connection to %s had not ended %g s after it, and are left behind",
                len(self._methods),
                len(self._callbacks),
                peer,
                self._limits.close_seconds,
            )
        self._left_behind = True
        self._abort()
        self.look()

    def _abort(self) -> None:
        if self._buffer.transport is not None:
            self._buffer.transport.abort()
