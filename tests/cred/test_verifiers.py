"""Secrets: SCRAM verifiers against the RFC's vector and a real exchange, legacy digests, fakes."""

from __future__ import annotations

import asyncio
import base64
import copy
import hashlib
import pickle
import threading

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scramp import ScramClient, ScramException, ScramMechanism

from perspective_broker.cred import verifiers
from perspective_broker.cred.verifiers import (
    DEFAULT_ITERATIONS,
    LegacyDigest,
    ScramVerifier,
    check_legacy,
    fake_verifier,
    legacy_response,
    make_secrets,
)

ITERATIONS = 4096


def auth_info(verifier: ScramVerifier) -> tuple[bytes, bytes, bytes, int]:
    """Return what scramp wants to know of a user."""
    return verifier.salt, verifier.stored_key, verifier.server_key, verifier.iterations


def exchange(
    verifier: ScramVerifier,
    password: str,
    *,
    mechanism: str = "SCRAM-SHA-256",
    theirs: tuple[str, bytes] | None = None,
    ours: tuple[str, bytes] | None = None,
) -> None:
    """Log in by SCRAM, between scramp's client and scramp's server on our verifier; raises when it fails."""
    server = ScramMechanism(mechanism).make_server(lambda name: auth_info(verifier), channel_binding=ours)
    client = ScramClient([mechanism], "user", password, channel_binding=theirs)
    server.set_client_first(client.get_client_first())
    client.set_server_first(server.get_server_first())
    server.set_client_final(client.get_client_final())
    client.set_server_final(server.get_server_final())


def test_rfc_7677_section_3() -> None:
    """The example exchange of the RFC, word by word."""
    verifier = ScramVerifier.from_password(
        "pencil", iterations=4096, salt=base64.b64decode("W22ZaJ0SNY7soEsUEjb6gQ==")
    )
    server = ScramMechanism("SCRAM-SHA-256").make_server(
        {"user": auth_info(verifier)}.get, s_nonce="%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0"
    )
    server.set_client_first("n,,n=user,r=rOprNGfwEbeRWgbNEkqO")
    assert server.get_server_first() == (
        "r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096"
    )
    server.set_client_final(
        "c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,"
        "p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ="
    )
    assert server.get_server_final() == "v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4="


@given(password=st.text(st.characters(codec="utf-8"), max_size=40))
@settings(max_examples=40, deadline=None)
def test_any_password_logs_in_or_is_refused_at_once(password: str) -> None:
    try:
        verifier = ScramVerifier.from_password(password, iterations=ITERATIONS)
    except ValueError as error:
        assert str(error).startswith(("SASLprep forbids", "password: must not be empty"))  # noqa: PT017
        return
    exchange(verifier, password)
    assert verifier.check(password)
    assert not verifier.check(password + "x")
    with pytest.raises(ScramException):
        exchange(verifier, password + "x")


def test_saslprep_spellings_are_one_password() -> None:
    verifier = ScramVerifier.from_password("\u2168 pass\u00adword", iterations=ITERATIONS)
    assert verifier.check("IX password")
    exchange(verifier, "IX password")


def test_channel_binding() -> None:
    """The same verifier serves SCRAM-SHA-256-PLUS; another channel is refused."""
    verifier = ScramVerifier.from_password("pencil", iterations=ITERATIONS)
    here, there = ("tls-server-end-point", b"h" * 32), ("tls-server-end-point", b"t" * 32)
    exchange(verifier, "pencil", mechanism="SCRAM-SHA-256-PLUS", ours=here, theirs=here)
    with pytest.raises(ScramException, match="channel bindings don't match"):
        exchange(verifier, "pencil", mechanism="SCRAM-SHA-256-PLUS", ours=here, theirs=there)


def test_verifiers_are_salted() -> None:
    one, two = (ScramVerifier.from_password("pencil", iterations=ITERATIONS) for _ in range(2))
    assert one.salt != two.salt
    assert one.stored_key != two.stored_key


