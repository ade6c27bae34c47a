"""Describe a value that cannot cross: where it is in the message, and which value would cross instead."""

from __future__ import annotations

from itertools import islice
from types import CoroutineType, GeneratorType
from typing import Final

from ..errors import SerializationError, qualified_name
from ..flavors import is_copied
from ..flavors.fields import attributes
from ..limits import Limits
from ..ports import Value

__all__ = ["no_form", "too_large", "with_path"]

#: Values that are searched for a culprit, in all and in each container: enough for a message that a person reads.
MAX_VISITED = 10_000

#: Characters of a path that are shown. The middle is left out, because the ends are more useful.
_SHOWN: Final = 160

#: Types that cross; instances of their subclasses do not.
_PLAIN: Final = (bool, int, float, str, bytes, tuple, list, dict, set, frozenset)


def no_form(value: object) -> str:
    """Return why a value of an unknown type is refused, and what its owner can do about it."""
    kind = type(value)
    name = kind.__name__ if kind.__module__ == "builtins" else qualified_name(kind)
    if isinstance(value, GeneratorType):
        advice = "make it asynchronous (async def), and it arrives as a stream"
    elif isinstance(value, CoroutineType):
        advice = "await it, and send what it returns"
    elif isinstance(value, type):
        advice = "classes do not cross, only their instances do"
    elif any(base.__module__ == "twisted.spread.flavors" for base in kind.__mro__):
        advice = "its flavor is twisted.spread's; use those of this package, or of perspective_broker.compat"
    elif kind.__module__ == "numpy":
        advice = "send what its item(), tolist() or tobytes() returns"
    else:
        plain = next((base.__name__ for base in _PLAIN if isinstance(value, base)), None)
        if plain is None:
            advice = "derive it from a flavor (pb.Copyable, pb.Referenceable) or send plain values"
        else:
            advice = f"a subclass of {plain} does not cross, {plain} itself does; send {plain}(...)"
    return f"{name} has no form here: {advice}"


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
        elif is_copied(value):
            queue.extend((f"{path}.{name}", item) for name, item in attributes(value).items())
    return ""


def _short(key: object) -> str:
    if isinstance(key, str):
        text = key if len(key) <= 40 else key[:37] + "..."
        return '"' + text.encode("unicode_escape").decode().replace('"', '\\"') + '"'
    if isinstance(key, (int, float, bytes)):
        return repr(key)[:40]
    return type(key).__name__
