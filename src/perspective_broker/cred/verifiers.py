"""Verifiers: what a store keeps instead of a password, and the computations with it.

A :class:`ScramVerifier` is what a server of SCRAM-SHA-256 (RFC 5802, RFC 7677) stores: enough to check a login, not
enough to log in. A :class:`LegacyDigest` is the MD5 for the logins of 2002 and of today's Twisted. Anyone who reads it
*can* log in that way, so it exists only where ``legacy=True`` was given.

Nothing here shows a secret in its ``repr``, in a log or in an exception.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import hashlib
import hmac
import math
import secrets
from collections.abc import Mapping
from dataclasses import dataclass

from .saslprep import normalize

__all__ = [
    "DEFAULT_ITERATIONS",
    "MAX_ITERATIONS",
    "MAX_PASSWORD_BYTES",
    "MIN_ITERATIONS",
    "MIN_SALT_BYTES",
    "LegacyDigest",
    "ScramVerifier",
    "check_legacy",
    "checked_iterations",
    "fake_verifier",
    "legacy_response",
    "make_secrets",
    "salted_keys",
]

#: PBKDF2 rounds of a new verifier. OWASP's figure for PBKDF2-HMAC-SHA256 (Password Storage Cheat Sheet, since 2023), 40
#: times the figure that RFC 7677 called a tenth of a second's work in 2015. It is the price of each guess for a thief
#: of the store. The server pays it when a password is set, the *client* at each login: 0.26 s on an EPYC core.
DEFAULT_ITERATIONS = 600_000

#: RFC 7677, section 4: "SHOULD be at least 4096".
MIN_ITERATIONS = 4096

#: Ten million rounds keep a client busy for about four seconds.
MAX_ITERATIONS = 10_000_000

#: Longer passwords are refused, because SASLprep looks at every character in Python.
MAX_PASSWORD_BYTES = 1024

#: 128 bits, as NIST SP 800-132 asks.
_SALT_BYTES = 16

#: Bytes of a salt that another program has made: SCRAM libraries refuse fewer.
MIN_SALT_BYTES = 12

_KEY_BYTES = hashlib.sha256().digest_size
_SCHEME = "SCRAM-SHA-256"


def checked_iterations(iterations: int) -> int:
    """Return ``iterations`` if it is a valid number of PBKDF2 rounds.

    Raises:
        TypeError: it is not an int.
        ValueError: it is out of range.
    """
    if type(iterations) is not int:
        raise TypeError(f"iterations: must be an int, not {type(iterations).__name__}")
    if not MIN_ITERATIONS <= iterations <= MAX_ITERATIONS:
        raise ValueError(f"iterations: must be {MIN_ITERATIONS} to {MAX_ITERATIONS}, not {iterations}")
    return iterations


def salted_keys(password: bytes, salt: bytes, iterations: int) -> tuple[bytes, bytes]:
    """Return the client key and the server key of a password (RFC 5802, section 3). Costs CPU time.

    Args:
        password: in SASLprep form and UTF-8.
        salt: random bytes.
        iterations: PBKDF2 rounds.
    """
    salted = hashlib.pbkdf2_hmac("sha256", password, salt, iterations)
    return hmac.digest(salted, b"Client Key", "sha256"), hmac.digest(salted, b"Server Key", "sha256")


def _checked_password(password: str) -> str:
    """Return the SASLprep form of a password.

    Raises:
        TypeError, ValueError: it is not a valid password.
    """
    if not isinstance(password, str):
        raise TypeError(f"password: must be a str, not {type(password).__name__}")
    # SASLprep refuses lone surrogates.
    if len(password.encode("utf-8", "surrogatepass")) > MAX_PASSWORD_BYTES:
        raise ValueError(f"password: at most {MAX_PASSWORD_BYTES} bytes")
    prepared = normalize(password)
    if not prepared:
        raise ValueError("password: must not be empty or consist of invisible characters")
    return prepared


@dataclass(frozen=True, slots=True, repr=False)
class ScramVerifier:
    """The data that a server stores of a password for SCRAM-SHA-256. Immutable; compares by value.

    Attributes:
        salt: at least 12 bytes.
        iterations: PBKDF2 rounds, :data:`MIN_ITERATIONS` to :data:`MAX_ITERATIONS`.
        stored_key: SHA-256 of the client key, 32 bytes: checks the client's proof.
        server_key: 32 bytes: signs the server's answer.

    Raises:
        TypeError, ValueError: a part has another type or size.
    """

    salt: bytes
    iterations: int
    stored_key: bytes
    server_key: bytes

    def __post_init__(self) -> None:
        checked_iterations(self.iterations)
        for name, part in (
            ("salt", self.salt),
            ("stored_key", self.stored_key),
            ("server_key", self.server_key),
        ):
            if type(part) is not bytes:
                raise TypeError(f"{name}: must be bytes, not {type(part).__name__}")
        if len(self.salt) < MIN_SALT_BYTES:
            raise ValueError(f"salt: at least {MIN_SALT_BYTES} bytes")
        if len(self.stored_key) != _KEY_BYTES or len(self.server_key) != _KEY_BYTES:
            raise ValueError(f"stored_key, server_key: must have {_KEY_BYTES} bytes")

    @classmethod
    def from_password(
        cls, password: str, *, iterations: int = DEFAULT_ITERATIONS, salt: bytes | None = None
    ) -> ScramVerifier:
        """Make the verifier of ``password``. Costs CPU time (:data:`DEFAULT_ITERATIONS`): not for an event loop.

        Args:
            password: the password, to which SASLprep is applied.
            iterations: PBKDF2 rounds.
            salt: new random bytes when None.

        Raises:
            TypeError: the password is not a str, or the salt not bytes.
            ValueError: the password is empty, too long or has characters that SASLprep forbids; or the salt or the
                iterations are out of range.
        """
        prepared = _checked_password(password).encode()
        checked_iterations(iterations)
        if salt is None:
            salt = secrets.token_bytes(_SALT_BYTES)
        elif type(salt) is not bytes:
            raise TypeError(f"salt: must be bytes, not {type(salt).__name__}")
        client_key, server_key = salted_keys(prepared, salt, iterations)
        return cls(salt, iterations, hashlib.sha256(client_key).digest(), server_key)

    def check(self, password: str) -> bool:
        """Return whether this is the verifier of ``password``. Costs as much as :meth:`from_password`.

        Raises:
            TypeError: the password is not a str. A password that is not valid is merely wrong.
        """
        try:
            other = type(self).from_password(password, iterations=self.iterations, salt=self.salt)
        except ValueError:
            return False
        return hmac.compare_digest(other.stored_key, self.stored_key)

    def encode(self) -> str:
        """Return ``SCRAM-SHA-256$iterations:salt$stored:server``, PostgreSQL's form of RFC 5803."""
        salt, stored, server = (
            base64.b64encode(part).decode("ascii") for part in (self.salt, self.stored_key, self.server_key)
        )
        return f"{_SCHEME}${self.iterations}:{salt}${stored}:{server}"

    @classmethod
    def decode(cls, text: str) -> ScramVerifier:
        """Return the verifier from the text of :meth:`encode` (or of PostgreSQL).

        Raises:
            ValueError: the text has another form. The message does not contain the text.
        """
        try:
            scheme, parameters, keys = text.split("$")
            iterations, salt = parameters.split(":")
            stored, server = keys.split(":")
            if scheme == _SCHEME and iterations.isascii() and iterations.isdigit():
                return cls(
                    base64.b64decode(salt, validate=True),
                    int(iterations),
                    base64.b64decode(stored, validate=True),
                    base64.b64decode(server, validate=True),
                )
        except (ValueError, binascii.Error):
            pass
        raise ValueError(f"verifier: must be the text of a {_SCHEME} verifier")

    def __repr__(self) -> str:
        return "<ScramVerifier, hidden>"


