"""MessageReceiver: the holder of an exported object whose callers' names are looked up by rules of its own."""

from __future__ import annotations

from ..ports import Method

__all__ = ["MessageReceiver", "foreign"]


class MessageReceiver:
    """The holder of an exported object that looks up its callers' names by rules of its own.

    For drivers whose objects may answer to any name (:mod:`perspective_broker.compat`); nobody else needs one.
    """

    def find_message(self, name: str) -> Method:
        """Return what runs when a caller asks for ``name``."""
        raise NotImplementedError


def foreign(obj: object) -> str:
    """Return why an object whose holder is one is refused by a driver that cannot call it."""
    return (
        f"a {type(obj).__name__} is one of perspective_broker.compat's, which only connections made there can call; "
        "derive it from this package's own flavors here"
    )
