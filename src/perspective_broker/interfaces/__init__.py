"""Interfaces: what annotations say about methods and values, and how both are checked and made by them."""

from .conversion import Converter, Hooks, Misfit, converter
from .crossing import HOOKS, by_interface, giver
from .declarations import Declaration, Declared, declaration
from .describing import described
from .forms import Form
from .interface import Interface, is_interface
from .offers import interfaces_of, methods_of, sync
from .proxies import Callee, Proxy, RemoteFunction, tell, underlying
from .reading import is_record
from .records import field_values
from .values import value

__all__ = [
    "HOOKS",
    "Callee",
    "Converter",
    "Declaration",
    "Declared",
    "Form",
    "Hooks",
    "Interface",
    "Misfit",
    "Proxy",
    "RemoteFunction",
    "by_interface",
    "converter",
    "declaration",
    "described",
    "field_values",
    "giver",
    "interfaces_of",
    "is_interface",
    "is_record",
    "methods_of",
    "sync",
    "tell",
    "underlying",
    "value",
]
