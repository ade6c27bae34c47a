"""Making our calls: encoded and sent, deferred, waiting alone, or made here; and how they end.

:mod:`.encoding` decides which calls are deferred, and :mod:`.call_sender` sends them.
"""

from __future__ import annotations

import logging
from functools import partial

from ..errors import DeadlineExceeded, with_ran
from ..flavors import Exportable, Observer, Reference, perspective_of, session_of
from ..ports import Feature, Value
from .call_sender import CallSender
from .context import Context
from .encoding import Encoding
from .outbox import Outbox
from .outgoing_call import (
    ALONE,
    ENDED,
    HERE,
    MADE,
    QUEUED,
    SENT,
    OutgoingCall,
    Owner,
    Parts,
    Unready,
    not_run,
    of_this_call,
)

__all__ = ["CallMaker"]

log: logging.Logger = logging.getLogger("perspective_broker")


class CallMaker:
    """Makes and ends the calls of one connection.

    Args:
        context: of the connection.
        outbox: sends cancellations.
        encoding: defers calls.
        sender: sends calls.
        owner: is notified of the outcomes on which calls depend.
    """

    def __init__(
        self, context: Context, outbox: Outbox, encoding: Encoding, sender: CallSender, owner: Owner
    ) -> None:
        self._context = context
        self._host = context.host
        self._lifecycle = context.lifecycle
        self._outbox = outbox
        self._encoding = encoding
        self._sender = sender
        self._questions = sender.questions
        self._owner = owner

    # -- making

    def make(
        self, call: OutgoingCall, target: Value, name: str, args: tuple[Value, ...], kwargs: dict[str, Value]
    ) -> None:
        """Make a call: encode it and send or queue it, or let it wait alone.

        Raises:
            Exception: a one-way call cannot be encoded; any other call fails.
        """
        if self._encoding.defers_calls:
            if isinstance(target, OutgoingCall):
                target.linked()  # which keep its outcome, if it ends before
            self._encoding.defer(partial(self._make_deferred, call, Parts(target, name, args, kwargs)))
        else:
            self._make_now(call, target, name, args, kwargs)

    def _make_now(
        self, call: OutgoingCall, target: Value, name: str, args: tuple[Value, ...], kwargs: dict[str, Value]
    ) -> None:
        answerable = call.answerable
        if answerable is not None:
            deadline = answerable.deadline
            if deadline is not None and deadline.left() <= 0:
                late = DeadlineExceeded("the time for the call passed before it was made")
                self.end(call, None, with_ran(late, False))
                return
        sender = self._sender
        self._encoding.enter()
        try:
            message = sender.encode(call, target, name, args, kwargs)
        except Unready as unready:
            self.wait_alone(call, unready.call, Parts(target, name, args, kwargs))
        except Exception as error:
            if not call.wants_answer:
                call.stage = ENDED
                raise
            self.end(call, None, of_this_call(error, False))
        else:
            if self._encoding.dependencies is not None:
                call.linked().owner = self._owner
            sender.send(call, message, target, name, args, kwargs)
        finally:
            self._encoding.end()

    def _make_deferred(self, call: OutgoingCall, parts: Parts) -> None:
        """Make a call that was deferred, unless it was given up."""
        if call.stage == ENDED:
            return
        target = parts.target
        if isinstance(target, OutgoingCall) and target.stage == ENDED:
            if target.linked().cancelled:
                self.give_up(call)
            else:
                self.make_of(call, parts)
        else:
            self.make(call, target, parts.name, parts.args, parts.kwargs)

    def wait_alone(self, call: OutgoingCall, on: OutgoingCall, parts: Parts) -> None:
        """Let a call wait alone until ``on`` has an outcome."""
        call.linked().owner = self._owner
        self._sender.wait_alone(call, on, parts)

    def make_of(self, call: OutgoingCall, parts: Parts) -> None:
        """Make a call of its parts, of which the target may have an outcome now."""
        call.stage = MADE
        target = parts.target
        if isinstance(target, OutgoingCall) and target.stage == ENDED:
            on = target.linked()
            if on.error is not None:
                self.end(call, None, not_run(on.error))
                return
            target = parts.target = on.value
        if isinstance(target, (OutgoingCall, Observer)) or (
            isinstance(target, Reference) and session_of(target) is self._context.session
        ):
            if isinstance(target, Reference):
                call.perspective = perspective_of(target)
            try:
                self._make_now(call, target, parts.name, parts.args, parts.kwargs)
            except Exception as error:  # of a one-way call: it is too late to raise it in the program
                log.debug("a one-way call could not be sent: %s", type(error).__name__)
        else:
            self.make_here(call, target, parts.name, parts.args, parts.kwargs)

    def make_here(
        self, call: OutgoingCall, target: Value, name: str, args: tuple[Value, ...], kwargs: dict[str, Value]
    ) -> None:
        """Let the driver call a method of the value to which a promise was kept: an object of this program."""
        call.stage = HERE
        try:
            self._host.call_here(call, target, name, args, kwargs)
        except Unready as unready:
            self.wait_alone(call, unready.call, Parts(target, name, args, kwargs))
        except Exception as error:  # with which a promised argument has failed
            self.end(call, None, error)

    # -- ending

    def end(self, call: OutgoingCall, value: Value, error: Exception | None) -> None:
        """Pass on the outcome of a call; then look at the calls that depend on it."""
        self._sender.wait_no_more(call)
        call.stage = ENDED
        answerable, call.answerable = call.answerable, None
        if answerable is not None:
            if error is not None:
                answerable.fail(error)
            else:
                answerable.succeed(value)
        if call.links is not None:
            call.links.came_home = error is None and self._is_at_home(value)
        call.pass_on(value, error)

    def _is_at_home(self, value: Value) -> bool:
        """Whether an answer is an object of this program, or one that this program forwards calls to."""
        if isinstance(value, Reference):
            return session_of(value) is not self._context.session
        return isinstance(value, Exportable)

    def cancel(self, call: OutgoingCall) -> None:
        """The program does not want the outcome of a call any more (and does not wait for it).

        The peer stops the method, if the dialect has cancellations. Calls that depend on it are given up as well. The
        call stays open until the peer has answered it, because its method runs until then.
        """
        stage = call.stage
        if stage == ENDED or (self._lifecycle.ended and stage != HERE):
            return
        call.answerable = None
        call.stage = ENDED
        if stage == SENT:
            writer = self._context.writer
            if writer.has(Feature.CANCEL) and self._questions.find(call.request) is call:
                self._outbox.send(writer.encode_cancel(call.request))
            self._sender.wait_no_more(call)  # when only the outcome of another call was missing
            if not call.wants_answer:
                self._questions.is_ready(call)
        elif stage == QUEUED:
            self._sender.withdraw(call)
        elif stage == ALONE:
            self._sender.wait_no_more(call)
        elif stage == HERE:
            self._host.cancel_here(call)
        links = call.links
        if links is not None:
            links.cancelled = True
            call.depend_no_more()
            call.pass_on(None, None)
        if stage == QUEUED and not self._encoding.is_held:
            self._sender.send_queued()

    def give_up(self, call: OutgoingCall) -> None:
        """End a call of ours as cancelled, because one on which it depends was."""
        answerable = call.answerable
        self.cancel(call)
        if answerable is not None:
            answerable.abandon()
