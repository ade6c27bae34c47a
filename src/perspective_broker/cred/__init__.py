"""Who may log in, and where that is kept: identities, their secrets, and authorizers.

Importing this room imports neither a database library nor a SCRAM one; they come when they are needed.
"""

from __future__ import annotations

from .attempts import AttemptTable
from .authorizer import (
    Authorizer,
    IdentityExists,
    MissingExtra,
    StoreBusy,
    StoreError,
    StoreFull,
    UnknownIdentity,
    UnknownKey,
)
from .identity import Identity
from .memory import MemoryAuthorizer
from .sql import SQLAuthorizer
from .verifiers import LegacyDigest, ScramVerifier

__all__ = [
    "AttemptTable",
    "Authorizer",
    "Identity",
    "IdentityExists",
    "LegacyDigest",
    "MemoryAuthorizer",
    "MissingExtra",
    "SQLAuthorizer",
    "ScramVerifier",
    "StoreBusy",
    "StoreError",
    "StoreFull",
    "UnknownIdentity",
    "UnknownKey",
]
