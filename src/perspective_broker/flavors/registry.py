"""Registry: the classes for the type tags that arrive. A value that ``serve`` and ``connect`` take."""

from __future__ import annotations

from collections.abc import Callable
from types import ModuleType
from typing import Any, TypeVar

from ..errors import (
    BadArguments,
    DeadlineExceeded,
    DecodeError,
    InsecureJelly,
    LimitExceeded,
    NoSuchMethod,
    SerializationError,
    Unavailable,
    UnknownObject,
    qualified_name,
)
from ..rebuilt import when_rebuilt
from .copyable import RemoteCopy
from .values import Value

__all__ = ["Form", "Registry", "copier_for", "default_registry"]

_Class = TypeVar("_Class", bound=type)

#: Errors of the library that a peer may report and that arrive as the same class.
_OWN_ERRORS: tuple[type[Exception], ...] = (
    BadArguments,
    DeadlineExceeded,
    DecodeError,
    InsecureJelly,
    LimitExceeded,
    NoSuchMethod,
    SerializationError,
    Unavailable,
    UnknownObject,
)


class Form:
    """How objects of one class cross as values: under a tag, with a map of their fields.

    Args:
        tag: by which the receiver finds its own class.
        cls: the class.
    """

    def __init__(self, tag: str, cls: type) -> None:
        self.tag = tag
        self.cls = cls

    def state(self, value: Value) -> dict[str, Value]:
        """Return the fields of an object as they cross. Raises SerializationError."""
        raise NotImplementedError

    def build(self, state: Value, work: object = None) -> Value:
        """Return an object for the fields that arrived.

        Args:
            state: the fields, in a dictionary.
            work: what :meth:`lenient` has returned for the message; None for a message of pb7.

        Raises:
            BadArguments: they do not fit the annotations of the class.
        """
        raise NotImplementedError

    def lenient(self) -> object:
        """Return what bounds the work for one message of a classic dialect, where values may be shared."""
        raise NotImplementedError

    def __call__(self, state: Value) -> Value:
        return self.build(state)


