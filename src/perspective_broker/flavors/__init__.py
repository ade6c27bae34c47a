"""Flavors: how objects cross a connection, with the registry of classes, the policy, and the dispatch of names."""

from .array import Array, check_array
from .cacheable import (
    Cacheable,
    Observer,
    RemoteCache,
    observer_luid,
    observer_perspective,
    replica_luid,
    replica_session,
)
from .copyable import Copyable, RemoteCopy, is_copied
from .exporting import Exportable, carries_on, export_key, export_target, hears_of_errors, report_unread
from .exposing import callback, wrap
from .failure import ALWAYS_SENT, Failure, from_within, passed_on
from .graph import Graph
from .policy import Policy
from .reference import Reference, entry_of, luid_of, perspective_of, receipts_of, session_of, set_entry
from .referenceable import AsReferenceable, Referenceable, Root
from .registry import Form, Registry, copier_for, default_registry
from .spelling import check_spelling
from .target import Target
from .viewable import Viewable, ViewPoint

__all__ = [
    "ALWAYS_SENT",
    "Array",
    "AsReferenceable",
    "Cacheable",
    "Copyable",
    "Exportable",
    "Failure",
    "Form",
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
    "callback",
    "carries_on",
    "check_array",
    "check_spelling",
    "copier_for",
    "default_registry",
    "entry_of",
    "export_key",
    "export_target",
    "from_within",
    "hears_of_errors",
    "is_copied",
    "luid_of",
    "observer_luid",
    "observer_perspective",
    "passed_on",
    "perspective_of",
    "receipts_of",
    "replica_luid",
    "replica_session",
    "report_unread",
    "session_of",
    "set_entry",
    "wrap",
]
