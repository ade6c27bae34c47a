"""Converters of what crosses as a reference: interfaces, callables and streams. The caller's hooks do the work."""

from __future__ import annotations

import datetime
from decimal import Decimal
from types import NoneType
from typing import Any, Final
from uuid import UUID

from ..flavors import Exportable, Reference
from ..flavors.values import Value
from .converters import Hooks, Node, Work, misfit

__all__ = ["CallableNode", "InterfaceNode", "StreamNode"]

#: Types of values that are certainly no reference and no object of a program.
_DATA: Final = frozenset(
    {
        *(NoneType, bool, int, float, complex, str, bytes, list, tuple, dict, set, frozenset),
        *(datetime.date, datetime.time, datetime.datetime, datetime.timedelta, Decimal, UUID),
    }
)


class _Hooked(Node):
    def __init__(self, annotation: Any, hooks: Hooks, expected: str) -> None:
        self._annotation = annotation
        self._hooks = hooks
        self.expected = expected

    def fits(self, value: Value, work: Work) -> bool:
        return type(value) not in _DATA


class InterfaceNode(_Hooked):
    """An interface: a proxy is made of a reference."""

    made = True
    shapes = frozenset({Reference})

    def take(self, value: Value, work: Work) -> Value:
        if type(value) in _DATA:
            raise misfit(self.expected, value)
        return self._hooks.proxy(self._annotation, value)


class CallableNode(_Hooked):
    """A ``Callable``: a function crosses as a callback."""

    made = True
    shapes = frozenset({Reference})
    sends_as_is = False

    def __init__(self, annotation: Any, hooks: Hooks, expected: str) -> None:
        super().__init__(annotation, hooks, expected)
        hooks.check_callable(annotation)

    def take(self, value: Value, work: Work) -> Value:
        if type(value) in _DATA:
            raise misfit(self.expected, value)
        return self._hooks.callable(self._annotation, value)

    def give(self, value: Value) -> Value:
        return self._hooks.send_callable(self._annotation, value) if self.gives(value) else value

    def gives(self, value: Value) -> bool:
        return callable(value) and not isinstance(value, (Exportable, Reference))


class StreamNode(_Hooked):
    """An ``AsyncIterator``: its items are checked as they come."""

    def __init__(self, item: Node, hooks: Hooks, expected: str) -> None:
        super().__init__(None, hooks, expected)
        self._item = item

    def take(self, value: Value, work: Work) -> Value:
        if not hasattr(type(value), "__aiter__"):
            raise misfit(self.expected, value)
        return self._hooks.stream(self._item, value)
