"""Lanes: a few connections of a database's own driver, for the statements of a login.

A login reads the store twice. Through SQLAlchemy, with its pool, transactions and greenlets, each read takes a
millisecond of processor time or more; a prepared statement of the driver takes a tenth of that. Statements wait here in
one line for a free connection, for as long as the line is: in a storm of logins nobody gives up in the middle of it.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final

from ..authorizer import StoreBusy

__all__ = ["Lanes"]

#: Statements that wait. :class:`~perspective_broker.cred.admission.LoginThrottle` lets fewer logins in at a time; the
#: rest is for other callers.
_MOST_WAITING: Final = 4096

#: Makes a connection; runs a statement on it; returns whether it has ended; closes it.
_Connect = Callable[[], Awaitable[Any]]
_Fetch = Callable[[Any, str, Sequence[Any]], Awaitable[list[Any]]]


@dataclass(slots=True)
class _Request:
    statement: str
    arguments: Sequence[Any]
    rows: asyncio.Future[list[Any]]


class Lanes:
    """Runs single statements, each in a transaction of its own, in the order of their arrival.

    Args:
        most: connections that are open at a time; made when they are needed, and kept.
        connect: makes one.
        fetch: runs a statement, and returns its rows.
        is_closed: whether a connection has ended.
    """

    def __init__(self, most: int, connect: _Connect, fetch: _Fetch, is_closed: Callable[[Any], bool]) -> None:
        self._most = most
        self._connect, self._fetch, self._is_closed = connect, fetch, is_closed
        self._waiting: deque[_Request] = deque()
        self._free: list[Any] = []
        self._workers: set[asyncio.Task[None]] = set()

    async def run(self, statement: str, *arguments: Any) -> list[Any]:
        """Return the rows of a statement. It runs to its end when the caller is cancelled meanwhile.

        Raises:
            StoreBusy: too many statements wait.
            Exception: what the driver raises.
        """
        if len(self._waiting) >= _MOST_WAITING:
            raise StoreBusy(f"{_MOST_WAITING} statements wait for the database")
        rows: asyncio.Future[list[Any]] = asyncio.get_running_loop().create_future()
        self._waiting.append(_Request(statement, arguments, rows))
        if len(self._workers) < self._most:
            worker = asyncio.create_task(self._work())
            self._workers.add(worker)
        return await rows

    async def close(self) -> None:
        """Wait for the statements that run or wait, and close the connections."""
        while self._workers:
            await asyncio.wait(set(self._workers))
        free, self._free = self._free, []
        for connection in free:
            await connection.close()

    async def _work(self) -> None:
        """Run what waits, on one connection."""
        connection: Any = None
        try:
            while self._waiting:
                request = self._waiting.popleft()
                if request.rows.done():  # its caller was cancelled
                    continue
                try:
                    if connection is None or self._is_closed(connection):
                        connection = await self._opened()
                    rows = await self._fetch_again(connection, request)
                    if rows is None:
                        connection = await self._opened()
                        rows = await self._fetch(connection, request.statement, request.arguments)
                except Exception as error:
                    if not request.rows.done():
                        request.rows.set_exception(error)
                else:
                    if not request.rows.done():
                        request.rows.set_result(rows)
        finally:
            # In the same step in which nothing waited: what comes next gets another worker.
            if connection is not None:
                self._free.append(connection)
            task = asyncio.current_task()
            assert task is not None
            self._workers.remove(task)

    async def _opened(self) -> Any:
        while self._free:
            connection = self._free.pop()
            if not self._is_closed(connection):
                return connection
        return await self._connect()

    async def _fetch_again(self, connection: Any, request: _Request) -> list[Any] | None:
        """Return the rows, or None when the connection has ended: the database was restarted, say."""
        try:
            return await self._fetch(connection, request.statement, request.arguments)
        except Exception:
            if not self._is_closed(connection):
                raise
            return None
