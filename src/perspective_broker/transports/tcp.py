"""``tcp://`` and ``tls://``: asyncio's own streams of bytes."""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import Callable

from .listener import Listener
from .urls import Address

__all__ = ["connect", "listen"]


class _TcpListener:
    def __init__(self, server: asyncio.Server, address: Address) -> None:
        self._server = server
        self._address = address
        self._bound = [sock.getsockname() for sock in server.sockets]

    @property
    def urls(self) -> list[str]:
        scheme, host = self._address.scheme, self._address.host
        # A name stays what was asked for (certificates are about names); a wildcard shows its address.
        return [str(Address(scheme, host or name[0], name[1])) for name in self._bound]

    def close(self) -> None:
        self._server.close()

    async def wait_closed(self) -> None:
        # Server.wait_closed waits for connections as well from Python 3.12 on, and they end elsewhere.
        await asyncio.sleep(0)


async def connect(
    address: Address, factory: Callable[[], asyncio.Protocol], tls: ssl.SSLContext | None
) -> None:
    """Connect a protocol made by ``factory``.

    Raises:
        OSError: nobody listens there, or TLS was refused (``ssl.SSLError`` is one).
    """
    loop = asyncio.get_running_loop()
    if address.scheme == "tls":
        await loop.create_connection(
            factory, address.host, address.port, ssl=tls or ssl.create_default_context()
        )
    else:
        await loop.create_connection(factory, address.host, address.port)


async def listen(
    address: Address, factory: Callable[[], asyncio.Protocol], tls: ssl.SSLContext | None
) -> Listener:
    """Listen; every connection gets a protocol made by ``factory``.

    Raises:
        OSError: the address cannot be bound.
        ValueError: ``tls://`` without a server's context.
    """
    if address.scheme == "tls" and tls is None:
        raise ValueError("to listen on tls:// pass tls=, a server-side ssl.SSLContext with its certificate")
    loop = asyncio.get_running_loop()
    server = await loop.create_server(
        factory,
        address.host or None,
        address.port,
        family=socket.AF_UNSPEC,
        ssl=tls if address.scheme == "tls" else None,
        backlog=1024,
    )
    return _TcpListener(server, address)
