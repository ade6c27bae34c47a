"""The sans-I/O broker of one connection: its tables, its calls in both directions, and its end."""

from typing import Final

from . import broker as _broker
from .broker import Broker
from .cause import CloseCause
from .deadlines import SLOW_CONSUMER
from .host import Host
from .incoming_call import IncomingCall
from .incoming_calls import IncomingCalls
from .lifecycle import Phase
from .listening import CallListener
from .memory import SharedMemory
from .outgoing_call import OutgoingCall, Unready, call_when_connected, not_callable, not_run, of_this_call
from .outgoing_calls import OutgoingCalls
from .pieces import Capacity
from .reports import SharedAllowance
from .statistics import Statistics

#: Whether the core of this installation is compiled, see ``docs/performance.md``; else it is plain Python.
COMPILED: Final = not str(_broker.__file__).endswith(".py")

__all__ = [
    "COMPILED",
    "SLOW_CONSUMER",
    "Broker",
    "CallListener",
    "Capacity",
    "CloseCause",
    "Host",
    "IncomingCall",
    "IncomingCalls",
    "OutgoingCall",
    "OutgoingCalls",
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