def test_what_password_is_none() -> None:
    for wrong in (None, b"pencil", 5):
        with pytest.raises(TypeError, match="password: must be a str"):
            ScramVerifier.from_password(wrong)  # type: ignore[arg-type]
        with pytest.raises(TypeError, match="password: must be a str"):
            LegacyDigest.from_password(wrong)  # type: ignore[arg-type]
    for bad, message in (
        ("", "must not be empty"),
        ("\u00ad", "must not be empty"),
        ("x" * 1025, "at most 1024 bytes"),
        ("\ud800", "SASLprep"),
        ("tab\t", "SASLprep"),
        ("\U0001f9a9", "SASLprep"),  # assigned after Unicode 3.2
    ):
        with pytest.raises(ValueError, match=message) as caught:
            ScramVerifier.from_password(bad)
        assert bad == "" or bad not in str(caught.value)
        assert not ScramVerifier.from_password("pencil", iterations=ITERATIONS).check(bad)
    ScramVerifier.from_password("x" * 1024, iterations=ITERATIONS)


def test_what_verifier_is_none() -> None:
    for bad in (0, 4095, 10_000_001):
        with pytest.raises(ValueError, match=r"iteration"):
            ScramVerifier.from_password("pencil", iterations=bad)
        with pytest.raises(ValueError, match="iterations"):
            ScramVerifier(b"s" * 16, bad, b"k" * 32, b"k" * 32)
    with pytest.raises(TypeError, match="iterations: must be an int, not bool"):
        ScramVerifier(b"s" * 16, True, b"k" * 32, b"k" * 32)
    with pytest.raises(ValueError, match="salt"):
        ScramVerifier(b"s" * 11, ITERATIONS, b"k" * 32, b"k" * 32)
    with pytest.raises(ValueError, match="salt"):
        ScramVerifier.from_password("pencil", iterations=ITERATIONS, salt=b"short")
    with pytest.raises(ValueError, match="32 bytes"):
        ScramVerifier(b"s" * 16, ITERATIONS, b"k" * 31, b"k" * 32)
    with pytest.raises(TypeError, match="stored_key: must be bytes, not str"):
        ScramVerifier(b"s" * 16, ITERATIONS, "k" * 32, b"k" * 32)  # type: ignore[arg-type]


verifier_strategy = st.builds(
    ScramVerifier,
    st.binary(min_size=12, max_size=40),
    st.integers(4096, 10_000_000),
    st.binary(min_size=32, max_size=32),
    st.binary(min_size=32, max_size=32),
)


@given(verifier_strategy)
def test_text_form_round_trips(verifier: ScramVerifier) -> None:
    assert ScramVerifier.decode(verifier.encode()) == verifier
    assert verifier.encode().startswith(f"SCRAM-SHA-256${verifier.iterations}:")


@given(st.text() | st.from_regex(r"SCRAM-SHA-256\$.*:.*\$.*:.*"))
def test_other_text_is_refused_without_showing_it(text: str) -> None:
    with pytest.raises(ValueError, match=r"^verifier: must be the text of a SCRAM-SHA-256 verifier$"):
        ScramVerifier.decode(text)


def test_secrets_do_not_show() -> None:
    verifier = ScramVerifier.from_password("pencil", iterations=ITERATIONS)
    digest = LegacyDigest.from_password("pencil")
    assert repr(verifier) == str(verifier) == f"{verifier}" == "<ScramVerifier, hidden>"
    assert repr(digest) == str(digest) == "<LegacyDigest, hidden>"
    # They are values, nevertheless.
    assert copy.deepcopy(verifier) == verifier == pickle.loads(pickle.dumps(verifier))
    assert hash(digest) == hash(LegacyDigest.from_password("pencil"))


