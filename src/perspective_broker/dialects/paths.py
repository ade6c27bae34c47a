"""Where in a message a value sits, for the error that says it cannot cross."""

from __future__ import annotations

from typing import Any

from ..errors import SerializationError
from ..flavors import Copyable

__all__ = ["with_path"]

#: Containers searched for a culprit; enough for any message that a human looks at.
MAX_VISITED = 100_000


def with_path(error: SerializationError, **parts: Any) -> SerializationError:
    """Return ``error`` with the place of its culprit, or as it is when that has no place.

    Args:
        error: from an encoder.
        parts: what was encoded, by the names under which the reader knows it (``args``, ``kwargs``, ...).
    """
    if error.path or error.culprit is None:
        return error
    path = _find(error.culprit, parts)
    if not path:
        return error
    return SerializationError(error.message, path, culprit=error.culprit)


def _find(culprit: Any, parts: dict[str, Any]) -> str:
    """Search ``parts`` for the object ``culprit`` itself, breadth first, each container once."""
    queue: list[tuple[str, Any]] = list(parts.items())
    seen: set[int] = set()
    for path, value in queue:  # the list grows while it is read
        if value is culprit:
            return path
        if id(value) in seen or len(seen) > MAX_VISITED:
            continue
        seen.add(id(value))
        if isinstance(value, dict):
            for key, item in value.items():
                queue.append((f"{path} key {_short(key)}", key))
                queue.append((f"{path}[{_short(key)}]", item))
        elif isinstance(value, (list, tuple)):
            queue.extend((f"{path}[{index}]", item) for index, item in enumerate(value))
        elif isinstance(value, (set, frozenset)):
            queue.extend((f"{path}{{...}}", item) for item in value)
        elif isinstance(value, Copyable):
            queue.extend((f"{path}.{name}", item) for name, item in getattr(value, "__dict__", {}).items())
    return ""


def _short(key: Any) -> str:
    if isinstance(key, str):
        text = key if len(key) <= 40 else key[:37] + "..."
        return '"' + text.encode("unicode_escape").decode().replace('"', '\\"') + '"'
    if isinstance(key, (int, float, bytes)):
        return repr(key)[:40]
    return type(key).__name__
