"""SCRAM-SHA-256 (RFC 5802, RFC 7677): the messages of both sides.

Over TLS the exchange is bound to the channel, so that a man in the middle who relays it over another TLS connection
fails. Of the bindings, ``tls-exporter`` (RFC 9266) would be the best, but Python's ``ssl`` offers no exporter, and
``tls-unique`` is not defined for TLS 1.3. The binding used is therefore ``tls-server-end-point`` (RFC 5929), the hash
of the certificate that the server shows: it stops everyone without that certificate's key.

A client that supports binding and believes that the server does not sends the ``y`` flag, protected by its proof. A
server that supports binding refuses it, because a man in the middle has downgraded the login.

The exchange is written here, against ``hashlib`` and ``hmac``, because no library for it lets a server read the user's
name before it has the verifier, which comes from a database, and none lets a client keep the keys of a password, which
cost it half a second. The tests compare every step with such a library, and with the examples of the RFCs.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import re
import secrets
from dataclasses import dataclass
from typing import Final, NoReturn

from ..errors import LoginFailed
from .identity import MAX_NAME_BYTES
from .saslprep import is_too_long, normalize
from .verifiers import MAX_ITERATIONS, MIN_ITERATIONS, MIN_SALT_BYTES, ScramVerifier, salted_keys

__all__ = [
    "BOUND",
    "MAX_MESSAGE_BYTES",
    "UNBOUND",
    "Challenge",
    "ClientExchange",
    "ClientKeys",
    "ServerExchange",
]

UNBOUND: Final = "SCRAM-SHA-256"
BOUND: Final = "SCRAM-SHA-256-PLUS"

_BINDING: Final = "tls-server-end-point"

#: Bytes of one message: a name of 255 bytes, each of three when it is escaped, and two nonces.
MAX_MESSAGE_BYTES: Final = 1024

#: Random bytes of a nonce. RFC 5802 names no number; this is more than the 128 bits that a key has.
_NONCE_BYTES: Final = 18

#: ``r=``: printable ASCII without the comma (RFC 5802, section 7).
_NONCE: Final = re.compile(r"[!-+\--~]+")

#: In a name, ``=`` is ``=3D`` and ``,`` is ``=2C``, and no other ``=`` may occur (RFC 5802, section 5.1).
_BAD_ESCAPE: Final = re.compile(r"=(?!2C|3D)")

_ROUNDS: Final = re.compile(r"[1-9][0-9]{0,18}")

#: The attributes that RFC 5802 defines; others are extensions, which the receiver ignores.
_DEFINED: Final = frozenset("anmrcsipve")


def _malformed() -> LoginFailed:
    return LoginFailed("malformed message")


def _text(message: object) -> str:
    """Return a message as text.

    Raises:
        LoginFailed: it is not text, or is too long.
    """
    try:
        if type(message) is bytes:
            message = message.decode()
        elif type(message) is str:
            message.encode()
    except UnicodeError:
        raise _malformed() from None
    if type(message) is not str or len(message) > MAX_MESSAGE_BYTES:
        raise _malformed()
    return message


def _values(message: str, first: str, last: str = "") -> list[str]:
    """Return the values of the attributes that a message must have.

    Args:
        message: attributes, with commas between them.
        first: the letters of those with which it begins. Extensions follow, which are skipped.
        last: the letters of those with which it ends.

    Raises:
        LoginFailed: it has other attributes, or not in this order.
    """
    parts = message.split(",")
    letters = "".join([part[0] for part in parts if part[1:2] == "=" and len(part) > 2])
    end = len(letters) - len(last)
    extensions = letters[len(first) : end]
    if (
        len(letters) != len(parts)
        or len(letters) < len(first) + len(last)
        or letters[: len(first)] != first
        or letters[end:] != last
        or "\0" in message
        or (extensions and not _are_extensions(extensions))
    ):
        raise _malformed()
    return [part[2:] for part in (*parts[: len(first)], *parts[end:])]


def _are_extensions(letters: str) -> bool:
    unique = set(letters)
    return letters.isascii() and letters.isalpha() and len(unique) == len(letters) and not unique & _DEFINED


def _bytes(text: str) -> bytes:
    """Decode base64.

    Raises:
        LoginFailed: the text is not in base64.
    """
    try:
        return base64.b64decode(text, validate=True)
    except (ValueError, binascii.Error):
        raise _malformed() from None


def _base64(data: bytes) -> str:
    return binascii.b2a_base64(data, newline=False).decode("ascii")


def _xor(one: bytes, other: bytes) -> bytes:
    return (int.from_bytes(one, "big") ^ int.from_bytes(other, "big")).to_bytes(len(one), "big")


def _hmac(key: bytes, message: bytes) -> bytes:
    return hmac.digest(key, message, "sha256")


def _random_nonce() -> str:
    return secrets.token_urlsafe(_NONCE_BYTES)


class ServerExchange:
    """The server's side of a login.

    Args:
        mechanism: :data:`BOUND` or :data:`UNBOUND`.
        client_first: the client's first message.
        binding: the data of the channel binding; None without one.
        nonce: of this side, printable ASCII without a comma; random when None.

    Attributes:
        name: the user's name, as SASLprep spells it.

    Raises:
        LoginFailed: the message is malformed, or shows that a man in the middle has downgraded the login.
    """

    __slots__ = ("_bare", "_channel", "_first", "_nonce", "_verifier", "name")

    def __init__(
        self, mechanism: str, client_first: object, binding: bytes | None, nonce: str | None = None
    ) -> None:
        flag, _, rest = _text(client_first).partition(",")
        authorization_identity, comma, self._bare = rest.partition(",")
        if authorization_identity or not comma:  # this library has no such identities
            raise _malformed()
        self._channel = _checked_channel(mechanism, flag, binding)
        escaped, client_nonce = _values(self._bare, "nr")
        if _NONCE.fullmatch(client_nonce) is None:
            raise _malformed()
        self.name: str = _checked_name(escaped)
        self._nonce = client_nonce + (_random_nonce() if nonce is None else nonce)
        self._verifier: ScramVerifier | None = None
        self._first = ""

    def first(self, verifier: ScramVerifier) -> bytes:
        """Return the server's first message."""
        self._verifier = verifier
        self._first = f"r={self._nonce},s={_base64(verifier.salt)},i={verifier.iterations}"
        return self._first.encode()

    def final(self, client_final: object) -> bytes | None:
        """Return the server's last message, which proves that it knows the password; None for a wrong proof."""
        verifier = self._verifier
        assert verifier is not None, "first() comes before final()"
        try:
            message = _text(client_final)
            channel, nonce, encoded = _values(message, "cr", "p")
            signed, proof = message[: -len(encoded) - len(",p=")], _bytes(encoded)
            if not hmac.compare_digest(_bytes(channel), self._channel) or nonce != self._nonce:
                return None
        except LoginFailed:
            return None
        exchanged = f"{self._bare},{self._first},{signed}".encode()
        if len(proof) != len(verifier.stored_key):
            return None
        client_key = _xor(proof, _hmac(verifier.stored_key, exchanged))
        if not hmac.compare_digest(hashlib.sha256(client_key).digest(), verifier.stored_key):
            return None
        return b"v=" + _base64(_hmac(verifier.server_key, exchanged)).encode()


