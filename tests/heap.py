"""Collections that look at what a test has made alone, not at what was there before."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager

__all__ = ["freeze", "frozen_before"]


def freeze() -> None:
    """Let collections pass over everything that is there now."""
    gc.collect()
    gc.freeze()


@contextmanager
def frozen_before() -> Iterator[None]:
    """Let collections pass over what was there before, as they do again afterwards.

    To unfreeze alone would also unfreeze what the tests as a whole have frozen: a collection of that takes a third of a
    second, and every test behind ends with one.
    """
    freeze()
    try:
        yield
    finally:
        gc.unfreeze()
        freeze()
