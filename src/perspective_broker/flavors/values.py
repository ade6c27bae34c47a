"""Values of the application: what the library carries and never looks into.

The names stand for ``Any``, so that an application's own annotations fit wherever one of them is written. They say
what kind of value is meant; whatever has a type of this library's has that type.
"""

from __future__ import annotations

from typing import Any, TypeAlias

__all__ = ["AnyConnection", "AnyObserver", "Perspective", "Value"]

#: An argument, an answer, a state, or an object that is called.
Value: TypeAlias = Any

#: The object that stands for the caller: a :class:`perspective_broker.Perspective`, or any avatar; None outside of any.
Perspective: TypeAlias = Any

#: A connection of the driver, as hooks get it: :class:`perspective_broker.Connection`, or one of ``compat``.
AnyConnection: TypeAlias = Any

#: An observer of the driver, as hooks get it: :class:`perspective_broker.RemoteCacheObserver`, or one of ``compat``.
AnyObserver: TypeAlias = Any
