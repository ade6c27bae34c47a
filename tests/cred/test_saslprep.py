"""SASLprep: the examples of RFC 4013, and the same as scramp's for any text."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scramp import ScramException
from scramp.utils import saslprep

from perspective_broker.cred.saslprep import is_too_long, normalize


@pytest.mark.parametrize(
    ("text", "prepared"),
    [
        ("I\u00adX", "IX"),
        ("user", "user"),
        ("USER", "USER"),
        ("\u00aa", "a"),
        ("\u2168", "IX"),
        ("\u00a0", " "),
        ("\u00ad", ""),
        ("", ""),
    ],
)
def test_rfc_4013_section_3(text: str, prepared: str) -> None:
    assert normalize(text) == prepared


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("\u0007", "control characters"),  # RFC 4013, section 3
        ("\u0627\u0031", "both directions"),  # RFC 4013, section 3
        ("\u0627a\u0628", "both directions"),
        ("a\u0627", "both directions"),
        ("\ud800", "surrogates"),
        ("\ue000", "private characters"),
        ("\U0001f9a9", "Unicode 3.2"),
        ("\U000e0001", "tagging characters"),
    ],
)
def test_what_is_forbidden_is_named_and_not_shown(text: str, what: str) -> None:
    with pytest.raises(ValueError, match=what) as caught:
        normalize(text)
    assert text not in str(caught.value)


def test_text_of_one_direction() -> None:
    assert normalize("\u0627\u0628") == "\u0627\u0628"
    assert normalize("\u0627 1 \u0628") == "\u0627 1 \u0628"


@given(
    st.text() | st.text(st.sampled_from("aA1 \u0627\u0628\u00ad\u00a0\u2168\ufdfa\u0661\t\u200e\u202a\u0301"))
)
def test_the_same_as_scramp(text: str) -> None:
    try:
        expected = saslprep(text)
    except ScramException:
        with pytest.raises(ValueError, match="SASLprep forbids this text"):
            normalize(text)
    else:
        assert normalize(text) == expected


@given(st.text(), st.integers(0, 80))
def test_what_is_not_too_long_stays_so(text: str, most: int) -> None:
    try:
        prepared = normalize(text)
    except ValueError:
        return
    if not is_too_long(text, most):
        assert len(prepared.encode()) <= most
