"""Ordered chunks of bytes both ways, by url. Each scheme is one module with ``connect`` and ``listen``."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from collections.abc import Callable, Iterator
from types import ModuleType
from typing import Final, cast

from ..certificates import PeerCertificate
from ..errors import TLSError
from . import memory, tcp, unix
from .channel import TLSChannel
from .listener import Listener
from .proxies import TrustedProxies
from .tcp import watch_for_silence
from .tls import ClientTLS, ServerTLS, certificate_error_text, client_context, server_context, tls_error
from .unauthenticated import UnauthenticatedPeers, address_of
from .urls import DEFAULT_PORT, Address, parse_url

__all__ = [
    "DEFAULT_PORT",
    "Address",
    "ClientTLS",
    "Listener",
    "PeerCertificate",
    "ServerTLS",
    "TLSChannel",
    "TrustedProxies",
    "UnauthenticatedPeers",
    "address_of",
    "certificate_error_text",
    "connect",
    "listen",
    "parse_url",
    "tls_error",
    "watch_for_silence",
]

_BY_SCHEME: Final[dict[str, ModuleType]] = {"tcp": tcp, "unix": unix, "memory": memory}


async def connect(
    address: Address,
    factory: Callable[[], asyncio.Protocol],
    tls: ssl.SSLContext | ClientTLS | None = None,
    handshake_seconds: float | None = None,
) -> None:
    """Connect a protocol made by ``factory`` to ``address``.

    Args:
        tls: for ``tls://``; None believes the authorities of the system.
        handshake_seconds: for that of TLS; None for the event loop's own choice.

    Raises:
        OSError: nothing answers there; TLSError is one. Any other names the address.
        TypeError: ``tls`` is not for clients.
    """
    with _naming(address):
        if address.scheme == "tls":
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
) -> Listener:
    """Listen on ``address``, with a protocol made by ``factory`` for every connection.

    Args:
        tls: for ``tls://``, which needs it.
        handshake_seconds: for that of TLS; None for the event loop's own choice.
        unauthenticated: counts those in the middle of a handshake of TLS, and refuses some; None refuses nobody.
        proxies: of TCP and TLS; for their connections ``factory`` is given the address that they come from.

    Raises:
        OSError: the address, which it names, cannot be bound.
        TypeError: ``tls`` is not for servers.
    """
    with _naming(address):
        if address.scheme == "tls":
            return await tcp.listen(
                address, factory, server_context(tls), handshake_seconds, unauthenticated, proxies
            )
        if address.scheme == "tcp":
            return await tcp.listen(address, factory, None, handshake_seconds, None, proxies)
        return cast(Listener, await _BY_SCHEME[address.scheme].listen(address, factory))


@contextlib.contextmanager
def _naming(address: Address) -> Iterator[None]:
    """Have an error of the system name the address, at the end of its text; most name nothing."""
    try:
        yield
    except TLSError:
        raise  # which has a text of its own
    except OSError as error:
        if error.filename is None and str(address) not in str(error):
            if error.errno is None:
                error.args = (f"{error}: {str(address)!r}",)
            else:
                error.filename = str(address)
        raise
