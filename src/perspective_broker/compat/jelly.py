"""jelly under Twisted's names: values as nested lists, and objects that say how they are jellied.

What crosses a connection is written and read by the classic dialect (:mod:`._values`). :func:`jelly` and
:func:`unjelly` are for everything else: files, and values of classes that only this program knows. They read with
the dialect's own unjellier, and only they may import what a jelly names, as far as the taster allows it.
"""

from __future__ import annotations

import datetime
import decimal
import types
import warnings
from collections.abc import Callable
from functools import partial
from typing import Any, Final, NoReturn

from twisted.python.reflect import namedAny, namedObject, qual
from twisted.spread.interfaces import IJellyable, IUnjellyable
from zope.interface import implementer

from .. import errors
from ..dialects.classic.banana import Decoder
from ..dialects.classic.failures import FAILURE_TAG
from ..dialects.classic.jelly import Jellier
from ..dialects.classic.unjelly import Readers, Unjellier, readers_for
from ..dialects.classic.vocabulary import NONE
from ..flavors import Policy, Registry, RemoteCache
from ..limits import Limits
from ..ports import Importer, NullPort
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

None_atom = b"None"
class_atom = b"class"
module_atom = b"module"
function_atom = b"function"
dereference_atom = b"dereference"
persistent_atom = b"persistent"
reference_atom = b"reference"
dictionary_atom = b"dictionary"
list_atom = b"list"
set_atom = b"set"
tuple_atom = b"tuple"
frozenset_atom = b"frozenset"
unpersistable_atom = b"unpersistable"

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


# -- objects that say how they are jellied


def stock(hook: Callable[..., Any]) -> Callable[..., Any]:
    """Mark a flavor's own ``jellyFor`` or ``unjellyFor``: the dialect does the same without calling it."""
    hook.is_stock = True  # type: ignore[attr-defined]
    return hook


def is_stock(cls: type, hook: str) -> bool:
    """Return whether a class has not overridden that hook of its flavor."""
    return getattr(getattr(cls, hook, None), "is_stock", False)


@implementer(IJellyable)
class Jellyable:
    """An object that jellies itself: as its class's name and :meth:`getStateFor`, unless ``jellyFor`` is overridden."""

    def getStateFor(self, jellier: Any) -> Any:
        """Return the state."""
        return self.__dict__

    def jellyFor(self, jellier: Any) -> Any:
        """Return the list that stands for this object; its parts are made by ``jellier.jelly(part)``."""
        sexp = jellier.prepare(self)
        sexp.extend([_tag(self.__class__), jellier.jelly(self.getStateFor(jellier))])
        return jellier.preserve(self, sexp)


@implementer(IUnjellyable)
class Unjellyable:
    """What a jelly may become once it is registered."""

    def setStateFor(self, unjellier: Any, state: Any) -> None:
        """Take the state."""
        self.__dict__ = state

    @stock
    def unjellyFor(self, unjellier: Any, jellyList: Any) -> Any:
        """Fill this new object from a list, and return it."""
        return unjellier.fill(self, jellyList)


class Unpersistable:
    """In the place of something that could not be jellied."""

    def __init__(self, reason: Any) -> None:
        self.reason = reason

    def __repr__(self) -> str:
        return f"Unpersistable({self.reason!r:.200})"


def getInstanceState(inst: Any, jellier: Any) -> Any:
    """Return the list for an instance by its ``__getstate__``, or its attributes."""
    sexp = jellier.prepare(inst)
    sexp.extend([_tag(inst.__class__), jellier.jelly(_state_of(inst))])
    return jellier.preserve(inst, sexp)


def setInstanceState(inst: Any, unjellier: Any, jellyList: Any) -> Any:
    """Fill an instance by its ``__setstate__``, or set its attributes."""
    put_state(inst, unjellier.unjelly(jellyList[1]))
    return inst


def _state_of(inst: Any) -> Any:
    # Every object of Python 3.11 has a __getstate__, which answers None when there is nothing to say.
    return inst.__getstate__()


def _blank(cls: Any) -> Any:
    """Return an instance made without ``__init__``."""
    return cls.__new__(cls)


