"""SCRAM: the exchange itself, with and without a bound channel, and the effects of tampering."""

from __future__ import annotations

import base64
import copy
import pickle
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scramp import ScramClient, ScramMechanism

from perspective_broker import LoginFailed
from perspective_broker.cred.scram import BOUND, UNBOUND, ClientExchange, ServerExchange
from perspective_broker.cred.verifiers import ScramVerifier

VERIFIER = ScramVerifier.from_password("pencil", iterations=4096)
CHANNEL, OTHER = b"hash of a certificate", b"hash of another"


def test_rfc_7677_section_3() -> None:
    """The example exchange of the RFC, word by word."""
    verifier = ScramVerifier.from_password(
        "pencil", iterations=4096, salt=base64.b64decode("W22ZaJ0SNY7soEsUEjb6gQ==")
    )
    client = ClientExchange("user", "pencil", None, nonce="rOprNGfwEbeRWgbNEkqO")
    assert client.first == b"n,,n=user,r=rOprNGfwEbeRWgbNEkqO"
    server = ServerExchange(UNBOUND, client.first, None, nonce="%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0")
    server_first = server.first(verifier)
    assert server_first == (
        b"r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096"
    )
    client_final = client.final(server_first)
    assert client_final == (
        b"c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,"
        b"p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ="
    )
    server_final = server.final(client_final)
    assert server_final == b"v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4="
    client.verify(server_final)


_NAMES = st.text(st.characters(codec="latin-1", categories=["L", "P", "N"]), min_size=1, max_size=20)


def scramps(binding: bytes | None) -> Any:
    return None if binding is None else ("tls-server-end-point", binding)


@given(name=_NAMES, binding=st.none() | st.binary(min_size=1, max_size=40), wrong=st.booleans())
def test_our_client_at_the_server_of_scramp(name: str, binding: bytes | None, wrong: bool) -> None:
    client = ClientExchange(name, "pencils" if wrong else "pencil", binding)
    known = (VERIFIER.salt, VERIFIER.stored_key, VERIFIER.server_key, VERIFIER.iterations)
    server = ScramMechanism(client.mechanism).make_server(
        lambda name: known, channel_binding=scramps(binding)
    )
    server.set_client_first(client.first.decode())
    answer = client.final(server.get_server_first()).decode()
    if wrong:
        with pytest.raises(Exception, match="client keys don't match"):
            server.set_client_final(answer)
    else:
        server.set_client_final(answer)
        client.verify(server.get_server_final())


@given(name=_NAMES, binding=st.none() | st.binary(min_size=1, max_size=40), wrong=st.booleans())
def test_the_client_of_scramp_at_our_server(name: str, binding: bytes | None, wrong: bool) -> None:
    mechanism = UNBOUND if binding is None else BOUND
    client = ScramClient(
        [mechanism], name, "pencils" if wrong else "pencil", channel_binding=scramps(binding)
    )
    server = ServerExchange(mechanism, client.get_client_first(), binding)
    client.set_server_first(server.first(VERIFIER).decode())
    final = server.final(client.get_client_final())
    assert (final is None) == wrong
    if final is not None:
        client.set_server_final(final.decode())


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


@pytest.mark.parametrize(
    "first",
    [
        None,
        7,
        b"",
        b"n",
        b"n,",
        b"n,,",
        b"n,,r=x,n=user",  # another order
        b"n,,n=user",
        b"n,,n=user,r=",
        b"n,,n=user,r=\x7f",
        b"n,,n=us\0er,r=x",
        b"n,a=admin,n=user,r=x",  # in the name of another
        b"n,,m=x,n=user,r=x",  # an extension that is not optional
        b"n,,n=user,r=x,r=y",
        b"n,,n=user,r=x,x=1,x=2",
        b"n,,n=user,r=x,1=2",
        b"n,,n=user,r=x,x",
        b"n,,n=us=er,r=x",
        b"n,,n=us=2cer,r=x",
        b"n,,n=\xc2\xad,r=x",  # nothing is left of it
        b"p=tls-unique,,n=user,r=x",
        b"p=tls-server-end-point,,n=user,r=x",  # there is no channel
        b"q,,n=user,r=x",
        "n,,n=us\ud800er,r=x",
        b"n,,n=" + b"x" * 2000 + b",r=x",
    ],
)
def test_first_messages_that_are_none(first: object) -> None:
    with pytest.raises(LoginFailed, match="malformed message"):
        ServerExchange(UNBOUND, first, None)


def test_extensions_are_skipped() -> None:
    assert ServerExchange(UNBOUND, b"n,,n=user,r=x,x=1,Y=2=3", None).name == "user"
    client = ClientExchange("user", "pencil", None)
    server = ServerExchange(UNBOUND, client.first, None)
    challenge = client.read(server.first(VERIFIER) + b",x=y")
    assert (challenge.salt, challenge.iterations) == (VERIFIER.salt, VERIFIER.iterations)


def test_a_mechanism_that_binds_needs_the_flag() -> None:
    for flag in (b"n", b"y"):
        with pytest.raises(LoginFailed):
            ServerExchange(BOUND, flag + b",,n=user,r=x", CHANNEL)


def test_keys_do_not_show_and_stay_here() -> None:
    client = ClientExchange("user", "pencil", None)
    keys = client.derive(client.read(ServerExchange(UNBOUND, client.first, None).first(VERIFIER)))
    assert repr(keys) == str(keys) == "<ClientKeys, hidden>"
    for leave in (pickle.dumps, copy.deepcopy):
        with pytest.raises(TypeError, match="stay in the memory of this process"):
            leave(keys)
