"""``tcp://`` and ``tls://``: asyncio's own streams of bytes."""

from __future__ import annotations

import asyncio
import logging
import math
import socket
import ssl
from collections.abc import Callable, Sequence
from typing import Any, Final

from .listener import Listener
from .strangers import Strangers, address_of
from .tls import tls_error
from .urls import Address, bound_urls

__all__ = ["connect", "listen", "watch_for_silence"]

log = logging.getLogger("perspective_broker")

#: Questions of the system to a silent machine before it is given up: one that is lost on the way is no answer.
_PROBES: Final = 4


class _TcpListener:
    def __init__(self, server: asyncio.Server, address: Address) -> None:
        self._server = server
        self.urls = bound_urls(address, server.sockets)

    def close(self) -> None:
        self._server.close()

    async def wait_closed(self) -> None:
        # Server.wait_closed waits for connections as well from Python 3.12 on, and they end elsewhere.
        await asyncio.sleep(0)


class _TLSListener:
    """Accepts connections, and hands over those that come to speak TLS.

    The event loop's own way (``create_server(ssl=...)``) keeps one context for ever, and lets nobody end a handshake
    that has not ended; so this one accepts by itself.

    Args:
        sockets: bound; they are the listener's from now on.
        address: what was asked for.
        factory: makes the protocol of a connection whose handshake is over.
        make_context: gives the context of the next connection.
        seconds: for a handshake; None for the event loop's own choice.
        strangers: counts those in the middle of a handshake, and refuses some; None refuses nobody.
    """

    def __init__(
        self,
        sockets: Sequence[socket.socket],
        address: Address,
        factory: Callable[[], asyncio.Protocol],
        make_context: Callable[[], ssl.SSLContext],
        seconds: float | None,
        strangers: Strangers | None,
    ) -> None:
        self._loop = asyncio.get_running_loop()
        self._sockets = list(sockets)
        self._factory, self._make_context, self._seconds = factory, make_context, seconds
        self._strangers = strangers
        self._handshakes: set[asyncio.Task[None]] = set()
        self.urls = bound_urls(address, self._sockets)
        try:
            for listening in self._sockets:
                listening.setblocking(False)
                listening.listen(1024)
        except OSError:  # somebody else was a moment earlier
            self.close()
            raise
        for listening in self._sockets:
            self._loop.add_reader(listening, self._accept, listening)

    def close(self) -> None:
        """Accept no more; handshakes go on until :meth:`wait_closed`."""
        sockets, self._sockets = self._sockets, []
        for listening in sockets:
            self._loop.remove_reader(listening)
            listening.close()

    async def wait_closed(self) -> None:
        """End the handshakes that have not ended, and wait until all is free again."""
        await asyncio.sleep(0)  # each has begun by then, and closes its own socket
        for handshake in self._handshakes:
            handshake.cancel()
        if self._handshakes:
            await asyncio.wait(self._handshakes)

    def _accept(self, listening: socket.socket) -> None:
        try:
            accepted, peer = listening.accept()
        except (BlockingIOError, ConnectionAbortedError):
            return  # it went away again
        except OSError as error:  # out of file descriptors or memory: those we have go on, new ones wait
            log.error("no connection can be accepted, trying again in a second: %s", error)
            self._loop.remove_reader(listening)
            self._loop.call_later(1, self._accept_again, listening)
            return
        address = None if self._strangers is None else address_of(peer)
        if self._strangers is not None and address is not None and not self._strangers.arrive(address):
            accepted.close()
            return
        accepted.setblocking(False)
        task = self._loop.create_task(self._shake_hands(accepted, f"{peer[0]}:{peer[1]}"))
        self._handshakes.add(task)
        task.add_done_callback(self._handshakes.discard)
        if self._strangers is not None and address is not None:
            leave, whence = self._strangers.leave, address
            task.add_done_callback(lambda _: leave(whence))

    def _accept_again(self, listening: socket.socket) -> None:
        if listening in self._sockets:
            self._loop.add_reader(listening, self._accept, listening)

    async def _shake_hands(self, accepted: socket.socket, peer: str) -> None:
        try:
            await self._loop.connect_accepted_socket(
                self._factory, accepted, ssl=self._make_context(), ssl_handshake_timeout=self._seconds
            )
        except OSError as error:  # on the open internet it happens all day
            log.debug("no TLS with %s: %s", peer, tls_error(error))


async def connect(
    address: Address,
    factory: Callable[[], asyncio.Protocol],
    context: ssl.SSLContext | None = None,
    handshake_seconds: float | None = None,
) -> None:
    """Connect a protocol made by ``factory``, over TLS when there is a ``context``.

    Raises:
        OSError: nobody listens there.
        TLSError: somebody does, but TLS was refused.
    """
    loop = asyncio.get_running_loop()
    if context is None:
        await loop.create_connection(factory, address.host, address.port)
        return
    try:
        await loop.create_connection(
            factory, address.host, address.port, ssl=context, ssl_handshake_timeout=handshake_seconds
        )
    # The last two can only come from the handshake: a connection that was never made is refused or unreachable.
    except (ssl.SSLError, ConnectionAbortedError, ConnectionResetError) as error:
        raise tls_error(error) from error


async def listen(
    address: Address,
    factory: Callable[[], asyncio.Protocol],
    make_context: Callable[[], ssl.SSLContext] | None = None,
    handshake_seconds: float | None = None,
    strangers: Strangers | None = None,
) -> Listener:
    """Listen; every connection gets a protocol made by ``factory``, over TLS when contexts are made.

    Raises:
        OSError: the address cannot be bound.
    """
    server = await asyncio.get_running_loop().create_server(
        factory,
        address.host or None,
        address.port,
        family=socket.AF_UNSPEC,
        backlog=1024,
        start_serving=make_context is None,
    )
    if make_context is None:
        return _TcpListener(server, address)
    sockets = [bound.dup() for bound in server.sockets]  # the loop has done the binding, and that was all
    server.close()
    return _TLSListener(sockets, address, factory, make_context, handshake_seconds, strangers)


def watch_for_silence(sock: Any, silence: float, patience: float, unread: float) -> None:
    """Let the system find out when the machine at the other end is gone; does nothing where there is no TCP.

    It is for what the broker's own pings do not see: classic dialects, which have none, and the last bytes of a
    connection that is closed already.

    Args:
        sock: the transport's.
        silence: seconds without a byte after which the system asks whether the other end is there.
        patience: seconds for the answer.
        unread: seconds that what was sent may go unacknowledged; not less than a slow reader is given, for to the
            system one that reads nothing looks like one that is gone.
    """
    if getattr(sock, "family", None) not in (socket.AF_INET, socket.AF_INET6):
        return
    options = [
        (socket.SOL_SOCKET, "SO_KEEPALIVE", 1),
        (socket.IPPROTO_TCP, "TCP_KEEPIDLE", math.ceil(silence)),
        (socket.IPPROTO_TCP, "TCP_KEEPINTVL", math.ceil(patience / _PROBES)),
        (socket.IPPROTO_TCP, "TCP_KEEPCNT", _PROBES),
        (socket.IPPROTO_TCP, "TCP_USER_TIMEOUT", math.ceil(unread * 1000)),
    ]
    for level, name, value in options:
        number = getattr(socket, name, None)  # what a system does not have, it does not have
        if number is not None:
            try:
                sock.setsockopt(level, number, value)
            except (
                OSError
            ) as error:  # the connection is gone already, or a number is beyond what the system takes
                log.debug("%s was not set: %s", name, error)
