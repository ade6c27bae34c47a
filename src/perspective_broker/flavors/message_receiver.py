"""MessageReceiver: the holder of an exported object whose callers' names are looked up by rules of its own."""

from __future__ import annotations

from ..ports import Method

__all__ = ["MessageReceiver"]


class MessageReceiver:
    """The holder of an exported object that looks up its callers' names by rules of its own.

    For drivers whose objects may answer to any name (:mod:`perspective_broker.compat`); nobody else needs one.
    """

    def find_message(self, name: str) -> Method:
        """Return what runs when a caller asks for ``name``."""
        raise NotImplementedError
