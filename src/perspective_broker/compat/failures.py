"""Errors under Twisted's names, and failures as they cross.

An exception of the core crosses as the one that a program of Twisted catches. The names on the wire are Twisted's, so
the classes here have the names of its modules.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any, Final

from twisted.internet.error import ConnectionDone
from twisted.python import failure, log
from twisted.python.reflect import qual
from twisted.spread.interfaces import IJellyable

from .. import errors, flavors
from ..dialects.classic.failures import failure_state
from .flavors import Copyable, NoSuchMethod, RemoteCopy, setUnjellyableForClass
from .jelly import InsecureJelly

__all__ = [
    "CopiedFailure",
    "CopyableFailure",
    "DeadReferenceError",
    "Error",
    "Failed",
    "PBConnectionLost",
    "ProtocolError",
    "RemoteError",
    "as_failure",
    "brief",
    "copied_from",
    "copyable",
    "failure2Copyable",
]

_UNAVAILABLE: Final = "Traceback unavailable\n"

#: Longer texts are cut, and more names of base classes left out: a failure is a report, not a way to move data.
_MAX_TEXT: Final = 64 * 1024
_MAX_NAME: Final = 512
_MAX_PARENTS: Final = 64
#: Classes that are made for names of peers, and failures for which they are kept: 3 MB at most.
_MAX_BASES: Final = 32
_MAX_KEPT: Final = 64
#: Characters of the text when a whole report cannot cross.
_BRIEF: Final = 512


class ProtocolError(Exception):
    """The peer, or this side, broke the protocol."""

    __module__ = "twisted.spread.pb"


class DeadReferenceError(ProtocolError):
    """A reference was used after its connection had ended."""

    __module__ = "twisted.spread.pb"


class PBConnectionLost(Exception):
    """The connection ended before the answer arrived."""

    __module__ = "twisted.spread.pb"


class Error(Exception):
    """Raise it, or a subclass, in a remotely callable method: the caller gets it, and nothing is logged here."""

    __module__ = "twisted.spread.pb"


class RemoteError(Exception):
    """The exception for a failure of the peer.

    Attributes:
        remoteType: the qualified name of its class, as bytes.
        remoteTraceback: its text, or that there is none.
    """

    __module__ = "twisted.spread.pb"

    def __init__(self, remoteType: Any, value: Any, remoteTraceback: Any) -> None:
        super().__init__(errors.tamed(value) if isinstance(value, str) else value)
        self.remoteType = remoteType
        self.remoteTraceback = remoteTraceback


class Failed(errors.Error):
    """Carries the outcome of a call through the core: a failure, or an object in place of one.

    The core logs it no further: this face has logged it where Twisted does.
    """

    def __init__(self, payload: Any) -> None:
        super().__init__()
        self.payload = payload


class CopyableFailure(failure.Failure, Copyable):
    """A failure to send."""

    __module__ = "twisted.spread.pb"

    unsafeTracebacks: Any = 0
    traceback: Any = None  # the text of a peer's, when it is itself a copy

    def getStateToCopy(self) -> Any:
        kind: Any = self.type  # bytes, or text, when it is itself a copy
        return failure_state(
            flavors.Failure(
                _clean(_text(kind) if isinstance(kind, (bytes, str)) else qual(kind))[:_MAX_NAME],
                _clean(_safe_str(self.value)[:_MAX_TEXT]),
                _clean(self._traceback()[-_MAX_TEXT:])[-_MAX_TEXT:] if self.unsafeTracebacks else "",
                tuple(_clean(_text(name))[:_MAX_NAME] for name in self.parents[:_MAX_PARENTS]),
            )
        )

    def _traceback(self) -> str:
        remote = self.value.remoteTraceback if isinstance(self.value, RemoteError) else self.traceback
        if remote is None or (remote == _UNAVAILABLE and isinstance(self.value, RemoteError)):
            return self.getTraceback()
        return _text(remote)


class CopiedFailure(RemoteCopy, failure.Failure):
    """A failure of the peer.

    Attributes:
        type: the qualified name of the exception's class, as bytes.
        value: its text.
        traceback: the text of its traceback, or that there is none.
    """

    __module__ = "twisted.spread.pb"

    traceback: Any = _UNAVAILABLE

    def setCopyableState(self, state: Any) -> None:
        fields = {_text(key): value for key, value in state.items()} if isinstance(state, dict) else {}
        kind = _text(fields.pop("type", ""))[:_MAX_NAME]
        names = fields.pop("parents", None)
        names = names[:_MAX_PARENTS] if isinstance(names, (list, tuple)) else []
        parents = [_text(name)[:_MAX_NAME] for name in names]
        # A peer of 2002 names the class itself last, and its builtins by the name that Python 2 had for them.
        every = dict.fromkeys([kind, *parents])
        every.update(dict.fromkeys(_modern(name) for name in list(every)))
        self.__dict__ = {
            "count": 0,
            "captureVars": False,
            "tb": None,
            "pickled": 1,
            "type": (kind or "twisted.spread.pb.Error").encode(),
            "value": _text(fields.get("value")),
            "traceback": _text(fields.get("traceback")) or _UNAVAILABLE,
            "_parents": list(filter(None, every)),
            "_frames": [],
        }

    __setstate__ = setCopyableState

    def printTraceback(
        self, file: Any = None, elideFrameworkCode: Any = False, detail: str = "default"
    ) -> None:
        """Write that it happened at the peer, its type and its text."""
        out = log.logfile if file is None else file
        out.write(errors.tamed(f"Traceback from remote host -- {_text(self.type)}: {self.value}") + "\n")

    printBriefTraceback = printTraceback
    printDetailedTraceback = printTraceback

    def throwExceptionIntoGenerator(self, g: Any) -> Any:
        """Raise it in a generator, as a :class:`RemoteError`."""
        return g.throw(self._raised())

    def raiseException(self) -> Any:
        """Raise it, as a :class:`RemoteError`."""
        raise self._raised()

    def _raised(self) -> RemoteError:
        return _error_class(tuple(self.parents[:_MAX_BASES]))(self.type, self.value, self.traceback)

    def __repr__(self) -> str:
        return f"<{qual(type(self))} {_text(self.type)}: {self.value!a}>"


@lru_cache(maxsize=_MAX_KEPT)
def _error_class(parents: tuple[str, ...]) -> type[RemoteError]:
    """Return the exception class for a failure of the peer: a RemoteError with the peer's names.

    A Failure that is made of the exception asks its class and its bases for their names, and so knows the peer's
    classes as well as the copy did, however often it is trapped, awaited or sent on. The names stand for nothing else:
    no class of this program is looked up.
    """
    found: Any = RemoteError
    for name in reversed(parents):
        module, _, own = name.replace("\0", "").rpartition(".")
        found = type(own, (found,), {"__module__": module})
    return found


setUnjellyableForClass(CopyableFailure, CopiedFailure)


def failure2Copyable(fail: Any, unsafeTracebacks: Any = 0) -> CopyableFailure:
    """Return a failure in the form that crosses."""
    found = CopyableFailure.__new__(CopyableFailure)
    found.__dict__.update(fail.__dict__)
    found.unsafeTracebacks = unsafeTracebacks
    return found


def copyable(fail: Any, unsafeTracebacks: Any) -> CopyableFailure:
    """Return a failure in the form that crosses, with the factory's setting of tracebacks."""
    if not isinstance(fail, CopyableFailure):
        return failure2Copyable(fail, unsafeTracebacks)
    fail.unsafeTracebacks = unsafeTracebacks
    return fail


