"""Converters of numpy's arrays and scalars. Only programs that annotate these import this module."""

from __future__ import annotations

from typing import Any, get_args

import numpy

from ..flavors.values import Value
from .converters import Misfit, Node, Work, misfit

__all__ = ["array_node"]


def array_node(annotation: Any, cls: type) -> Node | None:
    """Return the converter for a class of numpy; None when its values do not cross."""
    if issubclass(cls, numpy.ndarray):
        shape, dtype = (*get_args(annotation), Any, Any)[:2]
        arguments = get_args(dtype)
        return _Array(arguments[0] if arguments else Any, _dimensions(shape))
    if issubclass(cls, numpy.generic):
        return _Scalar(cls)
    return None


def _dimensions(shape: Any) -> int | None:
    """Return how many dimensions an annotated shape has; None when any number fits."""
    sizes = get_args(shape)
    return None if not sizes or Ellipsis in sizes else len(sizes)


class _Array(Node):
    """``numpy.ndarray``, or ``NDArray`` with the type of its items."""

    shapes = frozenset({numpy.ndarray})

    def __init__(self, kind: Any, dimensions: int | None) -> None:
        self._kind = kind if isinstance(kind, type) else None
        self._dimensions = dimensions
        self.expected = "an array" if self._kind is None else f"an array of {self._kind.__name__}"

    def take(self, value: Value, work: Work) -> Value:
        if not isinstance(value, numpy.ndarray):
            raise misfit(self.expected, value)
        if self._kind is not None and not numpy.issubdtype(value.dtype, self._kind):
            raise Misfit(f": expected {self.expected}, got one of {value.dtype.type.__name__}")
        if self._dimensions is not None and value.ndim != self._dimensions:
            raise Misfit(f": expected {self._dimensions} dimensions, got {value.ndim}")
        return value


class _Scalar(Node):
    """``numpy.float64`` and its like, which cross as a number of Python."""

    made = True
    sends_as_is = False

    def __init__(self, kind: Any) -> None:
        self._kind = kind
        self.expected = kind.__name__
        self._abstract = kind in (numpy.generic, numpy.number, numpy.integer, numpy.floating)
        self.shapes = frozenset(
            {bool}
            if issubclass(kind, numpy.bool_)
            else {int}
            if issubclass(kind, numpy.integer)
            else _numbers(kind)
        )

    def take(self, value: Value, work: Work) -> Value:
        if type(value) not in self.shapes:
            raise misfit(self.expected, value)
        if self._abstract:
            return value
        try:
            return self._kind(value)
        except (OverflowError, ValueError):
            raise Misfit(f": beyond the range of {self.expected}") from None

    def give(self, value: Value) -> Value:
        return value.item() if isinstance(value, numpy.generic) else value

    def gives(self, value: Value) -> bool:
        return isinstance(value, numpy.generic)


def _numbers(kind: Any) -> set[type]:
    if issubclass(kind, numpy.inexact):
        return {int, float, complex} if issubclass(kind, numpy.complexfloating) else {int, float}
    return {bool, int, float, complex, str, bytes}
