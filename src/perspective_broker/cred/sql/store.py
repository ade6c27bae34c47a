"""Store: identities and failed logins in a database.

:class:`~perspective_broker.cred.sql.SQLAuthorizer` calls it, and has checked the arguments.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.ext.asyncio import AsyncConnection

from ..authorizer import IdentityDamaged, IdentityExists, StoreError, UnknownIdentity, UnknownKey
from ..identity import Identity
from ..verifiers import MIN_ITERATIONS, LegacyDigest, ScramVerifier
from . import schema
from .database import Database
from .lanes import Lanes
from .statements import POSTGRES, SQLITE, Statements

__all__ = ["Store"]

#: Identities read at once while listing: a transaction of a few milliseconds.
_PAGE = 500

#: Decoded in place of a secret that does not exist, because the time must not show which names are known.
_VERIFIER = ScramVerifier(bytes(16), MIN_ITERATIONS, bytes(32), bytes(32)).encode()
_DIGEST = bytes(16).hex()

#: Characters of a verifier's text before its rounds, see ScramVerifier.encode().
_BEFORE_ROUNDS = len("SCRAM-SHA-256$")


async def _fetch_sqlite(connection: Any, statement: str, arguments: Sequence[Any]) -> list[Any]:
    return list(await connection.execute_fetchall(statement, arguments))


def _is_sqlite_closed(connection: Any) -> bool:
    return False  # a file does not go away


async def _fetch_postgres(connection: Any, statement: str, arguments: Sequence[Any]) -> list[Any]:
    rows: list[Any] = await connection.fetch(statement, *arguments)
    return rows


def _is_closed(connection: Any) -> bool:
    return bool(connection.is_closed())


@dataclass(frozen=True, slots=True)
class _Driver:
    """How the statements of a login are run on a driver itself, and on how many connections."""

    statements: Statements
    lanes: int
    fetch: Callable[[Any, str, Sequence[Any]], Awaitable[list[Any]]]
    is_closed: Callable[[Any], bool]


#: SQLite has a thread for each connection, and reads from memory. PostgreSQL takes less than a millisecond.
_SQLITE = _Driver(SQLITE, 1, _fetch_sqlite, _is_sqlite_closed)
_POSTGRES = _Driver(POSTGRES, 4, _fetch_postgres, _is_closed)


class Store:
    """A database with identities.

    Args:
        url: see :class:`SQLAuthorizer`.
        iterations: the setting to write on opening; None does not change it.
        busy_timeout: seconds to wait for a lock or a connection.

    Raises:
        ValueError: the url is not supported.

    Attributes:
        database: holds its connections.
        label: the url without a password, for messages.
        ready: whether it is open.
        iterations, fake_key: the store's settings; set when it is open.
    """

    iterations: int
    fake_key: bytes

    def __init__(self, url: str, *, iterations: int | None, busy_timeout: float) -> None:
        self.database: Database = Database(url, busy_timeout)
        self.label: Any = self.database.label
        self.ready: bool = False
        self._wanted_iterations = iterations
        self._opening = asyncio.Lock()
        driver = _SQLITE if self.database.is_sqlite else _POSTGRES
        self._statements = driver.statements
        self._lanes = Lanes(driver.lanes, self.database.driver_connection, driver.fetch, driver.is_closed)

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
            await self.database.open()
            async with self.database.reading() as connection:
                current = await connection.run_sync(schema.schema_version) == len(schema.MIGRATIONS)
            if not current:
                async with self.database.transaction(migrating=True) as connection:
                    await connection.run_sync(schema.migrate)
            await self._read_settings()
            self.ready = True

    async def close(self) -> None:
        """Close all connections."""
        self.ready = False
        with self.database.typed_errors():
            await self._lanes.close()
        await self.database.close()

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
        if self.database.is_sqlite:
            rounds = sa.func.substr(text, 1, sa.func.instr(text, ":") - 1)
        else:
            rounds = sa.func.split_part(text, ":", 1)
        statement = (
            sa.select(rounds, sa.func.count()).where(schema.identity.c.verifier.is_not(None)).group_by(rounds)
        )
        async with self.database.reading() as connection:
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
        async with self.database.transaction() as connection:
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
        async with self.database.transaction() as connection:
            await self._lock_identity(connection, name)
            await connection.execute(
                self._insert_if_absent(schema.key),
                {"identity": name, "service": service, "perspective": perspective},
            )

    async def revoke(self, name: str, service: str, perspective: str) -> None:
        """Remove a key, or raise UnknownIdentity or UnknownKey."""
        columns = schema.key.c
        async with self.database.transaction() as connection:
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
        if self.database.is_sqlite:
            async with self.database.transaction() as connection:
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
        if self.database.is_sqlite:
            async with self.database.transaction() as connection:
                await connection.exec_driver_sql(statement, arguments)
        else:
            await self._run(statement, *arguments)

    # ------------------------------------------------------------ statements

    async def _run(self, statement: str, *arguments: Any) -> list[Any]:
        """Return the rows of a statement of a login, from the driver itself."""
        with self.database.typed_errors():
            return await self._lanes.run(statement, *arguments)

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
        async with self.database.reading() as connection:
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
        async with self.database.transaction() as connection:
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
        if self.database.is_sqlite:
            return sqlite.insert(table).on_conflict_do_nothing()
        return postgresql.insert(table).on_conflict_do_nothing()

    async def _read_settings(self) -> None:
        table = schema.setting
        if self._wanted_iterations is not None:
            async with self.database.transaction() as connection:
                await connection.execute(
                    table.update()
                    .where(table.c.name == "iterations")
                    .values(value=str(self._wanted_iterations))
                )
        async with self.database.reading() as connection:
            rows = (await connection.execute(sa.select(table.c.name, table.c.value))).all()
        settings: dict[str, str] = {row.name: row.value for row in rows}
        try:
            self.iterations = int(settings["iterations"])
            self.fake_key = bytes.fromhex(settings["fake_key"])
        except (KeyError, ValueError):
            raise StoreError(f"{self.label}: the store's settings are damaged") from None