@dataclass(frozen=True, slots=True, repr=False)
class LegacyDigest:
    """MD5 of a password, for the logins of 2002 and of today's Twisted. Immutable.

    Attributes:
        digest: 16 bytes. It is as good as the password for such a login, so keep it as secret.

    Raises:
        TypeError, ValueError: the digest is not 16 bytes.
    """

    digest: bytes

    def __post_init__(self) -> None:
        if type(self.digest) is not bytes:
            raise TypeError(f"digest: must be bytes, not {type(self.digest).__name__}")
        if len(self.digest) != 16:
            raise ValueError("digest: must have 16 bytes")

    @classmethod
    def from_password(cls, password: str) -> LegacyDigest:
        """Make the digest of ``password`` in UTF-8, without SASLprep, which such peers do not apply.

        Raises:
            TypeError: the password is not a str.
            ValueError: it is empty or too long, or not Unicode text (lone surrogates).
        """
        _checked_password(password)
        return cls(_md5(password.encode("utf-8")))

    def check(self, challenge: bytes, response: bytes) -> bool:
        """Return whether ``response`` is md5(md5(password) + challenge), in constant time."""
        return hmac.compare_digest(_md5(self.digest + challenge), response)

    def __repr__(self) -> str:
        return "<LegacyDigest, hidden>"


