"""Authorizers of all kinds, each on a fresh store."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Callable, Iterator
from pathlib import Path

import asyncpg
import pytest

from perspective_broker.cred import Authorizer, MemoryAuthorizer, SQLAuthorizer
from tests.cred import postgres

#: The fewest that SCRAM allows: these tests are not about the price of a guess.
ITERATIONS = 4096

MakeAuthorizer = Callable[[], Authorizer]
_serial = itertools.count()


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[str]:
    """A running PostgreSQL, see tests.cred.postgres."""
    with postgres.running() as server:
        yield server


@pytest.fixture
def sqlite_url(tmp_path: Path) -> str:
    """The url of a SQLite store that does not exist yet."""
    return f"sqlite:///{tmp_path}/identities.db"


@pytest.fixture
def postgres_url(postgres_server: str) -> str:
    """The url of a fresh, empty PostgreSQL database."""
    database = f"pb_test_{next(_serial)}"

    async def create() -> None:
        connection = await asyncpg.connect(
            host=postgres_server.removeprefix("host="), user="postgres", password=postgres.PASSWORD
        )
        try:
            await connection.execute(f"CREATE DATABASE {database}")
        finally:
            await connection.close()

    asyncio.run(create())
    return postgres.url(postgres_server, database)


@pytest.fixture(params=["sqlite", "postgres"])
def sql_url(request: pytest.FixtureRequest) -> str:
    """The url of a fresh store, of each kind of database in turn."""
    return str(request.getfixturevalue(f"{request.param}_url"))


@pytest.fixture(params=["memory", "sqlite", "postgres"])
def make_authorizer(request: pytest.FixtureRequest) -> MakeAuthorizer:
    """Make the authorizer under test: on one and the same fresh store, whenever it is a database."""
    if request.param == "memory":
        return lambda: MemoryAuthorizer(iterations=ITERATIONS)
    url = str(request.getfixturevalue(f"{request.param}_url"))
    return lambda: SQLAuthorizer(url, iterations=ITERATIONS)
