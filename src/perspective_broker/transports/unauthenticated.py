"""UnauthenticatedPeers: connections whose peers have not said who they are, counted by where they come from."""

from __future__ import annotations

import ipaddress
import logging
from collections import Counter

__all__ = ["UnauthenticatedPeers", "address_of"]

log = logging.getLogger("perspective_broker")


def address_of(peer: object) -> str | None:
    """Return what stands for the place that a peer connects from; None where there is no such place.

    That is its IP address, and of IPv6 the /64, for one subscriber has that many.

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
    """Counts them, and says when there are too many from one address.

    Args:
        most: how many one address may have.

    Attributes:
        refused: how many came beyond that, so far.
    """

    def __init__(self, most: int) -> None:
        self.refused = 0
        self._most = most
        self._counts: Counter[str] = Counter()
        self._complained: set[str] = set()

    def __len__(self) -> int:
        return self._counts.total()

    def arrive(self, address: str) -> bool:
        """Count one more; False, and it does not count, when there are too many from there."""
        if self._counts[address] < self._most:
            self._counts[address] += 1
            return True
        self.refused += 1
        if address not in self._complained:  # once for each time that an address fills its number
            self._complained.add(address)
            log.warning(
                "%d connections from %s have not said who they are; further ones are closed at once",
                self._most,
                address,
            )
        return False

    def leave(self, address: str) -> None:
        """Count one less: it has said who it is, or is gone."""
        self._counts[address] -= 1
        if self._counts[address] <= self._most // 2:
            self._complained.discard(address)
        if not self._counts[address]:
            del self._counts[address]
