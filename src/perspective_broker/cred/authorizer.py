"""Where identities are kept: the interface, and its errors.

A store of another kind (a directory service, say) subclasses :class:`Authorizer` and provides the abstract
methods; passwords, login records and attempt limiting come with the base.
"""

from __future__ import annotations

import logging
import types
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator
from typing import Self

from ..errors import BrokerError
from .attempts import AttemptTable
from .identity import Identity, checked_name
from .verifiers import (
    LegacyDigest,
    ScramVerifier,
    make_secrets,
)

__all__ = [
    "Authorizer",
    "IdentityDamaged",
    "IdentityExists",
    "MissingExtra",
    "StoreBusy",
    "StoreError",
    "StoreFull",
    "UnknownIdentity",
    "UnknownKey",
]


log = logging.getLogger("perspective_broker")


class StoreError(BrokerError):
    """The store of identities cannot do what was asked. The text never contains a secret."""

    def __str__(self) -> str:
        # KeyError, a base of some subclasses, would show the repr of its argument.
        return str(self.args[0]) if self.args else ""


class StoreBusy(StoreError):
    """The store is locked or overloaded and stayed so for the whole waiting time; a later try may succeed."""


class StoreFull(StoreError):
    """The store has no room left (a full disk); nothing was changed."""


class MissingExtra(StoreError, ImportError):
    """A package that this store needs is not installed; the text says what to install."""


class IdentityDamaged(StoreError):
    """What the store keeps of an identity cannot be read; the others can."""


class IdentityExists(StoreError, KeyError):
    """There is an identity of that name already."""


class UnknownIdentity(StoreError, KeyError):
    """There is no identity of that name."""


class UnknownKey(StoreError, KeyError):
    """The identity has no such key."""


