"""How operations and values become bytes: the greeting, and one package for each family of dialects."""

from .negotiation import Negotiation

__all__ = ["Negotiation"]
