"""The behaviour of a store in a database alone: shared by processes, migrated, full, locked, restarted, missing."""

from __future__ import annotations

import asyncio
import os
import sqlite3
import subprocess
import sys
from pathlib import Path
from typing import Any

import asyncpg
import pytest
import sqlalchemy as sa
from sqlalchemy.engine import Connection
from sqlalchemy.ext.asyncio import create_async_engine

from perspective_broker.cred import (
    Identity,
    MissingExtra,
    SQLAuthorizer,
    StoreBusy,
    StoreError,
    StoreFull,
)
from perspective_broker.cred.sql import schema
from perspective_broker.cred.verifiers import DEFAULT_ITERATIONS
from perspective_broker.errors import UsageError
from tests.cred import postgres

from .conftest import ITERATIONS

# ------------------------------------------------------------ several processes

CHILD = """
import asyncio, sys
from perspective_broker.cred import Identity, IdentityExists, SQLAuthorizer

async def main(url, me, count):
    print("ready", flush=True)
    sys.stdin.readline()                       # all begin together, on a store that nobody has made yet
    won = 0
    async with SQLAuthorizer(url) as authorizer:
        for number in range(count):
            await authorizer.add_identity(Identity(f"{me}-{number}"))
            await authorizer.grant(f"{me}-{number}", "chat")
            try:
                await authorizer.add_identity(Identity(f"contested-{number}", keys=[("by", me)]))
                won += 1
            except IdentityExists:
                pass
            await authorizer.grant(f"contested-{number}", "chat", me)
        print(won, (await authorizer.fake_verifier("nobody")).salt.hex(), flush=True)

asyncio.run(main(sys.argv[1], sys.argv[2], int(sys.argv[3])))
"""


def source_path() -> str:
    """Where a child process finds the package."""
    import perspective_broker.cred

    assert perspective_broker.cred.__file__ is not None
    return str(Path(perspective_broker.cred.__file__).parents[2])


def test_processes_share_a_store_from_its_first_moment(sql_url: str) -> None:
    processes, each = 6, 12
    children = [
        subprocess.Popen(
            [sys.executable, "-W", "error", "-c", CHILD, sql_url, f"process{number}", str(each)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, "PYTHONPATH": source_path()},
        )
        for number in range(processes)
    ]
    try:
        for child in children:
            assert child.stdout is not None
            assert child.stdout.readline() == "ready\n"
        for child in children:
            assert child.stdin is not None
            child.stdin.write("go\n")
            child.stdin.flush()
        reports = [child.communicate(timeout=120)[0].split() for child in children]
    finally:
        for child in children:
            child.kill()
            child.communicate()
    assert [child.returncode for child in children] == [0] * processes
    assert sum(int(won) for won, _ in reports) == each
    assert len({salt for _, salt in reports}) == 1  # they agree on the fakes

    async def check() -> None:
        async with SQLAuthorizer(sql_url) as authorizer:
            found = {identity.name: identity async for identity in authorizer.list()}
        assert len(found) == processes * each + each
        for number in range(processes):
            for serial in range(each):
                name = f"process{number}-{serial}"
                assert found[name].keys == {("chat", name)}
        for serial in range(each):
            keys = found[f"contested-{serial}"].keys
            assert {key for key in keys if key[0] == "chat"} == {
                ("chat", f"process{number}") for number in range(processes)
            }
            assert len(keys) == processes + 1

    asyncio.run(check())


# ------------------------------------------------------------ the store's life


def test_a_store_outlives_its_authorizer(sql_url: str) -> None:
    async def first() -> tuple[Identity, bytes]:
        async with SQLAuthorizer(sql_url, iterations=ITERATIONS) as authorizer:
            made = await authorizer.create("alice", "pencil")
            return made, (await authorizer.fake_verifier("nobody")).salt

    async def second() -> tuple[Identity | None, bytes, int]:
        async with SQLAuthorizer(sql_url) as authorizer:
            fake = await authorizer.fake_verifier("nobody")
            return await authorizer.get_identity("alice"), fake.salt, fake.iterations

    made, salt = asyncio.run(first())
    # The rounds stay those of the store, not the library's default: else the fakes would stand out.
    assert asyncio.run(second()) == (made, salt, ITERATIONS)


