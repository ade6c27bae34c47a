"""The host: what the broker of one connection asks of asyncio (:class:`perspective_broker.session.Host`).

It runs the methods that the peer calls, turns what only asyncio has (promises, generators) into what can cross, and
makes references. It is the only module that knows all kinds of these, and puts a connection together::

    Host ──▶ Broker      the protocol machine
         ──▶ WriteBuffer, Leftovers, Driver      bytes, turns, one timer
         ──▶ Connection      what users see
         ──▶ Caller      what references and promises see
         ──▶ Methods      what runs for the peer
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator, Mapping, Sequence
from functools import partial
from typing import Final
from weakref import WeakValueDictionary

from ..dialects.offer import Web, negotiate, negotiate_web
from ..errors import SerializationError
from ..flavors import Target
from ..flavors.describing import STREAM
from ..flavors.guard import report
from ..interfaces import Proxy, RemoteFunction, described, underlying
from ..ports import Feature, Method, ObjectId, Perspective, PromisedAnswer, Value
from ..session import (
    Broker,
    CloseCause,
    IncomingCall,
    OutgoingCall,
    Phase,
    SharedAllowance,
    SharedMemory,
    not_run,
)
from ..session import Host as BrokerHost
from .accepted import AcceptedConnection, Keeper
from .busypoll import BusyPoll
from .caller import Caller
from .calls import Promise
from .calls_here import call_here
from .closing import Closing
from .connection import Connection, describe_peer, endings_of
from .driver import Driver
from .faces import Link, face_of
from .forwarding import Forwarder, forwarder_of
from .leftovers import Leftovers
from .methods import Methods
from .pending import call_of
from .reconnect import ReconnectingReference
from .references import RemoteCacheObserver, RemoteReference
from .roots import MakeRoots
from .settings import Settings
from .streams import ItemReader, StreamSource
from .turns import turns_of
from .untyped import Remote, target_of
from .write_buffer import WriteBuffer

__all__ = ["Host"]

log: logging.Logger = logging.getLogger("perspective_broker")

#: What the hello of pb7 announces where objects may be described.
_DESCRIBES: Final = frozenset({Feature.DESCRIBE})

_NOT_OPEN: Final = (Phase.NEGOTIATING, Phase.GREETING)


class Host(BrokerHost):
    """One connection, put together.

    Args:
        settings: of ``serve`` or ``connect``.
        peer: what to call the other side until the transport knows better.
        keeper: the server's side of a connection that it has accepted; None on the side that connected.
        roots: makes what the peer reaches by name, given the connection; None offers nothing.
        proxied: where the peer is, as a trusted proxy says; None without one.
        poll: keeps the event loop awake when something was sent; None lets it sleep.
        allowance: how much is logged about this peer and those that share it.
        shared_memory: what this connection and those that share it hold.
        web: how WebSocket is spoken; None where it is not.

    Attributes:
        broker: the protocol machine.
        driver: carries its bytes.
        connection: what users see.
    """

    def __init__(
        self,
        settings: Settings,
        peer: str,
        *,
        keeper: Keeper | None = None,
        roots: MakeRoots | None = None,
        proxied: tuple[str, int] | None = None,
        poll: BusyPoll | None = None,
        allowance: SharedAllowance | None = None,
        shared_memory: SharedMemory | None = None,
        web: Web | None = None,
    ) -> None:
        loop = asyncio.get_running_loop()
        turns = turns_of(loop)
        limits = settings.limits
        self.broker: Broker = Broker(
            self,
            limits,
            loop.time(),
            unsafe_tracebacks=settings.unsafe_tracebacks,
            allowance=allowance,
            shared_memory=shared_memory,
            takes_receivers=False,
        )
        broker = self.broker
        buffer = self._buffer = WriteBuffer(loop, broker, limits, poll)
        self.driver: Driver = Driver(loop, settings, broker, buffer, turns, self._begin)
        self._methods = Methods(loop, turns, broker.incoming, self.driver)
        if keeper is None:
            self.connection: Connection = Connection(self.driver, peer)
        else:
            self.connection = AcceptedConnection(self.driver, peer, keeper)
        self._caller = Caller(self.driver, self.connection)
        face = face_of(loop)
        self._link: Link | None = None if face is None else face.link()
        self._keeper = keeper
        self._settings = settings
        self.forwards: bool = settings.forward
        self._roots = roots
        self._proxied = proxied
        self._web = web
        self._closing: Closing | None = None  # while the connection ends in order
        # Made with the first, because most connections have none and it takes a kilobyte.
        self._sources: WeakValueDictionary[int, StreamSource] | None = None

    # -- the beginning

    def _begin(self, transport: asyncio.Transport) -> None:
        """Begin with the greeting; called by the driver when there is a transport."""
        broker = self.broker
        describe_peer(self.connection, transport, self._proxied)
        broker.reports.peer = self.connection.peer
        if self._link is not None:
            self._link.opened(transport)
        if self._keeper is not None:
            self._keeper.connected(self.connection)
            if broker.lifecycle.ended:
                return
        if self._roots is not None:
            try:
                for name, root in self._roots(self.connection).items():
                    broker.tables.exports.name(name, root)
            except BaseException as error:
                report(error, "no root object could be made for %s", self.connection.peer)
                broker.close("no-root", "this side could not make its root object")
                return
        if self._web is not None:
            broker.start(
                negotiate_web(
                    broker.receiver,
                    broker.exporter,
                    broker.importer,
                    server=self._keeper is not None,
                    limits=broker.limits,
                    registry=self._settings.registry,
                    policy=self._settings.policy,
                    web=self._web,
                    is_local=self.connection.is_local,
                )
            )
            return
        broker.start(
            negotiate(
                broker.receiver,
                broker.exporter,
                broker.importer,
                server=self._keeper is not None,
                limits=broker.limits,
                registry=self._settings.registry,
                policy=self._settings.policy,
                dialects=self._settings.dialects,
                offers=_DESCRIBES if self._settings.describe else frozenset(),
            )
        )

    def root(self, name: str) -> RemoteReference:
        """Return a reference to what the peer serves under a name.

        Raises:
            DeadReferenceError: the connection has ended.
        """
        root = self.broker.root(name)
        assert isinstance(root, RemoteReference)
        return root

    async def wait_open(self) -> None:
        """Wait until the greeting is over, or the connection has ended."""
        await self._buffer.wait_while(lambda: self.broker.lifecycle.phase in _NOT_OPEN)

    async def wait_idle(self) -> None:
        """Wait until no call is under way and everything was handed to the transport, or the end."""
        await self._buffer.wait_while(lambda: not self.broker.is_idle)

    # -- methods that the peer calls

    def invoke(
        self, call: IncomingCall, method: Method, args: Sequence[Value], kwargs: Mapping[str, Value]
    ) -> None:
        if self._link is not None:
            method = self._link.method(method, args, kwargs)
        self._methods.invoke(call, method, args, kwargs)

    def cancel(self, call: IncomingCall) -> None:
        self._methods.cancel(call)

    def describe(self, target: Target) -> Method | None:
        if not self._settings.describe:
            return None
        if isinstance(target.holder, StreamSource):  # tells nothing of the program
            return partial(dict, STREAM)
        if not _is_known(self.connection):
            return None
        if isinstance(target.holder, Forwarder):
            return target.holder.describing()
        return partial(described, target)

    def names_of_running(self) -> list[str]:
        """Return the names of the methods that run for the peer."""
        return [call.name for call in self.broker.answers.running]

    # -- values and references

    def adapt(self, value: Value) -> Value:
        if self._link is not None:
            value = self._link.adapt(value)
        if isinstance(value, Promise):
            return self._adapt_promise(value)
        if isinstance(value, ReconnectingReference):
            return value.current
        if isinstance(value, Remote):
            return self._adapt_proxy(target_of(value))
        if isinstance(value, (Proxy, RemoteFunction)):
            return self._adapt_proxy(underlying(value))
        if isinstance(value, RemoteReference):  # of another connection
            return forwarder_of(value)
        if not isinstance(value, (AsyncGenerator, ItemReader)):
            return value
        if self._sources is None:
            self._sources = WeakValueDictionary()
        source = self._sources.get(id(value))  # which keeps the value alive, so its id is its own
        if source is None:
            source = self._sources[id(value)] = StreamSource(value)
        return source

    def _adapt_promise(self, promise: Promise[Value]) -> Value | PromisedAnswer:
        """Return what a promise among the arguments crosses as: its answer, or a reference to that answer."""
        if promise.cancelled():
            raise SerializationError("a promise that was given up cannot cross", culprit=promise)
        if not promise.done():
            return self.broker.outgoing.mention(call_of(promise))
        error = promise.exception()
        if error is not None:
            raise not_run(error) if isinstance(error, Exception) else error
        return underlying(promise.result())

    def _adapt_proxy(self, callee: Value) -> Value | PromisedAnswer:
        """Return what the object that a proxy calls crosses as."""
        return callee if isinstance(callee, RemoteReference) else self.adapt(callee)

    def make_reference(self, luid: ObjectId, perspective: Perspective) -> RemoteReference:
        if self._link is not None:
            return self._link.make_reference(self._caller, self.broker, luid, perspective)
        return RemoteReference(self._caller, self.broker, luid, perspective)

    def make_observer(self, luid: int, perspective: Perspective) -> RemoteCacheObserver:
        return RemoteCacheObserver(self._caller, self.broker, luid, perspective)

    # -- calls on answers that came home

    def call_here(
        self,
        call: OutgoingCall,
        target: Value,
        name: str,
        args: tuple[Value, ...],
        kwargs: dict[str, Value],
    ) -> None:
        call_here(self._caller, call, target, name, args, kwargs)

    def cancel_here(self, call: OutgoingCall) -> None:
        if call.handle is not None:
            call.handle.cancel()

    # -- what happens to the connection

    def wake(self) -> None:
        self.driver.wake()

    def write_soon(self) -> None:
        self.driver.write_soon()

    def wake_from_anywhere(self) -> None:
        self.driver.wake_from_anywhere()

    def on_deadline(self) -> None:
        self.driver.set_timer()

    def on_open(self) -> None:
        self.driver.set_timer()
        connection = self.connection
        if isinstance(connection, AcceptedConnection) and not connection.awaits_login:
            connection.authenticated()
        self._buffer.wake_waiters()

    def on_draining(self) -> None:
        log.info("%s takes no new calls and will end the connection soon", self.connection.peer)
        if self._caller.when_draining is not None:
            self._caller.when_draining()

    def on_closing(self) -> None:
        if self._closing is None:
            self._closing = Closing(self.driver.loop, self.broker, self._buffer, self._settings.limits)

    def on_last_message(self) -> None:
        assert self._closing is not None
        self._closing.end_bytes()

    def on_closed(self, cause: CloseCause) -> None:
        peer = self.connection.peer
        log.debug("connection to %s ended: %s: %s", peer, cause.code, cause.reason)
        leftovers = self.driver.leftovers = Leftovers(
            self.driver.loop,
            self._methods,
            self._buffer,
            self._settings.limits,
            endings_of(self.connection),
            None if self._keeper is None else self._keeper.gone,
        )
        leftovers.call_back()
        if self._keeper is not None:
            self._keeper.ended()
        if self._closing is not None:
            self._closing.stop()
        self.driver.end(cause)
        leftovers.give_time(peer)


def _is_known(connection: Connection) -> bool:
    """Return whether the peer may ask what objects offer: it has logged in, or is of this machine, or certified."""
    if isinstance(connection, AcceptedConnection) and connection.awaits_login:
        return connection.has_logged_in
    return connection.is_local or connection.is_verified or connection.peer_certificate is not None
