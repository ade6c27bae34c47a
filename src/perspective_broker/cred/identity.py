"""Identity: a user with a name, secrets, and keys to perspectives of services."""

from __future__ import annotations

from collections.abc import Iterable
from typing import ClassVar

from .saslprep import is_too_long, normalize
from .verifiers import DEFAULT_ITERATIONS, LegacyDigest, ScramVerifier, check_legacy

__all__ = ["MAX_NAME_BYTES", "Identity", "checked_key", "checked_name", "is_possible_name"]

#: Bytes of the name of an identity, a service or a perspective. People and programmers write names, and a key of three
#: of them fits into an index entry of every database.
MAX_NAME_BYTES = 255


def _checked_text(what: str, text: str) -> str:
    if not isinstance(text, str):
        raise TypeError(f"{what}: must be a str, not {type(text).__name__}")
    try:
        size = len(text.encode("utf-8"))
    except UnicodeEncodeError:
        raise ValueError(f"{what}: must be Unicode text, without lone surrogates") from None
    if not 0 < size <= MAX_NAME_BYTES:
        raise ValueError(f"{what}: must have 1 to {MAX_NAME_BYTES} bytes in UTF-8, not {size}")
    if "\0" in text:
        raise ValueError(f"{what}: must not contain a NUL character")
    return text


def checked_name(name: str) -> str:
    """Return ``name`` if it is a valid name of an identity.

    SCRAM compares names after SASLprep. A name that SASLprep changes could never log in by SCRAM and might look like
    the name of another user, so it is refused.

    Raises:
        TypeError: it is not a str.
        ValueError: it is empty, longer than :data:`MAX_NAME_BYTES`, has forbidden characters, or is not in SASLprep
            form.
    """
    _checked_text("identity name", name)
    if is_too_long(name, MAX_NAME_BYTES):  # then its SASLprep form differs, and is not a valid name either
        raise ValueError(f"identity name: at most {MAX_NAME_BYTES} bytes in SASLprep form")
    if (normal := normalize(name)) != name:
        raise ValueError(f"identity name: {name!a} is not in SASLprep form; use {normal!a}")
    return name


def is_possible_name(name: object) -> bool:
    """Return whether an identity can have this name; an authorizer need not search for any other."""
    try:
        checked_name(name)  # type: ignore[arg-type]
    except (TypeError, ValueError):
        return False
    return True


def checked_key(service: str, perspective: str) -> tuple[str, str]:
    """Return (service, perspective) if it is a valid key.

    Raises:
        TypeError: one is not a str.
        ValueError: one is empty, too long, or not storable text (NUL, lone surrogates).
    """
    return _checked_text("service name", service), _checked_text("perspective name", perspective)