def test_rounds_are_a_setting_of_the_store(sql_url: str) -> None:
    async def rounds(iterations: int | None) -> int:
        async with SQLAuthorizer(sql_url, iterations=iterations) as authorizer:
            return await authorizer.iterations()

    found = [asyncio.run(rounds(asked)) for asked in (None, 5000, None)]
    assert found == [DEFAULT_ITERATIONS, 5000, 5000]


def test_rounds_of_which_a_user_is_the_first_are_shown_for_nobodies_too(sql_url: str) -> None:
    """Also before they are counted again: otherwise a user that another program has added would stand out."""

    async def main() -> None:
        async with SQLAuthorizer(sql_url, iterations=ITERATIONS) as authorizer:
            await authorizer.create("alice", "secret")
            assert (await authorizer.fake_verifier("nobody")).iterations == ITERATIONS
            async with SQLAuthorizer(sql_url, iterations=ITERATIONS + 1) as other:
                await other.create("bob", "secret")
            _, shown = await authorizer.login_record("bob")
            assert shown.iterations == ITERATIONS + 1
            rounds = {(await authorizer.login_record(f"nobody{n}"))[1].iterations for n in range(100)}
            assert rounds == {ITERATIONS, ITERATIONS + 1}

    asyncio.run(main())


def test_closed_is_closed(sql_url: str) -> None:
    async def check() -> None:
        authorizer = SQLAuthorizer(sql_url)
        await authorizer.add_identity(Identity("alice"))
        await authorizer.close()
        with pytest.raises(StoreError, match="is closed"):
            await authorizer.get_identity("alice")

    asyncio.run(check())


def test_a_change_whose_caller_is_cancelled_is_made_whole(sql_url: str) -> None:
    identity = Identity("alice", keys=[("chat", f"{number}") for number in range(20)])

    async def check() -> Identity | None:
        authorizer = SQLAuthorizer(sql_url)
        assert await authorizer.get_identity("alice") is None
        adding = asyncio.ensure_future(authorizer.add_identity(identity))
        await asyncio.sleep(0)  # it has begun, and no more
        adding.cancel()
        await authorizer.close()
        assert adding.cancelled()
        async with SQLAuthorizer(sql_url) as authorizer:
            return await authorizer.get_identity("alice")

    assert asyncio.run(check()) == identity


def test_one_event_loop(sql_url: str) -> None:
    authorizer = SQLAuthorizer(sql_url)
    with asyncio.Runner() as first, asyncio.Runner() as second:
        first.run(authorizer.add_identity(Identity("alice")))
        with pytest.raises(UsageError, match="belongs to the event loop that used it first"):
            second.run(authorizer.get_identity("alice"))
        with pytest.raises(UsageError):
            second.run(authorizer.close())
        first.run(authorizer.close())


# ------------------------------------------------------------ migrations


def engine_for(url: str) -> Any:
    return create_async_engine(url.replace("sqlite:", "sqlite+aiosqlite:").replace("sql:", "sql+asyncpg:"))


async def with_connection(url: str, *steps: Any) -> list[Any]:
    """Run functions of a connection, in one transaction, past the authorizer; begins it as the store does."""
    engine = engine_for(url)
    if url.startswith("sqlite"):

        @sa.event.listens_for(engine.sync_engine, "connect")
        def connected(connection: Any, record: Any) -> None:
            connection.isolation_level = None

        @sa.event.listens_for(engine.sync_engine, "begin")
        def begin(connection: Connection) -> None:
            connection.exec_driver_sql("BEGIN IMMEDIATE")

    try:
        async with engine.begin() as connection:
            return [await connection.run_sync(step) for step in steps]
    finally:
        await engine.dispose()


async def make_store(url: str) -> None:
    async with SQLAuthorizer(url) as authorizer:
        await authorizer.add_identity(Identity("alice", keys=[("chat", "alice")]))


