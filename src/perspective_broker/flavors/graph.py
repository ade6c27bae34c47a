"""Graph: plain containers that mention each other, sent with their sharing and their cycles."""

from __future__ import annotations

from .values import Value

__all__ = ["Graph"]


class Graph:
    """Says how a value is sent: with what its plain containers share, and with their cycles.

    A list, tuple, dictionary or set that is met twice within the graph arrives as one. What arrives is the value
    itself, not a Graph. Without it plain containers cross as trees: what is shared arrives twice, and a cycle
    cannot be sent. (The classic dialects keep sharing always.)

    Attributes:
        value: what is sent.
    """

    def __init__(self, value: Value) -> None:
        self.value = value

    def __repr__(self) -> str:
        return f"<{type(self).__name__} of a {type(self.value).__name__}>"
