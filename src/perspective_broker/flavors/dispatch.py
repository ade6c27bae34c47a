"""The one place where a name that a peer sent becomes a method.

Nothing else in the library uses a peer's text for attribute access. What is reachable is exactly what carries
the prefix of the object's flavor: ``remote_``, ``view_``, ``perspective_``, ``observe_``.
"""

from __future__ import annotations

from typing import Any

from ..errors import NoSuchMethod
from ..ports import Method
from .message_receiver import MessageReceiver

__all__ = ["find_method"]


def find_method(holder: Any, prefix: str, name: str) -> Method:
    """Return the method of ``holder`` that callers reach under ``name``.

    Args:
        holder: the object that was exported.
        prefix: what its flavor puts before the names of callable methods; never empty.
        name: the method's name as the peer sent it.

    Raises:
        NoSuchMethod: there is none. The text names the class, not what was asked for beyond its first
            64 characters.
    """
    if isinstance(holder, MessageReceiver):
        return holder.find_message(name)
    method = getattr(holder, prefix + name, None) if prefix else None
    if method is None or not callable(method):
        shown = name if len(name) <= 64 else name[:61] + "..."
        raise NoSuchMethod(f"{type(holder).__name__} has no method {shown!a} for its callers")
    return method  # type: ignore[no-any-return]
