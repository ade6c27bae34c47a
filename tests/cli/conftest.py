"""A server that the tests of the command line share, since they change nothing on it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.cli.processes import Serving, serving


@pytest.fixture(scope="package")
def desk() -> Iterator[Serving]:
    """``pb serve desk:Desk`` on a port of its own."""
    with serving() as server:
        yield server
