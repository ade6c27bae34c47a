"""Describing: what an object offers to its callers, as plain values that any peer can read.

A peer asks by calling the method :data:`DESCRIBE`, which no class can have. The answer is made once per class, from
the names that :mod:`.dispatch` would find. It contains no types and no values of defaults, because those of a class
without an interface were never written for its callers. What interfaces declare is added above this room
(:mod:`perspective_broker.interfaces.describing`).
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cached_property
from typing import Any, Final, TypeAlias
from weakref import WeakKeyDictionary

from .annotations import parameters_text, signature_of
from .dispatch import look_up
from .exposing import Callback, Exposed
from .target import Target
from .values import Value

__all__ = ["DESCRIBE", "MOST_BYTES", "STREAM", "STREAM_NAME", "Described", "described", "schema_of"]

#: The reserved name of a method that every object has. It is not an identifier, so no program can have such a method.
DESCRIBE: Final = "pb:describe"

#: The most bytes of a description: what a person still reads, and little beside Limits.message_bytes.
MOST_BYTES: Final = 64 * 1024 - 64  # for the message around it

#: A description, as it crosses: docs/wire/pb7.md, section 7.
Described: TypeAlias = dict[str, Any]

#: The name of a stream in its description, which no class can have.
STREAM_NAME: Final = "pb:stream"

#: The description of a stream, which is to be read and not called.
STREAM: Final[Described] = {"name": STREAM_NAME, "doc": "", "interfaces": [], "methods": []}

#: Modules of this library, whose classes document themselves to those who derive from them.
_OURS: Final = f"{__name__.partition('.')[0]}."

#: By class, or by an object that stands for another, and has methods of its own.
_made: Final[WeakKeyDictionary[object, dict[tuple[str, int], Described]]] = WeakKeyDictionary()


def described(target: Target, complete: Callable[[Target, Described], Described]) -> Described:
    """Return the description of an exported object; always the same for objects of one class.

    Args:
        target: the object.
        complete: adds what is known of its interfaces; called once.
    """
    holder = target.holder
    known = _made.setdefault(holder if isinstance(holder, Exposed) else type(holder), {})
    key = (target.prefix, len(target.leading))
    found = known.get(key)
    if found is None:
        found = known[key] = _shortened(complete(target, _describe(target)))
    return found


def _describe(target: Target) -> Described:
    holder = target.holder
    shown = holder.exposed if isinstance(holder, Exposed) else holder
    name = getattr(shown, "__name__", "") if isinstance(holder, Callback) else ""
    return {
        "name": str(name or type(shown).__name__),
        "doc": _doc(shown) if isinstance(holder, Callback) else _doc_of_class(type(shown)),
        "interfaces": [],
        "methods": [
            _method(name, method, len(target.leading)) for name, method in _methods(holder, target.prefix)
        ],
    }


# -- methods


def _methods(holder: Value, prefix: str) -> Iterator[tuple[str, Callable[..., Any]]]:
    """Yield the public names by which callers reach methods of ``holder``, in the order of the class, and these."""
    cls = type(holder)
    names = [name for base in reversed(cls.__mro__) for name in vars(base)]
    if isinstance(holder, Exposed):
        names = [*vars(holder)]
    for name in dict.fromkeys(names):
        public = name.removeprefix(prefix)
        if public == name or not public or public.startswith("_"):
            continue
        # A property is the application's code, which nobody has called.
        if isinstance(inspect.getattr_static(holder, name, None), (property, cached_property)):
            continue
        try:
            method = look_up(holder, prefix, public)
        except Exception:  # a descriptor of the application
            continue
        if method is not None:
            yield public, method


def _method(name: str, method: Callable[..., Any], leading: int) -> Described:
    """Return the description of one method without its first ``leading`` parameters, which callers do not pass."""
    try:
        signature = signature_of(method)
    except Exception:  # a method in C has none, and the application's code may compute one
        spelled, parameters, stream = "(...)", {"type": "object"}, False
    else:
        shown = list(_shown(signature, leading))
        spelled = parameters_text(inspect.Signature(shown))
        parameters = schema_of(shown, lambda parameter: {})
        stream = inspect.isasyncgenfunction(inspect.unwrap(method))
    return {
        "name": name,
        "signatures": [f"{name}{spelled}"],
        "doc": _doc(method),
        "stream": stream,
        "parameters": parameters,
    }


def _shown(signature: inspect.Signature, leading: int) -> Iterator[inspect.Parameter]:
    """Yield the parameters that callers pass: not those in front, and no private ones that may be left out."""
    for number, parameter in enumerate(signature.parameters.values()):
        varies = parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD)
        if number < leading and parameter.kind is not parameter.VAR_POSITIONAL:
            continue
        if parameter.name.startswith("_") and (varies or parameter.default is not parameter.empty):
            continue
        yield parameter


def schema_of(
    parameters: Sequence[inspect.Parameter], schema: Callable[[inspect.Parameter], Described]
) -> Described:
    """Return the JSON Schema of arguments by name; ``schema`` makes that of one."""
    named = [p for p in parameters if p.kind not in (p.VAR_POSITIONAL, p.VAR_KEYWORD)]
    return {
        "type": "object",
        "properties": {parameter.name: schema(parameter) for parameter in named},
        "required": [parameter.name for parameter in named if parameter.default is parameter.empty],
        "additionalProperties": any(p.kind is p.VAR_KEYWORD for p in parameters),
    }


# -- documentation


def _doc(method: Callable[..., Any]) -> str:
    """Return the documentation of a function or method; that of another callable is its class's."""
    return (inspect.getdoc(method) or "") if inspect.isroutine(method) else ""


