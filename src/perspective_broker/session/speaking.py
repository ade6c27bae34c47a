"""What both directions of a connection share: its state, how a message is made and queued, how everything ends."""

from __future__ import annotations

import logging
from collections import deque
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
    ObjectId,
)
from .caches import Observed, Observers, Replicas
from .deadlines import Deadlines
from .lifecycle import CloseCause, Lifecycle, Phase
from .pipelining import (
    KeptAnswers,
    Pipelines,
)
from .questions import Questions
from .serving import Serving
from .tables import Exports, Imports

__all__ = ["Speaker"]

log = logging.getLogger("perspective_broker")


class Speaker:
    """The state of one connection, and its voice. The base of :class:`.broker.Broker`, whose arguments it takes."""

    def __init__(self, host: Host, limits: Limits, now: float, *, unsafe_tracebacks: bool = False) -> None:
        self.limits = limits
        self.lifecycle = Lifecycle()
        self.exports = Exports(limits)
        self.imports = Imports(limits, host.make_reference, self)
        self.observers = Observers(limits, host.make_observer)
        self.replicas = Replicas(limits, self)
        self.questions = Questions(limits, self.send)
        self.serving = Serving(limits)
        self.deadlines = Deadlines(limits, now)
        self.pipelines = Pipelines()
        self.kept = KeptAnswers()
        self._encoding: Any = None  # what makes the message being encoded,
        self._mentioned: dict[int, None] = {}  # and our calls whose answers it mentions
        self._held_back: set[int] = set()  # our calls that a barrier holds back
        self._put_off = 0  # what the peer gave back behind calls that could not be decoded yet
        self.ignored = 0
        self.paused = False  #: whether the driver wants nothing more of the peer's for now
        self.peer_draining = False  #: whether the peer takes no new calls
        self._host = host
        self._unsafe_tracebacks = unsafe_tracebacks
        self._dialect: Any = None  # the negotiation first, a Dialect then
        self._agreed = ""
        self._out: list[bytes] = []
        self._out_bytes = 0
        self._unread = False  # whether bytes have come that process() has not been through
        self._blocked = False  # whether the transport has all it can take
        self._starting = False  # whether calls that waited are being started
        # Filled by finalisers, in any thread: references as (id, key, receipts), replicas as (id, None, 0).
        self._releases: deque[tuple[ObjectId, Hashable | None, int]] = deque()
        self._releases_announced = False
        self._freed = False  # whether something is freed that can still come home
        self._drains = False  # whether to drain as soon as the greeting is over
        self._saying = False  # whether a message is being made: hooks of the application run then,
        self._said_meanwhile: deque[tuple[Callable[..., None], tuple[Any, ...]]] = deque()  # and may say more
        self._leans_on = 0  # the place of the last message that the one being made builds on
        self._bytes_received = 0
        self._bytes_sent = 0
        self._messages_received = 0

    def _fail(self, error: ProtocolError) -> None:
        """End the connection because the peer broke the protocol."""
        log.warning("closing the connection: %s", error)
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
        self.exports.clear()
        self.imports.clear()
        self._releases.clear()
        self._host.on_closed(cause)
        for observed in observed_at_the_end:
            observed.stopped()
        for replica in self.replicas.abandon():
            try:
                replica.updates_ended()
            except Exception:
                log.exception("updates_ended of a %s raised", type(replica).__name__)

    def send(self, data: bytes) -> None:
        """Queue bytes for the peer (called by the dialect and by the questions as well)."""
        if self.lifecycle.phase is Phase.CLOSED:
            return
        if not self._out:
            self._host.wake()
        self._out.append(data)
        self._out_bytes += len(data)

    def _say(self, say: Callable[..., None], *args: Any) -> None:
        """Make and queue a message, which ``say(*args)`` does, and then what was said meanwhile.

        What an application's hook says while a message is made follows that message, which may introduce what
        it mentions; it is made then, and so depends in nothing on how that message ends.
        """
        if self._saying:
            self._said_meanwhile.append((say, args))
            return
        self._saying = True
        try:
            say(*args)
        finally:
            try:
                while self._said_meanwhile:
                    say, args = self._said_meanwhile.popleft()
                    try:
                        say(*args)
                    except ConnectionLost:
                        pass
                    except Exception:
                        log.exception("what was said while another message was made could not be sent")
            finally:
                self._saying = False

    def _encode(self, encode: Callable[..., Any], *args: Any) -> tuple[bytes, list[Observed]]:
        """Return what the dialect's ``encode`` returns, and the cacheables that the message introduces.

        Raises:
            ConnectionLost: a hook of the application ended the connection.
        """
        self._check_open()
        self.observers.begin()
        self._leans_on = 0
        self._mentioned = {}
        self._encoding = encode
        message = encode(*args)
        self._check_open()
        return message, self.observers.introduced()

    def _check_open(self) -> None:
        cause = self.lifecycle.cause
        if cause is not None:
            raise ConnectionLost(cause.code, cause.reason)

    def _queue(self, new: list[Observed], queue: Callable[..., None], *args: Any) -> None:
        """Queue a message that was encoded."""
        queue(*args)
        for observed in new:
            observed.place = self.questions.last_place

    def _check_usable(self) -> None:
        phase = self.lifecycle.phase
        if phase is Phase.CLOSED:
            cause = self.lifecycle.cause
            raise DeadReferenceError(
                f"the connection has ended ({cause.code}: {cause.reason})" if cause else ""
            )
        if phase is Phase.NEGOTIATING:
            raise DeadReferenceError("the connection is not established yet")
