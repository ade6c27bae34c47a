"""Connection: what a program may ask of the connection itself."""

from __future__ import annotations

import asyncio
import ipaddress
import os
import socket
import ssl
import struct
import sys
import time
from collections.abc import Awaitable, Callable
from typing import Final, Protocol, TypeVar, cast

from ..calls import RunningCall
from ..errors import CallError, DeadReferenceError, LimitExceeded, RemoteError
from ..flavors.handle import Handle
from ..limits import Limits
from ..session import CloseCause, Statistics
from ..transports import PeerCertificate, address_of
from .affinity import check_loop
from .counting import Counting
from .driver import Driver
from .endings import Ending, Endings
from .write_buffer import Drain

__all__ = ["Connection", "describe_peer", "dont_notify_at_end", "driver_of", "endings_of", "notify_at_end"]

_Subject = TypeVar("_Subject")

#: The report of Linux on the process at the other end of a Unix socket: its number, user and group.
_CREDENTIALS: Final = struct.Struct("3i")

#: The name under which no peer keeps an object.
_NOBODY: Final = "pb-ping"


class Connection(Handle):
    """One connection to a peer; reached as ``reference.connection`` or in ``server.connections``.

    Attributes:
        peer: where the peer is, as text.
        source: what counts its failed logins: its IP address, of IPv6 the /64; None where there is none.
        is_local: whether its bytes cannot leave the machine: a loopback address, a Unix socket, or memory. (A proxy
            on this machine counts as local.)
        is_secure: whether they are encrypted. That does not tell which peer it is:
        is_verified: whether TLS has made sure that the peer is the host that was connected to.
        since: when it was made, as :func:`time.time` tells it.
        user: who has logged in, at a server; None before, and without a login. An anonymous user is ``"anonymous"``.
    """

    __slots__ = (
        "_driver",
        "_endings",
        "is_local",
        "is_secure",
        "is_verified",
        "peer",
        "since",
        "source",
        "user",
    )

    def __init__(self, driver: Driver, peer: str) -> None:
        self._driver = driver
        self._endings = Endings()
        self.peer: str = peer
        self.source: str | None = None
        self.is_local: bool = False
        self.is_secure: bool = False
        self.is_verified: bool = False
        self.since: float = time.time()
        self.user: str | None = None

    @property
    def room(self) -> Drain:
        """An awaitable that waits until the connection can take more."""
        return self._driver.buffer.drain

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
        """Whether the peer takes no new calls and will end the connection soon."""
        return self._driver.broker.receiver.peer_drains

    @property
    def limits(self) -> Limits:
        """The limits of ``serve`` or ``connect``; until a peer has logged in, lower ones apply."""
        return self._driver.settings.limits

    def statistics(self) -> Statistics:
        """Return the connection's state now: tables, calls, bytes."""
        return self._driver.broker.statistics()

    def running(self) -> list[RunningCall]:
        """Return the calls of the peer whose methods run now, oldest first."""
        answers = self._driver.broker.answers
        counting = answers.listener
        began = counting.running if isinstance(counting, Counting) else {}
        now = self._driver.loop.time()
        # uvloop's clock counts milliseconds, which is too coarse for calls.
        finer = time.monotonic()
        return [
            RunningCall(
                call.name,
                finer - began[call] if call in began else None,
                None if call.due is None else call.due - now,
            )
            for call in answers.running
        ]

    def exported(self) -> dict[str, int]:
        """Return how many objects of each class the peer holds, by the names of the classes."""
        return self._driver.broker.tables.exports.classes()

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
        nobody = cast(_Callable, self._driver.broker.tables.imports.named(_NOBODY))
        began = time.perf_counter()
        try:
            await nobody.call("ping")
        except (CallError, LimitExceeded, RemoteError):
            pass  # as expected; a peer that shuts down refuses all calls
        return time.perf_counter() - began

    def on_disconnect(self, callback: Callable[[Connection], object]) -> None:
        """Call ``callback(connection)`` once when the connection ends.

        Callbacks of a connection and of its references run in the order in which they were asked for. An ``async`` one
        is started in that order, and :meth:`wait_closed` waits for it.

        Raises:
            DeadReferenceError: the connection has ended.
            UsageError: from another thread or event loop than the connection's.
        """
        check_loop(self._driver.loop)
        notify_at_end(self, self, callback)

    def dont_notify_on_disconnect(self, callback: Callable[[Connection], object]) -> None:
        """Undo one :meth:`on_disconnect`.

        Raises:
            ValueError: it was not asked for.
        """
        dont_notify_at_end(self, self, callback)

    def end(self, code: str = "closed", reason: str = "the program closed it") -> None:
        """Begin to end the connection in order, without waiting for it.

        New calls are refused at once. Calls that were made are sent, and the peer's one-way calls that came before
        its own end still run; calls that have no answer yet fail with :class:`~perspective_broker.ConnectionLost`.

        Args:
            code: why, as a short word; it is sent to a peer whose dialect has a farewell.
            reason: one line for a human.

        Raises:
            TypeError: one of them is not text.
            UsageError: from another thread or event loop than the connection's.
        """
        if not all(isinstance(text, str) for text in (code, reason)):
            raise TypeError("the code and the reason of an end are text (str)")
        driver = self._driver
        check_loop(driver.loop)
        if driver.unauthenticated:  # such a peer gets nothing but a farewell
            driver.broker.close(code, reason)
        else:
            driver.broker.finish(code, reason, driver.loop.time())

    async def close(self, code: str = "closed", reason: str = "the program closed it") -> None:
        """End the connection in order, see :meth:`end`, and wait until it is gone. May be called twice.

        Calls without an answer that were made before arrive and run. That takes as long as the peer takes to read them,
        but no more than ``Limits.close_seconds`` without progress.
        """
        self.end(code, reason)
        await self.wait_closed()

    async def wait_closed(self) -> None:
        """Wait until the connection is gone, whichever side ends it, and the methods it ran have ended.

        They are cancelled; what has not ended ``Limits.close_seconds`` after the connection is logged, and left behind.
        """
        check_loop(self._driver.loop)
        await self._endings.wait_gone()

    def __repr__(self) -> str:
        return f"<Connection to {self.peer} {self._driver.broker.lifecycle.phase.value}>"


