"""Row 22: out of file descriptors. Calls go on; new connections wait, and are accepted when there is room again."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import tempfile
import time

import pytest

import perspective_broker as pb
from tests.faults.processes import eventually, running

DESCRIPTORS = 60


@pytest.mark.parametrize("loop", ["asyncio", "uvloop"])
@pytest.mark.parametrize("scheme", ["tcp", "unix"])
async def test_calls_go_on_while_nothing_can_be_accepted(scheme: str, loop: str) -> None:
    with tempfile.TemporaryDirectory(prefix="pb-") as directory:
        url = "tcp://127.0.0.1:0" if scheme == "tcp" else f"unix://{directory}/socket"
        async with running("serve", url, "--loop", loop, descriptors=DESCRIPTORS) as server:
            (url,) = (await server.hear())["urls"]
            async with pb.connect(url) as root:
                assert await root.call("echo", 1) == 1
                began = time.monotonic()
                with contextlib.ExitStack() as sockets:
                    for _ in range(DESCRIPTORS):  # the system accepts them for the server
                        one = sockets.enter_context(
                            socket.socket(socket.AF_INET if scheme == "tcp" else socket.AF_UNIX)
                        )
                        one.setblocking(False)
                        address: str | tuple[str, int] = url.removeprefix("unix://")
                        if scheme == "tcp":
                            host, port = url.removeprefix("tcp://").split(":")
                            address = host, int(port)
                        await asyncio.get_running_loop().sock_connect(one, address)
                    for n in range(200):
                        assert await root.call("echo", n) == n
                    await eventually(lambda: "no connection can be accepted" in server.logged())
                    for n in range(200):
                        assert await root.call("echo", n) == n
                async with pb.connect(url, timeout=60) as another:
                    assert await another.call("echo", 2) == 2
                assert await root.call("echo", 3) == 3
                # One line for each second without.
                seconds = time.monotonic() - began
                assert 1 <= len(server.logged().splitlines()) <= seconds + 1, server.logged()
