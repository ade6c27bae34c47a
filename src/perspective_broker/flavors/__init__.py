"""Flavors: how objects cross a connection, with the registry of classes, the policy, and the dispatch of names."""

from .cacheable import Cacheable, Observer, RemoteCache
from .copyable import Copyable, RemoteCopy, is_copied
from .failure import ALWAYS_SENT, Failure, from_within
from .graph import Graph
from .policy import Policy
from .referenceable import AsReferenceable, Exportable, Reference, Referenceable, Root
from .registry import Registry, copier_for, default_registry
from .spelling import check_spelling
from .target import Target
from .viewable import Viewable, ViewPoint

__all__ = [
    "ALWAYS_SENT",
    "AsReferenceable",
    "Cacheable",
    "Copyable",
    "Exportable",
    "Failure",
    "Graph",
    "Observer",
    "Policy",
    "Reference",
    "Referenceable",
    "Registry",
    "RemoteCache",
    "RemoteCopy",
    "Root",
    "Target",
    "ViewPoint",
    "Viewable",
    "check_spelling",
    "copier_for",
    "default_registry",
    "from_within",
    "is_copied",
]
