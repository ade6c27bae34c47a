"""Our calls on their way to the peer: encoded, sent at once or queued, and what they refer to held until they leave.

A call that depends on answers which are not there is sent as well, where the peer can keep these answers; otherwise
:meth:`CallSender.wait_alone` keeps it until :mod:`.outgoing_calls` makes it again.
"""

from __future__ import annotations

import logging

from ..errors import DeadReferenceError, LimitExceeded
from ..flavors import Observer, Reference, luid_of, observer_luid, session_of
from ..ports import Feature, Message, PromisedAnswer, Value
from .answers import Answers
from .caches import Observers
from .context import Context
from .deadlines import Standstill
from .encoding import Encoding
from .exporter import Exporter
from .importer import Importer
from .observed import Observed
from .outbox import Outbox
from .outgoing_call import QUEUED, SENT, Content, OutgoingCall, Parts, Unready
from .questions import Questions, WayOut

__all__ = ["CallSender"]


class CallSender(WayOut):
    """The way out of our calls.

    Attributes:
        questions: our calls that have no outcome.
        standstill: whether the queue moves.
    """

    def __init__(
        self,
        context: Context,
        outbox: Outbox,
        encoding: Encoding,
        exporter: Exporter,
        importer: Importer,
        observers: Observers,
        answers: Answers,
    ) -> None:
        self._context = context
        self._host = context.host
        self._outbox = outbox
        self._encoding = encoding
        self._exporter = exporter
        self._importer = importer
        self._observers = observers
        self._answers = answers
        self.questions: Questions = Questions(context.limits, self)
        self.standstill: Standstill | None = None  # made when a call waits
        self._said_that_calls_wait = False

    # -- encoding

    def encode(
        self, call: OutgoingCall, target: Value, name: str, args: tuple[Value, ...], kwargs: dict[str, Value]
    ) -> Message:
        """Return the message of a call, under a new id.

        Raises:
            Unready: the call has to wait for an answer first.
            Exception: it cannot be encoded, or not sent.
        """
        questions = self.questions
        if questions.queued and questions.is_overfull:
            raise LimitExceeded(
                f"memory_bytes: the {questions.queued} calls that wait for answers of the peer take as much"
                " memory as they may (Limits.memory_bytes)"
            )
        self._encoding.begin(may_depend=not call.is_update)
        request = call.request = questions.next_request()
        if not call.serial:
            call.serial = request
        writer = self._context.writer
        if call.is_update:
            assert isinstance(target, Observer)
            luid = observer_luid(target)
            if self._observers.find(luid) is None:  # the message with its state was never sent
                raise DeadReferenceError("the peer has no replica")
            message = writer.encode_update(
                request, luid, name, call.wants_answer, args, kwargs, call.perspective
            )
        elif isinstance(target, OutgoingCall):
            message = writer.encode_call(
                request, self.mention(target), name, call.wants_answer, args, kwargs, call.perspective
            )
        else:
            message = writer.encode_call(
                request, luid_of(target), name, call.wants_answer, args, kwargs, call.perspective
            )
        self._context.lifecycle.check_open()
        if call.answerable is not None:
            deadline = call.answerable.deadline
            if deadline is not None and writer.has(Feature.DEADLINES):
                message = writer.encode_due(message, deadline.left())
        return message

    def mention(self, on: OutgoingCall) -> PromisedAnswer:
        """The message being encoded refers to the answer of ``on``, which has no outcome yet.

        Raises:
            Unready: it cannot: the call has to wait for that answer.
        """
        encoding = self._encoding
        if not encoding.may_depend or not self._can_build_on(on) or encoding.introduces_replica:
            raise Unready(on)
        encoding.depend_on(on)
        return PromisedAnswer(on.request)

    def _can_build_on(self, on: OutgoingCall) -> bool:
        """Whether the peer keeps the answer of ``on`` for another call of ours, or can still be asked to."""
        if not self._context.writer.has(Feature.PIPELINING) or not on.wants_answer or on.is_update:
            return False
        if self.questions.find(on.request) is not on:  # of another connection, or not on its way to the peer
            return False
        links = on.links
        if links is not None:
            if links.alone_only or links.answered:
                return False
            if links.kept:
                return self.questions.dependents_have_room
        return (on.stage == QUEUED or (on.stage == SENT and not self._outbox.has_left(on))) and (
            self.questions.dependents_have_room
        )

    # -- sending

    def send(
        self,
        call: OutgoingCall,
        message: Message,
        target: Value,
        name: str,
        args: tuple[Value, ...],
        kwargs: dict[str, Value],
    ) -> None:
        """Send the message that :meth:`encode` returned, or queue it."""
        questions = self.questions
        if self._encoding.dependencies is not None:
            self._send_dependent(call, message, Parts(target, name, args, kwargs))
        elif self._encoding.introduces_replica:
            # A message that introduces a replica never waits in the queue, so later ones that refer to it need not.
            questions.flush()
            questions.ask_at_once(call, message)
        elif call.at_once or not (call.wants_answer or questions.queued):
            questions.ask_at_once(call, message)
        elif call.wants_answer:
            if not questions.ask(call, message, len(self._answers)):
                self._hold_in_queue(call, target)
        else:
            questions.tell(call, message)
            self._hold_in_queue(call, target)
        if self._answers.queued:
            self._host.wake()  # a call of ours without an answer lends the peer a slot

    def _send_dependent(self, call: OutgoingCall, message: Message, parts: Parts) -> None:
        """Send a call that the peer can start only when it has answered others, or queue it."""
        dependencies = self._encoding.dependencies
        assert dependencies is not None
        links = call.linked()
        links.parts = parts
        links.dependencies = dependencies
        links.unsettled = len(dependencies)
        for dependency in dependencies:
            self._ask_to_keep(dependency)
            dependency.linked().add_dependent(call)
        if not self.questions.ask_dependent(call, message):
            self._hold_in_queue(call, parts.target)

    def _ask_to_keep(self, on: OutgoingCall) -> None:
        """Have the peer keep the answer of a call, whose message has not left."""
        links = on.linked()
        if links.kept:
            return
        links.kept = True
        if on.stage == QUEUED:
            assert on.message is not None
            on.message = self._context.writer.encode_kept(on.message)
        else:
            self._outbox.ask_to_keep(on)

    def send_queued(self) -> None:
        """Send the queued calls for which there are slots; each call of the peer that has not ended lends one."""
        if self.questions.queued:
            self.questions.pump(len(self._answers))

    # -- the queue

    def _hold_in_queue(self, call: OutgoingCall, target: Value) -> None:
        """Hold what a queued call refers to until it has left, because releases do not wait in the queue."""
        content = call.content = self._encoding.content
        held = [entry for entry in content or () if isinstance(entry, Reference)]
        if isinstance(target, Reference):
            held.append(target)
        self._hold_references(call, held)
        self._say_that_calls_wait()
        context = self._context
        if self.standstill is None:
            self.standstill = Standstill()
        if self.standstill.watch(context.deadlines.heard, self.questions.moves, context.limits):
            self._host.on_deadline()

    def _hold_references(self, call: OutgoingCall, references: list[Reference]) -> None:
        """Hold those of this connection. Others cross as forwarders, and are given back to another peer."""
        session = self._context.session
        call.held = [reference for reference in references if session_of(reference) is session]
        for reference in call.held:
            self._importer.hold(reference)

    def unhold_references(self, call: OutgoingCall) -> None:
        """The references of the call may be released."""
        held, call.held = call.held, None
        self.unhold(held)

    def unhold(self, references: list[Reference] | None) -> None:
        """The same for references that a call has held."""
        for reference in references or ():
            self._importer.unhold(reference)

    def send_message(self, call: OutgoingCall, message: Message) -> None:
        self._outbox.send_call(call, message)

    def has_left(self, call: OutgoingCall) -> None:
        """A call has left the queue, or was taken out of it."""
        call.content = None
        self.unhold_references(call)
        if call.links is not None:
            for dependency in call.links.dependencies:
                dependency.linked().uses -= 1
                self.forget_if_unused(dependency)

    def forget_if_unused(self, call: OutgoingCall) -> None:
        """Let the peer forget an answer that it has given and to which no queued message refers."""
        links = call.links
        if links is not None and links.kept and links.answered and not links.uses:
            links.kept = False
            self._outbox.send(self._context.writer.encode_forget(call.request))

    def withdraw(self, call: OutgoingCall) -> None:
        """Take a call out of the queue: it is not sent."""
        content: Content | None = self.questions.withdraw(call)
        self.has_left(call)
        for entry in reversed(content or ()):
            if isinstance(entry, int):
                self._exporter.retract(entry)
            elif isinstance(entry, Observed):
                self._exporter.retract_cache(entry.luid)

    def _say_that_calls_wait(self) -> None:
        """Log, once, that the first call has to wait for a slot."""
        if not self._said_that_calls_wait:
            self._said_that_calls_wait = True
            self._context.log(
                logging.INFO,
                "calls wait here until others are answered: %d have no answer "
                "(the peer's Limits.calls_in_flight and window_bytes are taken to be ours)",
                len(self.questions),
            )

    # -- waiting alone

    def wait_alone(self, call: OutgoingCall, on: OutgoingCall, parts: Parts) -> None:
        """Let a call wait alone until ``on`` has an outcome."""
        links = call.linked()
        links.parts, links.waits_for = parts, on
        on_links = on.linked()
        on_links.alone_only = True
        on_links.add_dependent(call)
        if isinstance(parts.target, OutgoingCall):
            parts.target.linked().add_dependent(call)
        self.questions.wait_alone(call)
        self._hold_references(call, parts.references())
        if self._answers.queued:
            self._host.wake()

    def wait_no_more(self, call: OutgoingCall) -> None:
        """A call that may have waited alone does not any more."""
        if self.questions.wait_no_more(call):
            self.unhold_references(call)
