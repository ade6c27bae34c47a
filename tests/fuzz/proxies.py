"""Any bytes in front of a connection are a proxy's header with an address, or a HeaderError, nothing else."""

from __future__ import annotations

from ipaddress import ip_address

from perspective_broker.transports.proxies import UNKNOWN_PEER, HeaderError, header_size, peer_in

__all__ = ["target"]

_FIXED = 16


def target(data: bytes) -> None:
    try:
        size = _FIXED + header_size(data[:_FIXED])
    except HeaderError:
        return
    try:
        peer = peer_in(data[:size])
    except HeaderError:
        return
    assert len(data) >= size, "a header that is not whole"
    host, port = peer
    assert peer == UNKNOWN_PEER or (str(ip_address(host)) == host and 0 <= port < 65536)
