"""MemoryAuthorizer: identities in a dictionary."""

from __future__ import annotations

import hmac
import secrets
from collections import Counter
from collections.abc import AsyncIterator, Iterable
from typing import Final

from .attempts import AttemptTable
from .authorizer import Authorizer, IdentityExists, UnknownIdentity, UnknownKey
from .identity import Identity, checked_key
from .verifiers import DEFAULT_ITERATIONS, LegacyDigest, ScramVerifier, checked_iterations, fake_verifier

__all__ = ["MemoryAuthorizer"]

_UNKNOWN_USER: Final = Identity("nobody")


class MemoryAuthorizer(Authorizer):
    """Keeps identities in memory, for as long as it lives.

    Its methods never suspend, except those that make a verifier (``create``, ``set_password``), so that each of them is
    one step for the event loop.

    Args:
        identities: the first identities; copied. If they come from a store, with their verifiers, then the verifier
            that is shown for a user that does not exist stays the same over restarts, too.
        iterations: PBKDF2 rounds of new verifiers.
        attempts: see :class:`Authorizer`.

    Raises:
        IdentityExists: two of ``identities`` have the same name.
        TypeError, ValueError: ``iterations`` is not valid.
    """

    def __init__(
        self,
        identities: Iterable[Identity] = (),
        *,
        iterations: int = DEFAULT_ITERATIONS,
        attempts: AttemptTable | None = None,
    ) -> None:
        super().__init__(attempts=attempts)
        self._iterations = checked_iterations(iterations)
        self._identities: dict[str, Identity] = {}
        self._rounds: Counter[int] = Counter()  # PBKDF2 rounds of the verifiers
        for identity in identities:
            self._add(identity)
        # The smallest of all server keys seldom changes when users are added or removed, or change their passwords.
        kept = [
            known.verifier.server_key for known in self._identities.values() if known.verifier is not None
        ]
        self._fake_key = (
            hmac.digest(min(kept), b"fake verifiers", "sha256") if kept else secrets.token_bytes(32)
        )

    async def get_identity(self, name: str) -> Identity | None:
        found = self._identities.get(name)
        # Copied for an unknown name, too, because the time must not show which names are known.
        copied = (_UNKNOWN_USER if found is None else found).copy()
        return None if found is None else copied

    async def add_identity(self, identity: Identity) -> None:
        self._add(identity)

    async def remove_identity(self, name: str) -> None:
        self._count(self._known(name).verifier, -1)
        del self._identities[name]

    async def set_secrets(
        self, name: str, verifier: ScramVerifier | None, legacy_digest: LegacyDigest | None = None
    ) -> None:
        identity = self._known(name)
        self._count(identity.verifier, -1)
        self._count(verifier, 1)
        identity.verifier = verifier
        identity.legacy_digest = legacy_digest

    async def set_disabled(self, name: str, disabled: bool) -> None:
        self._known(name).disabled = disabled

    async def grant(self, name: str, service: str, perspective: str | None = None) -> None:
        checked_key(service, name if perspective is None else perspective)
        self._known(name).add_key(service, perspective)

    async def revoke(self, name: str, service: str, perspective: str | None = None) -> None:
        key = checked_key(service, name if perspective is None else perspective)
        identity = self._known(name)
        try:
            identity.remove_key(*key)
        except KeyError:
            raise UnknownKey(f"identity {name!a} has no key to {key!a}") from None

    async def list(self) -> AsyncIterator[Identity]:
        for name in sorted(self._identities):
            identity = self._identities.get(name)
            if identity is not None:  # it may have been removed meanwhile
                yield identity.copy()

    async def iterations(self) -> int:
        return self._iterations

    async def fake_verifier(self, name: str) -> ScramVerifier:
        return fake_verifier(self._fake_key, name, iterations=self._iterations, in_use=self._rounds)

    async def close(self) -> None:
        """Do nothing; the identities stay."""

    def _add(self, identity: Identity) -> None:
        if not isinstance(identity, Identity):
            raise TypeError(f"identity: must be an Identity, not {type(identity).__name__}")
        if identity.name in self._identities:
            raise IdentityExists(f"there is an identity {identity.name!a} already")
        self._identities[identity.name] = identity.copy()
        self._count(identity.verifier, 1)

    def _count(self, verifier: ScramVerifier | None, step: int) -> None:
        if verifier is not None:
            self._rounds[verifier.iterations] += step
            if not self._rounds[verifier.iterations]:
                del self._rounds[verifier.iterations]

    def _known(self, name: str) -> Identity:
        try:
            return self._identities[name]
        except KeyError:
            raise UnknownIdentity(f"there is no identity {name!a}") from None
