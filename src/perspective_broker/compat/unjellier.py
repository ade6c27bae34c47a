"""From nested lists to values: the dialect's unjellier with this face's registry and hooks.

Compiled, like the class it derives from.
"""

from __future__ import annotations

import types
import warnings
from collections.abc import Callable
from functools import partial
from typing import Any, Final, NoReturn

from twisted.python.reflect import namedAny, namedObject

from .. import errors
from ..dialects.classic.failures import FAILURE_TAG
from ..dialects.classic.unjelly import Readers, Unjellier, readers_for
from ..dialects.classic.work import UNLIMITED
from ..flavors import Policy, Registry, RemoteCache
from ..ports import Importer, NullImporter
from .jellyable import (
    TasterPolicy,
    Unjellyable,
    Unpersistable,
    blank,
    class_atom,
    function_atom,
    list_atom,
    module_atom,
    persistent_atom,
    put_state,
    unpersistable_atom,
)
from .registry import InsecureJelly, _tag, unjellyableFactoryRegistry, unjellyableRegistry

__all__ = ["FaceUnjellier", "LocalUnjellier", "Nested", "readers"]


class Nested:
    """The argument of ``unjellyFor``.

    Attributes:
        taster: what may be unjellied.
        invoker: the broker, when the list came over a connection.
    """

    def __init__(self, unjellier: FaceUnjellier) -> None:
        self._unjellier = unjellier
        self.taster: Any = unjellier.taster
        self.invoker: Any = unjellier.invoker

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
        units: of work that it may take.
    """

    __slots__ = ("_hooks", "invoker", "taster")

    def __init__(
        self,
        importer: Importer,
        perspective: Any,
        readers: Readers,
        taster: Any,
        invoker: Any,
        units: int = UNLIMITED,
    ) -> None:
        super().__init__(importer, perspective, readers, _NO_REGISTRY, _EVERYTHING, units)
        self.taster: Any = taster
        self.invoker: Any = invoker
        self._hooks: list[Callable[[], object]] = []

    def unjelly(self, jelly: Any) -> Any:
        value = super().unjelly(jelly)
        for hook in self._hooks:
            hook()
        return value

    def part(self, obj: Any) -> Any:
        """Return the value of a part, for a hook that unjellies its own list."""
        if type(obj) is not list:
            return obj
        pending_uses = self._pending_uses
        value = self._value(obj)
        if self._pending_uses != pending_uses:
            raise errors.DecodeError("a cycle through an object that unjellies itself")
        return value

    def _class(self, jelly: list[Any]) -> Any:
        """Return the class registered for a list's tag; None for a factory.

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
        return _unpersistable if tag == unpersistable_atom else None

    def _blank(self, jelly: list[Any]) -> Any:
        cls = self._class(jelly)
        if not isinstance(cls, type) or not _is_plain(cls):
            return None
        return self._hooked(blank(cls))

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
            return self._hooked(self._by_itself(cls, jelly))
        if not _is_plain(cls):
            return self._hooked(self._by_itself(blank(cls).unjellyFor, jelly))
        if len(jelly) == 3:
            return self._hooked(self._introduce(cls, jelly))
        value = self._hooked(blank(cls))
        self._set_state(value, jelly)
        return value

    def _by_itself(self, unjelly_for: Callable[[Any, list[Any]], Any], jelly: list[Any]) -> Any:
        """Return the result of a program's function for a list; the broker has its perspective."""
        broker = self.invoker
        if broker is None:
            return unjelly_for(Nested(self), jelly)
        before = broker.unserializingPerspective
        broker.unserializingPerspective = self._perspective
        try:
            return unjelly_for(Nested(self), jelly)
        finally:
            broker.unserializingPerspective = before

    def _hooked(self, value: Any) -> Any:
        """Record an object's ``postUnjelly``, to call it when the value is complete."""
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
            self._deferred_states.append(put)

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


def _unpersistable(unjellier: Any, jelly: list[Any]) -> Unpersistable:
    """Return the value in place of an object that could not cross."""
    _, reason = jelly
    return Unpersistable(
        f"Unpersistable data: {reason!r}" if isinstance(reason, bytes) else "Unpersistable data"
    )


def _is_plain(cls: type) -> bool:
    """Return whether a class is filled with a state, and not asked to unjelly itself."""
    return getattr(cls, "unjellyFor", Unjellyable.unjellyFor) is Unjellyable.unjellyFor


#: The tables of the modern face are not asked: :meth:`FaceUnjellier._class` knows this face's.
_NO_REGISTRY: Final = Registry()
_EVERYTHING: Final = Policy()


def readers(taster: Any) -> Readers:
    """Return the readers of the types that security options allow. Failures are copies like any other here."""
    found = readers_for(TasterPolicy(taster))
    del found[FAILURE_TAG]
    return found


class LocalUnjellier(FaceUnjellier):
    """For :func:`unjelly`: also what only this program can mean, modules and classes and functions."""

    __slots__ = ("persistentLoad",)

    def __init__(self, taster: Any, persistentLoad: Any, invoker: Any) -> None:
        known = readers(taster)
        for word, read in _LOCAL_READERS.items():
            known[word] = read if taster.isTypeAllowed(word) else _refuse
        importer = NullImporter() if invoker is None else invoker.importer
        super().__init__(importer, getattr(invoker, "unserializingPerspective", None), known, taster, invoker)
        self.persistentLoad: Any = persistentLoad

    def unjelly(self, jelly: Any) -> Any:
        if type(jelly) is not list:
            return jelly
        try:
            # Without what unjelly says to a peer: a caller of this program wants to see its own exceptions.
            (value,) = self._list([list_atom, jelly])
            if self._unresolved:
                raise errors.DecodeError("a value that contains itself in a way that cannot be built")
            for set_state in self._deferred_states:
                set_state()
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
        pending_uses = self._pending_uses
        name, owner, cls = self._parts(jelly)
        if not isinstance(cls, type):
            raise InsecureJelly("a method's class is no class")
        function = cls.__dict__.get(name.decode())
        if function is None:
            raise TypeError("a method that its class has no more")
        if owner is None:
            return function
        return self._made([owner], pending_uses, lambda parts: types.MethodType(function, parts[0]))

    def _read_instance(self, jelly: list[Any]) -> Any:
        warnings.warn_explicit(
            "Unjelly support for the instance atom is deprecated since "
            "Twisted 15.0.0.  Upgrade peer for modern instance support.",
            category=DeprecationWarning,
            filename="",
            lineno=0,
        )
        cls = self._value(jelly[1])
        value = self._hooked(blank(cls))
        self._set_state(value, [b"instance", jelly[2]])
        return value

    def _read_persistent(self, jelly: list[Any]) -> Any:
        if self.persistentLoad is None:
            return Unpersistable("Persistent callback not found")
        return self.persistentLoad(jelly[1], Nested(self))


_LOCAL_READERS: Final[Readers] = {
    module_atom: LocalUnjellier._read_module,
    class_atom: LocalUnjellier._read_class,
    function_atom: LocalUnjellier._read_function,
    b"method": LocalUnjellier._read_method,
    b"instance": LocalUnjellier._read_instance,
    persistent_atom: LocalUnjellier._read_persistent,
    unpersistable_atom: _unpersistable,
}


def _refuse(unjellier: Any, jelly: list[Any], into: Any = None) -> NoReturn:
    raise InsecureJelly(f"values of type {jelly[0].decode()} are not allowed")
