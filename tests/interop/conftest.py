"""The peers that the tests ask for, each Twisted in turn."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from tests.interop.rig import ServerProcess, twisted_server
from tests.interop.twisted_env import TwistedEnv, of_2019, on_our_face, today

ENVS: dict[str, Callable[[], TwistedEnv]] = {"today": today, "2019": of_2019, "face": on_our_face}


@pytest.fixture(params=ENVS, scope="module")
def server_env(request: pytest.FixtureRequest) -> TwistedEnv:
    return ENVS[request.param]()


@pytest.fixture(params=ENVS)
def client_env(request: pytest.FixtureRequest) -> TwistedEnv:
    return ENVS[request.param]()


@pytest.fixture
def other_env(server_env: TwistedEnv) -> TwistedEnv:
    """The version that the server does not have, for tests that do not need every pair."""
    return of_2019() if server_env.name == "today" else today()


@pytest.fixture(scope="module")
def server(server_env: TwistedEnv) -> Iterator[ServerProcess]:
    """A Twisted server that a module's tests share: what one does to it, it does to a connection of its own."""
    with twisted_server(server_env, tcp=True, unix=True) as running:
        yield running
