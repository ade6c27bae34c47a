"""The classic dialects of 2002, protocol version 6: banana below, jelly above, messages around."""

from .messages import ClassicDialect
from .vocabulary import NONE, PB

__all__ = ["NONE", "PB", "ClassicDialect"]
