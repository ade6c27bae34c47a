"""The exception tree: all errors that the library raises, and the error that applications raise for their callers.

::

    Exception
    ├── Error                     raise it (or a subclass) in a method: the caller gets it, nothing is wrong here
    └── BrokerError               every error of the library itself
        ├── ProtocolError         the peer broke the protocol; the connection is closed (.code, .reason)
        ├── ConnectionLost        the connection ended before the answer came (.code, .reason)
        ├── TLSError              no encrypted connection could be made (.code, .reason)
        ├── DeadReferenceError    a reference, or its connection, was used after its end
        ├── SerializationError    a value of ours cannot cross (.path names where it sits)
        ├── LimitExceeded         this side has exceeded a limit
        ├── DeadlineExceeded      the deadline of a call has passed; a TimeoutError, too
        ├── LoginFailed           the peer has refused the login (without a reason)
        ├── CallError             a call was refused before its method ran; the caller gets the same class
        │   ├── NoSuchMethod      ... the object has no method of that name for its callers
        │   ├── UnknownObject     ... no object has that id (any more)
        │   ├── BadArguments      ... the arguments do not fit the method
        │   ├── DecodeError       ... a value could not be rebuilt
        │   │   └── InsecureJelly     ... because this connection's policy does not allow it
        │   └── Unavailable       ... now, or by this peer: another attempt may succeed (.code)
        ├── BadAnswer             the method has run, but its answer cannot be read here
        ├── RemoteError           the method raised; .type, .value, .traceback, .parents, .check(...); for some
        │                         builtin exceptions it is that exception, too: except ValueError
        └── UsageError            a call from a wrong thread, a wrong event loop, after a fork

Every exception class that the protocol knows by name is defined in this module.
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
    "remote_error",
    "tamed",
    "with_ran",
]

_Error = TypeVar("_Error", bound=Exception)

#: Characters of a peer's text in an exception for an error of the peer.
_MOST_TEXT: Final = 1024


class Error(Exception):
    """Raise this, or a subclass, in a remotely callable method to report an expected condition.

    The caller gets the type's name and the text; nothing is logged above debug level. Any other exception counts as a
    defect of the method: it is logged here with its traceback.
    """

    def __init_subclass__(cls, **kwargs: object) -> None:
        super().__init_subclass__(**kwargs)
        notify_rebuilt(cls)

    def __reduce__(self) -> str | tuple[Any, ...]:
        return _reduced(self)


class BrokerError(Exception):
    """Base of all errors that the library itself raises.

    Attributes:
        ran: whether the method of the call that ended with this error has run. False: certainly not, so that the call
            may be made again; True: it has, at least in part; None: unknown. Every error of a call has it, exceptions
            of the application included.
    """

    ran: bool | None = None

    def __reduce__(self) -> str | tuple[Any, ...]:
        return _reduced(self)


def _reduced(error: Exception) -> tuple[Any, ...]:
    """Return how an exception is copied or pickled: without its constructor, whose parameters are unknown."""
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
        self.args: tuple[object, ...] = (code, reason)
        self.code = code
        self.reason = reason

    def __str__(self) -> str:
        return f"{self.code}: {self.reason}"


class ConnectionLost(BrokerError, ConnectionError):
    """The connection ended, so the answer will never come. Whether the method ran is unknown.

    Attributes:
        code: the cause, a short word: ``"closed"``, ``"lost"``, ``"drained"``, or a :class:`ProtocolError` code.
        reason: one line for a human.
    """

    def __init__(self, code: str = "lost", reason: str = "the connection was lost") -> None:
        super().__init__(f"{code}: {reason}")
        self.args: tuple[object, ...] = (code, reason)
        self.code = code
        self.reason = reason

    def __str__(self) -> str:
        return f"{self.code}: {self.reason}"


class TLSError(BrokerError, ConnectionError):
    """TLS was refused by this side or by the peer, or a certificate of this side is missing or wrong.

    Attributes:
        code: a short word: ``"certificate-expired"``, ``"certificate-not-yet-valid"``, ``"wrong-name"``,
            ``"unknown-authority"``, ``"bad-certificate"`` (a file of this side), ``"certificate-required"``,
            ``"certificate-refused"``, ``"tls-version"``, ``"not-tls"``, ``"timeout"``, ``"lost"``, ``"tls-failed"``.
        reason: one line for a human.
    """

    def __init__(self, code: str, reason: str) -> None:
        super().__init__(f"{code}: {reason}")
        self.args: tuple[object, ...] = (code, reason)
        self.code = code
        self.reason = reason

    def __str__(self) -> str:
        return f"{self.code}: {self.reason}"


class DeadReferenceError(BrokerError):
    """A reference was used after it was released or after its connection had ended; nothing was called."""

    ran: bool | None = False


class SerializationError(BrokerError):
    """A value of this side cannot cross the connection; nothing was sent.

    Attributes:
        path: the position of the value in the message, such as ``args[0]["jobs"][3]``; empty when unknown.
        culprit: the part of the value that cannot cross, if this side knows it.
    """

    def __init__(self, message: str, path: str = "", *, culprit: object = None) -> None:
        super().__init__(message, path)
        self.message = message
        self.path = path
        self.culprit = culprit

    def __str__(self) -> str:
        return f"{self.path}: {self.message}" if self.path else self.message

    def __getstate__(self) -> object:
        return {**vars(self), "culprit": None}  # often it cannot be copied, either


class LimitExceeded(BrokerError):
    """A call or value of this side exceeds a limit (see :class:`perspective_broker.Limits`)."""


class DeadlineExceeded(BrokerError, TimeoutError):
    """The deadline of a call has passed: the call never began, or its method was cancelled."""


class LoginFailed(BrokerError):
    """The login was refused. The error deliberately does not contain the reason."""


class CallError(BrokerError):
    """A call was refused before its method ran. The caller receives the same class.

    Attributes:
        of_a_call: whether a call that was made here has ended with it. A method that raises such an error has run, so
            its own caller gets a :class:`RemoteError`.
    """

    ran: bool | None = False
    of_a_call = False


_CODES = ("draining", "busy", "moved", "slots")


class Unavailable(CallError):
    """The peer does not serve the call now. Another peer, or a later attempt, may.

    Args:
        text: for a human.
        code: the cause, a short word; when None it is the first word of ``text``, as in ``"draining: try another"``.

    Attributes:
        code: ``"draining"`` (the peer shuts down), ``"busy"`` (it has too much to do), ``"moved"`` (the object lives
            elsewhere now) or ``"slots"`` (too many calls of this connection run or wait).
    """

    def __init__(self, text: str, code: str | None = None) -> None:
        if code is None:
            word, colon, rest = text.partition(": ")
            code, text = (word, rest) if colon and word in _CODES else ("busy", text)
        super().__init__(f"{code}: {text}")
        self.text = text
        self.code = code


class BadAnswer(BrokerError):
    """The method has run, but its answer cannot be decoded here, or does not fit its declaration (see the cause)."""

    ran: bool | None = True


class NoSuchMethod(CallError):
    """The object exists, but has no method of that name for its callers."""


class UnknownObject(CallError):
    """No object has the id of the call's target: it was never sent to this peer, or was released."""


