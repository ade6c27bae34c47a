"""Python's cyclic collector rests while a large message becomes values.

It runs whenever some hundred containers have been made and looks at all the young ones again. Nothing that is being
decoded is garbage yet, so this is for nothing, and what it costs the peer can choose: 1 MiB of lists within lists took
467 ms on a classic dialect, and takes 142 (``python -m bench.hostile``).
"""

from __future__ import annotations

import gc
from typing import Final

__all__ = ["LARGE_MESSAGE", "MANY_VALUES", "CollectorRests", "rest", "wake"]

#: Bytes of a message from which on it is worth it, and values: for some hundred containers the collector runs once.
LARGE_MESSAGE: Final = 16 * 1024
MANY_VALUES: Final = 1000


class CollectorRests:
    """A block in which Python does not look for garbage; one that waits on nothing, and runs nobody's methods."""

    __slots__ = ("_rests",)

    def __init__(self) -> None:
        self._rests = False

    def __enter__(self) -> None:
        self._rests = rest()

    def __exit__(self, *error: object) -> None:
        if self._rests:
            wake()


def rest() -> bool:
    """Let the collector rest. Returns whether :func:`wake` is owed: it is not where it rests already."""
    if not gc.isenabled():
        return False
    gc.disable()
    return True


def wake() -> None:
    """Let the collector go on."""
    gc.enable()
