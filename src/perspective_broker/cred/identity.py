"""A user: a name, a secret, and keys to perspectives of services."""

from __future__ import annotations

from collections.abc import Iterable

from .verifiers import DEFAULT_ITERATIONS, LegacyDigest, ScramVerifier, check_legacy, is_too_long, normalize

__all__ = ["MAX_NAME_BYTES", "Identity", "checked_key", "checked_name", "is_possible_name"]

#: Of an identity, a service or a perspective. People and programmers write names; a key of three of them fits
#: an index entry of every database.
MAX_NAME_BYTES = 255


def _checked_text(what: str, text: str) -> str:
    if not isinstance(text, str):
        raise TypeError(f"{what} is text (str), not {type(text).__name__}")
    try:
        size = len(text.encode("utf-8"))
    except UnicodeEncodeError:
        raise ValueError(f"{what} is not Unicode text: it has a lone surrogate") from None
    if not 0 < size <= MAX_NAME_BYTES:
        raise ValueError(f"{what} has 1 to {MAX_NAME_BYTES} bytes, not {size}")
    if "\0" in text:
        raise ValueError(f"{what} has no NUL character")
    return text


def checked_name(name: str) -> str:
    """Return ``name`` when an identity can be called so.

    SCRAM compares names after SASLprep. A name that SASLprep would spell otherwise could never be reached by
    SCRAM and might look like another user's, so it is refused.

    Raises:
        TypeError: it is not a str.
        ValueError: it is empty, longer than :data:`MAX_NAME_BYTES`, has forbidden characters, or is not in
            SASLprep's spelling.
    """
    _checked_text("an identity's name", name)
    if is_too_long(name, MAX_NAME_BYTES):  # so its SASLprep form is another, and not a possible name either
        raise ValueError(f"an identity's name has at most {MAX_NAME_BYTES} bytes in SASLprep form")
    if (normal := normalize(name)) != name:
        raise ValueError(f"{name!a} is not in SASLprep form; use {normal!a}")
    return name


def is_possible_name(name: object) -> bool:
    """Tell whether an identity can have this name; an authorizer need not look for another."""
    try:
        checked_name(name)  # type: ignore[arg-type]
    except (TypeError, ValueError):
        return False
    return True


def checked_key(service: str, perspective: str) -> tuple[str, str]:
    """Return (service, perspective) when it can be a key.

    Raises:
        TypeError: one is not a str.
        ValueError: one is empty, too long, or not storable text (NUL, lone surrogates).
    """
    return _checked_text("a service's name", service), _checked_text("a perspective's name", perspective)


class Identity:
    """A user as an authorizer knows it. What an authorizer returns is a copy: changing it changes no store.

    Attributes:
        name: constant.
        verifier: the SCRAM verifier; None for an identity without a password, which never verifies.
        legacy_digest: for legacy logins; None where they are off.
        disabled: True for an identity that may not log in, whatever its password.
        keys: the (service, perspective) pairs it may attach to.

    Args:
        name: see :func:`checked_name`.
        verifier, legacy_digest, disabled, keys: as above.

    Raises:
        TypeError, ValueError: an argument is not what it should be.
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
            raise TypeError(f"verifier is a ScramVerifier or None, not {type(verifier).__name__}")
        if not isinstance(legacy_digest, LegacyDigest | None):
            raise TypeError(f"legacy_digest is a LegacyDigest or None, not {type(legacy_digest).__name__}")
        if not isinstance(disabled, bool):
            raise TypeError(f"disabled is a bool, not {type(disabled).__name__}")
        self.verifier = verifier
        self.legacy_digest = legacy_digest
        self.disabled = disabled
        self._keys = {checked_key(service, perspective) for service, perspective in keys}
        # Copies share the keys until one of them changes its own: a login copies an identity, and must not take longer
        # for a user with many keys.
        self._shares_keys = False

    @property
    def name(self) -> str:
        """The name; an identity keeps it for life."""
        return self._name

    @property
    def keys(self) -> frozenset[tuple[str, str]]:
        """All (service, perspective) pairs, as they are now."""
        return frozenset(self._keys)

    def has_key(self, service: str, perspective: str) -> bool:
        """Tell whether it may attach to that perspective of that service."""
        return (service, perspective) in self._keys

    def add_key(self, service: str, perspective: str | None = None) -> None:
        """Allow a perspective of a service; allowing it twice changes nothing.

        Args:
            service: the service's name.
            perspective: the perspective's name; the identity's own name when None.

        Raises:
            TypeError, ValueError: as :func:`checked_key`.
        """
        key = checked_key(service, self._name if perspective is None else perspective)
        self._own_keys().add(key)

    def remove_key(self, service: str, perspective: str | None = None) -> None:
        """Take back what :meth:`add_key` gave.

        Raises:
            KeyError: there is no such key.
            TypeError, ValueError: as :func:`checked_key`.
        """
        key = checked_key(service, self._name if perspective is None else perspective)
        self._own_keys().remove(key)

    def _own_keys(self) -> set[tuple[str, str]]:
        """Return the keys of this identity alone, which may be changed."""
        if self._shares_keys:
            self._keys, self._shares_keys = set(self._keys), False
        return self._keys

    def set_password(
        self, password: str, *, legacy: bool = False, iterations: int = DEFAULT_ITERATIONS
    ) -> None:
        """Replace the secrets. Costs CPU: on an event loop use :meth:`Authorizer.set_password`.

        Args:
            password: text.
            legacy: keep the MD5 digest for legacy logins too. Without it an old digest goes away.
            iterations: PBKDF2 rounds.

        Raises:
            TypeError, ValueError: as :meth:`ScramVerifier.from_password`. Nothing has changed then.
        """
        verifier = ScramVerifier.from_password(password, iterations=iterations)
        self.legacy_digest = LegacyDigest.from_password(password) if legacy else None
        self.verifier = verifier

    def verify_password(self, password: str) -> bool:
        """Tell whether it may log in with this password. Costs CPU: wrap it in ``asyncio.to_thread``.

        Raises:
            TypeError: the password is not a str.
        """
        fits = self.verifier is not None and self.verifier.check(password)
        return fits and not self.disabled

    def verify_legacy(self, challenge: bytes, response: bytes) -> bool:
        """Tell whether it may log in with this response to a legacy challenge; False where that is off."""
        fits = check_legacy(self.legacy_digest, challenge, response)
        return fits and not self.disabled

    def copy(self) -> Identity:
        """Return another Identity with the same content."""
        other = Identity.__new__(Identity)  # all was checked before
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

    __hash__ = None  # type: ignore[assignment]  # it can change

    def __repr__(self) -> str:
        return f"<Identity {self._name!a}{' disabled' if self.disabled else ''}, {len(self._keys)} keys>"
