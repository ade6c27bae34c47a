"""The global state that programs of Twisted share: the classes for type tags, and the security options."""

from __future__ import annotations

import types
from collections.abc import Callable
from typing import Any

from twisted.python.reflect import qual

__all__ = [
    "DummySecurityOptions",
    "InsecureJelly",
    "SecurityOptions",
    "called_as_in_twisted",
    "globalSecurity",
    "setUnjellyableFactoryForClass",
    "setUnjellyableForClass",
    "setUnjellyableForClassTree",
    "unjellyableFactoryRegistry",
    "unjellyableRegistry",
]


class InsecureJelly(Exception):
    """A type, class or module that the security options do not allow."""

    __module__ = "twisted.spread.jelly"


def called_as_in_twisted(module: str, *classes: type) -> None:
    """Give classes the names that they have in ``twisted.spread``, on the wire, too."""
    for cls in classes:
        cls.__module__ = f"twisted.spread.{module}"


def _tag(name: Any) -> bytes:
    return _bytes(qual(name) if isinstance(name, type) else name)


def _bytes(name: Any) -> bytes:
    return name if isinstance(name, bytes) else str(name).encode()


# -- what is allowed


class DummySecurityOptions:
    """Allows everything. Not for untrusted data, because :func:`unjelly` imports the names in it."""

    def isModuleAllowed(self, moduleName: Any) -> bool:
        return True

    def isClassAllowed(self, klass: type) -> bool:
        return True

    def isTypeAllowed(self, typeName: Any) -> bool:
        return True


class SecurityOptions:
    """Allows numbers, text, bytes and dates, and the types that are added.

    Attributes:
        allowedTypes: names of types, as they stand in a jelly.
        allowedModules: names of modules.
        allowedClasses: classes.
    """

    basicTypes: Any = (
        "dictionary",
        "list",
        "tuple",
        "reference",
        "dereference",
        "unpersistable",
        "persistent",
        "long_int",
        "long",
        "dict",
    )

    def __init__(self) -> None:
        plain = (
            "None NoneType bool boolean string str unicode int float decimal datetime date time timedelta "
            "set frozenset"
        )
        self.allowedTypes: dict[bytes, int] = dict.fromkeys(plain.encode().split(), 1)
        self.allowedModules: dict[bytes, int] = {}
        self.allowedClasses: dict[type, int] = {}

    @classmethod
    def of_plain_values(cls) -> SecurityOptions:
        """Return options that allow the basic types and nothing else."""
        options = cls()
        options.allowBasicTypes()
        return options

    def allowBasicTypes(self) -> None:
        """Allow lists, dictionaries and tuples, and sharing between them."""
        self.allowTypes(*self.basicTypes)

    def allowTypes(self, *types: Any) -> None:
        """Allow types by their names; a class stands for its qualified name."""
        for kind in types:
            self.allowedTypes[_tag(kind)] = 1

    def allowInstancesOf(self, *classes: type) -> None:
        """Allow instances of classes, the classes themselves, and the basic types."""
        self.allowBasicTypes()
        self.allowTypes("instance", "class", "classobj", "module")
        for cls in classes:
            self.allowTypes(cls)
            self.allowModules(cls.__module__)
            self.allowedClasses[cls] = 1

    def allowModules(self, *modules: Any) -> None:
        """Allow modules, given by name or as themselves."""
        for module in modules:
            self.allowedModules[
                _bytes(module.__name__ if isinstance(module, types.ModuleType) else module)
            ] = 1

    def isModuleAllowed(self, moduleName: Any) -> bool:
        return _bytes(moduleName) in self.allowedModules

    def isClassAllowed(self, klass: type) -> bool:
        return klass in self.allowedClasses

    def isTypeAllowed(self, typeName: Any) -> bool:
        """Return whether a type may occur; names with a dot are classes, which are judged by themselves."""
        name = _bytes(typeName)
        return name in self.allowedTypes or b"." in name


#: The options of connections that are given no others; registering a class adds it.
globalSecurity: SecurityOptions = SecurityOptions()
globalSecurity.allowBasicTypes()
globalSecurity.allowTypes("remote", "local", "cached", "lcache")


# -- what type tags mean

unjellyableRegistry: dict[bytes, Any] = {}
unjellyableFactoryRegistry: dict[bytes, Callable[[Any], Any]] = {}


def setUnjellyableForClass(classname: Any, unjellyable: Any) -> None:
    """Build objects that arrive under a type tag as instances of ``unjellyable``, from every peer.

    Args:
        classname: the tag, as text or bytes; a class stands for its qualified name.
        unjellyable: a :class:`~.flavors.RemoteCopy` (or RemoteCache), another class with ``unjellyFor``, or a
            function that is called with the unjellier and the list.
    """
    tag = _tag(classname)
    unjellyableRegistry[tag] = unjellyable
    globalSecurity.allowTypes(tag)


def setUnjellyableFactoryForClass(classname: Any, copyFactory: Callable[[Any], Any]) -> None:
    """Build objects that arrive under a type tag by ``copyFactory(state)``."""
    tag = _tag(classname)
    unjellyableFactoryRegistry[tag] = copyFactory
    globalSecurity.allowTypes(tag)


def setUnjellyableForClassTree(module: Any, baseClass: type, prefix: str | None = None) -> None:
    """Register every class in ``module`` that derives from ``baseClass`` under its name.

    Args:
        module: where to look.
        baseClass: such as RemoteCopy.
        prefix: put before the names with a dot between; the module's name when None, nothing when empty.
    """
    before = f"{module.__name__}." if prefix is None else f"{prefix}." if prefix else ""
    for name, value in vars(module).items():
        if isinstance(value, type) and issubclass(value, baseClass):
            setUnjellyableForClass(before + name, value)


called_as_in_twisted("jelly", DummySecurityOptions, SecurityOptions)