class Registry:
    """Type tags and the classes and factories for them. Register before connections are made.

    Args:
        parent: a registry for the tags that this one lacks.
    """

    def __init__(self, parent: Registry | None = None) -> None:
        self._parent = parent
        self._classes: dict[str, type] = {}
        self._factories: dict[str, Callable[[Any], Any]] = {}
        self._errors: dict[str, type[Exception]] = {}
        self._forms: dict[type, Form] = {}
        if parent is None:
            for error in _OWN_ERRORS:
                self._errors[qualified_name(error)] = error

    def set_unjellyable_for_class(self, tag: str | type, cls: type) -> None:
        """Build ``cls`` from states that arrive under ``tag``.

        Args:
            tag: a type tag, or the sending class whose qualified name is the tag.
            cls: a class with ``set_copyable_state``, made without calling ``__init__``.

        Raises:
            TypeError: ``cls`` cannot take a state.
            ValueError: another class is registered for ``tag`` here. (A new class of the same name replaces the old
                one.)
        """
        _check_class(cls)
        if not callable(getattr(cls, "set_copyable_state", None)):
            raise TypeError(f"{cls!r} has no set_copyable_state; derive it from pb.RemoteCopy")
        known = self._classes.get(_tag(tag))
        if known is not None and qualified_name(known) != qualified_name(cls):
            raise ValueError(
                f"{_tag(tag)!a} arrives as {qualified_name(known)} already, not as {qualified_name(cls)}"
            )
        self._check_unused(_tag(tag))
        self._classes[_tag(tag)] = cls
        self._factories.pop(_tag(tag), None)
        when_rebuilt(cls, _Again(self._classes, _tag(tag), cls))

    def set_unjellyable_factory_for_class(self, tag: str | type, factory: Callable[[Any], Any]) -> None:
        """Build objects that arrive under ``tag`` by calling ``factory(state)``."""
        if not callable(factory):
            raise TypeError(f"factory: must be callable, not {factory!r}")
        self._check_unused(_tag(tag))
        self._factories[_tag(tag)] = factory
        self._classes.pop(_tag(tag), None)

    def set_unjellyable_for_class_tree(
        self, module: ModuleType, base: type, prefix: str | None = None
    ) -> None:
        """Register every subclass of ``base`` that ``module`` defines.

        Args:
            module: the module to search.
            base: a class such as :class:`RemoteCopy`; itself not registered.
            prefix: the tag is the prefix, a dot, and the class's name. The module's name when None; no prefix and no
                dot when empty.
        """
        before = f"{module.__name__}." if prefix is None else f"{prefix}." if prefix else ""
        for name, cls in vars(module).items():
            ours = isinstance(cls, type) and cls.__module__ == module.__name__
            if ours and issubclass(cls, base) and cls is not base:
                self.set_unjellyable_for_class(before + name, cls)

    def set_error_class(self, cls: type[Exception], tag: str | None = None) -> None:
        """Build an exception that arrives with the type name ``tag`` as ``cls(text)``.

        Args:
            cls: an exception class whose constructor takes one text.
            tag: the qualified name at the peer; that of ``cls`` itself when None.
        """
        _check_class(cls)
        if not issubclass(cls, Exception):
            raise TypeError(f"{cls!r} is not an exception class")
        tag = tag or qualified_name(cls)
        self._errors[tag] = cls
        when_rebuilt(cls, _Again(self._errors, tag, cls))

    def set_form(self, form: Form) -> None:
        """Let objects of a class cross in a form. (A new class of the same name replaces the old one.)

        Raises:
            ValueError: the class, or another one under the same tag, is registered here.
        """
        tag, cls = form.tag, form.cls
        factory = self._factories.get(tag)
        known = factory.cls if isinstance(factory, Form) else self._classes.get(tag)
        if known is cls or cls in self._forms:
            raise ValueError(f"{qualified_name(cls)} is registered already")
        if (factory or known) and (known is None or qualified_name(known) != qualified_name(cls)):
            raise ValueError(f"{tag!a} is registered already, for another class or a factory")
        if known is not None:
            self._forms.pop(known, None)
            self._classes.pop(tag, None)
        self._factories[tag] = form
        self._forms[cls] = form

    def _check_unused(self, tag: str) -> None:
        known = self._factories.get(tag)
        if isinstance(known, Form):
            raise ValueError(f"{tag!a} is registered already, as the value {qualified_name(known.cls)}")

    def find_form(self, cls: type) -> Form | None:
        """Return how objects of exactly this class cross as values, or None."""
        found = self._forms.get(cls)
        return self._parent.find_form(cls) if found is None and self._parent is not None else found

    def find_class(self, tag: str) -> type | None:
        """Return the class registered for ``tag``, or None."""
        found = self._classes.get(tag)
        if tag in self._factories:
            return None
        return self._parent.find_class(tag) if found is None and self._parent is not None else found

    def find_factory(self, tag: str) -> Callable[[Any], Any] | None:
        """Return the factory registered for ``tag``, or None."""
        found = self._factories.get(tag)
        if tag in self._classes:
            return None
        return self._parent.find_factory(tag) if found is None and self._parent is not None else found

    def find_error(self, name: str) -> type[Exception] | None:
        """Return the exception class registered for a peer's type name, or None."""
        found = self._errors.get(name)
        return self._parent.find_error(name) if found is None and self._parent is not None else found


class _Again:
    """Registers the class with which a decorator has replaced a registered one."""

    def __init__(self, table: dict[str, Any], tag: str, cls: type) -> None:
        self._table, self._tag, self._cls = table, tag, cls

    def __call__(self, rebuilt: type) -> None:
        if self._table.get(self._tag) is self._cls:
            self._table[self._tag] = self._cls = rebuilt


def _check_class(cls: object) -> None:
    if not isinstance(cls, type):
        raise TypeError(f"{cls!r} is not a class; register a generic class itself, without [...]")


def _tag(tag: str | type) -> str:
    if isinstance(tag, str):
        return tag
    _check_class(tag)
    return qualified_name(tag)


#: The registry of :func:`copier_for`, and of connections that are given no other.
default_registry: Registry = Registry()


def copier_for(
    tag: str | type | None = None, *, registry: Registry = default_registry
) -> Callable[[_Class], _Class]:
    """Class decorator: build objects that arrive under ``tag`` as the decorated class.

    Args:
        tag: the type tag, or the sending class if that is not a RemoteCopy as well; None when the decorated class is
            sent under its own name.
        registry: the registry to use; connections that are given no other use the default one.

    Raises:
        TypeError: the class cannot take a state; or the decorator was written without parentheses.
        ValueError: another class is registered for ``tag``.
    """
    if hasattr(tag, "set_copyable_state"):
        raise TypeError(f"write @copier_for() above {tag.__name__}, or @copier_for(its tag, as text)")  # type: ignore[union-attr]

    def register(cls: _Class) -> _Class:
        if not isinstance(cls, type):
            raise TypeError("a class is decorated with @copier_for(...); was it written without parentheses?")
        if issubclass(cls, Exception) and not issubclass(cls, RemoteCopy):
            registry.set_error_class(cls, _tag(tag or cls))
        else:
            registry.set_unjellyable_for_class(tag or cls, cls)
        return cls

    return register
