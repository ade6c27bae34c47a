"""serve: an object, offered at one or several urls."""

from __future__ import annotations

import asyncio
import logging
import socket
import ssl
import warnings
from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from types import TracebackType
from typing import Any

from .. import transports
from ..calls import CallObserver, MethodStatistics
from ..dialects.offer import Web, web
from ..flavors import Policy, Registry
from ..flavors.handle import Handle
from ..limits import Limits
from ..ports import Value
from .accepting import Accepting
from .affinity import check_asyncio, check_loop
from .connection import Connection
from .lag import LoopWatch
from .roots import Roots
from .settings import Settings
from .signals import on_signals
from .watching import Watching

__all__ = [
    "Server",
    "ServerStatistics",
    "accept_from",
    "inherit",
    "move_away",
    "reload_certificates",
    "serve",
    "stop_accepting_from",
]

log: logging.Logger = logging.getLogger("perspective_broker")


def serve(
    root: Value | Mapping[str, Value],
    *urls: str,
    limits: Limits | None = None,
    policy: Policy | None = None,
    registry: Registry | None = None,
    dialects: Sequence[str] | None = None,
    tls: ssl.SSLContext | transports.ServerTLS | None = None,
    unsafe_tracebacks: bool = False,
    busy_poll: float | None = None,
    trusted_proxies: Sequence[str] = (),
    forward: bool = False,
    describe: bool = True,
    statistics: bool = False,
    call_observer: CallObserver | None = None,
    monitor: str | None = None,
    origins: str | Sequence[str] = (),
    hosts: Sequence[str] = (),
) -> Server:
    """Offer an object, or several by name, to every peer that connects.

    ``async with serve(root, "tcp://127.0.0.1:8787") as server:`` listens within the block;
    ``server = await serve(...)`` listens until ``await server.close()``.

    Args:
        root: what a peer reaches first: a Referenceable, an Application or a Portal. When it has
            ``root_object(connection)``, that is asked for each connection's own. When it has ``begin_serving()`` and
            ``end_serving()``, plain or ``async``, they are called before the first url is listened on and after the
            last connection has ended. Or a mapping of names to such objects, ``{"jobs": Jobs(), "status": Status()}``:
            a peer reaches each by its name, as in ``connect(url, object="jobs")``. (A single object is named ``root``.)
            Where one of them is an Application or a Portal, each connection has to log in there in time.
        urls: where to listen; at least one. Port 0 lets the system choose, see ``server.urls``.
        limits: what each peer may ask of us.
        policy: what may be received.
        registry: what type tags mean.
        dialects: names of dialects to offer, best first.
        tls: for ``tls://``: a :class:`ServerTLS` with the certificate to show, or a server-side context.
        unsafe_tracebacks: send peers the tracebacks of our exceptions; they show source and paths.
        busy_poll: seconds, such as 100e-6, that the event loop stays awake after something was sent, see
            :func:`connect`.
        trusted_proxies: addresses or networks, such as ``10.0.0.7`` and ``10.1.0.0/16``, of proxies that put version 2
            of the PROXY protocol in front of each connection on ``tcp://`` or ``tls://``: it comes from the address in
            it. One of theirs without it is closed.
        forward: let references that came by other connections cross to the peers, and pass their calls on.
        describe: let peers of this machine, and authenticated ones, ask which methods an object has
            (:func:`~perspective_broker.describe`, ``pb describe``).
        statistics: count the calls of each method, see :meth:`Server.methods`.
        call_observer: is told of every call, login and connection.
        monitor: where to show what goes on, to a person with a browser and to programs: ``"http://127.0.0.1:8788"``, or
            ``"unix:///run/monitor.sock"``; see ``server.monitor_url``. It needs the extra ``monitor``. Statistics are
            kept as well.
        origins: for ``ws://`` and ``wss://``: the pages that may connect beside those of the server's own host and
            port, such as ``["https://example.org"]``; ``"*"`` for all. Programs other than browsers send no origin, and
            are let in.
        hosts: for the same: names under which peers of this machine may reach the server, beside addresses and
            ``localhost``.

    Raises:
        ValueError: a url, the name of an object or of a dialect, or the address of a proxy is invalid; ``busy_poll`` is
            not such a time; ``tls://`` without ``tls``, or the other way round.
        TypeError: ``root`` cannot be served; of a mapping, one of its objects, or two of them take logins.
        ImportError: ``monitor`` without the extra of that name.
        OSError: an address cannot be bound (when entered or awaited).
    """
    if not urls:
        raise ValueError("serve needs at least one url to listen on, such as tcp://127.0.0.1:8787")
    addresses = [transports.parse_url(url) for url in urls]
    if (tls is not None) is not any(address.is_encrypted for address in addresses):
        raise ValueError(
            "tls:// urls and tls= go together: tls=pb.ServerTLS(certificate, key) and tls://HOST:PORT"
        )
    roots = Roots(root)
    settings = Settings.of(
        limits, policy, registry, dialects, unsafe_tracebacks, busy_poll, forward, describe
    )
    if call_observer is not None and not isinstance(call_observer, CallObserver):
        raise TypeError(
            f"call_observer takes a CallObserver of perspective_broker.calls, not {call_observer!r:.100}"
        )
    watching = Watching(bool(statistics), call_observer, monitor)
    ways = [
        web(str(address), address.path, origins, (*hosts, address.host)) if address.is_web else None
        for address in addresses
    ]
    return Server(roots, addresses, ways, settings, tls, transports.TrustedProxies(trusted_proxies), watching)


