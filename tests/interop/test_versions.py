"""Versions of Twisted between those that all the other tests run: a smoke test of each, both ways."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest

import perspective_broker as pb
from tests.interop.expectations import EXPECTED
from tests.interop.ours import REGISTRY, ContractRoot
from tests.interop.peers.contract import ECHO_VALUES, show
from tests.interop.rig import run_client, twisted_server
from tests.interop.twisted_env import TwistedEnv, of_2022, of_2024

#: Values, errors, calls back, references, order, and a thousand calls at once.
SCENARIOS = ("echo_all", "kwargs", "order", "callback", "references_home", "thousand_in_flight")

BETWEEN = pytest.mark.parametrize("env", [of_2022, of_2024])


@BETWEEN
@pytest.mark.seconds(600)  # the environment is made when it is first asked for
async def test_its_client_at_our_server(env: Callable[[], TwistedEnv]) -> None:
    twisted = await asyncio.to_thread(env)
    assert twisted.twisted.startswith(f"{int(twisted.name) - 2000}.")
    async with pb.serve(ContractRoot(), "tcp://127.0.0.1:0", registry=REGISTRY) as server:
        run = await asyncio.to_thread(run_client, twisted, server.urls[0], *SCENARIOS)
        assert run.outcomes == {name: EXPECTED[name] for name in SCENARIOS}


@BETWEEN
@pytest.mark.seconds(600)
async def test_our_client_at_its_server(env: Callable[[], TwistedEnv]) -> None:
    twisted = await asyncio.to_thread(env)
    with twisted_server(twisted) as running:
        async with pb.connect(running.tcp, registry=REGISTRY) as root:
            assert root.connection.dialect == "pb"
            for _, value in ECHO_VALUES:
                assert show(await root.call("echo", value)) == show(value)
            with pytest.raises(pb.NoSuchMethod):
                await root.call("no_such_method")
