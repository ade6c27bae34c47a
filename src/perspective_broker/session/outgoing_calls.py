"""Our calls: from the reference on which they are made to the outcome that the program receives.

**Order, at the caller.** A call that is ready is encoded when it is made and leaves in order (:mod:`.questions`). A
call that refers to promises without an outcome depends on them::

    made ──▶ encoded ──▶ queue ──▶ sent ──▶ answered
      │         │  the peer keeps the answers on which it depends  ▲
      │         └──────────────────────────────────────────────────┘
      └──▶ waits alone for one answer ──▶ made again, under a new id

It is sent at once where the peer can keep the answers on which it depends. Otherwise it waits alone, and so does every
later call that depends on the same promise. When an answer comes, the promise is settled first and then, before the
program runs again, the calls that depend on it are looked at, in the order in which they were made and without
recursion (:attr:`OutgoingCalls._settled`):

- a call that waited alone for it is made;
- a call *to* it, when the answer is an object of this program ("it came home"), is made here. The peer has seen the
  same answer and does not run the call; its notice of that closes only the record of the message. Calls that depend
  on such a call wait alone from then on;
- any other call that was sent is the peer's to decide: it runs, or is answered "because of request n".
"""

from __future__ import annotations

import logging

from ..errors import (
    BadAnswer,
    CallError,
    ConnectionLost,
    DeadlineExceeded,
    DeadReferenceError,
    LimitExceeded,
    ProtocolError,
    RemoteError,
    with_ran,
)
from ..flavors import Observer, Reference, observer_luid, observer_perspective, perspective_of
from ..ports import Answerable, Feature, PromisedAnswer, Undecoded, Value
from ..queues import Queue, put
from .caches import Observers
from .call_maker import CallMaker
from .call_sender import CallSender
from .cause import CloseCause
from .context import Context
from .deadlines import SLOW_CONSUMER
from .encoding import Encoding
from .exporter import Exporter
from .outbox import Outbox
from .outgoing_call import (
    ENDED,
    HERE,
    MADE,
    QUEUED,
    SENT,
    OutgoingCall,
    Owner,
    Parts,
    not_callable,
    not_run,
)

__all__ = ["OutgoingCalls"]

log: logging.Logger = logging.getLogger("perspective_broker")


