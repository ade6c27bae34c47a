"""Broker: the second driver of the core, a connection as a Twisted Protocol.

It reads and writes when the reactor calls it, keeps one timer while a reactor runs, and runs methods immediately; if a
method returns a Deferred, its call is answered when that fires. No message is queued: the bytes of a call are with the
transport when ``callRemote`` returns, so that ``transport.loseConnection()`` may follow.
"""

from __future__ import annotations

import sys
import time
import weakref
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any, Final

from twisted.internet import defer, protocol
from twisted.internet.error import ConnectionDone
from twisted.python import failure, log

from ..dialects.negotiation import Negotiation
from ..errors import DeadReferenceError as CoreDeadReferenceError
from ..flavors import RemoteCache as CoreRemoteCache
from ..limits import Limits
from ..ports import Deadline, Method, ObjectId
from ..session import Broker as CoreBroker
from ..session import CloseCause, Host, IncomingCall, Phase
from . import banana
from ._values import Jellied, makers
from .admission import Admission
from .broker_values import BrokerValues, Serialized
from .failures import (
    DeadReferenceError,
    Error,
    Failed,
    as_failure,
    copyable,
    goes_as_itself,
)
from .flavors import Message, RemoteCacheObserver
from .jelly import globalSecurity
from .references import RemoteReference
from .registry import called_as_in_twisted

__all__ = ["Broker"]

#: Operations per turn of the reactor, see :data:`perspective_broker.aio.driver.MESSAGES_PER_TURN`.
MESSAGES_PER_TURN: Final = 64


class _Outcome:
    """Receives the outcome of one outgoing call."""

    __slots__ = ("_broker", "deferred")

    deadline: Deadline | None = None

    def __init__(self, broker: Broker) -> None:
        self.deferred: Any = defer.Deferred()
        self._broker = broker

    def succeed(self, value: Any) -> None:
        self.deferred.callback(value)

    def fail(self, error: Exception) -> None:
        self.deferred.errback(as_failure(error, self._broker.lost))

    def abandon(self) -> None:
        raise AssertionError("this face has no promises")


