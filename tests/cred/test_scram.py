"""SCRAM: the exchange itself, with and without a bound channel, and the effects of tampering."""

from __future__ import annotations

import pytest

from perspective_broker import LoginFailed
from perspective_broker.cred.scram import BOUND, UNBOUND, ClientExchange, ServerExchange
from perspective_broker.cred.verifiers import ScramVerifier

VERIFIER = ScramVerifier.from_password("pencil", iterations=4096)
CHANNEL, OTHER = b"hash of a certificate", b"hash of another"


def log_in(client: ClientExchange, server_binding: bytes | None, verifier: ScramVerifier = VERIFIER) -> bool:
    """Run a login between the two; return whether the server is satisfied, and the client then as well."""
    server = ServerExchange(client.mechanism, client.first, server_binding)
    server_final = server.final(client.final(server.first(verifier)))
    if server_final is None:
        return False
    client.verify(server_final)
    return True


@pytest.mark.parametrize("name", ["user", "M\u00fcller", "a=b,c", "x" * 255, "\u2116 1"])
def test_a_login(name: str) -> None:
    client = ClientExchange(name, "pencil", None)
    assert client.mechanism == UNBOUND
    assert client.first.startswith(b"n,,")
    assert log_in(client, None)
    assert ServerExchange(UNBOUND, client.first, None).name == ("No 1" if name == "\u2116 1" else name)


def test_a_wrong_password() -> None:
    assert not log_in(ClientExchange("user", "pencils", None), None)


def test_a_bound_login() -> None:
    client = ClientExchange("user", "pencil", CHANNEL)
    assert client.mechanism == BOUND
    assert client.first.startswith(b"p=tls-server-end-point,,")
    assert log_in(client, CHANNEL)


def test_a_relayed_login() -> None:
    # A man in the middle has TLS with each of them, and a certificate of its own.
    assert not log_in(ClientExchange("user", "pencil", CHANNEL), OTHER)


def test_a_client_that_was_talked_down() -> None:
    # The client was told that the server cannot bind, and its proof contains this: the server detects the lie.
    client = ClientExchange("user", "pencil", CHANNEL, server_binds=False)
    assert client.mechanism == UNBOUND
    assert client.first.startswith(b"y,,")
    with pytest.raises(LoginFailed):
        ServerExchange(UNBOUND, client.first, OTHER)
    # Changing the client's message breaks its proof.
    forged = ServerExchange(UNBOUND, b"n" + client.first[1:], OTHER)
    assert forged.final(client.final(forged.first(VERIFIER))) is None


def test_a_server_that_really_cannot_bind() -> None:
    assert log_in(ClientExchange("user", "pencil", CHANNEL, server_binds=False), None)


def test_a_client_that_cannot_bind() -> None:
    assert log_in(ClientExchange("user", "pencil", None), CHANNEL)


def test_a_server_that_does_not_know_the_password() -> None:
    client = ClientExchange("user", "pencil", None)
    server = ServerExchange(UNBOUND, client.first, None)
    client.final(server.first(VERIFIER))
    with pytest.raises(LoginFailed, match="did not prove"):
        client.verify(b"v=" + b"AAAA" * 11)
    for forged in (b"", b"v=", b"e=other-error", None, 7):
        other = ClientExchange("user", "pencil", None)
        other.final(ServerExchange(UNBOUND, other.first, None).first(VERIFIER))
        with pytest.raises(LoginFailed):
            other.verify(forged)


@pytest.mark.parametrize(
    "change",
    [
        lambda first: b"",
        lambda first: b"\xff",
        lambda first: None,
        lambda first: first.replace(b"r=", b"r=x"),  # another's nonce
        lambda first: first.replace(b"i=4096", b"i=1"),  # cheap to guess from
        lambda first: first.replace(b"i=4096", b"i=99999999"),  # a day's work
        lambda first: first.replace(b"s=", b"s=!"),
        lambda first: first + b"a" * 2000,
        lambda first: b"m=ext," + first,
    ],
)
def test_challenges_that_are_not_answered(change: object) -> None:
    assert callable(change)
    client = ClientExchange("user", "pencil", None)
    with pytest.raises(LoginFailed):
        client.final(change(ServerExchange(UNBOUND, client.first, None).first(VERIFIER)))


@pytest.mark.parametrize("final", [None, 7, "", b"\xff", b"c=biws,r=x,p=AAAA", b"x" * 2000])
def test_proofs_that_are_none(final: object) -> None:
    server = ServerExchange(UNBOUND, ClientExchange("user", "pencil", None).first, None)
    server.first(VERIFIER)
    assert server.final(final) is None


@pytest.mark.parametrize(("name", "password"), [("", "pencil"), ("a\0b", "pencil"), ("user", "a\0b")])
def test_names_and_passwords_that_cannot_be(name: str, password: str) -> None:
    with pytest.raises(ValueError, match="username or password not valid"):
        ClientExchange(name, password, None)
