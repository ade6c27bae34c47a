"""The listening sockets of a server of several processes: bound by the parent, and inherited by its workers."""

from __future__ import annotations

import contextlib
import errno
import os
import socket
import sys
from collections.abc import Iterable, Sequence
from typing import Final

from ..transports import Address, bound_urls, parse_url, unix

__all__ = ["Bound", "Descriptors", "balances", "bind_all", "spare_slots"]

#: The descriptors of one url: those of all workers, then for each slot those of its own.
Descriptors = tuple[str, list[int], list[list[int]]]

#: Connections that may wait in the queue of a socket.
_BACKLOG: Final = 1024


def balances() -> bool:
    """Return whether the system distributes connections over sockets that are bound to one address.

    macOS has ``SO_REUSEPORT``, and gives all connections to the socket that was bound last.
    """
    return sys.platform == "linux"


def spare_slots(workers: int) -> int:
    """Return how many slots to bind for a number of workers, because workers may be added later.

    A socket that is bound and does not listen gets no connections, and costs a descriptor.
    """
    return 2 * workers + 2


class Bound:
    """The sockets of one url.

    Args:
        address: the url, as it was given.
        shared: from which each worker accepts.
        slots: those of each slot; empty where all are shared.

    Attributes:
        urls: at which it can be reached, with the ports that the system chose.
    """

    def __init__(
        self,
        address: Address,
        shared: Sequence[socket.socket],
        slots: Sequence[Sequence[socket.socket]] = (),
        owned: bool = True,
    ) -> None:
        self.address = address
        self.urls: list[str] = bound_urls(address, slots[0] if slots else shared)
        self._shared = shared
        self._slots = slots
        for one in self.sockets:
            one.setblocking(False)  # in all processes, see child.py
        self._identity = unix.identity(address.path) if address.scheme == "unix" and owned else None

    @property
    def most(self) -> int | None:
        """How many workers can have a socket of their own; None where they share them."""
        return len(self._slots) or None

    @property
    def sockets(self) -> list[socket.socket]:
        """All of them."""
        return [*self._shared, *(one for slot in self._slots for one in slot)]

    def sockets_of(self, slot: int) -> list[socket.socket]:
        """Return duplicates of the sockets from which the worker of a slot accepts."""
        return [one.dup() for one in [*self._shared, *(self._slots[slot] if self._slots else ())]]

    def listen(self, slot: int) -> None:
        """Let connections come to a slot, from now on and for good."""
        for one in [*self._shared, *(self._slots[slot] if self._slots else ())]:
            one.listen(_BACKLOG)

    def descriptors(self) -> Descriptors:
        """Return what a worker needs to know of them."""
        return (
            str(self.address),
            [one.fileno() for one in self._shared],
            [[one.fileno() for one in slot] for slot in self._slots],
        )

    def close(self) -> None:
        """Close them all; connections that wait are reset."""
        for one in self.sockets:
            one.close()
        if self._identity is not None:
            unix.remove(self.address.path, self._identity)
            self._identity = None


def bind_all(urls: Sequence[str], slots: int, passed: Sequence[socket.socket] = ()) -> list[Bound]:
    """Bind the sockets of several urls.

    Args:
        urls: where to listen.
        slots: how many workers there will be.
        passed: sockets that were bound before, by the program that has started this one. A url takes those that have
            its port or path: one for all workers, or one for each.

    Raises:
        OSError: an address cannot be bound; the error contains it.
        ValueError: ``passed`` do not fit the urls.
    """
    left = list(passed)
    made: list[Bound] = []
    try:
        for address in map(parse_url, urls):
            claimed = [one for one in left if _fits(one, address)]
            left = [one for one in left if one not in claimed]
            made.append(_take(address, claimed, slots) if claimed else _bind(address, slots))
        if left:
            raise ValueError(f"a socket was passed that no url to listen on has: {_name(left[0])}")
    except BaseException:
        for bound in made:
            bound.close()
        raise
    return made


def _bind(address: Address, slots: int) -> Bound:
    try:
        if address.scheme == "unix":
            return Bound(address, [unix.bind(address)])
        if not balances():
            return Bound(address, _bind_tcp(_places(address), reuse_port=False))
        return Bound(address, [], _bind_slots(address, spare_slots(slots)))
    except OSError as error:
        if error.filename is None:
            error.filename = str(address)
        raise


def _places(address: Address) -> list[tuple[socket.AddressFamily, object]]:
    found = socket.getaddrinfo(
        address.host or None, address.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
    )
    return list(dict.fromkeys((family, name) for family, _, _, _, name in found))


def _bind_slots(address: Address, slots: int) -> list[list[socket.socket]]:
    places = _places(address)
    if address.port:
        # Fails if any other program listens there: with SO_REUSEPORT another one of this user would share the port.
        for probe in _bind_tcp(places, reuse_port=False):
            probe.close()
    made = [_bind_tcp(places, reuse_port=True)]
    try:
        places = [(one.family, one.getsockname()) for one in made[0]]  # with the port that the system chose
        while len(made) < slots:
            made.append(_bind_tcp(places, reuse_port=True))
    except BaseException:
        for slot in made:
            for one in slot:
                one.close()
        raise
    return made


def _bind_tcp(
    places: Iterable[tuple[socket.AddressFamily, object]], *, reuse_port: bool
) -> list[socket.socket]:
    made: list[socket.socket] = []
    try:
        for family, name in places:
            try:
                one = socket.socket(family, socket.SOCK_STREAM)
            except OSError as error:
                if error.errno == errno.EAFNOSUPPORT:  # no IPv6 on this machine
                    continue
                raise
            made.append(one)
            one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if reuse_port:
                one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
            if family == socket.AF_INET6:
                one.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            one.bind(name)  # type: ignore[arg-type] # as getaddrinfo gave it
    except BaseException:
        for one in made:
            one.close()
        raise
    return made


# -- sockets that were passed


def _fits(one: socket.socket, address: Address) -> bool:
    name = one.getsockname()
    if address.scheme == "unix":
        return one.family == socket.AF_UNIX and os.fsdecode(name) == address.path
    return one.family in (socket.AF_INET, socket.AF_INET6) and name[1] == address.port


def _take(address: Address, claimed: Sequence[socket.socket], slots: int) -> Bound:
    """Return the sockets of a url that were passed: one of each name for all workers, or one for each worker."""
    by_name: dict[object, list[socket.socket]] = {}
    for one in claimed:
        by_name.setdefault(one.getsockname(), []).append(one)
    counts = {len(same) for same in by_name.values()}
    if counts == {1}:
        return Bound(address, claimed, owned=False)
    if counts == {slots}:
        each = [list(slot) for slot in zip(*by_name.values(), strict=True)]
        return Bound(address, [], each, owned=False)
    raise ValueError(
        f"{len(claimed)} sockets were passed for {address}: there is one for all workers, or one for each ({slots})"
    )


def _name(one: socket.socket) -> str:
    with contextlib.suppress(OSError):
        return repr(one.getsockname())
    return f"descriptor {one.fileno()}"
