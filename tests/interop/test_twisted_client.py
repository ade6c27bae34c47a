"""A Twisted client, in a process of its own, asks our server: it must see what Twisted's server would show it.

Ours runs in the test's own event loop, so that what it keeps, and what it logs, can be looked at. Not here until
the library has logins: the scenarios of the portal.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import signal
import tempfile
from collections.abc import AsyncIterator, Iterator, Sequence

import pytest

import perspective_broker as pb
from tests.interop.expectations import (
    EXPECTED,
    EXPECTED_DATES,
    EXPECTED_DEATH,
    EXPECTED_ECHO_DATES,
    EXPECTED_ECHOED_HOME,
    EXPECTED_KILL,
    EXPECTED_TRACEBACK,
    Outcomes,
)
from tests.interop.ours import REGISTRY, ContractRoot, Desk
from tests.interop.rig import KILLED, our_server, run_client
from tests.interop.twisted_env import TwistedEnv, today

#: The scenarios that any client can run with our server.
ALL = EXPECTED | EXPECTED_ECHOED_HOME | EXPECTED_DATES

#: Errors that our scenarios provoke in the client itself, which it logs; any other is a surprise of our making.
LOGGED_BY_THE_CLIENT = {"callback": 2}


@contextlib.asynccontextmanager
async def serving(
    url: str, *, unsafe_tracebacks: bool = False, dialects: Sequence[str] | None = None
) -> AsyncIterator[tuple[str, ContractRoot]]:
    """Our server at a url, and its root; when it is left, everything that a client began here has ended."""
    root = ContractRoot()
    async with pb.serve(
        root, url, registry=REGISTRY, unsafe_tracebacks=unsafe_tracebacks, dialects=dialects
    ) as server:
        yield server.urls[0], root
    for desk in root.desks:
        _is_empty(desk)


def _is_empty(desk: Desk) -> None:
    statistics = desk.connection.statistics()
    assert statistics.phase == "closed"
    assert (statistics.calls_in, statistics.calls_waiting, statistics.calls_out) == (0, 0, 0)
    assert statistics.exported == 0
    assert desk.hanging == 0, "a method outlived its caller"


async def ask(env: TwistedEnv, url: str, expected: dict[str, Outcomes], status: int = 0) -> None:
    """Run the scenarios of a Twisted client and compare what it saw."""
    run = await asyncio.to_thread(run_client, env, url, *expected, status=status)
    assert run.outcomes == expected
    assert run.log.count("Unhandled") == sum(LOGGED_BY_THE_CLIENT.get(name, 0) for name in expected), run.log


@pytest.fixture(params=["tcp", "unix"])
def url(request: pytest.FixtureRequest) -> Iterator[str]:
    """Where to serve."""
    if request.param == "tcp":
        yield "tcp://127.0.0.1:0"
    else:
        # Not the test's own directory, which may be too deep for the 100 bytes of a Unix socket's path.
        with tempfile.TemporaryDirectory(prefix="pb-") as directory:
            yield f"unix://{directory}/socket"


async def test_the_contract(client_env: TwistedEnv, url: str, caplog: pytest.LogCaptureFixture) -> None:
    scenarios = ALL | (EXPECTED_ECHO_DATES if client_env.sends_dates else {})
    async with serving(url) as (where, root):
        await ask(client_env, where, scenarios)
    assert {desk.connection.dialect for desk in root.desks} == {"pb"}
    assert [record for record in caplog.records if record.name == "asyncio"] == []
    # Scenarios that ended with a look at what both had given away saw that this was nothing; here is what we were
    # given, at that moment.
    looked = [desk.statistics.imported for desk in root.desks if desk.statistics is not None]
    assert len(looked) >= 3
    assert set(looked) == {0}


async def test_the_dialect_without_words(client_env: TwistedEnv) -> None:
    some = {name: EXPECTED[name] for name in ("echo_all", "errors", "references_home")}
    async with serving("tcp://127.0.0.1:0", dialects=["none"]) as (where, root):
        await ask(client_env, where, some)
    assert {desk.connection.dialect for desk in root.desks} == {"none"}


async def test_only_defects_are_logged(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.DEBUG, "perspective_broker"):
        async with serving("tcp://127.0.0.1:0") as (where, _):
            await ask(today(), where, {"errors": EXPECTED["errors"]})
    logged = [
        (record.levelno, record.exc_info[0] if record.exc_info else None)
        for record in caplog.records
        if record.levelno >= logging.WARNING
    ]
    # Nothing of ContractError, CarriedError, the method that does not exist, and the arguments that do not fit.
    assert logged == [(logging.ERROR, ValueError)] * 5


async def test_tracebacks_cross_where_allowed(client_env: TwistedEnv) -> None:
    async with serving("tcp://127.0.0.1:0", unsafe_tracebacks=True) as (where, _):
        await ask(client_env, where, EXPECTED_TRACEBACK)


async def test_a_client_killed_in_mid_call(client_env: TwistedEnv, url: str) -> None:
    async with serving(url) as (where, root):
        await ask(client_env, where, EXPECTED_DEATH, status=KILLED)
        (killed,) = root.desks
        await killed.connection.wait_closed()
        _is_empty(killed)
        with pytest.raises(pb.DeadReferenceError):
            killed.held.call("call", 1)
        await ask(client_env, where, {"one_way": EXPECTED["one_way"]})


def test_our_server_killed_in_mid_call(client_env: TwistedEnv) -> None:
    with our_server() as running:
        assert run_client(client_env, running.tcp, *EXPECTED_KILL).outcomes == EXPECTED_KILL
        assert running.wait() == -signal.SIGKILL
