"""Store: identities in a database, with its connections, transactions, statements and typed errors.

:class:`~perspective_broker.cred.sql.SQLAuthorizer` calls it, and has checked the arguments.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from typing import Any

import sqlalchemy as sa
from sqlalchemy import exc
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.engine import URL, Connection
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine

from ..authorizer import (
    IdentityDamaged,
    IdentityExists,
    StoreBusy,
    StoreError,
    StoreFull,
    UnknownIdentity,
    UnknownKey,
)
from ..identity import Identity
from ..verifiers import MIN_ITERATIONS, LegacyDigest, ScramVerifier
from . import schema
from .lanes import Lanes
from .statements import POSTGRES, SQLITE

__all__ = ["Store"]

#: The async driver behind each plain name.
_DRIVERS = {
    "sqlite": "sqlite+aiosqlite",
    "sqlite+aiosqlite": "sqlite+aiosqlite",
    "postgres": "postgresql+asyncpg",
    "postgresql": "postgresql+asyncpg",
    "postgresql+asyncpg": "postgresql+asyncpg",
}

#: Identities read at once while listing: a transaction of a few milliseconds.
_PAGE = 500

#: Seconds of a statement. A login may take 10 s (Limits.handshake_seconds); three times that allows for maintenance.
_COMMAND_TIMEOUT = 30.0

#: Connections for the statements of logins. Each runs one statement at a time, in less than a millisecond. SQLite has
#: a thread for each connection, and reads from memory.
_LANES = {"sqlite": 1, "postgresql": 4}

#: Decoded in place of a secret that does not exist, because the time must not show which names are known.
_VERIFIER = ScramVerifier(bytes(16), MIN_ITERATIONS, bytes(32), bytes(32)).encode()
_DIGEST = bytes(16).hex()

_WRITES = "pb_writes"

#: Characters of a verifier's text before its rounds, see ScramVerifier.encode().
_BEFORE_ROUNDS = len("SCRAM-SHA-256$")

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


async def _fetch_sqlite(connection: Any, statement: str, arguments: Sequence[Any]) -> list[Any]:
    return list(await connection.execute_fetchall(statement, arguments))


def _is_sqlite_closed(connection: Any) -> bool:
    return False  # a file does not go away


async def _fetch_postgres(connection: Any, statement: str, arguments: Sequence[Any]) -> list[Any]:
    rows: list[Any] = await connection.fetch(statement, *arguments)
    return rows


def _is_closed(connection: Any) -> bool:
    return bool(connection.is_closed())


class Store:
    """A database with identities.

    Args:
        url: see :class:`SQLAuthorizer`.
        iterations: the setting to write on opening; None does not change it.
        busy_timeout: seconds to wait for a lock or a connection.

    Raises:
        ValueError: the url is not supported.

    Attributes:
        label: the url without a password, for messages.
        ready: whether it is open.
        iterations, fake_key: the store's settings; set when it is open.
    """

    iterations: int
    fake_key: bytes

    def __init__(self, url: str, *, iterations: int | None, busy_timeout: float) -> None:
        self._url = _parsed(url)
        self._sqlite = self._url.drivername.startswith("sqlite")
        self._wanted_iterations = iterations
        self._busy_timeout = busy_timeout
        self._engine: AsyncEngine | None = None
        self.ready: bool = False
        self._opening = asyncio.Lock()
        # SQLite allows one writer at a time and makes the others poll; in this process they queue instead.
        self._writing = asyncio.Lock()
        self._statements = SQLITE if self._sqlite else POSTGRES
        fetch, is_closed = (
            (_fetch_sqlite, _is_sqlite_closed) if self._sqlite else (_fetch_postgres, _is_closed)
        )
        lanes = _LANES["sqlite" if self._sqlite else "postgresql"]
        self._lanes = Lanes(lanes, self._driver_connection, fetch, is_closed)
        plain = self._url.set(drivername="sqlite" if self._sqlite else "postgresql", query={})
        self.label: Any = plain.render_as_string(hide_password=True)

    async def open(self) -> None:
        """Connect and bring the schema up to date, unless that was done.

        Raises:
            StoreError: the database cannot be opened.
        """
        if self.ready:
            return
        async with self._opening:
            if self.ready:
                return
            if self._engine is None:
                self._engine = self._sqlite_engine() if self._sqlite else self._postgres_engine()
            if self._sqlite:
                await self._use_write_ahead_log()
            async with self._reading() as connection:
                current = await connection.run_sync(schema.schema_version) == len(schema.MIGRATIONS)
            if not current:
                async with self._transaction(migrating=True) as connection:
                    await connection.run_sync(schema.migrate)
            await self._read_settings()
            self.ready = True

    async def close(self) -> None:
        """Close all connections."""
        self.ready = False
        with self._typed_errors():
            await self._lanes.close()
        engine, self._engine = self._engine, None
        if engine is not None:
            with self._typed_errors():
                await engine.dispose()

    # ------------------------------------------------------------ identities

    async def get(self, name: str) -> Identity | None:
        """Return one identity, or None."""
        rows = await self._run(self._statements.identity, name)
        if not rows:
            return None
        verifier, digest, disabled, service, _ = rows[0]
        keys = [(row[3], row[4]) for row in rows] if service is not None else ()
        return Identity(
            name,
            verifier=None if verifier is None else self._verifier(verifier),
            legacy_digest=None if digest is None else self._digest(digest),
            disabled=bool(disabled),
            keys=keys,
        )

    async def get_secrets(self, name: str, fingerprint: bytes) -> tuple[Identity | None, int, float]:
        """Return one identity without its keys, or None, in the same time; and the failures of the name.

        Args:
            name: the name.
            fingerprint: of the name, see :meth:`count_failure`.

        Returns:
            The identity; how many logins as this user have failed; seconds since the last of them.
        """
        ((verifier, digest, disabled, failures, age),) = await self._run(
            self._statements.login, name, fingerprint
        )
        identity = Identity(name, disabled=bool(disabled))
        decoded = self._verifier(_VERIFIER if verifier is None else verifier)
        old = self._digest(_DIGEST if digest is None else digest)
        identity.verifier = None if verifier is None else decoded
        identity.legacy_digest = None if digest is None else old
        known = None if disabled is None else identity
        return (known, 0, 0.0) if failures is None else (known, int(failures), age)

    async def rounds_in_use(self) -> dict[int, int]:
        """Return the PBKDF2 rounds of all verifiers, each with the number of identities that have them."""
        text = sa.func.substr(sa.type_coerce(schema.identity.c.verifier, sa.Text), _BEFORE_ROUNDS + 1)
        if self._sqlite:
            rounds = sa.func.substr(text, 1, sa.func.instr(text, ":") - 1)
        else:
            rounds = sa.func.split_part(text, ":", 1)
        statement = (
            sa.select(rounds, sa.func.count()).where(schema.identity.c.verifier.is_not(None)).group_by(rounds)
        )
        async with self._reading() as connection:
            rows = (await connection.execute(statement)).all()
        return {int(found): count for found, count in rows if found.isascii() and found.isdigit()}

    async def page(self, after: str) -> Sequence[Identity]:
        """Return the first identities whose names sort after ``after``; none at the end."""
        names = (
            sa.select(schema.identity.c.name)
            .where(schema.identity.c.name > after)
            .order_by(schema.identity.c.name)
            .limit(_PAGE)
        )
        return await self._select(schema.identity.c.name.in_(names))

    async def add(self, identity: Identity) -> None:
        """Add an identity with its keys, or raise IdentityExists."""
        row = {
            "name": identity.name,
            "verifier": identity.verifier,
            "legacy_digest": identity.legacy_digest,
            "disabled": identity.disabled,
        }
        keys = [
            {"identity": identity.name, "service": service, "perspective": perspective}
            for service, perspective in sorted(identity.keys)
        ]
        async with self._transaction() as connection:
            added = await connection.execute(self._insert_if_absent(schema.identity), row)
            if added.rowcount == 0:
                raise IdentityExists(f"there is an identity {identity.name!a} already")
            if keys:
                await connection.execute(schema.key.insert(), keys)

    async def remove(self, name: str) -> None:
        """Remove an identity, or raise UnknownIdentity; its keys go with it (ON DELETE CASCADE)."""
        await self._change(schema.identity.delete(), name)

    async def set_secrets(
        self, name: str, verifier: ScramVerifier | None, legacy_digest: LegacyDigest | None
    ) -> None:
        """Replace both secrets, or raise UnknownIdentity."""
        await self._change(
            schema.identity.update().values(verifier=verifier, legacy_digest=legacy_digest), name
        )

    async def set_disabled(self, name: str, disabled: bool) -> None:
        """Set the flag, or raise UnknownIdentity."""
        await self._change(schema.identity.update().values(disabled=disabled), name)

    async def grant(self, name: str, service: str, perspective: str) -> None:
        """Add a key, or raise UnknownIdentity."""
        async with self._transaction() as connection:
            await self._lock_identity(connection, name)
            await connection.execute(
                self._insert_if_absent(schema.key),
                {"identity": name, "service": service, "perspective": perspective},
            )

    async def revoke(self, name: str, service: str, perspective: str) -> None:
        """Remove a key, or raise UnknownIdentity or UnknownKey."""
        columns = schema.key.c
        async with self._transaction() as connection:
            await self._lock_identity(connection, name)
            removed = await connection.execute(
                schema.key.delete().where(
                    columns.identity == name, columns.service == service, columns.perspective == perspective
                )
            )
            if removed.rowcount == 0:
                raise UnknownKey(f"identity {name!a} has no key to {(service, perspective)!a}")

    # ------------------------------------------------------------ failed logins

    async def count_failure(self, fingerprint: bytes, *, of_source: bool = False) -> float:
        """Count a failed login, and return how many there were, this one included.

        Args:
            fingerprint: a keyed hash of a name, or of a source.
            of_source: whether of a source, whose failures time forgives one by one.
        """
        count = self._statements.count_source if of_source else self._statements.count_name
        if self._sqlite:
            async with self._transaction() as connection:
                await connection.exec_driver_sql(count, (fingerprint,))
                result = await connection.exec_driver_sql(self._statements.failures, (fingerprint,))
                return float(result.scalar_one())
        return float((await self._run(count, fingerprint))[0][0])

    async def forget_failures(self, fingerprint: bytes) -> None:
        """Forget the failures of a name."""
        await self._write(self._statements.forget, fingerprint)

    async def forget_old_failures(self) -> None:
        """Remove failures that time has forgiven, and, of too many, those of the fewest failures."""
        await self._write(self._statements.purge)

    async def _write(self, statement: str, *arguments: Any) -> None:
        if self._sqlite:
            async with self._transaction() as connection:
                await connection.exec_driver_sql(statement, arguments)
        else:
            await self._run(statement, *arguments)

    # ------------------------------------------------------------ statements

    async def _run(self, statement: str, *arguments: Any) -> list[Any]:
        """Return the rows of a statement of a login, from the driver itself."""
        with self._typed_errors():
            return await self._lanes.run(statement, *arguments)

    async def _driver_connection(self) -> Any:
        """Return a new connection of the driver, which SQLAlchemy has set up and let go of."""
        pooled = await self._connectable().raw_connection()
        connection = pooled.driver_connection
        pooled.detach()
        return connection

    def _verifier(self, text: str) -> ScramVerifier:
        try:
            return ScramVerifier.decode(text)
        except ValueError:
            raise self._damaged() from None

    def _digest(self, text: str) -> LegacyDigest:
        try:
            return LegacyDigest(bytes.fromhex(text))
        except ValueError:
            raise self._damaged() from None

    def _damaged(self) -> IdentityDamaged:
        return IdentityDamaged(f"{self.label}: an identity's secrets are damaged")

    async def _select(self, condition: sa.ColumnElement[bool]) -> list[Identity]:
        """Return the matching identities, sorted by name. One statement, so the result is consistent."""
        identity, key = schema.identity, schema.key
        statement = (
            sa.select(identity, key.c.service, key.c.perspective)
            .select_from(identity.outerjoin(key, key.c.identity == identity.c.name))
            .where(condition)
            .order_by(identity.c.name)
        )
        async with self._reading() as connection:
            try:
                rows = (await connection.execute(statement)).all()
            except ValueError:  # from the types of schema.py
                raise self._damaged() from None
        found: list[Identity] = []
        for name, verifier, digest, disabled, service, perspective in rows:
            if not found or found[-1].name != name:
                found.append(Identity(name, verifier=verifier, legacy_digest=digest, disabled=disabled))
            if service is not None:
                found[-1].add_key(service, perspective)
        return found

    async def _change(self, statement: sa.Update | sa.Delete, name: str) -> None:
        async with self._transaction() as connection:
            changed = await connection.execute(statement.where(schema.identity.c.name == name))
            if changed.rowcount == 0:
                raise UnknownIdentity(f"there is no identity {name!a}")

    async def _lock_identity(self, connection: AsyncConnection, name: str) -> None:
        """Prevent removal of the identity until the transaction ends (SQLite excludes other writers anyway)."""
        statement = sa.select(schema.identity.c.name).where(schema.identity.c.name == name)
        row = (await connection.execute(statement.with_for_update(read=True, key_share=True))).first()
        if row is None:
            raise UnknownIdentity(f"there is no identity {name!a}")

    def _insert_if_absent(self, table: sa.Table) -> sa.Insert:
        if self._sqlite:
            return sqlite.insert(table).on_conflict_do_nothing()
        return postgresql.insert(table).on_conflict_do_nothing()

    async def _read_settings(self) -> None:
        table = schema.setting
        if self._wanted_iterations is not None:
            async with self._transaction() as connection:
                await connection.execute(
                    table.update()
                    .where(table.c.name == "iterations")
                    .values(value=str(self._wanted_iterations))
                )
        async with self._reading() as connection:
            rows = (await connection.execute(sa.select(table.c.name, table.c.value))).all()
        settings: dict[str, str] = {row.name: row.value for row in rows}
        try:
            self.iterations = int(settings["iterations"])
            self.fake_key = bytes.fromhex(settings["fake_key"])
        except (KeyError, ValueError):
            raise StoreError(f"{self.label}: the store's settings are damaged") from None

    # ------------------------------------------------------------ connections and transactions

    def _sqlite_engine(self) -> AsyncEngine:
        self._make_private_file()
        engine = create_async_engine(
            self._url,
            hide_parameters=True,
            connect_args={"timeout": self._busy_timeout},
            pool_timeout=self._busy_timeout,
        )

        @sa.event.listens_for(engine.sync_engine, "connect")
        def connected(connection: Any, record: object) -> None:
            # Python's sqlite3 begins transactions late, and none for a CREATE TABLE. So we begin them here.
            connection.isolation_level = None
            cursor = connection.cursor()
            cursor.execute("PRAGMA foreign_keys=ON")
            cursor.close()

        @sa.event.listens_for(engine.sync_engine, "begin")
        def begin(connection: Connection) -> None:
            # A transaction that reads first and writes later fails if another has written in between.
            writes = connection.get_execution_options().get(_WRITES, False)
            connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")

        return engine

    def _postgres_engine(self) -> AsyncEngine:
        return create_async_engine(
            self._url,
            hide_parameters=True,
            connect_args={"timeout": self._busy_timeout, "command_timeout": _COMMAND_TIMEOUT},
            pool_timeout=self._busy_timeout,
            pool_pre_ping=True,  # so that no login fails after a restart of the server
        )

    def _make_private_file(self) -> None:
        """Make the file readable for its owner only; SQLite gives the files beside it the same mode."""
        if self._url.query.get("uri"):
            return  # SQLite interprets the name
        try:
            os.close(os.open(str(self._url.database), os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600))
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
                with self._typed_errors():
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
    async def _reading(self) -> AsyncIterator[AsyncConnection]:
        with self._typed_errors():
            async with self._connectable().connect() as connection:
                yield connection

    @asynccontextmanager
    async def _transaction(self, migrating: bool = False) -> AsyncIterator[AsyncConnection]:
        """Run the block in a writing transaction: committed at the end, rolled back by an exception."""
        if not self._sqlite:
            with self._typed_errors():
                async with self._connectable().begin() as connection:
                    if not migrating:  # a process waits as long as the migration of another takes
                        milliseconds = int(self._busy_timeout * 1000)
                        await connection.exec_driver_sql(f"SET LOCAL lock_timeout = {milliseconds}")
                    yield connection
            return
        async with self._writing:
            with self._typed_errors():
                engine = self._connectable().execution_options(**{_WRITES: True})
                async with engine.begin() as connection:
                    yield connection

    def _connectable(self) -> AsyncEngine:
        if self._engine is None:
            raise StoreError(f"{self.label} is closed")
        return self._engine

    @contextmanager
    def _typed_errors(self) -> Iterator[None]:
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
