"""Target: the entry of an exported object.

It determines the methods that a peer reaches, their leading arguments, and the perspective under which values cross.
"""

from __future__ import annotations

from typing import Any

from .offer import Offer
from .values import Perspective, Value

__all__ = ["Target"]


class Target:
    """The target of a peer's calls to an exported object.

    Attributes:
        obj: the object that arrives here when the peer sends its reference back.
        holder: the object whose methods are called.
        prefix: the prefix of the names of callable methods.
        leading: arguments in front of those of the caller (a view's perspective).
        perspective: the perspective under which the arguments and the answer are encoded; None outside of any.
        offer: the methods that the holder's class offers by its interfaces; None when it has none.
    """

    __slots__ = ("holder", "leading", "obj", "offer", "perspective", "prefix")

    def __init__(
        self,
        obj: Value,
        holder: Value,
        prefix: str,
        leading: tuple[Any, ...] = (),
        perspective: Perspective = None,
        offer: Offer | None = None,
    ) -> None:
        self.obj: Value = obj
        self.holder: Value = holder
        self.prefix: str = prefix
        self.leading: tuple[Any, ...] = leading
        self.perspective: Perspective = perspective
        self.offer: Offer | None = offer
