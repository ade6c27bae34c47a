"""What both directions of a connection share: its state, how a message is made and queued, how everything ends."""

from __future__ import annotations

import logging
from collections.abc import Callable, Hashable
from typing import Any

from ..errors import (
    ConnectionLost,
    DeadReferenceError,
    ProtocolError,
)
from ..limits import Limits
from ..ports import (
    FAREWELL,
    Host,
    Message,
    ObjectId,
)
from ..queues import Queue
from .caches import Observed, Observers, Replicas, tell_end
from .cause import CloseCause
from .deadlines import Deadlines
from .lifecycle import Lifecycle, Phase
from .outgoing import NOTHING_LARGE
from .pipelining import (
    KeptAnswers,
    Pipelines,
)
from .questions import Questions
from .reports import Reports, SharedAllowance
from .serving import Serving
from .tables import Exports, Imports

__all__ = ["Speaker"]

log = logging.getLogger("perspective_broker")


class Speaker:
    """The state of one connection, and its voice. The base of :class:`.broker.Broker`, whose arguments it takes."""

    def __init__(
        self,
        host: Host,
        limits: Limits,
        now: float,
        *,
        unsafe_tracebacks: bool = False,
        allowance: SharedAllowance | None = None,
        takes_receivers: bool = True,
    ) -> None:
        self.limits = limits
        self.lifecycle = Lifecycle()
        self.exports = Exports(limits, takes_receivers)
        self.imports = Imports(limits, host.make_reference, self)
        self.observers = Observers(limits, host.make_observer)
        self.replicas = Replicas(limits, self)
        self.questions = Questions(limits, self.send)
        self.serving = Serving(limits)
        self.deadlines = Deadlines(limits, now)
        self.reports = Reports(now, allowance)
        self.pipelines = Pipelines()
        self.kept = KeptAnswers()
        self._may_mention = False  # whether the message being encoded may mention answers that are not there,
        self._mentioned: dict[int, None] = {}  # and our calls whose answers it mentions
        self._held_back: dict[int, None] = {}  # our calls that a barrier holds back
        self._put_off = 0  # what the peer gave back behind calls that could not be decoded yet
        self.ignored = 0
        self.paused = False  #: whether the driver wants nothing more of the peer's for now
        self.peer_draining = False  #: whether the peer takes no new calls
        self._host = host
        self._unsafe_tracebacks = unsafe_tracebacks
        self._dialect: Any = None  # the negotiation first, a Dialect then
        self._agreed = ""
        self._out: list[Message] = []
        self.outgoing = NOTHING_LARGE  # what could not leave yet because something large does
        self._out_bytes = 0  # of what has not left, large messages in outgoing counted as a few small ones
        self._refusal_bytes = 0  # the refusals of calls in it
        self._unread = False  # whether bytes have come that process() has not been through
        self._blocked = False  # whether the transport has all it can take
        self._starting = False  # whether calls that waited are being started
        # Filled by finalisers, in any thread: references as (id, key, receipts), replicas as (id, None, 0).
        self._releases: list[tuple[ObjectId, Hashable | None, int]] = []
        self._releases_announced = False
        self._freed = False  # whether something is freed that can still come home
        self._drains = False  # whether to drain as soon as the greeting is over
        self._saying = False  # whether a message is being made: hooks of the application run then,
        self._said_meanwhile: Queue[Callable[[], None]] = ()  # and may say more
        self._catching_up = False  # whether that is being made
        # The place of the last message that the one being made builds on; 0 for one that waits no more, None for none.
        self._leans_on: int | None = None
        self._leaning: dict[int, None] = {}  # answers in _out that build on something, by identity
        self._bytes_received = 0
        self._bytes_sent = 0
        self.messages_received = 0  #: operations of the peer's so far

    def _fail(self, error: ProtocolError) -> None:
        """End the connection because the peer broke the protocol."""
        self.reports.say(self.deadlines.heard, logging.WARNING, "closing the connection: %s", error)
        self._end(CloseCause(error.code, error.reason, clean=False), tell=True)

    def _end(self, cause: CloseCause, *, tell: bool = False) -> None:
        """End the connection; with ``tell`` the peer is told why, where the dialect has a word for it."""
        if (
            self.lifecycle.phase in (Phase.OPEN, Phase.DRAINING)
            and tell
            and FAREWELL in self._dialect.features
        ):
            self.send(self._dialect.encode_farewell(cause.code, cause.reason))
        if not self.lifecycle.close(cause):
            return
        self.deadlines.stop()
        self.reports.sum_up()
        for call in self.serving.abandon():
            self._host.cancel(call)
        answerables, barriers = self.questions.abandon()
        for answerable in answerables:
            answerable.fail(ConnectionLost(cause.code, cause.reason))
        for barrier in barriers:
            barrier.say()
        self._held_back.clear()
        observed_at_the_end = self.observers.abandon()
        self.pipelines.clear()
        self.kept.clear()
        exported = self.exports.clear()
        self.imports.clear()
        self._releases.clear()
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

    def send(self, data: Message) -> None:
        """Queue a message for the peer (called by the dialect and by the questions as well)."""
        if self.lifecycle.ended:
            return
        out = self._out
        out.append(data)
        self._out_bytes += len(data)
        if len(out) == 1:
            self._host.wake()

    # A message is made between `_saying = True` and `_said()`. Whoever makes one finds `_saying` set when a hook of the
    # application says something while another message is made, and then leaves itself in `_said_meanwhile`: what is
    # said so follows that message, which may introduce what it mentions, and depends in nothing on how that one ends.

    def _said(self) -> None:
        """A message was made, or could not be: now comes what was said meanwhile."""
        self._saying = False
        if self._said_meanwhile and not self._catching_up:
            self._catch_up()

    def _catch_up(self) -> None:
        self._catching_up = True
        try:
            while self._said_meanwhile:
                say = self._said_meanwhile.popleft()
                try:
                    say()
                except ConnectionLost:
                    pass
                except Exception:
                    log.exception("what was said while another message was made could not be sent")
        finally:
            self._catching_up = False

    def _begin_message(self, may_mention: bool = False) -> None:
        """A message is about to be encoded.

        Args:
            may_mention: whether it may mention the answers of calls that have none yet.

        Raises:
            ConnectionLost: a hook of the application has ended the connection.
        """
        self._check_open()
        self.observers.begin()
        self._leans_on = None
        if self._mentioned:
            self._mentioned = {}
        self._may_mention = may_mention

    def _end_message(self) -> list[Observed]:
        """The message is encoded: return the cacheables that it introduces, to be told their :meth:`_place`.

        Raises:
            ConnectionLost: a hook of the application has ended the connection.
        """
        self._check_open()
        return self.observers.introduced()

    def _place(self, new: list[Observed]) -> None:
        """The message that introduces ``new`` was queued last."""
        for observed in new:
            observed.place = self.questions.last_place

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
