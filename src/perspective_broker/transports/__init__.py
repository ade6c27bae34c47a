"""Transports: ordered streams of bytes, by url. Each scheme is a module with ``connect`` and ``listen``."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
from collections.abc import Callable, Iterator, Sequence
from types import ModuleType
from typing import Final, cast

from ..certificates import PeerCertificate
from ..errors import TLSError
from . import memory, tcp, unix
from .accepting import Acceptor, SocketListener
from .channel import TLSChannel
from .listener import Listener
from .proxies import TrustedProxies
from .tcp import watch_for_silence
from .tls import ClientTLS, ServerTLS, certificate_error_text, client_context, server_context, tls_error
from .unauthenticated import UnauthenticatedPeers, address_of
from .urls import DEFAULT_PORT, Address, bound_urls, parse_url

__all__ = [
    "DEFAULT_PORT",
    "Address",
    "ClientTLS",
    "Listener",
    "PeerCertificate",
    "ServerTLS",
    "SocketListener",
    "TLSChannel",
    "TrustedProxies",
    "UnauthenticatedPeers",
    "address_of",
    "bound_urls",
    "certificate_error_text",
    "connect",
    "listen",
    "parse_url",
    "tls_error",
    "watch_for_silence",
]

_BY_SCHEME: Final[dict[str, ModuleType]] = {"tcp": tcp, "ws": tcp, "unix": unix, "memory": memory}


async def connect(
    address: Address,
    factory: Callable[[], asyncio.Protocol],
    tls: ssl.SSLContext | ClientTLS | None = None,
    handshake_seconds: float | None = None,
) -> None:
    """Connect a protocol made by ``factory`` to ``address``.

    Args:
        tls: for ``tls://``; None trusts the authorities of the system.
        handshake_seconds: for the TLS handshake; None for the event loop's default.

    Raises:
        OSError: no connection could be made; TLSError is one. All others contain the address.
        TypeError: ``tls`` is not for clients.
    """
    with _naming(address):
        if address.is_encrypted:
            await tcp.connect(address, factory, client_context(tls), handshake_seconds)
        else:
            await _BY_SCHEME[address.scheme].connect(address, factory)


async def listen(
    address: Address,
    factory: Callable[..., asyncio.Protocol],
    tls: ssl.SSLContext | ServerTLS | None = None,
    handshake_seconds: float | None = None,
    unauthenticated: UnauthenticatedPeers | None = None,
    proxies: TrustedProxies | None = None,
    sockets: Sequence[socket.socket] | None = None,
) -> Listener:
    """Listen on ``address``, with a protocol made by ``factory`` for every connection.

    Args:
        tls: for ``tls://``, where it is required.
        handshake_seconds: for the TLS handshake; None for the event loop's default.
        unauthenticated: counts peers in a TLS handshake and refuses some; None refuses none.
        proxies: trusted proxies for TCP and TLS; ``factory`` gets the client's address for each of their connections.
        sockets: bound by another program, and closed here; the address is then only their name. None binds it.

    Raises:
        OSError: the address cannot be bound; the error contains it.
        TypeError: ``tls`` is not for servers.
    """
    with _naming(address):
        if sockets is not None:
            make_context = server_context(tls) if address.is_encrypted else None
            acceptor = Acceptor(sockets, factory, make_context, handshake_seconds, unauthenticated, proxies)
            return SocketListener(acceptor, bound_urls(address, sockets))
        if address.is_encrypted:
            return await tcp.listen(
                address, factory, server_context(tls), handshake_seconds, unauthenticated, proxies
            )
        if address.scheme in ("tcp", "ws"):
            return await tcp.listen(address, factory, None, handshake_seconds, None, proxies)
        return cast(Listener, await _BY_SCHEME[address.scheme].listen(address, factory))


@contextlib.contextmanager
def _naming(address: Address) -> Iterator[None]:
    """Add the address to errors of the system, at the end of their text."""
    try:
        yield
    except TLSError:
        raise  # its text is complete
    except OSError as error:
        if error.filename is None and str(address) not in str(error):
            if error.errno is None:
                error.args = (f"{error}: {str(address)!r}",)
            else:
                error.filename = str(address)
        raise
