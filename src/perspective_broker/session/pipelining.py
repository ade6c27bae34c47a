"""The peer's calls on answers of ours, and the answers that are kept for them.

A call that depends on answers which are not there keeps its bytes until they are; until then it holds ("pins") the
objects to which it refers, so that the peer may release them at any time. When such an answer is an error, or is
called and is not an object of ours, the call is not run, and a notice with the id of that answer is sent.
"""

from __future__ import annotations

from ..errors import CallError, ProtocolError, Unavailable
from ..flavors import Reference, Target, luid_of, replica_luid
from ..ports import Message, Undecoded
from ..queues import Queue, put
from .answers import Answers
from .connection_tables import ConnectionTables
from .context import Context
from .importer import Importer
from .incoming_call import Dependency, IncomingCall, KeptAnswer, Pins
from .kept_answers import KeptAnswers, References
from .observed import Observed
from .outgoing_call import Content
from .preparing import CallStarter, forget, prepare
from .replies import Replies

__all__ = ["Pipelining"]


class Pipelining:
    """The answers of one connection that calls of the peer depend on.

    Attributes:
        kept: the answers.
    """

    def __init__(
        self,
        context: Context,
        answers: Answers,
        kept: KeptAnswers,
        tables: ConnectionTables,
        importer: Importer,
        replies: Replies,
        calls: CallStarter,
    ) -> None:
        self._context = context
        self._answers = answers
        self.kept = kept
        self._exports = tables.exports
        self._observers = tables.observers
        self._replicas = tables.replicas
        self._importer = importer
        self._replies = replies
        self._calls = calls
        #: Answers that have become known and whose dependents have not been looked at.
        self._known: Queue[KeptAnswer] = ()

    # -- calls

    def arrive(
        self, call: IncomingCall, target: Target | None, arguments: Undecoded, answers: dict[int, KeptAnswer]
    ) -> None:
        """Take a call that depends on answers: it is queued when they are there, and waits apart until then.

        Args:
            call: which has its ``waiting_size``.
            target: the object that is called; None when it is the first of the answers.
            arguments: not decoded yet.
            answers: on which the call depends.
        """
        dependency = Dependency(target, arguments, answers, Pins())
        if (because := dependency.obstacle()) is not None:
            self._drop(call, arguments, because)
        elif not dependency.missing:
            self._is_ready(call, dependency)
            self._calls.start_queued()
        elif not self._answers.may_depend(call):
            forget(self._context, arguments)
            text = (
                f"waiting_bytes: at most {self._context.limits.waiting_bytes} bytes of calls wait for answers"
            )
            self._calls.refuse(call, Unavailable(f"{text} (Limits.waiting_bytes)", code="slots"))
        else:
            self._pin(dependency)
            self._answers.wait_for_answers(call, dependency)

    def _pin(self, dependency: Dependency) -> None:
        """Hold what a call that waits refers to: the peer may release it meanwhile."""
        objects, replicas = self._context.dialect.home_in(dependency.arguments)
        for luid in objects:
            try:
                dependency.pins.objects[luid] = self._exports.come_home(luid)
            except CallError:  # for which it is refused when it is decoded
                pass
        for replica in replicas:
            try:
                dependency.pins.caches[replica] = self._observers.come_home(replica)
            except CallError:
                pass

    def _is_ready(self, call: IncomingCall, dependency: Dependency) -> None:
        """All answers on which a call depends are there: decode it and queue it."""
        target = dependency.target if dependency.called is None else dependency.called.target
        assert target is not None
        answers = References(dependency.answers, self._context.limits.message_bytes)
        self._importer.refer_to(dependency.pins, answers)
        try:
            is_prepared = prepare(
                self._context, self._replicas, self._calls, call, target, dependency.arguments
            )
        finally:
            self._importer.refer_to(None, None)
        if is_prepared:
            self._calls.queue(call)

    def _drop(self, call: IncomingCall, arguments: Undecoded, because: KeptAnswer) -> None:
        """End a call that cannot run because of an answer, and send the id of that answer."""
        forget(self._context, arguments)
        if because.error is not None:
            self._calls.refuse(call, because.error)
            return
        self._answers.end(call)
        self._replies.drop(call, because.request)
        self.keep_nothing(call)

    # -- answers

    def keep(self, call: IncomingCall, message: Message | None, content: Content | None) -> None:
        """A call has been answered: keep the answer if the peer has asked for that.

        Args:
            call: which has ended.
            message: the answer; None when it was an error.
            content: what it refers to.
        """
        if message is None:
            self.keep_nothing(call)
            return
        if not self.kept or (answer := self.kept.find(call.request)) is None:
            return
        pins = Pins()
        target: Target | None = None
        called = None if content is None else self._context.writer.object_answered(message)
        for entry in content or ():
            if isinstance(entry, int):
                export = self._exports.find(entry)
                pins.objects[entry] = export.obj
                if entry == called:
                    target = export
            elif isinstance(entry, Observed):
                pins.caches[entry.luid] = entry.obj
            elif isinstance(entry, Reference):
                pins.references[luid_of(entry)] = entry
            else:
                pins.replicas[replica_luid(entry)] = entry
        self.kept.keep(answer, message, pins, target, self._context.limits)
        self._is_known(answer)

    def keep_nothing(self, call: IncomingCall) -> None:
        """A call has ended without a value."""
        if self.kept and (answer := self.kept.find(call.request)) is not None and not answer.is_known:
            self._is_known(answer)

    def _is_known(self, answer: KeptAnswer) -> None:
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
            return  # it is looked at by the loop below, further up
        try:
            while self._known:
                answer = self._known[0]
                for call in list(answer.dependents):
                    self._look_at(call, answer)
                self._known.popleft()
        except ProtocolError as error:  # in arguments that are decoded only now
            self._known = ()
            self._context.closer.fail(error)
        self._calls.start_queued()

    def _look_at(self, call: IncomingCall, answer: KeptAnswer) -> None:
        """An answer for which a call waits is there."""
        dependency = call.dependency
        if dependency is None:
            return
        dependency.missing -= 1
        if answer.is_obstacle(dependency.called is answer):
            self._drop(call, self._answers.leave_dependents(call).arguments, answer)
        elif not dependency.missing:
            self._is_ready(call, self._answers.leave_dependents(call))
