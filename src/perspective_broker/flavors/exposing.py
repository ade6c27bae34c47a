"""Exposing what exists: a function, or methods of an object whose class was not made for this library.

Both are Referenceables whose ``remote_`` attributes are set when they are made: the function, or the methods that were
named. So a peer's name is looked up as for any Referenceable, and nothing else of the function or object is reached.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable
from types import BuiltinMethodType, MethodType
from typing import Any, Final

from .referenceable import Referenceable
from .values import Perspective, Value

__all__ = ["CALL", "Callback", "Exposed", "Wrapped", "callback", "wrap"]

#: The name under which the peer calls a function.
CALL: Final = "call"


class Exposed(Referenceable):
    """Base of objects that stand for others. Two that stand for the same are equal, and one object for a peer.

    Attributes:
        exposed: the function or object; kept alive by this one, which the export table keeps alive.
    """

    advice_to_callers: str = ""

    def __init__(self, exposed: Value, key: Hashable) -> None:
        self.exposed: Value = exposed
        self._key: Final = (type(self), key)

    def _pb_export_key(self, perspective: Perspective) -> Hashable:
        return self._key

    def __eq__(self, other: object) -> bool:
        return self._key == other._key if isinstance(other, Exposed) else NotImplemented

    def __hash__(self) -> int:
        return hash(self._key)


class Callback(Exposed):
    """A function that a peer can call; made by :func:`callback`."""

    advice_to_callers: str = f"; a callback has one, {CALL!r}"

    def __init__(self, function: Callable[..., Any]) -> None:
        super().__init__(function, _identity(function))
        self.remote_call: Callable[..., Any] = function

    def __repr__(self) -> str:
        return f"<Callback of {_name(self.exposed)}>"


class Wrapped(Exposed):
    """An object of which a peer can call some methods; made by :func:`wrap`."""

    def __init__(self, obj: Value, methods: dict[str, Callable[..., Any]]) -> None:
        super().__init__(obj, (id(obj), frozenset(methods)))
        self._names: Final = tuple(methods)
        vars(self).update({f"remote_{name}": method for name, method in methods.items()})

    def __repr__(self) -> str:
        return f"<Wrapped {type(self.exposed).__name__}: {', '.join(self._names)}>"


def callback(function: Callable[..., Any]) -> Referenceable:
    """Return an object that a peer can call, instead of an object with one method.

    The peer calls its method ``call``: ``await reference.call("call", 1, 2)``, or ``hear = reference.method("call")``
    and then ``await hear(1, 2)``; a Twisted program ``reference.callRemote("call", 1, 2)``. Arguments, answers and
    errors are those of any method. Two callbacks of the same function, or of the same method of the same object, are
    equal, and one object for the peer.

    Args:
        function: a function, plain or ``async``, a bound method, a :class:`functools.partial`, or another callable.

    Raises:
        TypeError: ``function`` cannot be called.
    """
    if not callable(function):
        raise TypeError(f"callback: must be a function or another callable, not {type(function).__name__}")
    return Callback(function)


def wrap(obj: Value, *names: str) -> Referenceable:
    """Return an object by which a peer can call the named methods of ``obj``, and reach nothing else of it.

    For an object whose class is not yours; its methods are called by their own names. It can be sent, or served:
    ``pb.serve(pb.wrap(calculator, "add", "multiply"), url)``. Two that wrap the same methods of the same object are
    equal, and one object for the peer.

    Args:
        obj: the object. The methods are those that it has now.
        names: of the methods.

    Raises:
        TypeError: ``obj`` is a class, no name is given or one is not text, or an attribute of that name is not a
            method.
        ValueError: a name begins with an underscore, or ``obj`` has no such attribute.
    """
    if isinstance(obj, type):
        raise TypeError(f"wrap: an object is wrapped, not its class: wrap({obj.__name__}(...), ...)")
    if not names:
        raise TypeError("wrap: needs the names of the methods that may be called")
    return Wrapped(obj, {name: _method(obj, name) for name in names})


def _method(obj: Value, name: str) -> Callable[..., Any]:
    """Return the method of ``obj`` that the program has named. Raises as :func:`wrap` does."""
    kind = type(obj).__name__
    if not isinstance(name, str):
        raise TypeError(f"wrap: the name of a method is text (str), not {type(name).__name__}")
    if name.startswith("_"):
        raise ValueError(f"wrap: {name!a} begins with an underscore, so it stays private")
    try:
        method = getattr(obj, name)
    except AttributeError:
        raise ValueError(f"wrap: a {kind} has no method {name!a}") from None
    if not callable(method):
        raise TypeError(f"wrap: {name!a} of a {kind} is not a method, but a {type(method).__name__}")
    return method  # type: ignore[no-any-return] # an attribute of an object of any class


def _identity(function: Callable[..., Any]) -> Hashable:
    """Return the key of a function. Each access to a method makes a new object, so these go by what is bound."""
    if isinstance(function, MethodType):
        return (id(function.__self__), id(function.__func__))
    if isinstance(function, BuiltinMethodType):
        return function  # is compared and hashed by the object that it is bound to
    return id(function)


def _name(function: Value) -> str:
    return str(getattr(function, "__qualname__", None) or type(function).__name__)
