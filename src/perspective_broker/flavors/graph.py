"""Graph: plain containers that refer to each other, sent with their sharing and their cycles."""

from __future__ import annotations

from .values import Value

__all__ = ["Graph"]


class Graph:
    """Wrapper of a value whose plain containers are sent with their sharing and their cycles.

    A list, tuple, dictionary or set that occurs twice within the graph arrives as one object. The peer receives the
    value itself, not a Graph. Without it plain containers cross as trees: a shared container arrives twice, and a cycle
    cannot be sent. (The classic dialects always keep sharing.)

    Attributes:
        value: the value to send.
    """

    def __init__(self, value: Value) -> None:
        self.value = value

    def __repr__(self) -> str:
        return f"<{type(self).__name__} of a {type(self.value).__name__}>"
