"""The same jelly is the same value to Twisted and to us, or both refuse; either reads what the other writes.

Where the two differ on purpose stands in :data:`STRICTER` and :data:`WIDER`. The first byte selects whether the rest is
raw banana, a script for a jelly, or a script for a value.
"""

from __future__ import annotations

from typing import Any, Final

from twisted.spread import jelly as twisted_jelly

from perspective_broker import CallError, Limits
from perspective_broker.dialects.classic.jelly import Jellier
from perspective_broker.dialects.classic.unjelly import Unjellier, readers_for
from perspective_broker.dialects.classic.vocabulary import PB
from perspective_broker.ports import NullExporter, NullImporter
from perspective_broker.registry import Policy, Registry
from tests.fuzz.describing import TOO_DEEP, describe
from tests.fuzz.draw import Draw
from tests.fuzz.jelly import expressions
from tests.fuzz.making import jelly, value

__all__ = ["STRICTER", "WIDER", "target"]

#: How our refusals begin where Twisted finds a value -> why we refuse.
STRICTER: Final = {
    "a date": "digits only: no signs, no underscores, no other white space",
    "not a": "digits only: no signs, no underscores, no other white space",
    "a decimal is": "exponents within the range of decimal128, and integers as digits",
    "an integer key": "keys of at most 64 bits, so that nobody can choose them to collide",
    "too many keys": "keys with the same hash are counted, for the same reason",
    "a key may have": "a key costs as much as it has parts",
    "keys that share": "and parts that are shared cost as much each time",
    "not-a-number": "it cannot be found again",
    "a reference stands": "only lists are shared: an atom is itself wherever it stands",
    "a reference number": "small integers, each defined once, and before it is mentioned",
    "a value that contains itself": "nothing that is not finished is handed out",
    "a reference to nothing": "nothing that is not finished is handed out",
    "a boolean is": "two words and nothing else",
    "malformed value": "every list has exactly the parts that its type has",
    "a dictionary is": "pairs are lists",
    "None takes": "every list has exactly the parts that its type has",
    "values of type": "the types that the policy refuses",
    "'": "no class is registered: (unpersistable) and (persistent) are two of these",
    "nested too deep": "the stack of whoever reads",
}

#: Jellies that we accept and Twisted does not, by their content -> the reason.
WIDER: Final = {
    b"twisted.spread.pb.CopyableFailure": "we always know it; there the class is registered by another module",
    b"reference": "we also build tuples and sets, and keys, that are mentioned while they are made",
}

_POLICY = Policy()
_READERS = readers_for(_POLICY)
_REGISTRY = Registry()
_LIMITS = Limits()

_TASTER = twisted_jelly.SecurityOptions()
_TASTER.allowBasicTypes()

#: The remains in one of Twisted's values when a part of it was never defined.
_UNFINISHED: Final = ("_Dereference:", "_Tuple:", "_Container:", "_DictKeyAndValue:", "Unpersistable:")


def theirs(expression: Any) -> str:
    """Return the value that Twisted makes of a jelly, described; an empty text when it makes none."""
    try:
        text = describe(twisted_jelly.unjelly(expression, _TASTER))
    except Exception:
        return ""
    return "" if any(word in text for word in _UNFINISHED) else text


def ours(expression: Any) -> tuple[str, str]:
    """Return the value that we make of a jelly, described, and why we make none."""
    try:
        made = Unjellier(NullImporter(), None, _READERS, _REGISTRY, _POLICY).unjelly(expression)
    except CallError as error:
        return "", str(error)
    return describe(made), ""


def compare(expression: Any) -> None:
    mine, why = ours(expression)
    other = theirs(expression)
    if TOO_DEEP in (mine, other):
        return
    if mine and other:
        assert mine == other or _has_late_or_double_key(expression)
    elif other:
        assert why.startswith(tuple(STRICTER)), f"we refuse what they take: {why}"
    elif mine:
        assert any(word in _words(expression) for word in WIDER), "they refuse what we take"


def _has_late_or_double_key(expression: Any) -> bool:
    """Whether the reading of a dictionary is arbitrary.

    Some key is known only when others are in it: then its place there is. Or a key comes twice: here the last one wins,
    there the one whose value is known last.
    """
    left = [expression]
    while left:
        part = left.pop()
        if type(part) is list:
            if part[:1] == [b"dictionary"]:
                keys = [pair[0] for pair in part[1:] if type(pair) is list and pair]
                if any(b"dereference" in _words(key) for key in keys):
                    return True
                if len(set(map(_known_as, keys))) < len(keys):
                    return True
            left += part
    return False


def _known_as(key: Any) -> Any:
    """Return a value that is equal for equal keys, such as no and zero."""
    while type(key) is list and key[:1] == [b"reference"] and len(key) == 3:
        key = key[2]
    if type(key) is list and key[:1] == [b"boolean"]:
        return key[1:] == [b"true"]
    return repr(key) if type(key) is list else key


def _words(expression: Any) -> set[bytes]:
    """Return the first words of all lists."""
    words, left = set(), [expression]
    while left:
        part = left.pop()
        if type(part) is list and part:
            if type(part[0]) is bytes:
                words.add(part[0])
            left += part
    return words


def there_and_back(sent: Any) -> None:
    """Write a value on either side, and read it on both."""
    text = describe(sent)
    [expression] = expressions(Jellier(PB, NullExporter(), None, _LIMITS).jelly(sent))
    mine, why = ours(expression)
    if why.startswith(
        ("a key may have", "keys that share")
    ):  # what a peer may make us hash is bounded, see STRICTER
        return
    assert (mine, why) == (text, "")
    assert theirs(expression) == text
    their_jelly = twisted_jelly.jelly(sent)
    assert ours(their_jelly) == (text, "")
    assert theirs(their_jelly) == text


def target(data: bytes) -> None:
    draw = Draw(data)
    kind = draw.below(4)
    if kind == 0:
        for expression in expressions(draw.rest()):
            compare(expression)
    elif kind == 1:
        there_and_back(value(draw))
    else:
        compare(jelly(draw))
