"""Values: classes of any kind that cross by value, under a tag, once they are registered.

The sender's fields cross in a map; the receiver makes an object of its own class, the one that is registered there
under the tag, after its annotations have been checked. Nothing is imported by name.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TypeVar

from ..errors import BadArguments, SerializationError
from ..flavors import Cacheable, Copyable, Exportable, Form, Registry, RemoteCopy, default_registry
from ..flavors.values import Value
from .converters import Misfit, Node, Work
from .hints import UnknownName
from .reading import Reader
from .records import Record

__all__ = ["value"]

_Class = TypeVar("_Class", bound=type)

#: Bases of classes that cross in another way already.
_FLAVORS = (Exportable, Copyable, Cacheable, RemoteCopy)


class _Annotated(Form):
    """The form of a class with annotations, of an enumeration, or of a subclass of a plain type."""

    def __init__(self, tag: str, cls: type) -> None:
        super().__init__(tag, cls)
        self._node: Record | Node | None = None
        try:
            self._read()
        except UnknownName:  # of a class that is defined later
            pass

    def _read(self) -> Node:
        if self._node is None:
            node = Reader(None).read(self.cls)
            if not node.made:
                raise TypeError(
                    f"value: {self.cls.__qualname__} has no fields; make it a dataclass (below this decorator), a "
                    "NamedTuple or an Enum, or derive it from pb.Copyable"
                )
            self._node = node
        return self._node

    def state(self, value: Value) -> dict[str, Value]:
        node = self._read()
        try:
            return node.state(value) if isinstance(node, Record) else {"value": node.give(value)}
        except Misfit as error:
            raise SerializationError(f"{self.cls.__name__}{error}", culprit=value) from None
        except RecursionError:
            raise SerializationError(f"a {self.cls.__name__} that contains itself", culprit=value) from None

    def lenient(self) -> Work:
        return Work(classic=True)

    def build(self, state: Value, work: object = None) -> Value:
        try:
            if not isinstance(state, Mapping):
                raise Misfit(": its fields come in a map")
            node = self._read()
            spent = work if isinstance(work, Work) else Work(classic=False)
            if isinstance(node, Record):
                return node.build(state, spent)
            for key, item in state.items():
                if key in ("value", b"value"):
                    return node.take(item, spent)
            raise Misfit(".value: missing")
        except Misfit as error:
            raise BadArguments(f"{self.cls.__name__}{error}") from error.__cause__


def value(tag: str, *, registry: Registry = default_registry) -> Callable[[_Class], _Class]:
    """Class decorator: let objects of a class cross by value, in both directions, under a tag.

    Both programs register a class of their own under the same tag. The fields of an object cross, and are checked at
    arrival by the annotations of the class there: unknown fields are ignored, missing ones have their default, and
    one that does not fit refuses the call. The class is a dataclass (the decorator stands above ``@dataclass``), a
    class of attrs, a :class:`msgspec.Struct`, a pydantic model, a :class:`~typing.NamedTuple`, an
    :class:`~enum.Enum`, a subclass of ``str``, ``dict`` or another plain type, or an exception, whose ``args`` and
    annotated attributes cross. For a class of another package: ``pb.value("geometry.Point")(Point)``.

    Objects of subclasses do not cross unless these are registered, too.

    Args:
        tag: names the class for both programs, such as ``"shop.Job"``; at most 255 bytes.
        registry: the registry to use; connections that are given no other use the default one.

    Raises:
        TypeError: the class has no fields that are known, has a flavor already, or an annotation cannot be checked.
        ValueError: the class or the tag is registered already.
    """
    if not isinstance(tag, str):
        raise TypeError('a class is decorated with @pb.value("its tag"); was it written without a tag?')
    if not 0 < len(tag.encode("utf-8", "replace")) <= 0xFF:
        raise ValueError("tag: text of 1 to 255 bytes")

    def register(cls: _Class) -> _Class:
        if not isinstance(cls, type):
            raise TypeError(f"value: a class is registered, not a {type(cls).__name__}")
        if issubclass(cls, _FLAVORS):
            raise TypeError(f"value: {cls.__qualname__} has a flavor already, by which it crosses")
        registry.set_form(_Annotated(tag, cls))
        return cls

    return register
