"""The exception tree: everything the library raises, and what an application raises through it.

::

    Exception
    ├── Error                     raise it (or a subclass) in a method: the caller is told, nothing is wrong here
    └── BrokerError               whatever the library itself has to report
        ├── ProtocolError         the peer broke the protocol; the connection is closed (.code, .reason)
        ├── ConnectionLost        the connection ended before the answer came (.code, .reason)
        ├── TLSError              no encrypted connection came about (.code, .reason)
        ├── DeadReferenceError    a reference, or its connection, was used after its end
        ├── SerializationError    a value of ours cannot cross (.path names where it sits)
        ├── LimitExceeded         our own side asked for more than a limit allows
        ├── DeadlineExceeded      the time that its caller gave a call has passed; a TimeoutError, too
        ├── LoginFailed           the peer did not let us in (it never says which part was wrong)
        ├── CallError             a call was refused before its method ran; told to the caller as itself
        │   ├── NoSuchMethod      ... the object has no method of that name for its callers
        │   ├── UnknownObject     ... nothing lives under that id (any more)
        │   ├── BadArguments      ... what came is not an argument list
        │   ├── DecodeError       ... a value could not be rebuilt
        │   │   └── InsecureJelly     ... because this connection's policy does not allow it
        │   └── Unavailable       ... now, or by this peer: another attempt may be served (.code)
        ├── BadAnswer             the method has run, but its answer cannot be read here
        ├── RemoteError           the method raised; .type, .value, .traceback, .parents, .check(...)
        └── UsageError            a call from a wrong thread, a wrong event loop, after a fork

Nobody outside this module defines an exception class that the protocol knows by name.
"""

from __future__ import annotations

from typing import Any, Final, TypeVar

from .rebuilt import notify_rebuilt

__all__ = [
    "BadAnswer",
    "BadArguments",
    "BrokerError",
    "CallError",
    "ConnectionLost",
    "DeadReferenceError",
    "DeadlineExceeded",
    "DecodeError",
    "Error",
    "InsecureJelly",
    "LimitExceeded",
    "LoginFailed",
    "NoSuchMethod",
    "ProtocolError",
    "RemoteError",
    "SerializationError",
    "TLSError",
    "Unavailable",
    "UnknownObject",
    "UsageError",
    "qualified_name",
    "tamed",
    "with_ran",
]

_Error = TypeVar("_Error", bound=Exception)

#: Characters of a peer's text in an exception that stands for an error of the peer's.
_MOST_TEXT: Final = 1024


class Error(Exception):
    """Raise this, or a subclass, in a remotely callable method to report an expected condition.

    The caller gets the type's name and the text, nothing is logged above debug level. Any other exception
    counts as a defect of the method: it is logged here with its traceback.
    """

    def __init_subclass__(cls, **kwargs: object) -> None:
        super().__init_subclass__(**kwargs)
        notify_rebuilt(cls)

    def __reduce__(self) -> str | tuple[Any, ...]:
        return _reduced(self)


class BrokerError(Exception):
    """Base of everything that the library itself raises.

    Attributes:
        ran: of an error with which a call has ended: whether the method has run. False: certainly not, so that the
            call may be made again; True: it has, at least in part; None: that is not known. Every error of a call has
            it, an application's own exceptions as well.
    """

    ran: bool | None = None

    def __reduce__(self) -> str | tuple[Any, ...]:
        return _reduced(self)


def _reduced(error: Exception) -> tuple[Any, ...]:
    """Return how an exception is copied or pickled: without its constructor, which may take anything."""
    state: Any = error.__getstate__()
    own, slots = state if type(state) is tuple else (state, None)
    return _remake, (type(error), error.args, slots), own


def _remake(cls: type[Exception], args: tuple[Any, ...], slots: dict[str, Any] | None) -> Exception:
    error = cls.__new__(cls)
    error.args = args
    for name, value in (slots or {}).items():
        object.__setattr__(error, name, value)
    return error


class ProtocolError(BrokerError):
    """The peer broke the protocol. Fatal: the connection is closed with the same code and reason.

    Attributes:
        code: a short machine-readable word such as ``"bad-token"`` or ``"limit-depth"``.
        reason: one line for a human; never contains what the peer sent.
    """

    def __init__(self, code: str, reason: str) -> None:
        super().__init__(f"{code}: {reason}")
        self.args = (code, reason)
        self.code = code
        self.reason = reason

    def __str__(self) -> str:
        return f"{self.code}: {self.reason}"


class ConnectionLost(BrokerError, ConnectionError):
    """The connection ended, so the answer will never come. Whether the method ran is unknown.

    Attributes:
        code: why, as a short word: ``"closed"``, ``"lost"``, ``"drained"``, or a :class:`ProtocolError` code.
        reason: one line for a human.
    """

    def __init__(self, code: str = "lost", reason: str = "the connection was lost") -> None:
        super().__init__(f"{code}: {reason}")
        self.args = (code, reason)
        self.code = code
        self.reason = reason

    def __str__(self) -> str:
        return f"{self.code}: {self.reason}"


class TLSError(BrokerError, ConnectionError):
    """TLS was refused, by us or by the peer, or what it needs is not there.

    Attributes:
        code: a short word: ``"certificate-expired"``, ``"certificate-not-yet-valid"``, ``"wrong-name"``,
            ``"unknown-authority"``, ``"bad-certificate"`` (ours to fix), ``"certificate-required"``,
            ``"certificate-refused"``, ``"tls-version"``, ``"not-tls"``, ``"timeout"``, ``"lost"``, ``"tls-failed"``.
        reason: one line for a human.
    """

    def __init__(self, code: str, reason: str) -> None:
        super().__init__(f"{code}: {reason}")
        self.args = (code, reason)
        self.code = code
        self.reason = reason

    def __str__(self) -> str:
        return f"{self.code}: {self.reason}"


