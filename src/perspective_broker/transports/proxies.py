"""Proxies that are trusted to say whom they connect: version 2 of the PROXY protocol, in front of everything else.

A proxy that passes on bytes hides where they come from, so all its clients would be one address here: one of them could
use up what all may have. The header that it puts in front of a connection is a signature, a command, a family and an
address (haproxy.org, "The PROXY protocol", section 2.2). Only a trusted proxy is asked for one, and a trusted proxy
must send it: otherwise its clients could.
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

#: In the place of an address that a proxy does not tell: of its own health check, or of something other than TCP.
UNKNOWN_PEER: Final[Peer] = ("unknown", 0)

_SIGNATURE: Final = b"\r\n\r\n\0\r\nQUIT\n"
_FIXED: Final = struct.Struct("!12sBBH")  # signature, version and command, family, bytes that follow
_LOCAL, _PROXY = 0x20, 0x21

#: Family and transport -> how its addresses and ports are packed: of the source, of the destination.
_ADDRESSES: Final = {0x11: struct.Struct("!4s4sHH"), 0x21: struct.Struct("!16s16sHH")}

#: Bytes that follow. An address has 36; the rest is for what proxies add about TLS, which is left unread.
_MOST_BYTES: Final = 4096


class HeaderError(Exception):
    """What a trusted proxy has sent is no header."""


class TrustedProxies:
    """The addresses of proxies whose word is taken.

    Args:
        networks: such as ``"10.0.0.7"`` and ``"10.1.0.0/16"``.

    Raises:
        ValueError: one is no network.
    """

    def __init__(self, networks: Sequence[str]) -> None:
        if isinstance(networks, str):
            raise ValueError(f"trusted_proxies is a list of addresses, such as [{networks!r}]")
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
        HeaderError: they are no header's.
    """
    if len(fixed) != _FIXED.size:
        raise HeaderError("the header is not whole")
    signature, command, _, size = _FIXED.unpack(fixed)
    if signature != _SIGNATURE or command not in (_LOCAL, _PROXY):
        raise HeaderError("no header of version 2 of the PROXY protocol")
    if size > _MOST_BYTES:
        raise HeaderError(f"a header may have {_MOST_BYTES} bytes")
    return int(size)


def peer_in(header: bytes) -> Peer:
    """Return the address in a whole header; :data:`UNKNOWN_PEER` when it tells none.

    Raises:
        HeaderError: it is none.
    """
    if len(header) - _FIXED.size != header_size(header[: _FIXED.size]):
        raise HeaderError("the header is not whole")
    _, command, family, size = _FIXED.unpack_from(header)
    form = _ADDRESSES.get(family)
    if command == _LOCAL or form is None:
        return UNKNOWN_PEER
    if size < form.size:
        raise HeaderError("the addresses are not whole")
    source, _, port, _ = form.unpack_from(header, _FIXED.size)
    return str(ipaddress.ip_address(source)), port


async def read_peer(connection: socket.socket) -> Peer:
    """Read a header, and nothing behind it, from a connection that does not block.

    Raises:
        HeaderError: there is none.
        OSError: the connection broke.
    """
    fixed = await _exactly(connection, _FIXED.size)
    return peer_in(fixed + await _exactly(connection, header_size(fixed)))


async def _exactly(connection: socket.socket, size: int) -> bytes:
    loop = asyncio.get_running_loop()
    found = b""
    while len(found) < size:
        more = await loop.sock_recv(connection, size - len(found))
        if not more:
            raise HeaderError("the header is not whole")
        found += more
    return found
