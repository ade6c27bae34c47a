"""``tcp://`` and ``tls://``: asyncio's own streams of bytes."""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import Callable

from .listener import Listener
from .tls import TLSListener, tls_error
from .urls import Address, bound_urls

__all__ = ["connect", "listen"]


class _TcpListener:
    def __init__(self, server: asyncio.Server, address: Address) -> None:
        self._server = server
        self.urls = bound_urls(address, server.sockets)

    def close(self) -> None:
        self._server.close()

    async def wait_closed(self) -> None:
        # Server.wait_closed waits for connections as well from Python 3.12 on, and they end elsewhere.
        await asyncio.sleep(0)


async def connect(
    address: Address,
    factory: Callable[[], asyncio.Protocol],
    context: ssl.SSLContext | None = None,
    handshake_seconds: float | None = None,
) -> None:
    """Connect a protocol made by ``factory``, over TLS when there is a ``context``.

    Raises:
        OSError: nobody listens there.
        TLSError: somebody does, but TLS was refused.
    """
    loop = asyncio.get_running_loop()
    if context is None:
        await loop.create_connection(factory, address.host, address.port)
        return
    try:
        await loop.create_connection(
            factory, address.host, address.port, ssl=context, ssl_handshake_timeout=handshake_seconds
        )
    # The last two can only come from the handshake: a connection that was never made is refused or unreachable.
    except (ssl.SSLError, ConnectionAbortedError, ConnectionResetError) as error:
        raise tls_error(error) from error


async def listen(
    address: Address,
    factory: Callable[[], asyncio.Protocol],
    make_context: Callable[[], ssl.SSLContext] | None = None,
    handshake_seconds: float | None = None,
) -> Listener:
    """Listen; every connection gets a protocol made by ``factory``, over TLS when contexts are made.

    Raises:
        OSError: the address cannot be bound.
    """
    server = await asyncio.get_running_loop().create_server(
        factory,
        address.host or None,
        address.port,
        family=socket.AF_UNSPEC,
        backlog=1024,
        start_serving=make_context is None,
    )
    if make_context is None:
        return _TcpListener(server, address)
    sockets = [bound.dup() for bound in server.sockets]  # the loop has done the binding, and that was all
    server.close()
    return TLSListener(sockets, address, factory, make_context, handshake_seconds)
