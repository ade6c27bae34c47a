"""Failure: an exception as it crosses. Its type's name and its text, never the exception object itself."""

from __future__ import annotations

import traceback as tracebacks
from dataclasses import dataclass

from ..errors import CallError, RemoteError, SerializationError, qualified_name
from .registry import Registry

__all__ = ["Failure"]

#: Longer texts are cut: a failure is a report, not a way to move data.
MAX_TEXT = 64 * 1024


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
            return cls(error.type, error.value, error.traceback if with_traceback else "", error.parents)
        text = ""
        if with_traceback:
            text = "".join(tracebacks.format_exception(error))
        kind = type(error)
        return cls(
            qualified_name(kind),
            _text_of(error),
            text[-MAX_TEXT:],
            tuple(qualified_name(base) for base in kind.__mro__),
        )

    def as_exception(self, registry: Registry) -> Exception:
        """Return the exception to raise here: the registered class, else a :class:`RemoteError`.

        A registered class is called with the text alone; one that cannot be is passed over. The
        :class:`RemoteError` stays reachable as its ``__cause__``.
        """
        remote = RemoteError(self.type, self.value, self.traceback, self.parents)
        known = registry.find_error(self.type)
        if known is None:
            return remote
        try:
            error = known(self.value)
        except Exception:
            return remote
        error.__cause__ = remote
        return error


def _text_of(error: BaseException) -> str:
    """Return ``str(error)``, cut, and safe to call on any exception."""
    try:
        text = str(error)
    except Exception:
        return "(its text could not be made)"
    if isinstance(error, (CallError, SerializationError)):
        text = text[:1024]
    # A lone surrogate cannot cross; a report about it must.
    return text[:MAX_TEXT].encode("utf-8", "backslashreplace").decode("utf-8")