def test_migrated_tables_are_those_of_the_code(sql_url: str) -> None:
    def shape(connection: Connection) -> dict[str, list[tuple[str, str, bool]]]:
        inspector = sa.inspect(connection)
        return {
            name: [
                (column["name"], str(column["type"].__visit_name__).upper(), column["nullable"])
                for column in inspector.get_columns(name)
            ]
            for name in sorted(inspector.get_table_names())
        }

    def primary_keys(connection: Connection) -> dict[str, list[str]]:
        inspector = sa.inspect(connection)
        return {
            name: inspector.get_pk_constraint(name)["constrained_columns"]
            for name in inspector.get_table_names()
        }

    def by_metadata(connection: Connection) -> Any:
        schema.metadata.drop_all(connection)
        assert shape(connection) == {}
        schema.metadata.create_all(connection)
        return shape(connection), primary_keys(connection)

    asyncio.run(make_store(sql_url))
    migrated, keys, made = asyncio.run(with_connection(sql_url, shape, primary_keys, by_metadata))
    assert (migrated, keys) == made
    assert set(migrated) == {"pb_attempt", "pb_identity", "pb_key", "pb_schema", "pb_setting"}


def nickname(connection: Connection) -> None:
    connection.exec_driver_sql("ALTER TABLE pb_identity ADD COLUMN nickname TEXT")
    connection.exec_driver_sql("UPDATE pb_identity SET nickname = name")


def broken(connection: Connection) -> None:
    connection.exec_driver_sql("CREATE TABLE pb_half (done INTEGER)")
    raise RuntimeError("a migration that fails")


def test_a_later_migration_is_applied_once(sql_url: str) -> None:
    asyncio.run(make_store(sql_url))
    later = [*schema.MIGRATIONS, nickname]

    def migrate(connection: Connection) -> int:
        schema.migrate(connection, later)
        return schema.schema_version(connection)

    def nicknames(connection: Connection) -> list[str]:
        return [str(row[0]) for row in connection.exec_driver_sql("SELECT nickname FROM pb_identity")]

    assert asyncio.run(with_connection(sql_url, schema.schema_version, migrate, migrate, nicknames)) == [
        len(schema.MIGRATIONS),
        len(later),
        len(later),
        ["alice"],
    ]

    # ... and the library of today does not touch a store of tomorrow.
    async def open_it() -> None:
        async with SQLAuthorizer(sql_url) as authorizer:
            with pytest.raises(
                StoreError, match="schema version 3, this library knows versions up to 2: upgrade the library"
            ):
                await authorizer.get_identity("alice")

    asyncio.run(open_it())


def test_a_failing_migration_leaves_nothing(sql_url: str) -> None:
    asyncio.run(make_store(sql_url))

    def migrate(connection: Connection) -> None:
        schema.migrate(connection, [*schema.MIGRATIONS, nickname, broken])

    def tables(connection: Connection) -> tuple[int, bool, int]:
        inspector = sa.inspect(connection)
        columns = len(inspector.get_columns("pb_identity"))
        return schema.schema_version(connection), inspector.has_table("pb_half"), columns

    with pytest.raises(RuntimeError, match="a migration that fails"):
        asyncio.run(with_connection(sql_url, migrate))
    assert asyncio.run(with_connection(sql_url, tables)) == [(len(schema.MIGRATIONS), False, 4)]


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        ("UPDATE pb_identity SET verifier = 'plain text'", "an identity's secrets are damaged"),
        ("UPDATE pb_identity SET legacy_digest = 'abc'", "an identity's secrets are damaged"),
        ("UPDATE pb_setting SET value = 'x'", "settings are damaged"),
        ("DELETE FROM pb_setting", "settings are damaged"),
        ("DELETE FROM pb_schema", "pb_schema is empty"),
    ],
)
def test_damage_is_told(sql_url: str, damage: str, message: str) -> None:
    asyncio.run(make_store(sql_url))
    asyncio.run(with_connection(sql_url, lambda connection: connection.exec_driver_sql(damage) and None))

    async def check() -> None:
        async with SQLAuthorizer(sql_url) as authorizer:
            with pytest.raises(StoreError, match=message) as caught:
                await authorizer.get_identity("alice")
            assert "plain text" not in str(caught.value)

    asyncio.run(check())


# ------------------------------------------------------------ SQLite's own troubles


def test_sqlite_waits_for_a_lock_and_then_says_busy(sqlite_url: str, tmp_path: Path) -> None:
    async def check() -> None:
        async with SQLAuthorizer(sqlite_url, busy_timeout=0.05) as authorizer:
            await authorizer.add_identity(Identity("alice"))
            other = sqlite3.connect(tmp_path / "identities.db", isolation_level=None)
            try:
                other.execute("BEGIN IMMEDIATE")
                with pytest.raises(
                    StoreBusy, match=r"locked by another process for 0\.05 s \(busy_timeout\)"
                ):
                    await authorizer.disable("alice")
                # A reader does not block others.
                assert await authorizer.get_identity("alice") == Identity("alice")
                other.execute("COMMIT")
            finally:
                other.close()
            await authorizer.disable("alice")

    asyncio.run(check())


