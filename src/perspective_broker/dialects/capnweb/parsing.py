"""JSON of a message, judged before it is read: how deep it is, and how many values it has."""

from __future__ import annotations

import json
import re
from typing import Final

import msgspec

from ...errors import ProtocolError
from ...ports import Undecoded

__all__ = ["count_nodes", "parsed"]

#: A string of JSON. It matches whatever follows a quotation mark, so that no byte is looked at twice.
_STRINGS: Final = re.compile(rb'"[^"\\]*(?:\\.[^"\\]*)*"?', re.DOTALL)


def count_nodes(message: bytes) -> int:
    """Return as how many values a message counts: each item is one, a list or an object four more."""
    bare = _STRINGS.sub(b"", message)
    return bare.count(b",") + 4 * (bare.count(b"[") + bare.count(b"{")) + 1


def parsed(message: bytes) -> Undecoded:
    """Return the content of a message.

    Raises:
        ProtocolError: it is not JSON, or nested too deep.
    """
    if message.count(b"[") + message.count(b"{") > _DEPTH:
        _check_depth(message)
    try:
        return msgspec.json.decode(message)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        if b"\\u" not in message:
            raise ProtocolError("bad-message", "a message is not JSON") from None
    # A lone surrogate, which JavaScript writes, costs its call alone.
    try:
        return json.loads(message, parse_constant=_no_constant)
    except (ValueError, RecursionError):
        raise ProtocolError("bad-message", "a message is not JSON") from None


def _no_constant(name: str) -> None:
    raise ValueError(name)


#: Brackets within each other. A list is two of them.
_DEPTH: Final = 256
_BRACKETS: Final = re.compile(rb"[\[\]{}]")


def _check_depth(message: bytes) -> None:
    depth = 0
    for found in _BRACKETS.finditer(_STRINGS.sub(b"", message)):
        depth += 1 if found[0] in b"[{" else -1
        if depth > _DEPTH:
            raise ProtocolError("limit-depth", f"a message has more than {_DEPTH} brackets within each other")
