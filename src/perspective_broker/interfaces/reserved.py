"""Names that a method of an interface cannot have, because something that has the method needs the name itself."""

from __future__ import annotations

from typing import Final

__all__ = ["RESERVED"]

#: Name -> what has it. tests/interfaces/test_reserved.py holds it against the classes. Methods of a flavor that is not
#: here, such as ``attached`` of a perspective, are refused where a class derives from both.
RESERVED: Final = {
    "call": "references",
    "connection": "references",
    "dont_notify_on_disconnect": "references",
    "forgotten": "objects that cross as references",
    "method": "references",
    "of": "interfaces",
    "on_disconnect": "references",
    "release": "references",
    "root_object": "roots",
    "tell": "references",
}
