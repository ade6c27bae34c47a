"""A pytest plugin: ``pytest_plugins = ["perspective_broker.testing.plugin"]``. The only module here that needs pytest.

It brings one fixture, :func:`no_leaks`. Ask for it in a test, or for all tests of a module with
``pytestmark = pytest.mark.usefixtures("no_leaks")``. It does not run asynchronous tests; any plugin may.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from .leaks import open_connections

__all__ = ["no_leaks"]


@pytest.fixture
def no_leaks() -> Iterator[None]:
    """Fail the test when it leaves a connection open that was not open before."""
    before = open_connections()
    yield
    left = [connection for connection in open_connections() if connection not in before]
    assert not left, f"left open: {left}"
