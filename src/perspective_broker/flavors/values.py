"""Aliases for values of the application, and for objects of the driver as hooks get them.

All of them are ``Any``, so that an application's own annotations fit wherever one of them is written.
"""

from __future__ import annotations

from typing import Any, TypeAlias

from ..ports import Perspective, Value

__all__ = ["AnyConnection", "AnyObserver", "Perspective", "Value"]

#: A connection of the driver, as hooks get it: :class:`perspective_broker.Connection`, or one of ``compat``.
AnyConnection: TypeAlias = Any

#: An observer of the driver, as hooks get it: :class:`perspective_broker.annotations.RemoteCacheObserver`, or one of
#: ``compat``.
AnyObserver: TypeAlias = Any
