"""``tcp://`` and ``tls://``: asyncio's own streams of bytes."""

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

from .accepting import Acceptor
from .listener import Listener
from .proxies import TrustedProxies
from .tls import tls_error
from .unauthenticated import UnauthenticatedPeers
from .urls import Address, bound_urls

__all__ = ["connect", "listen", "watch_for_silence"]

log = logging.getLogger("perspective_broker")

#: Seconds that an address has before the next one is tried beside it (RFC 8305, section 5).
_NEXT_ADDRESS: Final = 0.25

#: What getaddrinfo gives for one address.
_Where = tuple[socket.AddressFamily, socket.SocketKind, int, str, Any]

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
        OSError: none of the host's addresses can be connected to.
        TLSError: one can, but TLS was refused.
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

    An address that does not answer within a quarter of a second is left to go on, and the next one is tried beside it.
    asyncio's own race of attempts does that on every event loop; uvloop's ``create_connection`` has nothing like it.

    Raises:
        OSError: none answers, or the host has no address.
    """
    loop = asyncio.get_running_loop()
    connected: list[socket.socket] = []

    async def connect_to(where: _Where) -> None:
        family, kind, protocol, _, name = where
        if family == socket.AF_INET6 and name[3]:  # uvloop reads the zone of an address from its text only
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
    except BaseException:  # given up, perhaps in the turn in which one was connected
        for sock in connected:
            sock.close()
        raise
    if not connected:
        raise _none_answers([error for error in errors if error is not None])
    return connected.pop()


async def _addresses(address: Address) -> Sequence[_Where]:
    """Return the addresses of a host; a thread asks for them only where the host is a name.

    Raises:
        OSError: there is none.
    """
    host, port, kind = address.host, address.port, socket.SOCK_STREAM
    with contextlib.suppress(socket.gaierror):
        return socket.getaddrinfo(host, port, type=kind, flags=socket.AI_NUMERICHOST)
    return await asyncio.get_running_loop().getaddrinfo(host, port, type=kind)


def _alternating(found: Sequence[_Where]) -> list[_Where]:
    """Return addresses in their order, one of each family by turns: a family that is broken costs one attempt."""
    families: dict[int, list[_Where]] = {}
    for where in found:
        families.setdefault(where[0], []).append(where)
    return [where for turn in zip_longest(*families.values()) for where in turn if where is not None]


def _none_answers(errors: Sequence[BaseException]) -> BaseException:
    """Return what to raise when every address has failed: the last error, with what each has said in its text."""
    last, texts = errors[-1], dict[str, None]()
    for error in errors:
        if not isinstance(error, OSError) or error.errno is None:
            return error  # not the network's
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
    # The loop does the binding, to every address that the host has, and that is all.
    server = await asyncio.get_running_loop().create_server(
        factory, address.host or None, address.port, family=socket.AF_UNSPEC, start_serving=False
    )
    sockets = [bound.dup() for bound in server.sockets]
    server.close()
    urls = bound_urls(address, sockets)
    acceptor = Acceptor(sockets, factory, make_context, handshake_seconds, unauthenticated, proxies)
    return _TcpListener(acceptor, urls)


def watch_for_silence(sock: socket.socket | None, silence: float, patience: float, unread: float) -> None:
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
        number = getattr(socket, name, None)  # what a system does not have, it does not have
        if number is not None:
            try:
                sock.setsockopt(level, number, value)
            except (
                OSError
            ) as error:  # the connection is gone already, or a number is beyond what the system takes
                log.debug("%s was not set: %s", name, error)