def test_legacy_is_what_twisted_computes() -> None:
    hashed = hashlib.md5(b"pencil").digest()
    response = hashlib.md5(hashed + b"challenge").digest()
    assert legacy_response("pencil", b"challenge") == response
    digest = LegacyDigest.from_password("pencil")
    assert digest.digest == hashed
    assert check_legacy(digest, b"challenge", response)
    assert not check_legacy(digest, b"another", response)
    assert not check_legacy(digest, b"challenge", b"")
    assert not check_legacy(None, b"challenge", response)
    # Text beyond ASCII goes as UTF-8, and without SASLprep.
    assert LegacyDigest.from_password("\u2168").digest == hashlib.md5("\u2168".encode()).digest()


def test_nobody_knows_the_digest_of_nobody() -> None:
    assert not check_legacy(None, b"c", verifiers._UNKNOWN_USER.digest)
    right = hashlib.md5(verifiers._UNKNOWN_USER.digest + b"c").digest()
    assert not check_legacy(None, b"c", right)


def test_what_digest_is_none() -> None:
    with pytest.raises(ValueError, match="16 bytes"):
        LegacyDigest(b"short")
    with pytest.raises(TypeError, match="bytes, not str"):
        LegacyDigest("x" * 16)  # type: ignore[arg-type]


def test_secrets_are_made_off_the_loop() -> None:
    """The loop turns while PBKDF2 runs, at the default price."""

    async def main() -> int:
        turns = 0
        making = asyncio.ensure_future(make_secrets("pencil", legacy=True))
        while not making.done():
            turns += 1
            await asyncio.sleep(0)
        verifier, digest = await making
        assert verifier.iterations == DEFAULT_ITERATIONS == 600_000
        assert digest == LegacyDigest.from_password("pencil")
        return turns

    assert asyncio.run(main()) > 10
    assert threading.active_count() >= 1
    assert asyncio.run(make_secrets("pencil", iterations=ITERATIONS))[1] is None


@given(key=st.binary(min_size=32, max_size=32), name=st.text(), other=st.text())
def test_fakes_depend_on_key_and_name_alone(key: bytes, name: str, other: str) -> None:
    fake = fake_verifier(key, name, iterations=ITERATIONS)
    assert fake == fake_verifier(key, name, iterations=ITERATIONS)
    assert (fake == fake_verifier(key, other, iterations=ITERATIONS)) == (name == other)
    assert fake != fake_verifier(bytes(reversed(key)) + b"x", name, iterations=ITERATIONS)
    assert fake.iterations == ITERATIONS


def rounds_of(in_use: dict[int, int]) -> list[int]:
    return [
        fake_verifier(b"k" * 32, f"name {n}", iterations=9999, in_use=in_use).iterations for n in range(2000)
    ]


def test_fakes_have_the_rounds_that_users_have() -> None:
    """About as often; and when users change to others, names follow, and none goes back."""
    assert set(rounds_of({})) == {9999}
    assert set(rounds_of({4096: 1})) == {4096}
    before = rounds_of({4096: 900, 600_000: 100})
    assert 0.75 < before.count(4096) / 2000 < 0.95
    assert rounds_of({4096: 890, 600_000: 110}) == before  # seldom
    for users in (500, 700, 950):
        after = rounds_of({4096: 1000 - users, 600_000: users})
        assert all(new == old or new == 600_000 for old, new in zip(before, after, strict=True))
        before = after
    assert set(rounds_of({600_000: 1000})) == {600_000}


def test_a_fake_with_other_rounds_has_another_salt() -> None:
    one, two = (fake_verifier(b"k" * 32, "name", in_use={rounds: 1}) for rounds in (4096, 5000))
    assert one.salt != two.salt


def test_a_fake_looks_real_until_the_end_of_the_exchange() -> None:
    fake = fake_verifier(b"k" * 32, "user", iterations=ITERATIONS)
    real = ScramVerifier.from_password("pencil", iterations=ITERATIONS)
    complaints = []
    for verifier, password in ((fake, "pencil"), (real, "wrong")):
        with pytest.raises(ScramException) as caught:
            exchange(verifier, password)
        complaints.append(str(caught.value))
    assert complaints[0] == complaints[1]
    assert len(fake.salt) == len(real.salt)