class Identity:
    """A user in a store. An authorizer returns copies: changing one does not change the store.

    Attributes:
        name: the user's name, which cannot change.
        verifier: the SCRAM verifier; None for an identity without a password.
        legacy_digest: the digest for MD5 logins; None if these are not allowed.
        disabled: True for an identity that may not log in, whatever its password.
        keys: the (service, perspective) pairs to which it may attach.

    Args:
        name: see :func:`checked_name`.
        verifier: as above.
        legacy_digest: as above.
        disabled: as above.
        keys: as above.

    Raises:
        TypeError, ValueError: an argument is not valid.
    """

    __slots__ = ("_keys", "_name", "_shares_keys", "disabled", "legacy_digest", "verifier")

    def __init__(
        self,
        name: str,
        *,
        verifier: ScramVerifier | None = None,
        legacy_digest: LegacyDigest | None = None,
        disabled: bool = False,
        keys: Iterable[tuple[str, str]] = (),
    ) -> None:
        self._name = checked_name(name)
        if not isinstance(verifier, ScramVerifier | None):
            raise TypeError(f"verifier: must be a ScramVerifier or None, not {type(verifier).__name__}")
        if not isinstance(legacy_digest, LegacyDigest | None):
            raise TypeError(
                f"legacy_digest: must be a LegacyDigest or None, not {type(legacy_digest).__name__}"
            )
        if not isinstance(disabled, bool):
            raise TypeError(f"disabled: must be a bool, not {type(disabled).__name__}")
        self.verifier = verifier
        self.legacy_digest = legacy_digest
        self.disabled: bool = disabled
        self._keys = {checked_key(service, perspective) for service, perspective in keys}
        # Copies share the keys until one of them changes its own, because a login copies an identity and must not take
        # longer for a user with many keys.
        self._shares_keys = False

    @property
    def name(self) -> str:
        """The name, which cannot change."""
        return self._name

    @property
    def keys(self) -> frozenset[tuple[str, str]]:
        """All (service, perspective) pairs, a snapshot."""
        return frozenset(self._keys)

    def has_key(self, service: str, perspective: str) -> bool:
        """Return whether it may attach to that perspective of that service."""
        return (service, perspective) in self._keys

    def add_key(self, service: str, perspective: str | None = None) -> None:
        """Add the key to a perspective of a service; a second time changes nothing.

        Args:
            service: the service's name.
            perspective: the perspective's name; the identity's own name when None.

        Raises:
            TypeError, ValueError: as :func:`checked_key`.
        """
        key = checked_key(service, self._name if perspective is None else perspective)
        self._own_keys().add(key)

    def remove_key(self, service: str, perspective: str | None = None) -> None:
        """Remove a key. Arguments as :meth:`add_key`.

        Raises:
            KeyError: it has no such key.
            TypeError, ValueError: as :func:`checked_key`.
        """
        key = checked_key(service, self._name if perspective is None else perspective)
        self._own_keys().remove(key)

    def _own_keys(self) -> set[tuple[str, str]]:
        """Return the keys, not shared with a copy any more, to change them."""
        if self._shares_keys:
            self._keys, self._shares_keys = set(self._keys), False
        return self._keys

    def set_password(
        self, password: str, *, legacy: bool = False, iterations: int = DEFAULT_ITERATIONS
    ) -> None:
        """Replace the secrets. Costs CPU time: on an event loop use :meth:`Authorizer.set_password`.

        Args:
            password: the new password.
            legacy: keep an MD5 digest for legacy logins, too. Without it an old digest is removed.
            iterations: PBKDF2 rounds.

        Raises:
            TypeError, ValueError: as :meth:`ScramVerifier.from_password`; then nothing has changed.
        """
        verifier = ScramVerifier.from_password(password, iterations=iterations)
        self.legacy_digest = LegacyDigest.from_password(password) if legacy else None
        self.verifier = verifier

    def verify_password(self, password: str) -> bool:
        """Return whether it may log in with this password. Costs CPU time: call it by ``asyncio.to_thread``.

        Raises:
            TypeError: the password is not a str.
        """
        fits = self.verifier is not None and self.verifier.check(password)
        return fits and not self.disabled

    def verify_legacy(self, challenge: bytes, response: bytes) -> bool:
        """Return whether it may log in with this response to an MD5 challenge; False without a digest."""
        fits = check_legacy(self.legacy_digest, challenge, response)
        return fits and not self.disabled

    def copy(self) -> Identity:
        """Return another Identity with the same content."""
        other = Identity.__new__(Identity)  # everything was checked before
        other._name, other._keys = self._name, self._keys
        self._shares_keys = other._shares_keys = True
        other.verifier, other.legacy_digest, other.disabled = self.verifier, self.legacy_digest, self.disabled
        return other

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Identity):
            return NotImplemented
        return (self._name, self.verifier, self.legacy_digest, self.disabled, self._keys) == (
            other._name,
            other.verifier,
            other.legacy_digest,
            other.disabled,
            other._keys,
        )

    __hash__: ClassVar[None] = None  # type: ignore[assignment]  # it can change

    def __repr__(self) -> str:
        return f"<Identity {self._name!a}{' disabled' if self.disabled else ''}, {len(self._keys)} keys>"