@dataclass(frozen=True, slots=True)
class ServerStatistics:
    """The state of a server at one moment.

    Attributes:
        connections: connections that live.
        strangers: those of them, and handshakes of TLS, whose peers come from an IP address and are not
            authenticated.
        accepted: connections that came so far and were let in.
        refused: connections that came so far and were closed at once (``Limits.strangers_per_address``).
        lag: seconds by which the event loop was late when it was last looked at.
        worst_lag: seconds by which it was late at its worst.
    """

    connections: int
    strangers: int
    accepted: int
    refused: int
    lag: float
    worst_lag: float


class Server(Handle):
    """Listens and keeps its connections; made by :func:`serve`."""

    def __init__(
        self,
        roots: Roots,
        addresses: Sequence[transports.Address],
        ways: Sequence[Web | None],
        settings: Settings,
        tls: ssl.SSLContext | transports.ServerTLS | None,
        proxies: transports.TrustedProxies,
        watching: Watching,
    ) -> None:
        self._roots = roots
        self._addresses = addresses
        self._ways = ways
        self._settings = settings
        self._tls = tls
        self._proxies = proxies
        self._watching = watching
        self._listeners: list[transports.Listener] = []
        self._accepting: Accepting | None = None  # made with the event loop
        self._closed: asyncio.Event | None = None
        self._handshakes = transports.UnauthenticatedPeers(settings.limits.strangers_per_address)
        self._watch: LoopWatch | None = None
        self._loop: asyncio.AbstractEventLoop | None = None  # where it was started
        self._inherited: Sequence[Sequence[socket.socket]] | None = None  # for each address; None binds them

    @property
    def urls(self) -> list[str]:
        """The urls that are listened on, with the ports that were bound."""
        return [url for listener in self._listeners for url in listener.urls]

    @property
    def connections(self) -> list[Connection]:
        """The connections that live now, oldest first."""
        return [] if self._accepting is None else self._accepting.connections

    def statistics(self) -> ServerStatistics:
        """Return the server's state now."""
        watch, accepting, handshakes = self._watch, self._accepting, self._handshakes
        return ServerStatistics(
            connections=len(self.connections),
            strangers=len(handshakes) + (0 if accepting is None else len(accepting.unauthenticated)),
            accepted=0 if accepting is None else accepting.accepted,
            refused=handshakes.refused + (0 if accepting is None else accepting.unauthenticated.refused),
            lag=0.0 if watch is None else watch.latest,
            worst_lag=0.0 if watch is None else watch.worst,
        )

    def methods(self) -> list[MethodStatistics]:
        """Return how often each method was called, and how long it took; by name.

        Raises:
            UsageError: statistics are not kept: give ``serve`` ``statistics=True``.
        """
        return self._watching.methods()

    @property
    def monitor_url(self) -> str | None:
        """Where the monitor is, with its token; None without one. Whoever knows the token sees everything there."""
        return self._watching.monitor_url

    def __await__(self) -> Generator[Any, None, Server]:
        return self._start().__await__()

    def __del__(self) -> None:
        if self._closed is None:
            warnings.warn(
                "serve(...) was never started: await it, or enter it with async with",
                RuntimeWarning,
                stacklevel=2,
            )

    async def __aenter__(self) -> Server:
        return await self._start()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.close()

    async def _start(self) -> Server:
        if self._closed is not None:
            raise RuntimeError("a server is started once")
        check_asyncio()
        self._closed = asyncio.Event()
        self._watch = LoopWatch()
        self._loop = asyncio.get_running_loop()
        accepting = self._accepting = Accepting(
            self._loop, self._settings, self._roots.make, self._watching.begin()
        )
        try:
            await self._roots.begin()
            for number, (address, way) in enumerate(zip(self._addresses, self._ways, strict=True)):
                self._listeners.append(
                    await transports.listen(
                        address,
                        accepting.accept if way is None else partial(accepting.accept, web=way),
                        self._tls,
                        self._settings.limits.handshake_seconds,
                        self._handshakes,
                        self._proxies,
                        None if self._inherited is None else self._inherited[number],
                    )
                )
            await self._watching.listen(self, accepting)
        except BaseException:
            await self.close()
            raise
        for address in self._addresses:
            if address.scheme == "ws" and not address.is_local:
                log.warning("%s is not encrypted; use wss://, or a proxy in front that does", address)
            if address.scheme == "tcp" and not address.is_local:
                log.warning(
                    "%s is not encrypted: others on the network can read and change what is sent there; use tls://",
                    address,
                )
        return self

    async def serve_forever(self) -> None:
        """Wait until the server is closed."""
        if self._closed is None:
            raise RuntimeError("start the server first: async with, or await")
        self._check_loop()
        await self._closed.wait()

    async def serve_until_stopped(self, drain: float = 5) -> None:
        """Serve until SIGINT or SIGTERM comes, or the server is closed; then close it.

        For the main coroutine of a program that is there to serve, and for one server of it at a time. Signals belong
        to the main thread. SIGHUP has the certificates of a :class:`ServerTLS` read again. Where the platform has no
        such signals (Windows), Ctrl-C cancels the main coroutine instead, and the server is closed at once.

        Args:
            drain: seconds that calls which run get to end in, see :meth:`close`. A second signal ends them at once.

        Raises:
            RuntimeError: the server was not started.
            UsageError: from another thread or event loop than the one it was started in, or another thread than the
                main one.
        """
        if self._closed is None:
            raise RuntimeError("start the server first: async with, or await")
        self._check_loop()
        waiting: asyncio.Task[bool] | asyncio.Task[None] | None = (
            None  # for the end of the server, and then of its closing
        )

        def stop() -> None:
            if waiting is not None:
                waiting.cancel()

        handlers: dict[str, Callable[[], object]] = {"SIGINT": stop, "SIGTERM": stop}
        if isinstance(self._tls, transports.ServerTLS):
            handlers["SIGHUP"] = partial(_reload, self._tls)
        with on_signals(handlers):
            try:
                waiting = asyncio.create_task(self._closed.wait())
                await asyncio.wait([waiting])
                log.info("stopping")
                waiting = asyncio.create_task(self.close(drain))
                await asyncio.wait([waiting])
                if not waiting.cancelled():
                    waiting.result()
            finally:
                stop()
                await self.close()

    async def close(self, drain: float = 0) -> None:
        """Stop listening and end every connection. May be called twice.

        Args:
            drain: seconds to let calls that run come to their end first; new ones are refused meanwhile.

        Raises:
            UsageError: from another thread or event loop than the one it was started in.
        """
        await self._close(drain)

    async def _close(self, drain: float, moves: bool = False) -> None:
        self._check_loop()
        for listener in self._listeners:
            if drain > 0 and self._inherited is None:  # the queue of a socket that others keep waits for them
                listener.accept_waiting()
            listener.close()
        for unused in (self._inherited or ())[len(self._listeners) :]:  # it was not started
            for one in unused:
                one.close()
        if self._accepting is not None:
            beginnings = [listener.wait_begun for listener in self._listeners]
            await self._accepting.close(drain, beginnings, moves=moves)
        if self._watch is not None:
            self._watch.stop()
        await self._watching.close()
        for listener in self._listeners:
            await listener.wait_closed()
        try:
            await self._roots.end()
        finally:
            if self._closed is not None:
                self._closed.set()

    def _check_loop(self) -> None:
        if self._loop is not None:
            check_loop(self._loop)


