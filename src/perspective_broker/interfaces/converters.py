"""What all converters have: the two directions, the error, and the hooks of the caller."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any, Final, Protocol

from ..flavors.values import Value

__all__ = ["Converter", "Hooks", "Misfit", "Node", "Work", "misfit", "type_name"]

#: Values that one argument or answer may make, shared ones counted each time. As many as a message may have by default
#: (Limits.nodes), because a shared list is checked as often as it occurs.
MOST_VALUES: Final = 1_000_000


class Misfit(Exception):
    """A value does not fit its annotation.

    Its text is the rest of a line that begins with the argument's name: ``: expected str, got int``, or
    ``.tags[1]: expected str, got int``. It never contains what arrived.
    """

    def within(self, part: str) -> Misfit:
        """Return the same for the value that contains this one under ``part``, such as ``.tags`` or ``[1]``."""
        return Misfit(f"{part}{self}")


class Hooks(Protocol):
    """What only the caller of ``converter`` knows: interfaces, their proxies, callables and streams."""

    def is_interface(self, annotation: object) -> bool:
        """Return whether an annotation is an interface, ``Box[int]`` included."""

    def proxy(self, interface: Any, reference: Value) -> object:
        """Return what calls a reference by an interface; an object of this program that came home, if it fits.

        Raises:
            Misfit: it is not a reference, or the object does not implement the interface.
        """

    def callable(self, annotation: Any, reference: Value) -> object:
        """Return a callable for what arrived where a ``Callable`` is annotated. Raises Misfit."""

    def check_callable(self, annotation: Any) -> None:
        """Raise TypeError if functions cannot be called by an annotation; the text says what to do."""

    def send_callable(self, annotation: Any, function: Callable[..., Any]) -> object:
        """Return what crosses for a function, by its annotation."""

    def stream(self, item: Converter, value: Value) -> object:
        """Return the stream that arrived where ``AsyncIterator[T]`` is annotated; its items go through ``item``."""


class Converter:
    """Checks and makes values by one annotation.

    Attributes:
        checks: False when everything fits.
        sends_as_is: whether :meth:`send` returns every value unchanged.
        exact: the type whose values always fit and stay themselves, or None.
    """

    checks: bool = True
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
        raise NotImplementedError

    def send(self, value: Value) -> Value:
        """Return what crosses for a value of this side.

        Raises:
            Misfit: the annotation would lose a part of it.
        """
        return value


class Work:
    """One value that is being checked: the dialect that it came by, and how much more may be looked at."""

    __slots__ = ("_left", "classic")

    def __init__(self, classic: bool) -> None:
        self.classic: bool = classic
        self._left: int = MOST_VALUES

    def spend(self, values: int) -> None:
        """Count ``values`` that will be looked at. Raises Misfit when these are too many."""
        self._left -= values
        if self._left < 0:
            raise Misfit(f": more than {MOST_VALUES} values, shared ones counted each time")


class Node(Converter):
    """A converter that can be a part of another.

    Attributes:
        expected: what an error calls it.
        shapes: types of what crosses for it.
        made: whether another object is made of what arrives, so that the types alone decide what to make.
        parts: the converters of what is in it, or that it is one of.
    """

    expected: str = "a value"
    shapes: frozenset[type] = frozenset()
    made: bool = False
    parts: Sequence[Node] = ()

    def receive(self, value: Value, classic: bool) -> Value:
        try:
            return self.take(value, Work(classic))
        except RecursionError:
            raise Misfit(": nested too deep, or contains itself") from None

    def take(self, value: Value, work: Work) -> Value:
        """The same as :meth:`receive`, within a larger value."""
        raise NotImplementedError

    def send(self, value: Value) -> Value:
        if self.sends_as_is:
            return value
        try:
            return self.give(value)
        except RecursionError:
            raise Misfit(": nested too deep, or contains itself") from None

    def give(self, value: Value) -> Value:
        """The same as :meth:`send`, within a larger value."""
        return value

    def fits(self, value: Value, work: Work) -> bool:
        """Return whether a value that arrived may be one of these, as far as its type shows."""
        return type(value) in self.shapes

    def gives(self, value: Value) -> bool:
        """Return whether a value of this side may be one of these, as far as its type shows."""
        return type(value) in self.shapes

    def holds(self, value: Value) -> bool:
        """Return whether a value of this side is one of these, as far as the types of all that is in it show."""
        return self.gives(value)

    def all_fit(self, values: Iterable[Value], work: Work) -> bool:
        """Return whether all values fit and stay as they are, if that is quickly seen."""
        return False


def type_name(value: Value) -> str:
    """Return the name of a value's type for an error."""
    return "None" if value is None else type(value).__name__


def misfit(expected: str, value: Value) -> Misfit:
    """Return the error for a value of another type than ``expected``."""
    return Misfit(f": expected {expected}, got {type_name(value)}")
