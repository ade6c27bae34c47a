"""Interface: what an object offers to its callers, declared by a class with ``Protocol``.

Protocols are structural; an interface is not. Whether an object implements it is a matter of its class: that derives
from the interface, or names it (``offers=``). So ``isinstance(room, Room)`` asks only that.
"""

from __future__ import annotations

from abc import ABCMeta
from collections.abc import Iterator
from functools import partial
from typing import TYPE_CHECKING, Any, Protocol, Self, get_args, get_origin

from ..flavors import Exportable
from ..flavors.exporting import offer_of_class
from .proxies import Callee

__all__ = [
    "Interface",
    "define",
    "implements",
    "interfaces_in",
    "is_interface",
    "spell",
]

if TYPE_CHECKING:
    _ProtocolType = ABCMeta
else:
    _ProtocolType = type(Protocol)


class InterfaceType(_ProtocolType):
    """The class of interfaces, and of the classes that derive from one."""

    def __instancecheck__(cls, instance: object) -> bool:
        return type.__instancecheck__(cls, instance) or _offers(type(instance), cls)

    def __subclasscheck__(cls, subclass: type) -> bool:
        return type.__subclasscheck__(cls, subclass) or _offers(subclass, cls)


if TYPE_CHECKING:

    class Interface(Protocol):
        """Base of interfaces: ``class Room(pb.Interface, Protocol)``.

        The methods of an interface are the public ``async def`` of such classes, and each ``def`` whose answer is an
        ``AsyncIterator``. A class that derives from a flavor and from interfaces, or names them with ``offers=``, is
        called by these methods, and by nothing else that it has. Arguments are checked against the annotations before
        a method runs, answers at the caller.

        Raises:
            TypeError: (when the class is made) a public method is neither, or has a name that references have.
        """

        @classmethod
        def of(cls, reference: Callee | Interface) -> Self:
            """Return an object whose methods call what ``reference`` refers to.

            Args:
                reference: to an object of the peer, also one that reconnects, or a promise of one. An object by
                    another interface is taken too, and an object of this program that implements this one.

            Raises:
                TypeError: it is anything else; a name in the annotations of the interface is unknown, or values cannot
                    be checked by one of them.
            """
            return cls.of(reference)

else:

    class Interface(Protocol, metaclass=InterfaceType):
        """Base of interfaces: ``class Room(pb.Interface, Protocol)``. The other definition is what checkers see."""

        def __init_subclass__(cls, **kwargs: object) -> None:
            super().__init_subclass__(**kwargs)
            if Protocol in cls.__bases__:
                cls._pb_declarations = {}
                _check(cls)

        def __class_getitem__(cls, arguments: Any) -> Any:
            alias = super().__class_getitem__(arguments)
            if Protocol in cls.__bases__:
                # The alias hands attributes of its class on, and then `of` would not know the arguments.
                vars(alias)["of"] = partial(_of, alias)
            return alias

        @classmethod
        def of(cls, reference: Any) -> Any:
            """Return an object whose methods call what ``reference`` refers to."""
            return _of(cls, reference)


#: What is done with a new interface, and by ``of``; set by the modules above this one.
_check: Any = None
_of: Any = None


def define(check: Any, of: Any) -> None:
    """Set what checks a new interface, and what makes the proxies of ``Interface.of``."""
    global _check, _of
    _check, _of = check, of


def is_interface(annotation: object) -> bool:
    """Return whether an annotation is an interface, with type arguments or without."""
    origin = get_origin(annotation) or annotation
    return isinstance(origin, InterfaceType) and Protocol in origin.__bases__ and origin is not Interface


def interfaces_in(cls: type) -> Iterator[type]:
    """Return the interfaces among the bases of a class, most derived first, the class itself included."""
    return (base for base in cls.__mro__ if is_interface(base))


def implements(cls: type, interface: Any) -> bool:
    """Return whether the objects of a class are called by an interface."""
    return issubclass(cls, get_origin(interface) or interface)


def _offers(cls: type, interface: type) -> bool:
    """Return whether a class names an interface with ``offers=``."""
    offer = offer_of_class(cls) if type.__subclasscheck__(Exportable, cls) else None
    return offer is not None and offer.includes(interface)


def spell(annotation: Any) -> str:
    """Return an annotation as a program writes it."""
    if annotation is type(None):
        return "None"
    origin = get_origin(annotation)
    if is_interface(annotation) and origin is not None:
        return f"{origin.__name__}[{', '.join(map(spell, get_args(annotation)))}]"
    return annotation.__name__ if isinstance(annotation, type) and origin is None else str(annotation)
