"""Our calls: from the reference that makes them to the program that learns how they ended.

**Order, at the caller.** A call that is ready is encoded when it is made and leaves in order (:mod:`.questions`). A
call that mentions promises without an outcome depends on them::

    made ──▶ encoded ──▶ queue ──▶ sent ──▶ answered
      │         │  the peer keeps the answers that it mentions     ▲
      │         └──────────────────────────────────────────────────┘
      └──▶ waits alone for one answer ──▶ made again, under a new id

It is sent at once where the peer can keep the answers that it mentions. Otherwise it waits alone, and so does every
later call that depends on the same promise. When an answer comes, the promise is settled first and then, before the
program runs again, the calls that depend on it are looked at, in the order in which they were made and without
recursion (:attr:`Asker._settled`):

- a call that waited alone for it is made;
- a call *to* it, when the answer is an object of this program ("it came home"), is made here. The peer has seen the
  same answer and does not run it; its word for that closes only the record of the message. What depends on such a call
  waits alone from then on;
- any other call that was sent is the peer's to decide: it runs, or is answered "because of request n".

**Encoding is not reentrant.** Hooks of the application (``get_state_to_copy``, ...) run while a message is encoded and
may make calls. Such a call is deferred and encoded after the current message, because it may mention an object which
that message introduces. It is made whether or not encoding the current message succeeds. A call that is made by code
which runs while calls of before are looked at (a hook, a method here) is deferred until they have all been.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from functools import partial
from typing import Any

from ..errors import (
    BadAnswer,
    CallError,
    ConnectionLost,
    DeadlineExceeded,
    DeadReferenceError,
    LimitExceeded,
    ProtocolError,
    with_ran,
)
from ..flavors import Observer, Reference
from ..ports import CANCEL, DEADLINES, LARGE_MESSAGE, PIPELINING, Answerable, AnswerOf, Message
from ..queues import Queue, put
from .caches import Observed
from .deadlines import SLOW_CONSUMER
from .holding import Holder
from .outgoing_calls import (
    ALONE,
    ENDED,
    HERE,
    MADE,
    QUEUED,
    SENT,
    OutgoingCall,
    Parts,
    Unready,
    not_callable,
    not_run,
    of_this_call,
)

__all__ = ["Asker"]

log = logging.getLogger("perspective_broker")


def check_name(name: object) -> None:
    """Raise TypeError if a method's name is not text; compiled code does so by itself.

    Here its own caller hears of it. Sent to the peer it would cost all callers the connection.
    """
    if not isinstance(name, str):
        raise TypeError(f"a method's name is text (str), not {type(name).__name__}")


class Asker(Holder):
    """The side of a broker that calls."""

    #: Calls whose dependency has an outcome, with that dependency: looked at first in, first out.
    _settled: Queue[tuple[OutgoingCall, OutgoingCall]] = ()

    # -- what a driver asks for

    def call(
        self,
        target: Reference,
        name: str,
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
        answerable: Answerable,
        at_once: bool = False,
        call: OutgoingCall | None = None,
    ) -> OutgoingCall:
        """Call a method of the peer's object; ``answerable`` is told how it ended, whatever happens.

        Args:
            target: the object.
            name: the method's name.
            args: positional arguments.
            kwargs: keyword arguments.
            answerable: is told.
            at_once: the call is a message of a stream: it takes no slot, no room and no place in the queue.
            call: the same, where it was promised before there was a connection.

        Raises:
            DeadReferenceError: the connection has ended, or there is none yet.
        """
        check_name(name)
        self._check_usable()
        if call is None:
            call = OutgoingCall(answerable, target._perspective)
            call.at_once = at_once
        else:
            call.perspective = target._perspective
            call.linked().owner = self
        self._make(call, target, name, args, kwargs)
        return call

    def tell(
        self,
        target: Reference,
        name: str,
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
        at_once: bool = False,
    ) -> None:
        """Call a method of the peer's object and ask for no answer.

        Raises:
            SerializationError: the arguments cannot cross; nothing was sent.
            DeadReferenceError: the connection has ended.
        """
        check_name(name)
        self._check_usable()
        call = OutgoingCall(None, target._perspective)
        call.at_once = at_once
        self._make(call, target, name, args, kwargs)

    def call_answer(
        self,
        on: OutgoingCall,
        name: str,
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
        answerable: Answerable | None,
    ) -> OutgoingCall:
        """Call a method of the object that one of our calls will be answered with.

        Args:
            on: that call, which has no outcome yet.
            name: the method's name.
            args: positional arguments.
            kwargs: keyword arguments.
            answerable: is told how the call ended; None for a call without an answer.

        Raises:
            DeadReferenceError: the connection has ended.
            SerializationError: the arguments of a call without an answer cannot cross.
        """
        check_name(name)
        self._check_usable()
        call = OutgoingCall(answerable, on.perspective)
        self._make(call, on, name, args, kwargs)
        return call

    def call_here(
        self, target: Any, name: str, args: tuple[Any, ...], kwargs: dict[str, Any], answerable: Answerable
    ) -> OutgoingCall:
        """Call a method of an answer that is an object of this program, or not an object."""
        call = OutgoingCall(answerable, None)
        call.serial = self.questions.next_request()
        call.linked().parts = Parts(target, name, args, kwargs)
        self._make_here(call, target, name, args, kwargs)
        return call

    def update(
        self,
        observer: Observer,
        name: str,
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
        answerable: Answerable | None,
    ) -> OutgoingCall:
        """Call an ``observe_`` method of the peer's replica; without ``answerable`` no answer is asked for.

        An update that is made while the state is handed out follows the message with the state. A peer that leaves more
        updates than ``Limits.observer_backlog_bytes`` unread can keep no true replica any more; its connection is
        ended.

        Raises:
            DeadReferenceError: the peer keeps the replica no more, or the connection has ended.
        """
        check_name(name)
        self._check_usable()
        if self.observers.find(observer._luid) is None:
            raise DeadReferenceError("the peer has dropped its replica")
        call = OutgoingCall(answerable, observer._perspective)
        call.is_update = call.at_once = True
        self._make(call, observer, name, args, kwargs)
        if self._out_bytes > self.limits.observer_backlog_bytes and (
            self._small_backlog > self.limits.observer_backlog_bytes
        ):
            self._fail(ProtocolError(SLOW_CONSUMER, "too many updates of a cached object are unread"))
        return call

    @property
    def _small_backlog(self) -> int:
        """Bytes of what has not left, without large messages: those take their time, and are no updates."""
        small = sum(size for size in map(len, self._out) if size < LARGE_MESSAGE)
        return small + self.outgoing.small_bytes

    def mention(self, on: OutgoingCall) -> AnswerOf:
        """The message being encoded mentions the answer of ``on``, which has no outcome yet.

        Raises:
            Unready: it cannot: the call has to wait for that answer.
        """
        if not self._may_depend or not self._can_build_on(on) or self.observers.introduces:
            raise Unready(on)
        if self._dependencies is None:
            self._dependencies = {}
        self._dependencies[on] = None
        return AnswerOf(on.request)

    def _can_build_on(self, on: OutgoingCall) -> bool:
        """Whether the peer keeps the answer of ``on`` for another call of ours, or can still be asked to."""
        if PIPELINING not in self._dialect.features or not on.wants_answer or on.is_update:
            return False
        if self.questions.find(on.request) is not on:  # of another connection, or not on its way to the peer
            return False
        links = on.links
        if links is not None:
            if links.alone_only or links.answered:
                return False
            if links.kept:
                return self._dependents_have_room
        return (on.stage == QUEUED or (on.stage == SENT and on.batch == self._batch)) and (
            self._dependents_have_room
        )

    @property
    def _dependents_have_room(self) -> bool:
        questions = self.questions
        return (
            questions.dependents < self.limits.calls_in_flight
            and questions.dependent_bytes < self.limits.window_bytes
        )

    def _keep(self, on: OutgoingCall) -> None:
        """Have the peer keep the answer of a call, whose message has not left."""
        links = on.linked()
        if links.kept:
            return
        links.kept = True
        if on.stage == QUEUED:
            assert on.message is not None
            on.message = self._dialect.encode_kept(on.message)
        else:
            self._out[on.position] = self._dialect.encode_kept(self._out[on.position])

    # -- making a call

    def _make(
        self, call: OutgoingCall, target: Any, name: str, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> None:
        """Make a call: encode it and send it or put it in the queue, or let it wait alone.

        Raises:
            Exception: a call without an answer cannot be encoded; a call with one fails.
        """
        if self._is_encoding or self._settling:
            if isinstance(target, OutgoingCall):
                target.linked()  # which keep its outcome, if it ends before
            self._deferred = put(
                self._deferred, partial(self._make_deferred, call, Parts(target, name, args, kwargs))
            )
        else:
            self._make_now(call, target, name, args, kwargs)

    def _make_now(
        self, call: OutgoingCall, target: Any, name: str, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> None:
        answerable = call.answerable
        if answerable is not None:
            deadline = answerable.deadline
            if deadline is not None and deadline.left() <= 0:
                late = DeadlineExceeded("the time for the call passed before it was made")
                self._end_call(call, None, with_ran(late, False))
                return
        self._is_encoding = True
        try:
            if self.questions.queued and self.questions.is_overfull(self.limits.memory_bytes):
                raise LimitExceeded(
                    f"memory_bytes: the {self.questions.queued} calls that wait for answers of the peer take as much"
                    " memory as they may (Limits.memory_bytes)"
                )
            self._begin_message(may_depend=not call.is_update)
            request = call.request = self.questions.next_request()
            if not call.serial:
                call.serial = request
            if call.is_update:
                if self.observers.find(target._luid) is None:  # the message with its state was never sent
                    raise DeadReferenceError("the peer has no replica")
                message = self._dialect.encode_update(
                    request, target._luid, name, call.wants_answer, args, kwargs, call.perspective
                )
            elif isinstance(target, OutgoingCall):
                message = self._dialect.encode_call(
                    request, self.mention(target), name, call.wants_answer, args, kwargs, call.perspective
                )
            else:
                message = self._dialect.encode_call(
                    request, target._luid, name, call.wants_answer, args, kwargs, call.perspective
                )
            self._check_open()
        except Unready as unready:
            self._wait_for(call, unready.call, Parts(target, name, args, kwargs))
        except Exception as error:
            if not call.wants_answer:
                call.stage = ENDED
                raise
            self._end_call(call, None, of_this_call(error, False))
        else:
            if answerable is not None and deadline is not None and DEADLINES in self._dialect.features:
                message = self._dialect.encode_due(message, deadline.left())
            if self._dependencies is not None:
                self._send_dependent(call, message, Parts(target, name, args, kwargs))
            elif self.observers.introduces:
                # Nothing that is introduced ever waits in the queue, so that nothing that mentions it has to.
                self.questions.flush()
                self.questions.ask_at_once(call, message)
            elif call.at_once or not (call.wants_answer or self.questions.queued):
                self.questions.ask_at_once(call, message)
            elif call.wants_answer:
                if not self.questions.ask(call, message, len(self.serving)):
                    self._hold(call, target)
            else:
                self.questions.tell(call, message)
                self._hold(call, target)
            if self.serving.waits:
                self._host.wake()  # an unanswered call of ours lends the peer a slot
        finally:
            self._end_encoding()

    def _make_deferred(self, call: OutgoingCall, parts: Parts) -> None:
        """Make a call that was deferred, unless it was given up."""
        if call.stage == ENDED:
            return
        target = parts.target
        if isinstance(target, OutgoingCall) and target.stage == ENDED:
            if target.linked().cancelled:
                self._give_up(call)
            else:
                self._make_of(call, parts)
        else:
            self._make(call, target, parts.name, parts.args, parts.kwargs)

    def _make_later(self, call: OutgoingCall, parts: Parts) -> None:
        """Make a call that had to wait; the program cannot be told any more that one without an answer failed."""
        try:
            self._make_now(call, parts.target, parts.name, parts.args, parts.kwargs)
        except Exception as error:
            log.debug("a call without an answer could not be sent: %s", type(error).__name__)

    def _send_dependent(self, call: OutgoingCall, message: Message, parts: Parts) -> None:
        """Send a call that the peer can start only when it has answered others, or put it in the queue."""
        assert self._dependencies is not None
        links = call.linked()
        links.owner, links.parts = self, parts
        links.dependencies = self._dependencies
        links.unsettled = len(links.dependencies)
        for dependency in links.dependencies:
            self._keep(dependency)
            dependency.linked().add_dependent(call)
        if not self.questions.ask_dependent(call, message):
            self._hold(call, parts.target)

    def _hold(self, call: OutgoingCall, target: Any) -> None:
        """Keep what a call in the queue mentions until it has left: what is given back leaves past the queue."""
        content = call.content = self._content
        held = [entry for entry in content or () if isinstance(entry, Reference)]
        if isinstance(target, Reference):
            held.append(target)
        self._hold_references(call, held)
        self._say_that_calls_wait()
        if self._queue_standstill.watch(self.deadlines.heard, self.questions.moves, self.limits):
            self._host.on_deadline()

    def _hold_references(self, call: OutgoingCall, references: list[Reference]) -> None:
        for reference in references:
            self.imports.hold(reference)
        call.held = references

    def _unhold_references(self, call: OutgoingCall) -> None:
        held, call.held = call.held, None
        for reference in held or ():
            self._unhold(reference)

    def _has_left(self, call: OutgoingCall) -> None:
        """A call has left the queue, or was taken out of it: what it mentions may be given back."""
        call.content = None
        self._unhold_references(call)
        if call.links is not None:
            for dependency in call.links.dependencies:
                links = dependency.linked()
                links.mentions -= 1
                self._forget_if_unused(dependency)

    def _forget_if_unused(self, call: OutgoingCall) -> None:
        """Let the peer forget an answer that it has given and that nothing in the queue mentions."""
        links = call.links
        if links is not None and links.kept and links.answered and not links.mentions:
            links.kept = False
            self.send(self._dialect.encode_forget(call.request))

    def _withdraw(self, call: OutgoingCall) -> None:
        """Take a call out of the queue: it is not sent."""
        content = self.questions.withdraw(call)
        self._has_left(call)
        for entry in reversed(content or ()):
            if isinstance(entry, int):
                self.retract(entry)
            elif isinstance(entry, Observed):
                self.retract_cache(entry.luid)

    def _wait_for(self, call: OutgoingCall, on: OutgoingCall, parts: Parts) -> None:
        """Let a call wait alone until ``on`` has an outcome."""
        links = call.linked()
        links.owner, links.parts, links.waits_for = self, parts, on
        on_links = on.linked()
        on_links.alone_only = True
        on_links.add_dependent(call)
        if isinstance(parts.target, OutgoingCall):
            parts.target.linked().add_dependent(call)
        self.questions.wait_alone(call)
        self._hold_references(call, parts.references())
        if self.serving.waits:
            self._host.wake()

    def _wait_no_more(self, call: OutgoingCall) -> None:
        """A call that may have waited alone does not any more."""
        if self.questions.wait_no_more(call):
            self._unhold_references(call)

    # -- the outcome of a call

    def on_answer(self, request: int, payload: Any) -> None:
        self._take_answer(request, payload, self._dialect.decode_value)

    def on_error(self, request: int, payload: Any) -> None:
        self._take_answer(request, payload, self._dialect.decode_error)

    def _take_answer(self, request: int, payload: Any, decode: Callable[[Any, Any], Any]) -> None:
        """One of our calls has ended: decode how, and tell."""
        call = self.questions.settle(request)
        # A late answer is decoded too: the references in it are counted, and released with the value.
        try:
            value = decode(payload, None if call is None else call.perspective)
        except ProtocolError as error:
            if call is not None:
                self._end_call(call, None, with_ran(ConnectionLost(error.code, error.reason), True))
            raise
        except CallError as error:
            value = BadAnswer(f"the method has run, but its answer cannot be read here: {error}")
            value.__cause__ = error
        finally:
            if self._freed:
                self._forget_freed()
        if call is None or call.answerable is None:
            self.ignored += 1
        elif isinstance(value, Exception):
            self._end_call(call, None, value if isinstance(value, BadAnswer) else _told(value))
        elif call.links is None:
            answerable, call.answerable = call.answerable, None
            call.stage = ENDED
            answerable.succeed(value)
        else:
            self._end_call(call, value, None)
        if call is not None and call.links is not None:
            call.links.answered = True
            self._forget_if_unused(call)
        self._send_queued()

    def on_dropped(self, request: int, because: int) -> None:
        """The peer has not run one of our calls, because of its answer to another one.

        Raises:
            ProtocolError: the call does not depend on that answer.
        """
        call = self.questions.settle(request)
        links = None if call is None else call.links
        if call is None or call.answerable is None:
            self.ignored += 1
        else:
            found = [] if links is None else [on for on in links.dependencies if on.request == because]
            if links is None or not found:
                error = ProtocolError(
                    "bad-id", "a call was not run because of an answer that it does not mention"
                )
                self._end_call(call, None, with_ran(ConnectionLost(error.code, error.reason), None))
                raise error
            if found[0].stage == ENDED:
                self._end_because(call, found[0])
            else:  # that answer is large, and on its way
                links.because = found[0]
                self.questions.wait_alone(call)
        if call is not None and links is not None:
            links.answered = True
            self._forget_if_unused(call)
        self._send_queued()

    def _end_because(self, call: OutgoingCall, on: OutgoingCall) -> None:
        """End a call that was not run because of the outcome of ``on``."""
        assert call.links is not None
        links = on.linked()
        error: Exception
        if links.cancelled:
            self._give_up(call)
            return
        if links.error is not None:
            error = not_run(links.error)
        elif call.links.parts is not None and call.links.parts.target is on:
            error = with_ran(not_callable(links.value), False)
        else:
            error = CallError("the peer could not use the answer of another call, which this one mentions")
        self._end_call(call, None, error)

    def _end_call(self, call: OutgoingCall, value: Any, error: Exception | None) -> None:
        """Tell how a call has ended; then look at the calls that depend on it."""
        self._wait_no_more(call)
        call.stage = ENDED
        answerable, call.answerable = call.answerable, None
        if answerable is not None:
            if error is not None:
                answerable.fail(error)
            else:
                answerable.succeed(value)
        call.pass_on(value, error)

    def dependency_settled(self, call: OutgoingCall, on: OutgoingCall) -> None:
        self._settled = put(self._settled, (call, on))

    def look_at_settled(self) -> None:
        if self._settling:
            return
        self._settling = True
        try:
            while self._settled:
                self._look_at(*self._settled.popleft())
        finally:
            self._settling = False
        if self._deferred:
            self._end_encoding()
        if self._closing is not None:
            self._maybe_say_last()
        self._send_queued()

    def _look_at(self, call: OutgoingCall, on: OutgoingCall) -> None:
        links = call.links
        if call.stage == ENDED or links is None:
            return
        on_links = on.linked()
        if on_links.cancelled:
            self._give_up(call)
        elif links.waits_for is on:
            links.waits_for = None
            self._make_again(call)
        elif links.because is on:
            links.because = None
            if on_links.came_home and links.parts is not None and links.parts.target is on:
                self._take_home(call)
            else:
                self._end_because(call, on)
        elif on not in links.dependencies:  # it is the target of a call that waits alone for an argument
            if on_links.error is not None:
                self._end_call(call, None, not_run(on_links.error))
        elif on_links.never_left:  # so this one has not left, either
            self._withdraw(call)
            links.never_left = True
            self._end_call(call, None, not_run(on_links.error or ConnectionLost()))
        else:
            links.unsettled -= 1
            if on_links.came_home and links.parts is not None and links.parts.target is on:
                self._take_home(call)
            elif not links.unsettled:
                self.questions.is_ready(call)
                if not call.wants_answer and call.stage == SENT:
                    call.stage = ENDED

    def _make_again(self, call: OutgoingCall) -> None:
        """Make a call that waited alone for an answer which is there now."""
        assert call.links is not None
        parts = call.links.parts
        assert parts is not None
        self.questions.wait_no_more(call)
        held, call.held = call.held, None
        try:
            self._make_of(call, parts)
        finally:
            for reference in held or ():  # which the call holds again if it waits
                self._unhold(reference)

    def _make_of(self, call: OutgoingCall, parts: Parts) -> None:
        """Make a call of its parts, of which the target may have an outcome now."""
        call.stage = MADE
        target = parts.target
        if isinstance(target, OutgoingCall) and target.stage == ENDED:
            on = target.linked()
            if on.error is not None:
                self._end_call(call, None, not_run(on.error))
                return
            target = parts.target = on.value
        if isinstance(target, (OutgoingCall, Observer)) or (
            isinstance(target, Reference) and target._session is self
        ):
            if isinstance(target, Reference):
                call.perspective = target._perspective
            self._make_later(call, parts)
        else:
            self._make_here(call, target, parts.name, parts.args, parts.kwargs)

    def _make_here(
        self, call: OutgoingCall, target: Any, name: str, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> None:
        """Let the driver call a method of what a promise turned out to be: an object of this program."""
        call.stage = HERE
        try:
            self._host.call_here(call, target, name, args, kwargs)
        except Unready as unready:
            self._wait_for(call, unready.call, Parts(target, name, args, kwargs))
        except Exception as error:  # with which an argument has failed that was promised
            self._end_call(call, None, error)

    def ended_here(self, call: OutgoingCall, value: Any, error: Exception | None) -> None:
        """The driver's method for :meth:`ports.Host.call_here` returned ``value``, or raised ``error``."""
        if call.stage == HERE:
            self._end_call(call, value, error)

    def _take_home(self, call: OutgoingCall) -> None:
        """The target of a call turned out to be an object of ours: the peer does not run it, it is made here.

        The peer drops as well what it was sent that depends on the call, and on that: these calls wait alone.
        """
        self._take_back(call)
        call.linked().alone_only = True
        todo = [call]
        while todo:
            on = todo.pop()
            for dependent in list(on.linked().dependents):
                links = dependent.links
                assert links is not None
                assert links.parts is not None
                if links.waits_for is None:
                    self._take_back(dependent)
                    self._wait_for(dependent, on, links.parts)
                    todo.append(dependent)
        self._make_again(call)

    def _take_back(self, call: OutgoingCall) -> None:
        """Undo the message of a call, which is made again: it does not leave, or the peer does not run it."""
        links = call.linked()
        self._wait_no_more(call)  # when the peer has said already that it did not run the call
        if call.stage == QUEUED:
            self._withdraw(call)
            links.kept = False
        elif self.questions.find(call.request) is call:
            stub = OutgoingCall(None, call.perspective)
            if links.kept:
                stub.linked().kept = True
                links.kept = False
            self.questions.replace(call, stub)
        elif not call.wants_answer:
            self.questions.is_ready(call)
        call.depend_no_more()
        links.unsettled = 0
        call.request = 0
        call.stage = MADE

    # -- giving calls up

    def cancel_call(self, call: OutgoingCall) -> None:
        """The program does not want the outcome of a call any more (and does not wait for it).

        The peer stops the method, if it can be told. What depends on the call is given up as well. The call stays open
        until the peer has answered it, because its method runs until then.
        """
        stage = call.stage
        if stage == ENDED or (self.lifecycle.ended and stage != HERE):
            return
        call.answerable = None
        if stage == SENT:
            call.stage = ENDED
            if CANCEL in self._dialect.features and self.questions.find(call.request) is call:
                self.send(self._dialect.encode_cancel(call.request))
            self._wait_no_more(call)  # when only the outcome of another call was missing
            if not call.wants_answer:
                self.questions.is_ready(call)
        else:
            call.stage = ENDED
            if stage == QUEUED:
                self._withdraw(call)
            elif stage == ALONE:
                self._wait_no_more(call)
            elif stage == HERE:
                self._host.cancel_here(call)
        links = call.links
        if links is not None:
            links.cancelled = True
            call.depend_no_more()
            call.pass_on(None, None)
        if stage == QUEUED and not self._settling:
            self._send_queued()

    def _give_up(self, call: OutgoingCall) -> None:
        """End a call of ours as cancelled, because one that it depends on was."""
        answerable = call.answerable
        self.cancel_call(call)
        if answerable is not None:
            answerable.abandon()

    def _maybe_say_last(self) -> None:
        """Say the last of this side, if it closes and nothing undecided has to leave before."""
        raise NotImplementedError

    # -- what waits too long, and what waits at the end

    def _refuse_first(self) -> None:
        """Nothing has moved for ``Limits.stalled_seconds``: end the call that has been in the queue longest."""
        call = self.questions.first()
        if call is None:
            return
        self._withdraw(call)
        call.linked().never_left = True
        error = LimitExceeded(
            f"calls_in_flight: {len(self.questions)} calls have no answer, and none was answered for"
            f" {self.limits.stalled_seconds:g} s (Limits.stalled_seconds)"
        )
        self._end_call(call, None, with_ran(error, False))
        self._send_queued()

    def _say_that_calls_wait(self) -> None:
        """Log, once, that the first call has to wait for room."""
        if not self._said_that_calls_wait:
            self._said_that_calls_wait = True
            self.reports.say(
                self.deadlines.heard,
                logging.INFO,
                "calls wait here until others are answered: %d have no answer "
                "(the peer's Limits.calls_in_flight and window_bytes are taken to be ours)",
                len(self.questions),
            )


def _told(error: Exception) -> Exception:
    """Return an error that the peer has answered with, saying whether the method has run."""
    if isinstance(error, CallError):
        error.of_a_call = True
        return with_ran(error, False)
    if isinstance(error, LimitExceeded):
        return with_ran(error, False)
    return with_ran(error, None if isinstance(error, DeadlineExceeded) else True)