class _Callable(Protocol):
    """A reference, without the module that makes references: that one needs connections."""

    def call(self, name: str, /) -> Awaitable[object]: ...


def driver_of(connection: Connection) -> Driver:
    """Return what carries the bytes of a connection."""
    return connection._driver


def endings_of(connection: Connection) -> Endings:
    """Return the callbacks for the end of a connection."""
    return connection._endings


def notify_at_end(
    connection: Connection,
    subject: _Subject,
    callback: Callable[[_Subject], object],
    own: list[Ending] | None = None,
) -> None:
    """Call ``callback(subject)`` at the end of a connection; what it returns is awaited if it can be.

    Args:
        connection: whose end it is.
        subject: what the callback is called with.
        callback: may be ``async``.
        own: the subject's list of its callbacks; None keeps the callback as long as the connection lives.

    Raises:
        DeadReferenceError: the connection has ended.
    """
    if connection.close_cause is not None:
        raise DeadReferenceError("the connection has ended")
    connection._endings.add(subject, callback, own)


def dont_notify_at_end(
    connection: Connection,
    subject: _Subject,
    callback: Callable[[_Subject], object],
    own: list[Ending] | None = None,
) -> None:
    """Undo one :func:`notify_at_end`.

    Raises:
        ValueError: there was none.
    """
    connection._endings.remove(subject, callback, own)


def describe_peer(
    connection: Connection, transport: asyncio.BaseTransport, proxied: tuple[str, int] | None
) -> None:
    """Ask the transport where its other end is, and how it gets there.

    Args:
        connection: is told.
        transport: was just made.
        proxied: the address that a trusted proxy gives; None without one.
    """
    peer = proxied or transport.get_extra_info("peername")
    connection.peer = _peer_name(transport, peer) or connection.peer
    connection.source = address_of(peer)
    context = transport.get_extra_info("sslcontext")
    if context is not None:
        connection.is_secure = True
        connection.is_verified = context.verify_mode is ssl.CERT_REQUIRED and context.check_hostname
    connection.is_local = _is_local(peer, transport.get_extra_info("socket"))


def _peer_name(transport: asyncio.BaseTransport, peer: object) -> str:
    """Return what to call the other side in messages; empty when the transport does not know."""
    if isinstance(peer, tuple) and peer:
        host, port = map(str, peer[:2])
        return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    sock = transport.get_extra_info("socket")
    if getattr(sock, "family", None) != socket.AF_UNIX:
        return str(peer or "")
    # A client's end rarely has a name of its own; then it is called by the name it connected to, and its process.
    path = os.fsdecode(cast(str | bytes, peer) or transport.get_extra_info("sockname") or "")
    name = f"unix://{path if path.isprintable() else ascii(path)}"
    return name if peer else name + _process(sock)


def _process(sock: socket.socket) -> str:
    """Return the process at the other end of a Unix socket, in words, where the system tells it."""
    if sys.platform != "linux":
        return ""
    credentials = sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
    process = _CREDENTIALS.unpack(credentials)[0]
    return f" (process {process})" if process else ""  # 0 is one of another container


def _is_local(peer: object, sock: object) -> bool:
    """Judge by where the bytes really go, not by a name that was resolved. In doubt they leave the machine."""
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