def put_state(inst: Any, state: Any) -> None:
    """Give an instance made without ``__init__`` its state."""
    setter = getattr(inst, "__setstate__", None)
    if setter is not None:
        setter(state)
    elif isinstance(state, dict):
        inst.__dict__ = state


# -- to lists


class ListJellier:
    """One value to lists; what ``jellyFor`` is handed.

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
        """Return the list for an object whose parts are about to be jellied: they may mention it."""
        self._kept.append(object)
        sexp = self._lists[id(object)] = []
        return sexp

    def preserve(self, object: Any, sexp: list[Any]) -> list[Any]:
        """The list is complete: return what stands for the object in the list around it."""
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
                sexp.extend([_tag(kind), self.jelly(_state_of(obj))])
            else:
                self.unpersistable(f"instance of class {qual(kind)} deemed insecure", sexp)
        return self.preserve(obj, sexp)

    def unpersistable(self, reason: Any, sxp: list[Any] | None = None) -> list[Any]:
        """Return the list for something that cannot be jellied, and why."""
        sexp = [] if sxp is None else sxp
        sexp.extend([unpersistable_atom, _bytes(reason)])
        return sexp


_ATOMS: Final = (datetime.datetime, datetime.date, datetime.time, datetime.timedelta, decimal.Decimal)


def _atom(value: Any) -> Any:
    """Return a date or decimal as the dialect writes it."""
    decoder = Decoder(_LIMITS, has_words=False)
    decoder.receive_data(Jellier(NONE, NullPort(), None, _LIMITS).jelly(value))
    return decoder.next()


# -- from lists


class TasterPolicy(Policy):
    """Security options as the dialect asks for them."""

    def __init__(self, taster: Any) -> None:
        super().__init__()
        object.__setattr__(self, "_taster", taster)

    def allows_type(self, name: str) -> bool:
        return bool(self._taster.isTypeAllowed(name.encode()))  # type: ignore[attr-defined]


class Nested:
    """What ``unjellyFor`` is handed.

    Attributes:
        taster: what may be unjellied.
        invoker: the broker, when the list came over a connection.
    """

    def __init__(self, unjellier: FaceUnjellier) -> None:
        self._unjellier = unjellier
        self.taster = unjellier.taster
        self.invoker = unjellier.invoker

    def unjelly(self, obj: Any) -> Any:
        """Return the value of a part of the list."""
        return self._unjellier.part(obj)

    def fill(self, value: Any, jellyList: list[Any]) -> Any:
        """Give a new object the state in its list, as its flavor does, and return it."""
        self._unjellier._set_state(value, jellyList)
        return value


class FaceUnjellier(Unjellier):
    """The dialect's unjellier, with this face's registry and hooks.

    Args:
        importer: turns ids into objects.
        perspective: which the references in the value will remember.
        readers: see :func:`readers`.
        taster: what may be unjellied.
        invoker: the broker, if any.
    """

    __slots__ = ("_hooks", "invoker", "taster")

    def __init__(
        self, importer: Importer, perspective: Any, readers: Readers, taster: Any, invoker: Any
    ) -> None:
        super().__init__(importer, perspective, readers, _NO_REGISTRY, _EVERYTHING)
        self.taster = taster
        self.invoker = invoker
        self._hooks: list[Callable[[], object]] = []

    def unjelly(self, jelly: Any) -> Any:
        value = super().unjelly(jelly)
        for hook in self._hooks:
            hook()
        return value

    def part(self, obj: Any) -> Any:
        """Return what a part stands for, for a hook that unjellies its own list."""
        if type(obj) is not list:
            return obj
        mentions = self._mentions
        value = self._value(obj)
        if self._mentions != mentions:
            raise errors.DecodeError("a cycle through an object that unjellies itself")
        return value

    def _class(self, jelly: list[Any]) -> Any:
        """Return what is registered under a list's tag; None when a factory is.

        Raises:
            InsecureJelly: nothing is, or it may not be used here.
        """
        tag = jelly[0]
        if type(tag) is not bytes:
            raise errors.DecodeError("a list must start with a type's name")
        if self.taster.isTypeAllowed(tag):
            found = unjellyableRegistry.get(tag)
            if found is not None:
                return found
            if tag in unjellyableFactoryRegistry:
                return None
            found = self._find_allowed(tag)
            if found is not None:
                return found
        raise errors.InsecureJelly(f"{tag.decode()[:64]!a} is not allowed here")

    def _find_allowed(self, tag: bytes) -> Any:
        """Return the allowed class of that name; nothing is imported for a peer."""
        for cls in getattr(self.taster, "allowedClasses", ()):
            if _tag(cls) == tag and self.taster.isClassAllowed(cls):
                return cls
        return None

    def _blank(self, jelly: list[Any]) -> Any:
        cls = self._class(jelly)
        if not isinstance(cls, type) or not _is_plain(cls):
            return None
        return self._hooked(_blank(cls))

    def _copy(self, jelly: list[Any]) -> Any:
        cls = self._class(jelly)
        if cls is None:
            state, complete = self._state(jelly)
            if not complete:
                raise errors.DecodeError(
                    "a state that contains its own object, which only a factory can make"
                )
            return self._hooked(unjellyableFactoryRegistry[jelly[0]](state))
        if not isinstance(cls, type):
            return self._hooked(cls(Nested(self), jelly))
        if not _is_plain(cls):
            return self._hooked(_blank(cls).unjellyFor(Nested(self), jelly))
        if len(jelly) == 3:
            return self._hooked(self._introduce(cls, jelly))
        value = self._hooked(_blank(cls))
        self._set_state(value, jelly)
        return value

    def _hooked(self, value: Any) -> Any:
        """Note an object's ``postUnjelly``, to be called when the whole value is there."""
        hook = getattr(value, "postUnjelly", None)
        if hook is not None:
            self._hooks.append(hook)
        return value

    def _set_state(self, value: Any, jelly: list[Any], fields: int = 2) -> None:
        state, complete = self._state(jelly, fields)
        put = partial(self._put, value, state)
        if complete:
            put()
        else:
            self._late.append(put)

    def _put(self, value: Any, state: Any) -> None:
        if isinstance(value, RemoteCache):
            # All instances of a replica share one dictionary, whatever its class does with its own.
            shared = value.__dict__
            value.__init__()  # type: ignore[misc] # as Twisted does: a replica is made without arguments
            value.set_copyable_state(state)
            if value.__dict__ is not shared:
                shared.clear()
                shared.update(value.__dict__)
                value.__dict__ = shared
        elif self.invoker is not None and hasattr(value, "set_copyable_state"):
            value.set_copyable_state(state)
        elif isinstance(value, Unjellyable) and not hasattr(value, "set_copyable_state"):
            value.setStateFor(Nested(self), state)
        else:
            put_state(value, state)


