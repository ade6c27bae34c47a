"""MessageReceiver: the holder of an exported object that looks up the names of methods itself."""

from __future__ import annotations

from typing import ClassVar

from ..ports import Method

__all__ = ["MessageReceiver", "foreign"]


class MessageReceiver:
    """The holder of an exported object that looks up the names of methods itself.

    Drivers need it whose objects may have a method of any name (:mod:`perspective_broker.compat`), and forwarders.
    """

    #: Whether only some drivers can call it.
    is_foreign: ClassVar[bool] = True

    def find_message(self, name: str) -> Method | None:
        """Return the method that runs when a peer calls ``name``; None if there is none."""
        raise NotImplementedError


def foreign(obj: object) -> str:
    """Return the reason for which a driver refuses an object whose holder is a MessageReceiver."""
    return (
        f"a {type(obj).__name__} is one of perspective_broker.compat's, which only connections made there can call; "
        "derive it from this package's own flavors here"
    )
