"""ScriptedPeer: the other side, byte by byte, over any url, for messages that a correct peer never sends.

It can encode the expressions of the classic dialects, which are nested lists; for pb7 it sends and reads plain bytes.
It keeps no tables, answers nothing by itself, and checks nothing.
"""

from __future__ import annotations

import asyncio
import socket
import struct
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from itertools import count
from typing import Any, TypeAlias, cast

from .. import transports
from ..dialects.classic.banana import NEED_MORE, Decoder, encode
from ..dialects.classic.vocabulary import NONE, PB, Spelling
from ..limits import Limits

__all__ = ["ScriptedListener", "ScriptedPeer"]

#: Nested lists of bytes, texts, ints and floats. Any, because a test that reads one knows what it is.
Expression: TypeAlias = Any

_LENIENT = Limits(message_bytes=2**40, string_bytes=2**40, nodes=2**40, list_items=2**40)


class ScriptedPeer(asyncio.Protocol):
    """One raw connection; made by :meth:`connect` or by :meth:`ScriptedListener.accept`.

    Attributes:
        received: bytes that have arrived and were not read yet.
        ended: whether the other side has closed.
        spelling: how expressions are encoded and decoded; set by the greetings.
    """

    def __init__(self) -> None:
        self.received: bytearray = bytearray()
        self.ended: bool = False
        self.spelling: Spelling = NONE
        self._transport: asyncio.Transport | None = None
        self._news = asyncio.Event()
        self._gone = asyncio.Event()
        self._requests = count(1)

    @classmethod
    @asynccontextmanager
    async def connect(cls, url: str, *, dialect: str | None = None) -> AsyncIterator[ScriptedPeer]:
        """Connect to ``url`` as a client, within the block.

        Args:
            url: the url of a server.
            dialect: exchange the greeting first, and pick this one; None sends no greeting.
        """
        peer: ScriptedPeer | None = None

        def factory() -> ScriptedPeer:
            nonlocal peer
            peer = cls()
            return peer

        await transports.connect(transports.parse_url(url), factory)
        assert peer is not None
        try:
            if dialect is not None:
                await peer.greet_as_client(dialect)
            yield peer
        finally:
            await peer.aclose()

    @classmethod
    @asynccontextmanager
    async def listen(cls, url: str) -> AsyncIterator[ScriptedListener]:
        """Listen at ``url`` as a server, within the block."""
        listener = ScriptedListener()
        bound = await transports.listen(transports.parse_url(url), listener.make)
        listener.urls = bound.urls
        try:
            yield listener
        finally:
            bound.close()
            for peer in listener.peers:
                await peer.aclose()
            await bound.wait_closed()

    # -- asyncio.Protocol

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        self.received += data
        self._news.set()

    def eof_received(self) -> bool:
        self.ended = True
        self._news.set()
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        self.ended = True
        self._news.set()
        self._gone.set()

    # -- sending

    @property
    def transport(self) -> asyncio.Transport:
        """The transport, for operations without a method here (``pause_reading``, buffer sizes)."""
        assert self._transport is not None, "not connected"
        return self._transport

    def send_bytes(self, data: bytes) -> None:
        """Send bytes as they are."""
        self.transport.write(data)

    def send(self, *expressions: Expression) -> None:
        """Send expressions: nested lists of bytes, texts (sent as bytes, in UTF-8), ints and floats."""
        self.send_bytes(b"".join(self.encode(expression) for expression in expressions))

    def encode(self, expression: Expression) -> bytes:
        """Return an expression's bytes in the agreed dialect."""
        return encode(_plain(expression), self.spelling, _LENIENT)

    def call(
        self, target: int | str, name: str, *args: Expression, answer: bool = True, request: int | None = None
    ) -> int:
        """Send a call whose arguments are jellied already; return its request id.

        Args:
            target: an object id, or a name such as ``"root"``.
            name: the method.
            args: expressions.
            answer: whether the call wants an answer.
            request: the id to use; the next unused id when None.
        """
        number = next(self._requests) if request is None else request
        self.send(["message", number, target, name, int(answer), ["tuple", *args], ["dictionary"]])
        return number

    def abort(self) -> None:
        """Abort the connection, with a reset if the transport has one.

        A reset overtakes bytes in the system's buffers for a peer that does not read; the end of a stream does not.
        """
        sock = self.transport.get_extra_info("socket")
        if sock is not None:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.transport.abort()

    async def aclose(self) -> None:
        """Close and wait until the connection is gone. May be called twice."""
        if self._transport is not None and not self._gone.is_set():
            # A close in progress may wait for a peer that never reads.
            if self._transport.is_closing():
                self._transport.abort()
            else:
                self._transport.close()
            await self._gone.wait()

    # -- receiving

    async def read(self) -> Expression:
        """Return the next expression, as nested lists of bytes, ints and floats.

        Raises:
            EOFError: the other side has closed first.
        """
        while True:
            decoder = Decoder(_LENIENT, self.spelling.has_words)
            decoder.receive_data(bytes(self.received))
            expression = decoder.next()
            if expression is not NEED_MORE:
                del self.received[: decoder.last_size]
                return expression
            await self._wait()

    async def read_bytes(self, size: int) -> bytes:
        """Return exactly ``size`` bytes. Raises EOFError when the other side has closed first."""
        while len(self.received) < size:
            await self._wait()
        data = bytes(self.received[:size])
        del self.received[:size]
        return data

    async def read_to_end(self) -> bytes:
        """Return all bytes until the other side closes."""
        while not self.ended:
            self._news.clear()
            await self._news.wait()
        data = bytes(self.received)
        self.received.clear()
        return data

    async def _wait(self) -> None:
        if self.ended:
            raise EOFError(f"the other side has closed; {len(self.received)} bytes are left over")
        self._news.clear()
        await self._news.wait()

    # -- greeting

    async def greet_as_client(self, dialect: str = "pb") -> list[bytes]:
        """Pick a dialect and exchange versions; return the names that the server offered."""
        offered = await self.read()
        self.send(dialect)
        self._speak(dialect)
        self.send(["version", 6])
        assert await self.read() == [b"version", 6]
        return cast(list[bytes], offered)

    async def greet_as_server(self, *dialects: str) -> str:
        """Offer dialects (``pb`` by default) and exchange versions; return the one that was picked."""
        self.send(list(dialects or ("pb",)))
        picked: str = (await self.read()).decode()
        self._speak(picked)
        self.send(["version", 6])
        assert await self.read() == [b"version", 6]
        return picked

    def _speak(self, dialect: str) -> None:
        self.spelling = {"pb": PB, "none": NONE}[dialect]


