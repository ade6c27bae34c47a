"""A scripted peer of the dialect: it says what a test tells it, byte for byte, over a real socket."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any
from urllib.parse import urlsplit

from websockets.client import ClientProtocol
from websockets.frames import Frame, Opcode
from websockets.http11 import Response
from websockets.uri import parse_uri


class Peer:
    """See the module.

    Attributes:
        status: of the server's response.
        closed: code and text of the server's close frame.
    """

    def __init__(self, url: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.protocol = ClientProtocol(parse_uri(url), max_size=None)
        self.status = 0
        self.closed: tuple[int, str] | None = None
        self._reader = reader
        self._writer = writer
        self._messages: list[Any] = []
        self._pushes = 0
        self._is_over = False

    async def shake(self, headers: dict[str, str]) -> None:
        request = self.protocol.connect()
        for name, value in headers.items():
            if name in request.headers:
                del request.headers[name]
            request.headers[name] = value
        self.protocol.send_request(request)
        self.flush()
        while not self.status and await self._read():
            pass

    async def _read(self) -> bool:
        data = await asyncio.wait_for(self._reader.read(65536), 20)
        if not data:
            self._is_over = True
            return False
        self.protocol.receive_data(data)
        for event in self.protocol.events_received():
            if isinstance(event, Response):
                self.status = event.status_code
            elif isinstance(event, Frame) and event.opcode is Opcode.TEXT:
                self._messages.append(json.loads(bytes(event.data)))
            elif isinstance(event, Frame) and event.opcode is Opcode.CLOSE:
                close = self.protocol.close_rcvd
                assert close is not None
                self.closed = (close.code, close.reason)
        if self.protocol.handshake_exc is not None and not self.status:
            self.status = getattr(getattr(self.protocol.handshake_exc, "response", None), "status_code", -1)
        return True

    def flush(self) -> None:
        self.write(b"".join(self.protocol.data_to_send()))

    def write(self, data: bytes) -> None:
        self._writer.write(data)

    def say(self, *messages: Any) -> None:
        """Send messages: text as it is, all else as JSON."""
        for message in messages:
            text = message if isinstance(message, (str, bytes)) else json.dumps(message)
            self.protocol.send_text(text if isinstance(text, bytes) else text.encode())
            self._pushes += isinstance(message, list) and message[0] in ("push", "stream", "pipe")
        self.flush()

    async def hear(self, count: int) -> list[Any]:
        """Return the next messages."""
        while len(self._messages) < count and await self._read():
            pass
        heard, self._messages = self._messages[:count], self._messages[count:]
        return heard

    async def answers(self, *messages: Any) -> list[Any]:
        """Send messages, and return all that comes before the answer to one more call."""
        self.say(*messages, ["push", ["pipeline", 0, ["echo"], ["the end"]]])
        last = self._pushes
        self.say(["pull", last])
        while ["resolve", last, "the end"] not in self._messages and await self._read():
            pass
        heard, self._messages = self._messages, []
        return [message for message in heard if message != ["resolve", last, "the end"]]

    async def end(self) -> list[Any]:
        """Return what comes until the server hangs up."""
        while not self._is_over and await self._read():
            pass
        heard, self._messages = self._messages, []
        return heard

    async def close(self) -> None:
        self._writer.close()
        try:
            await self._writer.wait_closed()
        except ConnectionError:
            pass


@asynccontextmanager
async def peer_of(url: str, **headers: str) -> AsyncIterator[Peer]:
    """Connect a scripted peer to a server; ``Sec_WebSocket_Key="..."`` replaces that header."""
    parts = urlsplit(url)
    reader, writer = await asyncio.open_connection(parts.hostname, parts.port)
    peer = Peer(url, reader, writer)
    try:
        await peer.shake({name.replace("_", "-"): value for name, value in headers.items()})
        yield peer
    finally:
        await peer.close()