def check_legacy(digest: LegacyDigest | None, challenge: bytes, response: bytes) -> bool:
    """Return whether a response of an MD5 login fits; False without a digest, for the same work.

    Args:
        digest: None for an unknown user, or for one without legacy login.
        challenge: the bytes that were sent.
        response: the peer's answer.
    """
    fits = (_UNKNOWN_USER if digest is None else digest).check(challenge, response)
    return fits and digest is not None


def legacy_response(password: str, challenge: bytes) -> bytes:
    """Return md5(md5(password) + challenge), the client's response in an MD5 login.

    Raises:
        TypeError, ValueError: as :meth:`LegacyDigest.from_password`.
    """
    return _md5(LegacyDigest.from_password(password).digest + challenge)


async def make_secrets(
    password: str, *, legacy: bool = False, iterations: int = DEFAULT_ITERATIONS
) -> tuple[ScramVerifier, LegacyDigest | None]:
    """Make the secrets of a password in a worker thread (PBKDF2 releases the interpreter's lock).

    Args:
        password: the password.
        legacy: make the MD5 digest, too.
        iterations: PBKDF2 rounds.

    Returns:
        The verifier, and the digest if ``legacy`` is True.

    Raises:
        TypeError, ValueError: as :meth:`ScramVerifier.from_password`.
    """
    verifier = await asyncio.to_thread(ScramVerifier.from_password, password, iterations=iterations)
    return verifier, LegacyDigest.from_password(password) if legacy else None


def fake_verifier(
    key: bytes, name: str, *, iterations: int = DEFAULT_ITERATIONS, in_use: Mapping[int, int] | None = None
) -> ScramVerifier:
    """Make the verifier to show for a user that does not exist; no password fits it.

    A peer that tries the same name twice must see the same salt twice, as with a real user, and as many rounds as a
    real user may have. So everything is derived from the name under a random key that never leaves the store. When the
    rounds of a name change, its salt changes too, as when a user gets a new password.

    Args:
        key: random bytes that belong to the store and stay the same over restarts.
        name: the name that the peer sent.
        iterations: the rounds to show if no user has a verifier.
        in_use: rounds of the real verifiers -> how many users have them.
    """
    encoded = name.encode("utf-8", "surrogatepass")
    rounds = _likely_rounds(key, encoded, in_use) if in_use else iterations

    def derived(purpose: bytes) -> bytes:
        return hmac.digest(key, purpose + encoded, "sha256")

    return ScramVerifier(
        derived(b"salt %d:" % rounds)[:_SALT_BYTES], rounds, derived(b"stored:"), derived(b"server:")
    )


def _likely_rounds(key: bytes, name: bytes, in_use: Mapping[int, int]) -> int:
    """Return rounds for a name, each number about as often as users have it.

    By weighted rendezvous hashing: when users change from one number to another, some names change in the same
    direction, and never back. Weights are powers of two, so that names change seldom.
    """

    def score(rounds: int) -> float:
        digest = hmac.digest(key, b"rounds %d:" % rounds + name, "sha256")
        draw = (int.from_bytes(digest[:8], "big") + 1) / (2**64 + 2)
        return (1 << in_use[rounds].bit_length()) / -math.log(draw)

    return max(in_use, key=score)


def _md5(data: bytes) -> bytes:
    # The protocol requires MD5. With this flag a FIPS build of OpenSSL allows it.
    return hashlib.md5(data, usedforsecurity=False).digest()


#: The digest of unknown users: random, new in each process.
_UNKNOWN_USER = LegacyDigest(secrets.token_bytes(16))
