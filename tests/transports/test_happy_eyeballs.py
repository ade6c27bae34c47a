"""A host with several addresses: the one that is used, and the error when no address answers."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import os
import socket
from collections.abc import AsyncIterator
from typing import Any

import pytest

from perspective_broker import transports
from perspective_broker.transports import tcp
from tests.loops import both_loops
from tests.transports.recorder import Recorder

pytestmark = both_loops

_Found = tuple[socket.AddressFamily, str]

V4, V6 = socket.AF_INET, socket.AF_INET6


class Net:
    """Replaces the network: the addresses of a name, and the outcome of connecting to each."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, *found: _Found) -> None:
        self.tried: list[str] = []
        self.sockets: list[socket.socket] = []
        self.silent: set[str] = set()
        self.errors: dict[str, int] = {}
        self._found = found
        loop = asyncio.get_running_loop()
        self._connect, self._resolve = loop.sock_connect, loop.getaddrinfo
        monkeypatch.setattr(loop, "getaddrinfo", self.getaddrinfo)
        monkeypatch.setattr(loop, "sock_connect", self.sock_connect)

    async def getaddrinfo(self, host: Any, port: Any, **kwargs: Any) -> Any:
        if host != "several.example":  # uvloop asks for addresses too
            return await self._resolve(host, port, **kwargs)
        rest = {V4: (), V6: (0, 3)}
        return [(family, socket.SOCK_STREAM, 6, "", (ip, port, *rest[family])) for family, ip in self._found]

    async def sock_connect(self, sock: socket.socket, name: Any) -> None:
        self.tried.append(name[0])
        self.sockets.append(sock)
        if name[0] in self.errors:
            raise OSError(self.errors[name[0]], "of the event loop's own words")
        if name[0] in self.silent:
            await asyncio.get_running_loop().create_future()
        await self._connect(sock, name)


@contextlib.asynccontextmanager
async def listening() -> AsyncIterator[int]:
    accepted: list[Recorder] = []

    def accept() -> Recorder:
        accepted.append(Recorder())
        return accepted[-1]

    listener = await transports.listen(transports.parse_url("tcp://127.0.0.1:0"), accept)
    try:
        yield transports.parse_url(listener.urls[0]).port
    finally:
        for one in accepted:
            await one.lost.wait()
        listener.close()
        await listener.wait_closed()


async def connected(port: int) -> None:
    client = Recorder()
    await transports.connect(transports.Address("tcp", "several.example", port), lambda: client)
    client.transport.close()
    await client.lost.wait()


async def test_an_address_that_does_not_answer_holds_up_no_other(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tcp, "_NEXT_ADDRESS", 0)
    async with listening() as port:
        net = Net(monkeypatch, (V4, "127.0.0.9"), (V4, "127.0.0.1"))
        net.silent = {"127.0.0.9"}
        await connected(port)
        assert net.tried == ["127.0.0.9", "127.0.0.1"]
        assert net.sockets[0].fileno() == -1


async def test_after_a_refusal_the_next_address_is_tried_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tcp, "_NEXT_ADDRESS", 3600)
    async with listening() as port:
        net = Net(monkeypatch, (V4, "127.0.0.9"), (V4, "127.0.0.1"))
        net.errors = {"127.0.0.9": errno.ECONNREFUSED}
        await connected(port)
        assert net.tried == ["127.0.0.9", "127.0.0.1"]


async def test_a_family_that_is_broken_costs_one_attempt(monkeypatch: pytest.MonkeyPatch) -> None:
    async with listening() as port:
        net = Net(monkeypatch, (V6, "::8"), (V6, "::9"), (V4, "127.0.0.1"))
        net.errors = {"::8%3": errno.ENETUNREACH, "::9%3": errno.ENETUNREACH}
        await connected(port)
        assert net.tried == ["::8%3", "127.0.0.1"]


async def test_when_no_address_answers_each_reason_is_said_once(monkeypatch: pytest.MonkeyPatch) -> None:
    net = Net(monkeypatch, (V6, "::8"), (V4, "127.0.0.8"), (V4, "127.0.0.9"))
    net.errors = {
        "::8%3": errno.ENETUNREACH,
        "127.0.0.8": errno.ECONNREFUSED,
        "127.0.0.9": errno.ECONNREFUSED,
    }
    with pytest.raises(ConnectionRefusedError) as caught:
        await connected(1)
    assert caught.value.strerror == f"{os.strerror(errno.ENETUNREACH)}; {os.strerror(errno.ECONNREFUSED)}"


async def test_who_gives_up_leaves_no_socket_open(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tcp, "_NEXT_ADDRESS", 0)
    net = Net(monkeypatch, (V4, "127.0.0.8"), (V4, "127.0.0.9"))
    net.silent = {"127.0.0.8", "127.0.0.9"}
    connecting = asyncio.ensure_future(connected(1))
    while len(net.tried) < 2:
        await asyncio.sleep(0)
    connecting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await connecting
    while any(sock.fileno() != -1 for sock in net.sockets):
        await asyncio.sleep(0)


async def test_who_gives_up_when_it_is_connected_leaves_no_socket_open(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with listening() as port:
        net = Net(monkeypatch, (V4, "127.0.0.1"))
        connecting = asyncio.ensure_future(connected(port))
        real = net._connect

        async def and_give_up(sock: socket.socket, name: Any) -> None:
            await real(sock, name)
            connecting.cancel()

        net._connect = and_give_up  # type: ignore[assignment]
        with pytest.raises(asyncio.CancelledError):
            await connecting
        assert net.sockets[0].fileno() == -1
