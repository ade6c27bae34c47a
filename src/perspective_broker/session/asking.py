"""Our calls: from the reference that makes them to whoever is told how they ended.

What waits for the window is the business of :mod:`.questions`, what hangs on answers that have not come that of
:mod:`.pipelining`; here they meet the dialect.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

from ..errors import (
    CallError,
    ConnectionLost,
    DeadlineExceeded,
    DeadReferenceError,
    ProtocolError,
    UnknownObject,
)
from ..flavors import Observer, Reference
from ..ports import (
    CANCEL,
    DEADLINES,
    LARGE_MESSAGE,
    PIPELINING,
    Answerable,
    AnswerOf,
    CallTarget,
    Deadline,
    Message,
    ObjectId,
)
from ..queues import put
from .caches import Observed
from .holding import Holder
from .pipelining import (
    Barrier,
    Hanging,
    Mentions,
    Unready,
)

__all__ = ["Asker"]

log = logging.getLogger("perspective_broker")

#: In the place of an answer: the peer has dropped the call.
_DROPPED = UnknownObject("the peer has dropped the call")


def check_name(name: object) -> None:
    """Raise TypeError if a method's name is not text; compiled code does so by itself.

    Here its own caller hears of it. Sent to the peer it would cost all callers the connection.
    """
    if not isinstance(name, str):
        raise TypeError(f"a method's name is text (str), not {type(name).__name__}")


class Asker(Holder):
    """The side of a broker that calls."""

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
        check_name(name)
        self._check_usable()
        request = self.questions.next_request()
        self._ask(request, target, name, args, kwargs, perspective, answerable)
        return request

    def _ask(
        self,
        request: int,
        target: CallTarget,
        name: str,
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
        perspective: Any,
        answerable: Answerable,
        update: bool = False,
    ) -> None:
        """Make a call, of an object or with ``update`` of a replica; one that cannot be encoded fails, unsent."""
        what = (target, name, args, kwargs, perspective, answerable, update)
        if self._saying:
            self._said_meanwhile = put(self._said_meanwhile, partial(self._ask, request, *what))
            return
        deadline = answerable.deadline
        if deadline is not None and self._is_late(deadline, answerable):
            return
        self._saying = True
        try:
            self._begin_message(may_mention=not update)
            encode = self._dialect.encode_update if update else self._dialect.encode_call
            message = encode(request, target, name, True, args, kwargs, perspective)
            new = self._end_message()
        except Unready as unready:
            self._hold_back(request, partial(self._ask, request, *what), unready.promise)
        except Exception as error:
            answerable.fail(error)
        else:
            self._queue_call(request, message, new, perspective, answerable)
            for on in self._mentioned:
                again = partial(self._ask, self.questions.next_request(), *what)
                self.pipelines.mentioned(on, self.questions.last_place, Hanging(request, False, again))
        finally:
            self._said()

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
        if self._saying:
            what = (request, promise, on, name, args, kwargs, perspective, answerable)
            self._said_meanwhile = put(self._said_meanwhile, partial(self._ask_answer, *what))
            return
        deadline = answerable.deadline
        if deadline is not None and self._is_late(deadline, answerable):
            return
        replay = partial(self._host.replay, promise, answerable, name, args, kwargs)
        self._saying = True
        try:
            self._begin_message(may_mention=True)
            message = self._dialect.encode_call(request, AnswerOf(on), name, True, args, kwargs, perspective)
            new = self._end_message()
        except Unready as unready:
            self._hold_back(request, replay, promise, unready.promise)
        except Exception as error:
            answerable.fail(error)
        else:
            self._mentioned[on] = None
            self._queue_call(request, message, new, perspective, answerable)
            for mentioned in self._mentioned:
                self.pipelines.mentioned(
                    mentioned, self.questions.last_place, Hanging(request, mentioned == on, replay)
                )
        finally:
            self._said()

    def _queue_call(
        self, request: int, message: Message, new: list[Observed], perspective: Any, answerable: Answerable
    ) -> None:
        """Hand a call that was encoded to the questions, with what is left for it; ``new`` is what it introduces."""
        if new and self._mentioned:
            self._wait_to_introduce(self._mentioned)
        if answerable.deadline is not None:
            message = self._with_deadline(message, answerable.deadline)
        self.questions.ask(request, message, answerable, perspective)
        if new:
            self._place(new)

    def _is_late(self, deadline: Deadline, answerable: Answerable) -> bool:
        """Whether the time for a call has passed before it could be made; then it fails, and nothing is sent."""
        if deadline.left() > 0:
            return False
        answerable.fail(DeadlineExceeded("the time for the call passed before it was made"))
        return True

    def _with_deadline(self, message: Message, deadline: Deadline) -> Message:
        """Return a call with what is left for it, as far as the peer can be told."""
        if DEADLINES not in self._dialect.features:
            return message
        limited: Message = self._dialect.encode_due(message, deadline.left())
        return limited

    def _hold_back(self, request: int, say: Callable[[], None], *promises: Any) -> None:
        """Make a message when promises that it builds on are kept; what is said meanwhile waits behind it.

        Where the dialect cannot pipeline nothing waits: there only calls on one promise keep their order.
        """
        if PIPELINING not in self._dialect.features:
            (promise,) = promises
            self._host.when_known(promise, say)
            return
        self._held_back[request] = None

        def ready() -> bool:
            return all(map(self._host.known, promises))

        def say_now() -> None:
            self._held_back.pop(request, None)
            say()

        self.questions.hold_back(Barrier(ready, say_now))
        for promise in promises:
            self._host.when_known(promise, self.questions.release_held)

    def _wait_to_introduce(self, mentioned: dict[int, None]) -> None:
        """Hold a message back that mentions answers and introduces cacheables, until the answers are there.

        The peer decodes what mentions answers when it has them, and updates of a cacheable must not come before.
        """
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
        check_name(name)
        question = self.questions.find(on)
        if PIPELINING not in self._dialect.features or (question is None and on not in self._held_back):
            return None
        self._check_usable()
        request = self.questions.next_request()
        if question is not None and self._keep(on):
            perspective = question.perspective
            self._ask_answer(request, promise, on, name, args, kwargs, perspective, answerable)
        else:
            replay = partial(self._host.replay, promise, answerable, name, args, kwargs)
            self._hold_back(request, replay, promise)
        return request

    def mention(self, on: int) -> bool:
        """The message being encoded mentions the answer of one of our calls; False when it cannot."""
        if PIPELINING not in self._dialect.features or not self._may_mention:
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

    def tell(
        self, target: ObjectId, name: str, args: tuple[Any, ...], kwargs: dict[str, Any], perspective: Any
    ) -> None:
        """Call a method of the peer's object and ask for no answer.

        Raises:
            SerializationError: the arguments cannot cross; nothing was sent.
            DeadReferenceError: the connection has ended.
        """
        check_name(name)
        self._check_usable()
        self._tell(target, name, args, kwargs, perspective)

    def _tell(
        self,
        target: CallTarget,
        name: str,
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
        perspective: Any,
        update: bool = False,
    ) -> None:
        """The same as :meth:`_ask` for what has no answer; what cannot be encoded raises, unsent."""
        what = (target, name, args, kwargs, perspective, update)
        if self._saying:
            self._said_meanwhile = put(self._said_meanwhile, partial(self._tell, *what))
            return
        request = self.questions.next_request()
        self._saying = True
        try:
            self._begin_message(may_mention=not update)
            encode = self._dialect.encode_update if update else self._dialect.encode_call
            message = encode(request, target, name, False, args, kwargs, perspective)
            new = self._end_message()
        except Unready as unready:
            self._hold_back(request, partial(self._tell_later, *what), unready.promise)
        else:
            if new and self._mentioned:
                self._wait_to_introduce(self._mentioned)
            self.questions.tell(message)
            if new:
                self._place(new)
            for on in self._mentioned:
                self.pipelines.mentioned(on, self.questions.last_place)
        finally:
            self._said()

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
        check_name(name)
        self._check_usable()
        if self.observers.find(observer._luid) is None:
            raise DeadReferenceError("the peer has dropped its replica")
        self._update(observer, name, args, kwargs, answerable)

    def _update(
        self,
        observer: Observer,
        name: str,
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
        answerable: Answerable | None,
    ) -> None:
        if self._saying:
            again = partial(self._update, observer, name, args, kwargs, answerable)
            self._said_meanwhile = put(self._said_meanwhile, again)
            return
        luid, perspective = observer._luid, observer._perspective
        if self.observers.find(luid) is None:  # the message with its state was never sent
            if answerable is not None:
                answerable.fail(DeadReferenceError("the peer has no replica"))
        elif answerable is not None:
            request = self.questions.next_request()
            self._ask(request, luid, name, args, kwargs, perspective, answerable, update=True)
        else:
            self._tell(luid, name, args, kwargs, perspective, update=True)
        backlog = self._out_bytes + self.questions.held_bytes
        if (
            backlog > self.limits.observer_backlog_bytes
            and self._small_backlog > self.limits.observer_backlog_bytes
        ):
            self._fail(ProtocolError("slow-consumer", "too many updates of a cached object are unread"))

    @property
    def _small_backlog(self) -> int:
        """Bytes of what has not left, without large messages: those take their time, and are no updates."""
        small = sum(size for size in map(len, self._out) if size < LARGE_MESSAGE)
        return small + self.outgoing.small_bytes + self.questions.held_bytes

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
            error.of_a_call = True
            # Unlike an error of the peer's it says that the method has run.
            error.args = (f"in the answer: {error}",)
            answerable.fail(error)
        else:
            if isinstance(value, Exception):
                if isinstance(value, CallError):
                    value.of_a_call = True
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
        """An answer that the peer kept has come: settle what hangs on it and cannot be settled there.

        And what hangs on that. Not by recursion: a program may have called each on the one before by the thousand.
        """
        hanging = [self._let_go_of(request, mentions, value)]
        while hanging:
            call = next(hanging[-1], None)
            if call is None:
                hanging.pop()
            elif self.questions.settle(call.request) is not None:
                below = self.pipelines.answered(call.request)
                call.again()
                if below is not None:
                    hanging.append(self._let_go_of(call.request, below, _DROPPED))

    def _let_go_of(self, request: int, mentions: Mentions, value: Any) -> Iterator[Hanging]:
        """Let the peer forget an answer; return what hangs on it and has to be settled here."""
        if self.lifecycle.ended:
            return iter(())
        forget = self._dialect.encode_forget(request)
        if self.questions.has_left(mentions.last_place):
            self.send(forget)
        else:
            self.questions.tell(forget)
        failed = isinstance(value, Exception)
        theirs = isinstance(value, Reference) and value._session is self
        return iter([call for call in mentions.hanging if failed or (call.to and not theirs)])

    def succeed(self, value: Any) -> None:
        """A late answer."""
        self.ignored += 1

    def fail(self, error: Exception) -> None:
        """A late error."""
        self.ignored += 1