class DeadReferenceError(BrokerError):
    """A reference was used after it was released or after its connection had ended."""


class SerializationError(BrokerError):
    """A value of ours cannot cross this connection; nothing was sent.

    Attributes:
        path: where in the message the value sits, such as ``args[0]["jobs"][3]``; empty when unknown.
        culprit: the part of the value that cannot cross, where that is known on our own side.
    """

    def __init__(self, message: str, path: str = "", *, culprit: object = None) -> None:
        super().__init__(message, path)
        self.message = message
        self.path = path
        self.culprit = culprit

    def __str__(self) -> str:
        return f"{self.path}: {self.message}" if self.path else self.message

    def __getstate__(self) -> object:
        return {**vars(self), "culprit": None}  # which can often not be copied, either


class LimitExceeded(BrokerError):
    """Our own caller asked for more than a limit allows (see :class:`perspective_broker.Limits`)."""


class DeadlineExceeded(BrokerError, TimeoutError):
    """The time that its caller gave a call has passed: the call never began, or its method was stopped."""


class LoginFailed(BrokerError):
    """The login was refused. Deliberately silent about which part was wrong."""


class CallError(BrokerError):
    """A call was refused before its method ran. The caller receives the same class.

    Attributes:
        of_a_call: whether a call that was made here has ended with it. A method that lets such a one through has run,
            so its own caller gets a :class:`RemoteError`.
    """

    ran: bool | None = False
    of_a_call = False


_CODES = ("draining", "busy", "moved", "slots")


class Unavailable(CallError):
    """The peer does not serve the call now. Somebody else, or a later attempt, may.

    Args:
        text: for a human.
        code: why, as a short word; when None it is what ``text`` begins with, as in ``"draining: try another"``.

    Attributes:
        code: ``"draining"`` (the peer shuts down), ``"busy"`` (it has too much to do), ``"moved"`` (the object lives
            elsewhere now) or ``"slots"`` (too many calls run or wait for this connection).
    """

    def __init__(self, text: str, code: str | None = None) -> None:
        if code is None:
            word, colon, rest = text.partition(": ")
            code, text = (word, rest) if colon and word in _CODES else ("busy", text)
        super().__init__(f"{code}: {text}")
        self.text = text
        self.code = code


class BadAnswer(BrokerError):
    """The method has run, but its answer cannot be read here, or is not what was declared; the cause says why."""

    ran: bool | None = True


class NoSuchMethod(CallError):
    """The object exists, but offers no method of that name to its callers."""


class UnknownObject(CallError):
    """No object lives under the id that was used: never given to this peer, or released."""


class BadArguments(CallError):
    """The argument list is not one: positional arguments are a tuple, keywords a dictionary with text keys."""


class DecodeError(CallError):
    """A value that arrived cannot be rebuilt. Costs the one call it belongs to, never the connection."""


class InsecureJelly(DecodeError):
    """A value of a type or class that this connection's policy does not allow."""


class UsageError(BrokerError):
    """The library was used from the wrong place: another thread, another event loop, a forked child."""


class RemoteError(BrokerError):
    """The remote method raised an exception that has no registered class here.

    Its own text, which logs and terminals show, is :func:`tamed`; the attributes are as the peer sent them.

    Attributes:
        type: qualified name of the class there, such as ``"builtins.KeyError"``.
        value: the exception's text.
        traceback: the traceback's text when the peer sends it, else ``""``.
        parents: qualified names of the class and its bases, most derived first.
    """

    ran: bool | None = True

    def __init__(self, type: str, value: str, traceback: str = "", parents: tuple[str, ...] = ()) -> None:
        super().__init__(type, value, traceback, parents)
        self.type = type
        self.value = value
        self.traceback = traceback
        self.parents = parents or (type,)

    def __str__(self) -> str:
        return tamed(f"{self.type}: {self.value}" if self.value else self.type)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({str(self)!r})"

    def check(self, *kinds: str | type[BaseException]) -> str | type[BaseException] | None:
        """Return the first of ``kinds`` that the remote exception is an instance of, or None.

        Args:
            kinds: exception classes, or their qualified names as text. A builtin may be named bare or with
                ``builtins.``; Python 2 peers call that module ``exceptions``, which matches too.
        """
        parents = {_modern(name) for name in self.parents}
        for kind in kinds:
            name = kind if isinstance(kind, str) else qualified_name(kind)
            if _modern(name) in parents:
                return kind
        return None


def with_ran(error: _Error, ran: bool | None) -> _Error:
    """Return an error with which a call has ended, saying in ``ran`` whether the method has run."""
    try:
        error.ran = ran  # type: ignore[attr-defined] # applications' exceptions have it as well
    except Exception:  # of a class of the application that does not let itself be told
        pass
    return error


def qualified_name(cls: type) -> str:
    """Return ``module.QualName`` of ``cls``, the form in which type names cross the wire."""
    return f"{cls.__module__}.{cls.__qualname__}"


def tamed(text: str) -> str:
    """Return a peer's text as it may be shown anywhere: one line without control characters, at most 1024 characters.

    It reaches logs, terminals and tracebacks on many ways, so it is made harmless when it arrives.
    Taming twice changes nothing.
    """
    shown = text[: _MOST_TEXT + 1]  # more need not be looked at
    if not shown.isprintable():
        shown = "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in shown)
    return shown if len(shown) <= _MOST_TEXT else shown[: _MOST_TEXT - 3] + "..."


def _modern(name: str) -> str:
    """Spell the module of a builtin the way Python 3 does."""
    for old in ("exceptions.", "__builtin__."):
        if name.startswith(old):
            return "builtins." + name[len(old) :]
    return name if "." in name else "builtins." + name
