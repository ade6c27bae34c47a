"""The classic dialects of 2002, protocol version 6: messages of values (jelly) in nested lists (banana)."""

from .messages import ClassicDialect
from .vocabulary import NONE, PB

__all__ = ["NONE", "PB", "ClassicDialect"]
