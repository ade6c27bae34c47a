"""Classes for annotations: the library makes their objects, and programs only read or call them.

=======================  ============================================================
Change                   one item of ``replica.changes()``
CloseCause               ``connection.close_cause``
Description              ``await pb.describe(reference)``
MethodDescription        one of its methods
PeerCertificate          ``connection.peer_certificate``
ReconnectingReference    what ``connect(..., reconnect=True)`` returns
RemoteCacheObserver      what ``get_state_to_cache_and_observe_for`` receives
RemoteMethod             ``reference.method(name)``
ServerStatistics         ``server.statistics()``
Statistics               ``connection.statistics()``
=======================  ============================================================
"""

from .aio import (
    Change,
    Description,
    MethodDescription,
    ReconnectingReference,
    RemoteCacheObserver,
    RemoteMethod,
    ServerStatistics,
)
from .session import CloseCause, Statistics
from .transports import PeerCertificate

__all__ = [
    "Change",
    "CloseCause",
    "Description",
    "MethodDescription",
    "PeerCertificate",
    "ReconnectingReference",
    "RemoteCacheObserver",
    "RemoteMethod",
    "ServerStatistics",
    "Statistics",
]
