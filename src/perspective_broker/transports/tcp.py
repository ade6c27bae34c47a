"""``tcp://`` and ``tls://``: asyncio's own streams of bytes."""

from __future__ import annotations

import asyncio
import logging
import math
import socket
import ssl
from collections.abc import Callable
from typing import Any, Final

from .accepting import Acceptor
from .listener import Listener
from .proxies import TrustedProxies
from .strangers import Strangers
from .tls import tls_error
from .urls import Address, bound_urls

__all__ = ["connect", "listen", "watch_for_silence"]

log = logging.getLogger("perspective_broker")

#: Questions of the system to a silent machine before it is given up: one that is lost on the way is no answer.
_PROBES: Final = 4


class _TcpListener:
    def __init__(self, acceptor: Acceptor, urls: list[str]) -> None:
        self._acceptor = acceptor
        self.urls = urls

    def close(self) -> None:
        self._acceptor.close()

    async def wait_closed(self) -> None:
        await self._acceptor.wait_closed()


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
    factory: Callable[..., asyncio.Protocol],
    make_context: Callable[[], ssl.SSLContext] | None = None,
    handshake_seconds: float | None = None,
    strangers: Strangers | None = None,
    proxies: TrustedProxies | None = None,
) -> Listener:
    """Listen; every connection gets a protocol made by ``factory``, over TLS when contexts are made.

    Raises:
        OSError: the address cannot be bound.
    """
    # The loop does the binding, to every address that the host has, and that is all.
    server = await asyncio.get_running_loop().create_server(
        factory, address.host or None, address.port, family=socket.AF_UNSPEC, start_serving=False
    )
    sockets = [bound.dup() for bound in server.sockets]
    server.close()
    urls = bound_urls(address, sockets)
    acceptor = Acceptor(sockets, factory, make_context, handshake_seconds, strangers, proxies)
    return _TcpListener(acceptor, urls)


def watch_for_silence(sock: Any, silence: float, patience: float, unread: float) -> None:
    """Let the system find out when the machine at the other end is gone; does nothing where there is no TCP.

    It is for what the broker's own pings do not see: classic dialects, which have none, and the last bytes of a
    connection that is closed already.

    Args:
        sock: the transport's.
        silence: seconds without a byte after which the system asks whether the other end is there.
        patience: seconds for the answer.
        unread: seconds that what was sent may go unacknowledged; not less than a slow reader is given, for to the
            system one that reads nothing looks like one that is gone.
    """
    if getattr(sock, "family", None) not in (socket.AF_INET, socket.AF_INET6):
        return
    options = [
        (socket.SOL_SOCKET, "SO_KEEPALIVE", 1),
        (socket.IPPROTO_TCP, "TCP_KEEPIDLE", math.ceil(silence)),
        (socket.IPPROTO_TCP, "TCP_KEEPINTVL", math.ceil(patience / _PROBES)),
        (socket.IPPROTO_TCP, "TCP_KEEPCNT", _PROBES),
        (socket.IPPROTO_TCP, "TCP_USER_TIMEOUT", math.ceil(unread * 1000)),
    ]
    for level, name, value in options:
        number = getattr(socket, name, None)  # what a system does not have, it does not have
        if number is not None:
            try:
                sock.setsockopt(level, number, value)
            except (
                OSError
            ) as error:  # the connection is gone already, or a number is beyond what the system takes
                log.debug("%s was not set: %s", name, error)
