"""Logins: identities, the authorizers that store them, applications, services, perspectives and portals.

Importing this package imports no database library; the code that needs one imports it.
"""

from __future__ import annotations

from .application import Application, Perspective, Service
from .attempts import AttemptTable
from .authorizer import (
    Authorizer,
    IdentityDamaged,
    IdentityExists,
    MissingExtra,
    StoreBusy,
    StoreError,
    StoreFull,
    UnknownIdentity,
    UnknownKey,
)
from .identity import Identity
from .login import ANONYMOUS, AuthServ, IdentityWrapper
from .memory import MemoryAuthorizer
from .portal import Portal, Realm
from .sql import SQLAuthorizer
from .verifiers import LegacyDigest, ScramVerifier

__all__ = [
    "ANONYMOUS",
    "Application",
    "AttemptTable",
    "AuthServ",
    "Authorizer",
    "Identity",
    "IdentityDamaged",
    "IdentityExists",
    "IdentityWrapper",
    "LegacyDigest",
    "MemoryAuthorizer",
    "MissingExtra",
    "Perspective",
    "Portal",
    "Realm",
    "SQLAuthorizer",
    "ScramVerifier",
    "Service",
    "StoreBusy",
    "StoreError",
    "StoreFull",
    "UnknownIdentity",
    "UnknownKey",
]
