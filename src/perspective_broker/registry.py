"""Which classes and types may arrive, where that differs from one connection to another.

A program that registers its classes with ``@pb.value(tag)`` or ``@pb.copier_for(tag)`` needs nothing from here: they
are in :data:`default_registry`, and connections accept all of them. A :class:`Registry` holds classes for some
connections only; a :class:`Policy` is an allow-list. Pass them to ``serve`` and ``connect`` as ``registry=`` and
``policy=``.
"""

from .flavors import Policy, Registry, default_registry

__all__ = ["Policy", "Registry", "default_registry"]
