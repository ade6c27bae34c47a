"""How a call of the peer has ended, encoded and sent: an answer, an error, a refusal, a notice that it was dropped."""

from __future__ import annotations

import logging
from typing import Final

from ..errors import (
    BadArguments,
    CallError,
    DeadlineExceeded,
    Error,
    LimitExceeded,
    LoginFailed,
    RemoteError,
    SerializationError,
    Unavailable,
)
from ..flavors import from_within, passed_on
from ..ports import Message, Value
from .context import Context
from .encoding import Encoding
from .incoming_call import IncomingCall
from .outbox import Outbox
from .outgoing_call import Unready

__all__ = ["Refusal", "Replies"]

log: logging.Logger = logging.getLogger("perspective_broker")

#: Why a call was not run.
Refusal = CallError | LimitExceeded | DeadlineExceeded

#: Exceptions that a method raises for its caller, not because of a defect.
_EXPECTED: Final = (Error, LoginFailed, Unavailable, BadArguments, DeadlineExceeded)


class Replies:
    """The replies of one connection.

    Args:
        context: of the connection.
        outbox: sends them.
        encoding: records to which objects they refer.
        unsafe_tracebacks: whether the peer is sent the tracebacks of our exceptions.
    """

    def __init__(self, context: Context, outbox: Outbox, encoding: Encoding, unsafe_tracebacks: bool) -> None:
        self._context = context
        self._lifecycle = context.lifecycle
        self._outbox = outbox
        self._encoding = encoding
        self._unsafe_tracebacks = unsafe_tracebacks

    def answer(self, call: IncomingCall, value: Value) -> Message | None:
        """Send a value; between :meth:`.Encoding.enter` and :meth:`.Encoding.end`.

        Returns:
            The message; None when an error was sent in its place, or nothing.
        """
        encoding = self._encoding
        try:
            encoding.begin()
            if call.sender is not None:
                value = call.sender.send(value)
            message = self._context.writer.encode_answer(call.request, value, call.perspective)
            self._lifecycle.check_open()
        except Unready:
            self._cannot_cross(
                call, SerializationError("an answer cannot mention a promise that is not kept yet")
            )
        except SerializationError as error:
            self._cannot_cross(call, error)
        except Exception as error:  # a hook may raise ConnectionLost, too: of another connection
            if not self._lifecycle.ended:
                self.report(call, error)
        else:
            self._outbox.send_answer(message, encoding.refers_to_replica)
            return message
        return None

    def _cannot_cross(self, call: IncomingCall, error: SerializationError) -> None:
        """An answer cannot cross. One line is logged, with its path; a traceback would show only this library."""
        text = "method %.64a returned a value that cannot cross: %.512s"
        if call.is_passed_on:  # which is no defect of this program
            log.debug(text, call.name, error)
        else:
            self._context.log(logging.ERROR, text, call.name, error, method=call.name)
        self._send_error(call, error)

    def report(self, call: IncomingCall, error: BaseException) -> None:
        """Log an exception, and send it to the peer if the call wants an answer; see :meth:`answer` for when."""
        of_a_call = isinstance(error, CallError) and error.of_a_call
        if call.is_passed_on or call.is_cancelled or (isinstance(error, _EXPECTED) and not of_a_call):
            log.debug("method %.64a reported %s", call.name, type(error).__name__)
        else:
            self._context.log(
                logging.ERROR,
                "method %.64a raised an exception",
                call.name,
                error=error,
                method=call.name,
                code=type(error).__name__,
            )
        self._send_error(call, error)

    def _send_error(self, call: IncomingCall, error: BaseException) -> None:
        if not call.wants_answer:
            return
        # The innermost method hears first of a deadline that was handed on; it is the caller's all the same.
        if call.is_passed_on and not isinstance(error, (CallError, DeadlineExceeded)):
            error = passed_on(error)
        elif call.due is None or not isinstance(error, DeadlineExceeded):
            error = from_within(error, with_traceback=self._unsafe_tracebacks)
        try:
            self._encoding.begin()
            message = self._context.writer.encode_error(
                call.request, error, self._unsafe_tracebacks, call.perspective
            )
            self._lifecycle.check_open()
        except Exception as unsent:  # an exception that is a Copyable, with a state that cannot cross
            if self._lifecycle.ended:
                return
            self._context.log(logging.ERROR, "the report of an exception could not be sent", error=unsent)
            message = self._unsent(call, error)
        self._outbox.send_answer(message, self._encoding.refers_to_replica)

    def refuse(self, call: IncomingCall, error: Refusal) -> None:
        """A call ends before its method could run. That is the peer's doing: one line is logged, not a traceback."""
        self._context.log(
            logging.INFO, "refused a call: %s", error, method=call.name, code=type(error).__name__
        )
        if call.wants_answer:
            try:
                message = self._context.writer.encode_error(call.request, error, False, None)
            except SerializationError:  # its text is too long for the limits
                message = self._unsent(call, error)
            self._outbox.send_refusal(message)

    def drop(self, call: IncomingCall, because: int) -> None:
        """A call was not run because of the answer to the call ``because``."""
        if call.wants_answer:
            self._outbox.send_refusal(self._context.writer.encode_dropped(call.request, because))

    def _unsent(self, call: IncomingCall, error: BaseException) -> Message:
        """Return what is sent instead of an exception that cannot be sent: short enough to cross in any case."""
        plain = RemoteError(type(error).__name__[:64], "an exception that could not be sent")
        return self._context.writer.encode_error(call.request, plain, False, None)