class BadArguments(CallError):
    """The arguments do not fit the method, or are not a tuple and a dictionary with text keys."""


class DecodeError(CallError):
    """A value that arrived cannot be decoded. Only its call fails; the connection stays."""


class InsecureJelly(DecodeError):
    """A value of a type or class that this connection's policy does not allow."""


class UsageError(BrokerError):
    """The library was used from the wrong place: another thread, another event loop, a forked child."""


class RemoteError(BrokerError):
    """The remote method raised an exception that has no registered class here.

    Where it is one of these builtin exceptions, or derived from one, it can be caught as that, too: ValueError,
    TypeError, LookupError, KeyError, IndexError, ArithmeticError, ZeroDivisionError, RuntimeError,
    NotImplementedError. (Never OSError or TimeoutError, which would say something about the connection.)

    Its own text, which logs and terminals show, is :func:`tamed`; the attributes are as the peer sent them.

    Attributes:
        type: qualified name of the class there, such as ``"builtins.KeyError"``.
        value: the exception's text.
        traceback: the traceback's text if the peer sends it, otherwise ``""``.
        parents: qualified names of the class and its bases, most derived first.
    """

    ran: bool | None = True

    def __init__(self, type: str, value: str, traceback: str = "", parents: tuple[str, ...] = ()) -> None:
        super().__init__(type, value, traceback, parents)
        self.type = type
        self.value = value
        self.traceback = traceback
        self.parents: tuple[str, ...] | tuple[str] = parents or (type,)

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
    """Return the error with which a call has ended, with ``ran`` set: whether the method has run."""
    try:
        error.ran = ran  # type: ignore[attr-defined] # applications' exceptions have it as well
    except Exception:  # of a class of the application that does not allow the attribute
        pass
    return error


