"""Identity: the tests of 2002, and names that may be confused."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from perspective_broker.cred import Identity, LegacyDigest, ScramVerifier
from perspective_broker.cred.identity import checked_name, is_possible_name
from perspective_broker.cred.saslprep import normalize
from perspective_broker.cred.verifiers import legacy_response

ITERATIONS = 4096


def test_keys() -> None:
    identity = Identity("alice")
    assert identity.keys == frozenset()
    identity.add_key("chat")
    identity.add_key("chat")
    identity.add_key("chat", "admin")
    before = identity.keys
    assert before == {("chat", "alice"), ("chat", "admin")}
    assert identity.has_key("chat", "admin")
    assert not identity.has_key("mail", "admin")
    identity.remove_key("chat")
    assert identity.keys == {("chat", "admin")}
    assert before == {("chat", "alice"), ("chat", "admin")}
    with pytest.raises(KeyError):
        identity.remove_key("chat")
    for bad in (None, 5, b"chat", ("chat",)):
        with pytest.raises(TypeError, match="service name: must be a str"):
            identity.add_key(bad)  # type: ignore[arg-type]
        if bad is not None:
            with pytest.raises(TypeError, match="perspective name: must be a str"):
                identity.add_key("chat", bad)  # type: ignore[arg-type]


def test_passwords() -> None:
    identity = Identity("alice")
    challenge = b"c" * 16
    assert not identity.verify_password("")
    assert not identity.verify_password("pencil")
    assert not identity.verify_legacy(challenge, legacy_response("pencil", challenge))
    identity.set_password("pencil", iterations=ITERATIONS)
    assert identity.verify_password("pencil")
    assert not identity.verify_password("pen")
    assert not identity.verify_legacy(challenge, legacy_response("pencil", challenge))
    identity.set_password("ink", legacy=True, iterations=ITERATIONS)
    assert identity.verify_legacy(challenge, legacy_response("ink", challenge))
    assert not identity.verify_legacy(b"d" * 16, legacy_response("ink", challenge))
    identity.disabled = True
    assert not identity.verify_password("ink")
    assert not identity.verify_legacy(challenge, legacy_response("ink", challenge))
    identity.disabled = False
    for bad in (None, b"ink", 5):
        with pytest.raises(TypeError, match="password: must be a str"):
            identity.set_password(bad)  # type: ignore[arg-type]
        with pytest.raises(TypeError, match="password: must be a str"):
            identity.verify_password(bad)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="must not be empty"):
        identity.set_password("")
    assert identity.verify_password("ink")  # nothing had changed
    identity.set_password("pencil", iterations=ITERATIONS)
    assert identity.legacy_digest is None


def test_arguments() -> None:
    with pytest.raises(TypeError, match="identity name: must be a str, not int"):
        Identity(5)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="verifier: must be a ScramVerifier"):
        Identity("alice", verifier="secret")  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="legacy_digest: must be a LegacyDigest"):
        Identity("alice", legacy_digest=b"secret")  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="disabled: must be a bool"):
        Identity("alice", disabled=1)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="service name: must have 1 to 255 bytes"):
        Identity("alice", keys=[("", "x")])
    with pytest.raises(AttributeError):
        Identity("alice").name = "bob"  # type: ignore[misc]


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("", "1 to 255 bytes in UTF-8, not 0"),
        ("\u00e9" * 128, "1 to 255 bytes in UTF-8, not 256"),
        ("a\0b", "NUL"),
        ("a\ud800", "lone surrogate"),
        ("a\nb", "SASLprep forbids"),
        ("\u2168", "is not in SASLprep form; use 'IX'"),
        ("al\u00adice", "use 'alice'"),
        ("e\u0301", "use '\\\\xe9'"),
    ],
)
def test_names_that_cannot_be(name: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Identity(name)
    assert not is_possible_name(name)


def test_names_that_are_no_text() -> None:
    for name in (None, 5, b"alice", ["alice"]):
        assert not is_possible_name(name)


@given(st.text())
def test_a_possible_name_is_reachable_by_scram(name: str) -> None:
    if is_possible_name(name):
        assert checked_name(name) == name == normalize(name)
        assert Identity(name).name == name


def test_value() -> None:
    verifier = ScramVerifier.from_password("pencil", iterations=ITERATIONS)
    digest = LegacyDigest.from_password("pencil")
    one = Identity("alice", verifier=verifier, legacy_digest=digest, keys=[("chat", "alice")])
    two = one.copy()
    assert one == two
    assert one != "alice"
    two.add_key("mail")
    assert one != two
    assert one.keys == {("chat", "alice")}
    one.remove_key("chat")
    one.add_key("news")
    assert one.keys == {("news", "alice")}
    assert two.keys == {("chat", "alice"), ("mail", "alice")}
    with pytest.raises(TypeError, match="unhashable"):
        hash(one)
    assert repr(two) == "<Identity 'alice', 2 keys>"
    assert repr(Identity("\u00e9", disabled=True)) == "<Identity '\\xe9' disabled, 0 keys>"
