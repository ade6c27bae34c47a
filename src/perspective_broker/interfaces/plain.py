"""Converters of plain values: scalars, containers, unions, and what is bounded."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, KeysView, Sequence, Set, ValuesView
from itertools import chain
from typing import TYPE_CHECKING, Any, Final

from ..flavors.values import Value
from .converters import Misfit, Node, Work, misfit

if TYPE_CHECKING:
    from msgspec import Meta

__all__ = [
    "Anything",
    "Bounded",
    "Derived",
    "Exact",
    "FixedTuple",
    "Instance",
    "Items",
    "OneOf",
    "Pairs",
    "Union",
]

_NONE: Final = type(None)


class Anything(Node):
    """No annotation, ``Any``, a type variable."""

    checks: bool = False
    expected: str = "anything"

    def receive(self, value: Value, classic: bool) -> Value:
        return value

    def take(self, value: Value, work: Work) -> Value:
        return value

    def fits(self, value: Value, work: Work) -> bool:
        return True

    def holds(self, value: Value) -> bool:
        return True

    def all_fit(self, values: Iterable[Value], work: Work) -> bool:
        return True


class Exact(Node):
    """A type that crosses as itself, and no subclass of it: ``str``, ``int``, ``datetime``, ..."""

    def __init__(self, kind: type) -> None:
        self.exact: type | None = kind
        self.shapes: frozenset[type] = frozenset({kind, int} if kind is float else {kind})
        self._types = frozenset({kind})
        self.expected: str = "None" if kind is _NONE else kind.__name__

    def receive(self, value: Value, classic: bool) -> Value:
        if type(value) is self.exact:
            return value
        if self.exact is float and type(value) is int:
            try:
                return float(value)
            except OverflowError:
                raise Misfit(": expected float, got int beyond its range") from None
        if classic and self.exact is str and type(value) is bytes:  # text of a Python 2 peer
            try:
                return value.decode()
            except UnicodeDecodeError:
                raise Misfit(": expected str, got bytes that are not UTF-8") from None
        raise misfit(self.expected, value)

    def take(self, value: Value, work: Work) -> Value:
        return value if type(value) is self.exact else self.receive(value, work.classic)

    def fits(self, value: Value, work: Work) -> bool:
        return type(value) in self.shapes or (work.classic and self.exact is str and type(value) is bytes)

    def all_fit(self, values: Iterable[Value], work: Work) -> bool:
        return self._types.issuperset(map(type, values))


class Instance(Node):
    """Classes whose objects cross by themselves, in whatever way: a flavor, a reference, a registered class."""

    def __init__(self, *kinds: type) -> None:
        self._kind = kinds
        self.shapes: frozenset[type] = frozenset(kinds)
        self.expected: str = kinds[0].__name__

    def take(self, value: Value, work: Work) -> Value:
        if isinstance(value, self._kind):
            return value
        raise misfit(self.expected, value)

    def fits(self, value: Value, work: Work) -> bool:
        return isinstance(value, self._kind)

    def holds(self, value: Value) -> bool:
        return isinstance(value, self._kind)


class Derived(Node):
    """A class that is derived from a type that crosses, such as ``class UserId(str)``, or made of one.

    Args:
        kind: the class.
        base: the converter of what crosses.
        plain: returns what crosses for an object.
        accepts: other types, from which it is made as well.
    """

    sends_as_is: bool = False
    made: bool = True

    def __init__(self, kind: type, base: Node, plain: Callable[[Any], Any]) -> None:
        self._kind = kind
        self._base = base
        self._plain = plain
        self.shapes: frozenset[type] = base.shapes | {kind}
        self.expected: str = kind.__name__

    def take(self, value: Value, work: Work) -> Value:
        if type(value) is self._kind:
            return value
        if not self._base.fits(value, work):
            raise misfit(self._base.expected, value)
        content = self._base.take(value, work)
        try:
            return self._kind(content)
        except Exception as error:
            raise Misfit(f": {self.expected} refuses it ({type(error).__name__})") from error

    def give(self, value: Value) -> Value:
        if not isinstance(value, self._kind):
            return value
        if getattr(value, "__dict__", None):
            raise Misfit(f": a {type(value).__name__} with attributes, which would be lost")
        return self._base.give(self._plain(value))

    def gives(self, value: Value) -> bool:
        return isinstance(value, self._kind)


class OneOf(Node):
    """``Literal``, or the members of an enumeration.

    Args:
        expected: for errors.
        members: what crosses and what it stands for.
        of: the enumeration, whose objects are sent as their values.
    """

    def __init__(self, expected: str, members: Sequence[tuple[Value, Value]], of: Any = None) -> None:
        self._members = members
        self._of = of
        self.expected: str = expected
        self.sends_as_is: bool = of is None
        self.made: bool = of is not None
        self.shapes: frozenset[type] = frozenset(type(value) for value, _ in members)

    def take(self, value: Value, work: Work) -> Value:
        if self._of is not None and isinstance(value, self._of):
            return value
        if work.classic and type(value) is bytes and bytes not in self.shapes:
            value = _decoded(value)
        kind = type(value)
        if kind in self.shapes:
            for known, member in self._members:
                if type(known) is kind and known == value:
                    return member
            if self._of is not None:
                return self._combined(value)
        raise misfit(self.expected, value)

    def _combined(self, value: Value) -> Value:
        """Return members of a flag that are set together, or a member that the enumeration itself finds."""
        try:
            return self._of(value)
        except Exception:
            raise Misfit(f": the {type(value).__name__} is not {self.expected}") from None

    def fits(self, value: Value, work: Work) -> bool:
        return (
            type(value) in self.shapes
            or (self._of is not None and isinstance(value, self._of))
            or (work.classic and type(value) is bytes)
        )

    def give(self, value: Value) -> Value:
        return value.value if self._of is not None and isinstance(value, self._of) else value

    def gives(self, value: Value) -> bool:
        return isinstance(value, self._of) if self._of is not None else type(value) in self.shapes


def _decoded(value: bytes) -> Value:
    try:
        return value.decode()
    except UnicodeDecodeError:
        return value


class Items(Node):
    """A list, a set, a deque, a tuple of any length: items of one kind.

    Args:
        kind: the type that is made, or None for the type that arrived (of an annotated ``Sequence``).
        shapes: the types that are taken.
        item: the converter of each item.
    """

    def __init__(
        self, kind: Callable[[list[Value]], Value] | None, shapes: Sequence[type], item: Node
    ) -> None:
        self._kind = kind
        self._item = item
        self.parts: Sequence[Node] = (item,)
        self._deep = item.checks
        self.shapes: frozenset[type] = frozenset(shapes)
        self.expected: str = shapes[0].__name__
        self.sends_as_is: bool = item.sends_as_is and kind is not None
        self._given = frozenset((*shapes, list, tuple, set, frozenset))
        self._classic = frozenset((*shapes, list)) if tuple in shapes else self.shapes

    def take(self, value: Value, work: Work) -> Value:
        arrived = type(value)
        if arrived not in (self._classic if work.classic else self.shapes):
            raise misfit(self.expected, value)
        work.spend(len(value))
        right = arrived in self.shapes
        if not self._deep or self._item.all_fit(value, work):
            return value if right else tuple(value)
        made = []
        take = self._item.take
        for index, item in enumerate(value):
            try:
                made.append(take(item, work))
            except Misfit as error:
                raise error.within(_at(index, value)) from None
        return self._put(made, arrived if right else tuple)

    def _put(self, made: list[Value], arrived: type) -> Value:
        """Return the items in their container."""
        if arrived is list:
            return made
        try:
            return (self._kind or arrived)(made)
        except TypeError:
            raise Misfit(": an item of the set cannot be hashed") from None

    def give(self, value: Value) -> Value:
        if self._kind is None and type(value) not in self.shapes and _is_sized(value):
            value = list(value)
        if self._item.sends_as_is or type(value) not in self._given:
            return value
        given = []
        for index, item in enumerate(value):
            try:
                given.append(self._item.give(item))
            except Misfit as error:
                raise error.within(_at(index, value)) from None
        return self._put(given, type(value))

    def fits(self, value: Value, work: Work) -> bool:
        return type(value) in (self._classic if work.classic else self.shapes)

    def holds(self, value: Value) -> bool:
        return self.gives(value) and all(map(self._item.holds, value))

    def all_fit(self, values: Iterable[Value], work: Work) -> bool:
        lists = list(values)
        if not self.shapes.issuperset(map(type, lists)):
            return False
        work.spend(sum(map(len, lists)))
        return not self._deep or self._item.all_fit(chain.from_iterable(lists), work)


def _is_sized(value: Value) -> bool:
    """Return whether a value is sent as a list where ``Sequence``, ``Iterable`` or ``Collection`` is annotated."""
    return isinstance(value, (Sequence, Set, KeysView, ValuesView)) and not isinstance(value, (str, bytes))


def _at(index: int, value: Value) -> str:
    return f"[{index}]" if hasattr(value, "__getitem__") else "{...}"


class FixedTuple(Node):
    """A tuple with a converter for each of its items."""

    expected: str = "tuple"
    shapes: frozenset[type] = frozenset({tuple})

    def __init__(self, items: Sequence[Node]) -> None:
        self._items = items
        self.parts: Sequence[Node] = items
        self.sends_as_is: bool = all(item.sends_as_is for item in items)

    def take(self, value: Value, work: Work) -> Value:
        if not self.fits(value, work):
            raise misfit(self.expected, value)
        size = len(self._items)
        if len(value) != size:
            raise Misfit(f": expected a tuple of {size}, got one of {len(value)}")
        work.spend(size)
        return tuple(self._each(value, lambda node, item: node.take(item, work)))

    def _each(self, value: Value, convert: Callable[[Node, Value], Value]) -> Iterable[Value]:
        for index, (node, item) in enumerate(zip(self._items, value, strict=True)):
            try:
                yield convert(node, item)
            except Misfit as error:
                raise error.within(f"[{index}]") from None

    def give(self, value: Value) -> Value:
        if not isinstance(value, tuple) or len(value) != len(self._items):
            return value  # refused at the peer, which names both sizes
        return tuple(self._each(value, lambda node, item: node.give(item)))

    def fits(self, value: Value, work: Work) -> bool:
        return type(value) is tuple or (work.classic and type(value) is list)

    def holds(self, value: Value) -> bool:
        return (
            isinstance(value, tuple)
            and len(value) == len(self._items)
            and all(node.holds(item) for node, item in zip(self._items, value, strict=True))
        )


class Pairs(Node):
    """A dictionary; ``of`` is the type of what is sent as one."""

    expected: str = "dict"
    shapes: frozenset[type] = frozenset({dict})

    def __init__(self, key: Node, item: Node, of: Any = dict) -> None:
        self._key = key
        self._item = item
        self.parts: Sequence[Node] = (key, item)
        self._of = of
        self.sends_as_is: bool = of is dict and key.sends_as_is and item.sends_as_is

    def take(self, value: Value, work: Work) -> Value:
        if type(value) is not dict:
            raise misfit(self.expected, value)
        work.spend(2 * len(value))
        if self._key.all_fit(value, work) and self._item.all_fit(value.values(), work):
            return value
        made: dict[Value, Value] = {}
        for key, item in value.items():
            try:
                made_key = self._key.take(key, work)
            except Misfit as error:
                raise error.within(" key") from None
            try:
                made[made_key] = self._item.take(item, work)
            except Misfit as error:
                raise error.within("[...]") from None
            except TypeError:
                raise Misfit(" key: cannot be hashed") from None
        if len(made) != len(value):
            raise Misfit(": two keys that are equal once they are converted")
        return made

    def give(self, value: Value) -> Value:
        if not isinstance(value, self._of):
            return value
        given = {}
        for key, item in value.items():
            try:
                given[self._key.give(key)] = self._item.give(item)
            except Misfit as error:
                raise error.within("[...]") from None
        return given

    def holds(self, value: Value) -> bool:
        return (
            isinstance(value, self._of)
            and all(map(self._key.holds, value))
            and all(map(self._item.holds, value.values()))
        )

    def all_fit(self, values: Iterable[Value], work: Work) -> bool:
        found = list(values)
        if not self.shapes.issuperset(map(type, found)):
            return False
        work.spend(2 * sum(map(len, found)))
        return self._key.all_fit(chain.from_iterable(found), work) and self._item.all_fit(
            chain.from_iterable(each.values() for each in found), work
        )


class Union(Node):
    """One of several. Those that are made of what arrives have different shapes, so that types decide."""

    def __init__(self, members: Sequence[Node]) -> None:
        self._members = members
        self.parts: Sequence[Node] = members
        self._exact = frozenset(member.exact for member in members if member.exact is not None)
        self.shapes: frozenset[type] = frozenset().union(*(member.shapes for member in members))
        self.made: bool = any(member.made for member in members)
        self.sends_as_is: bool = all(member.sends_as_is for member in members)
        self.expected: str = " or ".join(dict.fromkeys(member.expected for member in members))

    def take(self, value: Value, work: Work) -> Value:
        if type(value) in self._exact:
            return value
        first: Misfit | None = None
        for member in self._members:
            if member.fits(value, work):
                try:
                    return member.take(value, work)
                except Misfit as error:
                    first = first or error
        raise first or misfit(self.expected, value)

    def give(self, value: Value) -> Value:
        found = [member for member in self._members if member.gives(value)]
        if len(found) > 1:  # containers, which differ in what is in them
            found = [member for member in self._members if member.holds(value)] or found
        return found[0].give(value) if found else value

    def fits(self, value: Value, work: Work) -> bool:
        return any(member.fits(value, work) for member in self._members)

    def gives(self, value: Value) -> bool:
        return any(member.gives(value) for member in self._members)

    def holds(self, value: Value) -> bool:
        return any(member.holds(value) for member in self._members)

    def all_fit(self, values: Iterable[Value], work: Work) -> bool:
        return len(self._exact) > 0 and self._exact.issuperset(map(type, values))


class Bounded(Node):
    """``Annotated[int, msgspec.Meta(ge=0)]``."""

    def __init__(self, base: Node, meta: Meta) -> None:
        self._base = base
        self._rules = [(text, rule) for text, rule in _rules(meta) if rule is not None]
        self.shapes: frozenset[type] = base.shapes
        self.made: bool = base.made
        self.parts: Sequence[Node] = base.parts
        self.expected: str = base.expected
        self.sends_as_is: bool = base.sends_as_is

    def take(self, value: Value, work: Work) -> Value:
        made = self._base.take(value, work)
        for text, holds in self._rules:
            try:
                kept = holds(made)
            except Exception:  # the bound is of another kind than the value
                kept = False
            if not kept:
                raise Misfit(f": expected {self.expected} {text}")
        return made

    def give(self, value: Value) -> Value:
        return self._base.give(value)

    def fits(self, value: Value, work: Work) -> bool:
        return self._base.fits(value, work)

    def gives(self, value: Value) -> bool:
        return self._base.gives(value)

    def holds(self, value: Value) -> bool:
        return self._base.holds(value)


def _rules(meta: Any) -> list[tuple[str, Callable[[Any], bool] | None]]:
    """Return the bounds of a ``Meta``, in words and as functions."""
    gt, ge, lt, le, of = meta.gt, meta.ge, meta.lt, meta.le, meta.multiple_of
    shortest, longest, pattern, tz = meta.min_length, meta.max_length, meta.pattern, meta.tz
    search = re.compile(pattern).search if pattern is not None else None
    return [
        (f"> {gt}", None if gt is None else lambda value: value > gt),
        (f">= {ge}", None if ge is None else lambda value: value >= ge),
        (f"< {lt}", None if lt is None else lambda value: value < lt),
        (f"<= {le}", None if le is None else lambda value: value <= le),
        (f"that is a multiple of {of}", None if of is None else lambda value: value % of == 0),
        (f"of at least {shortest}", None if shortest is None else lambda value: len(value) >= shortest),
        (f"of at most {longest}", None if longest is None else lambda value: len(value) <= longest),
        (
            f"that matches {pattern!r}",
            None if search is None else lambda value: search(value) is not None,
        ),
        (
            f"with{'' if tz else 'out'} a time zone",
            None if tz is None else lambda value: (value.tzinfo is not None) is tz,
        ),
    ]
