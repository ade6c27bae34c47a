"""Failure: an exception as it crosses: the name of its type and its text, never the exception object."""

from __future__ import annotations

import traceback as tracebacks
from dataclasses import dataclass
from typing import Final

from ..errors import (
    BadAnswer,
    BrokerError,
    CallError,
    DeadlineExceeded,
    LimitExceeded,
    RemoteError,
    SerializationError,
    qualified_name,
    remote_error,
    tamed,
)
from .guard import text_of
from .policy import Policy
from .registry import Form, Registry
from .values import Value

__all__ = ["ALWAYS_SENT", "Failure", "from_within", "passed_on"]

#: Characters of a text. Longer ones are cut, because a failure is a report, not a way to move data.
MAX_TEXT = 64 * 1024
#: Characters of a type name. Programmers choose these.
MAX_NAME = 512

#: Bytes of a failure that is sent whatever the limits are, because without it the call would never end. Every peer
#: accepts so many.
ALWAYS_SENT = 4096


#: Among the parents of an error that a call made by the method raised.
_REMOTE = qualified_name(RemoteError)
#: Among the parents of an error of a call that was passed on: what a program in the middle knows of the method.
_RAN: Final[dict[str, bool | None]] = {
    "perspective_broker.errors.HasNotRun": False,
    "perspective_broker.errors.MayHaveRun": None,
}
#: Errors that only the side that calls can have.
_OF_THIS_SIDE = (SerializationError, LimitExceeded, DeadlineExceeded, BadAnswer)


@dataclass(frozen=True, slots=True)
class Failure:
    """The description of an exception that crosses.

    Attributes:
        type: qualified name of its class.
        value: its text.
        traceback: the traceback's text, ``""`` when it is not sent.
        parents: qualified names of its class and all bases, most derived first.
        fields: the tag and the fields of an exception that is registered as a value, or None.
    """

    type: str
    value: str
    traceback: str = ""
    parents: tuple[str, ...] = ()
    fields: tuple[str, Value] | None = None

    @classmethod
    def of(
        cls, error: BaseException, *, with_traceback: bool = False, registry: Registry | None = None
    ) -> Failure:
        """Describe ``error``. A RemoteError keeps the names with which it came.

        Args:
            error: the exception.
            with_traceback: whether its traceback crosses.
            registry: of the exceptions that cross with their fields; None when no fields cross.

        Raises:
            SerializationError: the fields of a registered exception cannot cross.
        """
        form = None if registry is None else registry.find_form(type(error))
        if isinstance(error, RemoteError):
            kind, value, parents = error.type, error.value, error.parents
            traceback = error.traceback if with_traceback else ""
        else:
            kind, value = qualified_name(type(error)), _text_of(error)
            parents = tuple(qualified_name(base) for base in type(error).__mro__)
            behind = error.__cause__
            if isinstance(behind, RemoteError) and behind.value == value:  # it has crossed before
                parents += tuple(name for name in behind.parents if name not in parents and name != _REMOTE)
            traceback = "".join(tracebacks.format_exception(error)) if with_traceback else ""
        return cls(
            _clean(kind[:MAX_NAME]),
            _clean(value[:MAX_TEXT]),
            _clean(traceback[-MAX_TEXT:])[-MAX_TEXT:],
            tuple(_clean(name[:MAX_NAME]) for name in parents),
            None if form is None else (form.tag, form.state(error)),
        )

    def as_exception(self, registry: Registry, policy: Policy | None = None) -> Exception:
        """Return the exception to raise here: of the registered class, or else a :class:`RemoteError`.

        A class that is registered as a value gets the fields that arrived. Any other registered class is called with
        the text alone, tamed as in every error of a peer. A class that raises then, or whose object has another text
        because of its ``__str__``, is not used. The :class:`RemoteError`, with the text as it came, is the
        ``__cause__`` of the exception.
        """
        remote = remote_error(self.type, self.value, self.traceback, self.parents)
        remote.ran = next((ran for name, ran in _RAN.items() if name in self.parents), True)
        if self.fields is not None and (made := _of_fields(*self.fields, registry, policy)) is not None:
            made.__cause__ = remote
            return made
        known = None if _REMOTE in self.parents else registry.find_error(self.type)
        if known is None:
            return remote
        try:
            text = tamed(self.value)
            error = known(text)
            if not _shows(error, text):
                return remote
        except KeyboardInterrupt:
            raise
        except BaseException:
            return remote
        error.__cause__ = remote
        return error


def _of_fields(tag: str, state: Value, registry: Registry, policy: Policy | None) -> Exception | None:
    """Return the exception that is registered as a value under a tag, if it is and the fields fit."""
    form = registry.find_factory(tag)
    if not isinstance(form, Form) or not (policy is None or policy.allows_class(tag)):
        return None
    try:
        error = form.build(state, form.lenient())
    except KeyboardInterrupt:
        raise
    except BaseException:  # of its class, or the fields do not fit
        return None
    return error if isinstance(error, Exception) else None


def _shows(error: Exception, text: str) -> bool:
    """Make ``text`` the text of an exception, whose class was called with it; return False when it shows another."""
    if str(error) == text:
        return True
    for argument in (text, _Text(text)):
        # Its constructor makes the text of its argument, but this argument is that text already.
        error.args = (argument,)
        if str(error) == text:
            return True
    return False


class _Text(str):
    """A text whose ``repr`` is itself, because ``str`` of a KeyError shows the repr of its argument."""

    __slots__ = ()

    def __repr__(self) -> str:
        return str(self)


def from_within(error: BaseException, *, with_traceback: bool = False) -> BaseException:
    """Return the error to send for one that a method raised, where a call made by the method has ended with it.

    Some errors of the library mean that a method has not run. A method that has run may raise one, because it did not
    catch the error of a call that it made. Its own caller gets it as a remote error, which does not mean that.
    """
    if not (isinstance(error, _OF_THIS_SIDE) or (isinstance(error, CallError) and error.of_a_call)):
        return error
    failure = Failure.of(error, with_traceback=with_traceback)
    return RemoteError(failure.type, failure.value, failure.traceback, (*failure.parents, _REMOTE))


def passed_on(error: BaseException) -> BaseException:
    """Return the error to send for one with which a call has ended that this program had passed on.

    The type of an error of the library does not mean that the method has run, as that of a remote error does. Whether
    it has, as far as this program knows, is said by a name among the parents.
    """
    if not isinstance(error, BrokerError) or error.ran is True:
        return error
    failure = Failure.of(error)
    ran = next(name for name, ran in _RAN.items() if ran is error.ran)
    return RemoteError(failure.type, failure.value, "", (*failure.parents, _REMOTE, ran))


def _text_of(error: BaseException) -> str:
    """Return the text of an exception to send."""
    text = text_of(error)
    return text[:1024] if isinstance(error, (CallError, SerializationError)) else text


def _clean(text: str) -> str:
    """Return ``text`` with escapes for its lone surrogates, which cannot cross."""
    return text.encode("utf-8", "backslashreplace").decode("utf-8")
