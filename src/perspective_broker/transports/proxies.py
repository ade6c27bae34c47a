"""Trusted proxies, which send the client's address: version 2 of the PROXY protocol, in front of all other bytes.

A proxy that forwards bytes hides the client's address, so that all its clients would have one address here, and one of
them could use up the limits of all. Its header in front of a connection has a signature, a command, a family and an
address (haproxy.org, "The PROXY protocol", section 2.2). Headers are read from trusted proxies only, and a trusted
proxy must send one, because otherwise its clients could.
"""

from __future__ import annotations

import asyncio
import ipaddress
import socket
import struct
from collections.abc import Sequence
from typing import Final, TypeAlias

__all__ = ["UNKNOWN_PEER", "HeaderError", "Peer", "TrustedProxies", "header_size", "peer_in", "read_peer"]

#: A host and a port, as in a transport's ``peername``.
Peer: TypeAlias = tuple[str, int]

#: In place of an address that a proxy does not send: for its own health check, or for other transports than TCP.
UNKNOWN_PEER: Final[Peer] = ("unknown", 0)

_SIGNATURE: Final = b"\r\n\r\n\0\r\nQUIT\n"
_FIXED: Final = struct.Struct("!12sBBH")  # signature, version and command, family, bytes that follow
_LOCAL, _PROXY = 0x20, 0x21

#: Family and transport -> format of the addresses and ports: source address, destination address, both ports.
_ADDRESSES: Final = {0x11: struct.Struct("!4s4sHH"), 0x21: struct.Struct("!16s16sHH")}

#: Bytes that follow at most. An address has 36; the rest is for data about TLS, which is ignored.
_MOST_BYTES: Final = 4096


class HeaderError(Exception):
    """A trusted proxy has sent something other than a header."""


class TrustedProxies:
    """The addresses of trusted proxies.

    Args:
        networks: such as ``"10.0.0.7"`` and ``"10.1.0.0/16"``.

    Raises:
        ValueError: one is not an address or network.
    """

    def __init__(self, networks: Sequence[str]) -> None:
        if isinstance(networks, str):
            raise ValueError(f"trusted_proxies: must be a list of addresses, such as [{networks!r}]")
        self._networks = [ipaddress.ip_network(network) for network in networks]

    def __contains__(self, peer: object) -> bool:
        if not self._networks or not isinstance(peer, tuple):
            return False
        address = ipaddress.ip_address(str(peer[0]).partition("%")[0])
        mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
        return any((mapped or address) in network for network in self._networks)


def header_size(fixed: bytes) -> int:
    """Return how many bytes follow the first 16 of a header.

    Raises:
        HeaderError: they are not the beginning of a header.
    """
    if len(fixed) != _FIXED.size:
        raise HeaderError("the header is incomplete")
    signature, command, _, size = _FIXED.unpack(fixed)
    if signature != _SIGNATURE or command not in (_LOCAL, _PROXY):
        raise HeaderError("no header of version 2 of the PROXY protocol")
    if size > _MOST_BYTES:
        raise HeaderError(f"PROXY header: at most {_MOST_BYTES} bytes after the first 16")
    return int(size)


def peer_in(header: bytes) -> Peer:
    """Return the address in a whole header; :data:`UNKNOWN_PEER` when it contains none.

    Raises:
        HeaderError: it is not a header.
    """
    if len(header) - _FIXED.size != header_size(header[: _FIXED.size]):
        raise HeaderError("the header is incomplete")
    _, command, family, size = _FIXED.unpack_from(header)
    form = _ADDRESSES.get(family)
    if command == _LOCAL or form is None:
        return UNKNOWN_PEER
    if size < form.size:
        raise HeaderError("the addresses are incomplete")
    source, _, port, _ = form.unpack_from(header, _FIXED.size)
    return str(ipaddress.ip_address(source)), port


async def read_peer(connection: socket.socket) -> Peer:
    """Read a header, and no bytes behind it, from a non-blocking socket.

    Raises:
        HeaderError: the bytes are not a header.
        OSError: the connection was lost.
    """
    fixed = await _exactly(connection, _FIXED.size)
    return peer_in(fixed + await _exactly(connection, header_size(fixed)))


async def _exactly(connection: socket.socket, size: int) -> bytes:
    loop = asyncio.get_running_loop()
    found = b""
    while len(found) < size:
        more = await loop.sock_recv(connection, size - len(found))
        if not more:
            raise HeaderError("the header is incomplete")
        found += more
    return found
