"""How a command ends: exit codes, and the line of an error."""

from __future__ import annotations

import enum
import os
import socket
import ssl

from ..cred import IdentityExists, MissingExtra, StoreError, UnknownIdentity, UnknownKey
from ..errors import (
    BadAnswer,
    BrokerError,
    CallError,
    ConnectionLost,
    DeadReferenceError,
    LimitExceeded,
    LoginFailed,
    ProtocolError,
    RemoteError,
    SerializationError,
    UsageError,
    qualified_name,
)
from .output import one_line

__all__ = ["CommandError", "Status", "explain", "system_text"]


class Status(enum.IntEnum):
    """The exit codes of every ``pb`` command."""

    OK = 0
    #: The peer answered with an error; or the store has the identity or key already, or does not have it.
    REMOTE = 1
    #: A wrong argument, or a module that cannot be imported.
    USAGE = 2
    #: No connection, no peer that speaks the protocol, or a connection that was lost; a store that cannot be used.
    CONNECTION = 3
    #: The peer has refused the login; another attempt will not help.
    LOGIN = 4
    INTERRUPTED = 130  #: Ctrl-C, by the shells' convention


class CommandError(Exception):
    """A command has failed for a reason that its user can correct.

    Args:
        status: the exit code.
        text: one line with the problem and, if it is not obvious, the remedy.
    """

    def __init__(self, status: Status, text: str) -> None:
        super().__init__(text)
        self.status = status
        self.text = text


def explain(error: BaseException) -> tuple[Status, str] | None:
    """Return the exit code and the line for an expected error, None for any other."""
    if isinstance(error, CommandError):
        return error.status, one_line(error.text)
    remote = error if isinstance(error, RemoteError) else error.__cause__
    if isinstance(remote, RemoteError):
        kind = remote.type.removeprefix("builtins.").removeprefix(f"{BrokerError.__module__}.")
        return Status.REMOTE, one_line(f"{kind}: {remote.value}" if remote.value else kind)
    if isinstance(error, LoginFailed):
        return Status.LOGIN, one_line(str(error))
    if isinstance(error, (IdentityExists, UnknownIdentity, UnknownKey)):
        return Status.REMOTE, one_line(str(error))
    if isinstance(error, MissingExtra):
        return Status.USAGE, one_line(str(error))
    if isinstance(error, StoreError):
        return Status.CONNECTION, one_line(str(error))
    if isinstance(error, (ConnectionLost, ProtocolError, DeadReferenceError)):
        return Status.CONNECTION, one_line(str(error))
    if isinstance(error, (CallError, BadAnswer)):
        return Status.REMOTE, one_line(f"{type(error).__name__}: {error}")
    if isinstance(error, (SerializationError, LimitExceeded, UsageError)):
        return Status.USAGE, one_line(f"cannot be sent: {error}")
    if isinstance(error, OSError):
        return Status.CONNECTION, one_line(system_text(error))
    return None


def system_text(error: BaseException) -> str:
    """Return the system's text for an error, the same on every event loop."""
    if isinstance(error, OSError) and not isinstance(error, (ssl.SSLError, socket.gaierror)):
        if error.errno:
            return os.strerror(error.errno)
    elif isinstance(error, OSError) and error.strerror:
        return error.strerror
    return str(error) or qualified_name(type(error))
