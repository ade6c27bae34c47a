"""Row 24: everything is under way, and then it is closed. Nothing may be left: no task, no file, no complaint."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import os
import random
import warnings
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import perspective_broker as pb
from perspective_broker.testing import ScriptedPeer, assert_no_leaks
from tests.aio.desk import turns
from tests.authority import Authority
from tests.faults.served import ITERATIONS, USERS
from tests.loops import both_loops

RUNS = 12


class Busy(pb.Perspective):
    """Everything that a method can be in the middle of."""

    async def perspective_wait(self) -> None:
        await asyncio.Event().wait()

    async def perspective_call_back(self, client: pb.RemoteReference) -> Any:
        return await client.call("wait")

    async def perspective_stream(self) -> AsyncIterator[bytes]:
        while True:
            yield bytes(10_000)

    def perspective_echo(self, value: Any) -> Any:
        return value

    def perspective_watch(self, live: Any) -> None:
        pass


class Mind(pb.Referenceable):
    async def remote_wait(self) -> None:
        await asyncio.Event().wait()


class Client:
    """Does as much as it can, until it is stopped."""

    def __init__(self, url: str, dice: random.Random, tls: pb.ClientTLS) -> None:
        self.url, self.dice = url, dice
        self.options: dict[str, Any] = {
            "username": "alice",
            "password": USERS["alice"],
            "service": "busy",
            "client": Mind(),
            "dialects": dice.choice([["pb7"], ["pb"]]),
            "limits": pb.Limits(close_seconds=1),
        }
        if url.startswith("tls"):
            self.options["tls"] = tls

    async def live(self) -> None:
        """One connection and its calls, over and over. Ends, as the test wants it, by cancellation only."""
        while True:
            with contextlib.suppress(OSError, pb.BrokerError):
                reconnect: Any = pb.Backoff(base=0.01, cap=0.02) if self.dice.random() < 0.3 else False
                async with pb.connect(self.url, reconnect=reconnect, **self.options) as me:
                    await asyncio.gather(
                        me.call("wait"),
                        me.call("wait"),
                        me.call("call_back", Mind()),
                        me.call("echo", bytes(100_000)),
                        self.read(me),
                        return_exceptions=True,
                    )
            await asyncio.sleep(0.001)

    async def read(self, me: Any) -> None:
        async for _ in me.call("stream"):
            await turns(3)


@both_loops
async def test_closing_in_the_middle_of_everything(tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    tls, trust = authority.server(), authority.trusted()
    authorizer = pb.MemoryAuthorizer(iterations=ITERATIONS)
    await authorizer.create("alice", USERS["alice"])
    await authorizer.grant("alice", "busy")
    complaints: list[Any] = []
    loop = asyncio.get_running_loop()
    loop.set_exception_handler(lambda _, context: complaints.append(context))
    dice = random.Random(24)
    with warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always")
        await asyncio.to_thread(int)  # the thread pool makes its threads
        await shut_down(authorizer, tls, trust, dice, tmp_path, 0)
        gc.collect()
        before = len(os.listdir("/proc/self/fd"))
        for run in range(1, RUNS + 1):
            await shut_down(authorizer, tls, trust, dice, tmp_path, run)
            gc.collect()
            await turns()
            assert len(os.listdir("/proc/self/fd")) == before
    assert complaints == []
    assert [warning for warning in warned if not issubclass(warning.category, DeprecationWarning)] == []


async def shut_down(
    authorizer: pb.MemoryAuthorizer,
    tls: pb.ServerTLS,
    trust: pb.ClientTLS,
    dice: random.Random,
    directory: Path,
    run: int,
) -> None:
    # Only the first run has time for all clients to be there together; a close waits for no handshake, however long.
    limits = pb.Limits(handshake_seconds=1000, close_seconds=1, connection_seconds=0.2 if run else None)
    app = pb.Application("busy", authorizer)
    service = app.add_service(pb.Service("busy", Busy))
    server = await pb.serve(
        app,
        "tcp://127.0.0.1:0",
        "tls://127.0.0.1:0",
        f"unix://{directory}/socket",
        "memory:busy",
        tls=tls,
        limits=limits,
    )
    clients = [asyncio.create_task(Client(url, dice, trust).live()) for url in server.urls * 3]
    async with contextlib.AsyncExitStack() as silent:
        for url in server.urls:  # in the middle of a handshake, TLS or not
            await silent.enter_async_context(ScriptedPeer.connect(url.replace("tls:", "tcp:")))
        for _ in range(dice.randrange(1, 40)):
            await asyncio.sleep(0.001)  # anything may be under way by then
        if not run:
            while service.attached_count < len(clients):
                await asyncio.sleep(0.001)
        accepted = server.connections
        async with asyncio.timeout(60):
            await asyncio.gather(server.close(drain=dice.choice([0, 0.01])), server.close(), server.close())
            await server.close()
        assert service.attached_count == 0
        for client in clients:
            client.cancel()
        await asyncio.wait(clients)
        assert all(client.cancelled() for client in clients)
    await assert_no_leaks(*accepted)
    await turns()
    assert [task for task in asyncio.all_tasks() if task is not asyncio.current_task()] == []