def test_sqlite_that_cannot_be_opened_in_peace_says_busy(sqlite_url: str, tmp_path: Path) -> None:
    other = sqlite3.connect(tmp_path / "identities.db", isolation_level=None)
    other.execute("BEGIN EXCLUSIVE")

    async def check() -> None:
        async with SQLAuthorizer(sqlite_url, busy_timeout=0.05) as authorizer:
            with pytest.raises(StoreBusy):
                await authorizer.get_identity("alice")
            other.execute("ROLLBACK")
            assert await authorizer.get_identity("alice") is None  # the next attempt is a fresh one

    try:
        asyncio.run(check())
    finally:
        other.close()


def test_sqlite_full(sqlite_url: str) -> None:
    async def check() -> None:
        async with SQLAuthorizer(sqlite_url) as authorizer:
            await authorizer.add_identity(Identity("alice"))
            engine = authorizer._store.database.engine
            assert engine is not None
            async with engine.connect() as connection:
                # The limit is the connection's; the pool gives this same one out again.
                pages = (await connection.exec_driver_sql("PRAGMA page_count")).scalar_one()
                await connection.exec_driver_sql(f"PRAGMA max_page_count={pages}")

            async def fill() -> None:
                for number in range(1000):
                    keys = [("service" * 30, f"{number}-{serial}") for serial in range(50)]
                    await authorizer.add_identity(Identity(f"user{number}", keys=keys))

            with pytest.raises(StoreFull, match="no room left"):
                await fill()
            # All or nothing: no user has half of the keys.
            assert {len(identity.keys) async for identity in authorizer.list()} <= {0, 50}
            await authorizer.remove_identity("alice")

    asyncio.run(check())


def test_sqlite_file_is_private_and_in_wal_mode(sqlite_url: str, tmp_path: Path) -> None:
    async def check() -> None:
        async with SQLAuthorizer(sqlite_url) as authorizer:
            await authorizer.add_identity(Identity("alice"))
            modes = {path.name: path.stat().st_mode & 0o777 for path in tmp_path.iterdir()}
            assert modes["identities.db"] == 0o600
            assert "identities.db-wal" in modes
            assert set(modes.values()) == {0o600}

    umask = os.umask(0o022)
    try:
        asyncio.run(check())
    finally:
        os.umask(umask)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["identities.db"]


def test_sqlite_where_there_is_no_directory(tmp_path: Path) -> None:
    async def check() -> None:
        async with SQLAuthorizer(f"sqlite:///{tmp_path}/missing/identities.db") as authorizer:
            with pytest.raises(StoreError, match="No such file or directory"):
                await authorizer.get_identity("alice")

    asyncio.run(check())


def test_a_file_that_is_no_database(tmp_path: Path) -> None:
    (tmp_path / "identities.db").write_bytes(b"this is not SQLite's\n" * 100)

    async def check() -> None:
        async with SQLAuthorizer(f"sqlite:///{tmp_path}/identities.db") as authorizer:
            with pytest.raises(StoreError, match="not a database"):
                await authorizer.get_identity("alice")

    asyncio.run(check())


# ------------------------------------------------------------ PostgreSQL's own troubles


def test_postgres_waits_for_a_lock_and_then_says_busy(postgres_url: str, postgres_server: str) -> None:
    async def check() -> None:
        async with SQLAuthorizer(postgres_url, busy_timeout=1) as authorizer:
            await authorizer.add_identity(Identity("alice"))
            other = await asyncpg.connect(
                host=postgres_server.removeprefix("host="),
                user="postgres",
                password=postgres.PASSWORD,
                database=sa.make_url(postgres_url).database,
            )
            try:
                async with other.transaction():
                    await other.execute("SELECT * FROM pb_identity FOR UPDATE")
                    for attempt in (authorizer.disable("alice"), authorizer.grant("alice", "chat")):
                        with pytest.raises(StoreBusy, match="55P03"):
                            await attempt
                    assert await authorizer.get_identity("alice") == Identity("alice")
                await authorizer.disable("alice")

                # The server ends our connections (as in a restart): the next call opens another.
                await other.execute(
                    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                    " WHERE datname = current_database() AND pid <> pg_backend_pid()"
                )
                assert await authorizer.get_identity("alice") == Identity("alice", disabled=True)
            finally:
                await other.close()

    asyncio.run(check())


