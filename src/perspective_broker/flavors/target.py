"""Target: what an export table keeps of an object.

Which methods a peer reaches, with which leading arguments, and under which perspective values cross.
"""

from __future__ import annotations

from typing import Any

from .values import Perspective, Value

__all__ = ["Target"]


class Target:
    """What calls to one exported object reach.

    Attributes:
        obj: what arrives at home when the peer sends its reference back.
        holder: the object whose methods are called.
        prefix: what the names of callable methods start with.
        leading: arguments put before those of the caller (a view's perspective).
        perspective: under which the arguments and the answer are coded; None outside of a perspective.
    """

    __slots__ = ("holder", "leading", "obj", "perspective", "prefix")

    def __init__(
        self,
        obj: Value,
        holder: Value,
        prefix: str,
        leading: tuple[Any, ...] = (),
        perspective: Perspective = None,
    ) -> None:
        self.obj = obj
        self.holder = holder
        self.prefix = prefix
        self.leading = leading
        self.perspective = perspective
