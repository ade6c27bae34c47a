"""The tables of a store, and the migrations that bring an older store up to date."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Sequence

import sqlalchemy as sa
from sqlalchemy.engine import Connection, Dialect

from ..authorizer import StoreError
from ..verifiers import DEFAULT_ITERATIONS, LegacyDigest, ScramVerifier

__all__ = [
    "MIGRATIONS",
    "attempt",
    "identity",
    "key",
    "metadata",
    "migrate",
    "schema_version",
    "setting",
    "version",
]


class _Hidden(str):
    """Text for the database whose repr, in the debug logs of the database libraries, hides it."""

    __slots__ = ()

    def __repr__(self) -> str:
        return "<hidden>"


class _Secret(sa.types.TypeDecorator[str]):
    """A secret as text, hidden from logs in both directions."""

    impl = sa.Text
    cache_ok = True

    def process_bind_param(self, value: str | None, dialect: Dialect) -> str | None:
        return None if value is None else _Hidden(value)

    def process_result_value(self, value: str | None, dialect: Dialect) -> str | None:
        return None if value is None else _Hidden(value)


class _Verifier(sa.types.TypeDecorator[ScramVerifier]):
    """A verifier in its text form, as PostgreSQL keeps its own users'."""

    impl = sa.Text
    cache_ok = True

    def process_bind_param(self, value: ScramVerifier | None, dialect: Dialect) -> str | None:
        return None if value is None else _Hidden(value.encode())

    def process_result_value(self, value: str | None, dialect: Dialect) -> ScramVerifier | None:
        return None if value is None else ScramVerifier.decode(value)


class _Digest(sa.types.TypeDecorator[LegacyDigest]):
    """A legacy digest in hexadecimal."""

    impl = sa.Text
    cache_ok = True

    def process_bind_param(self, value: LegacyDigest | None, dialect: Dialect) -> str | None:
        return None if value is None else _Hidden(value.digest.hex())

    def process_result_value(self, value: str | None, dialect: Dialect) -> LegacyDigest | None:
        return None if value is None else LegacyDigest(bytes.fromhex(value))


def _name() -> sa.types.TypeEngine[str]:
    # Code point order and byte equality everywhere: the default of SQLite, but not of PostgreSQL.
    return sa.Text().with_variant(sa.Text(collation="C"), "postgresql")


metadata: sa.MetaData = sa.MetaData()

#: One row: the number of migrations that were applied to this store.
version: sa.Table = sa.Table("pb_schema", metadata, sa.Column("version", sa.Integer, nullable=False))

#: ``fake_key``: the key of fake verifiers, in hexadecimal; ``iterations``: PBKDF2 rounds.
setting: sa.Table = sa.Table(
    "pb_setting",
    metadata,
    sa.Column("name", _name(), primary_key=True),
    sa.Column("value", _Secret, nullable=False),
)

identity: sa.Table = sa.Table(
    "pb_identity",
    metadata,
    sa.Column("name", _name(), primary_key=True),
    sa.Column("verifier", _Verifier),
    sa.Column("legacy_digest", _Digest),
    sa.Column("disabled", sa.Boolean, nullable=False),
)

key: sa.Table = sa.Table(
    "pb_key",
    metadata,
    sa.Column("identity", _name(), sa.ForeignKey("pb_identity.name", ondelete="CASCADE"), primary_key=True),
    sa.Column("service", _name(), primary_key=True),
    sa.Column("perspective", _name(), primary_key=True),
)

#: Failed logins by name and by source, as keyed hashes, because people type passwords in place of names. ``last`` is in
#: seconds since 1970 on the clock of the database, which all programs share.
attempt: sa.Table = sa.Table(
    "pb_attempt",
    metadata,
    sa.Column("fingerprint", sa.LargeBinary, primary_key=True),
    sa.Column("failures", sa.Double, nullable=False),
    sa.Column("last", sa.Double, nullable=False),
)


def _first_tables(connection: Connection) -> None:
    # The tables as they were in version 1. The definitions above will change, this must not.
    collate = ' COLLATE "C"' if connection.dialect.name == "postgresql" else ""
    name = f"TEXT{collate} NOT NULL"
    for statement in (
        f"CREATE TABLE pb_setting (name {name} PRIMARY KEY, value TEXT NOT NULL)",
        f"CREATE TABLE pb_identity (name {name} PRIMARY KEY, verifier TEXT, legacy_digest TEXT,"
        " disabled BOOLEAN NOT NULL)",
        f"CREATE TABLE pb_key (identity {name} REFERENCES pb_identity (name) ON DELETE CASCADE,"
        f" service {name}, perspective {name}, PRIMARY KEY (identity, service, perspective))",
    ):
        connection.exec_driver_sql(statement)
    values = {"fake_key": secrets.token_bytes(32).hex(), "iterations": str(DEFAULT_ITERATIONS)}
    for setting_name, value in values.items():
        connection.execute(
            sa.text("INSERT INTO pb_setting (name, value) VALUES (:name, :value)"),
            {"name": setting_name, "value": _Hidden(value)},
        )


def _attempts(connection: Connection) -> None:
    binary, number = (
        ("BYTEA", "DOUBLE PRECISION") if connection.dialect.name == "postgresql" else ("BLOB", "DOUBLE")
    )
    connection.exec_driver_sql(
        f"CREATE TABLE pb_attempt (fingerprint {binary} NOT NULL PRIMARY KEY,"
        f" failures {number} NOT NULL, last {number} NOT NULL)"
    )


Migration = Callable[[Connection], None]

#: Migration number N (from 0) brings a store from version N to N + 1. Append; never change a released one.
MIGRATIONS: Sequence[Migration] = (_first_tables, _attempts)


def schema_version(connection: Connection) -> int:
    """Return the number of migrations that were applied to the store; 0 for an empty database.

    Raises:
        StoreError: the table of the version is empty.
    """
    if not sa.inspect(connection).has_table(version.name):
        return 0
    found = connection.execute(sa.select(version.c.version)).scalar()
    if found is None:
        raise StoreError(f"the identity store is damaged: {version.name} is empty")
    return int(found)


def migrate(connection: Connection, migrations: Sequence[Migration] = MIGRATIONS) -> None:
    """Bring the store up to date, inside the caller's transaction, which must keep other writers out.

    Args:
        connection: in a transaction that the caller commits.
        migrations: all migrations, oldest first.

    Raises:
        StoreError: the store was made by a newer version of this library.
    """
    if connection.dialect.name == "postgresql":
        # Held until the transaction ends. The number is arbitrary: "pb" and a serial.
        connection.exec_driver_sql("SELECT pg_advisory_xact_lock(28770, 1)")
    now = schema_version(connection)
    if now > len(migrations):
        raise StoreError(
            f"the identity store has schema version {now}, this library knows versions up to {len(migrations)}: "
            "upgrade the library"
        )
    if now == len(migrations):
        return
    if now == 0:
        connection.exec_driver_sql(f"CREATE TABLE {version.name} (version INTEGER NOT NULL)")
        connection.execute(version.insert().values(version=0))
    for migration in migrations[now:]:
        migration(connection)
    connection.execute(version.update().values(version=len(migrations)))