def _doc_of_class(cls: type) -> str:
    """Return the documentation that the application has written for a class."""
    for base in cls.__mro__:
        doc = vars(base).get("__doc__")
        if base is object or base.__module__.startswith(_OURS) or base.__module__ == "typing":
            continue
        if isinstance(doc, str) and not doc.startswith(f"{base.__name__}("):  # what dataclasses write: types
            return inspect.cleandoc(doc)
    return ""


# -- length


def _shortened(description: Described) -> Described:
    """Return a description that is no longer than a peer is sent: less documentation, then fewer methods."""
    for shorten in (_whole, _first_lines, _no_doc, _no_schema):
        shorter = shorten(description)
        if _is_short(shorter):
            return shorter
    methods, fits = shorter["methods"], 0
    unknown = len(methods)
    while fits < unknown:
        middle = (fits + unknown + 1) // 2
        if _is_short(_first_methods(shorter, middle)):
            fits = middle
        else:
            unknown = middle - 1
    return _first_methods(shorter, fits)


def _is_short(description: Described) -> bool:
    import msgspec  # which takes a tenth of this package's time to import, and few programs describe their objects

    return len(msgspec.msgpack.encode(description)) <= MOST_BYTES


def _whole(description: Described) -> Described:
    return description


def _first_lines(description: Described) -> Described:
    return _with_doc(description, lambda doc: doc.partition("\n")[0][:200])


def _no_doc(description: Described) -> Described:
    return _with_doc(description, lambda doc: "")


def _with_doc(description: Described, cut: Callable[[str], str]) -> Described:
    methods = [method | {"doc": cut(method["doc"])} for method in description["methods"]]
    return description | {"doc": cut(description["doc"]), "methods": methods}


def _no_schema(description: Described) -> Described:
    """Leave out the schemas, and of a long signature all but the name."""
    methods = [
        method
        | {
            "doc": "",
            "parameters": {"type": "object"},
            "signatures": [
                text if len(text) <= 200 else f"{method['name']}(...)" for text in method["signatures"]
            ],
        }
        for method in description["methods"]
    ]
    return description | {"name": description["name"][:200], "doc": "", "methods": methods}


def _first_methods(description: Mapping[str, Any], number: int) -> Described:
    methods = description["methods"]
    note = f"Of {len(methods)} methods the first {number}, because a description has at most 64 KiB."
    return {**description, "doc": note, "methods": methods[:number]}
