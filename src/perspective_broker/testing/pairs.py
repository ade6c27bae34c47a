"""memory_pair: a server and a connected client in one event loop."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from itertools import count

from ..aio import Connection, RemoteReference, Server, connect, serve
from ..flavors import Policy, Registry
from ..flavors.values import Value
from ..limits import Limits

__all__ = ["Pair", "memory_pair"]

_serial = count(1)


@dataclass(frozen=True, slots=True)
class Pair:
    """Two connected ends.

    Attributes:
        server: serves the root.
        root: the client's reference to it.
        client: the client's connection.
        accepted: the server's connection to that client.
    """

    server: Server
    root: RemoteReference
    client: Connection
    accepted: Connection


@asynccontextmanager
async def memory_pair(
    root: Value,
    *,
    url: str | None = None,
    limits: Limits | None = None,
    client_limits: Limits | None = None,
    policy: Policy | None = None,
    registry: Registry | None = None,
    dialects: Sequence[str] | None = None,
    unsafe_tracebacks: bool = False,
    describe: bool = True,
) -> AsyncIterator[Pair]:
    """Serve ``root``, connect to it, and close both at the end of the block.

    Args:
        root: the root of ``serve``.
        url: the url of the server; a new memory url when None. A test can use sockets with another one.
        limits: for the server; ``client_limits`` for the client, the same when None.
        describe: of ``serve``.
        policy: for both ends, like ``registry``, ``dialects`` and ``unsafe_tracebacks``.
    """
    where = url or f"memory:pair-{next(_serial)}"
    async with (
        serve(
            root,
            where,
            limits=limits,
            policy=policy,
            registry=registry,
            dialects=dialects,
            unsafe_tracebacks=unsafe_tracebacks,
            describe=describe,
        ) as server,
        connect(
            server.urls[0],
            limits=client_limits or limits,
            policy=policy,
            registry=registry,
            dialects=dialects,
        ) as reference,
    ):
        yield Pair(server, reference, reference.connection, server.connections[-1])
