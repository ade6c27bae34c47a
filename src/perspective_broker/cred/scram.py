"""SCRAM-SHA-256 (RFC 5802, RFC 7677): the messages of both sides, made and checked by ``scramp``.

Over TLS the exchange is bound to the channel, so that a man in the middle who relays it over another TLS connection
fails. Of the bindings, ``tls-exporter`` (RFC 9266) would be the best, but Python's ``ssl`` offers no exporter, and
``tls-unique`` is not defined for TLS 1.3. The binding used is therefore ``tls-server-end-point`` (RFC 5929), the hash
of the certificate that the server shows: it stops everyone without that certificate's key.

A client that supports binding and believes that the server does not sends the ``y`` flag, protected by its proof. A
server that supports binding refuses it, because a man in the middle has downgraded the login.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from ..errors import LoginFailed
from .identity import MAX_NAME_BYTES
from .verifiers import MIN_ITERATIONS, ScramVerifier, is_too_long

__all__ = ["BOUND", "MAX_MESSAGE_BYTES", "UNBOUND", "ClientExchange", "ServerExchange"]

UNBOUND: Final = "SCRAM-SHA-256"
BOUND: Final = "SCRAM-SHA-256-PLUS"

_BINDING: Final = "tls-server-end-point"

#: Bytes of one message: a name of 255 bytes, each of three when it is escaped, and two nonces.
MAX_MESSAGE_BYTES: Final = 1024


def _text(message: object) -> str:
    """Return a message as text.

    Raises:
        LoginFailed: it is not text, or is too long.
    """
    if type(message) is bytes:
        try:
            message = message.decode()
        except UnicodeDecodeError:
            message = None
    if type(message) is not str or len(message) > MAX_MESSAGE_BYTES:
        raise LoginFailed("malformed message")
    return message


def _binding(data: bytes | None) -> tuple[str, bytes] | None:
    return None if data is None else (_BINDING, data)


def _check_name(client_first: str) -> None:
    """Refuse a name that is too long for a user before SASLprep reads it.

    Raises:
        LoginFailed: the name is too long.
    """
    fields = client_first.split(",", 3)  # channel binding, authorization identity, name, nonce
    name = fields[2].removeprefix("n=").replace("=2C", ",").replace("=3D", "=") if len(fields) == 4 else ""
    if is_too_long(name, MAX_NAME_BYTES):
        raise LoginFailed("malformed message")


class ServerExchange:
    """The server's side of a login.

    Args:
        mechanism: :data:`BOUND` or :data:`UNBOUND`.
        client_first: the client's first message.
        binding: the data of the channel binding; None without one.

    Attributes:
        name: the user's name, as SASLprep spells it.

    Raises:
        LoginFailed: the message is malformed, or shows that a man in the middle has downgraded the login.
    """

    def __init__(self, mechanism: str, client_first: object, binding: bytes | None) -> None:
        self._mechanism = mechanism
        self._client_first = _text(client_first)
        _check_name(self._client_first)
        self._binding = _binding(binding)
        self._server: Any = None
        # The name has to be known before a store can be read, and scramp asks for the verifier in the middle. So it
        # runs twice, and the first time the user is unknown.
        names: list[str] = []
        self._run(names.append)
        if not names:
            raise LoginFailed("malformed message")
        self.name: str = names[0]

    def _run(self, find: Callable[[str], object]) -> str | None:
        from scramp import ScramException, ScramMechanism

        self._server = ScramMechanism(self._mechanism).make_server(find, channel_binding=self._binding)
        try:
            self._server.set_client_first(self._client_first)
            return str(self._server.get_server_first())
        except ScramException:
            return None

    def first(self, verifier: ScramVerifier) -> bytes:
        """Return the server's first message."""
        message = self._run(lambda name: verifier.auth_info())
        assert message is not None, "the message was well-formed the first time"
        return message.encode()

    def final(self, client_final: object) -> bytes | None:
        """Return the server's last message, which proves that it knows the password; None for a wrong proof."""
        from scramp import ScramException

        try:
            self._server.set_client_final(_text(client_final))
            return str(self._server.get_server_final()).encode()
        except (ScramException, LoginFailed):
            return None


class ClientExchange:
    """The client's side of a login.

    Args:
        username: the user's name.
        password: the user's password.
        binding: the data of the channel binding; None without one.
        server_binds: whether the server seems to support channel binding.

    Attributes:
        mechanism: the mechanism to request.
        first: the client's first message.

    Raises:
        ValueError: the name or the password has characters that SASLprep forbids.
    """

    def __init__(
        self, username: str, password: str, binding: bytes | None, server_binds: bool = True
    ) -> None:
        from scramp import ScramClient, ScramException

        self.mechanism = BOUND if binding is not None and server_binds else UNBOUND
        try:
            self._client = ScramClient(
                [self.mechanism], username, password, channel_binding=_binding(binding)
            )
        except ScramException as error:
            raise ValueError(f"username or password not valid: {error.args[0]}") from None
        self.first: bytes = str(self._client.get_client_first()).encode()

    def final(self, server_first: object, min_iterations: int = MIN_ITERATIONS) -> bytes:
        """Return the client's last message. Costs as much CPU time as the server demands: not for an event loop.

        Args:
            server_first: the server's first message.
            min_iterations: the fewest rounds of PBKDF2 that are accepted. The server can test guesses of the password
                with the answer, and the fewer rounds there are, the cheaper is a guess.

        Raises:
            LoginFailed: the server's message is malformed, or demands too few or too many rounds.
        """
        from scramp import ScramException

        asked = _text(server_first)
        rounds = dict(part.split("=", 1) for part in asked.split(",") if "=" in part).get("i", "")
        if rounds.isascii() and rounds.isdigit() and len(rounds) < 20 and int(rounds) < min_iterations:
            raise LoginFailed(
                f"PBKDF2 rounds of the server: at least {min_iterations} are required (min_iterations)"
            )
        try:
            self._client.set_server_first(asked)
            return str(self._client.get_client_final()).encode()
        except ScramException:
            raise LoginFailed("the server's challenge cannot be answered") from None

    def verify(self, server_final: object) -> None:
        """Check that the server knows the password too.

        Raises:
            LoginFailed: the server does not prove it.
        """
        from scramp import ScramException

        try:
            self._client.set_server_final(_text(server_final))
        except ScramException:
            raise LoginFailed("the server did not prove that it knows the password") from None
