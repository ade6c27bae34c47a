"""``tcp://`` and ``tls://``: the transports of asyncio."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import math
import os
import socket
import ssl
from asyncio.staggered import staggered_race
from collections.abc import Callable, Sequence
from functools import partial
from itertools import zip_longest
from typing import Any, Final

from .accepting import Acceptor, SocketListener
from .listener import Listener
from .proxies import TrustedProxies
from .tls import tls_error
from .unauthenticated import UnauthenticatedPeers
from .urls import Address, bound_urls

__all__ = ["connect", "listen", "watch_for_silence"]

log: logging.Logger = logging.getLogger("perspective_broker")

#: Seconds after which the next address is tried beside an address that has not answered (RFC 8305, section 5).
_NEXT_ADDRESS: Final = 0.25

#: One result of getaddrinfo.
_Where = tuple[socket.AddressFamily, socket.SocketKind, int, str, Any]

#: Keepalive probes of the system to a silent machine before the connection is closed, because a probe may be lost.
_PROBES: Final = 4


async def connect(
    address: Address,
    factory: Callable[[], asyncio.Protocol],
    context: ssl.SSLContext | None = None,
    handshake_seconds: float | None = None,
) -> None:
    """Connect a protocol made by ``factory``, over TLS when there is a ``context``.

    Raises:
        OSError: none of the host's addresses can be connected to.
        TLSError: one was connected, but TLS was refused.
    """
    loop = asyncio.get_running_loop()
    connected = await _connected_socket(address)
    if context is None:
        await loop.create_connection(factory, sock=connected)
        return
    try:
        await loop.create_connection(
            factory,
            sock=connected,
            ssl=context,
            server_hostname=address.host,
            ssl_handshake_timeout=handshake_seconds,
        )
    except (ssl.SSLError, ConnectionAbortedError, ConnectionResetError) as error:
        raise tls_error(error) from error


async def _connected_socket(address: Address) -> socket.socket:
    """Return a socket that is connected to the first address of the host that answers (Happy Eyeballs, RFC 8305).

    When an address does not answer within a quarter of a second, the attempt goes on, and the next address is tried
    beside it. asyncio's ``staggered_race`` does that on every event loop; uvloop's ``create_connection`` does not.

    Raises:
        OSError: no address answers, or the host has none.
    """
    loop = asyncio.get_running_loop()
    connected: list[socket.socket] = []

    async def connect_to(where: _Where) -> None:
        family, kind, protocol, _, name = where
        if family == socket.AF_INET6 and name[3]:  # uvloop takes the zone of an address from its text only
            name = (f"{name[0]}%{name[3]}", *name[1:])
        sock = socket.socket(family, kind, protocol)
        try:
            sock.setblocking(False)
            await loop.sock_connect(sock, name)
        except BaseException:
            sock.close()
            raise
        connected.append(sock)

    attempts = [partial(connect_to, where) for where in _alternating(await _addresses(address))]
    try:
        _, _, errors = await staggered_race(attempts, _NEXT_ADDRESS)
    except BaseException:  # cancelled, perhaps in the turn in which one was connected
        for sock in connected:
            sock.close()
        raise
    if not connected:
        raise _none_answers([error for error in errors if error is not None])
    return connected.pop()


async def _addresses(address: Address) -> Sequence[_Where]:
    """Return the addresses of a host; a thread resolves the host only if it is a name.

    Raises:
        OSError: the host has no address.
    """
    host, port, kind = address.host, address.port, socket.SOCK_STREAM
    with contextlib.suppress(socket.gaierror):
        return socket.getaddrinfo(host, port, type=kind, flags=socket.AI_NUMERICHOST)
    return await asyncio.get_running_loop().getaddrinfo(host, port, type=kind)


def _alternating(found: Sequence[_Where]) -> list[_Where]:
    """Return addresses in their order, alternating the families, so that a broken family costs one attempt."""
    families: dict[int, list[_Where]] = {}
    for where in found:
        families.setdefault(where[0], []).append(where)
    return [where for turn in zip_longest(*families.values()) for where in turn if where is not None]


def _none_answers(errors: Sequence[BaseException]) -> BaseException:
    """Return the error for a host all of whose addresses have failed: the last one, with the texts of all."""
    last, texts = errors[-1], dict[str, None]()
    for error in errors:
        if not isinstance(error, OSError) or error.errno is None:
            return error  # not of the network
        texts[os.strerror(error.errno)] = None
    assert isinstance(last, OSError)
    return OSError(last.errno, "; ".join(texts))


async def listen(
    address: Address,
    factory: Callable[..., asyncio.Protocol],
    make_context: Callable[[], ssl.SSLContext] | None = None,
    handshake_seconds: float | None = None,
    unauthenticated: UnauthenticatedPeers | None = None,
    proxies: TrustedProxies | None = None,
) -> Listener:
    """Listen; every connection gets a protocol made by ``factory``, over TLS when contexts are made.

    Raises:
        OSError: the address cannot be bound.
    """
    # The loop only binds, to every address of the host.
    server = await asyncio.get_running_loop().create_server(
        factory, address.host or None, address.port, family=socket.AF_UNSPEC, start_serving=False
    )
    sockets = [bound.dup() for bound in server.sockets]
    server.close()
    urls = bound_urls(address, sockets)
    acceptor = Acceptor(sockets, factory, make_context, handshake_seconds, unauthenticated, proxies)
    return SocketListener(acceptor, urls)


def watch_for_silence(sock: socket.socket | None, silence: float, patience: float, unread: float) -> None:
    """Turn on TCP keepalive, so that the system notices when the other machine is gone; nothing without TCP.

    It serves the cases without pings of the broker: classic dialects, which have none, and the last bytes of a
    connection that is being closed.

    Args:
        sock: the transport's socket.
        silence: seconds without a byte after which the system sends a probe.
        patience: seconds for the answer.
        unread: seconds that sent bytes may be unacknowledged; at least as long as a slow reader may take, because for
            the system a peer that does not read looks like one that is gone.
    """
    if sock is None or sock.family not in (socket.AF_INET, socket.AF_INET6):
        return
    options = [
        (socket.SOL_SOCKET, "SO_KEEPALIVE", 1),
        (socket.IPPROTO_TCP, "TCP_KEEPIDLE", math.ceil(silence)),
        (socket.IPPROTO_TCP, "TCP_KEEPINTVL", math.ceil(patience / _PROBES)),
        (socket.IPPROTO_TCP, "TCP_KEEPCNT", _PROBES),
        (socket.IPPROTO_TCP, "TCP_USER_TIMEOUT", math.ceil(unread * 1000)),
    ]
    for level, name, value in options:
        number = getattr(socket, name, None)  # systems differ in their options
        if number is not None:
            try:
                sock.setsockopt(level, number, value)
            except OSError as error:  # the connection is gone, or the system does not accept the number
                log.debug("%s was not set: %s", name, error)
