"""Objects by name, wrapped objects and callbacks, across: Twisted asks ours, and ours asks Twisted's."""

from __future__ import annotations

import asyncio
import contextlib
import json
import subprocess
from collections.abc import Iterator
from typing import Any

import pytest

import perspective_broker as pb
from tests.interop.rig import SCENARIOS, STOP, peer_environment
from tests.interop.twisted_env import CHECKOUT, TwistedEnv


class Calculator:
    """Of a library that knows nothing of either."""

    def add(self, one: int, two: int = 0) -> int:
        return one + two

    async def later(self, one: int) -> int:
        await asyncio.sleep(0)
        return one

    def secret(self) -> None:
        raise AssertionError("nobody reaches this")


def hear(text: str, loud: bool = False) -> str:
    if not isinstance(text, str):
        raise pb.Error("hear takes text")
    return text.upper() if loud else text


class Lobby(pb.Root):
    def remote_listener(self) -> pb.Referenceable:
        return pb.callback(hear)


def command(env: TwistedEnv, *arguments: str) -> list[str]:
    face = ["-m", "perspective_broker.compat"] if env.on_our_face else []
    return [str(env.python), *face, "-m", "tests.interop.peers.named", *arguments]


async def test_twisted_calls_named_objects_of_ours(client_env: TwistedEnv) -> None:
    roots = {"calculator": pb.wrap(Calculator(), "add", "later"), "lobby": Lobby()}
    async with pb.serve(roots, "tcp://127.0.0.1:0") as server:
        done = await asyncio.to_thread(
            subprocess.run,
            command(client_env, "call", server.urls[0].rpartition(":")[2]),
            capture_output=True,
            text=True,
            cwd=CHECKOUT,
            env=peer_environment(client_env),
            timeout=SCENARIOS,
            check=False,
        )
    assert done.returncode == 0, done.stderr
    outcomes: dict[str, Any] = dict(json.loads(line) for line in done.stdout.splitlines())
    no_object = [outcomes.pop("no root"), outcomes.pop("nobody")]
    assert outcomes == {
        "add": 3,
        "later": 1,
        "misfit": "!builtins.TypeError",
        "not named": "!twisted.spread.flavors.NoSuchMethod",
        "hear": "X",
        "hear misfit": "!builtins.TypeError",
        "hear fails": "!twisted.spread.pb.Error: hear takes text",
        "hear otherwise": "!twisted.spread.flavors.NoSuchMethod",
    }
    for outcome in no_object:
        assert outcome.startswith("!")
        assert "calculator" not in outcome
        assert "lobby" not in outcome


@contextlib.contextmanager
def serving(env: TwistedEnv) -> Iterator[str]:
    """A Twisted server with a named object, and its url."""
    with subprocess.Popen(
        command(env, "serve"),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        cwd=CHECKOUT,
        env=peer_environment(env),
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            yield f"tcp://127.0.0.1:{int(process.stdout.readline())}"
        finally:
            process.stdin.close()
            process.wait(STOP)


async def test_ours_calls_a_named_object_of_twisted(client_env: TwistedEnv) -> None:
    with serving(client_env) as url:
        async with pb.connect(url, object="desk") as desk:
            assert await desk.call("add", 1, 2) == 3
            assert await desk.call("ask", pb.callback(hear), "hello") == "hello"
            assert await desk.call("ask", pb.callback(Calculator().later), 4) == 4
            with pytest.raises(pb.RemoteError, match="hear takes text"):
                await desk.call("ask", pb.callback(hear), 1)
        async with pb.connect(url, object="chair") as chair:
            with pytest.raises(pb.BrokerError) as caught:
                await chair.call("add", 1)
            assert "desk" not in str(caught.value)
            assert chair.connection.close_cause is None
