"""Acceptor: accepts connections from listening sockets, with TLS or without.

It does this instead of the event loop's servers for three reasons: each connection gets the TLS context that is current
when it is accepted, unfinished handshakes can be cancelled, and a program without free file descriptors logs one line a
second, keeps its connections, and lets new ones wait.
"""

from __future__ import annotations

import asyncio
import logging
import socket
import ssl
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, Final

from .proxies import HeaderError, TrustedProxies, read_peer
from .tls import tls_error
from .unauthenticated import UnauthenticatedPeers, address_of

__all__ = ["Acceptor", "SocketListener"]

log: logging.Logger = logging.getLogger("perspective_broker")

#: Connections that may wait to be accepted.
BACKLOG: Final = 1024

#: Connections accepted in one turn of the event loop: 64 take about 3 ms.
_PER_TURN: Final = 64

#: Seconds for a proxy's header when no time for the handshake is given.
_PROXY_SECONDS: Final = 10.0

#: Seconds until the next attempt when accepting has failed.
_RETRY: Final = 1.0


class Acceptor:
    """Accepts connections from sockets until it is closed.

    Args:
        sockets: bound sockets; the acceptor closes them.
        factory: makes the protocol of a connection, after the handshake if there is one.
        make_context: returns the TLS context of the next connection; None without TLS.
        seconds: for a handshake; None for the event loop's default.
        unauthenticated: counts peers in a handshake and refuses some; None refuses none.
        proxies: trusted proxies; the factory gets the client's address for each of their connections.

    Raises:
        OSError: a socket cannot listen.
    """

    def __init__(
        self,
        sockets: Sequence[socket.socket],
        factory: Callable[..., asyncio.Protocol],
        make_context: Callable[[], ssl.SSLContext] | None = None,
        seconds: float | None = None,
        unauthenticated: UnauthenticatedPeers | None = None,
        proxies: TrustedProxies | None = None,
    ) -> None:
        self._loop = asyncio.get_running_loop()
        self._sockets: list[socket.socket] = []
        self._factory, self._make_context, self._seconds = factory, make_context, seconds
        self._unauthenticated = unauthenticated if make_context is not None else None
        self._proxies = proxies or TrustedProxies(())
        self._warned = False
        self._beginning: set[asyncio.Task[None]] = set()
        self.add(sockets)

    def add(self, sockets: Sequence[socket.socket]) -> None:
        """Accept from these sockets as well.

        Raises:
            OSError: one of them cannot listen; all of them are closed.
        """
        try:
            for listening in sockets:
                listening.setblocking(False)
                listening.listen(BACKLOG)
        except OSError:  # another process was faster
            for listening in sockets:
                listening.close()
            raise
        for listening in sockets:
            self._sockets.append(listening)
            self._loop.add_reader(listening, self._accept, listening)

    def discard(self, sockets: Sequence[socket.socket]) -> None:
        """Accept no more from these sockets, and close them."""
        for listening in sockets:
            if listening in self._sockets:
                self._sockets.remove(listening)
                self._loop.remove_reader(listening)
                listening.close()

    def close(self) -> None:
        """Stop accepting; handshakes go on until :meth:`wait_closed`. May be called twice."""
        self.discard(list(self._sockets))

    def accept_waiting(self) -> None:
        """Accept the connections that wait in the queues, because closing a socket resets them."""
        for listening in self._sockets:
            for _ in range(BACKLOG // _PER_TURN):
                if not self._accept(listening):
                    break

    async def wait_begun(self) -> None:
        """Wait for the handshakes of the connections that were accepted."""
        if self._beginning:
            await asyncio.wait(self._beginning)

    async def wait_closed(self) -> None:
        """Cancel unfinished handshakes, and wait until their sockets are closed."""
        await asyncio.sleep(0)  # by then each task has begun, and closes its own socket
        for task in self._beginning:
            task.cancel()
        if self._beginning:
            await asyncio.wait(self._beginning)

    def _accept(self, listening: socket.socket) -> bool:
        """Accept some connections; return whether more may wait."""
        for _ in range(_PER_TURN):
            try:
                accepted, peer = listening.accept()
            except (BlockingIOError, ConnectionAbortedError):
                return False  # no connection is left, or its peer has closed it
            except OSError as error:  # out of file descriptors or memory: connections go on, new ones wait
                log.error("no connection can be accepted, trying again in a second: %s", error)
                self._loop.remove_reader(listening)
                self._loop.call_later(_RETRY, self._accept_again, listening)
                return False
            self._begin(accepted, peer)
        return True

    def _accept_again(self, listening: socket.socket) -> None:
        if listening in self._sockets:
            self._loop.add_reader(listening, self._accept, listening)

    def _begin(self, accepted: socket.socket, peer: object) -> None:
        if isinstance(peer, tuple) and peer in self._proxies:
            handing = self._behind_proxy(accepted, peer)
        elif self._admit(peer):
            handing = self._hand_over(accepted, peer, self._factory)
        else:
            accepted.close()
            return
        accepted.setblocking(False)
        task = self._loop.create_task(handing)
        self._beginning.add(task)
        task.add_done_callback(self._beginning.discard)

    def _admit(self, peer: object) -> bool:
        address = None if self._unauthenticated is None else address_of(peer)
        return address is None or self._unauthenticated is None or self._unauthenticated.arrive(address)

    async def _behind_proxy(self, accepted: socket.socket, proxy: tuple[Any, ...]) -> None:
        try:
            async with asyncio.timeout(self._seconds or _PROXY_SECONDS):
                peer = await read_peer(accepted)
        except BaseException as error:
            accepted.close()
            if not isinstance(error, (HeaderError, OSError)):  # a TimeoutError is an OSError
                raise
            log.log(
                logging.DEBUG if self._warned else logging.WARNING,
                "the proxy at %.100s has sent no valid header: %s",
                proxy[0],
                str(error) or "no header arrived in time",
            )
            self._warned = True  # it may be a health check, which comes every second
            return
        if self._admit(peer):
            await self._hand_over(accepted, peer, partial(self._factory, peer))
        else:
            accepted.close()

    async def _hand_over(
        self, accepted: socket.socket, peer: object, factory: Callable[[], asyncio.Protocol]
    ) -> None:
        try:
            if self._make_context is None:
                await self._loop.connect_accepted_socket(factory, accepted)
            else:
                await self._loop.connect_accepted_socket(
                    factory, accepted, ssl=self._make_context(), ssl_handshake_timeout=self._seconds
                )
        except OSError as error:  # common on the open internet
            log.debug("no TLS with %.100s: %s", peer, tls_error(error))
        finally:
            address = None if self._unauthenticated is None else address_of(peer)
            if address is not None and self._unauthenticated is not None:
                self._unauthenticated.leave(address)


class SocketListener:
    """Listens on sockets.

    Args:
        acceptor: accepts from them.
        urls: at which they can be reached.
    """

    def __init__(self, acceptor: Acceptor, urls: list[str]) -> None:
        self._acceptor = acceptor
        self.urls = urls

    def add(self, sockets: Sequence[socket.socket]) -> None:
        """Listen on these as well, see :meth:`Acceptor.add`."""
        self._acceptor.add(sockets)

    def discard(self, sockets: Sequence[socket.socket]) -> None:
        """Listen on these no more, and close them."""
        self._acceptor.discard(sockets)

    def close(self) -> None:
        self._acceptor.close()

    def accept_waiting(self) -> None:
        self._acceptor.accept_waiting()

    async def wait_begun(self) -> None:
        await self._acceptor.wait_begun()

    async def wait_closed(self) -> None:
        await self._acceptor.wait_closed()
