"""The sans-I/O broker: lifecycle, tables, questions, serving, and the broker that joins them."""

from typing import Final

from . import broker as _broker
from .broker import Broker
from .cause import CloseCause
from .deadlines import SLOW_CONSUMER
from .lifecycle import Phase
from .memory import SharedMemory
from .outgoing_calls import OutgoingCall, Unready, call_when_connected, not_callable, not_run, of_this_call
from .reports import SharedAllowance
from .serving import IncomingCall
from .statistics import Statistics

#: Whether the core of this installation is compiled, see ``docs/performance.md``; else it is plain Python.
COMPILED: Final = not str(_broker.__file__).endswith(".py")

__all__ = [
    "COMPILED",
    "SLOW_CONSUMER",
    "Broker",
    "CloseCause",
    "IncomingCall",
    "OutgoingCall",
    "Phase",
    "SharedAllowance",
    "SharedMemory",
    "Statistics",
    "Unready",
    "call_when_connected",
    "not_callable",
    "not_run",
    "of_this_call",
]
