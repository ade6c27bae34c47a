"""Perspective Broker under the names of ``twisted.spread.pb``, today's and those of 2002.

Programs move by changing an import. They then run on this library's broker: this face has the names, the Deferreds and
the global registry, the core has the protocol, its tables and its limits.
"""

from __future__ import annotations

from .broker import Broker
from .factories import (
    AsReferenceable,
    Avatar,
    IPerspective,
    IUsernameMD5Password,
    PBClientFactory,
    PBServerFactory,
    challenge,
    respond,
)

# Programs with a login of their own derive from these.
from .factories import _JellyableAvatarMixin as _JellyableAvatarMixin
from .factories import _PortalAuthChallenger as _PortalAuthChallenger
from .factories import _PortalRoot as _PortalRoot
from .factories import _PortalWrapper as _PortalWrapper
from .failures import (
    CopiedFailure,
    CopyableFailure,
    DeadReferenceError,
    Error,
    PBConnectionLost,
    ProtocolError,
    RemoteError,
    failure2Copyable,
)
from .flavors import (
    Cacheable,
    Copyable,
    IPBRoot,
    Jellyable,
    NoSuchMethod,
    Referenceable,
    RemoteCache,
    RemoteCacheObserver,
    RemoteCopy,
    Root,
    Serializable,
    Viewable,
    ViewPoint,
    copyTags,
    setCopierForClass,
    setCopierForClassTree,
    setFactoryForClass,
    setUnjellyableFactoryForClass,
    setUnjellyableForClass,
    setUnjellyableForClassTree,
)
from .jelly import globalSecurity, jelly, unjelly
from .of_2002 import (
    AuthChallenger,
    AuthRoot,
    AuthServ,
    BrokerFactory,
    IdentityWrapper,
    Perspective,
    Service,
    _Detacher,  # noqa: F401 (a name of 2002, kept for programs that use it)
    authIdentity,
    connect,
    getObjectAt,
    logIn,
    noOperation,
    print_excFullStack,
    printTraceback,
)
from .references import Local, RemoteMethod, RemoteReference

__all__ = [
    "MAX_BROKER_REFS",
    "AsReferenceable",
    "AuthChallenger",
    "AuthRoot",
    "AuthServ",
    "Avatar",
    "Broker",
    "BrokerFactory",
    "Cacheable",
    "CopiedFailure",
    "Copyable",
    "CopyableFailure",
    "DeadReferenceError",
    "Error",
    "IPBRoot",
    "IPerspective",
    "IUsernameMD5Password",
    "IdentityWrapper",
    "Jellyable",
    "Local",
    "NoSuchMethod",
    "PBClientFactory",
    "PBConnectionLost",
    "PBServerFactory",
    "Perspective",
    "ProtocolError",
    "Referenceable",
    "RemoteCache",
    "RemoteCacheObserver",
    "RemoteCopy",
    "RemoteError",
    "RemoteMethod",
    "RemoteReference",
    "Root",
    "Serializable",
    "Service",
    "ViewPoint",
    "Viewable",
    "authIdentity",
    "challenge",
    "connect",
    "copyTags",
    "failure2Copyable",
    "getObjectAt",
    "globalSecurity",
    "jelly",
    "logIn",
    "noOperation",
    "portno",
    "printTraceback",
    "print_excFullStack",
    "respond",
    "setCopierForClass",
    "setCopierForClassTree",
    "setFactoryForClass",
    "setUnjellyableFactoryForClass",
    "setUnjellyableForClass",
    "setUnjellyableForClassTree",
    "unjelly",
]

#: Twisted's bound on what it exports itself, at which it hangs up on an honest peer. Here it is only a name: what a
#: peer may make this side keep is bounded by :attr:`perspective_broker.Limits.references_exported`.
MAX_BROKER_REFS = 1024

portno = 8787
