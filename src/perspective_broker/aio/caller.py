"""The caller: what references, promises, streams and pages may ask of their connection.

They know nothing else of it. A call goes from here straight to the broker::

    RemoteReference.call ──▶ begin(Promise) ──▶ caller.outgoing.call ──▶ bytes
                                  ▲
            Answer.succeed ───────┘ ◀── the broker, when the answer has come
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import Final

from ..errors import BadAnswer, ConnectionLost, qualified_name
from ..flavors import Observer, Reference
from ..interfaces import Form
from ..ports import SharedArguments, Value
from ..session import Broker, CloseCause, OutgoingCalls
from .connection import Connection
from .deadlines import Limit
from .driver import Driver
from .write_buffer import Drain, WriteBuffer

__all__ = ["Answer", "Caller", "TypedAnswer", "answer_of", "not_made"]

_cancel: Final = asyncio.Future.cancel


class Answer:
    """Where the outcome of one call goes (:class:`perspective_broker.ports.Answerable`): to a future.

    Args:
        future: of the call.
        deadline: until when the call may take; the broker asks for it when it encodes the call.
    """

    __slots__ = ("deadline", "future")

    def __init__(self, future: asyncio.Future[Value], deadline: Limit | None) -> None:
        self.future: asyncio.Future[Value] = future
        self.deadline: Limit | None = deadline

    def succeed(self, value: Value) -> None:
        """Resolve the future; called by the broker, once."""
        future = self.future
        if not future.done():
            future.set_result(value)

    def fail(self, error: Exception) -> None:
        """Reject the future; called by the broker, once."""
        future = self.future
        if future.done():
            return
        if isinstance(error, StopIteration):  # which no future can hold
            error = RuntimeError("the remote method raised StopIteration")
        future.set_exception(error)
        if isinstance(error, ConnectionLost):
            future.exception()  # a program that does not look at an answer gets no warning that it will not come

    def abandon(self) -> None:
        """Cancel the future together with a call that this one depends on; called by the broker."""
        _cancel(self.future)


class TypedAnswer(Answer):
    """The same for a call that is made by an interface: the answer is checked, and made what the method declares.

    Args:
        future: of the call.
        deadline: see :class:`Answer`.
        form: what the answer has to be.
        caller: of the connection, whose dialect counts for this; None while there is none.
    """

    __slots__ = ("caller", "form")

    def __init__(
        self, future: asyncio.Future[Value], deadline: Limit | None, form: Form, caller: Caller | None
    ) -> None:
        super().__init__(future, deadline)
        self.form: Form = form
        self.caller: Caller | None = caller

    def succeed(self, value: Value) -> None:
        """Resolve the future with what the answer is made; called by the broker, once."""
        if self.future.done():
            return
        try:
            made = self.form.receive_answer(value, self.caller is not None and self.caller.is_classic)
        except Exception as error:  # BadAnswer, or what code of the program raised that makes the value
            self.fail(error if isinstance(error, BadAnswer) else not_made(error))
            return
        self.future.set_result(made)


def answer_of(
    future: asyncio.Future[Value], deadline: Limit | None, form: Form | None, caller: Caller | None
) -> Answer:
    """Return where the outcome of a call goes, whether it is made by an interface or not."""
    return Answer(future, deadline) if form is None else TypedAnswer(future, deadline, form, caller)


def not_made(error: Exception) -> BadAnswer:
    """Return the error of a call whose answer could not be made here by what the program registered or annotated."""
    bad = BadAnswer(f"the answer could not be made: {qualified_name(type(error))} was raised")
    bad.__cause__ = error
    return bad


class Caller:
    """The face of one connection for the objects that belong to it.

    Args:
        driver: of the connection.
        connection: what users see of it.

    Attributes:
        loop: the event loop of the connection.
        connection: what users see of it.
        outgoing: makes calls.
        buffer: what is to be sent, and whether it is idle.
        when_draining: called when the peer takes no new calls any more.
    """

    def __init__(self, driver: Driver, connection: Connection) -> None:
        self.loop: asyncio.AbstractEventLoop = driver.loop
        self.connection = connection
        self.outgoing: OutgoingCalls = driver.broker.outgoing
        self.buffer: WriteBuffer = driver.buffer
        self.when_draining: Callable[[], object] | None = None
        self._driver = driver
        self._broker: Broker = driver.broker

    # -- calls

    def tell(self, target: Reference, name: str, args: tuple[Value, ...], kwargs: dict[str, Value]) -> Drain:
        """Call a method of the peer's object and ask for no answer, if the write buffer takes more.

        Returns:
            An awaitable that waits until the connection can take more.
        """
        self.buffer.check_capacity()
        self.outgoing.tell(target, name, args, kwargs)
        return self.buffer.drain

    def tell_shared(
        self, target: Reference, name: str, args: SharedArguments, kwargs: dict[str, Value]
    ) -> bool:
        """Make a one-way call that others are told as well, and write it now; return False if the buffer is full."""
        if self.buffer.is_full:
            return False
        driver = self._driver
        holds = driver.hold_turn()
        try:
            self.outgoing.tell(target, name, args, kwargs)
        finally:
            if holds:
                driver.write_now()
        return True

    def tell_at_once(self, target: Reference, name: str, args: tuple[Value, ...]) -> None:
        """Send a message of a stream: whatever the write buffer has, because a stream is bounded by its credit."""
        self.outgoing.tell(target, name, args, {}, at_once=True)

    # -- the peer's objects, and what it holds of ours

    def release(self, reference: Reference) -> None:
        """Tell the peer, with what is sent next, that it may forget the object of a reference."""
        self._broker.importer.release(reference)

    def update_soon(self, send: Callable[[], None]) -> None:
        """Call ``send`` when anything is sent, or this turn of the loop ends."""
        self._broker.encoding.update_soon(send)

    def give_up_replica(self, observer: Observer) -> None:
        """Tell the peer that a replica gets no more updates."""
        self._broker.exporter.give_up_replica(observer)

    # -- the connection

    @property
    def close_cause(self) -> CloseCause | None:
        """Why the connection ended; None while it lives."""
        return self._broker.lifecycle.cause

    @property
    def is_classic(self) -> bool:
        """Whether the peer speaks a classic dialect."""
        return self._broker.is_classic

    @property
    def unanswered(self) -> int:
        """How many calls have no answer yet."""
        return len(self._broker.questions)

    @property
    def is_paused(self) -> bool:
        """Whether reading pauses for the sake of the application."""
        return self._broker.is_paused

    @property
    def pauses(self) -> Callable[[], bool] | None:
        """The function that is asked in each turn whether reading pauses; None when it never does."""
        return self._driver.pauses

    @pauses.setter
    def pauses(self, pauses: Callable[[], bool] | None) -> None:
        self._driver.pauses = pauses

    def wake(self) -> None:
        """Look soon whether reading may go on."""
        self._driver.wake()

    def report_error(self, text: str, *args: object) -> None:
        """Log an error of this connection, if the log has not had too many lines about it."""
        self._broker.reports.say(self._broker.deadlines.heard, logging.ERROR, text, *args)
