"""The rig itself: Twisted against Twisted, both versions crossed, must keep the contract.

Our own tests against the same peers may rely on these results; a change in a version of Twisted shows here.
"""

from __future__ import annotations

import signal

import pytest

from tests.interop.expectations import (
    EXPECTED,
    EXPECTED_DATES,
    EXPECTED_DEATH,
    EXPECTED_ECHO_DATES,
    EXPECTED_KILL,
    EXPECTED_PORTAL,
    EXPECTED_TRACEBACK,
)
from tests.interop.rig import KILLED, PeerError, ServerProcess, run_client, twisted_server
from tests.interop.twisted_env import TwistedEnv


def test_the_versions_are_what_they_say(server: ServerProcess, server_env: TwistedEnv) -> None:
    assert server.twisted == server_env.twisted
    if server_env.name == "2019":
        assert server.twisted == "19.10.0"
    else:
        assert int(server.twisted.split(".")[0]) >= 24


def test_the_contract_over_tcp(server: ServerProcess, client_env: TwistedEnv) -> None:
    assert run_client(client_env, server.tcp, *EXPECTED).outcomes == EXPECTED


def test_dates(server: ServerProcess, server_env: TwistedEnv, client_env: TwistedEnv) -> None:
    if server_env.sends_dates:
        assert run_client(client_env, server.tcp, *EXPECTED_DATES).outcomes == EXPECTED_DATES
        if client_env.sends_dates:
            assert run_client(client_env, server.tcp, *EXPECTED_ECHO_DATES).outcomes == EXPECTED_ECHO_DATES
    else:
        # Not our bug, but it must not surprise the reader of a failed test with our server.
        with pytest.raises(PeerError, match="PBConnectionLost"):
            run_client(client_env, server.tcp, *EXPECTED_DATES)


def test_the_contract_over_a_unix_socket(server: ServerProcess, client_env: TwistedEnv) -> None:
    # Values, calls both ways, and an end that is not ours: nothing else knows what carries it.
    some = {name: EXPECTED[name] for name in ("echo_all", "callback", "thousand_in_flight", "hang_up")}
    assert run_client(client_env, server.unix, *some).outcomes == some


def test_tracebacks_cross_where_allowed(server_env: TwistedEnv, other_env: TwistedEnv) -> None:
    with twisted_server(server_env, unsafe_tracebacks=True) as running:
        assert run_client(other_env, running.tcp, *EXPECTED_TRACEBACK).outcomes == EXPECTED_TRACEBACK


def test_a_server_killed_in_mid_call(server_env: TwistedEnv, other_env: TwistedEnv) -> None:
    with twisted_server(server_env) as running:
        assert run_client(other_env, running.tcp, *EXPECTED_KILL).outcomes == EXPECTED_KILL
        assert running.wait() == -signal.SIGKILL


def test_a_client_killed_in_mid_call(server: ServerProcess, other_env: TwistedEnv) -> None:
    run = run_client(other_env, server.tcp, *EXPECTED_DEATH, status=KILLED)
    assert run.outcomes == EXPECTED_DEATH
    after = {"one_way": EXPECTED["one_way"]}
    assert run_client(other_env, server.tcp, *after).outcomes == after


def test_the_portal(server_env: TwistedEnv, client_env: TwistedEnv) -> None:
    with twisted_server(server_env, portal=True) as running:
        assert run_client(client_env, running.tcp, *EXPECTED_PORTAL).outcomes == EXPECTED_PORTAL
