"""The fields of an operation besides its values: ids, counts, flags. An invalid one ends the connection."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from ...errors import ProtocolError
from ...ports import Undecoded
from .codes import MAX_MILLISECONDS, WANTS_ANSWER
from .writing import MAX_DEPENDS_ON

__all__ = [
    "MAX_PING_BYTES",
    "are_text",
    "count_of",
    "dependencies_of",
    "id_of",
    "limited_flags",
    "no_such_flag",
    "ping_bytes",
]

#: Bytes in a ping, which are sent back in the pong.
MAX_PING_BYTES: Final = 125


def id_of(value: object) -> int:
    """Return an id."""
    # MessagePack integers have at most 64 bits, so an id is always safe as a key.
    if type(value) is int and value >= 0:
        return value
    raise ProtocolError("bad-id", "an id is a positive integer")


def no_such_flag() -> ProtocolError:
    """Return the error of flags that do not exist."""
    return ProtocolError("bad-message", "flags that do not exist")


def limited_flags(value: list[Undecoded]) -> tuple[int, float]:
    """Return the flags of a call with a deadline, and the seconds until then."""
    if len(value) == 2:
        flags, milliseconds = value
        if (
            type(flags) is int
            and flags & WANTS_ANSWER
            and type(milliseconds) is int
            and 0 < milliseconds <= MAX_MILLISECONDS
        ):
            return flags, milliseconds / 1000
    raise ProtocolError("bad-message", "a time that a call cannot have")


def dependencies_of(value: object) -> list[int]:
    """Return the ids of the calls on whose answers a call depends."""
    if type(value) is not list or not 0 < len(value) <= MAX_DEPENDS_ON:
        raise ProtocolError("bad-message", "the answers that a call depends on are an array of ids")
    return [id_of(request) for request in value]


def count_of(value: object) -> int:
    """Return a count."""
    if type(value) is int and value > 0:
        return value
    raise ProtocolError("refcount", "a count is a positive integer")


def are_text(keys: Iterable[object]) -> bool:
    """Return whether all keys are text."""
    return all(type(key) is str for key in keys)


def ping_bytes(data: object) -> bytes:
    """Return the payload of a ping or pong."""
    if type(data) is bytes and len(data) <= MAX_PING_BYTES:
        return data
    raise ProtocolError("bad-message", f"a ping carries at most {MAX_PING_BYTES} bytes")
