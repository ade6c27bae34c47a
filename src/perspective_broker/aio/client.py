"""connect: from a url to the object at its other end."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Coroutine, Generator, Sequence
from types import TracebackType
from typing import Any

from .. import transports
from ..errors import ConnectionLost, ProtocolError
from ..flavors import Policy, Registry
from ..limits import Limits
from .connection import Connection
from .driver import Driver
from .references import RemoteReference
from .settings import Settings

__all__ = ["Connecting", "connect"]


def connect(
    url: str,
    *,
    timeout: float | None = 30,
    limits: Limits | None = None,
    policy: Policy | None = None,
    registry: Registry | None = None,
    dialects: Sequence[str] | None = None,
    tls: ssl.SSLContext | None = None,
) -> Connecting:
    """Connect to a peer.

    ``root = await connect(url)`` leaves the connection open until ``root.connection.close()``;
    ``async with connect(url) as root:`` closes it at the end of the block.

    Args:
        url: where the peer listens: ``tcp://``, ``tls://``, ``unix://`` or ``memory:``.
        timeout: seconds until the connection must be established; None waits for ever.
        limits: what the peer may ask of us.
        policy: what may be received.
        registry: what type tags mean.
        dialects: names of dialects to allow, best first.
        tls: for ``tls://``; None trusts what the system trusts.

    Returns:
        What is awaited or entered for the reference to the peer's root.

    Raises:
        ValueError: the url or a dialect's name is none. (At once; what follows when it is awaited.)
        OSError: nobody answers there; TimeoutError when nobody did in time.
        ProtocolError: who answers does not speak Perspective Broker, or none of our dialects.
        ConnectionLost: the connection ended before it was established.
    """
    address = transports.parse_url(url)
    settings = Settings.of(limits, policy, registry, dialects)
    return Connecting(_connect(address, settings, timeout, tls))


class Connecting:
    """A connection that is being made: awaitable, and an asynchronous context manager."""

    def __init__(self, establish: Coroutine[Any, Any, RemoteReference]) -> None:
        self._establish = establish
        self._connection: Connection | None = None

    def __await__(self) -> Generator[Any, None, RemoteReference]:
        # A generator of our own, for it keeps this object, whose end closes the coroutine, until it is done.
        return (yield from self._establish.__await__())

    async def __aenter__(self) -> RemoteReference:
        reference = await self._establish
        self._connection = reference.connection  # the reference may be released before the block ends
        return reference

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        assert self._connection is not None
        await self._connection.close()

    def __del__(self) -> None:
        self._establish.close()  # never awaited: nothing was begun, nothing to warn of


async def _connect(
    address: transports.Address, settings: Settings, timeout: float | None, tls: ssl.SSLContext | None
) -> RemoteReference:
    driver: Driver | None = None

    def factory() -> Driver:
        nonlocal driver
        driver = Driver(settings, str(address))
        return driver

    deadline = asyncio.timeout(timeout)
    try:
        async with deadline:
            await transports.connect(address, factory, tls)
            assert driver is not None
            await driver.opened
    except TimeoutError:
        if not deadline.expired():
            raise  # the system's own
        if driver is not None:
            driver.broker.close("timeout", "the connection was not established in time")
            await driver.connection.wait_closed()
        raise TimeoutError(f"no connection to {address} within {timeout:g} s") from None
    except BaseException:
        if driver is not None:
            driver.broker.close("cancelled", "the connection was given up")
        raise
    cause = driver.broker.lifecycle.cause
    if cause is not None:
        await driver.connection.wait_closed()
        if cause.code in ("lost", "closed"):
            raise ConnectionLost(cause.code, cause.reason)
        raise ProtocolError(cause.code, cause.reason)
    root = driver.broker.root()
    assert isinstance(root, RemoteReference)
    return root
