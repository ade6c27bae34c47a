"""Work: the time that decoding a message takes, in units that both sides count.

The number of items bounds the memory of a message. Its time depends on their types: a date takes as long to decode as
thirty small numbers. The receiver counts while it decodes. The sender counts what it has encoded, so that an honest
message never ends its connection.
"""

from __future__ import annotations

from typing import Final

from ...limits import Limits
from ...ports import Undecoded
from .failures import FAILURE_TAG

__all__ = ["CHEAP", "COSTLY", "TOO_MUCH_WORK", "UNLIMITED", "most_units", "units_in"]

#: Units of work, where they are not limited.
UNLIMITED: Final = 1 << 62

# A unit is half a microsecond on a machine where a call takes 25 µs (``python -m bench.hostile``).
#: Units of a container, or of a reference to an object,
CHEAP: Final = 1
#: and of a decimal, a date, or a copyable, because a class of the application sets its state.
COSTLY: Final = 5

_UNITS: Final = {
    **dict.fromkeys((b"None", b"boolean", b"unicode"), 0),
    **dict.fromkeys((b"list", b"tuple", b"set", b"frozenset", b"dictionary"), CHEAP),
    **dict.fromkeys((b"reference", b"dereference", b"remote", b"local", b"cached", b"lcache"), CHEAP),
    **dict.fromkeys((b"decimal", b"datetime", b"date", b"time", b"timedelta", FAILURE_TAG), COSTLY),
}

TOO_MUCH_WORK: Final = (
    "a message may have a tenth of Limits.nodes containers; "
    "each date, decimal or copyable in it counts as five containers"
)


def most_units(limits: Limits) -> int:
    """Return the units that the values of a message may take, which are decoded within 50 ms."""
    return max(64, limits.nodes // 10)


def units_in(jelly: Undecoded) -> int:
    """Return the units that decoding an encoded message takes, or slightly more."""
    units = 0
    left = [jelly]
    while left:
        part = left.pop()
        if type(part) is not list or not part:
            continue
        word = part[0]
        units += _UNITS.get(word, COSTLY) if type(word) is bytes else CHEAP
        if word == b"dictionary":  # a pair is not a value
            left.extend(half for pair in part[1:] for half in pair)
        else:
            left.extend(part[1:])
    return units
