"""Interfaces: what annotations say about values, and how values are checked and made by them."""

from .conversion import Converter, Hooks, Misfit, converter

__all__ = ["Converter", "Hooks", "Misfit", "converter"]
