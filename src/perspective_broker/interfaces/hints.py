"""Annotations of a class's fields, with the arguments of generic classes put in."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, Self, TypeVar, get_args, get_origin, get_type_hints

from ..flavors.annotations import annotations_of

__all__ = ["Unknown", "arguments_of", "hints_of", "named", "put_in", "with_arguments"]

#: Type variables of a class -> what stands for them.
_Arguments = dict[Any, Any]


class Unknown(TypeError):
    """An annotation contains a name that is not known (yet)."""


def hints_of(annotation: Any) -> dict[str, Any]:
    """Return the annotations of a class and its bases by name, resolved.

    Args:
        annotation: a class, or a generic one with arguments.

    Raises:
        Unknown: an annotation contains a name that is not known in the module of the class.
    """
    cls = get_origin(annotation) or annotation
    try:
        hints = get_type_hints(cls, include_extras=True)
    except NameError as error:
        raise Unknown(
            f"{named(cls)}: its annotations name {error.name}, which its module does not have when the program runs; "
            "import it there without TYPE_CHECKING, and define classes outside of functions"
        ) from None
    arguments = arguments_of(annotation)
    known: dict[str, Any] = {}
    for base in cls.__mro__:
        for name in annotations_of(base):
            if name in hints and name not in known:
                known[name] = put_in(hints[name], arguments.get(base, {}))
    return {name: known.get(name, hint) for name, hint in hints.items()}  # in the order of the class


def arguments_of(annotation: Any) -> dict[type, _Arguments]:
    """Return what stands for the type variables of a class and of each of its bases."""
    found: dict[type, _Arguments] = {}
    todo = [(annotation, _Arguments())]
    while todo:
        alias, outer = todo.pop()
        cls = get_origin(alias) or alias
        if not isinstance(cls, type) or cls in found:
            continue
        parameters = getattr(cls, "__parameters__", ())
        given = [put_in(argument, outer) for argument in get_args(alias)]
        found[cls] = dict(zip(parameters, given, strict=False))
        todo += [(base, found[cls]) for base in getattr(cls, "__orig_bases__", cls.__bases__)]
    return found


def put_in(annotation: Any, arguments: Mapping[Any, Any]) -> Any:
    """Return an annotation with ``arguments`` in the place of type variables, and of ``Self``."""
    if isinstance(annotation, TypeVar) or annotation is Self:
        return arguments.get(annotation, annotation)
    parameters: tuple[Any, ...] = (
        () if isinstance(annotation, type) else getattr(annotation, "__parameters__", ())
    )
    if not parameters or not arguments:
        return annotation
    generic: Any = annotation
    return generic[tuple(arguments.get(parameter, parameter) for parameter in parameters)]


def with_arguments(cls: Any, arguments: Mapping[Any, Any]) -> Any:
    """Return a generic class with what stands for its type variables; the class alone where nothing does."""
    parameters: tuple[Any, ...] = getattr(cls, "__parameters__", ())
    given = tuple(arguments.get(parameter, parameter) for parameter in parameters)
    return cls if all(isinstance(argument, TypeVar) for argument in given) else cls[given]


_HIDDEN: Final = ("builtins.", "typing.", "collections.abc.")


def named(annotation: Any) -> str:
    """Return an annotation as an error shows it."""
    if isinstance(annotation, type) and not get_args(annotation):
        return (
            annotation.__qualname__
            if annotation.__module__ == "builtins"
            else (f"{annotation.__module__}.{annotation.__qualname__}")
        )
    text = repr(annotation)
    for module in _HIDDEN:
        text = text.replace(module, "")
    return text