def _checked_channel(mechanism: str, flag: str, binding: bytes | None) -> bytes:
    """Return what the client's last message must repeat of the channel (RFC 5802, section 6).

    Raises:
        LoginFailed: the client's flag does not fit the mechanism, or the channel.
    """
    header = f"{flag},,".encode()
    if flag == f"p={_BINDING}" and binding is not None:
        return header + binding
    if mechanism == UNBOUND and (flag == "n" or (flag == "y" and binding is None)):
        return header
    raise _malformed()


def _checked_name(escaped: str) -> str:
    """Return the name of a user.

    Raises:
        LoginFailed: no user can have it.
    """
    if "=" in escaped:
        if _BAD_ESCAPE.search(escaped):
            raise _malformed()
        escaped = escaped.replace("=2C", ",").replace("=3D", "=")
    if is_too_long(escaped, MAX_NAME_BYTES):  # before SASLprep looks at each character
        raise _malformed()
    try:
        name = normalize(escaped)
    except ValueError:
        raise _malformed() from None
    if not name:
        raise _malformed()
    return name


@dataclass(frozen=True, slots=True)
class Challenge:
    """What a server asks of a client.

    Attributes:
        message: the server's first message.
        nonce: of both sides.
        salt: of the user's password.
        iterations: rounds of PBKDF2.
    """

    message: str
    nonce: str
    salt: bytes
    iterations: int


@dataclass(frozen=True, slots=True, repr=False)
class ClientKeys:
    """The keys of a password, for one salt and number of rounds. They are as good as the password for a login."""

    client_key: bytes
    server_key: bytes

    def __repr__(self) -> str:
        return "<ClientKeys, hidden>"

    def __reduce__(self) -> NoReturn:
        raise TypeError("the keys of a password stay in the memory of this process")


