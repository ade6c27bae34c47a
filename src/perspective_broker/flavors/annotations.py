"""Annotations of the application's classes and methods, which may contain names that are unknown at run time.

From Python 3.14 on annotations are evaluated when they are read. A name that only a type checker knows (imported under
``if TYPE_CHECKING``) would then raise NameError here, in the middle of a message, unless it may stay a name.
"""

from __future__ import annotations

import dataclasses
import inspect
import sys
from collections.abc import Callable, Mapping
from typing import Any, ClassVar, Final, ForwardRef, get_origin

__all__ = ["annotations_of", "is_class_variable", "parameters_text", "signature_of"]

if sys.version_info >= (3, 14):
    from annotationlib import Format

    def annotations_of(cls: type) -> Mapping[str, Any]:
        """Return the annotations of a class, without those of its bases."""
        return inspect.get_annotations(cls, format=Format.FORWARDREF)

    def signature_of(method: Callable[..., Any]) -> inspect.Signature:
        """Return the signature of a method. Raises TypeError or ValueError when it has none."""
        return inspect.signature(method, annotation_format=Format.FORWARDREF)

else:

    def annotations_of(cls: type) -> Mapping[str, Any]:
        """Return the annotations of a class, without those of its bases."""
        return inspect.get_annotations(cls)

    def signature_of(method: Callable[..., Any]) -> inspect.Signature:
        """Return the signature of a method. Raises TypeError or ValueError when it has none."""
        return inspect.signature(method)


def parameters_text(signature: inspect.Signature) -> str:
    """Return the parameters of a signature for an error: their names and kinds, and which have a default."""
    empty = inspect.Parameter.empty
    parameters = [
        parameter.replace(annotation=empty, default=empty if parameter.default is empty else _DEFAULT)
        for parameter in signature.parameters.values()
    ]
    return str(signature.replace(parameters=parameters, return_annotation=inspect.Signature.empty))


class _Default:
    def __repr__(self) -> str:
        return "..."


_DEFAULT: Final = _Default()


def is_class_variable(annotation: object) -> bool:
    """Return whether an annotation marks a name of the class or its constructor, which no peer may set."""
    if isinstance(annotation, ForwardRef):  # a name that is not known at run time
        annotation = annotation.__forward_arg__
    if isinstance(annotation, str):  # as in a module with "from __future__ import annotations"
        return annotation.startswith(_NO_FIELDS)
    return (
        annotation is ClassVar
        or get_origin(annotation) is ClassVar
        or annotation is dataclasses.InitVar
        or isinstance(annotation, dataclasses.InitVar)
        or annotation is dataclasses.KW_ONLY
    )


_NO_FIELDS: Final = (
    *("ClassVar", "typing.ClassVar", "t.ClassVar"),
    *("InitVar", "dataclasses.InitVar", "KW_ONLY", "dataclasses.KW_ONLY"),
)
