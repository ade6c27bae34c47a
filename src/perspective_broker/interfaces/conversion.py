"""Conversion: check what arrives against an annotation, and make of it what the annotation says; and the reverse."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

from ..flavors.values import Value

__all__ = ["Converter", "Hooks", "Misfit", "converter"]


class Misfit(Exception):
    """A value does not fit its annotation. Its text is the rest of a line that begins with the argument's name."""


class Hooks(Protocol):
    """What only the caller of :func:`converter` knows: interfaces, their proxies, and callables."""

    def is_interface(self, annotation: object) -> bool:
        """Return whether an annotation is an interface, ``Box[int]`` included."""

    def proxy(self, interface: Any, reference: Value) -> object:
        """Return what calls a reference by an interface; an object of this program that came home, if it fits.

        Raises:
            Misfit: it is not a reference, or the object does not implement the interface.
        """

    def callable(self, annotation: Any, reference: Value) -> object:
        """Return a callable for what arrived where a ``Callable`` is annotated. Raises Misfit."""

    def send_callable(self, function: Callable[..., Any]) -> object:
        """Return what crosses for a function."""

    def stream(self, item: Converter, value: Value) -> object:
        """Return the stream that arrived where ``AsyncIterator[T]`` is annotated; its items go through ``item``."""


class Converter:
    """Checks and makes values by one annotation.

    Attributes:
        checks: False when everything fits.
        sends_as_is: whether :meth:`send` returns every value unchanged.
        exact: the type whose values always fit and stay themselves, or None.
    """

    checks: bool = False
    sends_as_is: bool = True
    exact: type | None = None

    def receive(self, value: Value, classic: bool) -> Value:
        """Return what the annotation makes of a value that arrived.

        Args:
            value: as the dialect decoded it.
            classic: whether a peer of the classic dialect sent it.

        Raises:
            Misfit: it does not fit.
        """
        return value

    def send(self, value: Value) -> Value:
        """Return what crosses for a value of this side. Raises Misfit when that would lose a part of it."""
        return value


def converter(annotation: object, hooks: Hooks) -> Converter:
    """Return the converter for an annotation whose names are resolved.

    Raises:
        TypeError: values cannot be checked by it; the text says what to do.
    """
    return Converter()
