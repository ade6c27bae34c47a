"""The event loops that asynchronous tests can run on."""

import asyncio
import sys
from collections.abc import Callable

import pytest
import uvloop

__all__ = ["LOOPS", "both_loops", "every_loop"]

LOOPS: dict[str, Callable[[], asyncio.AbstractEventLoop]] = {
    "asyncio": asyncio.new_event_loop,
    "uvloop": uvloop.new_event_loop,
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
every_loop = pytest.mark.parametrize("loop_name", sorted(LOOPS), indirect=True)
