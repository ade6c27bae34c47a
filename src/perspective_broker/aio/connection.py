"""Connection: what a program may know of, and do to, the connection itself."""

from __future__ import annotations

import asyncio
import ipaddress
import os
import socket
import ssl
import struct
import sys
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

from ..errors import CallError, LimitExceeded, RemoteError
from ..flavors.handle import Handle
from ..limits import Limits
from ..ports import Feature
from ..session import CloseCause, Statistics
from ..transports import PeerCertificate, address_of
from .places import check_place

if TYPE_CHECKING:
    from .driver import Driver
    from .references import Room

__all__ = ["Connection"]

#: What Linux tells of the process at the other end of a Unix socket: its number, user and group.
_CREDENTIALS: Final = struct.Struct("3i")

#: The name under which no peer keeps an object.
_NOBODY: Final = "pb-ping"


class Connection(Handle):
    """One connection to a peer; reached as ``reference.connection`` or in ``server.connections``.

    Attributes:
        peer: where the peer is, as text.
        source: what counts its failed logins: its IP address, of IPv6 the /64; None where there is none.
        is_local: whether its bytes cannot leave the machine: a loopback address, a Unix socket, or memory. (A proxy
            on this machine is what it looks like: local.)
        is_secure: whether they are encrypted. Who the peer is, is another question:
        is_verified: whether TLS has made sure that the peer is the host that was connected to.
    """

    __slots__ = ("_driver", "is_local", "is_secure", "is_verified", "peer", "proxied", "source")

    def __init__(self, driver: Driver, peer: str) -> None:
        self._driver = driver
        self.peer = peer
        self.source: str | None = None
        self.proxied: tuple[str, int] | None = None  # what a trusted proxy says of where the peer is
        self.is_local = self.is_secure = self.is_verified = False

    def made(self, transport: asyncio.BaseTransport) -> None:
        """Ask the transport who is at its other end (called by the driver)."""
        peer = self.proxied or transport.get_extra_info("peername")
        self.peer = _peer_name(transport, peer) or self.peer
        self.source = address_of(peer)
        context = transport.get_extra_info("sslcontext")
        if context is not None:
            self.is_secure = True
            self.is_verified = context.verify_mode is ssl.CERT_REQUIRED and context.check_hostname
        self.is_local = _is_local(peer, transport.get_extra_info("socket"))

    @property
    def room(self) -> Room:
        """What may be awaited until the connection can take more."""
        return self._driver.room

    @property
    def dialect(self) -> str:
        """The agreed dialect's name, ``""`` before there is one."""
        return self._driver.broker.dialect.name

    @property
    def tls_version(self) -> str:
        """Such as ``"TLSv1.3"``; ``""`` when the connection is not encrypted."""
        channel = self._driver.channel
        return "" if channel is None else channel.version

    @property
    def peer_certificate(self) -> PeerCertificate | None:
        """The certificate that the peer showed; None when it showed none, or none that was verified."""
        channel = self._driver.channel
        return None if channel is None else channel.peer_certificate

    def channel_binding(self, kind: str = "tls-server-end-point") -> bytes | None:
        """Return what binds a login to this very channel, the same on both sides; None when there is none.

        Args:
            kind: of channel binding, by its registered name (RFC 5929).
        """
        channel = self._driver.channel
        return None if channel is None else channel.binding(kind)

    @property
    def close_cause(self) -> CloseCause | None:
        """Why the connection ended; None while it lives."""
        return self._driver.broker.lifecycle.cause

    @property
    def draining(self) -> bool:
        """Whether the peer has said that it takes no new calls and will end the connection soon."""
        return self._driver.broker.receiver.peer_drains

    @property
    def limits(self) -> Limits:
        """What ``serve`` or ``connect`` were told; a peer that has yet to log in lives under less."""
        return self._driver.settings.limits

    def use_limits(self, limits: Limits) -> None:
        """Judge the peer by other limits from now on.

        Raises:
            TypeError: they are not a :class:`Limits`.
        """
        if not isinstance(limits, Limits):
            raise TypeError(f"use_limits takes a pb.Limits, not {limits!r:.100}")
        self._driver.broker.use_limits(limits)

    def expect_login(self) -> None:
        """The peer has to say who it is: until :meth:`welcome` it is a stranger, under :meth:`Limits.before_login`."""
        self._driver.awaits_login = True
        self.use_limits(self.limits.before_login())

    def welcome(self) -> None:
        """The peer has said who it is."""
        self.use_limits(self.limits)
        self._driver.welcome()

    def speak_as_in_2002(self) -> None:
        """Send nothing from now on that a program of 2002 cannot read: plain strings for text, no booleans."""
        dialect = self._driver.broker.dialect
        if dialect.has(Feature.OF_2002):
            dialect.speak_as_in_2002()

    def statistics(self) -> Statistics:
        """Return the connection's state now: tables, calls, bytes."""
        return self._driver.statistics()

    async def ping(self) -> float:
        """Make a round trip, and return the seconds that it took.

        It is a call to an object that the peer does not have, answered by an error: every dialect since 2002 has that
        answer, with or without a login, and no code of the peer's application runs. It takes its turn among this
        side's calls. A peer made of this library logs it at level info.

        Raises:
            ConnectionLost: the connection ended before the answer came.
            DeadReferenceError: it had ended before.
            LimitExceeded: too many calls wait here already.
        """
        nobody: Any = self._driver.broker.tables.imports.named(_NOBODY)
        began = time.perf_counter()
        promise = nobody.call("ping")
        try:
            await promise
        except (CallError, LimitExceeded, RemoteError):
            pass  # as it should be; a peer that shuts down says that there is no room
        return time.perf_counter() - began

    def on_disconnect(self, callback: Callable[[Connection], object]) -> None:
        """Call ``callback(connection)`` once when the connection ends.

        Callbacks of a connection and of its references run in the order in which they were asked for. An ``async`` one
        is started in that order, and :meth:`wait_closed` waits for it.

        Raises:
            DeadReferenceError: the connection has ended.
            UsageError: from another thread or event loop than the connection's.
        """
        check_place(self._driver.loop)
        self._driver.notify_on_disconnect(self, callback)

    def dont_notify_on_disconnect(self, callback: Callable[[Connection], object]) -> None:
        """Undo one :meth:`on_disconnect`.

        Raises:
            ValueError: it was not asked for.
        """
        self._driver.dont_notify_on_disconnect(self, callback)

    def end(self, code: str = "closed", reason: str = "the program closed it") -> None:
        """Begin to end the connection in order, without waiting for it.

        New calls are refused at once. What was made is sent, and the peer's calls without an answer that came before
        its own end still run; calls that have no answer yet fail with :class:`~perspective_broker.ConnectionLost`.

        Args:
            code: why, as a short word; a peer whose dialect has a farewell is told it.
            reason: one line for a human.

        Raises:
            TypeError: one of them is not text.
            UsageError: from another thread or event loop than the connection's.
        """
        if not all(isinstance(text, str) for text in (code, reason)):
            raise TypeError("the code and the reason of an end are text (str)")
        check_place(self._driver.loop)
        self._driver.finish(code, reason)

    def end_at_once(self, code: str, reason: str) -> None:
        """End the connection now, with a farewell, where another takes its place.

        What the peer has said and was not acted on is dropped, and so are our own calls that wait for room.
        """
        self._driver.broker.close(code, reason)

    async def close(self, code: str = "closed", reason: str = "the program closed it") -> None:
        """End the connection in order, see :meth:`end`, and wait until it is gone. May be called twice.

        Calls without an answer that were made before arrive and run. That takes as long as the peer takes to read them,
        but no more than ``Limits.close_seconds`` without progress.
        """
        self.end(code, reason)
        await self.wait_closed()

    async def wait_closed(self) -> None:
        """Wait until the connection is gone, whoever ends it, and the methods it ran have ended.

        They are cancelled; what has not ended ``Limits.close_seconds`` after the connection is logged, and left behind.
        """
        check_place(self._driver.loop)
        await self._driver.wait_gone()

    def __repr__(self) -> str:
        return f"<Connection to {self.peer} {self._driver.broker.lifecycle.phase.value}>"


