"""A pytest plugin. pytest finds it where the package is installed; the only module here that needs pytest.

It brings two fixtures, and runs no asynchronous tests; any plugin may. Ask for :func:`no_leaks` in a test, or for all
tests of a module with ``pytestmark = pytest.mark.usefixtures("no_leaks")``. Where the package is not installed, or
plugins are not loaded by themselves, write ``pytest_plugins = ["perspective_broker.testing.plugin"]``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractAsyncContextManager

import pytest

from . import pairs
from .leaks import open_connections

__all__ = ["memory_pair", "no_leaks"]


@pytest.fixture
def no_leaks() -> Iterator[None]:
    """Fail the test when it leaves a connection open that was not open before."""
    before = open_connections()
    yield
    left = [connection for connection in open_connections() if connection not in before]
    assert not left, f"left open: {left}"


@pytest.fixture
def memory_pair() -> Callable[..., AbstractAsyncContextManager[pairs.Pair]]:
    """Give :func:`perspective_broker.testing.memory_pair`: ``async with memory_pair(Root()) as pair:``."""
    return pairs.memory_pair