class ScriptedListener:
    """A scripted server: it makes a peer for each connection.

    Attributes:
        urls: the urls on which it listens.
        peers: all connections so far, oldest first.
    """

    def __init__(self) -> None:
        self.urls: list[str] = []
        self.peers: list[ScriptedPeer] = []
        self._accepted: asyncio.Queue[ScriptedPeer] = asyncio.Queue()

    @property
    def url(self) -> str:
        """The url of a listener with one url."""
        return self.urls[0]

    def make(self) -> ScriptedPeer:
        """Return the peer for a new connection (called by the transport)."""
        peer = _Accepted(self)
        self.peers.append(peer)
        return peer

    def made(self, peer: ScriptedPeer) -> None:
        """Record a connection that was made (called by its peer)."""
        self._accepted.put_nowait(peer)

    async def accept(self) -> ScriptedPeer:
        """Return the next connection."""
        return await self._accepted.get()


class _Accepted(ScriptedPeer):
    def __init__(self, listener: ScriptedListener) -> None:
        super().__init__()
        self._listener = listener

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        self._listener.made(self)


def _plain(expression: Expression) -> Expression:
    """Return an expression with its texts as bytes."""
    if isinstance(expression, str):
        return expression.encode()
    if isinstance(expression, (list, tuple)):
        return [_plain(item) for item in expression]
    return expression
