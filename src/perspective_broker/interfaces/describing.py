"""Describing what interfaces declare: signatures with types, and a JSON Schema of the arguments.

An interface was written for its callers, so a description contains its types and defaults, as far as these are short.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import AsyncIterable, AsyncIterator, Callable
from enum import Enum
from typing import Any, Final, get_origin

from ..flavors import Target, describing
from ..flavors.describing import Described, schema_of
from .declarations import Declaration, Declared
from .hints import UnknownName
from .interface import is_interface, spell
from .offers import interfaces_of, methods_of

__all__ = ["described"]

#: Characters of a default that are shown.
_MOST_OF_A_DEFAULT: Final = 40

#: Modules and classes in front of a name: ``typing.Any``.
_QUALIFIERS: Final = re.compile(r"\b(?:[^\W\d]\w*\.)+(?=[^\W\d])")


def described(target: Target) -> Described:
    """Return the description of an exported object, with what its interfaces declare."""
    return describing.described(target, _complete)


def _complete(target: Target, description: Described) -> Described:
    """Add the interfaces of an object's class, and their methods in front of others."""
    cls = type(target.holder)
    interfaces = interfaces_of(cls)
    if not interfaces:
        return description
    methods = [_method(name, of, declared) for name, (of, declared) in methods_of(cls).items()]
    declared_names = {method["name"] for method in methods}
    others = [method for method in description["methods"] if method["name"] not in declared_names]
    docs = [inspect.getdoc(of.origin) or "" for of in interfaces if vars(of.origin).get("__doc__")]
    return description | {
        "doc": description["doc"] or next(iter(docs), ""),
        "interfaces": [spell(of.interface) for of in interfaces],
        "methods": [*methods, *others],
    }


def _method(name: str, of: Declaration, declared: Declared) -> Described:
    signatures = declared.signatures
    try:
        hints = of.hints(declared)
    except UnknownName:
        hints = [{} for _ in signatures]
    schemas = [_schema(signature, hint) for signature, hint in zip(signatures, hints, strict=True)]
    return {
        "name": name,
        "signatures": [f"{name}{_text(signature)}" for signature in signatures],
        "doc": declared.doc,
        "stream": any(map(_is_stream, declared.functions, hints)),
        "parameters": schemas[0] if len(schemas) == 1 else {"anyOf": schemas},
    }


def _is_stream(function: Callable[..., Any], hints: dict[str, Any]) -> bool:
    """Return whether a method answers a stream: of an interface, all that are not ``async`` do."""
    answer = hints.get("return")
    return not inspect.iscoroutinefunction(function) or (get_origin(answer) or answer) in _STREAMS


_STREAMS: Final = (AsyncIterator, AsyncIterable)

# -- signatures


class _Spelled:
    """Text in the place of an annotation or a default."""

    def __init__(self, text: str) -> None:
        self._text = text

    def __repr__(self) -> str:
        return self._text


def _text(signature: inspect.Signature) -> str:
    """Return a signature as a program writes it, without modules."""
    empty = inspect.Signature.empty
    parameters = [
        parameter.replace(
            annotation=empty
            if parameter.annotation is empty
            else _Spelled(_annotation(parameter.annotation)),
            default=empty if parameter.default is empty else _Spelled(_default(parameter.default)),
        )
        for parameter in signature.parameters.values()
    ]
    answer = signature.return_annotation
    return str(
        inspect.Signature(
            parameters, return_annotation=empty if answer is empty else _Spelled(_annotation(answer))
        )
    )


def _annotation(annotation: Any) -> str:
    text = annotation if isinstance(annotation, str) else inspect.formatannotation(annotation)
    if is_interface(annotation):
        text = spell(annotation)
    return text if "'" in text or '"' in text else _QUALIFIERS.sub("", text)


def _default(default: Any) -> str:
    if isinstance(default, Enum):
        return f"{type(default).__name__}.{default.name}"
    if default is not None and type(default) not in (bool, int, float, str, bytes):
        return "..."
    text = repr(default)
    return text if len(text) <= _MOST_OF_A_DEFAULT else "..."


# -- schemas


def _schema(signature: inspect.Signature, hints: dict[str, Any]) -> Described:
    """Return the JSON Schema of one form of a method, complete in itself."""
    import msgspec  # not with the package: see flavors/describing.py

    parts: Described = {}

    def of_parameter(parameter: inspect.Parameter) -> Described:
        if parameter.name not in hints:
            return {}
        try:
            (schema,), components = msgspec.json.schema_components(
                [hints[parameter.name]], schema_hook=_no_schema, ref_template="#/$defs/{name}"
            )
        except Exception:  # a type that JSON cannot express, or the application's code
            return {"description": _annotation(parameter.annotation)}
        parts.update(components)
        return schema

    schema = schema_of(list(signature.parameters.values()), of_parameter)
    return schema | {"$defs": parts} if parts else schema


def _no_schema(cls: type) -> Described:
    """Return the schema of an object of another class: its name."""
    return {"description": spell(cls)}
