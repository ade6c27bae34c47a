"""Offers: the methods that a class implements for its interfaces, checked when the class is made.

A class *derives* from an interface, and its methods have the names that callers use; or it *names* the interface
(``offers=``), and they have the prefix of its flavor. An interface is the list of what may be called: nothing else of
the class is reached by its callers but methods with the prefix.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from functools import wraps
from types import CoroutineType
from typing import Any, ParamSpec, TypeVar

from ..flavors import Exportable
from ..flavors.annotations import parameters_text, signature_of
from ..flavors.dispatch import plain_function, stand_for
from ..flavors.exporting import make_offers_by, offer_of_class, prefix_of, takes_perspective
from ..flavors.offer import Offer, OfferedMethod
from .crossing import HOOKS
from .declarations import Declaration, Declared, declaration
from .fitting import fits
from .forms import Form, OfferedForm, OfferedOverloads
from .hints import Unknown, arguments_of, with_arguments
from .interface import interfaces_in, is_interface, spell

__all__ = ["ClassOffer", "interfaces_of", "methods_of", "sync"]

_P = ParamSpec("_P")
_T = TypeVar("_T")


class ClassOffer(Offer):
    """The methods of one class that interfaces declare.

    Attributes:
        interfaces: from which the class derives, or which it names,
        named: the latter alone.
        methods: by name, the declaration of each and the name of the class's attribute.
    """

    def __init__(self, cls: type, derived: Sequence[Declaration], named: Sequence[Declaration]) -> None:
        self._class = cls
        self.named = tuple(named)
        self.interfaces = (*derived, *named)
        self.methods: dict[str, tuple[Declaration, Declared, str]] = {}
        self._found: dict[str, OfferedMethod] = {}
        self._is_ready = False

    def find(self, name: str) -> OfferedMethod | None:
        return self._found.get(name)

    def includes(self, interface: type) -> bool:
        """Return whether a class of interfaces is among those that are offered."""
        return any(type.__subclasscheck__(interface, offered.origin) for offered in self.interfaces)

    def make_ready(self) -> None:
        if self._is_ready:
            return
        for name, (of, _, attribute) in self.methods.items():
            is_sync = plain_function(inspect.getattr_static(self._class, attribute)) is not None
            self._found[name] = _offered(attribute, is_sync, of.forms(HOOKS)[name])
        self._is_ready = True


def _offered(attribute: str, is_sync: bool, forms: list[Form]) -> OfferedMethod:
    if len(forms) == 1:
        return OfferedForm(attribute, is_sync, forms[0])
    return OfferedOverloads(attribute, is_sync, forms)


def sync(method: Callable[_P, _T]) -> Callable[_P, CoroutineType[Any, Any, _T]]:
    """Let a plain method stand for an ``async`` one of an interface; a decorator.

    Callers of the interface get its answer at once, as from a plain ``remote_`` method. In this program it is awaited,
    as the interface says.

    Raises:
        TypeError: the method is ``async``, or not a function.
    """
    plain: Callable[_P, _T] = method
    if not inspect.isfunction(method) or inspect.iscoroutinefunction(method):
        raise TypeError("sync: takes a plain function (def), which stands for one that is async")

    @wraps(method)
    async def run(*args: _P.args, **kwargs: _P.kwargs) -> _T:
        return plain(*args, **kwargs)

    stand_for(run, plain)
    return run  # type: ignore[return-value] # a coroutine of an async function is a CoroutineType


# -- reading, for descriptions


def interfaces_of(cls: type) -> tuple[Declaration, ...]:
    """Return the interfaces that the objects of a class are called by, most derived first."""
    offer = offer_of_class(cls)
    return offer.interfaces if isinstance(offer, ClassOffer) else ()


def methods_of(cls: type) -> dict[str, tuple[Declaration, Declared]]:
    """Return what callers reach of a class by its interfaces: name -> the interface, and how it declares the method.

    ``declared.signatures``, ``declared.doc`` and ``declaration.hints(declared)`` describe the method.
    """
    offer = offer_of_class(cls)
    if not isinstance(offer, ClassOffer):
        return {}
    return {name: (of, declared) for name, (of, declared, _) in offer.methods.items()}


# -- making


def make_offer(cls: type[Exportable], offers: object) -> Offer | None:
    """Return the offer of a new class; None when it has no interface.

    Args:
        cls: the class.
        offers: what it names: an interface, or a tuple of them.

    Raises:
        TypeError: see :class:`~.flavors.Exportable`.
    """
    derived = [declaration(interface) for interface in _derived(cls)]
    named = [declaration(interface) for interface in _named(cls, offers)]
    if not derived and not named:
        return None
    prefix = prefix_of(cls)
    if not prefix:
        raise TypeError(f"{cls.__qualname__}: objects of this flavor are not called by interfaces")
    if derived and takes_perspective(cls):
        raise TypeError(
            f"{cls.__qualname__}: a method of a view takes the perspective first, so it cannot override the "
            f"interface's: write class {cls.__name__}(..., offers={spell(derived[0].interface)})"
        )
    offer = ClassOffer(cls, derived, named)
    for of, before in [*((of, "") for of in derived), *((of, prefix) for of in named)]:
        for declared in of:
            attribute = before + declared.name
            _check_method(cls, of, declared, attribute, prefix)
            offer.methods.setdefault(declared.name, (of, declared, attribute))
    try:
        offer.make_ready()
    except Unknown:
        pass  # its annotations are looked up again when an object is served or sent
    return offer


def _derived(cls: type) -> list[Any]:
    """Return the interfaces from which a class derives, with type arguments, without those that others derive from."""
    known = arguments_of(cls)
    origins = list(interfaces_in(cls))
    tops = [
        origin
        for origin in origins
        if not any(other is not origin and type.__subclasscheck__(origin, other) for other in origins)
    ]
    return [with_arguments(origin, known.get(origin, {})) for origin in tops]


def _named(cls: type, offers: object) -> list[Any]:
    """Return the interfaces that a class names, and those that its bases do."""
    own = offers if isinstance(offers, tuple) else (offers,)
    for interface in own:
        if not is_interface(interface):
            raise TypeError(
                f"{cls.__qualname__}: offers= takes an interface (class X(pb.Interface, Protocol)), or a tuple of "
                f"them, not {interface!r:.80}"
            )
    for base in cls.__bases__:
        offer = offer_of_class(base) if type.__subclasscheck__(Exportable, base) else None
        if isinstance(offer, ClassOffer):
            own += tuple(of.interface for of in offer.named)
    return list(dict.fromkeys(own))


def _check_method(cls: type, of: Declaration, declared: Declared, attribute: str, prefix: str) -> None:
    """Raise TypeError unless a class has the method, fit for every call that the interface declares."""
    name = declared.name
    method = inspect.getattr_static(cls, attribute, None)
    if method is None or _owner(cls, attribute) in interfaces_in(cls):
        wanted = _spelled(attribute, declared.signatures[0])
        raise TypeError(f"{cls.__qualname__} has no method {wanted}, which {of.origin.__qualname__} declares")
    if attribute == name:
        if hasattr(cls, prefix + name):
            raise TypeError(
                f"{cls.__qualname__} has both {name} and {prefix}{name}; callers know them as {name}"
            )
        owner = _flavor(cls, name)
        if owner is not None:
            raise TypeError(
                f"{cls.__qualname__}.{name}: a {owner.__name__} has a {name!r} of its own; use offers=, which gives "
                f"the method the name {prefix}{name}"
            )
    bound = getattr(cls, attribute)
    if not callable(bound):
        raise TypeError(
            f"{cls.__qualname__}.{attribute} is not a method, as {of.origin.__qualname__} declares"
        )
    try:
        own = signature_of(bound)
    except ValueError:
        return  # a method in C
    if not isinstance(method, (staticmethod, classmethod)):
        own = _without_first(own)
    if takes_perspective(cls):
        own = _without_first(own)
    for signature in declared.signatures:
        if not fits(own, signature):
            raise TypeError(
                f"{cls.__qualname__}.{attribute} does not fit {of.origin.__qualname__}: "
                f"{_spelled(attribute, own)} is to take all that {_spelled(name, signature)} takes"
            )


def _owner(cls: type, attribute: str) -> type:
    """Return the class in whose body an attribute is."""
    return next(base for base in cls.__mro__ if attribute in vars(base))


def _flavor(cls: type, name: str) -> type | None:
    """Return the flavor of this library, if any, that has a public attribute of that name."""
    for base in cls.__mro__:
        if base.__module__.startswith("perspective_broker.") and name in vars(base):
            return base
    return None


def _without_first(signature: inspect.Signature) -> inspect.Signature:
    parameters = list(signature.parameters.values())
    if parameters and parameters[0].kind is not inspect.Parameter.VAR_POSITIONAL:
        del parameters[0]
    return signature.replace(parameters=parameters)


def _spelled(name: str, signature: inspect.Signature) -> str:
    return f"{name}{parameters_text(signature)}"


make_offers_by(make_offer)
