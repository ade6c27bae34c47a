"""How operations and values become bytes: the greeting, and one room per family of dialects."""

from .negotiation import Negotiation

__all__ = ["Negotiation"]
