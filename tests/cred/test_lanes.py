"""Lanes: statements wait in one line for a few connections, and run to their end."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

import pytest

from perspective_broker.cred.authorizer import StoreBusy
from perspective_broker.cred.sql import lanes
from perspective_broker.cred.sql.lanes import Lanes
from tests.cred.logins import turns


class Database:
    """A driver's connections, and what ran on them."""

    def __init__(self) -> None:
        self.connections: list[Connection] = []
        self.ran: list[str] = []
        self.running = 0
        self.most = 0
        self.go = asyncio.Event()
        self.go.set()
        self.refuses = False

    async def connect(self) -> Connection:
        if self.refuses:
            raise OSError("no more connections")
        self.connections.append(Connection())
        return self.connections[-1]

    async def fetch(self, connection: Connection, statement: str, arguments: Sequence[Any]) -> list[Any]:
        self.running += 1
        self.most = max(self.most, self.running)
        await self.go.wait()
        await asyncio.sleep(0)
        self.running -= 1
        if connection.is_closed:
            raise OSError("the connection has ended")
        if statement == "fail":
            raise ValueError("no such statement")
        self.ran.append(statement)
        return [statement, *arguments]

    def lanes(self, most: int = 2) -> Lanes:
        return Lanes(most, self.connect, self.fetch, lambda connection: connection.is_closed)


class Connection:
    def __init__(self) -> None:
        self.is_closed = False

    async def close(self) -> None:
        self.is_closed = True


async def test_a_few_run_at_a_time_in_order_of_arrival() -> None:
    database = Database()
    made = database.lanes()
    rows = await asyncio.gather(*(made.run(f"{n}", n) for n in range(20)))
    assert rows == [[f"{n}", n] for n in range(20)]
    assert database.ran == [f"{n}" for n in range(20)]
    assert (database.most, len(database.connections)) == (2, 2)
    await made.close()
    assert all(connection.is_closed for connection in database.connections)


async def test_connections_are_kept_and_made_when_they_are_needed() -> None:
    database = Database()
    made = database.lanes()
    for n in range(5):
        await made.run(f"{n}")
    assert len(database.connections) == 1
    await made.close()
    await made.close()


async def test_a_statement_that_fails_leaves_its_connection() -> None:
    database = Database()
    made = database.lanes(1)
    results = await asyncio.gather(made.run("fail"), made.run("1"), return_exceptions=True)
    assert [type(result) for result in results] == [ValueError, list]
    assert len(database.connections) == 1
    await made.close()


async def test_what_has_ended_is_replaced_once() -> None:
    database = Database()
    made = database.lanes(1)
    await made.run("1")
    database.connections[0].is_closed = True  # noticed before
    await made.run("2")
    database.go.clear()
    running = asyncio.create_task(made.run("3"))
    await turns(3)
    database.connections[1].is_closed = True  # while it runs
    database.go.set()
    assert await running == ["3"]
    assert len(database.connections) == 3
    database.refuses = database.connections[2].is_closed = True
    with pytest.raises(OSError, match="no more connections"):
        await made.run("4")
    database.refuses = False
    assert await made.run("5") == ["5"]
    await made.close()


async def test_what_runs_ends_although_its_caller_is_gone_and_what_waits_is_dropped() -> None:
    database = Database()
    made = database.lanes(1)
    database.go.clear()
    tasks = [asyncio.create_task(made.run(name)) for name in ("runs", "waits", "fail", "stays")]
    await turns(3)
    for task in tasks[:3]:
        task.cancel()
    await turns(3)
    closing = asyncio.create_task(made.close())
    await turns(3)
    assert not closing.done()
    database.go.set()
    assert await tasks[3] == ["stays"]
    await closing
    assert database.ran == ["runs", "stays"]


async def test_a_line_that_is_too_long_is_busy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lanes, "_MOST_WAITING", 3)
    database = Database()
    made = database.lanes(1)
    database.go.clear()
    tasks = [asyncio.create_task(made.run(f"{n}")) for n in range(5)]
    await turns(3)
    assert [task.done() for task in tasks] == [False] * 3 + [True] * 2
    for task in tasks[3:]:
        with pytest.raises(StoreBusy, match="3 statements wait"):
            await task
    database.go.set()
    await asyncio.gather(*tasks[:3])
    await made.close()
