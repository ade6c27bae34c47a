"""The words that dialect ``pb`` writes as two bytes, and how both classic dialects encode a word."""

from __future__ import annotations

from typing import Final

__all__ = ["BY_NUMBER", "NONE", "OF_2002", "PB", "Spelling"]

#: Word number n is ``_WORDS[n - 1]``; the numbers are part of the protocol (version 6).
_WORDS: Final = (
    b"None class dereference reference dictionary function instance list module persistent tuple unpersistable "
    b"copy cache cached remote local lcache "
    b"version login password challenge logged_in not_logged_in "
    b"cachemessage message answer error decref decache uncache"
).split()

BY_NUMBER: Final[dict[int, bytes]] = dict(enumerate(_WORDS, 1))

_LIST, _STRING, _VOCAB = 0x80, 0x82, 0x87


class Spelling:
    """How one classic dialect encodes strings.

    Attributes:
        name: the dialect's name in the greeting.
        has_words: whether words of the vocabulary are encoded as their numbers, and may be received so.
        old: whether to write only what a program of 2002 can read: ASCII text is a plain string (as all text of such a
            program is), a boolean is a number, and sets, decimals and times cannot cross.
        unicode: the start of a text that is not a plain string: a list of two, and the word.
    """

    __slots__ = ("_short", "has_words", "name", "old", "unicode")

    def __init__(self, name: str, has_words: bool, old: bool = False) -> None:
        self.name: str = name
        self.has_words: bool = has_words
        self.old: bool = old
        self._short = {word: bytes((n, _VOCAB)) for n, word in BY_NUMBER.items()} if has_words else {}
        self.unicode: bytes = bytes((2, _LIST)) + self.string(b"unicode")

    def string(self, data: bytes) -> bytes:
        """Return ``data`` as one banana string, or as the number of the word."""
        size = len(data)
        if size < 0x80:
            return self._short.get(data) or _SHORT_STRING[size] + data
        return base128(size) + b"\x82" + data

    def list_of(self, items: int, word: bytes) -> bytes:
        """Return the start of a list of ``items``, the first of which is ``word``."""
        return base128(items) + b"\x80" + self.string(word)


def base128(number: int) -> bytes:
    """Return a non-negative integer as base-128 digits, least significant first, at least one."""
    if number < 0x80:
        return _DIGIT[number]
    digits = bytearray()
    while number:
        digits.append(number & 0x7F)
        number >>= 7
    return bytes(digits)


_DIGIT: Final = [bytes((n,)) for n in range(0x80)]
_SHORT_STRING: Final = [bytes((n, _STRING)) for n in range(0x80)]

PB: Final = Spelling("pb", has_words=True)
NONE: Final = Spelling("none", has_words=False)

#: The same dialects for a peer of 2002, by name.
OF_2002: Final = {
    spelling.name: Spelling(spelling.name, spelling.has_words, old=True) for spelling in (PB, NONE)
}
