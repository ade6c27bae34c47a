"""Database: the engine of a store, its connections and transactions, and its errors as those of a store."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any

import sqlalchemy as sa
from sqlalchemy import event, exc
from sqlalchemy.engine import URL, Connection
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine

from ..authorizer import StoreBusy, StoreError, StoreFull

__all__ = ["Database"]

#: The async driver behind each plain name.
_DRIVERS = {
    "sqlite": "sqlite+aiosqlite",
    "sqlite+aiosqlite": "sqlite+aiosqlite",
    "postgres": "postgresql+asyncpg",
    "postgresql": "postgresql+asyncpg",
    "postgresql+asyncpg": "postgresql+asyncpg",
}

#: Seconds of a statement. A login may take 10 s (Limits.handshake_seconds); three times that allows for maintenance.
_COMMAND_TIMEOUT = 30.0

_WRITES = "pb_writes"

# Primary result codes of SQLite.
_SQLITE_BUSY = frozenset({5, 6})  # SQLITE_BUSY, SQLITE_LOCKED
_SQLITE_FULL = frozenset({13})
# PostgreSQL: deadlock, serialization failure, lock not available, too many connections, shutting down or starting.
_POSTGRES_BUSY = frozenset({"40P01", "40001", "55P03", "53300", "57P01", "57P02", "57P03"})
_POSTGRES_FULL = frozenset({"53100"})


def _parsed(url: str) -> URL:
    try:
        parsed = sa.make_url(url)
    except (exc.ArgumentError, ValueError):
        # Without the text, which may contain a password.
        raise ValueError("store url: must be a url such as sqlite:///identities.db") from None
    driver = _DRIVERS.get(parsed.drivername)
    if driver is None:
        raise ValueError(
            f"store url: must begin with sqlite:/// or postgresql://, not with {parsed.drivername}"
        )
    parsed = parsed.set(drivername=driver)
    if driver.startswith("sqlite"):
        if parsed.database in (None, "", ":memory:"):
            raise ValueError(
                "store url: SQLite needs a file, as in sqlite:///identities.db; see also MemoryAuthorizer"
            )
    elif "sslmode" in parsed.query:
        # libpq's name for asyncpg's ssl=.
        query = dict(parsed.query)
        query["ssl"] = query.pop("sslmode")
        parsed = parsed.set(query=query)
    return parsed


class Database:
    """SQLite or PostgreSQL, by SQLAlchemy.

    Args:
        url: see :class:`SQLAuthorizer`.
        busy_timeout: seconds to wait for a lock or a connection.

    Raises:
        ValueError: the url is not supported.

    Attributes:
        url: with the name of the driver.
        is_sqlite: whether it is SQLite.
        label: the url without a password, for messages.
        engine: None while it is closed.
    """

    def __init__(self, url: str, busy_timeout: float) -> None:
        self.url: URL = _parsed(url)
        self.is_sqlite: bool = self.url.drivername.startswith("sqlite")
        self.engine: AsyncEngine | None = None
        self._busy_timeout = busy_timeout
        # SQLite allows one writer at a time and makes the others poll; in this process they queue instead.
        self._writing = asyncio.Lock()
        plain = self.url.set(drivername="sqlite" if self.is_sqlite else "postgresql", query={})
        self.label: Any = plain.render_as_string(hide_password=True)

    async def open(self) -> None:
        """Make the engine, unless there is one.

        Raises:
            StoreError: the file cannot be made, or is no database.
        """
        if self.engine is None:
            self.engine = self._sqlite_engine() if self.is_sqlite else self._postgres_engine()
        if self.is_sqlite:
            await self._use_write_ahead_log()

    async def close(self) -> None:
        """Close all connections."""
        engine, self.engine = self.engine, None
        if engine is not None:
            with self.typed_errors():
                await engine.dispose()

    async def driver_connection(self) -> Any:
        """Return a new connection of the driver, which SQLAlchemy has set up and let go of."""
        pooled = await self._connectable().raw_connection()
        connection = pooled.driver_connection
        pooled.detach()
        return connection

    def _sqlite_engine(self) -> AsyncEngine:
        self._make_private_file()
        engine = create_async_engine(
            self.url,
            hide_parameters=True,
            connect_args={"timeout": self._busy_timeout},
            pool_timeout=self._busy_timeout,
        )

        @event.listens_for(engine.sync_engine, "connect")
        def connected(connection: Any, record: object) -> None:
            # Python's sqlite3 begins transactions late, and none for a CREATE TABLE. So we begin them here.
            connection.isolation_level = None
            cursor = connection.cursor()
            cursor.execute("PRAGMA foreign_keys=ON")
            cursor.close()

        @event.listens_for(engine.sync_engine, "begin")
        def begin(connection: Connection) -> None:
            # A transaction that reads first and writes later fails if another has written in between.
            writes = connection.get_execution_options().get(_WRITES, False)
            connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")

        return engine

    def _postgres_engine(self) -> AsyncEngine:
        return create_async_engine(
            self.url,
            hide_parameters=True,
            connect_args={"timeout": self._busy_timeout, "command_timeout": _COMMAND_TIMEOUT},
            pool_timeout=self._busy_timeout,
            pool_pre_ping=True,  # so that no login fails after a restart of the server
        )

    def _make_private_file(self) -> None:
        """Make the file readable for its owner only; SQLite gives the files beside it the same mode."""
        if self.url.query.get("uri"):
            return  # SQLite interprets the name
        try:
            os.close(os.open(str(self.url.database), os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600))
        except FileExistsError:
            pass  # its owner has chosen the mode
        except OSError as error:
            raise StoreError(f"{self.label}: {error.strerror}") from error

    async def _use_write_ahead_log(self) -> None:
        """Switch the file to write-ahead logging, in which readers and the writer do not wait for each other.

        The setting stays in the file. The switch needs exclusive access for a moment, and SQLite does not wait for it:
        a process that starts at the same time can make it fail.
        """
        loop = asyncio.get_running_loop()
        give_up = loop.time() + self._busy_timeout
        while True:
            try:
                with self.typed_errors():
                    async with self._connectable().connect() as connection:
                        # Not through SQLAlchemy, which begins a transaction, in which the switch is not possible.
                        driver = (await connection.get_raw_connection()).driver_connection
                        assert driver is not None
                        await (await driver.execute("PRAGMA journal_mode=WAL")).close()
                return
            except StoreBusy:
                if loop.time() >= give_up:
                    raise
                await asyncio.sleep(0.02)  # the switch takes about a millisecond

    @asynccontextmanager
    async def reading(self) -> AsyncIterator[AsyncConnection]:
        """Run the block with a connection that only reads."""
        with self.typed_errors():
            async with self._connectable().connect() as connection:
                yield connection

    @asynccontextmanager
    async def transaction(self, migrating: bool = False) -> AsyncIterator[AsyncConnection]:
        """Run the block in a writing transaction: committed at the end, rolled back by an exception."""
        if not self.is_sqlite:
            with self.typed_errors():
                async with self._connectable().begin() as connection:
                    if not migrating:  # a process waits as long as the migration of another takes
                        milliseconds = int(self._busy_timeout * 1000)
                        await connection.exec_driver_sql(f"SET LOCAL lock_timeout = {milliseconds}")
                    yield connection
            return
        async with self._writing:
            with self.typed_errors():
                engine = self._connectable().execution_options(**{_WRITES: True})
                async with engine.begin() as connection:
                    yield connection

    def _connectable(self) -> AsyncEngine:
        if self.engine is None:
            raise StoreError(f"{self.label} is closed")
        return self.engine

    @contextmanager
    def typed_errors(self) -> Iterator[None]:
        """Raise the errors of the database libraries as StoreError, without parameters."""
        try:
            yield
        except exc.TimeoutError as error:
            raise StoreBusy(
                f"{self.label}: no connection became free in {self._busy_timeout} s (busy_timeout)"
            ) from error
        except exc.DBAPIError as error:
            raise self._typed(error.orig or error) from error
        except TimeoutError as error:
            raise StoreBusy(f"{self.label}: the database did not answer in time") from error
        except OSError as error:
            raise StoreError(f"{self.label}: {error.strerror or error}") from error
        except Exception as error:
            # SQLAlchemy does not wrap the errors that asyncpg raises while it connects.
            if type(error).__module__.partition(".")[0] not in ("asyncpg", "aiosqlite", "sqlite3"):
                raise
            raise self._typed(error) from error

    def _typed(self, error: BaseException) -> StoreError:
        code = getattr(error, "sqlite_errorcode", None)
        state = getattr(error, "sqlstate", None) or getattr(error, "pgcode", None)
        if code is not None:
            primary = code & 0xFF  # extended result codes carry detail above it
            if primary in _SQLITE_BUSY:
                return StoreBusy(
                    f"{self.label}: locked by another process for {self._busy_timeout} s (busy_timeout)"
                )
            if primary in _SQLITE_FULL:
                return StoreFull(f"{self.label}: no room left")
            return StoreError(f"{self.label}: {error}")
        if state in _POSTGRES_BUSY:
            return StoreBusy(f"{self.label}: busy ({state})")
        if state in _POSTGRES_FULL:
            return StoreFull(f"{self.label}: no room left")
        return StoreError(
            f"{self.label}: {type(error).__name__} ({state})" if state else f"{self.label}: {error}"
        )
