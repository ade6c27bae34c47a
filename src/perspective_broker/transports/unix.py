"""``unix://``: a socket in the file system."""

from __future__ import annotations

import asyncio
import errno
import os
import socket
import stat
from collections.abc import Callable

from .accepting import Acceptor
from .listener import Listener
from .urls import Address

__all__ = ["bind", "connect", "identity", "listen", "remove"]


class _UnixListener:
    def __init__(self, acceptor: Acceptor, address: Address) -> None:
        self._acceptor = acceptor
        self._address = address
        self._identity = identity(address.path)
        self._open = True

    @property
    def urls(self) -> list[str]:
        return [str(self._address)]

    def close(self) -> None:
        if not self._open:
            return
        self._open = False
        self._acceptor.close()
        remove(self._address.path, self._identity)

    def accept_waiting(self) -> None:
        if self._open:
            self._acceptor.accept_waiting()

    async def wait_begun(self) -> None:
        await self._acceptor.wait_begun()

    async def wait_closed(self) -> None:
        await self._acceptor.wait_closed()


def identity(path: str) -> tuple[int, int, int]:
    """Return values that distinguish a socket from one that has replaced it; inodes alone are soon reused."""
    found = os.stat(path)
    return found.st_dev, found.st_ino, found.st_mtime_ns


def remove(path: str, ours: tuple[int, int, int]) -> None:
    """Remove the name of a socket, unless another process listens under it by now."""
    try:
        if identity(path) == ours:
            os.unlink(path)
    except FileNotFoundError:
        pass


def _is_listened_on(path: str) -> bool:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.setblocking(False)
        try:
            probe.connect(path)
        except ConnectionRefusedError:
            return False
        except BlockingIOError:  # its backlog is full
            return True
        return True


def _remove_stale_socket(address: Address) -> None:
    """Remove a socket that a dead process has left behind.

    Raises:
        OSError: the path is in use, or is not a socket.
    """
    try:
        mode = os.stat(address.path).st_mode
    except FileNotFoundError:
        if os.path.islink(address.path):  # the system would report that it is in use
            raise FileExistsError(f"{address} is a broken link") from None
    else:
        if not stat.S_ISSOCK(mode):
            raise FileExistsError(f"{address} exists and is not a socket")
        if _is_listened_on(address.path):
            raise OSError(errno.EADDRINUSE, f"another server listens on {address} already")
        os.unlink(address.path)


async def connect(address: Address, factory: Callable[[], asyncio.Protocol]) -> None:
    """Connect a protocol made by ``factory``. Raises OSError when no server listens there."""
    await asyncio.get_running_loop().create_unix_connection(factory, address.path)


def bind(address: Address) -> socket.socket:
    """Return a socket that is bound to the path; one that a dead process has left behind is replaced.

    Raises:
        OSError: the path cannot be bound, or another server listens there; FileExistsError when it is not a socket.
    """
    _remove_stale_socket(address)
    listening = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        listening.bind(address.path)
    except OSError:
        listening.close()
        raise
    return listening


async def listen(address: Address, factory: Callable[[], asyncio.Protocol]) -> Listener:
    """Listen. Raises what :func:`bind` raises."""
    return _UnixListener(Acceptor([bind(address)], factory), address)
