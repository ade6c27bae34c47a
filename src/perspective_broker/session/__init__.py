"""The sans-I/O broker: lifecycle, tables, questions, serving, and the broker that joins them."""

from .broker import Broker
from .lifecycle import CloseCause, Phase
from .pipelining import Unready
from .serving import IncomingCall
from .statistics import Statistics

__all__ = ["Broker", "CloseCause", "IncomingCall", "Phase", "Statistics", "Unready"]
