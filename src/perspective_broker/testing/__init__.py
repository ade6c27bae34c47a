"""Helpers for tests of programs that use the library, and of the library itself. Documented, typed, stable.

===================  ==================================================================================
memory_pair          a server and a connected client in one event loop, without sockets
BrokerPair           two brokers without an event loop; the test moves every byte and every second
ScriptedPeer         a raw peer over any url, which sends the bytes or expressions that the test gives it
assert_no_leaks      connections hold nothing but their root objects
assert_all_closed    the event loop has no connection and no task left
open_connections     every connection that has not ended
===================  ==================================================================================

:mod:`.plugin` is a pytest plugin with the leak check as a fixture; :mod:`.strategies` makes values for hypothesis.
Only these two modules import pytest and hypothesis.
"""

from .ends import Clock, End, Later, Outcome, SansIOObserver, SansIOReference
from .leaks import assert_all_closed, assert_no_leaks, broker_leaks, open_connections
from .pairs import Pair, memory_pair
from .sansio import BrokerPair, Link
from .scripted import ScriptedListener, ScriptedPeer

__all__ = [
    "BrokerPair",
    "Clock",
    "End",
    "Later",
    "Link",
    "Outcome",
    "Pair",
    "SansIOObserver",
    "SansIOReference",
    "ScriptedListener",
    "ScriptedPeer",
    "assert_all_closed",
    "assert_no_leaks",
    "broker_leaks",
    "memory_pair",
    "open_connections",
]
