"""The event loops that asynchronous tests can run on."""

import asyncio
from collections.abc import Callable

import pytest
import uvloop

__all__ = ["LOOPS", "both_loops"]

LOOPS: dict[str, Callable[[], asyncio.AbstractEventLoop]] = {
    "asyncio": asyncio.new_event_loop,
    "uvloop": uvloop.new_event_loop,
}

#: Marks a test, or as ``pytestmark`` a module, to run on either loop.
both_loops = pytest.mark.parametrize("loop_name", sorted(LOOPS), indirect=True)
