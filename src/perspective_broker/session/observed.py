"""One of our objects of which the peer keeps a replica."""

from __future__ import annotations

from collections.abc import Hashable

from ..flavors import Cacheable, Observer
from ..flavors.guard import call_back
from ..ports import Perspective

__all__ = ["Observed"]


class Observed:
    """One of our objects that the peer keeps a replica of.

    Attributes:
        obj: the object; ``perspective`` under which its state was sent; ``observer`` sends updates to the peer.
        luid: the replica's id.
        count: decaches that the peer owes.
        asked: whether the object has returned its state, and so knows the observer.
    """

    __slots__ = ("asked", "count", "key", "luid", "obj", "observer", "perspective")

    def __init__(
        self, luid: int, key: Hashable, obj: Cacheable, perspective: Perspective, observer: Observer
    ) -> None:
        self.luid: int = luid
        self.key: Hashable = key
        self.obj: Cacheable = obj
        self.perspective: Perspective = perspective
        self.observer: Observer = observer
        self.count: int = 0
        self.asked: bool = False

    def stopped(self) -> None:
        """Notify the object, once, that this observer does not observe it any more."""
        if not self.asked:
            return
        self.asked = False
        call_back(
            lambda: self.obj.stopped_observing(self.perspective, self.observer),
            "stopped_observing of a %s raised",
            type(self.obj).__name__,
        )
