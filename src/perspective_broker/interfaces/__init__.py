"""Interfaces: what annotations say about values, and how values are checked and made by them."""

from .conversion import Converter, Hooks, Misfit, converter
from .reading import is_record
from .records import field_values
from .values import value

__all__ = ["Converter", "Hooks", "Misfit", "converter", "field_values", "is_record", "value"]
