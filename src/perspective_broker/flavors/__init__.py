"""What may cross a connection, and how: the flavors, the registry of classes, the policy, the dispatch of names."""

from .copyable import Copyable, RemoteCopy
from .failure import Failure
from .policy import Policy
from .referenceable import AsReferenceable, Exportable, Reference, Referenceable, Root, Target
from .registry import Registry, copier_for, default_registry

__all__ = [
    "AsReferenceable",
    "Copyable",
    "Exportable",
    "Failure",
    "Policy",
    "Reference",
    "Referenceable",
    "Registry",
    "RemoteCopy",
    "Root",
    "Target",
    "copier_for",
    "default_registry",
]
