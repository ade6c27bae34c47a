"""What both directions of a connection share: its state, how a message is encoded and queued, how everything ends."""

from __future__ import annotations

import logging
from collections.abc import Callable, Hashable
from typing import Any, Final

from ..errors import (
    ConnectionLost,
    DeadReferenceError,
    ProtocolError,
    with_ran,
)
from ..limits import Limits
from ..ports import (
    FAREWELL,
    Host,
    Message,
    ObjectId,
)
from ..queues import Queue
from .answers import KeptAnswers
from .caches import Observers, Replicas, tell_end
from .cause import CloseCause
from .deadlines import Deadlines, Standstill
from .lifecycle import Lifecycle, Phase
from .memory import Memory, SharedMemory
from .outgoing import NOTHING_LARGE
from .outgoing_calls import ENDED, SENT, Content, OutgoingCall, Owner
from .questions import Questions
from .reports import Reports, SharedAllowance
from .serving import Serving
from .tables import Exports, Imports

__all__ = ["Speaker"]

_DEFECT: Final = "closing the connection because of an error in this library"

log = logging.getLogger("perspective_broker")


class Speaker(Owner):
    """The state of one connection, and its voice. The base of :class:`.broker.Broker`, whose arguments it takes."""

    def __init__(
        self,
        host: Host,
        limits: Limits,
        now: float,
        *,
        unsafe_tracebacks: bool = False,
        allowance: SharedAllowance | None = None,
        shared_memory: SharedMemory | None = None,
        takes_receivers: bool = True,
    ) -> None:
        self.limits = limits
        self.lifecycle = Lifecycle()
        self.exports = Exports(limits, takes_receivers)
        self.imports = Imports(limits, host.make_reference, self)
        self.observers = Observers(limits, host.make_observer)
        self.replicas = Replicas(limits, self)
        self.questions = Questions(limits, self._send_call, self._has_left)
        self.memory = Memory(limits, shared_memory)
        self.serving = Serving(limits, self.memory)
        self.deadlines = Deadlines(limits, now)
        self._line_standstill = Standstill()
        self._queue_standstill = Standstill()
        self.reports = Reports(now, allowance)
        self.kept = KeptAnswers(self.memory)
        self._may_depend = False  # whether the message being encoded may mention answers that are not there,
        self._dependencies: dict[OutgoingCall, None] | None = None  # and the calls whose answers it mentions
        self._content: Content | None = None  # what else it mentions, when that is anything
        self.unsent_updates: list[Callable[[], None]] = []  #: send what live objects have collected
        self.ignored = 0
        self.paused = False  #: whether the driver wants nothing more of the peer's for now
        self.peer_draining = False  #: whether the peer takes no new calls
        self._host = host
        self._unsafe_tracebacks = unsafe_tracebacks
        self._dialect: Any = None  # the negotiation first, a Dialect then
        self._agreed = ""
        self._out: list[Message] = []
        self._out_bytes = 0
        self._batch = 1  # of messages in _out: what has not been taken yet
        self.outgoing = NOTHING_LARGE  #: the messages that wait because a large one is on its way out
        self._refusal_bytes = 0  # of what is in _out: refusals of calls
        self._blocked = False  # whether the transport takes nothing more for now,
        self._in_transport = 0  # and the bytes that it keeps then
        self._unread = False  # whether the dialect may have a complete message
        self._starting = False  # whether waiting calls are being started
        self._releases: list[tuple[ObjectId, Hashable | None, int]] = []  # appended to from any thread
        self._releases_announced = False  # whether the host knows that there are some
        self._freed = False  # whether something was released that may come home in the next message
        self._drains = False  # whether to drain as soon as the greeting is over
        self._is_encoding = False  # whether a message is being encoded: hooks of the application run then,
        self._deferred: Queue[Callable[[], None]] = ()  # and may make calls, which are encoded after it
        self._catching_up = False  # whether these are being encoded
        #: Whether calls are looked at that depended on an answer: further ones are deferred.
        self._settling = False
        self._mentions_replica = False  # whether the message being encoded mentions a replica sent before
        self._strict: dict[int, None] = {}  # answers in _out that mention one, by identity
        self._said_that_calls_wait = False
        self._mute = False  # whether this side has said its last, or nobody can hear what it says
        self._host_knows_end = False  # whether it was told of the end
        self._closing: CloseCause | None = None  # why this side closes the connection, while it does
        self._peer_said_last: CloseCause | None = None  # how the peer's last word, or its end, is reported
        self._undelivered = 0  # calls of ours without an answer that will never leave
        self._eof = False  # whether the peer's bytes have ended; acted on behind what came before
        self._bytes_received = 0
        self._bytes_sent = 0
        self.messages_received = 0  #: operations of the peer's so far

    def _fail(self, error: ProtocolError) -> None:
        """End the connection because the peer broke the protocol."""
        self.reports.say(self.deadlines.heard, logging.WARNING, "closing the connection: %s", error)
        self._end(CloseCause(error.code, error.reason, clean=False), tell=True)

    def _fail_by_defect(self, error: Exception) -> None:
        """End the connection because of an exception that nothing here expects, so that it harms no other."""
        self.reports.say(self.deadlines.heard, logging.ERROR, _DEFECT, error=error)
        cause = CloseCause("internal", "this side met an error of its own", clean=False)
        try:
            self._end(cause, tell=True)
        except Exception:
            if self._host_knows_end:
                raise
            self._end(cause)  # without the last words, which could not be made
        if not self._host_knows_end:  # the end itself was interrupted
            self._host_knows_end = True
            self._host.on_closed(cause)

    def _end(self, cause: CloseCause, *, tell: bool = False, in_order: bool = False) -> None:
        """End the connection.

        Args:
            cause: why.
            tell: the peer is told why, where the dialect has a word for it.
            in_order: what came before the end is acted on: the peer's calls without an answer run, and what these
                depend on.
        """
        if tell and self.unsent_updates and self.lifecycle.phase in (Phase.OPEN, Phase.DRAINING):
            self.send_updates()
        if (
            self.lifecycle.phase in (Phase.OPEN, Phase.DRAINING, Phase.CLOSING)
            and tell
            and FAREWELL in self._dialect.features
        ):
            self.send(self._dialect.encode_farewell(cause.code, cause.reason))
        if self.lifecycle.ended:
            return
        undelivered = self._undelivered + self.questions.undelivered
        if undelivered:
            cause = CloseCause(cause.code, cause.reason, cause.clean, undelivered)
        self.lifecycle.close(cause)
        self.deadlines.stop()
        self.reports.sum_up()
        for incoming in self.serving.abandon(in_order):
            if not (incoming.cancelled or incoming.expired):  # a method that cleans up is not disturbed again
                self._host.cancel(incoming)
        self._lose_calls(cause)
        observed_at_the_end = self.observers.abandon()
        self.kept.clear()
        exported = self.exports.clear()
        self.imports.clear()
        self.memory.clear()
        self._releases.clear()
        self.unsent_updates.clear()
        self._host_knows_end = True
        self._host.on_closed(cause)  # which carries away the last words
        exported.clear()  # not before callbacks for the end have run: some belong to what only the peer held
        self.outgoing = NOTHING_LARGE
        self._out_bytes = sum(map(len, self._out))
        if self._dialect is not None and self._dialect.unfinished:
            self._dialect.forget_unfinished()
        for observed in observed_at_the_end:
            observed.stopped()
        for replica in self.replicas.abandon():
            tell_end(replica)

    def _lose_calls(self, cause: CloseCause) -> None:
        """No answer can come any more: tell the programs that wait for one."""
        self._undelivered += self.questions.undelivered
        lost = [(call, None if call.stage == SENT else False) for call in self.questions.abandon()]
        for call, _ in lost:
            call.stage = ENDED
        for call, ran in lost:
            error = with_ran(ConnectionLost(cause.code, cause.reason), ran)
            answerable, call.answerable = call.answerable, None
            if answerable is not None:
                answerable.fail(error)
            call.pass_on(None, error)  # to calls of other connections

    def send(self, data: Message) -> None:
        """Queue a message for the peer (called by the dialect as well)."""
        if self.lifecycle.ended or self._mute:
            return
        out = self._out
        out.append(data)
        self._out_bytes += len(data)
        if len(out) == 1:
            self._host.wake()

    def _send_call(self, call: OutgoingCall, message: Message) -> None:
        """Send a call; until it is taken, the peer can still be asked to keep its answer."""
        call.batch = self._batch
        call.position = len(self._out)
        self.send(message)

    def _has_left(self, call: OutgoingCall) -> None:
        raise NotImplementedError

    def _count_unread(self) -> None:
        """Charge the peer what waits for it to read."""
        raise NotImplementedError

    def _send_queued(self) -> None:
        """Send the calls in the queue for which there is room; each of the peer's that has not ended lends a place."""
        if self.questions.queued:
            self.questions.pump(len(self.serving))

    def _end_encoding(self) -> None:
        """A message was encoded, or could not be: now come the calls that were made meanwhile."""
        self._is_encoding = False
        self._dependencies = None
        self._content = None
        if self._deferred and not (self._catching_up or self._settling):
            self._catch_up()

    def _catch_up(self) -> None:
        self._catching_up = True
        try:
            while self._deferred:
                make = self._deferred.popleft()
                try:
                    make()
                except ConnectionLost:
                    pass
                except Exception:
                    log.exception("a call that was made while another message was encoded could not be sent")
        finally:
            self._catching_up = False

    def _begin_message(self, may_depend: bool = False) -> None:
        """A message is about to be encoded.

        Args:
            may_depend: whether it may mention the answers of calls that have none yet.

        Raises:
            ConnectionLost: a hook of the application has ended the connection.
        """
        if self.unsent_updates:  # they were made before
            self._is_encoding = False
            self.send_updates()
            self._is_encoding = True
        self._check_open()
        self.observers.begin()
        self._mentions_replica = False
        self._may_depend = may_depend

    def update_soon(self, send: Callable[[], None]) -> None:
        """Call ``send``, which makes an update, before anything else is sent, or the program waits."""
        self.unsent_updates.append(send)
        if len(self.unsent_updates) == 1:
            self._host.wake()

    def send_updates(self) -> None:
        """Make the updates that were left for now, unless a message is being encoded."""
        if not self._is_encoding:
            updates, self.unsent_updates = self.unsent_updates, []
            for send in updates:
                send()

    def _check_open(self) -> None:
        cause = self.lifecycle.cause
        if cause is not None:
            raise ConnectionLost(cause.code, cause.reason)

    def _check_usable(self) -> None:
        cause = self.lifecycle.cause
        if cause is not None:
            raise DeadReferenceError(f"the connection has ended ({cause.code}: {cause.reason})")
        if not self._agreed:
            raise DeadReferenceError("the connection is not established yet")
        if self.lifecycle.phase is Phase.CLOSING:
            raise DeadReferenceError("the connection is being closed")
