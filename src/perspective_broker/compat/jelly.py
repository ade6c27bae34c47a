"""jelly under Twisted's names: values as nested lists, and objects with their own jellyFor.

The classic dialect encodes and decodes values that cross a connection (:mod:`._values`). :func:`jelly` and
:func:`unjelly` are for everything else: files, and values of classes that only this program knows. They use the
dialect's unjellier, and only they may import the names in a jelly, as far as the taster allows it.
"""

from __future__ import annotations

import datetime
import decimal
import types
import warnings
from typing import Any, Final

from twisted.python.reflect import qual
from twisted.spread.interfaces import IJellyable, IUnjellyable

from ..dialects.classic.banana import Decoder
from ..dialects.classic.jelly import Jellier
from ..dialects.classic.vocabulary import NONE
from ..limits import Limits
from ..ports import NullExporter
from .jellyable import (
    Jellyable,
    None_atom,
    Unjellyable,
    Unpersistable,
    class_atom,
    dereference_atom,
    dictionary_atom,
    frozenset_atom,
    function_atom,
    getInstanceState,
    list_atom,
    module_atom,
    persistent_atom,
    reference_atom,
    set_atom,
    setInstanceState,
    state_of,
    tuple_atom,
    unpersistable_atom,
)
from .registry import (
    DummySecurityOptions,
    InsecureJelly,
    SecurityOptions,
    _bytes,
    _tag,
    globalSecurity,
    setUnjellyableFactoryForClass,
    setUnjellyableForClass,
    setUnjellyableForClassTree,
    unjellyableFactoryRegistry,
    unjellyableRegistry,
)
from .unjellier import LocalUnjellier

__all__ = [
    "DummySecurityOptions",
    "IJellyable",
    "IUnjellyable",
    "InsecureJelly",
    "Jellyable",
    "SecurityOptions",
    "Unjellyable",
    "Unpersistable",
    "getInstanceState",
    "globalSecurity",
    "jelly",
    "setInstanceState",
    "setUnjellyableFactoryForClass",
    "setUnjellyableForClass",
    "setUnjellyableForClassTree",
    "unjelly",
    "unjellyableFactoryRegistry",
    "unjellyableRegistry",
]

DictTypes = (dict,)

_CONTAINERS: Final = {list: list_atom, tuple: tuple_atom, set: set_atom, frozenset: frozenset_atom}

_LIMITS: Final = Limits()


def __getattr__(name: str) -> bytes:
    if name == "instance_atom":
        warnings.warn(
            "twisted.spread.jelly.instance_atom was deprecated in Twisted 15.0.0: "
            "instance_atom is unused within Twisted.",
            DeprecationWarning,
            stacklevel=2,
        )
        return b"instance"
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


