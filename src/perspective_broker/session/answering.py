"""The peer's calls: from their arrival to their answer, and what the peer gives back.

Which of them run and which wait is kept by :mod:`.serving`; here they are decoded, found their methods, handed to the
driver, answered. Operations come in wire order.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

from ..errors import (
    BadArguments,
    CallError,
    ConnectionLost,
    DeadlineExceeded,
    Error,
    LimitExceeded,
    LoginFailed,
    NoSuchMethod,
    ProtocolError,
    RemoteError,
    SerializationError,
    Unavailable,
)
from ..flavors import Cacheable, Copyable, Exportable, Observer, RemoteCache, Target, from_within
from ..flavors.dispatch import blame, look_up, no_such_method
from ..ports import (
    AnswerOf,
    CallTarget,
    Message,
    Method,
    ObjectId,
)
from ..queues import put
from .asking import Asker
from .caches import tell_end
from .lifecycle import Phase
from .pipelining import (
    NOTHING,
    KeptAnswer,
    PutOff,
    Unready,
)
from .serving import IncomingCall

__all__ = ["Answerer"]

#: What a method raises to tell its caller something, not because it has a defect.
_EXPECTED = (Error, LoginFailed, Unavailable, BadArguments, DeadlineExceeded)

log = logging.getLogger("perspective_broker")


class Answerer(Asker):
    """The side of a broker that is called. (On top of the one that calls, for a compiled class has one base.)"""

    def on_call(
        self,
        request: int,
        target: CallTarget,
        name: str,
        wants_answer: bool,
        arguments: Any,
        keep: bool = False,
        hangs_on: Sequence[int] = (),
        seconds: float | None = None,
    ) -> None:
        if self._freed:
            self._forget_freed()
        call = IncomingCall(request, name, wants_answer, self._dialect.last_size)
        self.serving.arrive(call)
        if seconds is not None:
            self._has_deadline(call, seconds)
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

    def _has_deadline(self, call: IncomingCall, seconds: float) -> None:
        """Give a call up in so many seconds from when its bytes came, wherever it is then."""
        call.due = self.deadlines.heard + seconds
        self.serving.expiry.add(call, call.due)
        self._host.on_deadline()

    def _expire(self, calls: list[IncomingCall]) -> None:
        """The time that the peer gave these calls has passed: none begins any more, methods that run are stopped."""
        for call in calls:
            call.expired = True
            if not self._withdraw(call, DeadlineExceeded("the time for the call passed before it began")):
                self._host.cancel(call)
        if self.serving.waiting:
            self._start_waiting()  # what came behind a call need not wait for what that hung on

    def _withdraw(self, call: IncomingCall, error: LimitExceeded | DeadlineExceeded) -> bool:
        """Refuse a call that has not begun; False when it has.

        Raises:
            ProtocolError: what it was to be called with, or came behind it, is more than a peer may give.
        """
        before = None if call.undecoded is None else self.serving.undecoded_before(call)
        if not self.serving.withdraw(call):
            return False
        if call.undecoded is not None:
            self._forget_arguments(call.undecoded[1])
            if before is None or call.put_off is None:
                self._act_on(call.put_off)
            elif before.put_off is None:  # which may mention what was given back behind this one, too
                before.put_off = call.put_off
            else:
                before.put_off.add(call.put_off)
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
            if self.lifecycle.phase is Phase.DRAINING and not _carries_on(holder):
                raise LimitExceeded("this program is shutting down and takes no new calls")
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
            # In its turn, for what came before it has not arrived yet, either.
            call.method, call.perspective = partial(self._tell_unread, call, holder, error), perspective
            call.args, call.kwargs = (), {}
            return True
        except ProtocolError:
            raise
        except (
            Exception
        ) as error:  # an application's hook: an attribute that raises, a class that will not be made
            self.fail_call(call, error)
            return False
        if self.lifecycle.ended:  # by an application's hook, too
            return False
        call.args = (*leading, *args) if leading else args
        call.perspective = perspective
        return True

    def _tell_unread(self, call: IncomingCall, holder: Any, error: CallError) -> None:
        """Tell what was to be called that it was, with what could not be read."""
        self._refuse_begun(call, error)
        if self.lifecycle.ended:
            return
        if isinstance(holder, Exportable):
            holder.unread(error)
        elif self.replicas.spoil(holder._pb_luid):  # it is not true any more
            tell_end(holder)

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
        assert self.serving.waiting
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
        if not self.serving.end(call) or self.lifecycle.ended:
            return
        if call.wants_answer:
            self._answer(call, value)
        if self.serving.waiting:
            self._start_waiting()

    def _answer(self, call: IncomingCall, value: Any) -> None:
        if self._saying:
            self._said_meanwhile = put(self._said_meanwhile, partial(self._answer, call, value))
            return
        self._saying = True
        try:
            self._begin_message()
            message = self._dialect.encode_answer(call.request, value, call.perspective)
            new = self._end_message()
        except ConnectionLost:
            pass
        except Unready:
            self._cannot_cross(
                call, SerializationError("an answer cannot mention a promise that is not kept yet")
            )
        except SerializationError as error:
            self._cannot_cross(call, error)
        except Exception as error:
            self._log_error(call, error)
            self._tell_error(call, error)
        else:
            self._send_answer(message)
            if new:
                self._place(new)
            if self.kept:
                self.kept.keep(call.request, KeptAnswer(True, value, call.perspective, len(message)))
        finally:
            self._said()

    def _cannot_cross(self, call: IncomingCall, error: SerializationError) -> None:
        """Tell of an answer that cannot cross: one line, for the text says where in it, and a traceback only ours."""
        self.reports.say(
            self.deadlines.heard,
            logging.ERROR,
            "the answer of method %.64a cannot cross: %.512s",
            call.name,
            error,
        )
        self._tell_error(call, error)

    def _send_answer(self, message: Message) -> None:
        """Send an answer, past our own calls that wait for room unless they say what it builds on."""
        if self._leans_on is not None:
            self.questions.send_until(self._leans_on)
            self._leaning[id(message)] = None
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
        if self.serving.waiting:
            self._start_waiting()

    def fail_call(self, call: IncomingCall, error: BaseException) -> None:
        """The method of ``call`` raised ``error``."""
        if not self.serving.end(call) or self.lifecycle.ended:
            return
        if call.expired and not isinstance(error, Exception):  # how it was stopped is the driver's affair
            error = DeadlineExceeded("the time for the call has passed")
        self._report(call, error)
        if self.serving.waiting:
            self._start_waiting()

    def _refuse_call(self, call: IncomingCall, error: CallError | LimitExceeded | DeadlineExceeded) -> None:
        """The call came to nothing before its method could run: the peer's doing, so one line, not a traceback."""
        self.reports.say(self.deadlines.heard, logging.INFO, "refused a call: %s", error)
        self.serving.end(call)
        self.kept.keep(call.request, NOTHING)
        if call.wants_answer:
            try:
                message = self._dialect.encode_error(call.request, error, False, None)
            except SerializationError:  # its text is too long for the limits
                message = self._encode_unsent(call, error)
            self._refusal_bytes += len(message)
            self.send(message)

    def _report(self, call: IncomingCall, error: BaseException) -> None:
        """Tell the peer of an exception, if it wants to know, and the log."""
        if self._saying:
            self._said_meanwhile = put(self._said_meanwhile, partial(self._report, call, error))
            return
        self._saying = True
        try:
            self._log_error(call, error)
            self._tell_error(call, error)
        finally:
            self._said()

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
        self.kept.keep(call.request, NOTHING)
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
            new = self._end_message()
        except ConnectionLost:
            return
        except Exception as unsent:  # an exception that is a Copyable, with a state that cannot cross
            text = "the report of an exception could not be sent"
            self.reports.say(self.deadlines.heard, logging.ERROR, text, error=unsent)
            message, new = self._encode_unsent(call, error), []
        self._send_answer(message)
        self._place(new)

    def _encode_unsent(self, call: IncomingCall, error: BaseException) -> Message:
        """Return what is said of an exception that cannot be sent: little enough to cross in any case."""
        plain = RemoteError(type(error).__name__[:64], "an exception that could not be sent")
        message: Message = self._dialect.encode_error(call.request, plain, False, None)
        return message

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

    def give_up_replica(self, observer: Observer) -> None:
        """Send nothing more to a replica: it has missed an update, and is not true any more."""
        observed = self.observers.find(observer._luid)
        if observed is not None:
            self._decache(observed.luid, observed.count)

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
        if call is None or call.cancelled or call.expired:  # a method that cleans up is not disturbed again
            self.ignored += 1
            return
        call.cancelled = True
        if call.due is not None:
            self.serving.expiry.remove(call)
        if self._withdraw(call, LimitExceeded("the call was cancelled before it began")):
            self._start_waiting()  # what came behind it need not wait for what it hung on
        else:
            self._host.cancel(call)


def _hears_of_errors(holder: Any) -> bool:
    """Whether an object wants to know of calls that could not be read."""
    return isinstance(holder, RemoteCache) or (isinstance(holder, Exportable) and holder.hears_of_errors)


def _carries_on(holder: Any) -> bool:
    """Whether calls of an object are part of what has begun before."""
    return isinstance(holder, RemoteCache) or (isinstance(holder, Exportable) and holder.carries_on)
