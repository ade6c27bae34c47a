"""Several urls of one service: the next one serves where one refuses, drains or is gone."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

import perspective_broker as pb
from tests.aio.desk import until

#: Nobody waits for a test that needs the back-off.
NEVER = pb.Backoff(base=3600, cap=3600)


class Named(pb.Root):
    def __init__(self, name: str) -> None:
        self.name = name
        self.gate = asyncio.Event()

    def remote_name(self) -> str:
        return self.name

    async def remote_wait(self) -> str:
        await self.gate.wait()
        return self.name


def refusing() -> str:
    """Return a url at which nobody listens."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        return f"tcp://127.0.0.1:{taken.getsockname()[1]}"


@asynccontextmanager
async def hanging_up() -> AsyncIterator[tuple[str, list[int]]]:
    """Listen, and hang up on everybody; yield the url, and a list that grows with each."""
    came: list[int] = []

    def hang_up(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        came.append(len(came))
        writer.close()

    server = await asyncio.start_server(hang_up, "127.0.0.1", 0)
    async with server:
        yield f"tcp://127.0.0.1:{server.sockets[0].getsockname()[1]}", came


async def test_the_first_that_serves_is_taken() -> None:
    async with pb.serve(Named("b"), "tcp://127.0.0.1:0") as server:
        async with pb.connect([refusing(), *server.urls]) as root:
            assert await root.call("name") == "b"
        async with hanging_up() as (url, came), pb.connect((url, *server.urls)) as root:
            assert await root.call("name") == "b"
            assert len(came) == 1


async def test_the_error_says_what_became_of_all() -> None:
    first, second = refusing(), refusing()
    async with hanging_up() as (third, _):
        with pytest.raises((OSError, pb.ConnectionLost)) as refused:
            await pb.connect([first, third, second])
    assert [note.split(": ")[0] for note in refused.value.__notes__] == [first, third]
    assert "ConnectionRefusedError" in refused.value.__notes__[0]


async def test_each_has_its_share_of_the_time() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:  # accepts, and says nothing
        url = f"tcp://127.0.0.1:{silent.getsockname()[1]}"
        async with (
            pb.serve(Named("b"), "tcp://127.0.0.1:0") as server,
            pb.connect([url, *server.urls], timeout=1) as root,
        ):
            assert await root.call("name") == "b"


async def test_a_refused_login_is_not_tried_elsewhere() -> None:
    authorizer = pb.MemoryAuthorizer(iterations=4096)
    application = pb.Application("app", authorizer)
    application.add_service(pb.Service("service", pb.Perspective))
    await authorizer.create("alice", "right")
    await authorizer.grant("alice", "service")
    async with (
        pb.serve(application, "tcp://127.0.0.1:0") as server,
        hanging_up() as (other, came),
    ):
        with pytest.raises(pb.LoginFailed):
            await pb.connect([*server.urls, other], username="alice", password="wrong", service="service")
        assert came == []
        async with pb.connect(
            [other, *server.urls], username="alice", password="right", service="service"
        ) as alice:
            assert alice is not None


async def test_a_client_that_loses_its_server_is_at_the_next_one_at_once() -> None:
    async with (
        pb.serve(Named("a"), "tcp://127.0.0.1:0") as a,
        pb.serve(Named("b"), "tcp://127.0.0.1:0") as b,
        pb.connect([*a.urls, *b.urls], reconnect=NEVER) as root,
    ):
        assert repr(root) == f"<ReconnectingReference to {a.urls[0]} or {b.urls[0]}, connected>"
        assert await root.call("name") == "a"
        (connection,) = a.connections
        connection.end()
        await until(lambda: not a.connections)
        assert await root.call("name") == "b"


async def test_a_client_whose_server_drains_makes_new_calls_at_the_next_one() -> None:
    named = Named("a")
    async with (
        pb.serve(named, "tcp://127.0.0.1:0") as a,
        pb.serve(Named("b"), "tcp://127.0.0.1:0") as b,
        pb.connect([*a.urls, *b.urls], reconnect=NEVER) as root,
    ):
        waits = root.call("wait")
        await root.call("name")
        closing = asyncio.create_task(a.close(drain=60))
        await until(lambda: len(b.connections) == 1)
        assert await root.call("name") == "b"
        named.gate.set()
        assert await waits == "a"
        await closing


async def test_one_that_refuses_is_not_asked_again_at_once() -> None:
    async with (
        hanging_up() as (url, came),
        pb.serve(Named("b"), "tcp://127.0.0.1:0") as b,
        pb.serve(Named("c"), "tcp://127.0.0.1:0") as c,
        pb.connect([url, *b.urls, *c.urls], reconnect=NEVER) as root,
    ):
        assert await root.call("name") == "b"
        for server, after in ((b, "c"), (c, "b")):
            server.connections[0].end()
            await until(lambda: not server.connections)  # noqa: B023
            assert await root.call("name") == after
        assert len(came) == 1


async def test_servers_that_hang_up_at_once_are_not_stormed() -> None:
    async with (
        pb.serve(Named("a"), "tcp://127.0.0.1:0") as a,
        pb.serve(Named("b"), "tcp://127.0.0.1:0") as b,
        pb.connect([*a.urls, *b.urls], reconnect=NEVER) as root,
    ):
        for server in (a, b):
            await root.call("name")
            server.connections[0].end()
            await until(lambda: not server.connections)  # noqa: B023
        assert not root.connected  # it waits for its back-off now
        assert (a.statistics().accepted, b.statistics().accepted) == (1, 1)


async def test_mistakes_are_told_at_once() -> None:
    with pytest.raises(ValueError, match="at least one url"):
        pb.connect([])
    with pytest.raises(ValueError, match="names no host"):
        pb.connect(["tcp://127.0.0.1:1", "tcp://:1"])
    with pytest.raises(TypeError):
        pb.connect(["tcp://127.0.0.1:1", 5])  # type: ignore[list-item]
    with pytest.raises(ValueError, match="nothing encrypts"):
        pb.connect(["tcp://127.0.0.1:1", "memory:x"], tls=pb.ClientTLS())