class OutgoingCalls(Owner):
    """The calls that this side makes."""

    def __init__(
        self,
        context: Context,
        outbox: Outbox,
        encoding: Encoding,
        exporter: Exporter,
        observers: Observers,
        sender: CallSender,
    ) -> None:
        self._context = context
        self._host = context.host
        self._lifecycle = context.lifecycle
        self._outbox = outbox
        self._encoding = encoding
        self._exporter = exporter
        self._observers = observers
        self._sender = sender
        self._questions = sender.questions
        self._maker = CallMaker(context, outbox, encoding, sender, self)
        #: Calls whose dependency has an outcome, with that dependency: looked at first in, first out.
        self._settled: Queue[tuple[OutgoingCall, OutgoingCall]] = ()
        #: One-way calls that will never leave.
        self._undelivered = 0

    # -- making calls

    def call(
        self,
        target: Reference,
        name: str,
        args: tuple[Value, ...],
        kwargs: dict[str, Value],
        answerable: Answerable,
        at_once: bool = False,
        call: OutgoingCall | None = None,
    ) -> OutgoingCall:
        """Call a method of the peer's object; ``answerable`` receives the outcome in any case.

        Args:
            target: the object.
            name: the method's name.
            args: positional arguments.
            kwargs: keyword arguments.
            answerable: receives the outcome.
            at_once: the call is a message of a stream: it takes no slot and is not queued.
            call: the same, where it was promised before there was a connection.

        Raises:
            DeadReferenceError: the connection has ended, or is not there yet.
        """
        _check_name(name)
        self._lifecycle.check_usable()
        if call is None:
            call = OutgoingCall(answerable, perspective_of(target))
            call.at_once = at_once
        else:
            call.perspective = perspective_of(target)
            call.linked().owner = self
        self._maker.make(call, target, name, args, kwargs)
        return call

    def tell(
        self,
        target: Reference,
        name: str,
        args: tuple[Value, ...],
        kwargs: dict[str, Value],
        at_once: bool = False,
    ) -> None:
        """Make a one-way call of a method of the peer's object.

        Raises:
            SerializationError: the arguments cannot cross; nothing was sent.
            DeadReferenceError: the connection has ended.
        """
        _check_name(name)
        self._lifecycle.check_usable()
        call = OutgoingCall(None, perspective_of(target))
        call.at_once = at_once
        self._maker.make(call, target, name, args, kwargs)

    def call_answer(
        self,
        on: OutgoingCall,
        name: str,
        args: tuple[Value, ...],
        kwargs: dict[str, Value],
        answerable: Answerable | None,
    ) -> OutgoingCall:
        """Call a method of the object that one of our calls will be answered with.

        Args:
            on: that call, which has no outcome yet.
            name: the method's name.
            args: positional arguments.
            kwargs: keyword arguments.
            answerable: receives the outcome; None for a one-way call.

        Raises:
            DeadReferenceError: the connection has ended.
            SerializationError: the arguments of a one-way call cannot cross.
        """
        _check_name(name)
        self._lifecycle.check_usable()
        call = OutgoingCall(answerable, on.perspective)
        self._maker.make(call, on, name, args, kwargs)
        return call

    def call_here(
        self,
        target: Value,
        name: str,
        args: tuple[Value, ...],
        kwargs: dict[str, Value],
        answerable: Answerable,
    ) -> OutgoingCall:
        """Call a method of an answer that is an object of this program, or not an object."""
        call = OutgoingCall(answerable, None)
        call.serial = self._questions.next_request()
        call.linked().parts = Parts(target, name, args, kwargs)
        self._maker.make_here(call, target, name, args, kwargs)
        return call

    def update(
        self,
        observer: Observer,
        name: str,
        args: tuple[Value, ...],
        kwargs: dict[str, Value],
        answerable: Answerable | None,
    ) -> OutgoingCall:
        """Call an ``observe_`` method of the peer's replica; without ``answerable`` it is a one-way call.

        An update that is made while the state is encoded follows the message with the state. A peer that leaves more
        updates than ``Limits.observer_backlog_bytes`` unread can keep no true replica any more; its connection is
        ended.

        Raises:
            DeadReferenceError: the peer does not keep the replica any more, or the connection has ended.
        """
        _check_name(name)
        self._lifecycle.check_usable()
        if self._observers.find(observer_luid(observer)) is None:
            raise DeadReferenceError("the peer has dropped its replica")
        call = OutgoingCall(answerable, observer_perspective(observer))
        call.is_update = call.at_once = True
        self._maker.make(call, observer, name, args, kwargs)
        most = self._context.limits.observer_backlog_bytes
        if self._outbox.size > most and self._outbox.small_bytes > most:
            self._context.closer.fail(
                ProtocolError(SLOW_CONSUMER, "too many updates of a cached object are unread")
            )
        return call

    def mention(self, on: OutgoingCall) -> PromisedAnswer:
        """See :meth:`.CallSender.mention`."""
        return self._sender.mention(on)

    # -- outcomes

    def answered(self, request: int, payload: Undecoded, is_error: bool) -> bool:
        """A call of ours has ended: decode the outcome and pass it on.

        Returns:
            Whether the program waited for it.
        """
        call = self._questions.settle(request)
        dialect = self._context.dialect
        # A late answer is decoded too: the references in it are counted, and released with the value.
        perspective = None if call is None else call.perspective
        try:
            value = (
                dialect.decode_error(payload, perspective)
                if is_error
                else dialect.decode_value(payload, perspective)
            )
        except ProtocolError as error:
            if call is not None:
                self._maker.end(call, None, with_ran(ConnectionLost(error.code, error.reason), True))
            raise
        except CallError as error:
            value = BadAnswer(f"the method has run, but its answer cannot be read here: {error}")
            value.__cause__ = error
        finally:
            if self._exporter.has_freed:
                self._exporter.forget_freed()
        was_awaited = call is not None and call.answerable is not None
        if call is not None:
            if call.answerable is None:
                pass
            elif isinstance(value, Exception):
                self._maker.end(call, None, value if isinstance(value, BadAnswer) else _of_the_peer(value))
            elif call.links is None:
                answerable, call.answerable = call.answerable, None
                call.stage = ENDED
                answerable.succeed(value)
            else:
                self._maker.end(call, value, None)
            if call.links is not None:
                call.links.answered = True
                self._sender.forget_if_unused(call)
        self._sender.send_queued()
        return was_awaited

    def dropped(self, request: int, because: int) -> bool:
        """The peer has not run one of our calls, because of its answer to another one.

        Returns:
            Whether the program waited for it.

        Raises:
            ProtocolError: the call does not depend on that answer.
        """
        call = self._questions.settle(request)
        links = None if call is None else call.links
        was_awaited = call is not None and call.answerable is not None
        if call is not None and call.answerable is not None:
            found = [] if links is None else [on for on in links.dependencies if on.request == because]
            if links is None or not found:
                error = ProtocolError(
                    "bad-id", "a call was not run because of an answer that it does not mention"
                )
                self._maker.end(call, None, with_ran(ConnectionLost(error.code, error.reason), None))
                raise error
            if found[0].stage == ENDED:
                self._end_because(call, found[0])
            else:  # that answer is large, and on its way
                links.because = found[0]
                self._questions.wait_alone(call)
        if call is not None and links is not None:
            links.answered = True
            self._sender.forget_if_unused(call)
        self._sender.send_queued()
        return was_awaited

    def ended_here(self, call: OutgoingCall, value: Value, error: Exception | None) -> None:
        """The method that :meth:`.Host.call_here` called returned ``value``, or raised ``error``."""
        if call.stage == HERE:
            self._maker.end(call, value, error)

    def _end_because(self, call: OutgoingCall, on: OutgoingCall) -> None:
        """End a call that was not run because of the outcome of ``on``."""
        assert call.links is not None
        links = on.linked()
        error: Exception
        if links.cancelled:
            self._maker.give_up(call)
            return
        if links.error is not None:
            error = not_run(links.error)
        elif call.links.parts is not None and call.links.parts.target is on:
            error = with_ran(not_callable(links.value), False)
        else:
            error = CallError("the peer could not use the answer of another call, which this one mentions")
        self._maker.end(call, None, error)

    # -- calls that depend on an outcome

    def dependency_settled(self, call: OutgoingCall, on: OutgoingCall) -> None:
        self._settled = put(self._settled, (call, on))

    def look_at_settled(self) -> None:
        if not self._encoding.hold():
            return
        try:
            while self._settled:
                self._look_at(*self._settled.popleft())
        finally:
            self._encoding.resume()
        if self._lifecycle.closing is not None:
            self._context.closer.outgoing_settled()
        self._sender.send_queued()

    def _look_at(self, call: OutgoingCall, on: OutgoingCall) -> None:
        links = call.links
        if call.stage == ENDED or links is None:
            return
        on_links = on.linked()
        comes_home = on_links.came_home and not self._context.writer.has(Feature.PASSES_HOME)
        is_target_at_home = comes_home and links.parts is not None and links.parts.target is on
        if on_links.cancelled:
            self._maker.give_up(call)
        elif links.waits_for is on:
            links.waits_for = None
            self._make_again(call)
        elif links.because is on:
            links.because = None
            if is_target_at_home:
                self._take_home(call)
            else:
                self._end_because(call, on)
        elif on not in links.dependencies:  # it is the target of a call that waits alone for an argument
            if on_links.error is not None:
                self._maker.end(call, None, not_run(on_links.error))
        elif on_links.never_left:  # so this one has not left, either
            self._sender.withdraw(call)
            links.never_left = True
            self._maker.end(call, None, not_run(on_links.error or ConnectionLost()))
        else:
            links.unsettled -= 1
            if is_target_at_home:
                self._take_home(call)
            elif not links.unsettled:
                self._questions.is_ready(call)
                if not call.wants_answer and call.stage == SENT:
                    call.stage = ENDED

    def _make_again(self, call: OutgoingCall) -> None:
        """Make a call that waited alone for an answer which is there now."""
        assert call.links is not None
        parts = call.links.parts
        assert parts is not None
        self._questions.wait_no_more(call)
        held, call.held = call.held, None
        try:
            self._maker.make_of(call, parts)
        finally:
            self._sender.unhold(held)  # which the call holds again if it waits

    def _take_home(self, call: OutgoingCall) -> None:
        """The target of a call turned out to be an object of ours: the peer does not run it, it is made here.

        The peer also drops the messages that depend on the call, and their dependents: these calls wait alone.
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
                    self._maker.wait_alone(dependent, on, links.parts)
                    todo.append(dependent)
        self._make_again(call)

    def _take_back(self, call: OutgoingCall) -> None:
        """Undo the message of a call, which is made again: it does not leave, or the peer does not run it."""
        links = call.linked()
        self._sender.wait_no_more(call)  # when the peer has reported already that it did not run the call
        if call.stage == QUEUED:
            self._sender.withdraw(call)
            links.kept = False
        elif self._questions.find(call.request) is call:
            stub = OutgoingCall(None, call.perspective)
            if links.kept:
                stub.linked().kept = True
                links.kept = False
            self._questions.replace(call, stub)
        elif not call.wants_answer:
            self._questions.is_ready(call)
        call.depend_no_more()
        links.unsettled = 0
        call.request = 0
        call.stage = MADE

    # -- giving calls up

    def cancel(self, call: OutgoingCall) -> None:
        """See :meth:`.CallMaker.cancel`."""
        self._maker.cancel(call)

    def refuse_first(self) -> None:
        """Nothing has moved for ``Limits.stalled_seconds``: end the call that has been queued longest."""
        call = self._questions.first()
        if call is None:
            return
        self._sender.withdraw(call)
        call.linked().never_left = True
        error = LimitExceeded(
            f"calls_in_flight: {len(self._questions)} calls have no answer, and none was answered for"
            f" {self._context.limits.stalled_seconds:g} s (Limits.stalled_seconds)"
        )
        self._maker.end(call, None, with_ran(error, False))
        self._sender.send_queued()

    @property
    def undelivered(self) -> int:
        """One-way calls that have not left, and will not when the connection ends now."""
        return self._undelivered + self._questions.undelivered

    def lose(self, cause: CloseCause) -> None:
        """No answer can come any more: end all calls."""
        self._undelivered += self._questions.undelivered
        lost = [(call, None if call.stage == SENT else False) for call in self._questions.abandon()]
        for call, _ in lost:
            call.stage = ENDED
        for call, ran in lost:
            error = with_ran(ConnectionLost(cause.code, cause.reason), ran)
            answerable, call.answerable = call.answerable, None
            if answerable is not None:
                answerable.fail(error)
            call.pass_on(None, error)  # to calls of other connections


def _check_name(name: object) -> None:
    """Raise TypeError if a method's name is not text; compiled code does so by itself.

    Here its own caller hears of it. Sent to the peer it would cost all callers the connection.
    """
    if not isinstance(name, str):
        raise TypeError(f"a method's name is text (str), not {type(name).__name__}")


def _of_the_peer(error: Exception) -> Exception:
    """Return an error that the peer has answered with, with ``ran`` set."""
    if isinstance(error, CallError):
        error.of_a_call = True
        return with_ran(error, False)
    if isinstance(error, LimitExceeded):
        return with_ran(error, False)
    if isinstance(error, RemoteError):
        return error  # which knows: it may have been passed on by a program in the middle
    return with_ran(error, None if isinstance(error, DeadlineExceeded) else True)
