"""Perspective Broker for asyncio: programs that hold each other's objects.

``import perspective_broker as pb``. Serve an object with :func:`serve`, hold a reference to it with
:func:`connect`, decide by flavors what crosses and how.
"""

from .aio import Connection, Promise, RemoteMethod, RemoteReference, Server, connect, run, serve
from .errors import (
    BadArguments,
    BrokerError,
    CallError,
    ConnectionLost,
    DeadReferenceError,
    DecodeError,
    Error,
    InsecureJelly,
    LimitExceeded,
    LoginFailed,
    NoSuchMethod,
    ProtocolError,
    RemoteError,
    SerializationError,
    UnknownObject,
    UsageError,
)
from .flavors import (
    AsReferenceable,
    Copyable,
    Policy,
    Referenceable,
    Registry,
    RemoteCopy,
    Root,
    copier_for,
    default_registry,
)
from .limits import Limits
from .session import CloseCause, Statistics

__all__ = [
    "AsReferenceable",
    "BadArguments",
    "BrokerError",
    "CallError",
    "CloseCause",
    "Connection",
    "ConnectionLost",
    "Copyable",
    "DeadReferenceError",
    "DecodeError",
    "Error",
    "InsecureJelly",
    "LimitExceeded",
    "Limits",
    "LoginFailed",
    "NoSuchMethod",
    "Policy",
    "Promise",
    "ProtocolError",
    "Referenceable",
    "Registry",
    "RemoteCopy",
    "RemoteError",
    "RemoteMethod",
    "RemoteReference",
    "Root",
    "SerializationError",
    "Server",
    "Statistics",
    "UnknownObject",
    "UsageError",
    "connect",
    "copier_for",
    "default_registry",
    "run",
    "serve",
]
