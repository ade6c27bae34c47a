"""What crosses by an interface: references become proxies and functions, and functions become objects that are called.

:data:`HOOKS` is what the conversion asks (:class:`.conversion.Hooks`).
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Hashable
from functools import partial
from typing import Any, Final, get_args, get_origin

from ..flavors import Exportable, Reference
from ..flavors.exposing import CALL, Callback
from ..flavors.offer import Offer, OfferedMethod
from ..flavors.values import Perspective, Value
from .conversion import Converter, Hooks, converter
from .converters import misfit, type_name
from .declarations import check_interface, declaration
from .forms import Form, OfferedForm, Parameter
from .interface import define, implements, is_interface, spell
from .proxies import Callee, Proxy, RemoteFunction, make_proxy, read, underlying

__all__ = ["HOOKS", "by_interface", "giver"]


class _Hooks(Hooks):
    """Answers what the conversion asks about interfaces, functions and streams."""

    def is_interface(self, annotation: object) -> bool:
        return is_interface(annotation)

    def proxy(self, interface: Any, reference: Value) -> object:
        if isinstance(reference, Callee):
            return make_proxy(declaration(interface).proxy_class(HOOKS), reference)
        if isinstance(reference, (Proxy, Reference)) or implements(type(reference), interface):
            return reference  # a Reference is one of a driver without proxies
        raise misfit(spell(interface), reference)

    def callable(self, annotation: Any, reference: Value) -> object:
        if isinstance(reference, Callee):
            return RemoteFunction(reference, _function_form(annotation))
        if isinstance(reference, Callback):
            return reference.exposed  # it came home
        if isinstance(reference, (Exportable, Reference)) or not callable(reference):
            raise misfit("a function", reference)
        return reference

    def check_callable(self, annotation: Any) -> None:
        """Raise TypeError if a callable cannot be called by its annotation."""
        _function_form(annotation)

    def send_callable(self, annotation: Any, function: Callable[..., Any]) -> object:
        """Return what crosses for a function: an object whose calls are checked by the annotation."""
        return (
            underlying(function) if isinstance(function, RemoteFunction) else _Checked(function, annotation)
        )

    def stream(self, item: Converter, value: Value) -> object:
        if isinstance(value, Callee):
            return read(value, Form("stream", "()", [], None, None, item, None))
        if isinstance(value, AsyncIterator):
            return value
        raise misfit("a stream", value)


HOOKS: Final = _Hooks()


def by_interface(interface: Any, reference: Any) -> Any:
    """Return an object whose methods call what ``reference`` refers to; see ``Interface.of``."""
    if not is_interface(interface):
        raise TypeError(
            f"{_spelled(interface)} is not an interface: derive it from pb.Interface and Protocol"
        )
    reference = underlying(reference)
    if isinstance(reference, Callee):
        return make_proxy(declaration(interface).proxy_class(HOOKS), reference)
    if implements(type(reference), interface):
        return reference
    raise TypeError(
        f"{spell(interface)}.of: takes a reference, a promise, or an object that implements it, not "
        f"{type_name(reference)}"
    )


def giver(interface: Any) -> Callable[[Value], Any]:
    """Return what makes proxies of an interface, which is looked up and checked now.

    Raises:
        TypeError: see ``Interface.of``.
    """
    if not is_interface(interface):
        raise TypeError(
            f"{_spelled(interface)} is not an interface: derive it from pb.Interface and Protocol"
        )
    declaration(interface).proxy_class(HOOKS)
    return partial(by_interface, interface)


def _spelled(interface: object) -> str:
    return spell(interface) if isinstance(interface, type) else f"a {type(interface).__name__}"


# -- functions

_forms: Final[dict[Any, Form]] = {}


def _function_form(annotation: Any) -> Form:
    """Return the form of the calls of a callable by its annotation.

    Raises:
        TypeError: its answer is not awaited.
    """
    form = _forms.get(annotation)
    if form is None:
        form = _forms[annotation] = _make_function_form(annotation)
    return form


def _make_function_form(annotation: Any) -> Form:
    arguments = get_args(annotation)
    taken, answer = arguments if len(arguments) == 2 else (..., Any)
    awaited = get_origin(answer)
    if awaited in (Awaitable, Coroutine):
        answer = get_args(answer)[-1]
    elif answer is not Any:
        raise TypeError(
            f"a function is called at the other side, so its answer is awaited: write Awaitable[{spell(answer)}]"
        )
    unchecked = converter(Any, HOOKS)
    if isinstance(taken, list):
        parameters = [
            Parameter(f"argument {number}", True, False, True, converter(kind, HOOKS))
            for number, kind in enumerate(taken, 1)
        ]
        more = None
    else:  # ..., or a ParamSpec
        parameters, more = [], unchecked
    text = f"({', '.join(spell(kind) for kind in taken)})" if isinstance(taken, list) else "(...)"
    return Form(CALL, text, parameters, more, more, converter(answer, HOOKS), None)


class _Checked(Callback):
    """A function that a peer can call with what its annotation says."""

    def __init__(self, function: Callable[..., Any], annotation: Any) -> None:
        super().__init__(function)
        self._annotation = annotation
        self._pb_offer = _OneMethod(_function_form(annotation))  # of this object alone

    def _pb_export_key(self, perspective: Perspective) -> Hashable:
        return (super()._pb_export_key(perspective), self._annotation)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, _Checked):
            return NotImplemented
        return super().__eq__(other) is True and self._annotation == other._annotation

    def __hash__(self) -> int:
        return super().__hash__()


class _OneMethod(Offer):
    """The offer of a function."""

    def __init__(self, form: Form) -> None:
        self._offered = OfferedForm(f"remote_{CALL}", False, form)

    def find(self, name: str) -> OfferedMethod | None:
        return self._offered if name == CALL else None

    def includes(self, interface: type) -> bool:
        return False

    def make_ready(self) -> None:
        """It is ready."""


define(lambda interface: check_interface(interface, HOOKS), by_interface)
