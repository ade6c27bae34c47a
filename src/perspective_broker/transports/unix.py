"""``unix://``: a socket in the file system."""

from __future__ import annotations

import asyncio
import os
import ssl
import stat
from collections.abc import Callable

from .listener import Listener
from .urls import Address

__all__ = ["connect", "listen"]


class _UnixListener:
    def __init__(self, server: asyncio.AbstractServer, address: Address) -> None:
        self._server = server
        self._address = address
        self._inode = os.stat(address.path).st_ino
        self._open = True

    @property
    def urls(self) -> list[str]:
        return [str(self._address)]

    def close(self) -> None:
        if not self._open:
            return
        self._open = False
        self._server.close()
        try:
            # Somebody else may listen under this name by now.
            if os.stat(self._address.path).st_ino == self._inode:
                os.unlink(self._address.path)
        except FileNotFoundError:
            pass

    async def wait_closed(self) -> None:
        await asyncio.sleep(0)


async def connect(
    address: Address, factory: Callable[[], asyncio.Protocol], tls: ssl.SSLContext | None
) -> None:
    """Connect a protocol made by ``factory``. Raises OSError when nobody listens there."""
    await asyncio.get_running_loop().create_unix_connection(factory, address.path)


async def listen(
    address: Address, factory: Callable[[], asyncio.Protocol], tls: ssl.SSLContext | None
) -> Listener:
    """Listen; a socket that a dead process left behind is replaced.

    Raises:
        OSError: the path cannot be bound; FileExistsError when something else than a socket is there.
    """
    try:
        if not stat.S_ISSOCK(os.stat(address.path).st_mode):
            raise FileExistsError(f"{address.path} exists and is no socket")
    except FileNotFoundError:
        pass
    loop = asyncio.get_running_loop()
    server = await loop.create_unix_server(factory, address.path, backlog=1024)
    return _UnixListener(server, address)