def brief(payload: Any) -> CopyableFailure:
    """Return the smallest form of a failure, or an error, that cannot cross unchanged."""
    fail = payload if isinstance(payload, failure.Failure) else failure.Failure(payload)
    short: Any = failure2Copyable(fail)
    short.value = _safe_str(fail.value)[:_BRIEF]
    return short


#: Exception of the core -> the one that programs of Twisted catch. All others cross under their own names.
_TRANSLATED: Final[dict[type[Exception], type[Exception]]] = {
    errors.NoSuchMethod: NoSuchMethod,
    errors.InsecureJelly: InsecureJelly,
    errors.DeadReferenceError: DeadReferenceError,
    errors.ProtocolError: ProtocolError,
    errors.Error: Error,
    errors.UnknownObject: Error,
}


def as_failure(error: Any, lost: Any = None) -> failure.Failure:
    """Return an exception of the core, or of a program, as the failure that programs of Twisted expect.

    Args:
        error: the exception.
        lost: why the transport went, when it did.
    """
    if isinstance(error, Failed):
        payload = error.payload
        return payload if isinstance(payload, failure.Failure) else failure.Failure(payload)
    if isinstance(error, errors.ConnectionLost):
        reason = lost or failure.Failure(ConnectionDone(error.reason))
        return failure.Failure(PBConnectionLost(reason))
    kind = _TRANSLATED.get(type(error))
    if kind is not None:
        return failure.Failure(kind(str(error)))
    return failure.Failure(error)


def copied_from(value: Any) -> Any:
    """Return the value of a peer's error message: a failure, or an exception of the same class."""
    if isinstance(value, (failure.Failure, BaseException)):
        return value
    copied = CopiedFailure.__new__(CopiedFailure)
    # A program of 2002 sends a bare string when a login fails.
    text = (
        _text(value) if isinstance(value, (bytes, str)) else "the peer reported an error that cannot be read"
    )
    copied.setCopyableState({"type": "twisted.spread.pb.Error", "value": text})
    return copied


def goes_as_itself(error: Any, security: Any) -> bool:
    """Return whether an exception crosses as an object: it jellies itself, or security allows its class."""
    return IJellyable.providedBy(error) or security.isClassAllowed(type(error))


def _modern(name: str) -> str:
    for old in ("exceptions.", "__builtin__."):
        if name.startswith(old):
            return "builtins." + name[len(old) :]
    return name


def _text(value: Any) -> str:
    # Nothing else is shown: a peer's list may be one that grows without end when it is written out.
    return (
        value.decode("utf-8", "replace")
        if isinstance(value, bytes)
        else value
        if isinstance(value, str)
        else ""
    )


def _clean(text: str) -> str:
    """Return ``text`` with escapes for its lone surrogates, which cannot cross."""
    return text.encode("utf-8", "backslashreplace").decode()


def _safe_str(value: Any) -> str:
    try:
        return str(value)
    except Exception:
        return "(its text could not be made)"