# -- for servers of several processes


def inherit(server: Server, sockets: Sequence[Sequence[socket.socket]]) -> None:
    """Have a server, before it is started, listen on sockets that another program has bound and keeps.

    Args:
        server: is told.
        sockets: for each of its urls. The server closes them when it is closed.
    """
    server._inherited = sockets


def accept_from(server: Server, sockets: Sequence[Sequence[socket.socket]]) -> None:
    """Have a server that has inherited its sockets accept from these as well; the arguments are those of inherit."""
    for listener, more in zip(server._listeners, sockets, strict=True):
        assert isinstance(listener, transports.SocketListener)
        listener.add(more)


def stop_accepting_from(server: Server, sockets: Sequence[Sequence[socket.socket]]) -> None:
    """Undo one :func:`accept_from`; the sockets are closed."""
    for listener, fewer in zip(server._listeners, sockets, strict=True):
        assert isinstance(listener, transports.SocketListener)
        listener.discard(fewer)


async def move_away(server: Server, drain: float) -> None:
    """Close a server whose clients another process serves from now on: they leave one by one, see Accepting.close."""
    await server._close(drain, moves=True)


def reload_certificates(server: Server) -> None:
    """Read the certificates again, if they are in files. They stay as they are if the files do not fit."""
    if isinstance(server._tls, transports.ServerTLS):
        _reload(server._tls)


def _reload(tls: transports.ServerTLS) -> None:
    try:
        tls.reload()
    except OSError as error:
        log.error("the certificates stay as they are: %s", transports.certificate_error_text(error))
    else:
        log.info("the certificates were read again")
