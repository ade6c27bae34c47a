"""Failed logins are counted in the store: guessing over several programs costs what it costs over one."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator
from typing import Any

import pytest

import perspective_broker as pb
from perspective_broker.cred import Identity, SQLAuthorizer
from perspective_broker.cred.admission import LoginThrottle
from perspective_broker.cred.sql import schema
from perspective_broker.cred.verifiers import ScramVerifier
from tests.cred.conftest import ITERATIONS
from tests.cred.logins import Chat, serving
from tests.cred.test_sql import with_connection

SOURCE = "192.0.2.1"


@contextlib.asynccontextmanager
async def programs(url: str, count: int = 3) -> AsyncIterator[list[SQLAuthorizer]]:
    """Authorizers of one store, as of programs that share it."""
    async with contextlib.AsyncExitStack() as stack:
        yield [
            await stack.enter_async_context(SQLAuthorizer(url, iterations=ITERATIONS)) for _ in range(count)
        ]


async def execute(url: str, statement: str) -> Any:
    """Return the first value of a statement, past the authorizers."""
    (found,) = await with_connection(
        url,
        lambda connection: (
            result.scalar() if (result := connection.exec_driver_sql(statement)).returns_rows else None
        ),
    )
    return found


async def rows(url: str) -> int:
    return int(await execute(url, "SELECT count(*) FROM pb_attempt"))


async def guess(authorizer: SQLAuthorizer, name: str = "alice") -> float:
    """Make an attempt with a wrong password as a throttle does; return the delay before it is checked."""
    now = asyncio.get_running_loop().time()
    await authorizer.login_record(name)
    counted = await authorizer.record_failure(name, now)
    delay = await authorizer.delay_for(name, now)
    await authorizer.record_refusal(name, None, now, counted=counted)
    return delay


async def test_guessing_over_three_programs_costs_what_it_costs_over_one(sql_url: str) -> None:
    async with programs(sql_url) as shared:
        for number, name in enumerate(("alice", "bob", "nobody")):
            over_three = [await guess(shared[(n + number) % 3], name) for n in range(9)]
            assert over_three == [0, 0, 0, 1, 2, 4, 8, 16, 32]
        assert [await guess(shared[0], "carol") for _ in range(9)] == over_three
        assert await rows(sql_url) == 4


async def test_attempts_under_way_are_counted_by_their_own_program(sql_url: str) -> None:
    async with programs(sql_url) as shared:
        now = asyncio.get_running_loop().time()
        await shared[0].login_record("alice")  # makes the tables
        for one in shared * 2:
            assert await one.record_failure("alice", now) is False
        assert await rows(sql_url) == 0
        assert [await one.delay_for("alice", now) for one in shared] == [0, 0, 0]
        for one in shared * 2:
            await one.record_refusal("alice", None, now, counted=False)
        assert await shared[0].record_failure("alice", now) is True  # from now on before it is checked
        assert await shared[0].delay_for("alice", now) == 8.0  # the seventh
        assert await guess(shared[1]) == 16.0


async def test_a_login_that_succeeds_at_once_writes_nothing(sql_url: str) -> None:
    async with programs(sql_url, 1) as (known,):
        await known.create("alice", "secret")
        throttle = LoginThrottle(known)
        for _ in range(3):
            assert await throttle.check("alice", SOURCE, lambda: True)
        assert await rows(sql_url) == 0
        assert not await throttle.check("alice", SOURCE, lambda: False)
        assert await rows(sql_url) == 2  # the name's and the source's
        assert await throttle.check("alice", SOURCE, lambda: True)
        assert await rows(sql_url) == 1  # a login from there forgives no other


async def test_a_login_in_one_program_forgives_in_all(sql_url: str) -> None:
    async with programs(sql_url, 2) as (here, there):
        for _ in range(3):
            await guess(here)
        await there.login_record("alice")
        await there.record_failure("alice", asyncio.get_running_loop().time())
        await there.record_success("alice")
        assert await rows(sql_url) == 0
        assert [await guess(there) for _ in range(4)] == [0, 0, 0, 1]


async def test_a_source_is_limited_in_all_programs_together(sql_url: str) -> None:
    async with programs(sql_url) as shared:
        throttles = [LoginThrottle(one) for one in shared]
        checked = 0
        for n in range(60):
            with contextlib.suppress(pb.Unavailable):
                await throttles[n % 3].check(f"name {n}", SOURCE, lambda: False)
                checked += 1
        assert 32 <= checked <= 32 + len(shared) - 1  # each learns it with its own last failure
        for throttle in throttles:
            with pytest.raises(pb.Unavailable):
                throttle.check_source(SOURCE)
            throttle.check_source("192.0.2.2")


@pytest.mark.parametrize("kind", ["name", "source"])
async def test_time_forgives_by_the_clock_of_the_database(sql_url: str, kind: str) -> None:
    async with programs(sql_url, 1) as (known,):
        now = asyncio.get_running_loop().time()
        left = 0.0
        for _ in range(5):
            await known.record_failure("alice", now)
            left = await known.record_refusal("alice", SOURCE, now, counted=True)
        assert 4.0 < left <= 5.0
        await execute(sql_url, "UPDATE pb_attempt SET last = last - 60, failures = 5")
        assert (
            3.9 < await known.record_refusal("bob", SOURCE, now, counted=True) <= 4.0
        )  # of 5, and 2 forgiven
        await execute(sql_url, "UPDATE pb_attempt SET last = last - 901, failures = 5")
    async with programs(sql_url, 1) as (again,):
        assert [await guess(again) for _ in range(4)] == [0, 0, 0, 1]


async def test_what_is_forgiven_is_removed(sql_url: str) -> None:
    async with programs(sql_url, 1) as (known,):
        await guess(known, "alice")
    await execute(sql_url, "UPDATE pb_attempt SET last = last - 901")
    async with programs(sql_url, 1) as (known,):
        await guess(known, "bob")
        assert await rows(sql_url) == 1


async def test_an_old_store_is_brought_up_to_date_and_keeps_its_users(sql_url: str) -> None:
    """A store of the first version, in which attempts were not counted."""
    async with programs(sql_url, 1) as (known,):
        await known.create("alice", "secret")
        await known.grant("alice", "chat")
    await execute(sql_url, "DROP TABLE pb_attempt")
    await execute(sql_url, "UPDATE pb_schema SET version = 1")
    async with programs(sql_url, 2) as (known, other):
        found, _ = await known.login_record("alice")
        assert found is not None
        assert found.verify_password("secret")
        for _ in range(3):
            await guess(known)
        assert await guess(other) == 1.0
    assert await with_connection(sql_url, schema.schema_version) == [len(schema.MIGRATIONS)]


async def test_names_do_not_show_in_the_store(sql_url: str) -> None:
    async with programs(sql_url, 1) as (known,):
        await guess(known, "hunter2")
    found = await execute(sql_url, "SELECT fingerprint FROM pb_attempt")
    assert len(bytes(found)) == 16
    assert b"hunter2" not in bytes(found)


# -- a storm


async def test_a_storm_of_logins_waits_its_turn(sql_url: str, caplog: pytest.LogCaptureFixture) -> None:
    """Many times more than there are connections to the database."""
    async with SQLAuthorizer(sql_url, iterations=ITERATIONS, busy_timeout=2) as known:
        verifier = ScramVerifier.from_password("secret", iterations=ITERATIONS)
        users = [f"user{number}" for number in range(120)]
        for name in users:
            await known.add_identity(Identity(name, verifier=verifier, keys=[("chat", name)]))
        app = pb.Application("test", known)
        app.add_service(Chat())
        async with serving(app) as (_, connect):
            clients = await asyncio.gather(*(connect(name, "secret", service="chat") for name in users))
            assert [await client.call("name") for client in clients] == users
            for client in clients:
                await client.connection.close()
    assert [record for record in caplog.records if record.levelno >= logging.WARNING] == []
    assert await rows(sql_url) == 0


async def test_identities_are_read_as_they_were_written(sql_url: str) -> None:
    keys = [("chat", "alice"), ("chat", "guest"), ("mail", "alice")]
    async with programs(sql_url, 1) as (known,):
        made = Identity("alice", keys=keys)
        made.set_password("secret", legacy=True, iterations=ITERATIONS)
        await known.add_identity(made)
        await known.add_identity(Identity("blank", disabled=True))
        assert await known.get_identity("alice") == made
        assert await known.get_identity("blank") == Identity("blank", disabled=True)
        secrets = await known.get_secrets("alice")
        assert secrets is not None
        assert (secrets.verifier, secrets.legacy_digest) == (made.verifier, made.legacy_digest)
        assert secrets.keys == frozenset()
