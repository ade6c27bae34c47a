"""Exceptions as error expressions: a name that JavaScript knows, the text, and properties with what Python knows."""

from __future__ import annotations

from typing import Final

from ...errors import CallError, SerializationError
from ...flavors import Failure
from ...ports import Undecoded, Value

__all__ = ["error_tree", "failure_in", "plain_error"]

#: Names of base classes that are kept of an error.
_MOST_PARENTS: Final = 64

#: JavaScript's own classes that have a namesake among Python's.
_NAMESAKES: Final = {
    "TypeError": "builtins.TypeError",
    "SyntaxError": "builtins.SyntaxError",
    "ReferenceError": "builtins.NameError",
    "RangeError": "builtins.ValueError",
}
_MALFORMED: Final = Failure("malformed", "the peer reported an error in a form that cannot be read")


def error_tree(error: BaseException, with_traceback: bool = False) -> list[Value]:
    """Return the expression of an exception."""
    failure = Failure.of(error, with_traceback=with_traceback)
    name = failure.type.rpartition(".")[2]
    text = failure.value
    if isinstance(error, (CallError, SerializationError)):
        text = text[:1024]
    properties: dict[str, Value] = {"type": failure.type, "parents": [list(failure.parents[:_MOST_PARENTS])]}
    return ["error", _NAMES.get(name, name), text, failure.traceback or None, properties]


#: Python's names of errors that JavaScript has by another name.
_NAMES: Final = {
    "ExceptionGroup": "AggregateError",
    "NameError": "ReferenceError",
    "BadArguments": "TypeError",
    "NoSuchMethod": "TypeError",
}


def plain_error(name: str, text: str) -> list[Value]:
    """Return the expression of an error that has no exception here."""
    return ["error", name, text]


def failure_in(node: Undecoded) -> Failure:
    """Return the failure that an expression describes; never raise."""
    if type(node) is not list or not 3 <= len(node) <= 5 or node[0] != "error":
        return _MALFORMED
    name, text = node[1], node[2]
    stack = node[3] if len(node) > 3 else None
    properties = node[4] if len(node) > 4 else None
    if type(name) is not str or type(text) is not str:
        return _MALFORMED
    kind, parents = name, [name, "Error"]
    if name in _NAMESAKES:
        parents.insert(1, _NAMESAKES[name])
    if type(properties) is dict and type(properties.get("type")) is str:
        kind = properties["type"]
        given = properties.get("parents")
        names = given[0] if type(given) is list and len(given) == 1 else None
        if type(names) is list and all(type(parent) is str for parent in names):
            parents = names[:_MOST_PARENTS]
    return Failure(
        _clean(kind)[:512],
        _clean(text),
        _clean(stack) if type(stack) is str else "",
        tuple(map(_clean, parents)),
    )


def _clean(text: str) -> str:
    """Return ``text`` with escapes for its lone surrogates."""
    return text.encode("utf-8", "backslashreplace").decode()
