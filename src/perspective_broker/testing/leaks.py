"""Leak checks: the objects and tasks that a connection, or a program, still holds at the end.

There is no registry of connections for this: the garbage collector and the event loop know the objects that are alive.
"""

from __future__ import annotations

import asyncio
import gc
from collections.abc import Callable

from ..aio import Connection
from ..aio.connection import driver_of
from ..session import Broker

__all__ = ["assert_all_closed", "assert_no_leaks", "broker_leaks", "open_connections"]

#: Turns of the loop that an orderly end may take: a release or an answer crosses in a handful.
_TURNS = 50


def broker_leaks(broker: Broker) -> list[str]:
    """Return one line for each kind of object that ``broker`` holds beyond its root object."""
    statistics = broker.statistics()
    expected_empty = {
        "objects exported": statistics.exported,
        "references imported": statistics.imported,
        "cacheables observed": statistics.observed,
        "replicas": statistics.replicas,
        "calls without an answer": statistics.calls_out,
        "calls held back": statistics.calls_held,
        "methods running": statistics.calls_in,
        "calls waiting": statistics.calls_waiting,
        "answers kept for the peer": statistics.answers_kept,
        "bytes not sent": statistics.bytes_buffered,
    }
    return [f"{number} {what}" for what, number in expected_empty.items() if number]


def open_connections(loop: asyncio.AbstractEventLoop | None = None) -> list[Connection]:
    """Return all connections that have not ended, of ``loop``, or of any loop when None."""

    def find() -> list[Connection]:
        return [
            thing
            for thing in gc.get_objects()
            if issubclass(type(thing), Connection)
            and (loop is None or driver_of(thing).loop is loop)
            and thing.close_cause is None
        ]

    # Collecting takes longer than searching, and nearly always there is no garbage.
    if find():
        gc.collect()
    return find()


async def _eventually(leaks: Callable[[], list[str]]) -> None:
    """Assert that ``leaks()`` is empty after at most some turns of the loop."""
    found = leaks()
    for _ in range(_TURNS):
        if not found:
            return
        await asyncio.sleep(0)
        found = leaks()
    if found:
        gc.collect()
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        found = leaks()
    assert not found, "; ".join(found)


async def assert_no_leaks(*connections: Connection) -> None:
    """Assert that connections, alive or ended, hold nothing but their root objects.

    Call it when the references and promises of the test are dropped: no objects exported or imported, no calls, no
    methods running, no bytes waiting. Messages in transit get some turns of the loop to arrive.

    Raises:
        AssertionError: names the leaks, and their connections.
    """
    gc.collect()

    def leaks() -> list[str]:
        return [
            f"{connection!r}: {leak}"
            for connection in connections
            for leak in broker_leaks(driver_of(connection).broker)
        ]

    await _eventually(leaks)


async def assert_all_closed() -> None:
    """Assert that the running event loop has no connection left, and no task but the running one.

    For the end of a test, when all its connections are closed or closing; they get some turns of the loop to end.

    Raises:
        AssertionError: names the connections and tasks that are left.
    """
    loop, current = asyncio.get_running_loop(), asyncio.current_task()

    def tasks() -> list[str]:
        return [f"a task is left: {task!r}" for task in asyncio.all_tasks() if task is not current]

    def connections() -> list[str]:
        return [f"left open: {connection!r}" for connection in open_connections(loop)]

    await _eventually(tasks)
    await _eventually(connections)