def qualified_name(cls: type) -> str:
    """Return ``module.QualName`` of ``cls``, the form in which type names cross the wire."""
    return f"{cls.__module__}.{cls.__qualname__}"


def tamed(text: str) -> str:
    """Return a peer's text in a form that is safe anywhere: one line of at most 1024 printable characters.

    It reaches logs, terminals and tracebacks in many ways, so it is made harmless when it arrives. A tamed text does
    not change when it is tamed again.
    """
    shown = text[: _MOST_TEXT + 1]  # the rest is cut anyway
    if not shown.isprintable():
        shown = "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in shown)
    return shown if len(shown) <= _MOST_TEXT else shown[: _MOST_TEXT - 3] + "..."


def _modern(name: str) -> str:
    """Spell the module of a builtin the way Python 3 does."""
    for old in ("exceptions.", "__builtin__."):
        if name.startswith(old):
            return "builtins." + name[len(old) :]
    return name if "." in name else "builtins." + name


class _AlsoBuiltin(RemoteError):
    """Base of the classes below. They have its name, because they differ in nothing but how they can be caught."""

    def __init_subclass__(cls) -> None:
        cls.__name__ = cls.__qualname__ = RemoteError.__name__

    def __reduce__(self) -> str | tuple[Any, ...]:
        return remote_error, (self.type, self.value, self.traceback, self.parents), vars(self)


class _RemoteValueError(_AlsoBuiltin, ValueError): ...


class _RemoteTypeError(_AlsoBuiltin, TypeError): ...


class _RemoteLookupError(_AlsoBuiltin, LookupError): ...


class _RemoteKeyError(_AlsoBuiltin, KeyError): ...


class _RemoteIndexError(_AlsoBuiltin, IndexError): ...


class _RemoteArithmeticError(_AlsoBuiltin, ArithmeticError): ...


class _RemoteZeroDivisionError(_AlsoBuiltin, ZeroDivisionError): ...


class _RemoteRuntimeError(_AlsoBuiltin, RuntimeError): ...


class _RemoteNotImplementedError(_AlsoBuiltin, NotImplementedError): ...


_ALSO_BUILTIN: Final[dict[str, type[RemoteError]]] = {
    qualified_name(cls.__bases__[1]): cls
    for cls in (
        *(_RemoteValueError, _RemoteTypeError, _RemoteLookupError, _RemoteKeyError, _RemoteIndexError),
        *(_RemoteArithmeticError, _RemoteZeroDivisionError, _RemoteRuntimeError, _RemoteNotImplementedError),
    )
}


def remote_error(type: str, value: str, traceback: str = "", parents: tuple[str, ...] = ()) -> RemoteError:
    """Return the error for an exception of the peer, which is the builtin exception as well where that is one."""
    for name in parents or (type,):
        cls = _ALSO_BUILTIN.get(_modern(name))
        if cls is not None:
            return cls(type, value, traceback, parents)
    return RemoteError(type, value, traceback, parents)
