"""The event loops that asynchronous tests can run on."""

import asyncio
import selectors
import sys
from collections.abc import Callable
from typing import Any

import pytest
import uvloop

__all__ = ["LOOPS", "VirtualLoop", "both_loops", "every_loop"]


class VirtualLoop(asyncio.SelectorEventLoop):
    """An event loop whose clock stands still while there is anything to do, and then goes to the next timer.

    How busy the machine is has no part in which comes first. For tests without sockets and threads, which this loop
    does not wait for.
    """

    def __init__(self) -> None:
        self.now = 0.0
        super().__init__(_VirtualSelector(self))

    def time(self) -> float:
        return self.now


class _VirtualSelector(selectors.SelectSelector):
    def __init__(self, loop: VirtualLoop) -> None:
        super().__init__()
        self._loop = loop

    def select(self, timeout: float | None = None) -> list[Any]:
        found = super().select(None if timeout is None else 0)
        if not found and timeout:
            self._loop.now += timeout
        return found


LOOPS: dict[str, Callable[[], asyncio.AbstractEventLoop]] = {
    "asyncio": asyncio.new_event_loop,
    "uvloop": uvloop.new_event_loop,
    "virtual": VirtualLoop,
}

if sys.version_info >= (3, 12):

    def _eager_loop() -> asyncio.AbstractEventLoop:
        """One whose tasks begin where they are made, up to what they first wait for."""
        loop = asyncio.new_event_loop()
        loop.set_task_factory(asyncio.eager_task_factory)
        return loop

    LOOPS["eager"] = _eager_loop

#: Marks a test, or as ``pytestmark`` a module, to run on either loop.
both_loops = pytest.mark.parametrize("loop_name", ["asyncio", "uvloop"], indirect=True)

#: The same with a loop of eager tasks, where Python has them.
every_loop = pytest.mark.parametrize("loop_name", sorted({*LOOPS} - {"virtual"}), indirect=True)
