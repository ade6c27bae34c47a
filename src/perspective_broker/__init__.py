"""Perspective Broker for asyncio: programs that hold each other's objects.

``import perspective_broker as pb``. A first program needs about a dozen names:

=================================  ======================================================================
serve, connect, run                offer an object at a url; get a reference to it; run a program
RemoteReference                    an object of the peer: ``await reference.call("method", ...)``
Interface                          base class of what an object offers, with types: ``Room.of(reference)``
Root, Referenceable                base classes of objects that stay here, and whose methods the peer calls
value                              registers a dataclass or enumeration, whose objects cross by value
Copyable, copier_for               base class of objects that cross by value; the class that they arrive as
Live                               base class of objects that are followed by copies at the peer
Application, Service, Perspective  users log in, and each of them gets an object of their own
Error, RemoteError                 a method raises the first to report an expected condition; its caller
                                   catches the second
=================================  ======================================================================

Names that few programs need are in public modules:

===========  ============================================================
streams      files, large bytes and pages, in pieces
registry     which classes and types may arrive, connection by connection
annotations  classes of objects that the library makes
build        whether this installation is compiled
remote       objects of the peer without an interface (``from perspective_broker.remote import Remote``)
blocking     calls that wait, for scripts, notebooks and threads (``from perspective_broker import blocking``)
calls        what an observer of a server hears of its calls (``serve(call_observer=...)``)
testing      for tests (``import perspective_broker.testing``)
compat       the names of Twisted's modules (``from perspective_broker.compat import pb``)
===========  ============================================================

All other modules are internal.
"""

from . import annotations, build, registry, streams
from .aio import (
    Backoff,
    Connection,
    Live,
    Promise,
    RemoteReference,
    Server,
    Topic,
    connect,
    deadline,
    describe,
    pipeline,
    reference,
    remaining,
    retry,
    run,
    serve,
    tell,
)
from .cred import (
    ANONYMOUS,
    Application,
    Authorizer,
    Identity,
    MemoryAuthorizer,
    Perspective,
    Portal,
    Service,
    SQLAuthorizer,
)
from .errors import (
    BadAnswer,
    BadArguments,
    BrokerError,
    CallError,
    ConnectionLost,
    DeadlineExceeded,
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
    TLSError,
    Unavailable,
    UnknownObject,
    UsageError,
)
from .flavors import (
    Array,
    AsReferenceable,
    Cacheable,
    Copyable,
    Graph,
    Referenceable,
    RemoteCache,
    RemoteCopy,
    Root,
    Viewable,
    ViewPoint,
    callback,
    copier_for,
    wrap,
)
from .interfaces import Interface, sync, value
from .limits import Limits
from .native_path import NATIVE
from .transports import ClientTLS, ServerTLS

#: The version of the library; the build reads it here. docs/reference/versions.md says what its numbers promise.
__version__ = "0.1.0"

__all__ = [
    "ANONYMOUS",
    "NATIVE",
    "Application",
    "Array",
    "AsReferenceable",
    "Authorizer",
    "Backoff",
    "BadAnswer",
    "BadArguments",
    "BrokerError",
    "Cacheable",
    "CallError",
    "ClientTLS",
    "Connection",
    "ConnectionLost",
    "Copyable",
    "DeadReferenceError",
    "DeadlineExceeded",
    "DecodeError",
    "Error",
    "Graph",
    "Identity",
    "InsecureJelly",
    "Interface",
    "LimitExceeded",
    "Limits",
    "Live",
    "LoginFailed",
    "MemoryAuthorizer",
    "NoSuchMethod",
    "Perspective",
    "Portal",
    "Promise",
    "ProtocolError",
    "Referenceable",
    "RemoteCache",
    "RemoteCopy",
    "RemoteError",
    "RemoteReference",
    "Root",
    "SQLAuthorizer",
    "SerializationError",
    "Server",
    "ServerTLS",
    "Service",
    "TLSError",
    "Topic",
    "Unavailable",
    "UnknownObject",
    "UsageError",
    "ViewPoint",
    "Viewable",
    "annotations",
    "build",
    "callback",
    "connect",
    "copier_for",
    "deadline",
    "describe",
    "pipeline",
    "reference",
    "registry",
    "remaining",
    "retry",
    "run",
    "serve",
    "streams",
    "sync",
    "tell",
    "value",
    "wrap",
]


def __dir__() -> list[str]:
    """Leave the internal modules out of completion and ``dir()``."""
    return sorted({*__all__, *(name for name in globals() if name.startswith("__"))})
