"""Describe every public name in text: test_public_surface.py compares it with ``public-names.txt``.

``python -m tests.architecture.surface --write`` writes the file again; without the option the text is printed.
"""

from __future__ import annotations

import argparse
import importlib
import inspect
import re
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Any

FILE = Path(__file__).with_name("public-names.txt")
UPDATE = "python -m tests.architecture.surface --write"

#: The modules that programs import from; all others are internal, even with an ``__all__``.
MODULES = [
    "perspective_broker",
    "perspective_broker.annotations",
    "perspective_broker.build",
    "perspective_broker.registry",
    "perspective_broker.remote",
    "perspective_broker.streams",
    "perspective_broker.testing",
    "perspective_broker.testing.plugin",
    "perspective_broker.testing.strategies",
    "perspective_broker.compat.banana",
    "perspective_broker.compat.flavors",
    "perspective_broker.compat.jelly",
    "perspective_broker.compat.of_2002",
    "perspective_broker.compat.pb",
    "perspective_broker.compat.publish",
    "perspective_broker.compat.util",
]

#: Parameters that are shown in one line; more get a line each, so that a difference shows which one has changed.
MOST_IN_A_LINE = 4

#: Special methods that a program uses through syntax. Others (equality, slots) are details of a class, and some that
#: dataclasses add differ between versions of Python.
SPECIAL = set(
    """
    __init__ __call__ __await__ __aenter__ __aexit__ __aiter__ __anext__ __enter__ __exit__ __iter__ __next__ __len__
    __contains__ __getitem__ __setitem__ __delitem__ __getattr__ __bool__
    """.split()
)


def describe() -> str:
    """Return the whole text."""
    head = (
        f"# Every public name, made by tests/architecture/surface.py. After a change on purpose: {UPDATE}\n"
    )
    return head + "".join(f"\n{name}\n{'=' * len(name)}\n" + describe_module(name) for name in MODULES)


def describe_module(name: str) -> str:
    module = importlib.import_module(name)
    lines = [
        line for public in sorted(module.__all__) for line in describe_name(public, getattr(module, public))
    ]
    return "".join(f"{line}\n" for line in lines)


def describe_name(name: str, value: Any) -> Iterator[str]:
    """Yield the line of a name and, for a class of this package, an indented line for each of its members."""
    if inspect.isclass(value):
        bases = ", ".join(base.__name__ for base in value.__bases__ if base is not object)
        yield f"class {name}({bases})" if bases else f"class {name}"
        yield from (textwrap.indent(line, "    ") for line in sorted(describe_members(value)))
    elif inspect.isroutine(value):
        yield f"{prefix(value)}{name}{signature(value)}"
    elif inspect.ismodule(value):
        yield f"module {name}"
    else:
        # The value may differ between builds (COMPILED).
        yield f"{name}: {type(value).__name__}"


def describe_members(cls: type) -> Iterator[str]:
    """Yield the attributes of ``cls`` that users can reach, inherited or not, if this package defines them."""
    seen: set[str] = set()
    owners = [owner for owner in cls.__mro__ if owner.__module__.partition(".")[0] == "perspective_broker"]
    for owner in owners:
        for name, value in vars(owner).items():
            if name not in seen and is_public(name):
                seen.add(name)
                yield describe_member(name, value)
    for owner in owners:
        # Attributes that only an annotation declares: the fields of a dataclass without a default, and attributes of
        # instances.
        for name, annotation in inspect.get_annotations(owner).items():
            if name not in seen and is_public(name):
                seen.add(name)
                yield f"{name}: {annotation}"


def is_public(name: str) -> bool:
    return name in SPECIAL or not name.startswith("_")


def describe_member(name: str, value: Any) -> str:
    if isinstance(value, property):
        returns = inspect.signature(value.fget).return_annotation if value.fget else inspect.Signature.empty
        kind = "property" if value.fset is None else "settable property"
        return f"{name}: {kind}" + ("" if returns is inspect.Signature.empty else f" -> {returns}")
    if isinstance(value, (classmethod, staticmethod)):
        return f"{type(value).__name__} {prefix(value.__func__)}{name}{signature(value.__func__)}"
    if inspect.isclass(value):
        return f"class {name}"
    if callable(value):
        return f"{prefix(value)}{name}{signature(value)}"
    return f"{name}: attribute"


def prefix(value: Any) -> str:
    return "async " if inspect.iscoroutinefunction(value) else ""


class Annotation:
    """An annotation as its source has it: ``inspect`` would put quotes around it."""

    def __init__(self, annotation: Any) -> None:
        self.text = annotation if isinstance(annotation, str) else inspect.formatannotation(annotation)

    def __repr__(self) -> str:
        return self.text


def signature(value: Any) -> str:
    """Return the parameters of ``value``, in lines of their own where they are many."""
    try:
        found = inspect.signature(value)
    except (TypeError, ValueError):
        return "(...)"
    parameters = list(describe_parameters(found))
    returns = found.return_annotation
    end = "" if returns is inspect.Signature.empty else f" -> {Annotation(returns)}"
    if len(parameters) <= MOST_IN_A_LINE:
        return f"({', '.join(parameters)}){end}"
    return "(" + "".join(f"\n    {parameter}," for parameter in parameters) + f"\n){end}"


def describe_parameters(found: inspect.Signature) -> Iterator[str]:
    """Yield each parameter, without the address of a default, and the marks between their kinds."""
    last: Any = None
    for parameter in found.parameters.values():
        if last == parameter.POSITIONAL_ONLY != parameter.kind:
            yield "/"
        if parameter.kind == parameter.KEYWORD_ONLY and last not in (
            parameter.KEYWORD_ONLY,
            parameter.VAR_POSITIONAL,
        ):
            yield "*"
        last = parameter.kind
        if parameter.annotation is not parameter.empty:
            parameter = parameter.replace(annotation=Annotation(parameter.annotation))
        yield re.sub(r" at 0x[0-9a-f]+", "", str(parameter))
    if last == inspect.Parameter.POSITIONAL_ONLY:
        yield "/"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0] if __doc__ else None)
    parser.add_argument("--write", action="store_true", help=f"write {FILE.name} instead of printing")
    if parser.parse_args().write:
        FILE.write_text(describe(), encoding="utf-8")
    else:
        sys.stdout.write(describe())


if __name__ == "__main__":
    main()