def _is_plain(cls: type) -> bool:
    """Return whether a class is filled with a state, and not asked to unjelly itself."""
    return not hasattr(cls, "unjellyFor") or is_stock(cls, "unjellyFor")


#: The tables of the modern face are not asked: :meth:`FaceUnjellier._class` knows this face's.
_NO_REGISTRY: Final = Registry()
_EVERYTHING: Final = Policy()


def readers(taster: Any) -> Readers:
    """Return what reads the types that security options allow. Failures are copies like any other here."""
    found = readers_for(TasterPolicy(taster))
    del found[FAILURE_TAG]
    return found


class _LocalUnjellier(FaceUnjellier):
    """For :func:`unjelly`: also what only this program can mean, modules and classes and functions."""

    __slots__ = ("persistentLoad",)

    def __init__(self, taster: Any, persistentLoad: Any, invoker: Any) -> None:
        known = readers(taster)
        for word, read in _LOCAL_READERS.items():
            known[word] = read if taster.isTypeAllowed(word) else _refuse
        importer = NullPort() if invoker is None else invoker.importer
        super().__init__(importer, getattr(invoker, "unserializingPerspective", None), known, taster, invoker)
        self.persistentLoad = persistentLoad

    def unjelly(self, jelly: Any) -> Any:
        if type(jelly) is not list:
            return jelly
        try:
            # Without what unjelly says to a peer: a caller of this program wants to see its own exceptions.
            (value,) = self._list([list_atom, jelly])
            if self._unresolved:
                raise errors.DecodeError("a value that contains itself in a way that cannot be built")
            for late in self._late:
                late()
        except errors.InsecureJelly as error:
            raise InsecureJelly(str(error)) from None
        for hook in self._hooks:
            hook()
        return value

    def _find_allowed(self, tag: bytes) -> Any:
        name = tag.decode()
        module = name.rpartition(".")[0]
        if not module or not self.taster.isModuleAllowed(module):
            return None
        cls = namedObject(name)
        return cls if self.taster.isClassAllowed(cls) else None

    def _module_name(self, name: Any) -> str:
        text = name.decode()
        if not self.taster.isModuleAllowed(text):
            raise InsecureJelly(f"module {text:.64} is not allowed")
        return str(text)

    def _read_module(self, jelly: list[Any]) -> Any:
        return namedAny(self._module_name(jelly[1]))

    def _read_class(self, jelly: list[Any]) -> Any:
        self._module_name(jelly[1].rpartition(b".")[0])
        cls = namedObject(jelly[1].decode())
        if type(cls) is not type or not self.taster.isClassAllowed(cls):
            raise InsecureJelly(f"{jelly[1].decode():.64} is not an allowed class")
        return cls

    def _read_function(self, jelly: list[Any]) -> Any:
        self._module_name(jelly[1].rpartition(b".")[0])
        return namedAny(jelly[1].decode())

    def _read_method(self, jelly: list[Any]) -> Any:
        mentions = self._mentions
        name, owner, cls = self._parts(jelly)
        if not isinstance(cls, type):
            raise InsecureJelly("a method's class is no class")
        function = cls.__dict__.get(name.decode())
        if function is None:
            raise TypeError("a method that its class has no more")
        if owner is None:
            return function
        return self._made([owner], mentions, lambda parts: types.MethodType(function, parts[0]))

    def _read_instance(self, jelly: list[Any]) -> Any:
        warnings.warn_explicit(
            "Unjelly support for the instance atom is deprecated since "
            "Twisted 15.0.0.  Upgrade peer for modern instance support.",
            category=DeprecationWarning,
            filename="",
            lineno=0,
        )
        cls = self._value(jelly[1])
        value = self._hooked(_blank(cls))
        self._set_state(value, [b"instance", jelly[2]])
        return value

    def _read_persistent(self, jelly: list[Any]) -> Any:
        if self.persistentLoad is None:
            return Unpersistable("Persistent callback not found")
        return self.persistentLoad(jelly[1], Nested(self))

    def _read_unpersistable(self, jelly: list[Any]) -> Any:
        return Unpersistable(f"Unpersistable data: {jelly[1].decode(errors='replace')}")


