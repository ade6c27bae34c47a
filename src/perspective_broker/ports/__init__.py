"""The seams between rooms: what dialects and sessions call of each other.

``dialects`` and ``session`` are siblings that do not import each other; they meet here. Each contract is a base class
whose methods all have types, and states once who owns what.
"""

from .codec import Exporter, Importer, NullExporter, NullImporter
from .dialect import DELIVERED, NEEDS_DATA, READING, Dialect, Receiver
from .shared import SharedArguments, SharedExporter
from .values import (
    LARGE_MESSAGE,
    SENT_BEFORE,
    Answerable,
    CallTarget,
    Data,
    Deadline,
    InParts,
    Message,
    Method,
    ObjectId,
    Perspective,
    PromisedAnswer,
    Rank,
    Undecoded,
    Value,
)
from .writer import Feature, Unsupported, Writer

__all__ = [
    "DELIVERED",
    "LARGE_MESSAGE",
    "NEEDS_DATA",
    "READING",
    "SENT_BEFORE",
    "Answerable",
    "CallTarget",
    "Data",
    "Deadline",
    "Dialect",
    "Exporter",
    "Feature",
    "Importer",
    "InParts",
    "Message",
    "Method",
    "NullExporter",
    "NullImporter",
    "ObjectId",
    "Perspective",
    "PromisedAnswer",
    "Rank",
    "Receiver",
    "SharedArguments",
    "SharedExporter",
    "Undecoded",
    "Unsupported",
    "Value",
    "Writer",
]