class ClientExchange:
    """The client's side of a login.

    Args:
        username: the user's name.
        password: the user's password.
        binding: the data of the channel binding; None without one.
        server_binds: whether the server seems to support channel binding.
        nonce: as of :class:`ServerExchange`.

    Attributes:
        mechanism: the mechanism to request.
        first: the client's first message.

    Raises:
        ValueError: the name or the password has characters that SASLprep forbids, or the name is empty.
    """

    def __init__(
        self,
        username: str,
        password: str,
        binding: bytes | None,
        server_binds: bool = True,
        nonce: str | None = None,
    ) -> None:
        self.mechanism = BOUND if binding is not None and server_binds else UNBOUND
        try:
            name, self._password = normalize(username), normalize(password).encode()
        except ValueError as error:
            raise ValueError(f"username or password not valid: {error}") from None
        if not name:
            raise ValueError("username or password not valid: the name is empty")
        flag = f"p={_BINDING}" if self.mechanism == BOUND else "n" if binding is None else "y"
        self._channel = f"{flag},,".encode() + (binding if self.mechanism == BOUND and binding else b"")
        self._nonce = _random_nonce() if nonce is None else nonce
        self._bare = f"n={name.replace('=', '=3D').replace(',', '=2C')},r={self._nonce}"
        self._signature: bytes | None = None
        self.first: bytes = f"{flag},,{self._bare}".encode()

    def read(self, server_first: object, min_iterations: int = MIN_ITERATIONS) -> Challenge:
        """Return the challenge that is in the server's first message.

        Args:
            server_first: the message.
            min_iterations: the fewest rounds of PBKDF2 that are accepted. The server can test guesses of the password
                with the answer, and the fewer rounds there are, the cheaper is a guess.

        Raises:
            LoginFailed: the message is malformed, or demands too few or too many rounds.
        """
        try:
            message = _text(server_first)
            nonce, encoded, number = _values(message, "rsi")
            salt = _bytes(encoded)
        except LoginFailed:
            raise _unanswerable() from None
        if _ROUNDS.fullmatch(number) is None:
            raise _unanswerable()
        iterations = int(number)
        if iterations < min_iterations:
            raise LoginFailed(
                f"PBKDF2 rounds of the server: at least {min_iterations} are required (min_iterations)"
            )
        if (
            not MIN_ITERATIONS <= iterations <= MAX_ITERATIONS
            or len(salt) < MIN_SALT_BYTES
            or not nonce.startswith(self._nonce)
            or len(nonce) == len(self._nonce)
            or _NONCE.fullmatch(nonce) is None
        ):
            raise _unanswerable()
        return Challenge(message, nonce, salt, iterations)

    def derive(self, challenge: Challenge) -> ClientKeys:
        """Return the keys. Costs as much CPU time as the challenge demands: not for an event loop."""
        client_key, server_key = salted_keys(self._password, challenge.salt, challenge.iterations)
        return ClientKeys(client_key, server_key)

    def answer(self, challenge: Challenge, keys: ClientKeys) -> bytes:
        """Return the client's last message."""
        signed = f"c={_base64(self._channel)},r={challenge.nonce}"
        exchanged = f"{self._bare},{challenge.message},{signed}".encode()
        stored_key = hashlib.sha256(keys.client_key).digest()
        proof = _xor(keys.client_key, _hmac(stored_key, exchanged))
        self._signature = _hmac(keys.server_key, exchanged)
        return f"{signed},p={_base64(proof)}".encode()

    def final(self, server_first: object, min_iterations: int = MIN_ITERATIONS) -> bytes:
        """Return the client's last message, from the keys that are derived for it. Raises as :meth:`read`."""
        challenge = self.read(server_first, min_iterations)
        return self.answer(challenge, self.derive(challenge))

    def verify(self, server_final: object) -> None:
        """Check that the server knows the password too.

        Raises:
            LoginFailed: the server does not prove it.
        """
        try:
            (encoded,) = _values(_text(server_final), "v")
            proved = self._signature is not None and hmac.compare_digest(_bytes(encoded), self._signature)
        except LoginFailed:
            proved = False
        if not proved:
            raise LoginFailed("the server did not prove that it knows the password")


def _unanswerable() -> LoginFailed:
    return LoginFailed("the server's challenge cannot be answered")
