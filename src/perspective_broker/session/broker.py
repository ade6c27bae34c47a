"""The broker: the protocol machine of one connection. Sans-I/O: bytes and times come in as arguments.

A driver feeds it (:meth:`Broker.receive_data`, :meth:`Broker.receive_eof`, :meth:`Broker.handle_deadline`) and
carries away what it has to say (:meth:`Broker.data_to_send`). Dialects call its ``on_*`` methods with the
peer's operations; applications call through references, which end in :meth:`Broker.call` and
:meth:`Broker.tell`.

The broker itself only joins what its rooms own: the lifecycle, the tables of references, the questions (our
calls), the serving (the peer's calls).
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable, Hashable, Sequence
from functools import partial
from typing import Any

from ..errors import (
    BadArguments,
    CallError,
    ConnectionLost,
    DeadReferenceError,
    Error,
    LimitExceeded,
    LoginFailed,
    ProtocolError,
    RemoteError,
    SerializationError,
    UnknownObject,
)
from ..flavors import Cacheable, Copyable, Exportable, Observer, Reference, RemoteCache, Target
from ..flavors.dispatch import find_method
from ..limits import Limits
from ..ports import SENT_BEFORE, Answerable, AnswerOf, CallTarget, Dialect, Host, ObjectId
from .caches import Observed, Observers, Replicas
from .deadlines import Deadlines
from .lifecycle import CloseCause, Lifecycle, Phase
from .pipelining import (
    NOTHING,
    Barrier,
    Hanging,
    KeptAnswer,
    KeptAnswers,
    Mentions,
    Pipelines,
    PutOff,
    Unready,
)
from .questions import Questions
from .serving import IncomingCall, Serving
from .statistics import Statistics
from .tables import Exports, Imports, import_key

__all__ = ["Broker"]

#: What a method raises to tell its caller something, not because it has a defect.
_EXPECTED = (Error, LoginFailed, BadArguments)

#: In the place of an answer: the peer has dropped the call.
_DROPPED = UnknownObject("the peer has dropped the call")

log = logging.getLogger("perspective_broker")

#: Features of a dialect, see :attr:`perspective_broker.ports.Dialect.features`.
CANCEL, FAREWELL, OLD, PING, PIPELINING = "cancel", "farewell", "2002", "ping", "pipelining"

#: What a peer may say of the end: a word, and a line.
_MAX_CODE, _MAX_REASON = 32, 200


class Broker:
    """One connection's protocol machine.

    Args:
        host: the driver.
        limits: what the peer may ask of us.
        now: the driver's clock, in seconds; only differences matter.
        unsafe_tracebacks: whether the peer is sent the tracebacks of our exceptions.
    """

    def __init__(self, host: Host, limits: Limits, now: float, *, unsafe_tracebacks: bool = False) -> None:
        self.limits = limits
        self.lifecycle = Lifecycle()
        self.exports = Exports(limits)
        self.imports = Imports(limits, host.make_reference)
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

    # -- beginning and end

    def start(self, negotiation: Any) -> None:
        """Begin with the greeting. Called once, before anything else."""
        self._dialect = negotiation
        negotiation.open()

    @property
    def dialect_name(self) -> str:
        """The agreed dialect's name; ``""`` before there is one."""
        return self._agreed

    def use_limits(self, limits: Limits) -> None:
        """Judge the peer by other limits from now on (it has logged in)."""
        self.limits = self.exports.limits = self.imports.limits = limits
        self.deadlines.limits = self.observers.limits = self.replicas.limits = self.serving.limits = (
            self.questions.limits
        ) = limits
        if self._dialect is not None:
            self._dialect.use_limits(limits)

    def speak_as_in_2002(self) -> None:
        """The peer is a program of 2002: write only what such a one can read, where the dialect is that old."""
        if OLD in self._dialect.features:
            self._dialect.speak_as_in_2002()

    def drain(self) -> None:
        """Refuse new calls of the peer from now on, the first ones too; what runs may end."""
        self._drains = True
        if self.lifecycle.phase is Phase.OPEN:
            self.lifecycle.enter(Phase.DRAINING)
            if FAREWELL in self._dialect.features:
                self.send(self._dialect.encode_draining())

    @property
    def idle(self) -> bool:
        """Whether no call is under way in either direction and nothing waits to be sent."""
        serving = self.serving
        return not (serving.running or serving.waiting or len(self.questions) or self._out)

    def close(self, code: str = "closed", reason: str = "closed by this side") -> None:
        """End the connection in order, as far as we are concerned at once."""
        self._end(CloseCause(code, reason, clean=True), tell=True)

    def receive_eof(self) -> None:
        """The peer will send nothing more, or the transport is gone."""
        if self.lifecycle.phase is Phase.NEGOTIATING:
            self._end(
                CloseCause("bad-handshake", "the peer hung up before the greeting was over", clean=False)
            )
        elif self.lifecycle.phase is Phase.GREETING and self._dialect.mid_message:
            self._end(
                CloseCause("bad-handshake", "the peer hung up in the middle of its greeting", clean=False)
            )
        else:
            self._end(CloseCause("lost", "the peer closed the connection", clean=True))

    def connection_lost(self, reason: str) -> None:
        """The transport broke."""
        self._end(CloseCause("lost", reason, clean=False))

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

    # -- bytes and time

    def receive_data(self, data: bytes, now: float) -> None:
        """Keep bytes from the peer; :meth:`process` acts on them."""
        if self.lifecycle.phase is Phase.CLOSED:
            return
        self._bytes_received += len(data)
        self.deadlines.heard = now
        try:
            self._dialect.receive_data(data)
        except ProtocolError as error:
            self._fail(error)
            return
        if self.deadlines.message_began is None:
            self.deadlines.message_began = now

    def process(self, messages: int, now: float) -> bool:
        """Act on at most ``messages`` of the peer's operations.

        Returns:
            Whether there may be more that can be acted on at once.
        """
        phase = self.lifecycle
        if self.serving.waiting:
            self._start_waiting()
        for _ in range(messages):
            if phase.phase is Phase.CLOSED:
                return False
            if self.serving.is_full or self.paused:
                self.deadlines.message_began = None  # we stopped reading: the time it takes now is ours
                return False
            try:
                if not self._dialect.next_message():
                    # Between messages no time runs; within one it began with these bytes at the latest.
                    if not self._dialect.mid_message:
                        self.deadlines.message_began = None
                    elif self.deadlines.message_began is None:
                        self.deadlines.message_began = now
                    return False
            except ProtocolError as error:
                self._fail(error)
                return False
            self._messages_received += 1
            self.deadlines.message_began = None
        return True

    @property
    def wants_data(self) -> bool:
        """Whether the driver should go on reading."""
        return not (self.serving.is_full or self.paused)

    def send(self, data: bytes) -> None:
        """Queue bytes for the peer (called by the dialect and by the questions as well)."""
        if self.lifecycle.phase is Phase.CLOSED:
            return
        if not self._out:
            self._host.wake()
        self._out.append(data)
        self._out_bytes += len(data)

    def data_to_send(self) -> list[bytes]:
        """Return, and forget, the messages to be written now, in order."""
        if self._releases:
            self._send_releases()
        out, self._out = self._out, []
        self._bytes_sent += self._out_bytes
        self._out_bytes = 0
        if self.serving.waiting and self._may_start and self._first_is_due:
            self._host.wake()  # for there is room now, unless the transport says otherwise
        return out

    @property
    def bytes_buffered(self) -> int:
        """Bytes made and not yet taken by :meth:`data_to_send`."""
        return self._out_bytes

    def set_blocked(self, blocked: bool, now: float) -> None:
        """The transport can take no more, or can again: while it cannot, no further method is started."""
        if self.lifecycle.phase is Phase.CLOSED:
            return
        self._blocked = blocked
        self.deadlines.blocked_since = now if blocked else None
        if not blocked:
            self._start_waiting()

    @property
    def mid_message(self) -> bool:
        """Whether a message of the peer has begun and not ended."""
        return self.deadlines.message_began is not None

    def next_deadline(self) -> float | None:
        """Return when :meth:`handle_deadline` wants to be called next, or None."""
        if self.lifecycle.phase is Phase.CLOSED:
            return None
        return self.deadlines.next(self._dialect.mid_message)

    def handle_deadline(self, now: float) -> None:
        """Act on the time being ``now``."""
        if self.lifecycle.phase is Phase.CLOSED:
            return
        overdue = self.deadlines.overdue(now, self._dialect.mid_message)
        if overdue is not None:
            self._fail(overdue)
        elif self.deadlines.wants_ping(now):
            self.send(self._dialect.encode_ping(b""))

    # -- our calls

    def call(
        self,
        target: ObjectId,
        name: str,
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
        perspective: Any,
        answerable: Answerable,
    ) -> int:
        """Call a method of the peer's object; ``answerable`` is told how it ended, whatever happens.

        Returns:
            The call's id, for :meth:`cancel_call`.

        Raises:
            DeadReferenceError: the connection has ended, or there is none yet.
        """
        self._check_usable()
        request = self.questions.next_request()
        self._say(
            self._ask, request, self._dialect.encode_call, target, name, args, kwargs, perspective, answerable
        )
        return request

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

    def _ask(
        self,
        request: int,
        encode: Callable[..., bytes],
        target: CallTarget,
        name: str,
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
        perspective: Any,
        answerable: Answerable,
    ) -> None:
        """Make a call with the dialect's ``encode``; one that cannot be encoded fails, and nothing is sent."""
        try:
            message, new = self._encode(encode, request, target, name, True, args, kwargs, perspective)
        except Unready as unready:
            again = partial(
                self._say, self._ask, request, encode, target, name, args, kwargs, perspective, answerable
            )
            self._hold_back(request, again, unready.promise)
        except Exception as error:
            answerable.fail(error)
        else:
            if self._mentioned:
                self._wait_to_introduce(new, self._mentioned)
            self._queue(new, self.questions.ask, request, message, answerable, perspective)
            for on in self._mentioned:
                again = partial(
                    self._say,
                    self._ask,
                    self.questions.next_request(),
                    encode,
                    target,
                    name,
                    args,
                    kwargs,
                    perspective,
                    answerable,
                )
                self.pipelines.mentioned(on, self.questions.last_place, Hanging(request, False, again))

    def _ask_answer(
        self,
        request: int,
        promise: Any,
        on: int,
        name: str,
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
        perspective: Any,
        answerable: Answerable,
    ) -> None:
        """Call a method of what one of our calls, whose answer the peer keeps, will be answered with."""
        replay = partial(self._host.replay, promise, answerable, name, args, kwargs)
        encode = self._dialect.encode_call
        try:
            message, new = self._encode(encode, request, AnswerOf(on), name, True, args, kwargs, perspective)
        except Unready as unready:
            self._hold_back(request, replay, promise, unready.promise)
        except Exception as error:
            answerable.fail(error)
        else:
            self._mentioned[on] = None
            self._wait_to_introduce(new, self._mentioned)
            self._queue(new, self.questions.ask, request, message, answerable, perspective)
            for mentioned in self._mentioned:
                self.pipelines.mentioned(
                    mentioned, self.questions.last_place, Hanging(request, mentioned == on, replay)
                )

    def _hold_back(self, request: int, say: Callable[[], None], *promises: Any) -> None:
        """Make a message when promises that it builds on are kept; what is said meanwhile waits behind it.

        Where the dialect cannot pipeline nothing waits: there only calls on one promise keep their order.
        """
        if PIPELINING not in self._dialect.features:
            (promise,) = promises
            self._host.when_known(promise, say)
            return
        self._held_back.add(request)

        def ready() -> bool:
            return all(map(self._host.known, promises))

        def say_now() -> None:
            self._held_back.discard(request)
            say()

        self.questions.hold_back(Barrier(ready, say_now))
        for promise in promises:
            self._host.when_known(promise, self.questions.release_held)

    def _wait_to_introduce(self, new: list[Observed], mentioned: dict[int, None]) -> None:
        """Hold a message back that mentions answers and introduces cacheables, until the answers are there.

        The peer decodes what mentions answers when it has them, and updates of a cacheable must not come before.
        """
        if new:
            requests = tuple(mentioned)
            self.questions.hold_back(
                Barrier(lambda: not any(request in self.questions for request in requests), lambda: None)
            )

    def call_answer(
        self,
        promise: Any,
        on: int,
        name: str,
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
        answerable: Answerable,
    ) -> int | None:
        """Call a method of the object that one of our calls will be answered with, without waiting for it.

        Args:
            promise: the driver's promise of that answer.
            on: the call's id.

        Returns:
            The new call's id; None where the dialect cannot do it, so that the caller has to wait.

        Raises:
            DeadReferenceError: the connection has ended.
        """
        question = self.questions.find(on)
        if PIPELINING not in self._dialect.features or (question is None and on not in self._held_back):
            return None
        self._check_usable()
        request = self.questions.next_request()
        if question is not None and self._keep(on):
            perspective = question.perspective
            self._say(self._ask_answer, request, promise, on, name, args, kwargs, perspective, answerable)
        else:
            replay = partial(self._host.replay, promise, answerable, name, args, kwargs)
            self._hold_back(request, replay, promise)
        return request

    def mention(self, on: int) -> bool:
        """The message being encoded mentions the answer of one of our calls; False when it cannot."""
        if PIPELINING not in self._dialect.features or self._encoding != self._dialect.encode_call:
            return False
        if on not in self.questions or not self._keep(on):
            return False
        self._mentioned[on] = None
        return True

    def _keep(self, request: int) -> bool:
        """Have the peer keep the answer of a call; False when the call has left without a word of that."""
        if request in self.pipelines:
            return True
        question = self.questions.find(request)
        assert question is not None
        message = self._dialect.encode_kept(question.message)
        if not self.questions.replace(request, message):
            for place in range(len(self._out) - 1, -1, -1):
                if self._out[place] is question.message:
                    self._out[place] = message
                    self.questions.replaced(request, message)
                    break
            else:
                return False
        self.pipelines.keep(request)
        return True

    def cancel_call(self, request: int) -> None:
        """Nobody waits for the answer of that call any more: let the peer stop its method, if it can be told.

        The call stays open until the peer has answered it, for its method runs until then.
        """
        if request in self.questions and CANCEL in self._dialect.features:
            self.questions.tell_behind(request, self._dialect.encode_cancel(request))

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

    def tell(
        self, target: ObjectId, name: str, args: tuple[Any, ...], kwargs: dict[str, Any], perspective: Any
    ) -> None:
        """Call a method of the peer's object and ask for no answer.

        Raises:
            SerializationError: the arguments cannot cross; nothing was sent.
            DeadReferenceError: the connection has ended.
        """
        self._check_usable()
        self._say(self._tell, self._dialect.encode_call, target, name, args, kwargs, perspective)

    def _tell(
        self,
        encode: Callable[..., bytes],
        target: CallTarget,
        name: str,
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
        perspective: Any,
    ) -> None:
        request = self.questions.next_request()
        try:
            message, new = self._encode(encode, request, target, name, False, args, kwargs, perspective)
        except Unready as unready:
            again = partial(self._tell_later, encode, target, name, args, kwargs, perspective)
            self._hold_back(request, partial(self._say, again), unready.promise)
        else:
            if self._mentioned:
                self._wait_to_introduce(new, self._mentioned)
            self._queue(new, self.questions.tell, message)
            for on in self._mentioned:
                self.pipelines.mentioned(on, self.questions.last_place)

    def _tell_later(self, *what: Any) -> None:
        """Tell what had to wait for a promise; nobody is there any more to be told that it could not be said."""
        try:
            self._tell(*what)
        except Exception as error:
            log.debug("what was told could not be sent: %s", type(error).__name__)

    def update(
        self,
        observer: Observer,
        name: str,
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
        answerable: Answerable | None,
    ) -> None:
        """Call an ``observe_`` method of the peer's replica; without ``answerable`` no answer is asked for.

        Told while the state is handed out, an update follows the message with the state. A peer that leaves more
        updates than ``Limits.observer_backlog_bytes`` unread can keep no true replica any more; its connection is
        ended.

        Raises:
            DeadReferenceError: the peer keeps the replica no more, or the connection has ended.
        """
        self._check_usable()
        if self.observers.find(observer._luid) is None:
            raise DeadReferenceError("the peer has dropped its replica")
        self._say(self._update, observer, name, args, kwargs, answerable)

    def _update(
        self,
        observer: Observer,
        name: str,
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
        answerable: Answerable | None,
    ) -> None:
        encode, luid, perspective = self._dialect.encode_update, observer._luid, observer._perspective
        if self.observers.find(luid) is None:  # the message with its state was never sent
            if answerable is not None:
                answerable.fail(DeadReferenceError("the peer has no replica"))
        elif answerable is not None:
            request = self.questions.next_request()
            self._ask(request, encode, luid, name, args, kwargs, perspective, answerable)
        else:
            self._tell(encode, luid, name, args, kwargs, perspective)
        if self._out_bytes + self.questions.held_bytes > self.limits.observer_backlog_bytes:
            self._fail(ProtocolError("slow-consumer", "too many updates of a cached object are unread"))

    def _check_usable(self) -> None:
        phase = self.lifecycle.phase
        if phase is Phase.CLOSED:
            cause = self.lifecycle.cause
            raise DeadReferenceError(
                f"the connection has ended ({cause.code}: {cause.reason})" if cause else ""
            )
        if phase is Phase.NEGOTIATING:
            raise DeadReferenceError("the connection is not established yet")

    # -- references

    def enqueue_release(self, luid: ObjectId, perspective: Any, receipts: int) -> None:
        """Note that a reference is gone. Called by finalisers: in any thread, in the middle of anything."""
        self._enqueue((luid, import_key(luid, perspective), receipts))

    def enqueue_decache(self, luid: int) -> None:
        """Note that a replica is gone. Called by finalisers: in any thread, in the middle of anything."""
        self._enqueue((luid, None, 0))

    def _enqueue(self, release: tuple[ObjectId, Hashable | None, int]) -> None:
        if self.lifecycle.phase is Phase.CLOSED:
            return
        self._releases.append(release)
        if not self._releases_announced:
            self._releases_announced = True
            self._host.wake_from_anywhere()

    def _send_releases(self) -> None:
        self._releases_announced = False
        if self.lifecycle.phase is Phase.CLOSED:
            self._releases.clear()
            return
        owed: dict[ObjectId, int] = {}
        # In order with the calls: one that waits for room may be to the very object that is released.
        while self._releases:
            luid, key, receipts = self._releases.popleft()
            if key is not None:
                self.imports.forget(key)
                owed[luid] = owed.get(luid, 0) + receipts
            elif receipts := self.replicas.dropped(luid):  # type: ignore[arg-type]
                self.questions.tell(self._dialect.encode_decache(luid, receipts))
        for luid, count in owed.items():
            self.questions.tell(self._dialect.encode_release(luid, count))

    def release(self, reference: Reference) -> None:
        """Give a reference back to its owner now; it is dead from here on."""
        key = import_key(reference._luid, reference._perspective)
        self.imports.discard(key, reference)
        receipts, reference._receipts = reference._receipts, 0
        if receipts:
            self.enqueue_release(reference._luid, reference._perspective, receipts)

    def root(self) -> Reference:
        """Return the reference to the peer's root object.

        Raises:
            DeadReferenceError: the connection has ended.
        """
        if self.lifecycle.phase is Phase.CLOSED:
            self._check_usable()
        return self.imports.named("root")

    # -- ports of the codec (Exporter, Importer)

    def export(self, obj: Exportable, perspective: Any) -> int:
        self._check_open()
        return self.exports.add(obj, perspective)

    def retract(self, luid: int) -> None:
        if self.lifecycle.phase is not Phase.CLOSED:  # a hook may have ended the connection
            self.exports.retract(luid)

    def adapt(self, value: Any) -> Any:
        return self._host.adapt(value)

    def home_id(self, reference: Reference) -> ObjectId:
        if reference._session is not self:
            raise SerializationError(
                "a reference to an object of a third program cannot cross; wrap it in an object of your own",
                culprit=reference,
            )
        if not reference._receipts and isinstance(reference._luid, int):
            raise SerializationError("a reference that was given back cannot cross", culprit=reference)
        return reference._luid

    def export_cache(self, obj: Cacheable, perspective: Any) -> tuple[int, Any]:
        self._check_open()
        observed = self.observers.add(obj, perspective)
        if observed.count > 1:
            self._leans_on = max(self._leans_on, observed.place)
            return observed.luid, SENT_BEFORE
        try:
            state = obj.get_state_to_cache_and_observe_for(perspective, observed.observer)
        except BaseException:
            self.retract_cache(observed.luid)
            raise
        observed.asked = True
        if self.lifecycle.phase is Phase.CLOSED:  # its hook ended the connection
            observed.stopped()
        self._check_open()
        return observed.luid, state

    def retract_cache(self, luid: int) -> None:
        if self.lifecycle.phase is not Phase.CLOSED:
            self.observers.retract(luid)

    def home_cache_id(self, replica: RemoteCache) -> int | None:
        return replica._pb_luid if getattr(replica, "_pb_session", None) is self else None

    def introduce_cache(self, luid: int, cls: type[RemoteCache]) -> RemoteCache:
        return self.replicas.introduce(luid, cls)

    def spoil_cache(self, luid: int) -> None:
        self.replicas.spoil(luid)

    def import_cache(self, luid: int) -> RemoteCache:
        return self.replicas.receive(luid)

    def local_cache(self, luid: int) -> Cacheable:
        return self.observers.come_home(luid)

    def import_reference(self, luid: int, perspective: Any) -> Reference:
        if self._releases and len(self.imports) >= self.limits.references_received:
            self._send_releases()  # those that are gone already do not count
        return self.imports.receive(luid, perspective)

    def kept_answer(self, request: int) -> Any:
        answer = self.kept.known(request)
        if answer is None or not answer.good:
            raise UnknownObject("an answer is mentioned that is not kept")
        return answer.value

    def local_object(self, luid: ObjectId) -> Any:
        return self.exports.come_home(luid)

    # -- the peer's operations (Receiver), in wire order

    def on_dialect(self, dialect: Dialect, rest: bytes) -> None:
        self._dialect = dialect
        self._agreed = dialect.name
        self.lifecycle.enter(Phase.GREETING)
        dialect.open()
        if rest:
            dialect.receive_data(rest)

    def on_ready(self) -> None:
        self.lifecycle.enter(Phase.OPEN)
        self.deadlines.established(keepalive=PING in self._dialect.features)
        self._host.on_open()
        if self._drains:
            self.drain()

    def on_call(
        self,
        request: int,
        target: CallTarget,
        name: str,
        wants_answer: bool,
        arguments: Any,
        keep: bool = False,
        hangs_on: Sequence[int] = (),
    ) -> None:
        if self._freed:
            self._forget_freed()
        call = IncomingCall(request, name, wants_answer, self._dialect.last_size)
        self.serving.arrive(call)
        if isinstance(target, AnswerOf):
            hangs_on = (target.request, *hangs_on)
        if hangs_on:
            self.kept.check(hangs_on)
        if keep:
            self.kept.promise(request, self.limits)
        try:
            export = None if isinstance(target, AnswerOf) else self.exports.find(target)
        except CallError as error:
            self._forget_arguments(arguments)
            self._refuse_call(call, error)
            return
        if export is None or hangs_on:
            call.hangs_on, call.undecoded = hangs_on, (export, arguments)
            self._arrived_hanging(call)
        else:
            self._arrived(call, export.holder, export.prefix, export.leading, export.perspective, arguments)

    def on_update(self, request: int, luid: int, name: str, wants_answer: bool, arguments: Any) -> None:
        if self._freed:
            self._forget_freed()
        call = IncomingCall(request, name, wants_answer, self._dialect.last_size)
        self.serving.arrive(call)
        try:
            replica = self.replicas.find(luid)
        except CallError as error:
            self._forget_arguments(arguments)
            self._refuse_call(call, error)
            return
        self._arrived(call, replica, "observe_", (), None, arguments)

    def _arrived(
        self,
        call: IncomingCall,
        holder: Any,
        prefix: str,
        leading: tuple[Any, ...],
        perspective: Any,
        arguments: Any,
    ) -> None:
        """Decode a call whose target is known, and start it or let it wait."""
        if not self._prepare(call, holder, prefix, leading, perspective, arguments):
            return
        serving = self.serving
        if serving.waiting or not self._may_start:
            serving.wait(call)
        else:
            self._invoke(call)

    def _prepare(
        self,
        call: IncomingCall,
        holder: Any,
        prefix: str,
        leading: tuple[Any, ...],
        perspective: Any,
        arguments: Any,
    ) -> bool:
        """Decode a call and find its method; False when it is over before it began."""
        try:
            args, call.kwargs = self._dialect.decode_arguments(arguments, perspective)
            if self.lifecycle.phase is Phase.DRAINING and not getattr(holder, "carries_on", False):
                raise LimitExceeded("this program is shutting down and takes no new calls")
            call.method = find_method(holder, prefix, call.name)
        except (CallError, LimitExceeded) as error:
            self._refuse_call(call, error)
            return False
        except ProtocolError:
            raise
        except (
            Exception
        ) as error:  # an application's hook: an attribute that raises, a class that will not be made
            self.fail_call(call, error)
            return False
        if self.lifecycle.phase is Phase.CLOSED:  # by an application's hook, too
            return False
        call.args = (*leading, *args) if leading else args
        call.perspective = perspective
        return True

    def _arrived_hanging(self, call: IncomingCall) -> None:
        """Take a call that hangs on answers: as any other when they are there, else it waits as it came."""
        if self.serving.last_undecoded is None and self.kept.all_known(call.hangs_on):
            if not self._prepare_hanging(call):
                return
            if not self.serving.waiting and self._may_start:
                self._invoke(call)
                return
        self.serving.wait(call)

    def _prepare_hanging(self, call: IncomingCall) -> bool:
        """The same as :meth:`_prepare` for a call that hangs on answers, which are there."""
        assert call.undecoded is not None
        (target, arguments), call.undecoded = call.undecoded, None
        put_off, call.put_off = call.put_off, None
        answers = [self.kept.known(request) or NOTHING for request in call.hangs_on]
        if all(answer.good for answer in answers):
            if target is None:
                target = self._target_of(answers[0])
            if target is not None:
                holder, prefix, leading, perspective = (
                    target.holder,
                    target.prefix,
                    target.leading,
                    target.perspective,
                )
                prepared = self._prepare(call, holder, prefix, leading, perspective, arguments)
                self._act_on(put_off)
                return prepared
        # The caller has the same answer, and settles what hangs on it by itself.
        self._forget_arguments(arguments)
        self._act_on(put_off)
        self.serving.end(call)
        self.kept.keep(call.request, NOTHING)
        self.ignored += 1
        return False

    def _target_of(self, answer: KeptAnswer) -> Target | None:
        """Return what calls to an answer reach; None unless it crossed as a reference to an object of ours."""
        value = answer.value
        if not isinstance(value, Exportable):
            value = self._host.adapt(value)
        if isinstance(value, (Cacheable, Copyable)) or not isinstance(value, Exportable):
            return None
        return value.export_target(answer.perspective)

    def _act_on(self, put_off: PutOff | None) -> None:
        """Take back what the peer gave back behind a call which is decoded now."""
        if put_off is not None:
            self._put_off -= put_off.messages
            for luid, count in put_off.releases.items():
                self._release(luid, count)
            for luid, count in put_off.decaches.items():
                self._decache(luid, count)
            for request in put_off.forgotten:
                self._forget(request)

    def _put_off_behind(self, call: IncomingCall) -> PutOff:
        """Return where to note what the peer gives back behind a call that is not decoded yet.

        Raises:
            ProtocolError: it gives back more than it can have.
        """
        self._put_off += 1
        if self._put_off > self.limits.references_exported:
            raise ProtocolError("refcount", "more is given back than a peer may have")
        if call.put_off is None:
            call.put_off = PutOff()
        call.put_off.messages += 1
        return call.put_off

    def _invoke(self, call: IncomingCall) -> None:
        self.serving.start(call)
        # The arguments are the method's alone from here: a reference that it drops is released while it runs.
        args, call.args = call.args, ()
        kwargs, call.kwargs = call.kwargs, {}
        self._host.invoke(call, call.method, args, kwargs)

    def _forget_arguments(self, arguments: Any) -> None:
        """Decode arguments that nobody gets: the references in them are counted, and so released."""
        try:
            self._dialect.decode_arguments(arguments, None)
        except CallError:
            pass

    @property
    def _may_start(self) -> bool:
        """Whether one more method may start: it has a slot, and its answer would find room."""
        return self.serving.has_slot and not self._blocked and self._out_bytes < self.limits.write_buffer_high

    @property
    def _first_is_due(self) -> bool:
        """Whether the call that waited longest hangs on nothing that is not there."""
        first = self.serving.waiting[0]
        return first.undecoded is None or self.kept.all_known(first.hangs_on)

    def _start_waiting(self) -> None:
        if self._starting:
            return  # a plain method, started by the loop below, has ended: it goes on there, not deeper here
        serving = self.serving
        had = len(serving.waiting)
        self._starting = True
        try:
            while serving.waiting and self._may_start:
                first = serving.waiting[0]
                if not self._first_is_due:
                    break  # and what came behind it waits as well
                if first.undecoded is not None:
                    serving.next_waiting()
                    if not self._prepare_hanging(first):
                        continue
                else:
                    serving.next_waiting()
                self._invoke(first)
        except ProtocolError as error:  # in what was decoded only now
            self._fail(error)
        finally:
            self._starting = False
        if len(serving.waiting) < had and not serving.is_full:
            self._host.wake()  # reading may go on

    def answer_call(self, call: IncomingCall, value: Any) -> None:
        """The method of ``call`` returned ``value``."""
        if not self.serving.end(call) or self.lifecycle.phase is Phase.CLOSED:
            return
        if call.wants_answer:
            self._say(self._answer, call, value)
        if self.serving.waiting:
            self._start_waiting()

    def _answer(self, call: IncomingCall, value: Any) -> None:
        try:
            message, new = self._encode(self._dialect.encode_answer, call.request, value, call.perspective)
        except ConnectionLost:
            pass
        except Unready:
            self._report(call, SerializationError("an answer cannot mention a promise that is not kept yet"))
        except Exception as error:
            self._report(call, error)
        else:
            self._queue(new, self._send_answer, message)
            if self.kept:
                self.kept.keep(call.request, KeptAnswer(True, value, call.perspective, len(message)))

    def _send_answer(self, message: bytes) -> None:
        """Send an answer, past our own calls that wait for room unless they say what it builds on."""
        if self._leans_on:
            self.questions.send_until(self._leans_on)
        self.send(message)

    def fail_call(self, call: IncomingCall, error: BaseException) -> None:
        """The method of ``call`` raised ``error``."""
        if not self.serving.end(call) or self.lifecycle.phase is Phase.CLOSED:
            return
        self._say(self._report, call, error)
        if self.serving.waiting:
            self._start_waiting()

    def _refuse_call(self, call: IncomingCall, error: CallError | LimitExceeded) -> None:
        """The call came to nothing before its method could run: the peer's doing, so one line, not a traceback."""
        log.info("refused a call: %s", error)
        self.serving.end(call)
        self.kept.keep(call.request, NOTHING)
        if call.wants_answer:
            self.send(self._dialect.encode_error(call.request, error, False, None))

    def _report(self, call: IncomingCall, error: BaseException) -> None:
        """Tell the peer of an exception, if it wants to know, and the log."""
        self.kept.keep(call.request, NOTHING)
        if call.cancelled or isinstance(error, _EXPECTED):
            log.debug("method %.64a reported %s", call.name, type(error).__name__)
        else:
            log.error("method %.64a raised an exception", call.name, exc_info=error)
        if not call.wants_answer:
            return
        try:
            message, new = self._encode(
                self._dialect.encode_error, call.request, error, self._unsafe_tracebacks, call.perspective
            )
        except ConnectionLost:
            return
        except Exception as unsent:  # an exception that is a Copyable, with a state that cannot cross
            log.error("the report of an exception could not be sent", exc_info=unsent)
            plain = RemoteError(type(error).__name__, "an exception that could not be sent")
            message, new = self._dialect.encode_error(call.request, plain, False, None), []
        self._queue(new, self._send_answer, message)

    def on_answer(self, request: int, payload: Any) -> None:
        self._settle(request, payload, self._dialect.decode_value)

    def on_error(self, request: int, payload: Any) -> None:
        self._settle(request, payload, self._dialect.decode_error)

    def _settle(self, request: int, payload: Any, decode: Callable[[Any, Any], Any]) -> None:
        """One of our calls has ended: decode how, and tell."""
        question = self.questions.settle(request)
        # A late answer is decoded too: the references in it are counted, and released with the value.
        answerable = self if question is None else question.answerable
        value: Any = None
        try:
            value = decode(payload, None if question is None else question.perspective)
        except ProtocolError as error:
            answerable.fail(ConnectionLost(error.code, error.reason))
            raise
        except CallError as error:
            value = error
            answerable.fail(error)
        else:
            if isinstance(value, Exception):
                answerable.fail(value)
            else:
                answerable.succeed(value)
        finally:
            if self._freed:
                self._forget_freed()
        if self.pipelines and (mentions := self.pipelines.answered(request)) is not None:
            self._let_go(request, mentions, value)
        if self.questions.held:
            self.questions.release_held()

    def _let_go(self, request: int, mentions: Mentions, value: Any) -> None:
        """An answer that the peer kept has come: settle what hangs on it and cannot be settled there."""
        if self.lifecycle.phase is Phase.CLOSED:
            return
        forget = self._dialect.encode_forget(request)
        if self.questions.has_left(mentions.last_place):
            self.send(forget)
        else:
            self.questions.tell(forget)
        failed = isinstance(value, Exception)
        theirs = isinstance(value, Reference) and value._session is self
        for call in mentions.hanging:
            if (failed or (call.to and not theirs)) and self.questions.settle(call.request) is not None:
                below = self.pipelines.answered(call.request)
                call.again()
                if below is not None:
                    self._let_go(call.request, below, _DROPPED)

    # The broker itself is told the outcome of calls that were settled before: nobody else wants it.

    def succeed(self, value: Any) -> None:
        """A late answer."""
        self.ignored += 1

    def fail(self, error: Exception) -> None:
        """A late error."""
        self.ignored += 1

    def on_release(self, luid: ObjectId, count: int) -> None:
        # A call that waits may mention what is given back behind it.
        if (undecoded := self.serving.last_undecoded) is not None:
            releases = self._put_off_behind(undecoded).releases
            releases[luid] = releases.get(luid, 0) + count
        else:
            self._release(luid, count)

    def _release(self, luid: ObjectId, count: int) -> None:
        if not self.exports.release(luid, count):
            self.ignored += 1
        self._freed = True
        if not self.questions:
            self._forget_freed()

    def on_decache(self, luid: int, count: int) -> None:
        if (undecoded := self.serving.last_undecoded) is not None:
            decaches = self._put_off_behind(undecoded).decaches
            decaches[luid] = decaches.get(luid, 0) + count
        else:
            self._decache(luid, count)

    def _decache(self, luid: int, count: int) -> None:
        gone = self.observers.release(luid, count)
        if gone:
            self.questions.tell(self._dialect.encode_uncache(luid))
        elif gone is None:
            self.ignored += 1
        self._freed = True
        if not self.questions:
            self._forget_freed()

    def _forget_freed(self) -> None:
        """Nothing that the peer has released can come home any more: it said something else since, or was not asked."""
        self._freed = False
        self.exports.freed.clear()
        self.observers.freed.clear()

    def on_uncache(self, luid: int) -> None:
        if not self.replicas.uncache(luid):
            self.ignored += 1

    def on_forget(self, request: int) -> None:
        if (undecoded := self.serving.last_undecoded) is not None:
            self._put_off_behind(undecoded).forgotten[request] = None
        else:
            self._forget(request)

    def _forget(self, request: int) -> None:
        if not self.kept.forget(request):
            self.ignored += 1

    def on_cancel(self, request: int) -> None:
        call = self.serving.find(request)
        if call is None:
            self.ignored += 1
            return
        call.cancelled = True
        if self.serving.withdraw(call):
            if call.undecoded is not None:
                self._forget_arguments(call.undecoded[1])
                self._act_on(call.put_off)
            self._refuse_call(call, LimitExceeded("the call was cancelled before it began"))
            self._start_waiting()  # what came behind it need not wait for what it hung on
        else:
            self._host.cancel(call)

    def on_ping(self, payload: bytes) -> None:
        self.send(self._dialect.encode_pong(payload))

    def on_pong(self, payload: bytes) -> None:
        """That bytes came was the answer."""

    def on_farewell(self, code: str, reason: str) -> None:
        code = code[:_MAX_CODE] if code.replace("-", "").isalnum() and code.isascii() else "lost"
        reason = reason[:_MAX_REASON].encode("unicode_escape").decode()
        self._end(CloseCause(code, f"the peer says: {reason}", clean=True))

    def on_draining(self) -> None:
        self.peer_draining = True
        self._host.on_draining()

    def on_complaint(self, text: str) -> None:
        self.ignored += 1
        log.info("%s", text)

    def statistics(self) -> Statistics:
        """Return the state of the connection now."""
        return Statistics(
            phase=self.lifecycle.phase.value,
            dialect=self.dialect_name,
            exported=len(self.exports),
            imported=len(self.imports),
            observed=len(self.observers),
            replicas=len(self.replicas),
            calls_out=len(self.questions),
            calls_held=self.questions.held,
            calls_in=len(self.serving.running),
            calls_waiting=len(self.serving.waiting),
            bytes_received=self._bytes_received,
            bytes_sent=self._bytes_sent,
            bytes_buffered=self._out_bytes,
            messages_received=self._messages_received,
            answers_kept=len(self.kept),
            ignored=self.ignored,
        )
