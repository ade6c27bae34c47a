"""Declarations: the methods of one interface, read from its class.

What the class itself shows is checked when it is made. Its annotations may name classes that come later in the module,
so they are looked up when they are first needed, and at once only if they can be.
"""

from __future__ import annotations

import inspect
from collections.abc import AsyncIterable, AsyncIterator, Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from types import UnionType
from typing import Any, Final, Self, Union, get_args, get_origin, get_overloads, get_type_hints

from ..flavors.annotations import annotations_of, is_class_variable, parameters_text, signature_of
from .conversion import Converter, Hooks, converter
from .forms import Form, Parameter
from .hints import Unknown, arguments_of, put_in
from .interface import interfaces_in, is_interface, spell
from .proxies import Proxy, proxy_class
from .reserved import RESERVED
from .sending import StreamSender

__all__ = ["Declaration", "Declared", "check_interface", "declaration", "own_methods", "parameters_of"]

#: What the answer of a ``def`` may be.
_STREAMS: Final = (AsyncIterator, AsyncIterable)


@dataclass(eq=False)
class Declared:
    """One method of an interface.

    Attributes:
        name: of the method.
        interface: the class that declares it.
        functions: as it is written there, with ``self``; several for an overloaded one.
    """

    name: str
    interface: type
    functions: tuple[Callable[..., Any], ...]
    _forms: dict[Mapping[Any, Any] | None, Any] = field(default_factory=dict, repr=False)

    @property
    def signatures(self) -> tuple[inspect.Signature, ...]:
        """How it is called, without ``self``; annotations as they are written."""
        return tuple(_without_self(signature_of(function)) for function in self.functions)

    @property
    def doc(self) -> str:
        """Its documentation, or nothing."""
        return inspect.getdoc(self.functions[-1]) or ""

    def hints(self, function: Callable[..., Any], own: Mapping[Any, Any]) -> dict[str, Any]:
        """Return the annotations of one of its functions, with their names looked up.

        Raises:
            Unknown: a name is not known (yet).
        """
        known = {self.interface.__name__: self.interface}
        known |= {
            parameter.__name__: parameter for parameter in getattr(self.interface, "__parameters__", ())
        }
        try:
            hints = get_type_hints(function, localns=known, include_extras=True)
        except (NameError, AttributeError) as error:
            name = getattr(error, "name", None) or str(error)
            raise Unknown(
                f"{self}: there is no {name!r} in {self.interface.__module__}, which an annotation names; classes that "
                "are made within a function, or imported for type checkers alone, cannot be looked up"
            ) from error
        return {name: put_in(hint, own) for name, hint in hints.items()}

    def __str__(self) -> str:
        return f"{self.interface.__qualname__}.{self.name}"


class Declaration:
    """The methods of one interface, its type arguments included.

    Attributes:
        interface: the class, or what it is with type arguments.
        methods: by name, those of its bases included.
    """

    def __init__(self, interface: Any) -> None:
        self.interface = interface
        self.origin: type = get_origin(interface) or interface
        self._bindings = arguments_of(interface)
        self.methods: dict[str, Declared] = {}
        for base in interfaces_in(self.origin):
            for name, declared in own_methods(base).items():
                self.methods.setdefault(name, declared)
        self._forms: dict[str, list[Form]] | None = None
        self._proxy_class: type[Proxy] | None = None

    def forms(self, hooks: Hooks) -> dict[str, list[Form]]:
        """Return the forms of each method, by name.

        Raises:
            Unknown: a name in an annotation is not known (yet).
            TypeError: values cannot be checked by an annotation.
        """
        if self._forms is None:
            self._forms = {name: self._make_forms(method, hooks) for name, method in self.methods.items()}
        return self._forms

    def _make_forms(self, declared: Declared, hooks: Hooks) -> list[Form]:
        own = {Self: self.interface, **self._bindings.get(declared.interface, {})}
        return [_form(declared, function, own, hooks) for function in declared.functions]

    def hints(self, declared: Declared) -> list[dict[str, Any]]:
        """Return the annotations of each form of a method, with names looked up and type arguments filled in.

        Raises:
            Unknown: a name in an annotation is not known (yet).
        """
        own = {Self: self.interface, **self._bindings.get(declared.interface, {})}
        return [declared.hints(function, own) for function in declared.functions]

    def proxy_class(self, hooks: Hooks) -> type[Proxy]:
        """Return the class of its proxies. Raises as :meth:`forms` does."""
        if self._proxy_class is None:
            forms = self.forms(hooks)
            arguments = spell(self.interface).removeprefix(self.origin.__name__)
            methods = {name: (declared.functions[-1], forms[name]) for name, declared in self.methods.items()}
            self._proxy_class = proxy_class(self.origin, f"{self.origin.__name__}Proxy{arguments}", methods)
        return self._proxy_class

    def __iter__(self) -> Iterator[Declared]:
        return iter(self.methods.values())


def declaration(interface: Any) -> Declaration:
    """Return the declaration of an interface, with type arguments or without."""
    origin: Any = get_origin(interface) or interface
    made: dict[Any, Declaration] = vars(origin)["_pb_declarations"]
    arguments = get_args(interface)
    found = made.get(arguments)
    if found is None:
        found = made[arguments] = Declaration(interface)
    return found


# -- reading a class