def test_postgres_that_is_not_there_or_says_no(postgres_url: str, postgres_server: str) -> None:
    secret = "the wrong one"

    async def complaint(url: str) -> str:
        async with SQLAuthorizer(url) as authorizer:
            with pytest.raises(StoreError) as caught:
                await authorizer.get_identity("alice")
            assert secret not in repr(caught.value)
            assert secret not in repr(authorizer)
            return str(caught.value)

    database = sa.make_url(postgres_url).database
    assert database is not None
    wrong = postgres.url(postgres_server, database, password=secret)
    assert "(28P01)" in asyncio.run(complaint(wrong))
    assert "(3D000)" in asyncio.run(complaint(postgres.url(postgres_server, "missing")))
    assert "No such file" in asyncio.run(complaint("postgresql://postgres@/x?host=/nonexistent"))
    assert "Connect call failed" in asyncio.run(complaint("postgresql://postgres@127.0.0.1:1/x"))


# ------------------------------------------------------------ urls and extras


@pytest.mark.parametrize("url", ["sqlite://", "sqlite:///:memory:", "sqlite+aiosqlite://"])
def test_sqlite_in_memory_is_refused(url: str) -> None:
    with pytest.raises(ValueError, match="store url: SQLite needs a file"):
        SQLAuthorizer(url)


@pytest.mark.parametrize("url", ["mysql://user:secret@host/db", "sqlite", "secret", "", "postgresql//secret"])
def test_other_urls_are_refused_without_showing_them(url: str) -> None:
    with pytest.raises(ValueError, match=r"sqlite:///") as caught:
        SQLAuthorizer(url)
    assert "secret" not in str(caught.value)


def test_arguments_are_checked_when_it_is_made(sqlite_url: str) -> None:
    with pytest.raises(ValueError, match="iterations"):
        SQLAuthorizer(sqlite_url, iterations=1)
    with pytest.raises(TypeError, match="iterations"):
        SQLAuthorizer(sqlite_url, iterations="many")  # type: ignore[arg-type]


def test_urls() -> None:
    plain = SQLAuthorizer("postgresql://user:secret@host:5433/db?sslmode=require")
    assert repr(plain) == "<SQLAuthorizer postgresql://user:***@host:5433/db>"
    assert plain._store.database.url.query == {"ssl": "require"}
    assert plain._store.database.url.drivername == "postgresql+asyncpg"
    assert repr(SQLAuthorizer("sqlite:///relative.db")) == "<SQLAuthorizer sqlite:///relative.db>"


def child(code: str) -> str:
    """Run code in a fresh interpreter; return its output."""
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code],
        env={**os.environ, "PYTHONPATH": source_path()},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_importing_cred_imports_no_heavy_library() -> None:
    heavy = ("sqlalchemy", "aiosqlite", "asyncpg", "scramp", "asn1crypto")
    printed = child(f"import sys, perspective_broker.cred; print([m for m in {heavy!r} if m in sys.modules])")
    assert printed == "[]\n"


@pytest.mark.parametrize(
    ("missing", "url", "extra"),
    [
        ("sqlalchemy", "sqlite:///x.db", "sql"),
        ("aiosqlite", "sqlite:///x.db", "sql"),
        ("asyncpg", "postgresql://host/db", "postgres"),
    ],
)
def test_a_missing_extra_is_named(missing: str, url: str, extra: str) -> None:
    # None in sys.modules is how Python itself spells "cannot be imported".
    code = f"""
import sys
sys.modules[{missing!r}] = None
from perspective_broker.cred import MissingExtra, SQLAuthorizer
try:
    SQLAuthorizer({url!r})
except MissingExtra as error:
    print(error)
"""
    assert child(code) == (
        f'SQLAuthorizer needs {missing}; install it with: pip install "perspective-broker[{extra}]"\n'
    )
    assert issubclass(MissingExtra, ImportError)
