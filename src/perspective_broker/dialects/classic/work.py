"""Work: what it takes to read a message, counted in units that both ends know.

Items say how much memory a message takes. The time that it takes depends on what they are: a date costs as much to read
as thirty small numbers. The receiver counts while it reads; the sender counts what it has written, so that an honest
message never costs it the connection.
"""

from __future__ import annotations

from typing import Final

from ...limits import Limits
from ...ports import Undecoded
from .failures import FAILURE_TAG

__all__ = ["CHEAP", "COSTLY", "TOO_MUCH_WORK", "UNLIMITED", "most_units", "units_in"]

#: Units where they are not limited.
UNLIMITED: Final = 1 << 62

# A unit is half a microsecond on a machine where a call takes 25 µs (``python -m bench.hostile``).
#: Units of a container, or of what mentions an object,
CHEAP: Final = 1
#: and of a decimal, a date, or a copyable, whose state is set by a class of the application.
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
    """Return how many units the values of a message may take: they are read within 50 ms."""
    return max(64, limits.nodes // 10)


def units_in(jelly: Undecoded) -> int:
    """Return how many units it takes to read what was written, or a little more."""
    units = 0
    left = [jelly]
    while left:
        part = left.pop()
        if type(part) is not list or not part:
            continue
        word = part[0]
        units += _UNITS.get(word, COSTLY) if type(word) is bytes else CHEAP
        if word == b"dictionary":  # a pair is no value
            left.extend(half for pair in part[1:] for half in pair)
        else:
            left.extend(part[1:])
    return units
