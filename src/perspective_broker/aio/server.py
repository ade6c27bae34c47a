"""serve: an object, offered at one or several urls."""

from __future__ import annotations

import asyncio
import logging
import ssl
import warnings
from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass
from functools import partial
from types import TracebackType
from typing import Any

from .. import transports
from ..cred import Perspective, Service
from ..errors import SerializationError
from ..flavors import Exportable, Policy, Registry
from ..flavors.handle import Handle
from ..flavors.message_receiver import MessageReceiver, foreign
from ..limits import Limits
from ..session import SharedAllowance, SharedMemory
from .busypoll import BusyPoll
from .connection import Connection
from .driver import Driver, as_protocol
from .lag import LoopWatch
from .places import check_place
from .settings import Settings
from .signals import on_signals

__all__ = ["Server", "ServerStatistics", "serve"]

log = logging.getLogger("perspective_broker")


def serve(
    root: Any,
    *urls: str,
    limits: Limits | None = None,
    policy: Policy | None = None,
    registry: Registry | None = None,
    dialects: Sequence[str] | None = None,
    tls: ssl.SSLContext | transports.ServerTLS | None = None,
    unsafe_tracebacks: bool = False,
    busy_poll: float | None = None,
    trusted_proxies: Sequence[str] = (),
) -> Server:
    """Offer an object to whoever connects.

    ``async with serve(root, "tcp://127.0.0.1:8787") as server:`` listens within the block;
    ``server = await serve(...)`` listens until ``await server.close()``.

    Args:
        root: what a peer reaches first: a Referenceable, an Application or a Portal. When it has
            ``root_object(connection)``, that is asked for each connection's own. When it has ``begin_serving()`` and
            ``end_serving()``, plain or ``async``, they are called before the first url is listened on and after the
            last connection has ended.
        urls: where to listen; at least one. Port 0 lets the system choose, see ``server.urls``.
        limits: what each peer may ask of us.
        policy: what may be received.
        registry: what type tags mean.
        dialects: names of dialects to offer, best first.
        tls: for ``tls://``: a :class:`ServerTLS` with the certificate to show, or a server-side context.
        unsafe_tracebacks: send peers the tracebacks of our exceptions; they show source and paths.
        busy_poll: seconds, such as 100e-6, that the event loop stays awake after something was said, see
            :func:`connect`.
        trusted_proxies: addresses or networks, such as ``10.0.0.7`` and ``10.1.0.0/16``, of proxies that put version 2
            of the PROXY protocol in front of each connection on ``tcp://`` or ``tls://``: it comes from where they say.
            One of theirs without it is closed.

    Raises:
        ValueError: a url, a dialect's name or a proxy's address is none; ``busy_poll`` is no such time; ``tls://``
            without ``tls``, or the other way round.
        TypeError: ``root`` is nothing that can be served.
        OSError: an address cannot be bound (when entered or awaited).
    """
    if not urls:
        raise ValueError("serve needs at least one url to listen on, such as tcp://127.0.0.1:8787")
    addresses = [transports.parse_url(url) for url in urls]
    if (tls is not None) is not any(address.scheme == "tls" for address in addresses):
        raise ValueError(
            "tls:// urls and tls= go together: tls=pb.ServerTLS(certificate, key) and tls://HOST:PORT"
        )
    if isinstance(root, type):
        if issubclass(root, (Perspective, Service)):
            raise TypeError(f"the class {root.__name__} cannot be served; {advice(root)}")
        raise TypeError(f"an object is served, not its class: serve({root.__name__}(), ...)")
    make_root = getattr(root, "root_object", None)
    if make_root is None:
        if not isinstance(root, Exportable):
            raise TypeError(f"a {type(root).__name__} cannot be served; {advice(type(root))}")
        try:
            holder = root.export_target(None).holder
        except SerializationError as error:  # a view without anybody who sees it
            raise TypeError(f"a {type(root).__name__} cannot be served: {error}") from None
        if isinstance(holder, MessageReceiver):
            raise TypeError(foreign(root))

        def make_root(connection: Connection) -> Exportable:
            return root

    settings = Settings.of(limits, policy, registry, dialects, unsafe_tracebacks, busy_poll)
    return Server(root, make_root, addresses, settings, tls, transports.TrustedProxies(trusted_proxies))


