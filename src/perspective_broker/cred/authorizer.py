"""Authorizer: the interface of a store of identities, and its errors.

A store of another kind (a directory service, say) is a subclass of :class:`Authorizer` with the abstract methods;
passwords, login records and the limits of attempts come with the base class.
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


log: logging.Logger = logging.getLogger("perspective_broker")


class StoreError(BrokerError):
    """An operation on a store of identities has failed. The text never contains a secret."""

    def __str__(self) -> str:
        # KeyError, a base of some subclasses, would show the repr of its argument.
        return str(self.args[0]) if self.args else ""


class StoreBusy(StoreError):
    """The store was locked or overloaded for the whole waiting time; a later attempt may succeed."""


class StoreFull(StoreError):
    """The store is full (a full disk); nothing was changed."""


class MissingExtra(StoreError, ImportError):
    """A package that this store needs is not installed; the text names it."""


class IdentityDamaged(StoreError):
    """The record of one identity cannot be read; the others can."""


class IdentityExists(StoreError, KeyError):
    """An identity of that name exists already."""


class UnknownIdentity(StoreError, KeyError):
    """No identity of that name exists."""


class UnknownKey(StoreError, KeyError):
    """The identity has no such key."""


class Authorizer(ABC):
    """A store of identities. An async context manager that closes itself.

    Every method that accesses the store may raise :class:`StoreError` or one of its subclasses. Each change is atomic:
    a method that raises has changed nothing.

    Args:
        attempts: counts failed logins, in the memory of this process, so that N processes allow N times the attempts. A
            subclass may override the four attempt methods to share the count, as :class:`SQLAuthorizer` does.
    """

    def __init__(self, *, attempts: AttemptTable | None = None) -> None:
        self._attempts = AttemptTable() if attempts is None else attempts

    # ------------------------------------------------------------ for a store to provide

    @abstractmethod
    async def get_identity(self, name: str) -> Identity | None:
        """Return a copy of the identity, or None when it does not exist (also for a name that is not valid)."""

    @abstractmethod
    async def add_identity(self, identity: Identity) -> None:
        """Add a copy of ``identity``.

        Raises:
            IdentityExists: an identity of that name exists already.
            TypeError: it is not an Identity.
        """

    @abstractmethod
    async def remove_identity(self, name: str) -> None:
        """Remove the identity and its keys.

        Raises:
            UnknownIdentity: there is no such identity.
        """

    @abstractmethod
    async def set_secrets(
        self, name: str, verifier: ScramVerifier | None, legacy_digest: LegacyDigest | None = None
    ) -> None:
        """Replace both secrets; None removes one. For imports; otherwise use :meth:`set_password`.

        Raises:
            UnknownIdentity: there is no such identity.
        """

    @abstractmethod
    async def set_disabled(self, name: str, disabled: bool) -> None:
        """Forbid or allow logging in.

        Raises:
            UnknownIdentity: there is no such identity.
        """

    @abstractmethod
    async def grant(self, name: str, service: str, perspective: str | None = None) -> None:
        """Give the identity a key; a second time changes nothing.

        Args:
            name: the identity's name.
            service: the service's name.
            perspective: the perspective's name; the identity's own name when None.

        Raises:
            UnknownIdentity: there is no such identity.
            TypeError, ValueError: as :func:`~perspective_broker.cred.identity.checked_key`.
        """

    @abstractmethod
    async def revoke(self, name: str, service: str, perspective: str | None = None) -> None:
        """Remove a key. Arguments as :meth:`grant`.

        Raises:
            UnknownIdentity: there is no such identity.
            UnknownKey: the identity has no such key.
            TypeError, ValueError: as :func:`~perspective_broker.cred.identity.checked_key`.
        """

    @abstractmethod
    def list(self) -> AsyncIterator[Identity]:
        """Iterate over copies of all identities, sorted by name (in code point order).

        An identity that is added or removed meanwhile may appear or not; none appears twice.
        """

    @abstractmethod
    async def iterations(self) -> int:
        """Return the PBKDF2 rounds of new verifiers."""

    @abstractmethod
    async def fake_verifier(self, name: str) -> ScramVerifier:
        """Return the verifier to show for a user that does not exist; always the same for the same name."""

    @abstractmethod
    async def close(self) -> None:
        """Close files, connections and threads. May be called twice."""

    # ------------------------------------------------------------ passwords

    async def create(self, name: str, password: str | None, *, legacy: bool = False) -> Identity:
        """Make and add an identity.

        Args:
            name: the identity's name.
            password: its password; with None it cannot log in until :meth:`set_password`.
            legacy: allow the MD5 logins of 2002 and of today's Twisted for it.

        Returns:
            The identity that was added.

        Raises:
            IdentityExists: an identity of that name exists already.
            TypeError, ValueError: the name or the password is not valid.
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
        """Replace the password. Arguments as :meth:`create`; without ``legacy`` an old MD5 digest is removed.

        Raises:
            UnknownIdentity: there is no such identity.
            TypeError, ValueError: the password is not valid.
        """
        if password is None:
            await self.set_secrets(name, None, None)
        else:
            verifier, digest = await make_secrets(password, legacy=legacy, iterations=await self.iterations())
            await self.set_secrets(name, verifier, digest)

    async def disable(self, name: str) -> None:
        """Forbid logging in. Connections that are logged in already stay so.

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
        """Return the data of a login, so that a user who may not log in looks like one with a wrong password.

        Returns:
            The identity, or None when no login can succeed under that name (unknown, disabled, no password); and the
            verifier to run SCRAM with. This is the identity's own if there is one, otherwise a fake. With None a login
            must fail at its end even if the proof fits. The identity may lack its keys, because an unauthenticated peer
            could measure that reading many takes longer.
        """
        fake = await self.fake_verifier(name)  # made in any case, so that every login costs the same
        try:
            identity = await self.get_secrets(name)
        except IdentityDamaged as error:  # the peer must not notice a difference
            log.error("nobody can log in as %.255a: %s", name, error)
            identity = None
        if identity is None or identity.verifier is None:
            return None, fake
        return (None if identity.disabled else identity), identity.verifier

    async def get_secrets(self, name: str) -> Identity | None:
        """Return the identity as :meth:`get_identity` does, with or without its keys.

        An unauthenticated peer can measure its time. Override it so that it takes the same time for known and unknown
        names, and for any number of keys.
        """
        return await self.get_identity(name)

    async def record_failure(self, name: str, now: float) -> bool | None:
        """Count a failed login.

        Concurrent attempts see each other only if each is counted *before* it is checked. So count first, and call
        :meth:`record_success` or :meth:`record_refusal` afterwards.

        Args:
            name: the name that the peer sent, known or not.
            now: seconds on a monotonic clock (``loop.time()``).

        Returns:
            False if other programs that share the store do not see it before :meth:`record_refusal`.
        """
        self._attempts.record_failure(name, now)
        return True

    async def record_refusal(self, name: str, source: str | None, now: float, *, counted: bool) -> float:
        """Count a login that was checked and refused where other programs see it, if there are any.

        Args:
            name: as of :meth:`record_failure`, which was called before.
            source: where the attempt came from; None where sources cannot be distinguished.
            now: as of :meth:`record_failure`.
            counted: whether others see the failure of the name already.

        Returns:
            The failures from this source that all programs have counted and time has not forgiven; 0.0 when only this
            program counts.
        """
        return 0.0

    async def record_success(self, name: str) -> None:
        """Forget the failed logins of ``name``."""
        self._attempts.record_success(name)

    async def delay_for(self, name: str, now: float) -> float:
        """Return the seconds from ``now`` until a login as ``name`` may be answered; 0.0 for no delay."""
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
