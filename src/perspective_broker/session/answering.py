"""The peer's calls: from their arrival to their answer, and what the peer gives back.

Which of them run and which wait is kept by :mod:`.serving`; here they are decoded, found their methods, handed to the
driver, answered. A call that is ready is decoded when it comes, and starts when there is a slot. A call that depends on
answers of ours that are not there keeps its bytes until they are; until then it holds ("pins") what it mentions, so
that the peer may give it back at any time. When such an answer is an error, or is called and is no object of ours,
the call does not run, and the peer is told because of which answer.

What the peer gives back, updates and messages of streams are acted on when they come.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any, Final

from ..errors import (
    BadArguments,
    CallError,
    DeadlineExceeded,
    Error,
    LimitExceeded,
    LoginFailed,
    NoSuchMethod,
    ProtocolError,
    RemoteError,
    SerializationError,
    Unavailable,
    UnknownObject,
)
from ..flavors import Exportable, Observer, Reference, RemoteCache, Target, from_within
from ..flavors.dispatch import blame, look_up, no_such_method
from ..ports import (
    AnswerOf,
    CallTarget,
    Message,
    Method,
    ObjectId,
)
from ..queues import Queue, put
from .answers import KeptAnswer, Mentioned, Pins
from .asking import Asker
from .caches import Observed, tell_end
from .lifecycle import Phase
from .memory import UNCHARGED, at_most
from .outgoing_calls import Content, Unready
from .serving import LEAST_WAITING, Dependent, IncomingCall

__all__ = ["Answerer"]

#: What a method raises to tell its caller something, not because it has a defect.
_EXPECTED = (Error, LoginFailed, Unavailable, BadArguments, DeadlineExceeded)

log = logging.getLogger("perspective_broker")


class Answerer(Asker):
    """The side of a broker that is called. (On top of the one that calls, because a compiled class has one base.)"""

    #: What the call whose arguments are being decoded had pinned, and the answers that it mentions.
    _pins: Pins | None = None
    _mentioned: Mentioned | None = None
    #: Answers that have become known and whose dependents have not been looked at.
    _known: Queue[KeptAnswer] = ()

    # -- arrival

    def on_call(
        self,
        request: int,
        target: CallTarget,
        name: str,
        wants_answer: bool,
        arguments: Any,
        keep: bool = False,
        depends_on: Sequence[int] = (),
        seconds: float | None = None,
    ) -> None:
        if self._freed:
            self._forget_freed()
        call = IncomingCall(request, name, wants_answer, self._dialect.last_size)
        if call.size > UNCHARGED:
            call.weight = at_most(call.size) or self._dialect.last_weight
        refusal = self.memory.refusal() if call.weight else None
        self.serving.arrive(call)
        if seconds is not None:
            self._has_deadline(call, seconds)
        if isinstance(target, AnswerOf):
            depends_on = (target.request, *depends_on)
        answers = self.kept.depended_on(depends_on) if depends_on else None
        if keep:
            self.kept.promise(request, self.limits)
        if self._mute and wants_answer and not keep:  # nobody can hear the answer
            self._forget_arguments(arguments)
            self.serving.end(call)
            return
        try:
            export = None if isinstance(target, AnswerOf) else self.exports.find(target)
        except CallError as error:
            self._forget_arguments(arguments)
            self._refuse_call(call, error)
            return
        if refusal is not None and not (export is not None and export.carries_on):
            self._forget_arguments(arguments)
            self._refuse_call(call, refusal)
        elif export is None or answers is not None:
            assert answers is not None
            self._arrived_dependent(call, export, arguments, answers)
        else:
            self._arrived(
                call,
                export.holder,
                export.prefix,
                export.leading,
                export.perspective,
                arguments,
                export.carries_on,
            )
        self._send_queued()

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
        self._arrived(call, replica, "observe_", (), None, arguments, carries_on=True)
        self._send_queued()

    def _arrived(
        self,
        call: IncomingCall,
        holder: Any,
        prefix: str,
        leading: tuple[Any, ...],
        perspective: Any,
        arguments: Any,
        carries_on: bool,
    ) -> None:
        """Decode a call that is ready, and start it or let it stand in line.

        What carries on with calls that have begun is neither refused nor held up.
        """
        if not carries_on and self._refuses(call):
            self._forget_arguments(arguments)
            self._refuse_call(call, _draining())
            return
        if not self._prepare(call, holder, prefix, leading, perspective, arguments):
            return
        serving = self.serving
        if carries_on:
            serving.start_without_slot(call)
            self._run(call)
        elif serving.waits or not self._may_start(call):
            self._get_in_line(call)
        elif serving.is_overrun:
            self._refuse_overrun(call)
        else:
            self._invoke(call)

    def _refuses(self, call: IncomingCall) -> bool:
        """Whether a new call comes too late: this side drains, or is closing and could not answer."""
        phase = self.lifecycle.phase
        return phase is Phase.DRAINING or (phase is Phase.CLOSING and call.wants_answer and not self._mute)

    def _get_in_line(self, call: IncomingCall) -> None:
        if not call.waiting_size:
            self._weigh(call)
        self.serving.get_in_line(call)
        if self._line_standstill.watch(self.deadlines.heard, self.serving.moves, self.limits):
            self._host.on_deadline()

    def _weigh(self, call: IncomingCall) -> None:
        """Note what a call counts while it waits. Its message is the one that is being delivered."""
        # Most calls have a few values, and count as the least: their number is what bounds them.
        call.waiting_size = max(self._dialect.last_weight - UNCHARGED, call.size, LEAST_WAITING)

    def _has_deadline(self, call: IncomingCall, seconds: float) -> None:
        """Give a call up in so many seconds from when its bytes came, wherever it is then."""
        call.due = self.deadlines.heard + seconds
        self.serving.expiry.add(call, call.due)
        self._host.on_deadline()

    def _expire(self, calls: list[IncomingCall]) -> None:
        """The time that the peer gave these calls has passed: none begins any more, methods that run are stopped."""
        for call in calls:
            call.expired = True
            if not self._withdraw_call(
                call, DeadlineExceeded("the time for the call passed before it began")
            ):
                self._host.cancel(call)
        self._start_waiting()

    def _withdraw_call(self, call: IncomingCall, error: CallError | LimitExceeded | DeadlineExceeded) -> bool:
        """Refuse a call that has not begun; False when it has."""
        if call.dependent is not None:
            self._forget_arguments(self.serving.leave_dependents(call).arguments)
        elif self.serving.stands_in_line(call):
            self.serving.leave_line(call)
            call.args, call.kwargs = (), {}
        else:
            return False
        self._refuse_call(call, error)
        return True

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
            method = look_up(holder, prefix, call.name)
            if method is None:
                self._refuse_call(call, no_such_method(holder, call.name))
                return False
            call.method = method
        except NoSuchMethod as error:
            self._refuse_call(call, error)
            return False
        except (CallError, LimitExceeded) as error:
            if self.lifecycle.ended or not isinstance(error, CallError) or not _hears_of_errors(holder):
                self._refuse_call(call, error)
                return False
            # In its turn, because what came before it may not have begun, either.
            call.method, call.perspective = partial(self._tell_unread, call, holder, error), perspective
            call.args, call.kwargs = (), {}
            return True
        except ProtocolError:
            raise
        except (
            Exception
        ) as error:  # of the application: an attribute that raises, a class that cannot be made
            self.fail_call(call, error)
            return False
        if self.lifecycle.ended:  # by an application's hook, too
            return False
        call.args = (*leading, *args) if leading else args
        call.perspective = perspective
        return True

    def _tell_unread(self, call: IncomingCall, holder: Any, error: CallError) -> None:
        """Tell the object that was to be called that it was, with what could not be read."""
        self._refuse_begun(call, error)
        if self.lifecycle.ended:
            return
        if isinstance(holder, Exportable):
            holder.unread(error)
        elif self.replicas.spoil(holder._pb_luid):  # it is not true any more
            tell_end(holder)

    # -- calls that depend on answers of ours

    def _arrived_dependent(
        self, call: IncomingCall, target: Target | None, arguments: Any, answers: dict[int, KeptAnswer]
    ) -> None:
        """Take a call that depends on answers: it gets in line when they are there, and waits apart until then."""
        if self._refuses(call):
            self._forget_arguments(arguments)
            self._refuse_call(call, _draining())
            return
        dependent = Dependent(target, arguments, answers, Pins())
        self._weigh(call)
        if (because := self._obstacle(dependent)) is not None:
            self._drop(call, arguments, because)
        elif not dependent.missing:
            self._is_ready(call, dependent)
            self._start_waiting()
        elif not self.serving.may_depend(call):
            self._forget_arguments(arguments)
            text = f"waiting_bytes: at most {self.limits.waiting_bytes} bytes of calls wait for answers"
            self._refuse_call(call, Unavailable(f"{text} (Limits.waiting_bytes)", code="slots"))
        else:
            self._pin(dependent)
            self.serving.wait_for_answers(call, dependent)

    def _pin(self, dependent: Dependent) -> None:
        """Hold what a call that waits mentions: the peer may give it back meanwhile."""
        objects, replicas = self._dialect.home_in(dependent.arguments)
        for luid in objects:
            try:
                dependent.pins.objects[luid] = self.exports.come_home(luid)
            except CallError:  # which it is refused for when it is decoded
                pass
        for replica in replicas:
            try:
                dependent.pins.caches[replica] = self.observers.come_home(replica)
            except CallError:
                pass

    def _obstacle(self, dependent: Dependent) -> KeptAnswer | None:
        """Return the answer because of which a call cannot run, or None."""
        for answer in dependent.answers.values():
            if answer.is_known and answer.is_obstacle(dependent.called is answer):
                return answer
        return None

    def _drop(self, call: IncomingCall, arguments: Any, because: KeptAnswer) -> None:
        """End a call that cannot run because of an answer, and tell the peer because of which."""
        self._forget_arguments(arguments)
        if because.error is not None:
            self._refuse_call(call, because.error)
            return
        self.serving.end(call)
        if call.wants_answer:
            message = self._dialect.encode_dropped(call.request, because.request)
            self._refusal_bytes += len(message)
            self.send(message)
        self._keep_nothing(call)

    def _is_ready(self, call: IncomingCall, dependent: Dependent) -> None:
        """All answers that a call depends on are there: decode it, and start it or let it stand in line."""
        target = dependent.target if dependent.called is None else dependent.called.target
        assert target is not None
        self._pins = dependent.pins
        self._mentioned = Mentioned(dependent.answers, self.limits.message_bytes)
        try:
            prepared = self._prepare(
                call, target.holder, target.prefix, target.leading, target.perspective, dependent.arguments
            )
        finally:
            self._pins = self._mentioned = None
        if prepared:
            self._get_in_line(call)

    def _answer_known(self, answer: KeptAnswer) -> None:
        """An answer that is kept is there: look at the calls that wait for it, and at those that wait for these.

        Not by recursion: a peer may have made each call on the answer of the one before, by the thousand.
        """
        answer.is_known = True
        if answer.is_forgotten:
            self.kept.drop(answer)
        if not answer.dependents:
            return
        self._known = put(self._known, answer)
        if len(self._known) > 1:
            return  # it is looked at further up
        try:
            while self._known:
                answer = self._known[0]
                for call in list(answer.dependents):
                    self._look_at_dependent(call, answer)
                self._known.popleft()
        except ProtocolError as error:  # in arguments that are looked at only now
            self._known = ()
            self._fail(error)
        self._start_waiting()

    def _look_at_dependent(self, call: IncomingCall, answer: KeptAnswer) -> None:
        """An answer that a call waits for is there."""
        waiting = call.dependent
        if waiting is None:
            return
        waiting.missing -= 1
        if answer.is_obstacle(waiting.called is answer):
            self._drop(call, self.serving.leave_dependents(call).arguments, answer)
        elif not waiting.missing:
            self._is_ready(call, self.serving.leave_dependents(call))

    def _keep_nothing(self, call: IncomingCall) -> None:
        """A call has ended without a value."""
        if self.kept and (answer := self.kept.find(call.request)) is not None and not answer.is_known:
            self._answer_known(answer)

    def _keep_answer(self, answer: KeptAnswer, message: Message, content: Content | None) -> None:
        """A call has ended with a value that the peer may mention."""
        pins = Pins()
        target: Target | None = None
        called = None if content is None else self._dialect.object_answered(message)
        for entry in content or ():
            if isinstance(entry, int):
                export = self.exports.find(entry)
                pins.objects[entry] = export.obj
                if entry == called:
                    target = export
            elif isinstance(entry, Observed):
                pins.caches[entry.luid] = entry.obj
            elif isinstance(entry, Reference):
                pins.references[entry._luid] = entry
            else:
                pins.replicas[entry._pb_luid] = entry
        self.kept.keep(answer, message, pins, target, self.limits)
        self._answer_known(answer)

    def kept_answer(self, request: int) -> Any:
        if self._mentioned is None:
            raise UnknownObject("an answer is mentioned that the call does not depend on")
        answer = self._mentioned.find(request)
        assert answer.message is not None
        assert answer.pins is not None
        return self._dialect.decode_kept(answer.message, answer.pins)

    def local_object(self, luid: ObjectId) -> Any:
        if self._pins is not None and luid in self._pins.objects:
            return self._pins.objects[luid]
        return self.exports.come_home(luid)

    def local_cache(self, luid: int) -> Any:
        if self._pins is not None and luid in self._pins.caches:
            return self._pins.caches[luid]
        return self.observers.come_home(luid)

    # -- running

    def _invoke(self, call: IncomingCall) -> None:
        self.serving.start(call)
        self._run(call)

    def _run(self, call: IncomingCall) -> None:
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

    def _may_start(self, call: IncomingCall) -> bool:
        """Whether a method may start: it has a slot, and its answer, if there is one, would find room."""
        if not self.serving.has_slot(len(self.questions)):
            return False
        return not call.wants_answer or (
            not self._blocked and self._out_bytes < self.limits.write_buffer_high
        )

    def _start_waiting(self) -> None:
        """Start the calls that stand in line, as far as they may."""
        if self._starting:
            return  # a plain method, started by the loop below, has ended: it goes on there, not deeper here
        serving = self.serving
        was_full = serving.is_full
        self._starting = True
        try:
            while (first := serving.first()) is not None and self._may_start(first):
                serving.leave_line(first)
                if serving.is_overrun:
                    self._refuse_overrun(first)
                else:
                    self._invoke(first)
        finally:
            self._starting = False
        if was_full and not serving.is_full:
            self._host.wake()  # reading may go on
        if self._peer_said_last is not None:
            self._maybe_end()

    def _refuse_overrun(self, call: IncomingCall) -> None:
        """Refuse a call that would run in a lent slot beyond the bound of these: what waits for it unwinds."""
        call.args, call.kwargs = (), {}
        text = f"calls_begun: {len(self.serving.running)} methods run for this connection, as many as may"
        self._refuse_call(call, Unavailable(f"{text} (Limits.calls_begun)", code="slots"))

    def _refuse_stalled(self) -> None:
        """Nothing has moved for ``Limits.stalled_seconds``: end the call that has stood first in line."""
        call = self.serving.first()
        if call is not None:
            text = (
                f"calls_in_flight: {len(self.serving.running)} calls are under way and none has ended for"
                f" {self.limits.stalled_seconds:g} s (Limits.stalled_seconds)"
            )
            self._withdraw_call(call, Unavailable(text, code="slots"))
            self._start_waiting()

    # -- answering

    def answer_call(self, call: IncomingCall, value: Any) -> None:
        """The method of ``call`` returned ``value``."""
        if not self.serving.end(call) or self.lifecycle.ended:
            return
        if call.wants_answer:
            self._answer(call, value)
        if self.serving.waits:
            self._start_waiting()

    def _answer(self, call: IncomingCall, value: Any) -> None:
        if self._is_encoding:
            self._deferred = put(self._deferred, partial(self._answer, call, value))
            return
        if self._out_bytes > self.memory.high:
            self._count_unread()
            if self.memory.is_full_of_answers:
                self._report(call, SerializationError(_UNREAD))
                return
        message: Message | None = None
        self._is_encoding = True
        try:
            self._begin_message()
            message = self._dialect.encode_answer(call.request, value, call.perspective)
            self._check_open()
            content = self._content
        except Unready:
            self._cannot_cross(
                call, SerializationError("an answer cannot mention a promise that is not kept yet")
            )
        except SerializationError as error:
            self._cannot_cross(call, error)
        except Exception as error:  # a hook may raise ConnectionLost, too: of another connection
            if not self.lifecycle.ended:
                self._log_error(call, error)
                self._tell_error(call, error)
        else:
            self._send_answer(message)
        finally:
            self._end_encoding()
        if self.kept and (answer := self.kept.find(call.request)) is not None:
            if message is None:
                self._answer_known(answer)
            else:
                self._keep_answer(answer, message, content)

    def _cannot_cross(self, call: IncomingCall, error: SerializationError) -> None:
        """Tell of an answer that cannot cross: one line, for the text says where in it, and a traceback only ours."""
        self.reports.say(
            self.deadlines.heard,
            logging.ERROR,
            "method %.64a returned a value that cannot cross: %.512s",
            call.name,
            error,
        )
        self._tell_error(call, error)

    def _send_answer(self, message: Message) -> None:
        """Send an answer, past our own calls that wait for room."""
        if self._mentions_replica:
            self._strict[id(message)] = None
        self.send(message)

    def blame_call(
        self,
        call: IncomingCall,
        error: TypeError,
        method: Method,
        args: Sequence[Any],
        kwargs: Mapping[str, Any],
    ) -> None:
        """Calling the method of ``call`` raised ``error``: with what came it cannot be called, or that is its own."""
        blamed = blame(error, call.name, method, args, kwargs)
        if isinstance(blamed, BadArguments):
            self._refuse_begun(call, blamed)
        else:
            self.fail_call(call, blamed)

    def _refuse_begun(self, call: IncomingCall, error: CallError) -> None:
        """The same as :meth:`_refuse_call` for a call that has its slot."""
        if self.lifecycle.ended:
            self.serving.end(call)
            return
        self._refuse_call(call, error)
        if self.serving.waits:
            self._start_waiting()

    def fail_call(self, call: IncomingCall, error: BaseException) -> None:
        """The method of ``call`` raised ``error``."""
        if not self.serving.end(call) or self.lifecycle.ended:
            return
        if call.expired and not isinstance(error, Exception):  # how it was stopped is the driver's affair
            error = DeadlineExceeded("the time for the call has passed")
        self._report(call, error)
        self._start_waiting()

    def _refuse_call(self, call: IncomingCall, error: CallError | LimitExceeded | DeadlineExceeded) -> None:
        """The call came to nothing before its method could run: the peer's doing, so one line, not a traceback."""
        self.reports.say(self.deadlines.heard, logging.INFO, "refused a call: %s", error)
        self.serving.end(call)
        if call.wants_answer:
            try:
                message = self._dialect.encode_error(call.request, error, False, None)
            except SerializationError:  # its text is too long for the limits
                message = self._encode_unsent(call, error)
            self._refusal_bytes += len(message)
            self.send(message)
        self._keep_nothing(call)

    def _report(self, call: IncomingCall, error: BaseException) -> None:
        """Tell the peer of an exception, if it wants to know, and the log."""
        if self._is_encoding:
            self._deferred = put(self._deferred, partial(self._report, call, error))
            return
        self._is_encoding = True
        try:
            self._log_error(call, error)
            self._tell_error(call, error)
        finally:
            self._end_encoding()
        self._keep_nothing(call)

    def _log_error(self, call: IncomingCall, error: BaseException) -> None:
        of_a_call = isinstance(error, CallError) and error.of_a_call
        if call.cancelled or (isinstance(error, _EXPECTED) and not of_a_call):
            log.debug("method %.64a reported %s", call.name, type(error).__name__)
        else:
            self.reports.say(
                self.deadlines.heard,
                logging.ERROR,
                "method %.64a raised an exception",
                call.name,
                error=error,
            )

    def _tell_error(self, call: IncomingCall, error: BaseException) -> None:
        """Tell the peer, if it wants to know, that its call has ended with an error."""
        if not call.wants_answer:
            return
        # Of a deadline that was handed on, whoever is called last hears first; it is the caller's all the same.
        if call.due is None or not isinstance(error, DeadlineExceeded):
            error = from_within(error, with_traceback=self._unsafe_tracebacks)
        try:
            self._begin_message()
            message = self._dialect.encode_error(
                call.request, error, self._unsafe_tracebacks, call.perspective
            )
            self._check_open()
        except Exception as unsent:  # an exception that is a Copyable, with a state that cannot cross
            if self.lifecycle.ended:
                return
            text = "the report of an exception could not be sent"
            self.reports.say(self.deadlines.heard, logging.ERROR, text, error=unsent)
            message = self._encode_unsent(call, error)
        self._send_answer(message)

    def _encode_unsent(self, call: IncomingCall, error: BaseException) -> Message:
        """Return what is said of an exception that cannot be sent: little enough to cross in any case."""
        plain = RemoteError(type(error).__name__[:64], "an exception that could not be sent")
        message: Message = self._dialect.encode_error(call.request, plain, False, None)
        return message

    # -- what the peer gives back

    def on_release(self, luid: ObjectId, count: int) -> None:
        if not self.exports.release(luid, count):
            self.ignored += 1
        self._freed = True
        if not self.questions:
            self._forget_freed()

    def on_decache(self, luid: int, count: int) -> None:
        gone = self.observers.release(luid, count)
        if gone:
            self.send(self._dialect.encode_uncache(luid))
        elif gone is None:
            self.ignored += 1
        self._freed = True
        if not self.questions:
            self._forget_freed()

    def give_up_replica(self, observer: Observer) -> None:
        """Send nothing more to a replica: it has missed an update, and is not true any more."""
        observed = self.observers.find(observer._luid)
        if observed is not None:
            self.on_decache(observed.luid, observed.count)

    def on_forget(self, request: int) -> None:
        if not self.kept.forget(request):
            self.ignored += 1

    def on_cancel(self, request: int) -> None:
        call = self.serving.find(request)
        if call is None or call.cancelled or call.expired:  # a method that cleans up is not disturbed again
            self.ignored += 1
            return
        call.cancelled = True
        if call.due is not None:
            self.serving.expiry.remove(call)
        if self._withdraw_call(call, LimitExceeded("the call was cancelled before it began")):
            self._start_waiting()
        else:
            self._host.cancel(call)

    # -- the end

    def _stop_unheard(self) -> None:
        """Our answers cannot be sent any more: end the calls that want one, except those that others depend on."""
        try:
            for call in self.serving.unheard():
                if self.lifecycle.ended:
                    return
                if call.cancelled or call.expired:
                    continue  # a method that cleans up is not disturbed again
                call.cancelled = True
                if not self._withdraw_call(call, LimitExceeded("nobody waits for the answer any more")):
                    self._host.cancel(call)
        except ProtocolError as error:  # in arguments that are looked at only now
            self._fail(error)
        self._start_waiting()

    def _maybe_end(self) -> None:
        """End the connection if the peer has said its last, and all that it said has begun."""
        if self._peer_said_last is not None and not self.serving.tells and not self.lifecycle.ended:
            self._end(self._peer_said_last, in_order=True)


def _hears_of_errors(holder: Any) -> bool:
    """Whether an object wants to know of calls that could not be read."""
    return isinstance(holder, RemoteCache) or (isinstance(holder, Exportable) and holder.hears_of_errors)


_UNREAD: Final = (
    "the method has run, but its answer was not sent: others that were not read take as much memory as they may"
    " (Limits.memory_bytes)"
)


def _draining() -> Unavailable:
    return Unavailable("this program is shutting down and takes no new calls", code="draining")
