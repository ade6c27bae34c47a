"""The monitor of one server: it listens, and talks to browsers and to programs that collect metrics."""

from __future__ import annotations

import asyncio
import logging
import os
from typing import Final, cast
from urllib.parse import urlsplit

from .. import transports
from .exchange import Exchange
from .gate import Gate
from .views import Views, Watched

__all__ = ["Monitor"]

log: logging.Logger = logging.getLogger("perspective_broker")

#: Browsers and programs at a time. A browser uses up to six connections.
_MOST_TALKS: Final = 32
#: Seconds without a request after which a connection is closed; its first request has as long to come.
_SILENCE: Final = 15.0

#: Bytes that a reader may leave unread: some of the largest answers.
_MOST_UNREAD: Final = 8 * 1024 * 1024

_PORT: Final = 8788


class Monitor:
    """Shows a server.

    Args:
        url: ``http://HOST:PORT`` or ``unix:///PATH``.
        server: what is shown.

    Raises:
        ValueError: it is not such a url.
    """

    def __init__(self, url: str, server: Watched) -> None:
        self._address = _address(url)
        self._views = Views(server)
        self._listener: transports.Listener | None = None
        self._gate: Gate | None = None
        self._talks: set[_Talk] = set()
        self.url: str = url  #: with its token, once it listens

    async def listen(self) -> None:
        """Listen. Raises OSError when the address cannot be bound."""
        address = self._address
        self._listener = await transports.listen(address, self._talk)
        bound = self._listener.urls[0]
        if address.scheme == "unix":
            os.chmod(address.path, 0o600)
            self._gate = Gate(None, 0)
            self.url = bound
            return
        port = urlsplit(bound).port or 80
        self._gate = Gate(address.host, port)
        self.url = f"http{bound.removeprefix('tcp')}/?token={self._gate.token}"
        if not address.is_local:
            log.warning("the monitor at %s is not encrypted: others on the network can read its token", bound)

    def _talk(self) -> asyncio.Protocol:
        assert self._gate is not None
        return _Talk(Exchange(self._gate, self._views.view), self._talks)

    async def close(self) -> None:
        """Stop. May be called twice."""
        if self._listener is not None:
            self._listener.close()
        for talk in list(self._talks):
            talk.close()
        if self._listener is not None:
            await self._listener.wait_closed()


class _Talk(asyncio.Protocol):
    """One connection to the monitor."""

    def __init__(self, exchange: Exchange, talks: set[_Talk]) -> None:
        self._exchange = exchange
        self._talks = talks
        self._transport: asyncio.Transport | None = None
        self._timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # uvloop's transports do not derive from asyncio's.
        transport = self._transport = cast(asyncio.Transport, transport)
        transport.set_write_buffer_limits(high=_MOST_UNREAD)
        if len(self._talks) >= _MOST_TALKS:
            transport.abort()
            return
        self._talks.add(self)
        self._wait()

    def data_received(self, data: bytes) -> None:
        assert self._transport is not None
        out = self._exchange.receive(data)
        if out:
            self._transport.write(out)
            self._wait()
        if self._exchange.is_over:
            self._transport.close()

    def pause_writing(self) -> None:
        """A reader that asks for more than it reads gets no more."""
        self.close()

    def connection_lost(self, exc: Exception | None) -> None:
        self._talks.discard(self)
        if self._timer is not None:
            self._timer.cancel()

    def _wait(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer = asyncio.get_running_loop().call_later(_SILENCE, self.close)

    def close(self) -> None:
        """End the connection at once."""
        if self._transport is not None:
            self._transport.abort()


def _address(url: str) -> transports.Address:
    if isinstance(url, str):
        scheme, _, rest = url.partition("://")
        if scheme == "unix":
            return transports.parse_url(url)
        if scheme == "http" and rest.strip("/"):
            try:
                parts = urlsplit(url)
                port = _PORT if parts.port is None else parts.port
            except ValueError as error:
                raise ValueError(f"monitor: {url!r}: {error}") from None
            plain = parts.path in ("", "/") and not parts.query and parts.username is None
            if parts.hostname and plain:
                return transports.Address("tcp", parts.hostname, port)
    raise ValueError(f"monitor: http://127.0.0.1:{_PORT} or unix:///PATH, not {url!r:.100}")
