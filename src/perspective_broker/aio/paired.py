"""A connection over a socket that two processes have from their parent: one accepts on it, the other connects."""

from __future__ import annotations

import asyncio
import socket

from ..errors import ConnectionLost
from ..flavors import Referenceable
from ..limits import Limits
from .accepted import Keeper
from .connection import Connection
from .driver import as_protocol
from .host import Host
from .references import RemoteReference
from .roots import ROOT, Roots
from .settings import Settings

__all__ = ["accept_on", "connect_on"]

#: A process that computes for a minute is no dead one: the system says at once when the other process has ended.
_LIMITS = Limits(ping_seconds=1e6, handshake_seconds=1e6, stalled_seconds=None)


async def accept_on(sock: socket.socket, root: Referenceable, peer: str) -> Connection:
    """Offer ``root`` to the process at the other end.

    Args:
        sock: one end of a pair.
        root: what the other process reaches.
        peer: what to call it.
    """
    host = Host(_settings(), peer, keeper=Keeper(), roots=Roots(root).make)
    await asyncio.get_running_loop().connect_accepted_socket(lambda: as_protocol(host.driver), sock)
    return host.connection


async def connect_on(sock: socket.socket, peer: str) -> RemoteReference:
    """Return the root of the process at the other end.

    Raises:
        ConnectionLost: it has ended.
    """
    host = Host(_settings(), peer)
    await asyncio.get_running_loop().create_unix_connection(lambda: as_protocol(host.driver), sock=sock)
    await host.wait_open()
    cause = host.connection.close_cause
    if cause is not None:
        await host.connection.wait_closed()
        raise ConnectionLost(cause.code, cause.reason)
    return host.root(ROOT)


def _settings() -> Settings:
    return Settings.of(_LIMITS, None, None, ("pb7",))
