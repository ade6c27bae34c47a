"""UnauthenticatedPeers: the connections whose peers have not logged in, counted by address."""

from __future__ import annotations

import ipaddress
import logging
from collections import Counter

__all__ = ["UnauthenticatedPeers", "address_of"]

log: logging.Logger = logging.getLogger("perspective_broker")


def address_of(peer: object) -> str | None:
    """Return the IP address of a peer, and for IPv6 its /64, because one subscriber has as many; None without one.

    Args:
        peer: a transport's ``peername``.
    """
    if not isinstance(peer, tuple) or not peer:
        return None  # a Unix socket, or memory
    try:
        address = ipaddress.ip_address(str(peer[0]).partition("%")[0])
    except ValueError:
        return None
    if isinstance(address, ipaddress.IPv4Address):
        return str(address)
    if address.ipv4_mapped is not None:
        return str(address.ipv4_mapped)
    return str(ipaddress.ip_network((address, 64), strict=False))


class UnauthenticatedPeers:
    """Counts unauthenticated peers, and refuses those of an address that has too many.

    Args:
        most: the limit for one address.

    Attributes:
        refused: how many were refused so far.
    """

    def __init__(self, most: int) -> None:
        self.refused: int = 0
        self._most = most
        self._counts: Counter[str] = Counter()
        self._warned: set[str] = set()

    def __len__(self) -> int:
        return self._counts.total()

    def arrive(self, address: str) -> bool:
        """Count a peer and return True; return False, without counting it, when its address has too many."""
        if self._counts[address] < self._most:
            self._counts[address] += 1
            return True
        self.refused += 1
        if address not in self._warned:  # once each time that an address reaches the limit
            self._warned.add(address)
            log.warning(
                "%d connections from %s are unauthenticated; further ones are closed (Limits.strangers_per_address)",
                self._most,
                address,
            )
        return False

    def leave(self, address: str) -> None:
        """Stop counting a peer, which has logged in or is gone."""
        self._counts[address] -= 1
        if self._counts[address] <= self._most // 2:
            self._warned.discard(address)
        if not self._counts[address]:
            del self._counts[address]
