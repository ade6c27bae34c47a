"""Any jelly is a whole value or a CallError, nothing else, in time; written and read again it is the same.

The first byte selects whether the rest is raw banana or a script for a jelly.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import Any

from perspective_broker import CallError, Limits, ProtocolError, SerializationError
from perspective_broker.dialects.classic.banana import NEED_MORE, Decoder
from perspective_broker.dialects.classic.jelly import Jellier
from perspective_broker.dialects.classic.unjelly import Unjellier, readers_for
from perspective_broker.dialects.classic.vocabulary import PB
from perspective_broker.registry import Policy
from tests.dialects.pb7.coding import Exports, Imports
from tests.fuzz.application import REGISTRY
from tests.fuzz.budget import Meter, judged
from tests.fuzz.describing import TOO_DEEP, describe
from tests.fuzz.draw import Draw
from tests.fuzz.making import jelly

__all__ = ["expressions", "target"]

_LIMITS = Limits()
_POLICY = Policy()
_READERS = readers_for(_POLICY)


def expressions(data: bytes, words: bool = True) -> Iterator[Any]:
    """Yield the expressions that bytes hold, as far as they are banana."""
    decoder = Decoder(_LIMITS, words)
    decoder.receive_data(data)
    try:
        while (expression := decoder.next()) is not NEED_MORE:
            yield expression
    except ProtocolError:
        return


def unjelly(expression: Any) -> Any:
    return Unjellier(Imports(), None, _READERS, REGISTRY, _POLICY).unjelly(expression)


def _measured(expression: Any, meter: Meter) -> Any:
    with meter:
        return unjelly(expression)


def target(data: bytes) -> None:
    draw = Draw(data)
    for expression in [jelly(draw)] if draw.flag() else expressions(draw.rest()):
        try:
            value = judged(len(data), partial(_measured, expression))
        except (CallError, ProtocolError):  # the latter is the session's: a replica that comes twice
            continue
        text = describe(value)
        assert "_Pending" not in text, "a value that was never finished"
        try:
            written = Jellier(PB, Exports(), None, _LIMITS).jelly(value)
        except SerializationError:
            continue  # replicas and copies of the peer's, and exceptions, do not all go back
        [again] = expressions(written)
        if text != TOO_DEEP and _comes_back(text):
            assert describe(unjelly(again)) == text


def _comes_back(text: str) -> bool:
    """Whether a value contains nothing that returns as another value: a reference as its object, and so on."""
    return not any(word in text for word in ("Reference(", "local", "Error", "Note(", "Score(", "cache"))
