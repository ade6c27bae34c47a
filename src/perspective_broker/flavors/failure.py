"""Failure: an exception as it crosses. Its type's name and its text, never the exception object itself."""

from __future__ import annotations

import traceback as tracebacks
from dataclasses import dataclass

from ..errors import (
    BadAnswer,
    CallError,
    DeadlineExceeded,
    LimitExceeded,
    RemoteError,
    SerializationError,
    qualified_name,
    tamed,
)
from .guard import text_of
from .registry import Registry

__all__ = ["ALWAYS_SENT", "Failure", "from_within"]

#: Longer texts are cut: a failure is a report, not a way to move data.
MAX_TEXT = 64 * 1024
#: The same of type names, which programmers choose.
MAX_NAME = 512

#: A report of so few bytes is sent whatever the limits say: without it the call would have no end. Every peer reads it.
ALWAYS_SENT = 4096


#: Among the parents of what a method met itself when it called others.
_REMOTE = qualified_name(RemoteError)
#: What only who calls can meet.
_OF_THIS_SIDE = (SerializationError, LimitExceeded, DeadlineExceeded, BadAnswer)


@dataclass(frozen=True, slots=True)
class Failure:
    """What is told of an exception.

    Attributes:
        type: qualified name of its class.
        value: its text.
        traceback: the traceback's text, ``""`` when it is kept to ourselves.
        parents: qualified names of its class and all bases, most derived first.
    """

    type: str
    value: str
    traceback: str = ""
    parents: tuple[str, ...] = ()

    @classmethod
    def of(cls, error: BaseException, *, with_traceback: bool = False) -> Failure:
        """Describe ``error``. One that was itself remote keeps the names it came with."""
        if isinstance(error, RemoteError):
            kind, value, parents = error.type, error.value, error.parents
            traceback = error.traceback if with_traceback else ""
        else:
            kind, value = qualified_name(type(error)), _text_of(error)
            parents = tuple(qualified_name(base) for base in type(error).__mro__)
            behind = error.__cause__
            if isinstance(behind, RemoteError) and behind.value == value:  # it has been sent before
                parents += tuple(name for name in behind.parents if name not in parents and name != _REMOTE)
            traceback = "".join(tracebacks.format_exception(error)) if with_traceback else ""
        return cls(
            _clean(kind[:MAX_NAME]),
            _clean(value[:MAX_TEXT]),
            _clean(traceback[-MAX_TEXT:])[-MAX_TEXT:],
            tuple(_clean(name[:MAX_NAME]) for name in parents),
        )

    def as_exception(self, registry: Registry) -> Exception:
        """Return the exception to raise here: the registered class, else a :class:`RemoteError`.

        A registered class is called with the text alone, tamed as in every error of a peer's. One that cannot be, or
        whose objects then have another text, because ``__str__`` makes it of something else, is passed over. The
        :class:`RemoteError`, with the text as it came, stays reachable as its ``__cause__``.
        """
        remote = RemoteError(self.type, self.value, self.traceback, self.parents)
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


def _shows(error: Exception, text: str) -> bool:
    """Let ``text`` be the text of an exception, which was called with it; return False when it shows another."""
    if str(error) == text:
        return True
    for argument in (text, _Text(text)):
        # Its constructor makes a text of what it is given, but here that is made already.
        error.args = (argument,)
        if str(error) == text:
            return True
    return False


class _Text(str):
    """A text whose ``repr`` is itself, which is what ``str`` of a KeyError shows."""

    __slots__ = ()

    def __repr__(self) -> str:
        return str(self)


def from_within(error: BaseException, *, with_traceback: bool = False) -> BaseException:
    """Return what a method's caller is told of what the method met itself when it called others.

    Some of the library's own errors say that a method has not run. When they come out of one that has, because it did
    not catch how a call of its own ended, they must not say so: they are sent as remote errors, by their parents.
    """
    if not (isinstance(error, _OF_THIS_SIDE) or (isinstance(error, CallError) and error.of_a_call)):
        return error
    failure = Failure.of(error, with_traceback=with_traceback)
    return RemoteError(failure.type, failure.value, failure.traceback, (*failure.parents, _REMOTE))


def _text_of(error: BaseException) -> str:
    """Return the text that is sent of an exception."""
    text = text_of(error)
    return text[:1024] if isinstance(error, (CallError, SerializationError)) else text


def _clean(text: str) -> str:
    """Return ``text`` with its lone surrogates spelled out: they cannot cross, a report about them must."""
    return text.encode("utf-8", "backslashreplace").decode("utf-8")