def _peer_name(transport: asyncio.BaseTransport, peer: Any) -> str:
    """Return what to call the other side in messages; empty when the transport does not know."""
    if isinstance(peer, tuple) and peer:
        host, port = peer[:2]
        return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    sock = transport.get_extra_info("socket")
    if getattr(sock, "family", None) != socket.AF_UNIX:
        return str(peer or "")
    # A client's end rarely has a name of its own; then it is called by the name it connected to, and its process.
    path = os.fsdecode(peer or transport.get_extra_info("sockname") or "")
    name = f"unix://{path if path.isprintable() else ascii(path)}"
    return name if peer else name + _process(sock)


def _process(sock: Any) -> str:
    """Return the process at the other end of a Unix socket, in words, where the system tells it."""
    if sys.platform != "linux":
        return ""
    credentials = sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
    process = _CREDENTIALS.unpack(credentials)[0]
    return f" (process {process})" if process else ""  # 0 is one of another container


def _is_local(peer: object, sock: object) -> bool:
    """Judge by where the bytes really go, not by a name that somebody resolved. In doubt they leave the machine."""
    if isinstance(peer, tuple) and peer:
        try:
            address = ipaddress.ip_address(str(peer[0]).partition("%")[0])
        except ValueError:
            return False
        mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
        return (mapped or address).is_loopback
    if getattr(sock, "family", None) == socket.AF_UNIX:
        return True
    return isinstance(peer, str) and peer.startswith("memory:")