def own_methods(interface: type) -> dict[str, Declared]:
    """Return the methods that a class itself declares, by name.

    Raises:
        TypeError: a public function is neither ``async`` nor one that answers a stream, or its name is reserved.
    """
    found: dict[str, Declared] = {}
    for name, value in vars(interface).items():
        if name.startswith("_") or isinstance(value, type):
            continue
        where = f"{interface.__qualname__}.{name}"
        if isinstance(value, (property, staticmethod, classmethod)):
            raise TypeError(f"{where}: an interface has methods, and no {type(value).__name__}")
        if not inspect.isfunction(value):
            continue
        if name in RESERVED:
            raise TypeError(
                f"{where}: {RESERVED[name]} have a {name!r} of their own; give the method another name"
            )
        functions = _functions(interface, name, value)
        for function in functions:
            _check_kind(where, function)
        found[name] = Declared(name, interface, functions)
    return found


def check_interface(interface: type, hooks: Hooks) -> None:
    """Check a new interface; its annotations as well, if all their names are known.

    Raises:
        TypeError: see :func:`own_methods` and :meth:`Declaration.forms`.
    """
    for name, annotation in annotations_of(interface).items():
        if not name.startswith("_") and not is_class_variable(annotation):
            raise TypeError(f"{interface.__qualname__}.{name}: an interface has methods, and no attributes")
    own_methods(interface)
    try:
        declaration(interface).forms(hooks)
    except Unknown:
        pass  # it is looked up again when it is first needed


def _functions(interface: type, name: str, value: Callable[..., Any]) -> tuple[Callable[..., Any], ...]:
    """Return a method as it is written: its overloads, where it has some."""

    def stand_in() -> None: ...

    stand_in.__module__, stand_in.__qualname__ = interface.__module__, f"{interface.__qualname__}.{name}"
    overloads: Sequence[Callable[..., Any]] = get_overloads(stand_in)
    if value.__module__ == "typing":  # in the place of a method of which there are overloads alone
        return tuple(overloads)
    return tuple(overloads) if value in overloads or _is_overloaded(value, overloads) else (value,)


def _is_overloaded(value: Callable[..., Any], overloads: Sequence[Callable[..., Any]]) -> bool:
    """Whether the overloads belong to this function, and not to one of the same name that it has replaced."""
    of = value.__code__
    return any(overload.__code__.co_filename == of.co_filename for overload in overloads)


def _check_kind(where: str, function: Callable[..., Any]) -> None:
    if inspect.iscoroutinefunction(function) or inspect.isasyncgenfunction(function):
        return
    if not _answers_stream(signature_of(function).return_annotation):
        raise TypeError(
            f"{where}: a method of an interface is async, or answers an AsyncIterator; a plain method of the class "
            "that implements it may be decorated with pb.sync"
        )


def _answers_stream(annotation: Any) -> bool:
    """Whether the answer of a ``def`` is written as a stream; names are not looked up yet."""
    if isinstance(annotation, str):
        return annotation.rpartition(".")[2].partition("[")[0] in _STREAM_NAMES or any(
            f"{name}[" in annotation or annotation.endswith(name) for name in _STREAM_NAMES
        )
    return annotation in _STREAMS or get_origin(annotation) in _STREAMS


_STREAM_NAMES: Final = tuple(stream.__name__ for stream in _STREAMS)


def _without_self(signature: inspect.Signature) -> inspect.Signature:
    return signature.replace(parameters=list(signature.parameters.values())[1:])


# -- forms


def _form(declared: Declared, function: Callable[..., Any], own: Mapping[Any, Any], hooks: Hooks) -> Form:
    hints = declared.hints(function, own)
    signature = _without_self(signature_of(function))
    answer, stream = hints.get("return", Any), None
    if not inspect.iscoroutinefunction(function):
        arguments = get_args(answer)
        answer = arguments[0] if arguments else Any
        stream = StreamSender
    made = _converter(declared, "the answer", answer, hooks)
    parameters, more, more_named = parameters_of(
        signature, lambda name: _converter(declared, name, hints.get(name, Any), hooks)
    )
    return Form(
        declared.name,
        parameters_text(signature),
        parameters,
        more,
        more_named,
        made,
        None if stream is None else stream(declared.name, made),
        _interface_in(answer),
    )


def _interface_in(answer: Any) -> Any:
    """Return the interface that an answer is; None for anything else. ``Room | None`` counts as a Room."""
    if is_interface(answer):
        return answer
    found = [part for part in get_args(answer) if is_interface(part)] if _is_union(answer) else []
    return found[0] if len(found) == 1 and set(get_args(answer)) == {found[0], type(None)} else None


def _is_union(annotation: Any) -> bool:
    return get_origin(annotation) in (Union, UnionType)


def parameters_of(
    signature: inspect.Signature, converter_of: Callable[[str], Converter]
) -> tuple[list[Parameter], Converter | None, Converter | None]:
    """Return the parameters of a form, and the converters of its ``*args`` and ``**kwargs``."""
    parameters: list[Parameter] = []
    more: Converter | None = None
    more_named: Converter | None = None
    for parameter in signature.parameters.values():
        made = converter_of(parameter.name)
        if parameter.kind is parameter.VAR_POSITIONAL:
            more = made
        elif parameter.kind is parameter.VAR_KEYWORD:
            more_named = made
        else:
            by_position = parameter.kind is not parameter.KEYWORD_ONLY
            by_name = parameter.kind is not parameter.POSITIONAL_ONLY
            required = parameter.default is parameter.empty
            parameters.append(Parameter(parameter.name, by_position, by_name, required, made))
    return parameters, more, more_named


def _converter(declared: Declared, name: str, annotation: Any, hooks: Hooks) -> Converter:
    try:
        return converter(annotation, hooks)
    except TypeError as error:
        raise type(error)(f"{declared}: {name}: {error}") from error
