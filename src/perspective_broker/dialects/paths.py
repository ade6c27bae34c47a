"""Describe a value that cannot cross: where it is in the message, and which value would cross instead."""

from __future__ import annotations

import functools
import io
from collections import deque
from collections.abc import Iterable
from enum import Enum
from fractions import Fraction
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network
from itertools import islice
from pathlib import PurePath
from types import BuiltinFunctionType, CoroutineType, FunctionType, GeneratorType, MethodType, ModuleType
from typing import Any, Final
from uuid import UUID

from ..errors import SerializationError, qualified_name
from ..flavors import Array, is_copied
from ..flavors.fields import attributes
from ..interfaces import field_values, is_record
from ..limits import Limits
from ..ports import Value

__all__ = ["no_form", "too_large", "with_path"]

#: Values that are searched for a culprit, in all and in each container: enough for a message that a person reads.
MAX_VISITED = 10_000

#: Characters of a path that are shown. The middle is left out, because the ends are more useful.
_SHOWN: Final = 160

#: Types that cross; instances of their subclasses do not.
_PLAIN: Final = (bool, int, float, str, bytes, tuple, list, dict, set, frozenset)


def no_form(value: object, lacking: str = "") -> str:
    """Return why a value of an unknown type is refused, and what its owner can do about it.

    Args:
        value: the value.
        lacking: the dialect of the connection, where it has fewer types than pb7 has now.
    """
    kind = type(value)
    name = kind.__name__ if kind.__module__ == "builtins" else qualified_name(kind)
    instead = next((text for base, text in _ONLY_IN_PB7.items() if isinstance(value, base)), None)
    if instead is None and name == "numpy.ndarray":
        instead = "what its item(), tolist() or tobytes() returns"
    if instead is not None and lacking:
        return f"{name} has no form in {lacking}, only in pb7: send {instead}"
    return f"{name} has no form here: {_advice(value, kind)}"


def _advice(value: object, kind: Any) -> str:
    """Return what the owner of a value can do, so that it crosses."""
    if isinstance(value, GeneratorType):
        return "make it asynchronous (async def), and it arrives as a stream"
    if isinstance(value, CoroutineType):
        return "await it, and send what it returns"
    if isinstance(value, type):
        return "classes do not cross, only their instances do"
    if isinstance(value, ModuleType):
        return "modules do not cross; send its name"
    if any(base.__module__ == "twisted.spread.flavors" for base in kind.__mro__):
        return "its flavor is twisted.spread's; use those of this package, or of perspective_broker.compat"
    if kind.__module__.partition(".")[0] == "numpy":
        return "send what its item(), tolist() or tobytes() returns"
    if isinstance(value, (FunctionType, MethodType, BuiltinFunctionType, functools.partial)):
        return "send pb.callback(...), or call through an interface that says Callable"
    if isinstance(value, io.IOBase):
        return "send what its read() returns, or a stream (pb.streams)"
    if is_record(kind) or isinstance(value, Enum):
        return f"register it with @pb.value, or call through an interface that says {kind.__name__}"
    plain = next((base.__name__ for base in _PLAIN if isinstance(value, base)), None)
    if plain is not None:
        return (
            f"a subclass of {plain} does not cross, {plain} itself does; send {plain}(...), or register it with "
            "@pb.value"
        )
    if isinstance(value, Iterable):
        return "send list(...), or an async generator, which arrives as a stream"
    return "derive it from a flavor (pb.Copyable, pb.Referenceable) or send plain values"


#: Types that other dialects than pb7 do not have -> what to send instead.
_ONLY_IN_PB7: Final[dict[type, str]] = {
    bytearray: "bytes(...)",
    memoryview: "bytes(...)",
    complex: "its real and imag",
    UUID: "str(...)",
    Fraction: "its numerator and denominator",
    range: "list(...), or its start, stop and step",
    deque: "list(...)",
    **dict.fromkeys((IPv4Address, IPv6Address), "str(...)"),
    **dict.fromkeys((IPv4Network, IPv6Network, PurePath), "str(...)"),
    Array: "its data as bytes, with its dtype and shape",
}


def too_large(size: int, limits: Limits) -> SerializationError:
    """Return the error of a message whose ``size`` in bytes is beyond the limit."""
    most = limits.message_bytes
    return SerializationError(
        f"a message of {size} bytes; peers read {most} (Limits.message_bytes, of either side)"
    )


def with_path(error: SerializationError, **parts: Value) -> SerializationError:
    """Return ``error`` with the path of its culprit; unchanged when the culprit is not found.

    Args:
        error: from an encoder.
        parts: the encoded values, by the names that the reader of the error knows (``args``, ``kwargs``, ...).
    """
    if error.path or error.culprit is None:
        return error
    path = _find(error.culprit, parts)
    if not path:
        return error
    if len(path) > _SHOWN:
        path = f"{path[: _SHOWN // 2]}...{path[-_SHOWN // 2 :]}"
    return SerializationError(error.message, path, culprit=error.culprit)


def _find(culprit: object, parts: dict[str, Value]) -> str:
    """Search ``parts`` for the object ``culprit``, by identity, breadth first, each container once."""
    queue: list[tuple[str, Value]] = list(parts.items())
    seen: set[int] = set()
    for path, value in queue:  # the list grows while it is read
        if value is culprit:
            return path
        if id(value) in seen or len(queue) > MAX_VISITED:
            continue
        seen.add(id(value))
        if isinstance(value, dict):
            for key, item in islice(value.items(), MAX_VISITED):
                queue.append((f"{path} key {_short(key)}", key))
                queue.append((f"{path}[{_short(key)}]", item))
        elif isinstance(value, (list, tuple)):
            queue.extend((f"{path}[{index}]", item) for index, item in enumerate(islice(value, MAX_VISITED)))
        elif isinstance(value, (set, frozenset)):
            queue.extend((f"{path}{{...}}", item) for item in islice(value, MAX_VISITED))
        elif isinstance(value, deque):
            queue.extend((f"{path}[{index}]", item) for index, item in enumerate(islice(value, MAX_VISITED)))
        elif is_copied(value):
            queue.extend((f"{path}.{name}", item) for name, item in attributes(value).items())
        elif is_record(type(value)):
            queue.extend((f"{path}.{name}", item) for name, item in field_values(value).items())
    return ""


def _short(key: object) -> str:
    if isinstance(key, str):
        text = key if len(key) <= 40 else key[:37] + "..."
        return '"' + text.encode("unicode_escape").decode().replace('"', '\\"') + '"'
    if isinstance(key, (int, float, bytes)):
        return repr(key)[:40]
    return type(key).__name__
