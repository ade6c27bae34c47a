"""Ordered chunks of bytes both ways, by url. Each scheme is one module with ``connect`` and ``listen``."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Callable
from types import ModuleType
from typing import Final, cast

from . import memory, tcp, unix
from .listener import Listener
from .urls import DEFAULT_PORT, Address, parse_url

__all__ = ["DEFAULT_PORT", "Address", "Listener", "connect", "listen", "parse_url"]

_BY_SCHEME: Final[dict[str, ModuleType]] = {"tcp": tcp, "tls": tcp, "unix": unix, "memory": memory}


async def connect(
    address: Address, factory: Callable[[], asyncio.Protocol], tls: ssl.SSLContext | None = None
) -> None:
    """Connect a protocol made by ``factory`` to ``address``. Raises OSError when that fails."""
    await _BY_SCHEME[address.scheme].connect(address, factory, tls)


async def listen(
    address: Address, factory: Callable[[], asyncio.Protocol], tls: ssl.SSLContext | None = None
) -> Listener:
    """Listen on ``address``, with a protocol made by ``factory`` for every connection. Raises OSError."""
    return cast(Listener, await _BY_SCHEME[address.scheme].listen(address, factory, tls))
