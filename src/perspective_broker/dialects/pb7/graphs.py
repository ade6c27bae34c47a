"""Graphs: containers that are shared or contain themselves; and containers that MessagePack does not have."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from ...errors import DecodeError
from ...ports import Value
from ..building import KeyCheck

__all__ = ["GraphBuilder", "Node", "dictionary_of", "set_of"]

#: Placeholder of a container that cannot be made before its parts.
_UNMADE: Final = object()


class Node:
    """A reference to one container of a graph."""

    __slots__ = ("number",)

    def __init__(self, number: int) -> None:
        self.number: int = number


class GraphBuilder:
    """Build a graph. Mutable containers are made empty and filled last, because they may contain themselves."""

    def __init__(self, rows: list[Value], depth: int, key_check: Callable[[], KeyCheck]) -> None:
        self._rows = rows
        self._depth = depth
        self._key_check = key_check
        # containers that cannot be made before their parts, whose parts are being built
        self._begun: set[int] = set()
        self._made: list[Value] = [_KINDS[row[0]]() if row[0] in _FILLED_KINDS else _UNMADE for row in rows]

    def build(self, root: Value) -> Value:
        """Return the value of ``root``: the container to which it refers, or the root itself."""
        for number in range(len(self._rows)):
            self._container(number, 0)
        for row, made in zip(self._rows, self._made, strict=True):
            kind = _KINDS[row[0]]
            if kind is list:
                made.extend(self._value(item, 0) for item in row[1:])
            elif kind is dict:
                _fill_dictionary(made, [self._value(item, 0) for item in row[1:]], self._key_check())
            elif kind is set:
                made |= set_of([self._value(item, 0) for item in row[1:]], self._key_check())
        return self._value(root, 0)

    def _value(self, item: Value, depth: int) -> Value:
        return self._container(item.number, depth) if type(item) is Node else item

    def _container(self, number: int, depth: int) -> Value:
        made = self._made[number]
        if made is not _UNMADE:
            return made
        if depth > self._depth:
            raise DecodeError("tuples of a graph that are nested too deep")
        if number in self._begun:
            # The depth limit would find this too, after reading the items once for each level.
            raise DecodeError("a tuple of a graph that contains itself")
        self._begun.add(number)
        row = self._rows[number]
        parts = [self._value(item, depth + 1) for item in row[1:]]
        made = self._made[number] = (
            tuple(parts) if _KINDS[row[0]] is tuple else frozenset(set_of(parts, self._key_check()))
        )
        return made


#: Types of a graph's containers, by their numbers on the wire.
_KINDS: Final[dict[int, type]] = {0: list, 1: dict, 2: tuple, 3: set, 4: frozenset}
_FILLED_KINDS: Final = (0, 1, 3)


def set_of(items: list[Value], check: KeyCheck) -> set[Value]:
    """Return a set of different items."""
    made: set[Value] = set()
    for item in items:
        check(item)
        made.add(item)
    if len(made) != len(items):
        raise DecodeError("a set with an item twice")
    return made


def _fill_dictionary(made: dict[Value, Value], parts: list[Value], check: KeyCheck) -> dict[Value, Value]:
    keys = parts[::2]
    for key, item in zip(keys, parts[1::2], strict=True):
        check(key)
        made[key] = item
    if len(made) != len(keys):
        raise DecodeError("a dictionary with a key twice")
    return made


def dictionary_of(parts: list[Value], check: KeyCheck) -> dict[Value, Value]:
    """Return a dictionary from alternating keys and items; the keys are different."""
    value = _fill_dictionary({}, parts, check)
    if all(type(key) is str for key in value):
        raise DecodeError("a dictionary with text as keys is a map")
    return value
