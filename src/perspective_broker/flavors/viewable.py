"""Viewable: one object that each user sees from their own perspective.

The peer that holds a view calls ``x``, and ``view_x(perspective, ...)`` runs here. This side keeps the perspective of
each view and adds it to the call, so that no peer can pretend to be another user.
"""

from __future__ import annotations

from collections.abc import Hashable

from ..errors import SerializationError
from .exporting import Exportable, export_key, export_target
from .target import Target
from .values import Perspective

__all__ = ["ViewPoint", "Viewable"]


class Viewable(Exportable):
    """An object whose ``view_*`` methods get the caller's perspective: ``def view_say(self, perspective, text)``.

    In the answer of a perspective's (or another view's) method, or through a reference that such a method received, it
    crosses as the view from that perspective. Outside of any perspective it cannot be sent.
    """

    _pb_prefix = "view_"
    _pb_takes_perspective = True

    def _pb_export_key(self, perspective: Perspective) -> Hashable:
        return (id(self), id(perspective))

    def _pb_export_target(self, perspective: Perspective) -> Target:
        if perspective is None:
            raise SerializationError(
                f"a {type(self).__name__} is viewable: it crosses only where a perspective is known, in answers "
                "of its methods and through references that they received; pb.ViewPoint(perspective, obj) names one",
                culprit=self,
            )
        return Target(self, self, "view_", (perspective,), perspective)


class ViewPoint(Exportable):
    """A viewable as seen from one perspective, for every peer that gets it.

    Args:
        perspective: the perspective of every caller through this view.
        obj: the viewable.
    """

    def __init__(self, perspective: Perspective, obj: Viewable) -> None:
        self.perspective = perspective
        self.obj = obj

    def _pb_export_key(self, perspective: Perspective) -> Hashable:
        return export_key(self.obj, self.perspective)

    def _pb_export_target(self, perspective: Perspective) -> Target:
        return export_target(self.obj, self.perspective)