class ListJellier:
    """Makes lists of one value; the argument of ``jellyFor``.

    An object that is met again becomes ``(dereference n)``. Its own list, wherever it stands by then, is changed in
    place to ``(reference n <list>)``.

    Attributes:
        taster: what may be jellied.
        invoker: the broker, when the value is to cross a connection.
    """

    def __init__(self, taster: Any, persistentStore: Any, invoker: Any, first: int = 1) -> None:
        self.taster = taster
        self.persistentStore = persistentStore
        self.invoker = invoker
        self._next = first
        self._lists: dict[int, list[Any]] = {}  # id of an object -> its list, as far as it is made
        self._numbers: dict[int, int] = {}  # ids of those that were met again
        self._complete: set[int] = set()
        self._kept: list[Any] = []  # so that ids stay their own

    def prepare(self, object: Any) -> list[Any]:
        """Return the list for an object whose parts are jellied next, because they may refer to it."""
        self._kept.append(object)
        sexp = self._lists[id(object)] = []
        return sexp

    def preserve(self, object: Any, sexp: list[Any]) -> list[Any]:
        """Complete the list, and return the object's entry in the list around it."""
        key = id(object)
        self._lists[key] = sexp
        self._complete.add(key)
        return [reference_atom, self._numbers[key], sexp] if key in self._numbers else sexp

    def _again(self, obj: Any) -> list[Any] | None:
        key = id(obj)
        sexp = self._lists.get(key)
        if sexp is None:
            return None
        if key not in self._numbers:
            self._numbers[key] = self._next
            self._next += 1
            if key in self._complete:
                sexp[:] = [reference_atom, self._numbers[key], sexp[:]]
        return [dereference_atom, self._numbers[key]]

    def jelly(self, obj: Any) -> Any:
        """Return the list for ``obj``."""
        if isinstance(obj, Jellyable):
            return self._again(obj) or obj.jellyFor(self)
        kind = type(obj)
        if not self.taster.isTypeAllowed(_tag(kind)):
            raise InsecureJelly(f"values of type {qual(kind)} are not allowed")
        if kind in (bytes, int, float):
            return obj
        if kind is str:
            return [b"unicode", obj.encode()]
        if obj is None:
            return [None_atom]
        if kind is bool:
            return [b"boolean", b"true" if obj else b"false"]
        if isinstance(obj, types.MethodType):
            return [
                b"method",
                obj.__func__.__name__.encode(),
                self.jelly(obj.__self__),
                self.jelly(obj.__self__.__class__),
            ]
        if isinstance(obj, types.FunctionType):
            return [function_atom, f"{obj.__module__}.{obj.__qualname__}".encode()]
        if isinstance(obj, types.ModuleType):
            return [module_atom, obj.__name__.encode()]
        if isinstance(obj, type):
            return [class_atom, _tag(obj)]
        if kind in _ATOMS:
            return _atom(obj)
        return self._again(obj) or self._mutable(obj, kind)

    def _mutable(self, obj: Any, kind: type) -> list[Any]:
        sexp = self.prepare(obj)
        if kind in _CONTAINERS:
            sexp.append(_CONTAINERS[kind])
            sexp.extend(map(self.jelly, obj))
        elif kind is dict:
            sexp.append(dictionary_atom)
            sexp.extend([self.jelly(key), self.jelly(value)] for key, value in obj.items())
        else:
            stored = self.persistentStore(obj, self) if self.persistentStore else None
            if stored is not None:
                sexp.extend([persistent_atom, stored])
            elif self.taster.isClassAllowed(kind):
                sexp.extend([_tag(kind), self.jelly(state_of(obj))])
            else:
                self.unpersistable(f"instance of class {qual(kind)} deemed insecure", sexp)
        return self.preserve(obj, sexp)

    def unpersistable(self, reason: Any, sxp: list[Any] | None = None) -> list[Any]:
        """Return the list for a value that cannot be jellied, with the reason."""
        sexp = [] if sxp is None else sxp
        sexp.extend([unpersistable_atom, _bytes(reason)])
        return sexp


_ATOMS: Final = (datetime.datetime, datetime.date, datetime.time, datetime.timedelta, decimal.Decimal)


def _atom(value: Any) -> Any:
    """Return a date or decimal as the dialect writes it."""
    decoder = Decoder(_LIMITS, has_words=False)
    decoder.receive_data(Jellier(NONE, NullExporter(), None, _LIMITS).jelly(value))
    return decoder.next()


_TRUSTED: Final = DummySecurityOptions()


def jelly(object: Any, taster: Any = _TRUSTED, persistentStore: Any = None, invoker: Any = None) -> Any:
    """Return ``object`` as nested lists of bytes, integers and floats.

    Args:
        object: what is jellied.
        taster: what may be; instances of other classes become ``unpersistable``.
        persistentStore: called with each instance and the jellier; returns what to write instead, or None.
        invoker: a broker, so that references can be counted.

    Raises:
        InsecureJelly: a type that the taster refuses.
    """
    return ListJellier(taster, persistentStore, invoker).jelly(object)


def unjelly(sexp: Any, taster: Any = _TRUSTED, persistentLoad: Any = None, invoker: Any = None) -> Any:
    """Return the value of nested lists.

    Args:
        sexp: from :func:`jelly`. With the default taster it must be trusted: it names what is imported.
        taster: what may be unjellied.
        persistentLoad: called with what persistentStore returned, and the unjellier.
        invoker: a broker, so that references can be made.

    Raises:
        InsecureJelly: a type, class or module that the taster refuses.
    """
    return LocalUnjellier(taster, persistentLoad, invoker).unjelly(_as_read(sexp))


def _as_read(sexp: Any) -> Any:
    """Return a jelly as it comes out of banana: lists for tuples, bytes for text."""
    if isinstance(sexp, (list, tuple)):
        return [_as_read(part) for part in sexp]
    return sexp.encode() if isinstance(sexp, str) else sexp
