"""SASLprep (RFC 4013): the form in which SCRAM compares names and passwords.

A profile of stringprep (RFC 3454), whose tables are in Python's own module ``stringprep``.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Callable
from stringprep import (
    in_table_a1,
    in_table_b1,
    in_table_c3,
    in_table_c4,
    in_table_c5,
    in_table_c6,
    in_table_c7,
    in_table_c8,
    in_table_c9,
    in_table_c12,
    in_table_c21_c22,
    in_table_d1,
    in_table_d2,
)
from typing import Final

__all__ = ["is_too_long", "normalize"]

#: What the result must not contain (RFC 4013, sections 2.3 and 2.5), and what an error calls it. SASLprep for stored
#: text forbids unassigned code points; SCRAM (RFC 5802, section 5.1) lets a server refuse them in names, too.
_FORBIDDEN: Final[tuple[tuple[Callable[[str], bool], str], ...]] = (
    (in_table_a1, "characters that Unicode 3.2 does not have"),
    (in_table_c12, "spaces other than that of ASCII"),
    (in_table_c21_c22, "control characters"),
    (in_table_c3, "private characters"),
    (in_table_c4, "non-characters"),
    (in_table_c5, "surrogates"),
    (in_table_c6, "characters that are not plain text"),
    (in_table_c7, "characters that are not canonical"),
    (in_table_c8, "characters that change the display"),
    (in_table_c9, "tagging characters"),
)


def is_too_long(text: str, most_bytes: int) -> bool:
    """Return whether the SASLprep form of a text may have more than ``most_bytes`` bytes in UTF-8.

    SASLprep looks at every character in Python, and can make a text eleven times as long. The step that lengthens it is
    NFKC, which is in C and is done here alone.
    """
    if text.isascii():
        return len(text) > most_bytes
    if len(text) > 4 * most_bytes:  # four characters never become less than one byte
        return True
    longest = unicodedata.ucd_3_2_0.normalize("NFKC", text)
    return len(longest.encode("utf-8", "surrogatepass")) > most_bytes


def normalize(text: str) -> str:
    """Return the SASLprep form of ``text``.

    It takes time for every character of the result, so call :func:`is_too_long` first for a peer's text.

    Raises:
        ValueError: SASLprep forbids a character of it (control characters, lone surrogates, characters newer than
            Unicode 3.2). The message does not contain the text, which may be a password.
    """
    if text.isascii() and text.isprintable():
        return text  # SASLprep does not change printable ASCII
    mapped = "".join(" " if in_table_c12(char) else char for char in text if not in_table_b1(char))
    prepared = unicodedata.ucd_3_2_0.normalize("NFKC", mapped)
    for char in prepared:
        for forbids, what in _FORBIDDEN:
            if forbids(char):
                raise ValueError(f"SASLprep forbids this text: {what}")
    _check_direction(prepared)
    return prepared


def _check_direction(text: str) -> None:
    """Refuse text of both directions (RFC 3454, section 6).

    Raises:
        ValueError: it has characters that are written from right to left, and does not begin and end with such, or has
            others that are written from left to right.
    """
    if any(map(in_table_d1, text)) and not (
        in_table_d1(text[0]) and in_table_d1(text[-1]) and not any(map(in_table_d2, text))
    ):
        raise ValueError("SASLprep forbids this text: characters of both directions")
