"""SCRAM-SHA-256 (RFC 5802, RFC 7677): the messages of both sides, made and judged by ``scramp``.

Over TLS the exchange is bound to the channel: who relays it, over TLS of his own, fails. Of the bindings that there
are, ``tls-exporter`` (RFC 9266) would be the best, but Python's ``ssl`` offers no exporter, and ``tls-unique`` means
nothing in TLS 1.3. So it is ``tls-server-end-point`` (RFC 5929), the hash of the certificate that the server shows:
it stops everybody who does not hold that certificate's key.

A client that could bind and believes that the server cannot says so (the ``y`` flag), under the protection of its
proof: a server that can refuses it, for then somebody in between has talked them down.
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

#: Of one message: a name of 255 bytes, each of three when it is escaped, and two nonces.
MAX_MESSAGE_BYTES: Final = 1024


def _text(message: object) -> str:
    """Return a message as text.

    Raises:
        LoginFailed: it is none.
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
        LoginFailed: the name is no user's.
    """
    fields = client_first.split(",", 3)  # of the channel binding, of a name to act as, the name, the nonce
    name = fields[2].removeprefix("n=").replace("=2C", ",").replace("=3D", "=") if len(fields) == 4 else ""
    if is_too_long(name, MAX_NAME_BYTES):
        raise LoginFailed("malformed message")


class ServerExchange:
    """One login, on the server.

    Args:
        mechanism: :data:`BOUND` or :data:`UNBOUND`.
        client_first: the client's first message.
        binding: what binds to the channel; None where there is nothing.

    Attributes:
        name: who wants to log in, as SASLprep spells it.

    Raises:
        LoginFailed: the message is malformed, or shows that the client was talked down.
    """

    def __init__(self, mechanism: str, client_first: object, binding: bytes | None) -> None:
        self._mechanism = mechanism
        self._client_first = _text(client_first)
        _check_name(self._client_first)
        self._binding = _binding(binding)
        self._server: Any = None
        # Whom it is about must be known before a store can be asked, and scramp asks in the middle: so it runs twice,
        # and the first time the user is unknown.
        names: list[str] = []
        self._run(names.append)
        if not names:
            raise LoginFailed("malformed message")
        self.name = names[0]

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
        assert message is not None, "what was well-formed the first time"
        return message.encode()

    def final(self, client_final: object) -> bytes | None:
        """Return the server's last message, which proves that it knows the password too; None for a wrong proof."""
        from scramp import ScramException

        try:
            self._server.set_client_final(_text(client_final))
            return str(self._server.get_server_final()).encode()
        except (ScramException, LoginFailed):
            return None


class ClientExchange:
    """One login, on the client.

    Args:
        username: whose.
        password: the password.
        binding: what binds to the channel; None where there is nothing.
        server_binds: whether the server is believed to be able to.

    Attributes:
        mechanism: which to ask for.
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
            raise ValueError(f"no login with this name and password: {error.args[0]}") from None
        self.first = str(self._client.get_client_first()).encode()

    def final(self, server_first: object, min_iterations: int = MIN_ITERATIONS) -> bytes:
        """Return the client's last message. Costs CPU, as much as the server says: not for an event loop.

        Args:
            server_first: the server's first message.
            min_iterations: rounds below which nothing is answered: the answer is worth a guess at the password to
                whoever asked for it, and the fewer rounds there are, the cheaper is a guess.

        Raises:
            LoginFailed: the server's message is malformed, or asks for too little or too much.
        """
        from scramp import ScramException

        asked = _text(server_first)
        rounds = dict(part.split("=", 1) for part in asked.split(",") if "=" in part).get("i", "")
        if rounds.isascii() and rounds.isdigit() and len(rounds) < 20 and int(rounds) < min_iterations:
            raise LoginFailed(
                f"the server asks for fewer than {min_iterations} rounds of PBKDF2 (min_iterations)"
            )
        try:
            self._client.set_server_first(asked)
            return str(self._client.get_client_final()).encode()
        except ScramException:
            raise LoginFailed("the server's challenge cannot be answered") from None

    def verify(self, server_final: object) -> None:
        """See that the server knows the password too.

        Raises:
            LoginFailed: it does not.
        """
        from scramp import ScramException

        try:
            self._client.set_server_final(_text(server_final))
        except ScramException:
            raise LoginFailed("the server did not prove that it knows the password") from None
