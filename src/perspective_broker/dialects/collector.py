"""Pause Python's cyclic garbage collector while a large message is decoded.

The collector runs after every few hundred new containers and visits all the young ones again. Nothing that is being
decoded is garbage yet, so these runs are useless, and the peer chooses what they cost: 1 MiB of lists within lists
took 467 ms on a classic dialect, and takes 142 ms with the collector paused (``python -m bench.hostile``).
"""

from __future__ import annotations

import gc
from typing import Final

__all__ = ["LARGE_MESSAGE", "MANY_VALUES", "CollectorRests", "rest", "wake"]

#: Bytes, and values, of a message from which on a pause is worth its cost: the collector runs once for a few hundred
#: containers.
LARGE_MESSAGE: Final = 16 * 1024
MANY_VALUES: Final = 1000


class CollectorRests:
    """A block in which the collector does not run. The block must neither wait nor call application methods."""

    __slots__ = ("_rests",)

    def __init__(self) -> None:
        self._rests = False

    def __enter__(self) -> None:
        self._rests = rest()

    def __exit__(self, *error: object) -> None:
        if self._rests:
            wake()


def rest() -> bool:
    """Pause the collector. Return whether the caller must call :func:`wake`: not when it was paused already."""
    if not gc.isenabled():
        return False
    gc.disable()
    return True


def wake() -> None:
    """Let the collector run again."""
    gc.enable()
