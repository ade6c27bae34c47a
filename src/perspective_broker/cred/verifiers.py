"""What is kept instead of a password, and what is computed from it.

A :class:`ScramVerifier` is what SCRAM-SHA-256 (RFC 5802, RFC 7677) lets a server keep: enough to check a
login, not enough to log in. A :class:`LegacyDigest` is the MD5 that the logins of 2002 and of today's Twisted
need; whoever reads it *can* log in the legacy way, therefore it exists only where it was asked for.

Nothing here shows a secret in its ``repr``, writes one to a log or puts one in an exception.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import hashlib
import hmac
import math
import secrets
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass

__all__ = [
    "DEFAULT_ITERATIONS",
    "MAX_ITERATIONS",
    "MAX_PASSWORD_BYTES",
    "MIN_ITERATIONS",
    "LegacyDigest",
    "ScramVerifier",
    "check_legacy",
    "checked_iterations",
    "fake_verifier",
    "is_too_long",
    "legacy_response",
    "make_secrets",
    "normalize",
]

#: PBKDF2 rounds of a new verifier. OWASP's figure for PBKDF2-HMAC-SHA256 (Password Storage Cheat Sheet, since
#: 2023), 40 times what RFC 7677 named a tenth of a second's work in 2015. It prices each guess of a thief of
#: the store. The server pays it once per password set, the *client* at each login: 0.26 s on an EPYC core.
DEFAULT_ITERATIONS = 600_000

#: RFC 7677, section 4: "SHOULD be at least 4096"; the SCRAM library refuses less.
MIN_ITERATIONS = 4096

#: Ten million rounds keep a client busy for about four seconds; the SCRAM library refuses more.
MAX_ITERATIONS = 10_000_000

#: Longer passwords are refused: SASLprep looks at every character in Python.
MAX_PASSWORD_BYTES = 1024

#: 128 bits, as NIST SP 800-132 asks; the SCRAM library refuses fewer than 12 bytes.
_SALT_BYTES = 16
_KEY_BYTES = hashlib.sha256().digest_size
_SCHEME = "SCRAM-SHA-256"


def checked_iterations(iterations: int) -> int:
    """Return ``iterations`` when PBKDF2 may be asked for so many.

    Raises:
        TypeError: it is not an int.
        ValueError: it is out of range.
    """
    if type(iterations) is not int:
        raise TypeError(f"iterations is an int, not {type(iterations).__name__}")
    if not MIN_ITERATIONS <= iterations <= MAX_ITERATIONS:
        raise ValueError(f"iterations must be {MIN_ITERATIONS} to {MAX_ITERATIONS}, not {iterations}")
    return iterations


def is_too_long(text: str, most_bytes: int) -> bool:
    """Return whether a text may have more bytes than that (in UTF-8) when SASLprep has spelled it.

    SASLprep looks at every character in Python, and makes up to eleven times as much of what a stranger sends. The part
    of it that does so is NFKC, which is in C.
    """
    if len(text) > 4 * most_bytes:  # no four characters become less than one byte
        return True
    longest = unicodedata.ucd_3_2_0.normalize("NFKC", text)
    return len(longest.encode("utf-8", "surrogatepass")) > most_bytes


def normalize(text: str) -> str:
    """Return ``text`` as SASLprep (RFC 4013) spells it, the form in which SCRAM compares names and passwords.

    It costs time for every character of the result: ask :func:`is_too_long` first of a text that a stranger sent.

    Raises:
        ValueError: when SASLprep forbids a character of it (control characters, lone surrogates, characters
            newer than Unicode 3.2). The text itself is not in the message: it may be a password.
    """
    if text.isascii() and text.isprintable():
        return text  # SASLprep leaves printable ASCII alone; spares most programs the import below
    # Imported late: with the X.509 parser it brings along it costs 0.15 s, which only a login should pay.
    from scramp import ScramException
    from scramp.utils import saslprep

    try:
        return str(saslprep(text))
    except ScramException as error:
        raise ValueError(f"SASLprep forbids this text: {error.args[0]}") from None


def _checked_password(password: str) -> str:
    if not isinstance(password, str):
        raise TypeError(f"a password is text (str), not {type(password).__name__}")
    # Lone surrogates are left to SASLprep to refuse.
    if len(password.encode("utf-8", "surrogatepass")) > MAX_PASSWORD_BYTES:
        raise ValueError(f"a password has at most {MAX_PASSWORD_BYTES} bytes")
    if not normalize(password):
        raise ValueError("a password is not empty, and not made of invisible characters alone")
    return password


@dataclass(frozen=True, slots=True, repr=False)
class ScramVerifier:
    """What a server keeps of a password for SCRAM-SHA-256. Immutable; compares by value.

    Attributes:
        salt: at least 12 bytes.
        iterations: PBKDF2 rounds, :data:`MIN_ITERATIONS` to :data:`MAX_ITERATIONS`.
        stored_key: SHA-256 of the client key, 32 bytes: checks the client's proof.
        server_key: 32 bytes: signs the server's answer.

    Raises:
        TypeError, ValueError: when a part is of another type or size.
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
                raise TypeError(f"{name} is bytes, not {type(part).__name__}")
        if len(self.salt) < 12:
            raise ValueError("a salt has at least 12 bytes")
        if len(self.stored_key) != _KEY_BYTES or len(self.server_key) != _KEY_BYTES:
            raise ValueError(f"stored_key and server_key have {_KEY_BYTES} bytes")

    @classmethod
    def from_password(
        cls, password: str, *, iterations: int = DEFAULT_ITERATIONS, salt: bytes | None = None
    ) -> ScramVerifier:
        """Make the verifier of ``password``. Costs CPU, see :data:`DEFAULT_ITERATIONS`: not for an event
        loop.

        Args:
            password: text; SASLprep is applied.
            iterations: PBKDF2 rounds.
            salt: fresh random bytes when None.

        Raises:
            TypeError: the password is not a str, or the salt not bytes.
            ValueError: the password is empty, too long or has characters that SASLprep forbids, or the salt
                or the iterations are out of range.
        """
        from scramp import ScramException, ScramMechanism

        _checked_password(password)
        checked_iterations(iterations)
        try:
            made = ScramMechanism(_SCHEME).make_auth_info(
                password,
                iteration_count=iterations,
                salt=secrets.token_bytes(_SALT_BYTES) if salt is None else salt,
            )
        except ScramException as error:
            raise ValueError(str(error.args[0])) from None
        made_salt, stored_key, server_key, made_iterations = made
        return cls(made_salt, made_iterations, stored_key, server_key)

    def check(self, password: str) -> bool:
        """Tell whether ``password`` is the one this was made of. Costs what making it did: not for an event
        loop.

        Raises:
            TypeError: the password is not a str. Impossible passwords are merely wrong.
        """
        try:
            other = type(self).from_password(password, iterations=self.iterations, salt=self.salt)
        except ValueError:
            return False
        return hmac.compare_digest(other.stored_key, self.stored_key)

    def auth_info(self) -> tuple[bytes, bytes, bytes, int]:
        """Return (salt, stored key, server key, iterations): what ``scramp`` asks a server for."""
        return self.salt, self.stored_key, self.server_key, self.iterations

    def encode(self) -> str:
        """Return ``SCRAM-SHA-256$iterations:salt$stored:server``, PostgreSQL's form of RFC 5803."""
        salt, stored, server = (
            base64.b64encode(part).decode("ascii") for part in (self.salt, self.stored_key, self.server_key)
        )
        return f"{_SCHEME}${self.iterations}:{salt}${stored}:{server}"

    @classmethod
    def decode(cls, text: str) -> ScramVerifier:
        """Read what :meth:`encode` (or PostgreSQL) wrote.

        Raises:
            ValueError: it is something else. The message does not contain the text.
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
        raise ValueError(f"not a {_SCHEME} verifier")

    def __repr__(self) -> str:
        return "<ScramVerifier, hidden>"


@dataclass(frozen=True, slots=True, repr=False)
class LegacyDigest:
    """MD5 of a password, for the challenge and response of 2002 and of today's Twisted. Immutable.

    Attributes:
        digest: 16 bytes. As good as the password for a legacy login: keep it as secret.

    Raises:
        TypeError, ValueError: the digest is not 16 bytes.
    """

    digest: bytes

    def __post_init__(self) -> None:
        if type(self.digest) is not bytes:
            raise TypeError(f"a digest is bytes, not {type(self.digest).__name__}")
        if len(self.digest) != 16:
            raise ValueError("an MD5 digest has 16 bytes")

    @classmethod
    def from_password(cls, password: str) -> LegacyDigest:
        """Make the digest of ``password`` as UTF-8, without SASLprep: the peers of old apply none.

        Raises:
            TypeError: the password is not a str.
            ValueError: it is empty or too long, or not Unicode text (lone surrogates).
        """
        return cls(_md5(_checked_password(password).encode("utf-8")))

    def check(self, challenge: bytes, response: bytes) -> bool:
        """Tell whether ``response`` is md5(md5(password) + challenge), in constant time."""
        return hmac.compare_digest(_md5(self.digest + challenge), response)

    def __repr__(self) -> str:
        return "<LegacyDigest, hidden>"


def check_legacy(digest: LegacyDigest | None, challenge: bytes, response: bytes) -> bool:
    """Check a legacy response; where there is no digest, the answer is False for the same price.

    Args:
        digest: None for an unknown user, or one without legacy login.
        challenge: the bytes that were sent.
        response: what came back.
    """
    fits = (_NOBODY if digest is None else digest).check(challenge, response)
    return fits and digest is not None


def legacy_response(password: str, challenge: bytes) -> bytes:
    """Return md5(md5(password) + challenge), the client's part of a legacy login.

    Raises:
        TypeError, ValueError: as :meth:`LegacyDigest.from_password`.
    """
    return _md5(LegacyDigest.from_password(password).digest + challenge)


async def make_secrets(
    password: str, *, legacy: bool = False, iterations: int = DEFAULT_ITERATIONS
) -> tuple[ScramVerifier, LegacyDigest | None]:
    """Make what is stored for a password, in a worker thread (PBKDF2 lets go of the interpreter's lock).

    Args:
        password: text.
        legacy: make the MD5 digest too.
        iterations: PBKDF2 rounds.

    Returns:
        The verifier, and the digest where ``legacy`` asked for it.

    Raises:
        TypeError, ValueError: as :meth:`ScramVerifier.from_password`.
    """
    verifier = await asyncio.to_thread(ScramVerifier.from_password, password, iterations=iterations)
    return verifier, LegacyDigest.from_password(password) if legacy else None


def fake_verifier(
    key: bytes, name: str, *, iterations: int = DEFAULT_ITERATIONS, in_use: Mapping[int, int] | None = None
) -> ScramVerifier:
    """Make the verifier to show for a user that does not exist; no password fits it.

    A stranger who asks for the same name twice must see the same salt twice, as with a real user, and as many rounds as
    a real user may have. So everything is derived from the name under a random key which never leaves the store. When
    the rounds of a name change, its salt does too, as when a user gets a new password.

    Args:
        key: random bytes that belong to the store and stay the same over restarts.
        name: whatever the stranger sent.
        iterations: the rounds to show where no user has any.
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
    """Return rounds for a name, about as often as users have them.

    By weighted rendezvous: when users change from one number to another, names follow from the one to the other, and
    none goes back and forth. Weights are powers of two, so names follow seldom.
    """

    def score(rounds: int) -> float:
        digest = hmac.digest(key, b"rounds %d:" % rounds + name, "sha256")
        draw = (int.from_bytes(digest[:8], "big") + 1) / (2**64 + 2)
        return (1 << in_use[rounds].bit_length()) / -math.log(draw)

    return max(in_use, key=score)


def _md5(data: bytes) -> bytes:
    # Not a choice but the protocol's: said so, a FIPS build of OpenSSL lets it pass.
    return hashlib.md5(data, usedforsecurity=False).digest()


#: Fits no password that anyone knows, made anew in each process.
_NOBODY = LegacyDigest(secrets.token_bytes(16))
