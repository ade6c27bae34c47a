"""ScriptedPeer: a raw client and a raw server."""

from __future__ import annotations

import asyncio

import pytest

import perspective_broker as pb
from perspective_broker.testing import ScriptedPeer


class Echo(pb.Root):
    def remote_echo(self, value: object) -> object:
        return value


@pytest.mark.parametrize("dialect", ["pb", "none"])
@pytest.mark.parametrize("url", ["memory:scripted", "tcp://127.0.0.1:0"])
async def test_a_scripted_client_calls_a_real_server(url: str, dialect: str) -> None:
    async with (
        pb.serve(Echo(), url) as server,
        ScriptedPeer.connect(server.urls[0], dialect=dialect) as peer,
    ):
        request = peer.call("root", "echo", 7)
        assert await peer.read() == [b"answer", request, 7]


async def test_a_scripted_server_answers_a_real_client() -> None:
    async with ScriptedPeer.listen("memory:scripted") as listener:
        connecting = asyncio.ensure_future(pb.connect(listener.url))
        peer = await listener.accept()
        assert await peer.greet_as_server("pb", "none") == "pb"
        root = await connecting
        answer = root.call("anything", 1)
        assert await peer.read() == [b"message", 1, b"root", b"anything", 1, [b"tuple", 1], [b"dictionary"]]
        peer.send(["answer", 1, ["tuple", 2, b"three"]])
        assert await answer == (2, b"three")
        await root.connection.close()


async def test_bytes_are_sent_as_they_are_and_the_end_is_seen() -> None:
    async with pb.serve(Echo(), "memory:scripted") as server, ScriptedPeer.connect(server.urls[0]) as peer:
        peer.send_bytes(b"GET / HTTP/1.1\r\n\r\n")
        await peer.read_to_end()
        assert peer.ended
        with pytest.raises(EOFError):
            await peer.read()