class Authorizer(ABC):
    """Keeps identities. An async context manager that closes itself.

    Every method that reaches a store may raise :class:`StoreError` (or one of its subclasses).
    Each changes the store in one step: all of it, or, when it raises, nothing.

    Args:
        attempts: counts failed logins, in this process' memory: behind N processes a stranger has N times the
            attempts. A subclass may override the three attempt methods to share the count.
    """

    def __init__(self, *, attempts: AttemptTable | None = None) -> None:
        self._attempts = AttemptTable() if attempts is None else attempts

    # ------------------------------------------------------------ for a store to provide

    @abstractmethod
    async def get_identity(self, name: str) -> Identity | None:
        """Return a copy of the identity, or None when there is none (also for a name that none can have)."""

    @abstractmethod
    async def add_identity(self, identity: Identity) -> None:
        """Keep a copy of ``identity``.

        Raises:
            IdentityExists: one of that name is kept already.
            TypeError: it is not an Identity.
        """

    @abstractmethod
    async def remove_identity(self, name: str) -> None:
        """Remove the identity and its keys.

        Raises:
            UnknownIdentity: there is none.
        """

    @abstractmethod
    async def set_secrets(
        self, name: str, verifier: ScramVerifier | None, legacy_digest: LegacyDigest | None = None
    ) -> None:
        """Replace both secrets; None takes one away. :meth:`set_password` is what you want, unless you
        import.

        Raises:
            UnknownIdentity: there is none.
        """

    @abstractmethod
    async def set_disabled(self, name: str, disabled: bool) -> None:
        """Forbid or allow logging in.

        Raises:
            UnknownIdentity: there is none.
        """

    @abstractmethod
    async def grant(self, name: str, service: str, perspective: str | None = None) -> None:
        """Give the identity a key; giving it twice changes nothing.

        Args:
            name: the identity's.
            service: the service's name.
            perspective: the perspective's name; the identity's own name when None.

        Raises:
            UnknownIdentity: there is no such identity.
            TypeError, ValueError: as :func:`~perspective_broker.cred.identity.checked_key`.
        """

    @abstractmethod
    async def revoke(self, name: str, service: str, perspective: str | None = None) -> None:
        """Take a key back. Arguments as :meth:`grant`.

        Raises:
            UnknownIdentity: there is no such identity.
            UnknownKey: it has no such key.
            TypeError, ValueError: as :func:`~perspective_broker.cred.identity.checked_key`.
        """

    @abstractmethod
    def list(self) -> AsyncIterator[Identity]:
        """Iterate over copies of all identities, sorted by name (in code point order).

        What is added or removed meanwhile may or may not appear; nothing appears twice.
        """

    @abstractmethod
    async def iterations(self) -> int:
        """Return the PBKDF2 rounds of the verifiers made here."""

    @abstractmethod
    async def fake_verifier(self, name: str) -> ScramVerifier:
        """Return what to show for a user that does not exist: the same for one name, always."""

    @abstractmethod
    async def close(self) -> None:
        """Let go of files, connections and threads. Closing twice is closing once."""

    # ------------------------------------------------------------ passwords

    async def create(self, name: str, password: str | None, *, legacy: bool = False) -> Identity:
        """Make and add an identity.

        Args:
            name: its name.
            password: its password; with None it cannot log in until :meth:`set_password`.
            legacy: allow the MD5 logins of 2002 and of today's Twisted for it.

        Returns:
            The identity that was added.

        Raises:
            IdentityExists: there is one already.
            TypeError, ValueError: the name or the password cannot be one.
        """
        checked_name(name)  # before the work
        if password is None:
            identity = Identity(name)
        else:
            verifier, digest = await make_secrets(password, legacy=legacy, iterations=await self.iterations())
            identity = Identity(name, verifier=verifier, legacy_digest=digest)
        await self.add_identity(identity)
        return identity

    async def set_password(self, name: str, password: str | None, *, legacy: bool = False) -> None:
        """Replace the password. Arguments as :meth:`create`; without ``legacy`` an old MD5 digest goes away.

        Raises:
            UnknownIdentity: there is no such identity.
            TypeError, ValueError: the password cannot be one.
        """
        if password is None:
            await self.set_secrets(name, None, None)
        else:
            verifier, digest = await make_secrets(password, legacy=legacy, iterations=await self.iterations())
            await self.set_secrets(name, verifier, digest)

    async def disable(self, name: str) -> None:
        """Forbid logging in. Sessions that exist are not the store's business.

        Raises:
            UnknownIdentity: there is no such identity.
        """
        await self.set_disabled(name, True)

    async def enable(self, name: str) -> None:
        """Allow logging in again.

        Raises:
            UnknownIdentity: there is no such identity.
        """
        await self.set_disabled(name, False)

    # ------------------------------------------------------------ logging in

    async def login_record(self, name: str) -> tuple[Identity | None, ScramVerifier]:
        """Return what a login needs, so that who may not log in looks like who mistyped.

        Returns:
            The identity, or None when nobody may log in under that name (unknown, disabled, no password); and
            the verifier to run SCRAM with. For a disabled identity that is its own, for the others a fake
            one. With None a login must fail at its end even if the proof fits. The identity may be without its keys:
            reading many takes longer than reading none, and a stranger would notice.
        """
        fake = await self.fake_verifier(name)  # always made: costs the same for everybody
        try:
            identity = await self.get_secrets(name)
        except IdentityDamaged as error:  # told apart by no answer, either
            log.error("nobody can log in as %.255a: %s", name, error)
            identity = None
        if identity is None or identity.verifier is None:
            return None, fake
        return (None if identity.disabled else identity), identity.verifier

    async def get_secrets(self, name: str) -> Identity | None:
        """Return the identity as :meth:`get_identity` does, with or without its keys.

        An unauthenticated peer can measure how long it takes. It should cost the same for known and unknown names, and
        for any number of keys; a store overrides it for that.
        """
        return await self.get_identity(name)

    async def record_failure(self, name: str, now: float) -> None:
        """Count a failed login.

        Attempts that run side by side see each other only when each is counted *before* it is checked; count
        first, and let :meth:`record_success` forgive.

        Args:
            name: as it was sent, known or not.
            now: seconds on a clock that does not jump (``loop.time()``).
        """
        self._attempts.record_failure(name, now)

    async def record_success(self, name: str) -> None:
        """Forget the failed logins of ``name``."""
        self._attempts.record_success(name)

    async def delay_for(self, name: str, now: float) -> float:
        """Return the seconds from ``now`` until a login as ``name`` may be answered; 0.0 for at once."""
        return self._attempts.delay_for(name, now)

    # ------------------------------------------------------------ async with

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: types.TracebackType | None,
    ) -> None:
        await self.close()