class Broker(Host, BrokerValues, protocol.Protocol):
    """One connection, as a Protocol.

    Args:
        isClient: whether this side connected.
        security: what may be received, and sent.
        limits: the limits of the peer; the core's defaults when None, with the sizes of ``banana.SIZE_LIMIT``.

    Attributes:
        factory: the factory that made it.
        admission: counts attempts until the peer has logged in.
        disconnected: whether the connection has ended.
        disconnects: the callbacks for its end.
    """

    transport: Any
    version = 6
    username: Any = None
    factory: Any = None
    knownDialects: Any = (b"pb", b"none")
    unsafeTracebacks: Any = False

    def __init__(
        self, isClient: Any = 1, security: Any = globalSecurity, *, limits: Limits | None = None
    ) -> None:
        self.isClient = isClient
        self.security = security
        self.disconnected: int = 0
        self.disconnects: Any = []
        self.connects: Any = []
        self.failures: Any = []
        self.pageProducers: list[Any] = []
        self.lost: Any = None  #: why the transport was lost
        self._given = limits
        self.admission: Admission = Admission(self)
        self._limits = self.limits
        self.session: CoreBroker = CoreBroker(self, self._limits, time.monotonic())
        #: Called when the peer has logged in, or has gone.
        self._known: Callable[[], object] | None = None
        self._watched: set[weakref.ref[Any]] = set()
        self._early: list[Callable[[], object]] = []  # calls made before both sides agreed on a dialect
        self._busy = 0  # calls of the core in progress; the last one writes
        self._written = 0  # bytes written to the transport since it was last known to be empty
        self._draining = False  # whether we wait for the transport to be empty
        self._woken = False  # whether the core called wake() during a call of the core
        self._more = False  # whether messages were left for the next turn of the reactor
        self._reading = True
        self._timer: Any = None
        self._turn_call: Any = None
        self._make_tables(self.session)

    @property
    def limits(self) -> Limits:
        """The current limits of the peer."""
        if self.admission.waits:
            return (self._given or Limits()).before_login()
        return self._given or banana.current_limits()

    # -- Protocol

    def connectionMade(self) -> None:
        peer = self.transport.getPeer()
        self.session.reports.peer = f"{peer.host}:{peer.port}" if hasattr(peer, "port") else str(peer)
        with self._core():
            self.session.start(
                Negotiation(
                    server=not self.isClient,
                    dialects=makers(self, self.session, self.knownDialects),
                    receiver=self.session.receiver,
                    limits=self._limits,
                )
            )
        self._set_timer()
        self.admission.begin()

    def dataReceived(self, data: bytes) -> None:
        self._obey_limits()
        self.session.receive_data(data, time.monotonic())
        if not self._more:
            self._turn()

    def connectionLost(self, reason: Any = protocol.connectionDone) -> None:
        self._cancel_timers()
        while self._more:  # all of it came before the end
            self._more = self.session.process(MESSAGES_PER_TURN, time.monotonic())
        self.lost = reason
        self.disconnected = 1
        if reason.check(ConnectionDone):
            self.session.receive_eof()
        else:
            self.session.connection_lost(reason.getErrorMessage()[:200])
        self.session.close("lost", "the peer closed the connection")  # if calls still stand in line

    def connectionReady(self) -> None:
        """Both sides have agreed on a dialect: calls may be made."""
        early, self._early = self._early, []
        for send in early:
            send()
        notifiers, self.connects = self.connects, None
        for notifier in notifiers:
            self._notify(notifier)
        if self.factory is not None:
            self.factory.clientConnectionMade(self)

    def connectionFailed(self) -> None:
        """Call the callbacks of :meth:`notifyOnFail`."""
        notifiers, self.failures = self.failures, None
        for notifier in notifiers:
            self._notify(notifier)

    @staticmethod
    def _notify(notifier: Callable[[], object]) -> None:
        try:
            notifier()
        except Exception:
            log.err(None, "A callback of a connection raised")

    def notifyOnConnect(self, notifier: Callable[[], object]) -> None:
        """Call ``notifier()`` when calls may be made, or immediately if they may already."""
        assert callable(notifier)
        if self.connects is None:
            self._notify(notifier)
        else:
            self.connects.append(notifier)

    def notifyOnFail(self, notifier: Callable[[], object]) -> None:
        """Call ``notifier()`` when the connection cannot be made."""
        assert callable(notifier)
        self.failures.append(notifier)

    def notifyOnDisconnect(self, notifier: Callable[[], object]) -> None:
        """Call ``notifier()`` when the connection ends."""
        assert callable(notifier)
        self.disconnects.append(notifier)

    def dontNotifyOnDisconnect(self, notifier: Callable[[], object]) -> None:
        """Undo one :meth:`notifyOnDisconnect`."""
        if self.disconnects and notifier in self.disconnects:
            self.disconnects.remove(notifier)

    # -- turns

    @contextmanager
    def _core(self) -> Iterator[None]:
        """Call the core within the block, and write its output at the end."""
        self._obey_limits()
        self._busy += 1
        try:
            yield
        finally:
            self._busy -= 1
            self._flush()
            if self._woken and not self._busy:
                self._woken = False
                self._turn_soon()

    def _obey_limits(self) -> None:
        """Give the core the current limits: the peer may have logged in, and SIZE_LIMIT may have changed."""
        limits = self.limits
        if limits is not self._limits:
            self._limits = limits
            self.session.use_limits(limits)

    def _flush(self) -> None:
        transport = self.transport
        if self._draining or transport is None or self.session.lifecycle.phase is Phase.CLOSED:
            return
        out = b"".join(self.session.data_to_send())
        if out:
            self._written += len(out)
            transport.write(out)
            if self._written > self._limits.write_buffer_high and not self.pageProducers:
                self._wait_until_drained()

    def _turn(self) -> None:
        """Let the core process received messages."""
        self._turn_call = None
        reactor = running_reactor()
        with self._core():
            self._more = self.session.process(MESSAGES_PER_TURN, time.monotonic())
            while self._more and reactor is None:  # no later turn would come
                self._more = self.session.process(MESSAGES_PER_TURN, time.monotonic())
        if self.session.lifecycle.phase is Phase.CLOSED:
            return
        if self._more and self._turn_call is None:
            self._turn_call = reactor.callLater(0, self._turn)
        reading = not self._more and self.session.wants_data
        if reading is not self._reading:
            self._reading = reading
            if reading:
                self.transport.resumeProducing()
            else:
                self.transport.pauseProducing()
        self._set_timer()

    def _set_timer(self) -> None:
        """Arrange to be called at the core's next deadline, as long as a reactor runs."""
        deadline = self.session.next_deadline()
        if self._timer is not None:
            if deadline is not None and self._timer[0] <= deadline:
                return  # an early call only looks again
            self._timer[1].cancel()
            self._timer = None
        reactor = running_reactor()
        if deadline is not None and reactor is not None:
            call = reactor.callLater(max(0.0, deadline - time.monotonic()), self._on_timer)
            self._timer = (deadline, call)

    def _on_timer(self) -> None:
        self._timer = None
        with self._core():
            self.session.handle_deadline(time.monotonic())
        if self.session.lifecycle.phase is not Phase.CLOSED:
            self._turn()

    def _cancel_timers(self) -> None:
        if self._timer is not None:
            self._timer[1].cancel()
        if self._turn_call is not None:
            self._turn_call.cancel()
        self._timer = self._turn_call = None

    # -- a full transport, and pages

    def _wait_until_drained(self) -> None:
        """Stop writing to the transport, whose buffer is full, until it is empty."""
        self._draining = True
        self.session.set_blocked(True, time.monotonic())
        self._set_timer()
        self.transport.registerProducer(self, False)

    def registerPageProducer(self, pager: Any) -> None:
        """Let ``pager`` send a page whenever the transport is empty."""
        self.pageProducers.append(pager)
        if len(self.pageProducers) == 1:
            if self._draining:
                self._drained()
            self.transport.registerProducer(self, False)

    def resumeProducing(self) -> None:
        """Called when the transport is empty, and once, in any case, when the producer is registered."""
        if self.pageProducers:
            for pager in list(self.pageProducers):
                pager.sendNextPage()
            # stillPaging is called once for each page, because it tells the pager that the last page was sent.
            self.pageProducers = [pager for pager in self.pageProducers if pager.stillPaging()]
            if not self.pageProducers:
                self._written = 0
                self.transport.unregisterProducer()
        elif self._draining:
            if self._written:
                self._written = 0
            else:
                self._drained()

    def _drained(self) -> None:
        self._draining = False
        self._written = 0
        self.transport.unregisterProducer()
        with self._core():
            self.session.set_blocked(False, time.monotonic())

    def pauseProducing(self) -> None:
        """Do nothing: pages are sent only on request."""

    def stopProducing(self) -> None:
        """Do nothing: connectionLost follows."""

    # -- ports.Host

    def wake(self) -> None:
        if self._busy:
            self._woken = True
        else:
            self._turn_soon()

    def _turn_soon(self) -> None:
        """Arrange another turn if the core has messages left; its output is written already."""
        if self._more or self.session.answers.waiting or not self._reading:
            reactor = running_reactor()
            if reactor is None:
                self._turn()
            elif self._turn_call is None:
                self._turn_call = reactor.callLater(0, self._turn)

    def wake_from_anywhere(self) -> None:
        # Called by a finaliser, which may interrupt any code, the reactor's own writing included.
        reactor = running_reactor()
        if reactor is not None:
            reactor.callFromThread(self._flush)

    def watch(self, held: Any) -> None:
        """Send releases when ``held`` is collected, if no reactor runs because a test moves the bytes itself."""
        if running_reactor() is None:
            self._watched.add(weakref.ref(held, self._collected))

    def _collected(self, reference: weakref.ref[Any]) -> None:
        self._watched.discard(reference)
        if not self._busy and self.session.dialect.name:
            self._flush()

    def invoke(
        self, call: IncomingCall, method: Method, args: Sequence[Any], kwargs: Mapping[str, Any]
    ) -> None:
        try:
            if isinstance(method, Message):
                result = method(self, args, kwargs)
            else:
                result = self.serialize(method(*args, **kwargs), call.perspective)
        except Exception:
            self._fail_call(failure.Failure(), call)
            return
        if isinstance(result, defer.Deferred):
            result.addCallbacks(self._answer, self._fail_call, callbackArgs=(call,), errbackArgs=(call,))
        else:
            self._answer(result, call)

    def _answer(self, result: Any, call: IncomingCall) -> None:
        self._flush()  # as with Twisted, what the method has dropped is given back before it answers
        if isinstance(result, Serialized):
            call.perspective = result.perspective
            result = result.value
        else:
            result = Jellied(result)
        with self._core():
            self.session.incoming.answer_call(call, result)
        self.admission.review()

    def _fail_call(self, fail: Any, call: IncomingCall) -> None:
        value = fail.value
        payload: Any
        if goes_as_itself(value, self.security):
            payload = value
        else:
            unsafe = self.factory.unsafeTracebacks if self.factory is not None else False
            payload = copyable(as_failure(value) if isinstance(value, Exception) else fail, unsafe)
        if fail.check(Error) is None:
            log.msg("Peer will receive following PB traceback:", isError=True)
            log.err(fail)
        with self._core():
            self.session.incoming.fail_call(call, Failed(payload))
        self.admission.review(fail)

    def cancel(self, call: IncomingCall) -> None:
        """The connection has ended: what runs may end, as with Twisted."""

    def on_deadline(self) -> None:
        """Classic peers give none."""

    def on_draining(self) -> None:
        """The classic dialects have no word for it."""

    def adapt(self, value: Any) -> Any:
        return value

    # Promises are the modern API's; a value here never waits for one.

    def call_here(
        self, call: Any, target: Any, name: str, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> None:
        raise AssertionError("this face has no promises")

    def cancel_here(self, call: Any) -> None:
        raise AssertionError("this face has no promises")

    def on_closing(self) -> None:
        """Do nothing: the program closes the transport."""

    def on_last_message(self) -> None:
        raise AssertionError("this face closes at once")

    def make_reference(self, luid: ObjectId, perspective: Any) -> RemoteReference:
        reference = RemoteReference(perspective, self, luid)
        self.watch(reference)
        return reference

    def make_observer(self, luid: int, perspective: Any) -> RemoteCacheObserver:
        return RemoteCacheObserver(self, self.session, luid, perspective)

    def on_agreed(self) -> None:
        self.connectionReady()  # Twisted's begin here, before the peer has said its version

    def on_replica(self, replica: CoreRemoteCache) -> None:
        self.watch(replica)

    def on_freed(self, obj: Any) -> None:
        self.clean_up(obj)

    def on_open(self) -> None:
        self._set_timer()
        if not self.admission.waits:
            self.peer_is_known()

    def on_closed(self, cause: CloseCause) -> None:
        self.disconnected = 1
        self._cancel_timers()
        self.admission.end()
        self.peer_is_known()
        transport = self.transport
        if transport is not None and self.lost is None:
            transport.write(b"".join(self.session.data_to_send()))
            transport.loseConnection()
            reactor = running_reactor()
            if reactor is not None and hasattr(transport, "abortConnection"):
                # Do not wait for a peer that does not read the last bytes.
                call = reactor.callLater(self._limits.close_seconds, self._abort)
                self._timer = (0.0, call)
        early, self._early = self._early, []
        for send in early:  # it raises DeadReferenceError
            send()
        notifiers, self.disconnects = self.disconnects, []
        for notifier in notifiers:
            self._notify(notifier)
        self._localCleanup.clear()

    def _abort(self) -> None:
        self._timer = None
        self.transport.abortConnection()

    # -- calls

    def send_call(
        self, send: Callable[..., Any], name: Any, args: tuple[Any, ...], kw: dict[str, Any]
    ) -> Any:
        """Make one call; ``send`` is the core's, with its target.

        Raises:
            DeadReferenceError: the connection has ended.
        """
        name = name.decode() if isinstance(name, bytes) else name
        callback, errback = kw.pop("pbcallback", None), kw.pop("pberrback", None)
        outcome = _Outcome(self) if kw.pop("pbanswer", 1) else None
        if outcome is None and (callback or errback):
            raise ValueError(
                "pbcallback, pberrback: not allowed with pbanswer=False, because no answer comes"
            )
        if self.disconnected:
            raise DeadReferenceError("Calling Stale Broker")
        if self.session.dialect.name:
            try:
                with self._core():
                    send(name, args, kw, outcome)
            except CoreDeadReferenceError as error:
                raise DeadReferenceError(str(error)) from None
            except Exception:  # a call without an answer, of what cannot cross
                return defer.fail()
        else:
            self._early.append(partial(self._send_early, send, name, args, kw, outcome))
        if outcome is None:
            return None
        if callback or errback:
            outcome.deferred.addCallbacks(callback or _same, errback or _same)
        return outcome.deferred

    def _send_early(self, send: Callable[..., Any], name: str, args: Any, kw: Any, outcome: Any) -> None:
        try:
            with self._core():
                send(name, args, kw, outcome)
        except Exception:
            if outcome is None:
                log.err(None, "A call could not be sent")
            else:
                outcome.deferred.errback()

    def send_to(
        self,
        reference: RemoteReference,
        name: str,
        args: tuple[Any, ...],
        kw: dict[str, Any],
        outcome: _Outcome | None,
    ) -> None:
        """Call a method of the peer's object."""
        if outcome is None:
            self.session.outgoing.tell(reference, name, args, kw)
        else:
            self.session.outgoing.call(reference, name, args, kw, outcome)

    # -- logins

    def count_until_known(self, known: Callable[[], object]) -> None:
        """Call ``known()`` once, when the peer has logged in or is gone."""
        self._known = known

    def peer_is_known(self) -> None:
        """Record that the peer has logged in or is gone (also called by the admission)."""
        known, self._known = self._known, None
        if known is not None:
            known()

    def hang_up(self, code: str, reason: str) -> None:
        """End the connection."""
        with self._core():
            self.session.close(code, reason)

    def call_later(self, seconds: float, function: Callable[[], object]) -> Any:
        """Have ``function()`` called; return the call, which can be cancelled, or None where no reactor runs."""
        reactor = running_reactor()
        return None if reactor is None else reactor.callLater(seconds, function)

    def __repr__(self) -> str:
        side = "client" if self.isClient else "server"
        return f"<pb.Broker {side} {self.session.lifecycle.phase.value}>"


def _same(value: Any) -> Any:
    return value


def running_reactor() -> Any:
    """Return the reactor that runs, or None; installs none."""
    reactor: Any = sys.modules.get("twisted.internet.reactor")
    return reactor if reactor is not None and reactor.running else None


called_as_in_twisted("pb", Broker)
