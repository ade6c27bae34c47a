"""Every test of the blocking face ends without a thread and a connection of its own."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import Any

import pytest

from perspective_broker import blocking
from perspective_broker.testing.leaks import open_connections

from .desk import DIALECTS, Served, served


@pytest.fixture(autouse=True)
def no_threads_left() -> Iterator[None]:
    before = set(threading.enumerate())
    yield
    blocking.EventLoopThread.shared().close()
    left = [thread for thread in threading.enumerate() if thread not in before]
    assert not left
    assert open_connections() == []


@pytest.fixture(params=DIALECTS)
def desk(request: pytest.FixtureRequest, no_threads_left: None) -> Iterator[Served]:
    """A desk on each dialect."""
    with served(request.param) as found:
        yield found


@pytest.fixture
def modern(no_threads_left: None) -> Iterator[Served]:
    """A desk on pb7."""
    with served("pb7") as found:
        yield found


@pytest.fixture
def root(desk: Served) -> Iterator[Any]:
    with blocking.connect(desk.url) as found:
        yield found
