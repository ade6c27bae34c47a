"""The peer's calls: from their arrival to their outcome.

:mod:`.call_states` is the table of a call's states, :mod:`.answers` keeps which calls run and which wait. Here they
are started, stopped and ended. A call that is ready is decoded when it comes (:mod:`.preparing`) and starts when there
is a slot. A call that depends on answers of ours waits for these first (:mod:`.pipelining`). How it ended is encoded by
:mod:`.replies`.

Releases, updates and messages of streams are acted on when they come.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Final

from ..errors import (
    CallError,
    DeadlineExceeded,
    LimitExceeded,
    ProtocolError,
    SerializationError,
    Unavailable,
)
from ..flavors import Target, carries_on
from ..limits import Limits
from ..ports import CallTarget, Feature, Message, PromisedAnswer, Undecoded, Value
from .answers import Answers
from .call_states import QUEUED
from .connection_tables import ConnectionTables
from .context import Context
from .deadlines import Standstill
from .encoding import Encoding
from .importer import Importer
from .incoming_call import LEAST_WAITING, IncomingCall
from .kept_answers import KeptAnswers
from .memory import UNCHARGED, Memory, at_most
from .outbox import Outbox
from .pipelining import Pipelining
from .preparing import CallStarter, forget, prepare
from .questions import Questions
from .replies import Refusal, Replies

__all__ = ["IncomingCalls", "arrive_at"]


class IncomingCalls(CallStarter):
    """The calls that the peer makes.

    Attributes:
        answers: those that have no outcome.
        standstill: whether the queue moves.
    """

    def __init__(
        self,
        context: Context,
        outbox: Outbox,
        encoding: Encoding,
        importer: Importer,
        tables: ConnectionTables,
        answers: Answers,
        questions: Questions,
        memory: Memory,
        replies: Replies,
    ) -> None:
        self._context = context
        self._host = context.host
        self._lifecycle = context.lifecycle
        self._outbox = outbox
        self._encoding = encoding
        self._importer = importer
        self._tables = tables
        self._questions = questions
        self._memory = memory
        self._replies = replies
        self.answers = answers
        self.standstill: Standstill | None = None  # made when a call waits
        self._pipelining: Pipelining | None = None  # made with the first answer to be kept
        self._is_starting = False  # whether queued calls are being started

    # -- arrival

    def arrive(
        self,
        request: int,
        target: CallTarget,
        name: str,
        wants_answer: bool,
        arguments: Undecoded,
        keep: bool,
        depends_on: Sequence[int],
        seconds: float | None,
    ) -> None:
        """Take a call; the arguments are those of :meth:`.ports.Receiver.on_call`.

        Raises:
            ProtocolError: an id is in use, or not kept; the arguments break the protocol.
        """
        dialect = self._context.dialect
        call = IncomingCall(request, name, wants_answer, dialect.last_size)
        if call.size > UNCHARGED:
            call.weight = at_most(call.size) or dialect.last_weight
        refusal = self._memory.refusal() if call.weight else None
        self.answers.arrive(call)
        if seconds is not None:  # it is given up in any state
            self.answers.expires(call, self._context.deadlines.heard + seconds)
            self._host.on_deadline()
        if isinstance(target, PromisedAnswer):
            depends_on = (target.request, *depends_on)
        answers = self._pipeline().kept.depended_on(depends_on) if depends_on else None
        if keep:
            self._pipeline().kept.promise(request, self._context.limits)
        if self._lifecycle.muted and wants_answer and not keep:  # the answer cannot be sent
            forget(self._context, arguments)
            self.answers.end(call)
            return
        try:
            export = None if isinstance(target, PromisedAnswer) else self._tables.exports.find(target)
        except CallError as error:
            self._turn_away(call, arguments, error)
            return
        if refusal is not None and not (export is not None and export.carries_on):
            self._turn_away(call, arguments, refusal)
        elif export is None or answers is not None:
            assert answers is not None
            if self._lifecycle.refuses_calls(call.wants_answer):
                self._turn_away(call, arguments, _draining())
            else:
                self._weigh(call)
                self._pipeline().arrive(call, export, arguments, answers)
        else:
            self._start(call, export, arguments, export.carries_on)

    def update(self, request: int, luid: int, name: str, wants_answer: bool, arguments: Undecoded) -> None:
        """Take a call of an ``observe_`` method of our replica ``luid``.

        Raises:
            ProtocolError: its id is in use; the arguments break the protocol.
        """
        call = IncomingCall(request, name, wants_answer, self._context.dialect.last_size)
        self.answers.arrive(call)
        try:
            replica = self._tables.replicas.find(luid)
        except CallError as error:
            self._turn_away(call, arguments, error)
            return
        self._start(call, Target(replica, replica, "observe_"), arguments, carries_on=True)

    def _turn_away(self, call: IncomingCall, arguments: Undecoded, error: Refusal) -> None:
        """Refuse a call whose arguments were not decoded."""
        forget(self._context, arguments)
        self.refuse(call, error)

    def _start(self, call: IncomingCall, target: Target, arguments: Undecoded, carries_on: bool) -> None:
        """Decode a call that is ready, and start or queue it.

        A call that carries on with others which have begun is neither refused nor queued.
        """
        if not carries_on and self._lifecycle.refuses_calls(call.wants_answer):
            self._turn_away(call, arguments, _draining())
            return
        if not prepare(self._context, self._tables.replicas, self, call, target, arguments):
            return
        answers = self.answers
        if carries_on:
            answers.start_without_slot(call)
            self._run(call)
        elif answers.queued or not self._may_start(call):
            self.queue(call)
        elif answers.is_overrun:
            self._refuse_overrun(call)
        else:
            answers.start(call)
            self._run(call)

    def _weigh(self, call: IncomingCall) -> None:
        """Note the bytes as which a call counts while it waits. Its message is the one that is being delivered."""
        # Most calls have a few values, and count as the least: their number is what bounds them.
        call.waiting_size = max(self._context.dialect.last_weight - UNCHARGED, call.size, LEAST_WAITING)

    # -- starting

    def queue(self, call: IncomingCall) -> None:
        if not call.waiting_size:
            self._weigh(call)
        answers = self.answers
        answers.queue(call)
        context = self._context
        if self.standstill is None:
            self.standstill = Standstill()
        if self.standstill.watch(context.deadlines.heard, answers.moves, context.limits):
            self._host.on_deadline()

    def _may_start(self, call: IncomingCall) -> bool:
        """Whether a method may start: it has a slot, and its answer, if there is one, would find room."""
        answers = self.answers
        if not answers.has_slot(len(self._questions)):
            return False
        if answers.is_overrun and self._context.writer.has(Feature.NO_WINDOW):
            return False  # such a peer cannot know how many calls may be under way, so this one waits
        return not call.wants_answer or self._outbox.has_room

    @property
    def may_start_queued(self) -> bool:
        """Whether a call is queued that may start."""
        first = self.answers.first()
        return first is not None and self._may_start(first)

    def start_queued(self) -> None:
        if self._is_starting:
            return  # a plain method, started by the loop below, has ended: it goes on there, not deeper here
        answers = self.answers
        was_full = answers.is_full
        self._is_starting = True
        try:
            while (first := answers.first()) is not None and self._may_start(first):
                is_overrun = answers.is_overrun
                answers.leave_queue(first)
                if is_overrun:
                    self._refuse_overrun(first)
                else:
                    answers.start(first)
                    self._run(first)
        finally:
            self._is_starting = False
        if was_full and not answers.is_full:
            self._host.wake()  # reading may go on
        if self._lifecycle.heard_last is not None:
            self._context.closer.incoming_begun()

    def _run(self, call: IncomingCall) -> None:
        # The arguments are the method's alone from here: a reference that it drops is released while it runs.
        args, call.args = call.args, ()
        kwargs, call.kwargs = call.kwargs, {}
        self._host.invoke(call, call.method, args, kwargs)

    # -- outcomes

    def answer_call(self, call: IncomingCall, value: Value) -> None:
        """The method of ``call`` returned ``value``."""
        if not self.answers.end(call) or self._lifecycle.ended:
            return
        if call.wants_answer:
            self._answer(call, value)
        if self.answers.queued:
            self.start_queued()

    def _answer(self, call: IncomingCall, value: Value) -> None:
        encoding = self._encoding
        if encoding.is_active:
            encoding.defer(partial(self._answer, call, value))
            return
        if self._outbox.size > self._memory.high:
            self._outbox.count_unread()
            if self._memory.is_full_of_answers:
                self._report(call, SerializationError(_UNREAD))
                return
        message: Message | None = None
        encoding.enter()
        try:
            message = self._replies.answer(call, value)
            content = encoding.content
        finally:
            encoding.end()
        if self._pipelining is not None:
            self._pipelining.keep(call, message, content)

    def fail_call(self, call: IncomingCall, error: BaseException) -> None:
        """The method of ``call`` raised ``error``."""
        if not self.answers.end(call, error) or self._lifecycle.ended:
            return
        if call.is_expired and not isinstance(error, Exception):  # how it was stopped is the driver's affair
            error = DeadlineExceeded("the time for the call has passed")
        self._report(call, error)
        self.start_queued()

    def fail_or_refuse(self, call: IncomingCall, error: BaseException) -> None:
        """``call`` has ended with an error that says whether its method has run."""
        if isinstance(error, CallError) and error.ran is False:
            self.refuse_begun(call, error)
        else:
            self.fail_call(call, error)

    def _report(self, call: IncomingCall, error: BaseException) -> None:
        encoding = self._encoding
        if encoding.is_active:
            encoding.defer(partial(self._report, call, error))
            return
        encoding.enter()
        try:
            self._replies.report(call, error)
        finally:
            encoding.end()
        self._keep_nothing(call)

    def refuse(self, call: IncomingCall, error: Refusal) -> None:
        self.answers.end(call, error)
        self._replies.refuse(call, error)
        self._keep_nothing(call)

    def refuse_begun(self, call: IncomingCall, error: Refusal) -> None:
        if self._lifecycle.ended:
            self.answers.end(call, error)
            return
        self.refuse(call, error)
        if self.answers.queued:
            self.start_queued()

    def _refuse_overrun(self, call: IncomingCall) -> None:
        """Refuse a call that would run in a lent slot beyond the bound of these: the methods that wait for it go on."""
        call.forget_arguments()
        self.refuse(call, _overrun(len(self.answers.running)))

    def _withdraw(self, call: IncomingCall, error: Refusal) -> bool:
        """Refuse a call that has not begun; False when it has."""
        if call.dependency is not None:
            forget(self._context, self.answers.leave_dependents(call).arguments)
        elif call.state == QUEUED:
            self.answers.leave_queue(call)
            call.forget_arguments()
        else:
            return False
        self.refuse(call, error)
        return True

    # -- stopping

    def cancel(self, request: int) -> bool:
        """The peer does not wait for an answer any more; False when there is nothing to be stopped."""
        call = self.answers.find(request)
        if call is None or call.was_stopped:
            return False
        call.is_cancelled = True
        if call.due is not None:
            self.answers.expiry.remove(call)
        if self._withdraw(call, LimitExceeded("the call was cancelled before it began")):
            self.start_queued()
        else:
            self._stop(call)
        return True

    def expire(self, now: float) -> None:
        """Stop the calls whose deadlines have passed: none begins any more, methods that run are stopped.

        Raises:
            ProtocolError: in arguments that are decoded only now.
        """
        calls = self.answers.expiry.take(now)
        if not calls:
            return
        for call in calls:
            call.is_expired = True
            if not self._withdraw(call, DeadlineExceeded("the time for the call passed before it began")):
                self._stop(call)
        self.start_queued()

    def _stop(self, call: IncomingCall) -> None:
        call.stop()
        self._host.cancel(call)

    def refuse_stalled(self) -> None:
        """Nothing has moved for ``Limits.stalled_seconds``: end the call that has been queued longest."""
        call = self.answers.first()
        if call is not None:
            self._withdraw(call, _stalled(len(self.answers.running), self._context.limits))
            self.start_queued()

    # -- kept answers

    def _pipeline(self) -> Pipelining:
        """Return the part that keeps answers. Most connections need none."""
        if self._pipelining is None:
            self._pipelining = Pipelining(
                self._context,
                self.answers,
                KeptAnswers(self._memory),
                self._tables,
                self._importer,
                self._replies,
                self,
            )
        return self._pipelining

    def _keep_nothing(self, call: IncomingCall) -> None:
        if self._pipelining is not None:
            self._pipelining.keep_nothing(call)

    def forget(self, request: int) -> bool:
        """See :meth:`.KeptAnswers.forget`."""
        return self._pipelining is not None and self._pipelining.kept.forget(request)

    @property
    def answers_kept(self) -> int:
        """Answers that the peer may still refer to."""
        return 0 if self._pipelining is None else len(self._pipelining.kept)

    # -- the end

    def stop_unheard(self) -> None:
        """Our answers cannot be sent any more: end the calls that want one, except those that others depend on."""
        try:
            for call in self.answers.unheard():
                if self._lifecycle.ended:
                    return
                if call.was_stopped:
                    continue  # a method that cleans up is not disturbed again
                call.is_cancelled = True
                if not self._withdraw(call, LimitExceeded("nobody waits for the answer any more")):
                    self._stop(call)
        except ProtocolError as error:  # in arguments that are decoded only now
            self._context.closer.fail(error)
        self.start_queued()

    def abandon(self, in_order: bool) -> None:
        """The connection has ended.

        Args:
            in_order: the one-way calls that have begun may run to their end.
        """
        for call in self.answers.abandon(in_order):
            if not call.was_stopped:  # a method that cleans up is not disturbed again
                self._host.cancel(call)
        if self._pipelining is not None:
            self._pipelining.kept.clear()


_UNREAD: Final = (
    "the method has run, but its answer was not sent: others that were not read take as much memory as they may"
    " (Limits.memory_bytes)"
)


def _overrun(running: int) -> Unavailable:
    text = f"calls_begun: {running} methods run for this connection, as many as may (Limits.calls_begun)"
    return Unavailable(text, code="slots")


def _stalled(running: int, limits: Limits) -> Unavailable:
    text = (
        f"calls_in_flight: {running} calls are under way and none has ended for"
        f" {limits.stalled_seconds:g} s (Limits.stalled_seconds)"
    )
    return Unavailable(text, code="slots")


def _draining() -> Unavailable:
    return Unavailable("this program is shutting down and takes no new calls", code="draining")


def arrive_at(calls: IncomingCalls, request: int, target: Target, name: str, arguments: Undecoded) -> None:
    """Take a call of an object that the dialect has found; see :meth:`.ports.Receiver.on_call_of`.

    Raises:
        ProtocolError: the arguments break the protocol.
    """
    dialect = calls._context.dialect
    call = IncomingCall(request, name, True, dialect.last_size)
    if call.size > UNCHARGED:
        call.weight = at_most(call.size) or dialect.last_weight
    refusal = calls._memory.refusal() if call.weight else None
    calls.answers.arrive(call)
    if calls._lifecycle.muted:
        forget(calls._context, arguments)
        calls.answers.end(call)
    elif refusal is not None:
        calls._turn_away(call, arguments, refusal)
    else:
        calls._start(call, target, arguments, carries_on(target.holder))