def advice(kind: type) -> str:
    """Return what to do with an object of a class that cannot be served."""
    if issubclass(kind, Perspective):
        return "a pb.Service makes one for each user: serve the pb.Application that has the service"
    if issubclass(kind, Service):
        return "add it to a pb.Application"
    return "derive it from pb.Root"


@dataclass(frozen=True, slots=True)
class ServerStatistics:
    """The state of a server at one moment.

    Attributes:
        connections: connections that live.
        strangers: those of them, and handshakes of TLS, whose peers come from an IP address and have not said who they
            are.
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
        root: Any,
        make_root: Callable[[Connection], Exportable],
        addresses: Sequence[transports.Address],
        settings: Settings,
        tls: ssl.SSLContext | transports.ServerTLS | None,
        proxies: transports.TrustedProxies,
    ) -> None:
        self._root = root
        self._root_begun = False
        self._make_root = make_root
        self._addresses = addresses
        self._settings = settings
        self._tls = tls
        self._proxies = proxies
        self._listeners: list[transports.Listener] = []
        self._drivers: dict[Driver, None] = {}  # in the order in which they came
        self._closing = False
        self._ending: set[Driver] = set()  # closed, and methods or callbacks of theirs still run
        self._closed: asyncio.Event | None = None
        most = settings.limits.strangers_per_address
        self._strangers, self._handshakes = (
            transports.UnauthenticatedPeers(most),
            transports.UnauthenticatedPeers(most),
        )
        self._accepted = 0
        self._retirements: dict[Driver, asyncio.TimerHandle] = {}
        self._retiring: set[asyncio.Task[None]] = set()
        self._watch: LoopWatch | None = None
        self._poll: BusyPoll | None = None  # shared by all connections,
        self._allowance: SharedAllowance | None = None  # as is what is logged of them
        self._memory = SharedMemory(settings.limits.server_memory_bytes)
        self._loop: asyncio.AbstractEventLoop | None = None  # where it was started

    @property
    def urls(self) -> list[str]:
        """The urls that are listened on, with the ports that were bound."""
        return [url for listener in self._listeners for url in listener.urls]

    @property
    def connections(self) -> list[Connection]:
        """The connections that live now, oldest first."""
        return [driver.connection for driver in self._drivers]

    def statistics(self) -> ServerStatistics:
        """Return the server's state now."""
        watch, counters = self._watch, (self._strangers, self._handshakes)
        return ServerStatistics(
            connections=len(self._drivers),
            strangers=sum(map(len, counters)),
            accepted=self._accepted,
            refused=sum(counter.refused for counter in counters),
            lag=0.0 if watch is None else watch.latest,
            worst_lag=0.0 if watch is None else watch.worst,
        )

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
        self._closed = asyncio.Event()
        self._watch = LoopWatch()
        self._loop = asyncio.get_running_loop()
        self._allowance = SharedAllowance(self._loop.time())
        if self._settings.busy_poll is not None:
            self._poll = BusyPoll(self._loop, self._settings.busy_poll)
        try:
            await _hook(self._root, "begin_serving")
            self._root_begun = True
            for address in self._addresses:
                self._listeners.append(
                    await transports.listen(
                        address,
                        self._accept,
                        self._tls,
                        self._settings.limits.handshake_seconds,
                        self._handshakes,
                        self._proxies,
                    )
                )
        except BaseException:
            await self.close()
            raise
        for address in self._addresses:
            if address.scheme == "tcp" and not address.is_local:
                log.warning(
                    "%s is not encrypted: others on the network can read and change what is sent there; use tls://",
                    address,
                )
        return self

    def _accept(self, proxied: tuple[str, int] | None = None) -> asyncio.Protocol:
        """Return the protocol of a new connection, which comes from where a trusted proxy says."""
        driver = Driver(
            self._settings,
            "a peer",
            server=self,
            root=self._make_root,
            poll=self._poll,
            allowance=self._allowance,
            shared_memory=self._memory,
        )
        driver.connection.proxied = proxied
        return as_protocol(driver)

    def attach(self, driver: Driver, peer: object) -> None:
        """A connection was made (called by its driver, which has asked the transport who is at its other end)."""
        if self._closing:  # it was on its way when the listeners were closed
            driver.broker.close("closed", "the server was closed")
            return
        address = driver.connection.source
        if address is not None:
            if not self._strangers.arrive(address):
                driver.broker.close("refused", "too many strangers come from there")
                return
            driver.stranger = address
        log.info("connection from %s", driver.connection.peer)
        self._accepted += 1
        self._drivers[driver] = None
        age = self._settings.limits.connection_seconds
        if age is not None:
            self._retirements[driver] = driver.loop.call_later(age, self._retire, driver, age / 10)

    def welcome(self, driver: Driver) -> None:
        """Who is at the other end is known (called by the driver)."""
        address, driver.stranger = driver.stranger, None
        if address is not None:
            self._strangers.leave(address)

    def detach(self, driver: Driver) -> None:
        """A connection has ended (called by its driver)."""
        self.welcome(driver)
        retirement = self._retirements.pop(driver, None)
        if retirement is not None:
            retirement.cancel()
        if driver in self._drivers:
            cause = driver.broker.lifecycle.cause
            code, reason = ("", "") if cause is None else (cause.code, cause.reason)
            log.info("connection from %s ended: %s: %s", driver.connection.peer, code, reason)
            del self._drivers[driver]
        self._ending.add(driver)

    def forget(self, driver: Driver) -> None:
        """Nothing of a connection runs any more (called by its driver)."""
        self._ending.discard(driver)

    def _retire(self, driver: Driver, seconds: float) -> None:
        """End a connection that is as old as it may be, with time for what runs."""
        del self._retirements[driver]
        task = driver.loop.create_task(self._see_off(driver, seconds))
        self._retiring.add(task)
        task.add_done_callback(self._retiring.discard)

    async def _see_off(self, driver: Driver, seconds: float) -> None:
        await self._drain([driver], seconds)
        driver.finish("aged", "the connection is as old as it may be")

    async def serve_forever(self) -> None:
        """Wait until the server is closed."""
        if self._closed is None:
            raise RuntimeError("start the server first: async with, or await")
        self._check_place()
        await self._closed.wait()

    async def serve_until_stopped(self, drain: float = 5) -> None:
        """Serve until the program is told to stop, by SIGINT or SIGTERM, or the server is closed; then close it.

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
        self._check_place()
        waiting: asyncio.Task[Any] | None = None  # for the end of the server, and then of its closing

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
        self._check_place()
        self._closing = True
        for listener in self._listeners:
            listener.close()
        drivers = list(self._drivers)
        if drain > 0 and drivers:
            await self._drain(drivers, drain)
        for driver in drivers:
            code = "drained" if drain > 0 and driver.broker.is_idle else "closed"
            driver.finish(code, "the server was closed")
        for driver in [*drivers, *self._ending]:
            await driver.connection.wait_closed()
        for task in list(self._retiring):
            await task
        if self._watch is not None:
            self._watch.stop()
        if self._allowance is not None:
            self._allowance.sum_up()
        for listener in self._listeners:
            await listener.wait_closed()
        if self._root_begun:
            self._root_begun = False
            try:
                await _hook(self._root, "end_serving")
            finally:
                self._set_closed()
        self._set_closed()

    def _set_closed(self) -> None:
        if self._closed is not None:
            self._closed.set()

    def _check_place(self) -> None:
        if self._loop is not None:
            check_place(self._loop)

    async def _drain(self, drivers: Sequence[Driver], seconds: float) -> None:
        """Wait until nothing runs, or the time is over."""
        for driver in drivers:
            driver.broker.drain()
        try:
            async with asyncio.timeout(seconds):
                for driver in drivers:
                    await driver.wait_idle()
        except TimeoutError:
            busy = sum(driver.statistics().calls_in for driver in drivers)
            names = sorted({call.name for driver in drivers for call in driver.broker.answers.running})
            log.warning(
                "closing after %g s of draining with %d calls still running: %s",
                seconds,
                busy,
                ", ".join(ascii(name[:64]) for name in names[:5]),
            )


def _reload(tls: transports.ServerTLS) -> None:
    try:
        tls.reload()
    except OSError as error:
        log.error("the certificates stay as they are: %s", transports.certificate_error_text(error))
    else:
        log.info("the certificates were read again")


async def _hook(root: Any, name: str) -> None:
    """Call a method that the root may have, and wait for it where it asks for that."""
    method = getattr(root, name, None)
    if method is not None:
        result = method()
        if hasattr(type(result), "__await__"):
            await result