_LOCAL_READERS: Final[Readers] = {
    module_atom: _LocalUnjellier._read_module,
    class_atom: _LocalUnjellier._read_class,
    function_atom: _LocalUnjellier._read_function,
    b"method": _LocalUnjellier._read_method,
    b"instance": _LocalUnjellier._read_instance,
    persistent_atom: _LocalUnjellier._read_persistent,
    unpersistable_atom: _LocalUnjellier._read_unpersistable,
}


def _refuse(unjellier: Any, jelly: list[Any], into: Any = None) -> NoReturn:
    raise InsecureJelly(f"values of type {jelly[0].decode()} are not allowed")


# -- the two functions

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
    """Return the value that nested lists stand for.

    Args:
        sexp: from :func:`jelly`. With the default taster it must be trusted: it names what is imported.
        taster: what may be unjellied.
        persistentLoad: called with what persistentStore returned, and the unjellier.
        invoker: a broker, so that references can be made.

    Raises:
        InsecureJelly: a type, class or module that the taster refuses.
    """
    return _LocalUnjellier(taster, persistentLoad, invoker).unjelly(_as_read(sexp))


def _as_read(sexp: Any) -> Any:
    """Return a jelly as it comes out of banana: lists for tuples, bytes for text."""
    if isinstance(sexp, (list, tuple)):
        return [_as_read(part) for part in sexp]
    return sexp.encode() if isinstance(sexp, str) else sexp
