"""Pause Python's cyclic garbage collector while a large message is decoded.

The collector runs after every few hundred new containers and visits all the young ones again. Nothing that is being
decoded is garbage yet, so these runs are useless, and the peer chooses what they cost: 1 MiB of lists within lists
took 467 ms on a classic dialect, and takes 142 ms with the collector paused (``python -m bench.hostile``).
"""

from __future__ import annotations

import gc
from typing import Final

__all__ = ["LARGE_MESSAGE", "MANY_VALUES", "gc_paused", "pause_gc", "resume_gc"]

#: Bytes, and values, of a message from which on a pause is worth its cost: the collector runs once for a few hundred
#: containers.
LARGE_MESSAGE: Final = 16 * 1024
MANY_VALUES: Final = 1000


class gc_paused:
    """A block in which the collector does not run. The block must neither wait nor call application methods."""

    __slots__ = ("_paused",)

    def __init__(self) -> None:
        self._paused = False

    def __enter__(self) -> None:
        self._paused = pause_gc()

    def __exit__(self, *error: object) -> None:
        if self._paused:
            resume_gc()


def pause_gc() -> bool:
    """Pause the collector. Return whether the caller must call :func:`resume_gc`: not when it was paused already."""
    if not gc.isenabled():
        return False
    gc.disable()
    return True


def resume_gc() -> None:
    """Let the collector run again."""
    gc.enable()
